"""The Lab without a server: lessons, playground, player and recorded runs as a folder of files."""

from analysis.pack.folder import Pack, write_pack

__all__ = ["Pack", "write_pack"]

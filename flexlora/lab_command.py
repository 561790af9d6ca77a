"""``lab_command``: what starts the Lab from a shell. Torch-free."""

from __future__ import annotations

import shutil


def lab_command() -> str:
    """Return the console command, or in a checkout, which has none, the module behind it."""
    return "flexlora app" if shutil.which("flexlora") else "python -m app.command app"

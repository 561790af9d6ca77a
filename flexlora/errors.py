"""The one exception that means: what you asked for cannot be done, and here is what can; and its warning."""

from __future__ import annotations


class FlexLoRAWarning(UserWarning):
    """Training goes on, and most likely does not do what was meant."""


class FlexLoRAError(ValueError):
    """A user's mistake, told in one clear line that names the fix. Anything else that is raised is a bug."""


class FolderError(FlexLoRAError, OSError):
    """A folder that cannot be written, told in one line; an ``OSError``, too, for who knows what to do about those."""

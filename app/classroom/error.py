"""What a class refuses."""

from __future__ import annotations

from flexlora.errors import FlexLoRAError


class ClassError(FlexLoRAError):
    """Something that cannot be done in a class: one line for whoever asked, and the status of the answer over HTTP."""

    def __init__(self, why: str, status: int = 400) -> None:
        super().__init__(why)
        self.status = status

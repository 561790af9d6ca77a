"""A run in a notebook: the player inline, without a server; ``show`` follows a run that is being written.

``%load_ext analysis.notebook`` shows what ``flexlora.run_log.read_run`` returns the same way.
"""

from __future__ import annotations

from typing import Any

from analysis.notebook.frame import frame_html
from analysis.notebook.show import LiveShow, NotebookError, show

__all__ = ["LiveShow", "NotebookError", "frame_html", "load_ipython_extension", "show"]


def load_ipython_extension(shell: Any) -> None:
    """Show a ``RunLog`` as the player: the method's package knows none."""
    from analysis.runs import run_of
    from flexlora.run_log import RunLog

    shell.display_formatter.formatters["text/html"].for_type(RunLog, lambda log: frame_html(run_of(log)))

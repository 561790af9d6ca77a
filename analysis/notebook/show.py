"""``show``: a run in a notebook, followed while it is being written."""

from __future__ import annotations

import json
import threading
import time
from html import escape
from pathlib import Path
from typing import Any

from analysis.notebook.frame import Page, framed, new_name, news_since, page_of, title_of
from analysis.runs import Run, load_run
from flexlora.errors import FlexLoRAError
from flexlora.run_log import RunLog, RunLogError

MOST_NEWS = 400_000
"""Characters of news, which hold all since the page was made, from which a new page takes its place."""

_HEADER = "run.json"
_BRIDGE = (Path(__file__).parent / "bridge.js").read_text(encoding="utf-8").strip()


class NotebookError(FlexLoRAError):
    """What cannot be shown here, and what to do."""


class LiveShow:
    """A run that a notebook follows: a thread reads its log and updates what is shown, until the run has ended.

    Attributes:
        folder: of the run; it may not be there yet.
    """

    def __init__(self, folder: Path, every_s: float) -> None:
        """Show what is there, and begin to follow."""
        from IPython.display import HTML, display  # pyright: ignore[reportMissingImports]

        self.folder, self._every_s, self._html = folder, every_s, HTML
        self._name = new_name()
        self._page: Page | None = None
        self._sent = ""
        self._ended = threading.Event()
        waiting = f"<p>{escape(str(folder))}: waits for a run to begin.</p>"
        self._player: Any = display(HTML(waiting), display_id=True)
        self._news: Any = display(HTML(""), display_id=True)
        self._step()
        self._thread = threading.Thread(target=self._follow, name=f"show {folder}", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return f"<LiveShow of {self.folder}: {'ended' if self._ended.is_set() else 'follows it; stop() ends that'}>"

    def stop(self) -> None:
        """Follow the run no longer; what is shown stays."""
        self._ended.set()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Return whether it has ended, after at most ``timeout_s`` seconds; None = as long as it takes."""
        self._thread.join(timeout_s)
        return self._ended.is_set()

    def _follow(self) -> None:
        cost_s = 0.0
        # Reading and packing take at most a fifth of one core, as training may go on in this process.
        while not self._ended.wait(max(self._every_s, 4 * cost_s)):
            began = time.perf_counter()
            self._step()
            cost_s = time.perf_counter() - began

    def _step(self) -> None:
        try:
            if (self.folder / _HEADER).exists():
                self._update(load_run(self.folder))
        except (FlexLoRAError, RunLogError, OSError) as error:
            self._ended.set()
            self._news.update(self._html(f"<p>No longer followed: {escape(str(error))}</p>"))

    def _update(self, run: Run) -> None:
        if run.state != "running":
            self._ended.set()
            self._show(run)
            # What was said to the page's listener goes; the page holds the whole run.
            self._news.update(self._html(f"<p>{escape(title_of(run))}: {run.state}.</p>"))
            return
        if self._page is None:
            self._show(run)
        news = news_since(self._page, run) if self._page else None
        if news and len(news) > MOST_NEWS:
            self._show(run)
            news = None
        script = bridge_html(self._name, news)
        if script != self._sent:
            self._news.update(self._html(script))
            self._sent = script

    def _show(self, run: Run) -> None:
        self._page = page_of(run)
        self._player.update(self._html(framed(self._page.html, self._name, title_of(run))))


def show(run: Run | RunLog | str | Path, live: bool = True, every_s: float = 2.0) -> LiveShow | None:
    """Show the player with a run in a notebook.

    Args:
        run: a run, or its folder. One that is not there yet is waited for if ``live``.
        live: follow a run that is being written: what is new comes without a new start of the player.
        every_s: seconds between two looks at the log; more where a look takes long.

    Returns:
        What follows the run, None where there is nothing to follow.

    Raises:
        NotebookError: this is no notebook.
        RunLogError: the folder is no run.
    """
    folder = run.folder if isinstance(run, Run | RunLog) else Path(run)
    if not in_notebook():
        raise NotebookError(
            f"show draws in a Jupyter notebook, and this is none: flexlora report {folder} --out run.html "
            "writes the same player as a file."
        )
    if every_s <= 0:
        raise NotebookError(f"every_s must be above 0, not {every_s}.")
    if live and not (folder / _HEADER).exists():
        return LiveShow(folder, every_s)
    found = load_run(folder)
    if live and found.state == "running":
        return LiveShow(folder, every_s)
    from IPython.display import HTML, display  # pyright: ignore[reportMissingImports]

    display(HTML(framed(page_of(found).html, new_name(), title_of(found))))
    return None


def in_notebook() -> bool:
    """Return whether a kernel shows what code displays."""
    try:
        from IPython.core.getipython import get_ipython  # pyright: ignore[reportMissingImports]
    except ImportError:
        return False
    return getattr(get_ipython(), "kernel", None) is not None


def bridge_html(name: str, news: str | None) -> str:
    """Return the script by which a notebook's page tells a frame its news, and keeps what the frame shows.

    Args:
        name: of the frame, of ``new_name``.
        news: of ``news_since``; None = there is none yet.
    """
    return f"<script>{_BRIDGE}({json.dumps(name)}, {news or 'null'})</script>"

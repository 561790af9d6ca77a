"""The playground: two trainings race in the browser, on a truth that the visitor paints; and five toys."""

from __future__ import annotations

from streamlit.components.v2 import component

from analysis.player_modules import FOLDER
from assets import loader

_mount = component(
    "flexlora_playground",
    js=loader("playground/component.js"),
    # The editor of schedules brings no style along.
    css=(FOLDER / "schedule/editor.css").read_text(encoding="utf-8"),
)


def playground(key: str) -> None:
    """Shows the playground. All of it runs in the browser: the server hands out its modules, and no numbers."""
    _mount(key=key, data={})

"""The playground: two trainings race in the browser, on a truth that the visitor paints; and five toys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streamlit.components.v2 import component

from assets import loader

_mount = component("flexlora_playground", js=loader("playground/component.js"))


def playground(key: str, trouble: str | None = None) -> Mapping[str, Any] | None:
    """Shows the playground. All of it runs in the browser: the server hands out its modules, and no numbers.

    Args:
        key: Streamlit key.
        trouble: what went wrong with the training that was to be opened last.

    Returns:
        A training that the visitor wants to open in the player, in the run after it was asked for: the ``name`` of the
        run to be and its ``text``, see app/playground/record.js.
    """
    # Streamlit reports a trigger only when a callback asks for it.
    return _mount(key=key, data={"trouble": trouble}, on_opened_change=lambda: None).get("opened")

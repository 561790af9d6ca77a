"""Two configurations beside each other: what differs between two runs, option by option."""

from __future__ import annotations

from typing import Any

import streamlit as st

from analysis.config_differences import MISSING, ConfigDifference, config_differences
from compare import address
from flexlora.run_log import RunLogError, read_header
from flexlora.study.spec import label_of
from jobs.owner import Owner
from runs.rows import RunRow, read_rows
from runs.store import plain, run_entries
from widgets import select

A, B = "a", "b"


def settings_part(me: Owner) -> None:
    """Draw two pickers and the options in which their runs differ."""
    rows = {row.key: row for row in read_rows(run_entries(), me)}
    if len(rows) < 2:
        st.info("Two runs are needed. Train or import them first.")
        return
    keys = list(rows)
    # Typing finds what stands in the name.
    names = {key: " · ".join((row.name, ", ".join(row.notes.tags))).removesuffix(" · ") for key, row in rows.items()}
    columns = st.columns(2)
    picked = []
    for place, name in enumerate((A, B)):
        key = f"compare_settings_{name}"
        if st.session_state.get(key) not in rows:
            st.session_state[key] = wanted if (wanted := address.asked(name)) in rows else keys[place]
        picked.append(select(f"Run {name.upper()}", keys, key, columns[place], format_func=names.__getitem__))
    address.tell(a=picked[0], b=picked[1])
    one, other = (rows[key] for key in picked)
    left, right = _settings(one), _settings(other)
    if isinstance(left, str) or isinstance(right, str):
        st.warning(plain(left if isinstance(left, str) else str(right)), icon=":material/broken_image:")
        return
    _differences(one, other, left, right)


def _settings(row: RunRow) -> dict[str, Any] | str:
    """Return the configuration of a run, or why there is none."""
    try:
        config = read_header(row.folder)[0].get("config")
    except RunLogError as error:
        return str(error)
    return config if isinstance(config, dict) else f"{row.name} names no configuration."


def _differences(one: RunRow, other: RunRow, left: dict[str, Any], right: dict[str, Any]) -> None:
    found = config_differences(left, right)
    chosen = [difference for difference in found if not difference.follows]
    st.markdown(_summary(chosen, len(found) - len(chosen)))
    if found:
        rows = [
            {
                "option": difference.option,
                f"A: {one.name}": _told(difference.left),
                f"B: {other.name}": _told(difference.right),
                "follows from": ", ".join(difference.follows),
            }
            for difference in found
        ]
        st.dataframe(
            rows, hide_index=True, placeholder="", alt="Options in which the two runs differ, chosen ones first"
        )


def _summary(chosen: list[ConfigDifference], following: int) -> str:
    if not chosen and not following:
        return "Both have the same configuration."
    names = ", ".join(plain(difference.option) for difference in chosen) or "nothing that somebody chose"
    more = f" {following} more follow from these." if following else ""
    if [difference.option for difference in chosen] == ["seed"]:
        return f"They differ in their **seed** only: two runs of one group.{more}"
    return f"They differ in **{names}**.{more}"


def _told(value: Any) -> str:
    return "–" if value is MISSING else label_of(value)

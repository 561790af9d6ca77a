"""Two configurations beside each other: what differs between two runs, option by option."""

from __future__ import annotations

from typing import Any

import streamlit as st

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
    columns = st.columns(2)
    picked = []
    for place, name in enumerate((A, B)):
        key = f"compare_settings_{name}"
        if st.session_state.get(key) not in rows:
            st.session_state[key] = wanted if (wanted := address.asked(name)) in rows else keys[place]
        picked.append(select(f"Run {name.upper()}", keys, key, columns[place], format_func=lambda key: rows[key].name))
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
    chosen, follows = [], []
    for option in sorted({*left, *right}):
        if left.get(option) != right.get(option):
            chosen.append({"option": option, one.name: _told(left, option), other.name: _told(right, option)})
    st.dataframe(chosen + follows, hide_index=True, alt="Options in which the two runs differ")


def _told(config: dict[str, Any], option: str) -> str:
    return label_of(config[option]) if option in config else "–"

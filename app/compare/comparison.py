"""What is compared, on the page: how far it is, whether its budgets are equal, and what can be said."""

from __future__ import annotations

import streamlit as st

from analysis.study import caption, compare_study, comparison_rows, markdown_table
from compare import address
from compare.choice import Choice
from compare.line import line_of
from compare.opened import Opened, open_study
from flexlora.errors import FlexLoRAError
from flexlora.run_log import RunLogError
from jobs.owner import Owner
from runs.store import plain

ANYWAY = "compare_unequal"


def compared(choice: Choice, me: Owner) -> None:
    """Draw the comparison of what was chosen; what cannot be read is said in one line."""
    assert choice.study is not None
    try:
        opened = open_study(choice.study)
    except (FlexLoRAError, RunLogError) as error:
        st.error(plain(str(error)), icon=":material/error:")
        return
    line_of(choice.study, me, opened.done, opened.of)
    if not opened.table.summary["groups"]:
        st.info("Nothing is there to compare yet. This page fills as runs end.")
        return
    if opened.done < opened.of:
        st.caption(f"This is about **{opened.done} of {opened.of} runs**: what it says may change with the others.")
    if opened.refused and not _gate(opened):
        return
    found = compare_study(opened.table)
    st.markdown(plain(caption(opened.table, found)))
    st.markdown(markdown_table(found))
    st.dataframe(comparison_rows(found), hide_index=True, placeholder="", alt="Comparisons, one row a variant")


def _gate(opened: Opened) -> bool:
    """Say which budgets differ; return whether the viewer goes on all the same."""
    st.session_state.setdefault(ANYWAY, address.asked(address.ANYWAY) == "1")
    st.warning(f"**Refused.** {plain(opened.refused)}", icon=":material/balance:")
    anyway = st.toggle("Compare all the same; every table and figure says so", key=ANYWAY, persist_state="session")
    address.tell(unequal="1" if anyway else None)
    return anyway

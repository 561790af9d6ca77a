"""What is compared, on the page: how far it is, whether its budgets are equal, and what can be said."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from compare import address
from compare.against import AGAINST, ask_reference
from compare.answer import answer
from compare.choice import Choice
from compare.cost import cost
from compare.downloads import downloads
from compare.line import ANYWAY, agreed, line_of
from compare.opened import open_study
from compare.over_steps import over_steps
from compare.picked import ask_terms
from compare.rank_maps import rank_maps
from compare.rates import rates
from compare.removal import removal
from compare.runs_of import runs_of
from compare.shown import Shown, shown, shown_study
from compare.stability import stability
from flexlora.errors import FlexLoRAError
from flexlora.run_log import RunLogError
from jobs.owner import Owner
from links import PICKED_RUNS
from runs.store import plain
from widgets import switch

VIEW = "compare_view"
LOOKED_AT = "compare_looked_at"
"""Key of the study that was drawn last."""

SECTIONS: dict[str, Callable[[Shown], None]] = {
    "Answer": answer,
    "Over steps": over_steps,
    "Cost": cost,
    "Rank maps": rank_maps,
    "Learning rates": rates,
    "Stability": stability,
    "Runs": runs_of,
    "Take along": downloads,
}
"""What is drawn of a comparison, in the order of reading."""


def compared(choice: Choice, me: Owner) -> None:
    """Draw the comparison of what was chosen; what cannot be read is said in one line."""
    _begin_anew(choice.study.key if choice.study is not None else PICKED_RUNS)
    try:
        what = _study(choice, me) if choice.study is not None else _picked(choice)
        if what is not None:
            _sections(what)
    except (FlexLoRAError, RunLogError, OSError) as error:
        st.error(plain(str(error)), icon=":material/error:")
    if choice.study is not None:
        removal(choice.study, me)


def _sections(what: Shown) -> None:
    what = ask_reference(what)
    _begin(VIEW, address.one_of(address.VIEW, list(SECTIONS)))
    view = switch("Section", list(SECTIONS), VIEW, label_visibility="collapsed", default=None)
    address.tell(view=None if view == next(iter(SECTIONS)) else view)
    SECTIONS[view](what)


def _study(choice: Choice, me: Owner) -> Shown | None:
    assert choice.study is not None
    opened = open_study(choice.study)
    line_of(choice.study, me, opened.done, opened.of, opened.refused)
    if not opened.table.summary["groups"]:
        st.info("Nothing is there to compare yet. This page fills as runs end.")
        return None
    if opened.done < opened.of:
        st.caption(f"This is about **{opened.done} of {opened.of} runs**: what it says may change with the others.")
    if opened.refused and agreed(choice.study, me):
        st.warning(f"Made all the same, so nothing is claimed. {plain(opened.refused)}", icon=":material/balance:")
    elif opened.refused and not _goes_on(opened.refused):
        return None
    return shown_study(opened.table)


def _picked(choice: Choice) -> Shown | None:
    picked = ask_terms(choice.runs)
    if picked is None:
        return None
    equal = picked.table.summary["equal"]
    if equal["unit"] != "none" and not equal["held"] and not _goes_on(equal["note"]):
        return None
    return shown(picked.table, picked.groups)


def _goes_on(refused: str) -> bool:
    """Say which budgets differ; return whether the viewer goes on all the same."""
    _begin(ANYWAY, address.asked(address.ANYWAY) == "1")
    st.warning(f"**Refused.** {plain(refused)}", icon=":material/balance:")
    anyway = st.toggle("Compare all the same; every table and figure says so", key=ANYWAY, persist_state="session")
    address.tell(unequal="1" if anyway else None)
    return anyway


def _begin_anew(chosen: str) -> None:
    """Show another choice from its first section on, and ask anew whether its unequal budgets are gone on with."""
    before, st.session_state[LOOKED_AT] = st.session_state.get(LOOKED_AT, chosen), chosen
    if before != chosen:
        st.session_state[VIEW] = next(iter(SECTIONS))
        st.session_state[ANYWAY] = False
        st.session_state.pop(AGAINST, None)
        address.tell(reference=None)


def _begin(key: str, value: object) -> None:
    """Let the session begin with what the address asks for."""
    st.session_state.setdefault(key, value)

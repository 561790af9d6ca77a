"""What the variants of a study are compared with: every section and all that is taken along follow the choice."""

from __future__ import annotations

import streamlit as st

from analysis.study import with_reference
from compare import address
from compare.picked import REFERENCE
from compare.shown import Shown, shown
from widgets import select

AGAINST = "compare_against"
OWN = "(each its own)"
LEAST = 3
"""Variants from which on another reference tells more than the sign."""


def ask_reference(what: Shown) -> Shown:
    """Draw the choice of what a study's variants are compared with; return the study read against it."""
    groups = what.table.summary["groups"]
    labels = list(dict.fromkeys(label for group in groups for label in group["variants"]))
    if what.table.folder is None or len(labels) < LEAST:
        # Picked runs name their reference with their budget.
        return what
    own = {group["reference"] for group in groups}
    first = own.pop() if len(own) == 1 else OWN
    options = [first, *(label for label in labels if label != first)]
    if st.session_state.get(AGAINST) not in options:
        asked = address.asked(REFERENCE)
        st.session_state[AGAINST] = asked if asked in options else first
    chosen = select("Compared with", options, AGAINST)
    address.tell(reference=None if chosen == first else chosen)
    return what if chosen == first else shown(with_reference(what.table, chosen), what.groups)

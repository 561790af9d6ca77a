"""Explore: a recorded run, parked at its most instructive event."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from analysis.metrics import describe_run, first_matrix
from jobs.line import TICK_S
from jobs.owner import Owner
from jobs.registry import REGISTRY
from jobs.visitor import visitor
from links import EXPLORED as CHOSEN
from links import what_if_button
from player import PlayerView, player
from runs import pinned
from runs.link import Link, read_link
from runs.picker import run_picker
from runs.rows import BUNDLED, DAMAGED, OTHERS, YOURS, describe_row, read_row, whose
from runs.store import (
    NEWCOMERS_RUN,
    OpenRun,
    RunEntry,
    default_run,
    nearby_runs,
    open_run,
    plain,
    resolve_run,
    run_entries,
    samples_root,
)

PICKER = "explore_picker"
PLAYER = "explore_player"
DETAILS = "explore_details"
MADE = "explore_made"
SHOWN_NOTES = 6
GOES_ON = ("running", "paused")


def page() -> None:
    """Draws the page."""
    entries, me = run_entries(), visitor()
    _follow_address(entries)
    choices = _choices(entries, me)
    if not choices:
        _show_empty()
        return
    entry = choices[st.session_state[CHOSEN]]
    offered = pinned.offered(choices, entry.key)
    other = offered.get(st.session_state.get(pinned.CHOSEN) or "")
    pickers, about, further = st.columns([0.38, 0.36, 0.26], vertical_alignment="center")
    with pickers:
        run_picker(
            PICKER,
            runs={key: _names(named, me) for key, named in choices.items()},
            run=entry.key,
            on_run=_picked,
            others={key: _names(named, me) for key, named in offered.items()},
            other=other.key if other else None,
            on_other=_pinned,
        )
    if _waits(entry):
        return
    opened = open_run(entry.folder)
    if opened is None:
        return
    with about:
        _tell_about(entry, opened)
    with further:
        what_if_button(entry.key, opened.run)
    link = read_link(st.session_state.get("explore_asked", {}), opened.run)
    notes = [*opened.run.notices, *link.notes]
    if unknown := st.session_state.get("explore_unknown"):
        there = nearby_runs(unknown[:60], entries)
        notes.append(f"The link names a run that is not here ({unknown[:60]!r}); this is {entry.key}. {there}")
    notes += pinned.notes()
    if notes:
        # One box, and a small one, however many: they would push the player out of the window.
        more = [f"and {len(notes) - SHOWN_NOTES} more"] if len(notes) > SHOWN_NOTES else []
        st.info("  \n".join(map(plain, notes[:SHOWN_NOTES] + more)))
    # A run that cannot be opened gets the calm box, and nothing is pinned.
    _show_run(entry, link, other if other and open_run(other.folder) else None)


def _follow_address(entries: list[RunEntry]) -> None:
    """Takes over what the address bar asks for, unless the page itself wrote it."""
    address = st.query_params.to_dict()
    state = st.session_state
    if address in (state.get("explore_written"), state.get("explore_address")):
        return
    state.update({"explore_address": address, "explore_asked": address, "explore_unknown": ""})
    if "run" not in address:
        return
    pinned.follow(address, entries)
    entry = resolve_run(address["run"], entries)
    if entry is None:
        state.update({"explore_unknown": address["run"], "explore_asked": {}})
    else:
        state[CHOSEN] = entry.key


def _choices(entries: list[RunEntry], me: Owner) -> dict[str, RunEntry]:
    """What the picker offers; the chosen one is among them when there is any."""
    state = st.session_state
    # The user's own first: below fifty bundled ones nobody finds them. A class may have many.
    places = {YOURS: 0, BUNDLED: 1, OTHERS: 2}
    sort = sorted(entries, key=lambda entry: places[whose(entry.key, entry.folder, me)])
    choices = {entry.key: entry for entry in sort}
    chosen = state.get(CHOSEN)
    if chosen and chosen not in choices and (named := resolve_run(chosen, entries)):
        choices[chosen] = named
    if choices and chosen not in choices:
        state[CHOSEN] = default_run([entry.key for entry in entries])
    return choices


def _names(entry: RunEntry, me: Owner) -> tuple[str, str]:
    """The name of a run, and a heading: whose it is, or what a bundled one was trained on."""
    where = whose(entry.key, entry.folder, me)
    if where == BUNDLED:
        return entry.key, entry.key.split("-")[0]
    heading = "Your runs" if where == YOURS else "Runs of other browsers"
    return f"{entry.key.removeprefix('runs/')} ({where})", heading


def _picked(key: str) -> None:
    """The user chose another run: the old link says nothing about it."""
    st.session_state.update({CHOSEN: key, "explore_asked": {}, "explore_unknown": ""})
    _write_address({"run": key, **pinned.parameters()})


def _pinned(key: str | None) -> None:
    """The user chose another run to compare with, or none: the view of this one stays."""
    st.session_state[pinned.CHOSEN] = key
    address = {name: value for name, value in st.query_params.to_dict().items() if name != "with"}
    _write_address({"run": st.session_state[CHOSEN], **address, **pinned.parameters()})


def _write_address(address: dict[str, str]) -> None:
    st.session_state["explore_written"] = address
    if st.query_params.to_dict() != address:
        st.query_params.from_dict(address)


def _waits(entry: RunEntry) -> bool:
    """Say of a run that has no log yet which place in line it has, until it begins; return False for any other."""
    live = REGISTRY.find(entry.folder)
    if live is None or live.has_log:
        return False

    @st.fragment(run_every=TICK_S)
    def place() -> None:
        waiting = REGISTRY.line().waiting
        if live.has_log or REGISTRY.find(entry.folder) is not live:
            st.rerun()
        told = (
            f"waits in line, number {waiting.index(live) + 1}" if live in waiting else "is loading its model and data"
        )
        st.info(
            f"**{plain(entry.folder.name)}** {told}. It appears here when it begins.", icon=":material/hourglass_top:"
        )

    place()
    return True


def _tell_about(entry: RunEntry, opened: OpenRun) -> None:
    """A line about the run. That of one which goes on follows it, from what Runs reads; its end draws the page anew."""
    row = read_row(*entry)
    if row.state not in GOES_ON:
        # An opened run is kept, and may still say of a process that has died that it goes on.
        current = row.state in (opened.run.state, DAMAGED)
        st.caption(plain(describe_run(opened.run) if current else describe_row(row)))
        return

    @st.fragment(run_every=TICK_S)
    def line() -> None:
        row = read_row(*entry)
        if row.state in GOES_ON:
            st.caption(plain(describe_row(row)))
        elif row.state != DAMAGED:
            # The player tells of a run that is gone, and keeps its picture.
            st.rerun()

    line()


@st.fragment
def _show_run(entry: RunEntry, link: Link, other: RunEntry | None) -> None:
    """The player and what belongs to its selection; a release in the player reruns no more than this."""
    # Asked for anew: a session keeps what its fragments are given, and a run may be large.
    opened = open_run(entry.folder)
    if opened is None:
        return
    asked = link.view
    # Of a run that trains the browser chooses: each event would have another first matrix.
    chosen = None if opened.run.state == "running" else first_matrix(opened.run, asked.step)
    wish = replace(asked, matrix=asked.matrix or chosen)
    base = {"run": entry.key, **({"with": other.key} if other else {})}
    beside = {"run": other.key, "name": _names(other, visitor())[0]} if other else None
    view = player(PLAYER, run=entry.key, wish=wish, link=base, beside=beside, guide={"example": _example()})
    if view != wish and st.session_state[CHOSEN] == entry.key:
        _write_address(view.as_link(entry.key, other.key if other else None))
    _show_details(entry, opened, view)


def _example() -> str | None:
    """A bundled run that moves rank, for who looks at one that does not."""
    return NEWCOMERS_RUN if NEWCOMERS_RUN in {entry.key for entry in run_entries()} else None


def _show_details(entry: RunEntry, opened: OpenRun, view: PlayerView) -> None:
    """What the user may open. Until then the browser fetches neither Plotly nor the code and JSON viewers."""
    details = st.expander("A figure to zoom, its numbers, its code, a report", key=DETAILS, on_change="rerun")
    if details.open:
        # Imported here: most visitors never open it.
        from runs.take_out import show_take_out

        show_take_out(details, entry, opened.run, view)
    made = st.expander("How this run was made", key=MADE, on_change="rerun")
    if made.open:
        header = opened.run.header
        made.code(str(header.get("command") or "The log does not say."), language="bash")
        made.json({key: value for key, value in header.items() if key != "matrices"}, expanded=1)


def _show_empty() -> None:
    """No run anywhere: what to do next."""
    st.header("No run yet")
    st.markdown(f"There is nothing in `{samples_root().name}/` or `runs/`. Press **Train** at the top, or type:")
    st.code("python -m flexlora.train --task words --preset paper --out runs/demo", language="bash")

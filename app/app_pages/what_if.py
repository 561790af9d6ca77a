"""What-if: other settings on a logged run, decision by decision, and the real run that shows how good that was."""

from __future__ import annotations

import streamlit as st

from analysis.metrics import describe_run
from analysis.runs import Run
from charts import chart
from flexlora.config import FlexLoRAConfig
from links import go
from runs.replays import MODE_BADGES, Found, alternatives, base_of, find_trained, job_of, replayed, ruled, tell
from runs.store import default_run, open_run, plain, run_entries
from schedule.editor import AdapterSize, mean_cost
from schedule.panel import edited_config, schedule_panel
from widgets import switch

PICKER = "what_if_run"
BESIDE = "beside_what_if"
"""Key of what holds two columns, which a narrow window shows below each other: see STYLE in main.py."""


def page() -> None:
    """Draws the page."""
    entries = {entry.key: entry for entry in run_entries()}
    if not entries:
        st.info("No run is here yet. Train one, then ask what other settings would have decided.")
        return
    if st.session_state.get(PICKER) not in entries:
        st.session_state[PICKER] = default_run(list(entries))
    left, about = st.columns([0.27, 0.73], vertical_alignment="center")
    key = left.selectbox("Run", list(entries), key=PICKER, label_visibility="collapsed", persist_state="session")
    opened = open_run(entries[key].folder)
    if opened is None:
        return
    about.caption(plain(describe_run(opened.run)))
    run = opened.run
    if not len(run.steps):
        st.info("This run has no spectrum record yet: there is nothing to replay.")
        return
    base, foreign = base_of(run)
    if base is None:
        st.warning(plain(foreign or ""), icon=":material/info:")
        return
    if foreign:
        st.info(plain(foreign), icon=":material/info:")
    # The panel and what it changes run again together, the rest of the page does not.
    st.fragment(_compare)(key, base)


def _compare(key: str, base: FlexLoRAConfig) -> None:
    entry = next(entry for entry in run_entries() if entry.key == key)
    opened = open_run(entry.folder)
    if opened is None:
        return
    run, scope = opened.run, f"what_if_{key}"
    with st.container(horizontal=True, vertical_alignment="center"):
        labels = {name: badge.label for name, badge in MODE_BADGES.items()}
        mode = switch("Mode", [*labels], "what_if_mode", format_func=labels.get, label_visibility="collapsed")
        st.caption(MODE_BADGES[mode].help, width="stretch")
    ruled_base = ruled(scope, run, base, mode)
    with st.container(key=BESIDE):
        # What was decided comes first, also where a narrow window shows one below the other.
        result, schedule = st.columns([0.6, 0.4])
    with schedule:
        shapes = [(matrix.in_features, matrix.out_features) for matrix in run.matrices]
        rank = round(float(run.ranks[0].mean()))
        schedule_panel(scope, ruled_base, AdapterSize(len(shapes), rank, mean_cost(shapes)))
    config = edited_config(scope, ruled_base)
    if config is None:
        return
    found = replayed(run, config, mode)
    if isinstance(found, str):
        result.warning(plain(found), icon=":material/block:")
        return
    with result:
        _show_first(found, config, base)
    _show_more(found, config)
    if config == base:
        st.caption("Change a rule or the schedule, and the real run that checks it can be started here.")
    else:
        _train(run, config)


def _show_first(found: Found, config: FlexLoRAConfig, base: FlexLoRAConfig) -> None:
    for notice in found.replay.notices:
        st.info(plain(notice))
    badge = MODE_BADGES[found.mode]
    st.markdown(f":{badge.colour}-badge[{badge.icon} {badge.label}] {plain(tell(found, config == base))}")
    told = "Moves at each step and matrix: made by both, only by the run, only by the replay"
    chart("what_if_map", told, "decision_map", found.difference, found.run.matrices)


def _show_more(found: Found, config: FlexLoRAConfig) -> None:
    left, right = st.columns(2)
    dashed = "what-if, approximation" if found.mode == "frozen" else "what-if, event by event"
    with left:
        told = "Moves of each event: both, only as it was, only what-if"
        chart("what_if_bars", told, "agreement_bars", found.difference)
    with right:
        told = "Directions moved so far, as it was and what-if"
        chart("what_if_moves", told, "moves_over_time", found.actual, {dashed: found.replay})
    if found.difference.rank_difference is not None:
        told = "Difference of final ranks, layer by module type"
        title = "Final rank, what-if minus as it was (approximation)"
        chart("what_if_ranks", told, "rank_difference_map", found.difference, found.run.matrices, title)
    with st.container():
        st.markdown("## Other choices beside it")
        st.table(alternatives(found, config), border="horizontal", hide_index=True, alt="Alternatives and agreement")
        st.caption(
            "Agreement: moves that both make as a share of those that either makes. Random moves of equal number are "
            "what any choice must beat to mean something."
        )


def _train(run: Run, config: FlexLoRAConfig) -> None:
    st.markdown("## Train this")
    job = job_of(run, config)
    if isinstance(job, str):
        st.caption(plain(job))
        return
    trained = find_trained(run, job)
    if trained is None:
        st.caption(
            "A replay cannot know how λ would have gone on. Training with these settings shows it, and how good the "
            "approximation was."
        )
        if st.button("Train this", key="what_if_train", type="primary", icon=":material/play_arrow:"):
            go("Train", train_request=(job, run.folder.name))
        return
    st.caption(plain(trained.sentence))
    if trained.difference is not None:
        told = "How far the approximated final ranks are from the trained ones"
        title = "Final rank: approximation minus the trained run"
        chart("what_if_quality", told, "rank_difference_map", trained.difference, run.matrices, title)

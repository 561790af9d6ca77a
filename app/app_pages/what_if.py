"""What-if: other settings on a logged run, decision by decision, and the real run that shows how good that was."""

from __future__ import annotations

import streamlit as st

from analysis.figures import FIGURES
from analysis.metrics import describe_run
from analysis.runs import Run
from flexlora.config import FlexLoRAConfig
from links import go
from runs.replays import MODE_BADGES, Found, alternatives, base_of, find_trained, job_of, replayed, ruled, tell
from runs.store import default_run, open_run, plain, run_entries
from schedule.editor import AdapterSize, mean_cost
from schedule.panel import edited_config, schedule_panel

PICKER = "what_if_run"
PLOT = {"displaylogo": False, "toImageButtonOptions": {"format": "svg"}}


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
        mode = st.segmented_control(
            "Mode",
            list(MODE_BADGES),
            default="exact",
            required=True,
            key="what_if_mode",
            format_func=lambda name: MODE_BADGES[name].label,
            label_visibility="collapsed",
            persist_state="session",
        )
        badge = MODE_BADGES[mode or "exact"]
        st.caption(badge.help, width="stretch")
    ruled_base = ruled(scope, run, base, mode or "exact")
    with st.expander("Schedule", expanded=True, icon=":material/show_chart:"):
        shapes = [(matrix.in_features, matrix.out_features) for matrix in run.matrices]
        rank = round(float(run.ranks[0].mean()))
        schedule_panel(scope, ruled_base, AdapterSize(len(shapes), rank, mean_cost(shapes)))
    config = edited_config(scope, ruled_base)
    if config is None:
        return
    found = replayed(run, config, mode or "exact")
    if isinstance(found, str):
        st.warning(plain(found), icon=":material/block:")
        return
    _show(found, config, base)
    if config == base:
        st.caption("Change a rule or the schedule, and the real run that checks it can be started here.")
    else:
        _train(run, config)


def _show(found: Found, config: FlexLoRAConfig, base: FlexLoRAConfig) -> None:
    for notice in found.replay.notices:
        st.info(plain(notice))
    badge = MODE_BADGES[found.mode]
    st.markdown(f":{badge.colour}-badge[{badge.icon} {badge.label}] {plain(tell(found, config == base))}")
    st.plotly_chart(
        FIGURES["decision_map"](found.difference, found.run.matrices),
        key="what_if_map",
        config=PLOT,
        alt="Moves at each step and matrix: made by both, only by the run, only by the replay",
    )
    left, right = st.columns(2)
    dashed = "what-if, approximation" if found.mode == "frozen" else "what-if, event by event"
    with left:
        st.plotly_chart(
            FIGURES["agreement_bars"](found.difference),
            key="what_if_bars",
            config=PLOT,
            alt="Moves of each event: both, only as it was, only what-if",
        )
    with right:
        st.plotly_chart(
            FIGURES["moves_over_time"](found.actual, {dashed: found.replay}),
            key="what_if_moves",
            config=PLOT,
            alt="Directions moved so far, as it was and what-if",
        )
    if found.difference.rank_difference is not None:
        st.plotly_chart(
            FIGURES["rank_difference_map"](
                found.difference, found.run.matrices, "Final rank, what-if minus as it was (approximation)"
            ),
            key="what_if_ranks",
            config=PLOT,
            alt="Difference of final ranks, layer by module type",
        )
    with st.container():
        st.markdown("**Other choices beside it**")
        st.table(alternatives(found, config), border="horizontal", hide_index=True, alt="Alternatives and agreement")
        st.caption(
            "Agreement: moves that both make as a share of those that either makes. Random moves of equal number are "
            "what any choice must beat to mean something."
        )


def _train(run: Run, config: FlexLoRAConfig) -> None:
    st.markdown("**Train this**")
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
        st.plotly_chart(
            FIGURES["rank_difference_map"](
                trained.difference, run.matrices, "Final rank: approximation minus the trained run"
            ),
            key="what_if_quality",
            config=PLOT,
            alt="How far the approximated final ranks are from the trained ones",
        )

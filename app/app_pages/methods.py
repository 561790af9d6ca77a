"""Methods: what each did with the ranks of one small task, in what they differ, and what each costs."""

from __future__ import annotations

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from analysis.figures import FIGURES
from analysis.rank_film import rank_film
from flexlora.methods import METHODS, Method
from links import explore, go
from player.words import explained
from runs.gallery import Film, gallery
from runs.method_examples import COSTS, TASK, Cost, Costs, Example, Facts, facts_of, find_examples, read_costs
from runs.step_costs import step_costs
from runs.store import plain
from widgets import switch

CHOSEN = "methods_chosen"
PICTURE = "methods_picture"
NUMBERS = "methods_numbers"

WATCH = (
    "Each picture replays a logged run of one small task. A cell is a weight matrix, its colour the rank. "
    "Choose one to read about it."
)

INTRODUCTION = """
Every method here puts the same adapter beside each frozen weight matrix: **ΔW = s · P diag(λ) Q**, a sum of
*directions*, each with a weight λ. LoRA gives all matrices the same number of directions (the *rank*) for ever. The
others ask which directions are worth having. They differ in **what** they take away or give, **by what score** they
choose, **when**, and whether a direction may **come back**.
"""

NONE = "–"


def page() -> None:
    """Draws the page."""
    examples = find_examples()
    _show_films(examples)
    chosen = st.session_state.get(CHOSEN) or next(iter(METHODS))
    if set(examples) < set(METHODS):
        # Those without a film can be chosen, too.
        more = {"format_func": lambda key: METHODS[key].title, "label_visibility": "collapsed", "wrap": True}
        chosen = switch("Method", list(METHODS), CHOSEN, st.pills, **more)
    _show_method(METHODS[chosen], examples.get(chosen))
    with st.expander("In what they differ"):
        st.markdown(INTRODUCTION)
        _show_family()
    numbers = st.expander("What each did in numbers, and what it costs", key=NUMBERS, on_change="rerun")
    if numbers.open:
        with numbers:
            _show_numbers(examples, read_costs())
    picture = st.expander("Total rank of all examples over time", key=PICTURE, on_change="rerun")
    if picture.open:
        _show_picture(picture, examples)
    step_costs()


def _show_films(examples: dict[str, Example]) -> None:
    films = [
        Film(name, METHODS[name].title, _moves(METHODS[name]), example.key, rank_film(example.run))
        for name in METHODS
        if (example := examples.get(name))
    ]
    if films:
        explained(WATCH, "methods_watch")
        gallery("methods_gallery", films, st.session_state.get(CHOSEN) or next(iter(METHODS)), _choose)


def _moves(method: Method) -> str:
    return method.what_moves if method.direction != "neither" or "for good" in method.what_moves else "nothing moves"


def _choose(method: str) -> None:
    st.session_state[CHOSEN] = method


def _show_family() -> None:
    rows = list(METHODS.values())
    st.table(
        {
            "Method": [f"**{plain(method.title)}**" for method in rows],
            "What moves": [plain(method.what_moves) for method in rows],
            "By what score": [plain(method.score) for method in rows],
            "When": [plain(method.when) for method in rows],
            "Direction": [plain(method.direction) for method in rows],
            "Kept beside the adapter": [plain(method.state) for method in rows],
        },
        border="horizontal",
        hide_index=True,
        alt="What each method moves, by what score, when, in which direction, and what it keeps",
    )


def _show_method(method: Method, example: Example | None) -> None:
    with st.container(border=True):
        words, doors = st.columns([0.74, 0.26])
        words.markdown(f"**{plain(method.title)}.** {plain(method.summary)}  \n[{plain(method.source)}]({method.url})")
        if method.caution:
            words.caption(plain(method.caution))
        with doors:
            if example and st.button(
                "Open its example in Explore", key="methods_explore", icon=":material/explore:", width="stretch"
            ):
                explore(example.key)
            if st.button("Train with it", key="methods_train", icon=":material/model_training:", width="stretch"):
                go("Train", train_method=method.name)
        if example is None:
            words.markdown("No recorded example yet. This makes one:")
            words.code(
                f"python -m flexlora.train --task {TASK} --method {method.name} --out runs/{TASK}-{method.name}",
                language="bash",
            )


def _show_numbers(examples: dict[str, Example], costs: dict[str, Costs]) -> None:
    st.markdown(f"## What each did on the toy task `{TASK}`, in one recorded run")
    if examples:
        st.table(_numbers(examples, costs), border="horizontal", hide_index=True, alt="Numbers of one run a method")
        steps = sorted({len(example.run.log.steps["step"]) for example in examples.values()})
        seeds = sorted({str(example.run.header.get("seed")) for example in examples.values()})
        names = ", ".join(plain(example.key) for example in examples.values())
        st.caption(
            f"From the logs {names}: {' or '.join(map(str, steps))} steps, seed {', '.join(map(plain, seeds))}. "
            "One seed is one seed: these rows show how methods behave, not which is better. docs/methods.md compares "
            "them over seeds, on a pretrained model."
        )
    else:
        st.markdown(
            f"No recorded example yet. `python -m flexlora.train --task {TASK} --method adalora "
            f"--out runs/{TASK}-adalora` makes one."
        )
    for kind, measured in costs.items():
        command = measured.command.replace("`", "")
        st.caption(
            f"{kind}: task {plain(measured.task)} on {plain(measured.machine)}, by `{command}`: the median over "
            "rounds, each against LoRA in the same round, with the lowest and the highest. Of so small a model a step "
            "is mostly what a method does beside the layers; What a step costs, below, measures models as they are."
        )
    if not costs:
        files = " and ".join(f"`{name}`" for name in COSTS.values())
        st.caption(
            f"Cost against LoRA is not measured here: {files} are missing or damaged. "
            "`python benchmarks/method_costs.py` makes them."
        )


def _numbers(examples: dict[str, Example], costs: dict[str, Costs]) -> dict[str, list[str]]:
    facts = {name: facts_of(example.run) for name, example in examples.items()}
    rows = [(method, facts.get(name, Facts())) for name, method in METHODS.items()]
    table = {
        "Method": [f"**{plain(method.title)}**" for method, _ in rows],
        "Test accuracy": [NONE if row.accuracy is None else f"{row.accuracy:.3f}" for _, row in rows],
        "Total rank, start → end": [_ranks(row) for _, row in rows],
        "Active parameters at the end": [NONE if row.parameters is None else f"{row.parameters:,}" for _, row in rows],
        "State kept beside it, at most": [_bytes(row.method_bytes) for _, row in rows],
    }
    for kind, measured in costs.items():
        own = [measured.rows.get(method.name) for method, _ in rows]
        table[f"Time against LoRA, {kind}"] = [_ratio(cost) for cost in own]
        if any(cost and cost.memory_ratio is not None for cost in own):
            table[f"Peak memory, {kind}"] = [
                NONE if cost is None or cost.memory_ratio is None else f"{cost.memory_ratio:.2f} ×" for cost in own
            ]
    return table


def _ranks(row: Facts) -> str:
    if row.first_rank is None:
        return "no example yet"
    used = "" if row.used is None else f" (≈ {row.used:.0f} used a step)"
    return f"{row.first_rank} → {row.last_rank}{used}"


def _bytes(count: int | None) -> str:
    if count is None:
        return NONE
    if count < 1000:
        return f"{count} B" if count else "none"
    return f"{count / 1000:,.1f} kB" if count < 10_000 else f"{count / 1000:,.0f} kB"


def _ratio(cost: Cost | None) -> str:
    return NONE if cost is None else f"{cost.ratio:.2f} × ({cost.low:.2f} to {cost.high:.2f})"


def _show_picture(place: DeltaGenerator, examples: dict[str, Example]) -> None:
    runs = {METHODS[name].title: examples[name].run for name in METHODS if name in examples}
    if not runs:
        place.markdown("There is no example to draw yet.")
        return
    figure = FIGURES["total_rank"](runs)
    place.plotly_chart(figure, key="methods_total_rank", alt="Total rank of one run a method over time")
    place.caption(
        "Dashed: how many directions a training step uses on average, where that is not the rank. Methods that only "
        "take away start with more directions than they are meant to end with."
    )

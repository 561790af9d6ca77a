"""Lesson 4: how many directions may move, and what another schedule would have done."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np

from analysis.lessons.material import RUN, Material
from analysis.lessons.words import ends_of
from analysis.metrics import gross_moves, net_moves
from analysis.run_config import config_at
from analysis.runs import Run
from analysis.what_if import Decisions, logged_decisions, replay
from flexlora.config import FlexLoRAConfig

START_BUDGETS = (2, 4, 6, 8, 10, 12, 14, 16, 20, 24)
WANTED_MOVES = 100
SKETCHED, SKETCHED_B0 = 6, 20
"""How many events, and the b₀ for which b(t) is drawn: not that of the run, whose moves stand in many places."""


def facts(lab: Material) -> dict[str, Any]:
    """Return the numbers of the lesson."""
    run = lab.run(RUN)
    config = cast(FlexLoRAConfig, config_at(run, 1))
    step, _, _ = ends_of(run)
    span = run.total_steps - int(config.final_steps or 0)
    left = 1 - (step - int(config.warmup_steps or 0)) / span
    moved = [event["step"] for event in run.events if event["prune"]]
    events = [int(at) for at in config.event_steps()]
    curve = [config.budget(at) for at in events]
    return {
        "run": RUN,
        "step": step,
        "total_steps": run.total_steps,
        "warmup": config.warmup_steps,
        "final": config.final_steps,
        "window_end": span,
        "window_length": span - int(config.warmup_steps or 0),
        "u_last": (events[-1] - int(config.warmup_steps or 0)) / span,
        "interval": config.interval,
        "b0": config.initial_budget,
        "left": left,
        "raw": config.initial_budget * left**3,
        "budget": config.budget(step),
        "events": len(events),
        "active": len(moved),
        "idle": len(events) - len(moved),
        "last_moved": moved[-1],
        "last_answers": [moved[-1]],
        "last": int(run.steps[-1]),
        "last_share": moved[-1] / run.total_steps,
        "wanted": WANTED_MOVES,
        "gross": gross_moves(run),
        "half_events": len(events) // 2,
        "first_half_share": sum(curve[: len(events) // 2]) / sum(curve),
        "event_steps": events,
        "event_budgets": curve,
        **_sketch(config, events, curve),
        **_others(config),
        **_dial(config),
        **_doubled(run, config),
    }


def _sketch(config: FlexLoRAConfig, events: list[int], own: list[int]) -> dict[str, Any]:
    """The events at which b(t) of another b₀ is drawn: evenly spread, the first and last among them."""
    curve = [replace(config, initial_budget=SKETCHED_B0).budget(at) for at in events]
    places = np.linspace(0, len(events) - 1, SKETCHED).round().astype(int)
    return {
        "sketch_steps": [events[place] for place in places],
        "first_sketched": events[places[0]],
        "last_sketched": events[places[-1]],
        "sketch_budgets": [curve[place] for place in places],
        "sketch_top": max(curve) + 2,
        "sketch_b0": SKETCHED_B0,
        "sketch_end": max(at for at, budget in zip(events, curve, strict=True) if budget),
        "two_curves": [
            {"label": f"b₀ = {b0}", "values": values}
            for b0, values in ((config.initial_budget, own), (SKETCHED_B0, curve))
        ],
    }


def _others(config: FlexLoRAConfig) -> dict[str, Any]:
    """Moves that three shapes allow over the run, all from the same b0."""
    curves = {
        key: [replace(config, schedule=key).budget(int(at)) for at in config.event_steps()]
        for key in ("paper", "reference", "constant")
    }
    return {
        **{f"{key}_moves": sum(curve) for key, curve in curves.items()},
        "shapes": [
            {"label": "paper", "values": curves["paper"]},
            {"label": "released code, switched on", "values": curves["reference"]},
            {"label": "released code, as it comes", "values": curves["constant"]},
        ],
        "shapes_top": max(max(curve) for curve in curves.values()) + 1,
        "level_b0": (level := sum(curves["paper"]) // len(curves["paper"])),
        "level_moves": level * len(curves["paper"]),
        "level_late": level * (len(curves["paper"]) - len(curves["paper"]) // 2),
        "paper_late": sum(curves["paper"][len(curves["paper"]) // 2 :]),
        "constant_ratio": sum(curves["constant"]) / sum(curves["paper"]),
    }


def _dial(config: FlexLoRAConfig) -> dict[str, Any]:
    """A place for each b₀, the run's own where it begins, and what the first with enough moves allows."""
    frames = [_started(config, b0) for b0 in START_BUDGETS]
    enough = next(frame["value"] for frame in frames if frame["value"] >= WANTED_MOVES)
    return {
        "dial": frames,
        "dial_start": START_BUDGETS.index(int(config.initial_budget)),
        "dial_least": START_BUDGETS[0],
        "dial_most": START_BUDGETS[-1],
        "dial_count": len(START_BUDGETS),
        "dial_ends": [f"step {at}" for at in (config.event_steps()[0], config.event_steps()[-1])],
        "enough": enough,
    }


def _started(config: FlexLoRAConfig, b0: int) -> dict[str, Any]:
    curve = [replace(config, initial_budget=b0).budget(int(at)) for at in config.event_steps()]
    active = [int(at) for at, budget in zip(config.event_steps(), curve, strict=True) if budget]
    return {
        "value": sum(curve),
        "label": f"b₀ = {b0}",
        "bars": [budget / START_BUDGETS[-1] for budget in curve],
        "words": [str(budget) for budget in curve],
        "numbers": [
            ["moves allowed", str(sum(curve))],
            ["last event that moves", f"step {active[-1]}" if active else "–"],
        ],
    }


def _doubled(run: Run, config: FlexLoRAConfig) -> dict[str, Any]:
    """What twice the b0 would have moved, on frozen spectra; and the run itself replayed, which must agree."""
    own = logged_decisions(run)
    twice = replay(run, replace(config, initial_budget=2 * config.initial_budget), "frozen")
    same = replay(run, config, "exact")
    allowed = [replace(config, initial_budget=2 * config.initial_budget).budget(int(at)) for at in config.event_steps()]
    pairs = len(run.matrices) // 2
    labels = [f"b₀ = {b0}" for b0 in (config.initial_budget, 2 * config.initial_budget)]
    return {
        "twice_b0": 2 * config.initial_budget,
        "twice_gross": twice.moves,
        "matrices": len(run.matrices),
        "twice_allowed": sum(allowed),
        "twice_first": max(allowed),
        "pairs": pairs,
        "twice_possible": sum(min(budget, pairs) for budget in allowed),
        "twice_net": _net(run, twice),
        "own_net": net_moves(run),
        "double_net": 2 * net_moves(run),
        "gross_ratio": twice.moves / own.moves,
        "move_bars": [own.moves, twice.moves],
        "move_labels": labels,
        "kept_bars": [own.moves, net_moves(run), twice.moves, _net(run, twice)],
        "kept_labels": [f"{label}, {what}" for label in labels for what in ("moves", "net moves")],
        "move_top": 1.15 * twice.moves,
        "net_ratio": _net(run, twice) / net_moves(run),
        "replay_agrees": bool((same.prune == own.prune).all() and (same.extend == own.extend).all()),
    }


def _net(run: Run, decisions: Decisions) -> float:
    assert decisions.final_ranks is not None
    return float(np.maximum(decisions.final_ranks - run.ranks[0], 0).sum())

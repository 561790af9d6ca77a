"""Preset ``paper`` holds what the paper states, and every other choice is on the list of silent ones."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest

from flexlora.config import PRESETS, FlexLoRAConfig
from flexlora.importance import IMPORTANCES
from flexlora.reallocation import PLANS
from flexlora.schedules import SCHEDULES

PAPER = FlexLoRAConfig(total_steps=1000)
FIDELITY = Path(__file__).parents[2] / "docs" / "fidelity.md"
ALL_RANKS_4 = dict.fromkeys("abcdef", 4)
RISING = {"a": 0.1, "b": 0.2, "c": 0.3, "d": 0.7, "e": 0.8, "f": 0.9}


def quoted_entropy() -> bool:
    lam = np.array([3.0, -2.0, 0.5, 0.1])
    s = lam**2 / (lam**2).sum()
    expected = -(1 / math.log(4)) * (s * np.log(s)).sum()
    return IMPORTANCES[PAPER.importance](lam) == pytest.approx(expected, rel=1e-12)


def quoted_budget() -> bool:
    b0, t_warmup, T, t_final = PAPER.initial_budget, 100, 1000, 300
    events = range(101, 700)
    return [PAPER.budget(t) for t in events] == [round(b0 * (1 - (t - t_warmup) / (T - t_final)) ** 3) for t in events]


def planned(budget: int, ranks=ALL_RANKS_4):
    return PLANS[PAPER.plan](RISING, ranks, budget, direction=PAPER.direction, max_rank=PAPER.max_rank)


STATED = {
    r"s_i = \lambda_i^2 / \sum_j \lambda_j^2": ("importance", quoted_entropy),
    r"I(\Lambda) = -\frac{1}{\log r}\sum_{i=1}^{r} s_i \log(s_i+\epsilon)": ("importance", quoted_entropy),
    "Prune + Expand (Ours)": ("direction", lambda: PAPER.direction == "both"),
    "a rank greater than 1": (
        "direction",
        lambda: planned(1, {**ALL_RANKS_4, "a": 1}).prune == ("b",),
    ),
    "each discard their smallest singular direction": ("prune_rule", lambda: PAPER.prune_rule == "magnitude"),
    "least important matrices": ("direction", lambda: planned(2).prune == ("a", "b")),
    "most important matrices": ("direction", lambda: planned(2).extend == ("f", "e")),
    "limiting the maximum number of singular directions added or removed": (
        "direction",
        lambda: all(len(planned(b).prune) <= b and len(planned(b).extend) <= b for b in range(8)),
    ),
    "more expressive power": ("direction", lambda: planned(1, {**ALL_RANKS_4, "f": 700}).extend == ("f",)),
    r"b(t)=\mathrm{round}\big(b_0\cdot(1-\frac{t-t_{warmup}}{T-t_{final}})^3\big)": ("schedule", quoted_budget),
    r"(1-\frac{t-t_{warmup}}{T-t_{final}})^3": ("exponent", lambda: FlexLoRAConfig().exponent == 3),
    "initializes the new singular value to 0 and samples the corresponding singular vectors from a Gaussian "
    "distribution": ("new_direction", lambda: PAPER.new_direction == "zero_impact"),
    "applies orthogonal regularization": ("regularization_weight", lambda: PAPER.regularization_weight > 0),
}
"""Words of the paper (from its summary) → the field that they fix, and whether preset paper does as they say."""

SILENT = {
    "target_modules",
    "exclude_modules",
    "layers_to_transform",
    "modules_to_save",
    "initial_rank",
    "max_rank",
    "alpha",
    "total_steps",
    "warmup_steps",
    "final_steps",
    "interval",
    "points",
    "initial_budget",
    "adaptive_margin",
    "adaptive_churn",
    "rank_one",
    "all_zero",
    "plan",
    "protection",
    "regularizer",
    "regularization_weight",
    "optimizer_at_event",
    "lr_at_event",
    "initial_std",
    "new_direction_std",
    "epsilon",
    "seed",
    "draws",
    "policy",
    "initial_ranks",
}
"""Fields whose value the paper leaves open: the regulariser's presence is stated, its weight is not."""


@pytest.mark.parametrize("quote", STATED)
def test_preset_paper_does_what_the_paper_says(quote):
    _, holds = STATED[quote]
    assert holds()


def test_every_field_is_stated_by_the_paper_or_listed_as_silent():
    stated = {field for field, _ in STATED.values()}
    assert stated | SILENT | {"preset"} == set(FlexLoRAConfig.__dataclass_fields__)
    assert stated & SILENT == {"regularization_weight"}


def test_the_documentation_lists_the_same_silent_fields():
    section = FIDELITY.read_text(encoding="utf-8").split("\n## Where the paper is silent\n")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == SILENT


def test_the_presets_differ_in_the_ways_that_the_documentation_names():
    differing = {name for name, value in PRESETS["paper"].items() if PRESETS["reference"][name] != value}
    assert differing == {
        "schedule",
        "initial_budget",
        "rank_one",
        "all_zero",
        "prune_rule",
        "plan",
        "regularizer",
        "regularization_weight",
        "optimizer_at_event",
        "lr_at_event",
        "initial_std",
        "new_direction_std",
        "epsilon",
    }


def test_the_released_curve_is_offered_although_its_default_is_constant():
    assert PRESETS["reference"]["schedule"] == "constant"
    window = {"initial_budget": 4, "warmup_steps": 0, "total_steps": 10, "final_steps": 0}
    assert [SCHEDULES["reference"](t, **window) for t in (1, 5, 9)] == [4, 4, 1]

"""Values worked out by hand from each method's formulae, and the limits in which a method becomes another."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
import torch

from flexlora.choices import at_zero, pool_ends
from flexlora.job import build_job
from flexlora.methods import METHODS
from flexlora.methods.autolora import unrolled_gradient
from flexlora.methods.configs import AutoLoRAConfig, SaLoRAConfig, SoRAConfig
from flexlora.methods.salora import evaluation_gate, open_probability, sampled_gate
from flexlora.methods.sora import soft_threshold
from flexlora.rank_targets import RANK_TARGETS, keep_best
from flexlora.session import Session
from flexlora.smoothing import SmoothedSensitivity, component_shares

WINDOW = {"initial": 12, "target": 8, "warmup_steps": 10, "total_steps": 110, "final_steps": 20}


def session_of(method: str, steps: int = 12, **settings) -> Session:
    return Session(build_job("digits", method, steps=steps, settings=settings))


def losses(session: Session, steps: int = 12) -> list[float]:
    found = []
    for step in range(1, steps + 1):
        found.append(session.train_step(step).task_loss)
        if session.is_event(step):
            session.event(step)
        session.finish_step()
    return found


@pytest.mark.parametrize(
    ("name", "at"),
    [
        # 8 + 4 · (1 − p)³ cut to a whole number: p = 0, 1/4 (9.6875), 1/2 (8.5), 1.
        ("adalora", {5: 12, 10: 12, 30: 9, 50: 8, 90: 8, 110: 8}),
        # 12 − whole part of 4 · p³: p = 0, 1/2 (0.5), 4/5 (2.048), 1.
        ("dora_dynamic", {5: 12, 10: 12, 50: 12, 74: 10, 90: 8, 110: 8}),
    ],
)
def test_rank_targets(name, at):
    assert {step: RANK_TARGETS[name](step, **WINDOW) for step in at} == at


def test_the_best_directions_of_all_matrices_are_kept_and_ties_at_the_threshold_go():
    masks, threshold = keep_best([np.array([1.0, 2.0, 3.0]), np.array([4.0, 5.0, 6.0])], 4)
    assert [mask.tolist() for mask in masks] == [[False, False, True], [True, True, True]]
    assert threshold == 2.0
    masks, threshold = keep_best([np.array([1.0, 1.0]), np.array([1.0, 2.0])], 3)
    assert [mask.tolist() for mask in masks] == [[False, False], [False, True]]
    masks, threshold = keep_best([np.array([1.0, 2.0])], 2)
    assert masks[0].all() and threshold is None


def test_adalora_smooths_sensitivity_and_uncertainty():
    session = session_of("adalora", beta1=0.5, beta2=0.5)
    name, matrix = next(iter(session.adapter.matrices.items()))
    with torch.no_grad():
        for part in (matrix.Pt, matrix.Q):
            part.zero_()
            part.grad = torch.zeros_like(part)
        matrix.lam.fill_(1.0)
    # |λ · g| = 2, then 4: Ī = 1, 2.5; Ū = 0.5 · |2 − 1|, then 0.25 + 0.5 · |4 − 2.5| = 1; s = 2.5.
    for gradient in (-2.0, 4.0):
        matrix.lam.grad = torch.full_like(matrix.lam, gradient)
        session.dynamics.after_step(1)
    assert session.dynamics.scores()[name] == pytest.approx(2.5)
    # Q's entries count with their mean: one of 64 entries with s = 2.5.
    with torch.no_grad():
        matrix.lam.zero_()
        matrix.Q[0, 0] = 1.0
    fresh = SmoothedSensitivity(session.adapter, 0.5, 0.5)
    for gradient in (2.0, 4.0):
        matrix.lam.grad = torch.zeros_like(matrix.lam)
        matrix.Q.grad = torch.full_like(matrix.Q, gradient)
        fresh.update()
    assert fresh.scores()[name][:2] == pytest.approx([2.5 / matrix.in_features, 0.0])


def test_elalora_prunes_the_lowest_of_the_pool_and_extends_the_owners_of_its_highest():
    scores = {"a": np.array([9.0, 1.0, 2.0]), "b": np.array([6.0, 5.0, 8.0]), "c": np.array([3.0])}
    slots = {"a": [0, 1, 2], "b": [0, 2, 5], "c": [0]}
    limits = dict.fromkeys(slots, 8)
    # The pool: a 1 and 2, b 5 and 6, c 3. Lowest two from a; highest two are both of b.
    taken, given = pool_ends(scores, slots, limits, pool=2, budget=2)
    assert taken == [(1.0, "a", 1), (2.0, "a", 2)]
    assert given == [(6.0, "b", 0), (5.0, "b", 2)]
    # A third: a keeps its last direction and c its only one, so b loses 5; then only three entries are left to extend.
    taken, given = pool_ends(scores, slots, limits, pool=2, budget=3)
    assert [entry[1] for entry in taken] == ["a", "a", "b"][: len(taken)]
    assert len(taken) == len(given) and not set(taken) & set(given)
    taken, given = pool_ends(scores, slots, {**limits, "b": 3}, pool=2, budget=2)
    assert [entry[1] for entry in given] == ["c"] and len(taken) == 1
    # All would lose one, but few have room: nobody is given the room of a direction that stays after all.
    full = {name: np.arange(1.0, 7.0) + place / 10 for place, name in enumerate("abc")}
    limits, slots = dict.fromkeys(full, 6), {name: list(range(6)) for name in full}
    for budget in range(1, 19):
        taken, given = pool_ends(full, slots, limits, pool=6, budget=budget)
        lost, got = (Counter(entry[1] for entry in half) for half in (taken, given))
        assert len(taken) == len(given) > 0 and all(1 <= 6 - lost[name] + got[name] <= 6 for name in full)


def test_l1ra_gives_what_reached_zero_to_the_matrices_that_lost_nothing_in_turn():
    values = {
        "a": np.array([0.0, 0.4, 0.0]),
        "b": np.array([0.9, 0.5]),
        "c": np.array([0.8]),
        "d": np.array([0.0, 0.0]),
    }
    # d keeps one of its two; c's smallest λ is larger than b's, so it comes first and again third.
    prune, extend = at_zero(values, dict.fromkeys(values, 8), 1e-10)
    assert prune == [("a", 0), ("a", 2), ("d", 1)]
    assert extend == ["c", "b", "c"]
    assert at_zero(values, {**dict.fromkeys(values, 8), "c": 1}, 1e-10)[1] == ["b", "b", "b"]
    assert at_zero(values, {**dict.fromkeys(values, 8), "c": 1, "b": 3}, 1e-10)[1] == ["b"]
    assert at_zero({"a": np.zeros(2), "b": np.zeros(2)}, {"a": 8, "b": 8}, 1e-10) == ([("a", 1), ("b", 1)], [])


def test_l1ra_holds_every_value_between_zero_and_one_at_a_rate_of_its_own():
    session = session_of("l1ra", pull=0.25)
    first, second, *_ = session.adapter.matrices.values()
    assert float(first.Pt.detach().abs().max()) == 0.0 and first.lam.tolist()[:8] == [1.0] * 8
    with torch.no_grad():
        first.lam[:3] = torch.tensor([0.5, 0.2, 1.9])
    session.dynamics.after_step(1)
    assert first.lam.tolist()[:4] == [0.25, 0.0, 1.0, 0.75]
    assert first.lam.tolist()[8:] == [0.0] * 8
    session.train_step(2)
    rates = {group["lr"] for group in session.optimizer.param_groups}
    assert 0.02 in rates and len(rates) == 2


def test_dora_scores_a_direction_by_its_share_of_the_matrix():
    session = session_of("dora_dynamic", initial_rank=2, target_rank=1, beta=0.5)
    name, matrix = next(iter(session.adapter.matrices.items()))
    with torch.no_grad():
        matrix.Pt.zero_()
        matrix.Q.zero_()
        matrix.Pt[0, 0] = matrix.Pt[1, 1] = matrix.Q[0, 0] = matrix.Q[1, 1] = 1.0
        matrix.lam.copy_(torch.tensor([3.0, -4.0]))
    assert component_shares(matrix).tolist() == pytest.approx([0.6, 0.8])
    with torch.no_grad():
        # Parallel directions: ‖ΔW‖ = 3 · 2 − 4 = 2, so the shares are 6 / 2 and 4 / 2.
        matrix.Pt[1], matrix.Q[1] = matrix.Pt[0].clone(), matrix.Q[0].clone()
        matrix.Pt[0] *= 2.0
    assert component_shares(matrix).tolist() == pytest.approx([3.0, 2.0])
    for _ in range(2):
        session.dynamics.after_step(1)
    assert session.dynamics.state()[1][f"smoothed.{name}"].tolist() == pytest.approx([2.25, 1.5])


def test_dora_equalises_the_dimensions_until_pruning_ends():
    session = session_of("dora_dynamic", initial_rank=1, target_rank=1, dimension_weight=0.1)
    with torch.no_grad():
        for matrix in session.adapter.matrices.values():
            matrix.Pt.fill_(1.0)
            # Half 0 and half 2 over n entries: the unbiased variance is n / (n − 1).
            matrix.Q.zero_()
            matrix.Q[:, ::2] = 2.0
    sizes = [matrix.in_features for matrix in session.adapter.matrices.values()]
    expected = 0.1 * np.mean([size / (size - 1) for size in sizes])
    assert float(session.dynamics.penalty(1).detach()) == pytest.approx(expected, rel=1e-5)
    assert session.dynamics.penalty(12) is None


def test_sora_pulls_to_exact_zero():
    pulled = soft_threshold(torch.tensor([1.0, -1.0, 0.3, -0.3, 0.0]), 0.5)
    assert pulled.tolist() == [0.5, -0.5, 0.0, 0.0, 0.0]
    assert SoRAConfig(total_steps=200).threshold == pytest.approx(0.004)
    rising = SoRAConfig(total_steps=200, threshold=0.1, threshold_schedule="linear")
    assert [rising.threshold_at(step) for step in (50, 200)] == pytest.approx([0.025, 0.1])


def test_salora_gates_are_hard_concrete():
    zero, half = torch.zeros(1), torch.full((1,), 0.5)
    assert float(sampled_gate(zero, half, 2 / 3)) == pytest.approx(0.5)
    # u = 3/4 adds log 3; at β = 1 and log α = 0: z = 3/4, stretched to 0.8.
    assert float(sampled_gate(zero, torch.full((1,), 0.75), 1.0)) == pytest.approx(0.8)
    closing = torch.tensor([-math.log(11.0), -math.log(11.0) + 0.01, math.log(11.0)])
    assert evaluation_gate(closing).tolist() == pytest.approx([0.0, 0.0009, 1.0], abs=1e-3)
    assert float(evaluation_gate(closing)[0]) == pytest.approx(0.0, abs=1e-7)
    assert float(open_probability(zero, 1.0)) == pytest.approx(11 / 12)
    assert float(open_probability(zero, 1e-9)) == pytest.approx(0.5)


def test_salora_is_led_to_its_target_by_a_multiplier():
    config = SaLoRAConfig(total_steps=100, target_rank=4, initial_rank=8, target_warmup=0.5)
    assert [config.target_share(step) for step in (0, 25, 50, 100)] == pytest.approx([1.0, 0.75, 0.5, 0.5])
    settings = {"target_rank": 4, "initial_rank": 8, "target_warmup": 0.0, "temperature": 1.0, "penalty_weight": 10.0}
    session = session_of("salora", initial_log_alpha=math.log(4 / 11), multiplier_learning_rate=2.0, **settings)
    # P(open) = σ(log(4/11) + log 11) = 4/5, so the distance is 0.3; first 10/2 · 0.09 alone, then m = 2 · 0.3 joins.
    assert float(session.dynamics.penalty(1).detach()) == pytest.approx(0.45, rel=1e-5)
    session.dynamics.after_step(1)
    assert float(session.dynamics.state()[1]["multiplier"]) == pytest.approx(0.6, rel=1e-5)
    assert float(session.dynamics.penalty(2).detach()) == pytest.approx(0.6 * 0.3 + 0.45, rel=1e-5)
    assert session.dynamics.target_rank(1) == 4 * len(session.adapter.matrices)


def test_autolora_goes_through_the_unrolled_step():
    weight, share = torch.tensor([1.0], requires_grad=True), torch.tensor([2.0], requires_grad=True)
    # learn = (w − α)² / 2, score = (w − 3)² / 2, rate 0.1: w' = 1.1, dw'/dα = 0.1, so dscore/dα = (1.1 − 3) · 0.1.
    found = unrolled_gradient(
        [weight],
        share,
        lambda: 0.5 * (weight - share).square().sum(),
        lambda: 0.5 * (weight - 3.0).square().sum() + 0.0 * share.sum(),
        0.1,
    )
    assert float(found) == pytest.approx(-0.19, rel=1e-3)
    assert float(weight.detach()) == 1.0
    # What depends on α directly is added: d(5 α)/dα = 5.
    direct = unrolled_gradient(
        [weight],
        share,
        lambda: 0.5 * (weight - share).square().sum(),
        lambda: 0.5 * (weight - 3.0).square().sum() + 5.0 * share.sum(),
        0.1,
    )
    assert float(direct) == pytest.approx(4.81, rel=1e-3)


def test_autolora_keeps_what_has_at_least_an_even_share():
    session = session_of("autolora", initial_rank=4)
    name, matrix = next(iter(session.adapter.matrices.items()))
    with torch.no_grad():
        session.dynamics.selection[0] = torch.log(torch.tensor([0.4, 0.3, 0.2, 0.1]))
    event = session.event(session.job.config.search_steps)
    assert matrix.slots == [0, 1]
    assert [move["slot"] for move in event.prune] == [3, 2]
    assert event.scores[name] == pytest.approx([0.4, 0.3, 0.2, 0.1])
    # Equal shares are 1/4 but for rounding: the others keep everything.
    assert sum(session.adapter.ranks().values()) == 4 * len(session.adapter.matrices) - 2
    assert float(matrix.Pt.detach().abs().sum()) == 0.0 and matrix.lam.tolist() == [1.0, 1.0, 0.0, 0.0]
    assert not session.optimizer.state
    assert AutoLoRAConfig(total_steps=9).search_steps == 4


def test_big_then_cut_keeps_the_largest_of_all_matrices_and_the_earlier_of_equal_ones():
    session = session_of("big_then_cut", initial_rank=2, target_rank=1)
    matrices = list(session.adapter.matrices.values())
    with torch.no_grad():
        for matrix in matrices:
            for part in (matrix.Pt, matrix.Q):
                part.div_(part.norm(dim=1, keepdim=True))
            matrix.lam.fill_(1.0)
        # |λ| · ‖p‖ · ‖q‖ is 3 and 0.6, then 2 and 0.9, then 0.5 and 0.4; of all others it is 1, up to rounding.
        matrices[0].Pt.mul_(3.0)
        matrices[0].Q.mul_(2.0)
        for matrix, values in zip(matrices, ((0.5, 0.1), (-2.0, 0.9), (0.5, 0.4)), strict=False):
            matrix.lam.copy_(torch.tensor(values))
        for matrix in matrices[3:]:
            for part in (matrix.Pt, matrix.Q):
                part.zero_()
                part[:, 0] = 1.0
    event = session.event(session.job.config.cut_step)
    names = list(session.adapter.matrices)
    # Half of the directions go: those four, and of the equal ones the later, in module order until the last.
    expected = [(2, 1), (2, 0), (0, 1), (1, 1), *((place, 1) for place in range(3, len(names) - 1))]
    assert [(names.index(move["matrix"]), move["slot"]) for move in event.prune] == expected
    assert list(session.adapter.ranks().values()) == [1, 1, 0, *[1] * (len(names) - 4), 2]
    assert [move["score"] for move in event.prune[:4]] == pytest.approx([0.4, 0.5, 0.6, 0.9])
    assert event.threshold == 1.0


def test_dylora_draws_nested_prefixes_with_their_own_scale():
    session = session_of("dylora", initial_rank=4, smallest_rank=2)
    matrix = next(iter(session.adapter.matrices.values()))
    lengths = {session.dynamics.prefix_length(step) for step in range(1, 60)}
    assert lengths == {2, 3, 4}
    session.dynamics.cut(2)
    assert matrix.weights().tolist() == [2.0, 2.0, 0.0, 0.0]
    session.dynamics.cut(4)
    assert matrix.gate is None
    assert session.dynamics.gates()[0].tolist() == pytest.approx([1.0, 1.0, 2 / 3, 1 / 3])


def test_dylora_can_train_the_last_direction_of_a_prefix_alone():
    session = session_of("dylora", update="row")
    matrix = list(session.adapter.matrices.values())[-1]
    seen = set()
    for step in range(1, 9):
        before = matrix.Q.detach().clone(), matrix.Pt.detach().clone()
        session.train_step(step)
        session.finish_step()
        row = session.dynamics.prefix_length(step) - 1
        others = [index for index in range(8) if index != row]
        assert torch.equal(matrix.Q[others], before[0][others]) and torch.equal(matrix.Pt[others], before[1][others])
        assert not torch.equal(matrix.Pt[row], before[1][row])
        seen.add(row)
    assert len(seen) > 2


def test_mlae_leaves_out_directions_and_scales_the_others():
    session = session_of("mlae", drop=0.25)
    drawn = []
    for step in range(1, 40):
        session.dynamics.before_step(step)
        drawn.append(torch.stack([matrix.gate for matrix in session.adapter.matrices.values()]))
    values = torch.stack(drawn)
    assert torch.allclose(values[values > 0], torch.tensor(4 / 3))
    assert float((values > 0).float().mean()) == pytest.approx(0.75, abs=0.02)
    session.dynamics.after_step(1)
    assert all(matrix.gate is None for matrix in session.adapter.matrices.values())


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        (
            "salora",
            {
                "initial_rank": 8,
                "target_rank": 8,
                "initial_log_alpha": 60.0,
                "penalty_weight": 0.0,
                "regularization_weight": 0.0,
            },
        ),
        ("dylora", {"smallest_rank": 8}),
        ("mlae", {"drop": 0.0, "lr_lambda": 1e-30}),
    ],
    ids=["all gates open", "the whole prefix", "nothing masked and λ held"],
)
def test_the_limit_is_lora_bit_for_bit(method, settings):
    # λ's gradient counts in MLAE's norm: without clipping it changes nothing.
    unclipped = {"max_grad_norm": 1e9}
    assert losses(session_of(method, **settings, **unclipped)) == losses(session_of("lora", **unclipped))


def test_adalora_without_a_lower_target_is_flexlora_without_a_budget():
    shared = {"regularizer": "mean_norm", "regularization_weight": 0.1, "initial_std": 0.02}
    flexlora = session_of("flexlora", initial_budget=0, max_rank=8, **shared)
    adalora = session_of("adalora", initial_rank=8, target_rank=8, **shared)
    assert losses(adalora) == losses(flexlora)
    assert adalora.dynamics.total_on() == 8 * len(adalora.adapter.matrices)


@pytest.mark.parametrize(
    ("method", "settings"), [("dora_dynamic", {"initial_rank": 4, "target_rank": 4}), ("sora", {"threshold": 0.0})]
)
def test_nothing_goes_when_nothing_asks_for_it(method, settings):
    session = session_of(method, **settings)
    events = []
    for step in range(1, 13):
        session.train_step(step)
        if session.is_event(step):
            events.append(session.event(step))
        session.finish_step()
    assert events and not any(event.prune or event.extend for event in events)


def test_every_method_has_its_golden_values_here():
    told = {name.split("_")[1] for name in globals() if name.startswith("test_")}
    assert {name.partition("_")[0] for name in METHODS if name not in ("flexlora", "lora")} <= told

"""An event changes what it must and nothing else."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from flexlora import FlexLoRAConfig, RankAllocator, attach
from flexlora.adapter import matrix_parameters
from flexlora.errors import FlexLoRAError
from flexlora.initializers import NEW_DIRECTIONS, direction_generator

TARGETS = ("query", "key", "value", "attention.output.dense", "intermediate.dense", "output.dense")


def config_for(**changes) -> FlexLoRAConfig:
    settings = {
        "target_modules": TARGETS,
        "initial_rank": 4,
        "total_steps": 40,
        "warmup_steps": 2,
        "final_steps": 4,
        "interval": 4,
        "initial_budget": 4,
    }
    return FlexLoRAConfig(**{**settings, **changes})


def trained(make_model, batch, config, *, steps=5, seed=0, dropout=0.0, precision=None, lr=1e-2, optimizer=None):
    """A model with an adapter after some real optimizer steps, gradients still there."""
    model = make_model(seed, dropout) if dropout else make_model(seed)
    if precision is not None:
        model = model.to(precision)
    adapter = attach(model, config)
    make = optimizer or (lambda parameters: torch.optim.AdamW(parameters, lr=lr, weight_decay=0.0))
    optimizer = make(adapter.trainable_parameters())
    allocator = RankAllocator(adapter, optimizer, config)
    model.train()
    for _ in range(steps):
        optimizer.zero_grad()
        take_step(model, adapter, optimizer, batch)
    return model, adapter, optimizer, allocator


def take_step(model, adapter, optimizer, batch):
    loss = model(**batch).loss + 0.1 * adapter.regularization()
    loss.backward()
    optimizer.step()
    return float(loss.detach())


def extend(allocator, name, t=1):
    return allocator._extend(name, t)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("grown", [False, True], ids=["free slot", "grown"])
def test_extension_leaves_logits_bit_identical(make_bert, token_batch, precision, mode, grown):
    model, adapter, _, allocator = trained(make_bert, token_batch, config_for(), dropout=0.1, precision=precision)
    ids = token_batch["input_ids"]

    def logits():
        model.train(mode == "train")
        torch.manual_seed(11)
        with torch.no_grad():
            return model(input_ids=ids).logits

    before = logits()
    for matrix in list(adapter.matrices):
        for _ in range(5 if grown else 1):
            extend(allocator, matrix)
    assert any(matrix.capacity > 8 for matrix in adapter.matrices.values()) == grown
    assert torch.equal(before, logits())


def test_extension_of_a_conv1d_model_leaves_logits_bit_identical(make_gpt2, token_batch):
    config = config_for(target_modules=None)
    model, adapter, _, allocator = trained(make_gpt2, token_batch, config)
    with torch.no_grad():
        before = model.eval()(input_ids=token_batch["input_ids"]).logits
        for matrix in list(adapter.matrices):
            extend(allocator, matrix)
        assert torch.equal(before, model(input_ids=token_batch["input_ids"]).logits)


def test_extension_does_not_touch_the_global_random_generator(make_bert, token_batch):
    _, adapter, _, allocator = trained(make_bert, token_batch, config_for())
    state = torch.get_rng_state()
    extend(allocator, next(iter(adapter.matrices)))
    assert torch.equal(state, torch.get_rng_state())


def test_a_prune_removes_exactly_the_dropped_term(make_bert, token_batch):
    _, adapter, _, allocator = trained(make_bert, token_batch, config_for())
    for name, matrix in adapter.matrices.items():
        before = matrix.delta_weight()
        Pt, lam, Q = (part.detach().double().clone() for part in matrix_parameters(matrix))
        slot = allocator._prune(name)["slot"]
        assert abs(lam[slot]) == lam[:4].abs().min()
        dropped = matrix.scale * lam[slot] * torch.outer(Pt[slot], Q[slot])
        assert torch.allclose(before - dropped, matrix.delta_weight(), rtol=0, atol=1e-12 * float(before.abs().max()))
        lam[slot] = 0.0
        assert torch.equal(matrix.delta_weight(), matrix.scale * (Pt.T * lam) @ Q)


def test_a_pruned_forward_equals_the_forward_with_that_value_zeroed(make_bert, token_batch):
    model, adapter, _, allocator = trained(make_bert, token_batch, config_for())
    twin = copy.deepcopy(model)
    name, matrix = next(iter(adapter.matrices.items()))
    move = allocator._prune(name)
    with torch.no_grad():
        twin.get_submodule(name).lam[move["slot"]] = 0.0
        ids = token_batch["input_ids"]
        assert torch.equal(model.eval()(input_ids=ids).logits, twin.eval()(input_ids=ids).logits)


@pytest.mark.parametrize("rank_one", ["one", "zero", "undefined", "median"])
def test_total_rank_is_conserved_over_a_run_that_moves_rank(make_bert, token_batch, rank_one):
    config = config_for(initial_rank=2, interval=2, rank_one=rank_one, schedule="constant")
    model, adapter, optimizer, allocator = trained(make_bert, token_batch, config, steps=0)
    total, moved = sum(adapter.ranks().values()), 0
    for t in range(1, 41):
        take_step(model, adapter, optimizer, token_batch)
        plan = allocator.step(t)
        assert (plan is not None) == config.is_event(t)
        optimizer.zero_grad()
        moved += len(plan.prune) if plan else 0
        assert sum(adapter.ranks().values()) == total
        assert min(adapter.ranks().values()) >= 1
    assert moved > 0


def test_an_event_leaves_surviving_moments_groups_and_rates_untouched(make_bert, token_batch):
    config = config_for(schedule="constant")
    _, adapter, optimizer, allocator = trained(make_bert, token_batch, config)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)
    groups = [list(group["params"]) for group in optimizer.param_groups]
    rates = [group["lr"] for group in optimizer.param_groups]
    before = {p: {k: v.clone() for k, v in optimizer.state[p].items()} for p in adapter.trainable_parameters()}
    plan = allocator.step(6)
    assert plan is not None
    assert plan.prune
    assert [list(group["params"]) for group in optimizer.param_groups] == groups
    assert [group["lr"] for group in optimizer.param_groups] == rates
    assert scheduler.optimizer is optimizer
    event = allocator.last
    assert event is not None
    touched = {(move["matrix"], move["slot"]) for move in [*event.prune, *event.extend]}
    for name, matrix in adapter.matrices.items():
        for parameter in matrix_parameters(matrix):
            for key, value in optimizer.state[parameter].items():
                if value.shape != parameter.shape:
                    assert torch.equal(value, before[parameter][key])
                    continue
                for slot in range(matrix.capacity):
                    if (name, slot) in touched:
                        assert not value[slot].any()
                    else:
                        assert torch.equal(value[slot], before[parameter][key][slot])
    for parameter in adapter.head_parameters():
        for key, value in optimizer.state[parameter].items():
            assert torch.equal(value, before[parameter][key])


def test_growth_keeps_group_position_and_moments(make_bert, token_batch):
    _, adapter, optimizer, allocator = trained(make_bert, token_batch, config_for())
    name, matrix = next(iter(adapter.matrices.items()))
    old = matrix_parameters(matrix)
    moments = [optimizer.state[p]["exp_avg"].clone() for p in old]
    positions = [index for index, p in enumerate(optimizer.param_groups[0]["params"]) if any(p is o for o in old)]
    for _ in range(5):
        move = extend(allocator, name)
    assert matrix.capacity == 16
    assert "grown" in move["rules"] or matrix.rank == 9
    for position, new, moment in zip(positions, matrix_parameters(matrix), moments, strict=True):
        assert optimizer.param_groups[0]["params"][position] is new
        assert torch.equal(optimizer.state[new]["exp_avg"][:4], moment[:4])


@pytest.mark.parametrize("steps", [1, 3, 30])
def test_the_first_step_of_a_new_direction_is_no_larger_than_its_siblings_first_step(make_bert, token_batch, steps):
    lr = 1e-2
    model, adapter, optimizer, allocator = trained(make_bert, token_batch, config_for(), steps=steps, lr=lr)
    name, matrix = next(iter(adapter.matrices.items()))
    slot = extend(allocator, name)["slot"]
    for age in range(1, 6):
        before = matrix.lam.detach().clone()
        optimizer.zero_grad()
        # A constant gradient is the worst case: an uncorrected row would move by up to 5 lr.
        matrix.lam.grad = torch.zeros_like(matrix.lam)
        matrix.lam.grad[slot] = 0.3
        optimizer.step()
        moved = float((matrix.lam.detach() - before)[slot].abs())
        assert moved == pytest.approx(lr, rel=1e-4), f"at age {age}"


def test_a_new_direction_moves_as_in_a_fresh_adam(make_bert, token_batch):
    _, adapter, optimizer, allocator = trained(make_bert, token_batch, config_for(), steps=7, lr=3e-3)
    name, matrix = next(iter(adapter.matrices.items()))
    slot = extend(allocator, name)["slot"]
    fresh = torch.nn.Parameter(matrix.Q.detach()[slot].clone())
    peer = torch.optim.AdamW([fresh], lr=3e-3, weight_decay=0.0)
    generator = torch.Generator().manual_seed(1)
    for _ in range(25):
        optimizer.zero_grad()
        matrix.Q.grad = torch.randn(matrix.Q.shape, generator=generator)
        fresh.grad = matrix.Q.grad[slot].clone()
        optimizer.step()
        peer.step()
    assert torch.allclose(matrix.Q.detach()[slot], fresh.detach(), rtol=0, atol=1e-6)


def test_all_zero_directions_keep_exactly_zero_gradient(make_bert, token_batch):
    config = config_for(new_direction="all_zero")
    model, adapter, optimizer, allocator = trained(make_bert, token_batch, config)
    name, matrix = next(iter(adapter.matrices.items()))
    slot = extend(allocator, name)["slot"]
    for _ in range(10):
        optimizer.zero_grad()
        take_step(model, adapter, optimizer, token_batch)
        for parameter in matrix_parameters(matrix):
            assert not parameter.grad[slot].any()
            assert not parameter.detach()[slot].any()


def test_only_lambda_learns_in_the_first_step_of_a_zero_impact_direction(make_bert, token_batch):
    model, adapter, optimizer, allocator = trained(make_bert, token_batch, config_for())
    name, matrix = next(iter(adapter.matrices.items()))
    slot = extend(allocator, name)["slot"]
    optimizer.zero_grad()
    model(**token_batch).loss.backward()
    assert matrix.lam.grad[slot] != 0
    assert not matrix.Pt.grad[slot].any()
    assert not matrix.Q.grad[slot].any()


def test_gram_schmidt_vectors_are_orthonormal_to_the_active_ones():
    generator = torch.Generator().manual_seed(0)
    P, Q = torch.randn(24, 5, generator=generator), torch.randn(5, 16, generator=generator)
    p, lam, q = NEW_DIRECTIONS["gram_schmidt"](P, Q, None, direction_generator(0, 1, 0))
    assert lam == 0.0
    assert torch.allclose(P.T @ p, torch.zeros(5), atol=1e-6)
    assert torch.allclose(Q @ q, torch.zeros(5), atol=1e-6)
    assert float(p.norm()) == pytest.approx(1.0, abs=1e-6)


def test_new_vectors_depend_on_seed_step_and_matrix_alone():
    def draw(*key):
        return torch.randn(8, generator=direction_generator(*key))

    assert torch.equal(draw(1, 2, 3), draw(1, 2, 3))
    assert len({tuple(draw(*key).tolist()) for key in [(1, 2, 3), (0, 2, 3), (1, 0, 3), (1, 2, 0)]}) == 4


def test_reference_prunes_the_most_negative_direction_and_paper_the_smallest(make_bert, token_batch):
    for rule, expected in [("signed", 1), ("magnitude", 2), ("component_norm", 2)]:
        _, adapter, _, allocator = trained(make_bert, token_batch, config_for(prune_rule=rule), steps=0)
        name, matrix = next(iter(adapter.matrices.items()))
        with torch.no_grad():
            matrix.lam[:4] = torch.tensor([0.5, -0.9, 0.1, 0.4])
        assert allocator._prune(name)["slot"] == expected


def test_reference_loses_the_optimizer_state_and_paper_keeps_it(make_bert, token_batch):
    for preset, kept in [("paper", True), ("reference", False)]:
        config = config_for(preset=preset, initial_budget=4)
        _, _, optimizer, allocator = trained(make_bert, token_batch, config)
        allocator.step(6)
        assert bool(optimizer.state) == kept
        assert allocator.lr_released == (not kept)


def test_reference_extends_rank_one_and_untrained_matrices_first(make_bert, token_batch):
    config = config_for(preset="reference", initial_rank=1)
    _, adapter, _, allocator = trained(make_bert, token_batch, config, steps=3)
    plan = allocator.step(6)
    assert plan is not None
    assert not plan.prune
    assert len(plan.extend) == 4
    assert {move["rules"][0] for move in allocator.last.extend} == {"rank_one"}


def test_untrained_matrices_neither_give_nor_get_under_paper(make_bert, token_batch):
    _, adapter, _, allocator = trained(make_bert, token_batch, config_for(), steps=0)
    plan = allocator.step(6)
    assert plan is not None
    assert (plan.prune, plan.extend) == ((), ())
    assert set(allocator.last.importance["spectral_entropy"].values()) == {None}


def test_max_rank_is_a_hard_limit_and_the_refusal_is_recorded(make_bert, token_batch):
    config = config_for(max_rank=4, schedule="constant")
    model, adapter, optimizer, allocator = trained(make_bert, token_batch, config)
    plan = allocator.step(6)
    assert plan is not None
    assert not plan.extend
    assert set(allocator.last.refused.values()) >= {"at_max_rank"}
    assert max(adapter.ranks().values()) == 4
    assert all(matrix.capacity == 4 for matrix in adapter.matrices.values())


def test_every_measure_is_logged_and_decides_when_asked(make_bert, token_batch):
    from flexlora.importance import IMPORTANCES

    for measure in IMPORTANCES:
        config = config_for(importance=measure, schedule="constant")
        _, adapter, _, allocator = trained(make_bert, token_batch, config)
        allocator.log_all_measures = True
        plan = allocator.step(6)
        assert plan is not None
        assert plan.prune, measure
        assert set(allocator.last.importance) == set(IMPORTANCES)
        scores = allocator.last.importance[measure]
        assert max(scores[name] for name in plan.prune) < min(scores[name] for name in plan.extend)


def test_true_singular_values_agree_with_a_dense_svd(make_bert, token_batch):
    _, adapter, _, allocator = trained(make_bert, token_batch, config_for())
    for name, found in allocator.spectra.at(0).items():
        matrix = adapter.matrices[name]
        dense = torch.linalg.svdvals(matrix.delta_weight()).numpy()[: matrix.rank]
        assert np.allclose(found, dense, rtol=0, atol=1e-10 * dense[0])


def test_an_optimizer_that_does_not_train_the_adapter_is_refused(make_bert):
    model = make_bert()
    adapter = attach(model, config_for())
    stranger = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(2))])
    with pytest.raises(FlexLoRAError, match="trainable_parameters"):
        RankAllocator(adapter, stranger, config_for())


def test_an_allocator_without_total_steps_says_what_is_missing(make_bert):
    model = make_bert()
    config = FlexLoRAConfig(target_modules=TARGETS, initial_rank=4)
    adapter = attach(model, config)
    with pytest.raises(ValueError, match="total_steps"):
        RankAllocator(adapter, torch.optim.AdamW(adapter.trainable_parameters()), config)


def test_sgd_works_and_needs_no_correction(make_bert, token_batch):
    config = config_for(schedule="constant")
    model, adapter, optimizer, allocator = trained(
        make_bert, token_batch, config, optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9)
    )
    assert allocator.step(6) is not None
    optimizer.zero_grad()
    take_step(model, adapter, optimizer, token_batch)
    assert not allocator.moves.young.born

"""Empty slots hold nothing, whatever trains; training that trains nothing, or is lost, is told in one line."""

from __future__ import annotations

import pytest
import torch
from peft import PeftModel
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from flexlora import FlexLoRAConfig, RankAllocator, attach
from flexlora.adapter_files import load_adapter
from flexlora.errors import FlexLoRAError, FlexLoRAWarning
from flexlora.state_rows import role

SETTINGS = {
    "initial_rank": 2, "total_steps": 20, "warmup_steps": 1, "final_steps": 2, "interval": 2, "initial_budget": 3,
    "schedule": "constant", "importance": "nuclear_norm",
}  # fmt: skip


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 16))


def ready(**more):
    model, config = net(), FlexLoRAConfig(**{**SETTINGS, **more})
    adapter = attach(model, config)
    optimizer = torch.optim.Adam(adapter.trainable_parameters(), lr=1e-2)
    return model, adapter, optimizer, RankAllocator(adapter, optimizer, config)


def step(model, optimizer, allocator, t, factor=1.0):
    (model(torch.randn(8, 16)).pow(2).mean() * factor).backward()
    optimizer.step()
    allocator.step(t)
    optimizer.zero_grad()


def held(adapter):
    return [
        part[slot].abs().max().item()
        for matrix in adapter.matrices.values()
        for slot in set(range(matrix.capacity)) - set(matrix.slots)
        for part in (matrix.Pt, matrix.lam, matrix.Q)
    ]


class Around(torch.optim.Optimizer):
    """Holds another optimizer somewhere, as SAM and Lookahead do, each by a name of its own."""

    def __init__(self, inner, place, *, shared=False):
        super().__init__([p for group in inner.param_groups for p in group["params"]], {})
        self.param_groups = inner.param_groups
        if shared:
            self.state, self.slow = inner.state, [p.detach().clone() for p in inner.param_groups[0]["params"]]
        setattr(self, place[0], place[1](inner))

    def step(self, closure=None):
        """Not called."""


PLACES = [
    ("base_optimizer", lambda inner: inner), ("optimizer", lambda inner: inner), ("_inner", lambda inner: inner),
    ("all", lambda inner: [inner]), ("named", lambda inner: {"adam": inner}),
]  # fmt: skip


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("place", PLACES, ids=lambda place: place[0])
def test_an_optimizer_around_another_is_found_by_any_name(place, shared):
    _, adapter, optimizer, _ = ready()
    around = Around(optimizer, place, shared=shared)
    with pytest.raises(FlexLoRAError, match="Around keeps weights of its own around Adam"):
        RankAllocator(adapter, around, adapter.config)
    fixed = adapter.config.replace(initial_budget=0)
    assert RankAllocator(adapter, around, fixed).optimizer is around


def test_empty_slots_that_somebody_moves_are_cleared_at_the_event_and_told_once():
    model, adapter, optimizer, allocator = ready()
    with pytest.warns(FlexLoRAWarning, match="Empty slots of 0 held values") as told:
        for t in range(1, 21):
            step(model, optimizer, allocator, t)
            if t > 10:
                for matrix in adapter.matrices.values():
                    matrix.lam.data += 0.1
    assert len(told) == 1
    assert adapter.clear_empty() and not any(held(adapter))


def test_averaged_weights_are_saved_as_they_compute(tmp_path):
    model, adapter, optimizer, allocator = ready()
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    for t in range(1, 21):
        step(model, optimizer, allocator, t)
        averaged.update_parameters(model)
    model.load_state_dict(averaged.module.state_dict())
    x = torch.randn(4, 16)
    wanted = model(x)
    adapter.save(tmp_path / "own")
    adapter.export_peft(tmp_path / "peft")
    again = net()
    load_adapter(again, tmp_path / "own")
    assert torch.allclose(again(x), wanted, atol=1e-5)
    assert torch.allclose(PeftModel.from_pretrained(net(), str(tmp_path / "peft"))(x), wanted, atol=1e-5)
    assert torch.allclose(adapter.merge()(x), wanted, atol=1e-5)


def test_training_of_nothing_is_told_at_its_first_step():
    model, adapter, optimizer, allocator = ready()
    for matrix in adapter.matrices.values():
        matrix.requires_grad_(False)
    with pytest.raises(FlexLoRAError, match="nothing of the adapter is trained"):
        allocator.step(1)
    adapter.merge()
    with pytest.raises(FlexLoRAError, match="was merged"):
        RankAllocator(adapter, optimizer, adapter.config).step(1)


def test_a_loss_that_is_lost_is_told_at_the_event():
    model, _, optimizer, allocator = ready()
    step(model, optimizer, allocator, 1, float("nan"))
    step(model, optimizer, allocator, 2)
    with pytest.raises(FlexLoRAError, match="λ of 0 is not finite at step 3"):
        step(model, optimizer, allocator, 3)


@pytest.mark.parametrize(
    ("key", "value", "shape", "found"),
    [
        ("row_var", (1, 1), (1, 16), "rows"),
        ("col_var", (1, 16), (1, 16), "columns"),
        ("exp_avg_sq_row", (1,), (1, 16), "rows"),
        ("exp_avg_sq_col", (16,), (1, 16), "columns"),
        ("exp_avg", (1, 16), (1, 16), "rows"),
        ("variance", (1,), (1,), "rows"),
        ("step", (1,), (1, 16), "whole"),
        ("scale", (1,), (1, 16), "rows"),
        ("scale", (1,), (2, 16), "whole"),
    ],
)
def test_the_state_of_one_slot_is_told_apart(key, value, shape, found):
    assert role(key, torch.zeros(value), torch.Size(shape)) == found


def test_factored_moments_of_one_slot_grow():
    config = FlexLoRAConfig(**{**SETTINGS, "initial_rank": 1, "direction": "extend_only"})
    model = net()
    adapter = attach(model, config, spare_slots=0)
    optimizer = torch.optim.Adafactor(adapter.trainable_parameters(), lr=1e-2)
    allocator = RankAllocator(adapter, optimizer, config)
    for t in range(1, 21):
        step(model, optimizer, allocator, t)
    assert max(adapter.ranks().values()) > 2
    for matrix in adapter.matrices.values():
        assert optimizer.state[matrix.Pt]["row_var"].shape == (matrix.capacity, 1)
        assert optimizer.state[matrix.Pt]["col_var"].shape == (1, 16)

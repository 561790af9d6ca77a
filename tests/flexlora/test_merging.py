"""``merge``: the output stays, or the layer is refused by its name and the model is left as it was."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from flexlora import FlexLoRAConfig, attach
from flexlora.errors import FlexLoRAError


class Plain(nn.Linear):
    """Nothing but a name."""


class Equalised(nn.Linear):
    def forward(self, x):
        return nn.functional.linear(x, self.weight * 0.25, self.bias)


class Normed(nn.Linear):
    def forward(self, x):
        return nn.functional.linear(nn.functional.normalize(x, dim=-1), self.weight, self.bias)


class Triangular(nn.Linear):
    def forward(self, x):
        return nn.functional.linear(x, self.weight.tril(), self.bias)


def hooked():
    layer = nn.Linear(16, 16)
    layer.register_forward_hook(lambda module, given, out: 2 * out)
    return layer


def pre_hooked():
    layer = nn.Linear(16, 16)
    layer.register_forward_pre_hook(lambda module, given: (given[0] + 1,))
    return layer


def patched():
    layer = nn.Linear(16, 16)
    layer.forward = lambda x: nn.functional.linear(x, layer.weight).relu()
    return layer


def watched():
    layer = nn.Linear(16, 16)
    layer.register_forward_hook(lambda module, given, out: None)
    return layer


def adapted(make):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 16), nn.Tanh(), make())
    adapter = attach(model, FlexLoRAConfig(initial_rank=2, total_steps=9))
    for matrix in adapter.matrices.values():
        matrix.lam.data[matrix.slots] = 0.5
    return model, adapter


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("make", [lambda: Plain(16, 16), watched, lambda: nn.Linear(16, 16, bias=False)])
def test_what_only_multiplies_is_merged(make, dtype):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 16), nn.Tanh(), make()).to(dtype)
    adapter = attach(model, FlexLoRAConfig(initial_rank=2, total_steps=9))
    for matrix in adapter.matrices.values():
        matrix.lam.data[matrix.slots] = 0.5
    x = torch.randn(4, 16, dtype=dtype)
    wanted = model(x)
    assert torch.allclose(adapter.merge()(x), wanted, atol=0.05 if dtype == torch.bfloat16 else 1e-5)


@pytest.mark.parametrize(
    "make",
    [lambda: Equalised(16, 16), lambda: Normed(16, 16), lambda: Triangular(16, 16), hooked, pre_hooked, patched],
)
def test_what_does_more_is_refused_and_left_as_it_was(make):
    model, adapter = adapted(make)
    x = torch.randn(4, 16)
    wanted = model(x)
    with pytest.raises(FlexLoRAError, match=r"^2 \(.* cannot be merged.*export_peft"):
        adapter.merge()
    assert not adapter.merged and torch.equal(model(x), wanted) and model[2].training


def test_hooks_of_an_adapted_layer_stay_with_the_merged_one():
    model, adapter = adapted(lambda: nn.Linear(16, 16))
    model[2].register_forward_hook(lambda module, given, out: 2 * out)
    x = torch.randn(4, 16)
    wanted = model(x)
    assert torch.allclose(adapter.merge()(x), wanted, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.int8, "float32"])
def test_a_type_that_holds_no_weights_is_refused(dtype):
    _, adapter = adapted(lambda: nn.Linear(16, 16))
    with pytest.raises(FlexLoRAError, match="floating-point type"):
        adapter.merge(dtype=dtype)


@pytest.mark.parametrize(
    "make",
    [
        lambda: prune.l1_unstructured(nn.Linear(16, 16), "weight", 0.5),
        lambda: nn.utils.weight_norm(nn.Linear(16, 16)),
        lambda: nn.utils.spectral_norm(nn.Linear(16, 16)),
    ],
)
@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated")
def test_a_weight_that_is_made_at_each_call_is_adapted_and_not_merged(make):
    model, adapter = adapted(make)
    model.eval()
    x = torch.randn(4, 16)
    hidden = torch.tanh(model[0](x))
    wanted = adapter.matrices["2"].base(hidden) + hidden @ adapter.matrices["2"].delta_weight(torch.float32).T
    model(x).sum().backward()
    assert all(parameter.grad is not None for parameter in adapter.parameters())
    assert torch.allclose(model(x), wanted, atol=1e-5)
    with pytest.raises(FlexLoRAError, match="The weight of 2 is made anew at each call"):
        adapter.merge()
    assert not adapter.merged

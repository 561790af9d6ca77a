"""The layer's way to multiply, by factors that are made for all layers at once, is what plain operations say."""

from __future__ import annotations

import copy
import gc
import io
import os
import random
import weakref

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from flexlora import FlexLoRAConfig, attach
from flexlora.folding import Folding

SEED = int(os.environ.get("FOLDING_SEED", random.SystemRandom().randrange(1 << 32)))
"""Draws every choice below; a test that fails says it."""
EXACT = {"rtol": 1e-10, "atol": 1e-12}


class Conv1D(nn.Module):
    """GPT-2's linear layer, which stores its weight transposed."""

    def __init__(self, nf: int, nx: int) -> None:
        super().__init__()
        self.nf = nf
        self.weight = nn.Parameter(torch.randn(nx, nf))
        self.bias = nn.Parameter(torch.randn(nf))

    def forward(self, x):
        return torch.addmm(self.bias, x.reshape(-1, x.shape[-1]), self.weight).view(*x.shape[:-1], self.nf)


class Net(nn.Module):
    """Layers of two widths, with and without bias, stored either way; the first has an input without gradient."""

    def __init__(self, kind=torch.float64) -> None:
        super().__init__()
        self.a = nn.Linear(5, 7)
        self.b = nn.Linear(7, 5, bias=False)
        self.c = Conv1D(7, 5)
        self.d = nn.Linear(7, 5)
        self.to(kind)

    def forward(self, x):
        return self.d(torch.tanh(self.c(torch.tanh(self.b(torch.tanh(self.a(x)))))))


def adapted(seed=0, kind=torch.float64, **settings):
    torch.manual_seed(seed)
    net = Net(kind)
    config = FlexLoRAConfig(target_modules=("a", "b", "c", "d"), initial_rank=2, total_steps=10, **settings)
    adapter = attach(net, config)
    with torch.no_grad():
        for matrix in adapter.matrices.values():
            matrix.lam[matrix.slots] = torch.randn(matrix.rank, dtype=matrix.lam.dtype)
    return net, adapter


def written_out(net, monkeypatch):
    """Return a function that runs the net in plain operations."""

    return lambda *given: written_out_of(lambda: net(*given), monkeypatch)


def written_out_of(run, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr("flexlora.linear.is_traced", lambda: True)
        return run()


def gradients(adapter, loss, *more):
    return torch.autograd.grad(loss, [*adapter.parameters(), *more])


def check(found, wanted, **tolerance):
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, **(tolerance or EXACT))


@pytest.mark.parametrize("shape", [(3, 5), (2, 3, 5), (5,), (2, 1, 3, 5), (0, 5)])
def test_outputs_and_gradients_are_those_of_plain_operations(shape, monkeypatch):
    net, adapter = adapted()
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    found, wanted = net(x), written_out(net, monkeypatch)(x)
    torch.testing.assert_close(found, wanted, **EXACT)
    weight = torch.randn_like(found)
    check(gradients(adapter, (found * weight).sum(), x), gradients(adapter, (wanted * weight).sum(), x))


def test_first_and_second_derivatives_are_those_of_finite_differences():
    net, adapter = adapted()
    matrix = adapter.matrices["c"]
    x = torch.randn(2, 5, dtype=torch.float64, requires_grad=True)

    def layer(x, up, lam, down):
        return torch.func.functional_call(matrix, {"Pt": up, "lam": lam, "Q": down}, (x,))

    assert torch.autograd.gradcheck(layer, (x, matrix.Pt, matrix.lam, matrix.Q))
    assert torch.autograd.gradgradcheck(layer, (x, matrix.Pt, matrix.lam, matrix.Q))


def test_a_penalty_on_the_gradient_reaches_every_parameter(monkeypatch):
    net, adapter = adapted()
    x = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)

    def penalised(run):
        (slope,) = torch.autograd.grad(run(x).square().sum(), x, create_graph=True)
        return gradients(adapter, slope.square().sum())

    check(penalised(net), penalised(written_out(net, monkeypatch)))


@pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")
def test_transforms_of_torch_func_run(monkeypatch):
    net, _ = adapted()
    x = torch.randn(4, 5, dtype=torch.float64)
    parameters = {name: part.detach() for name, part in net.named_parameters()}

    def loss(own, row):
        return torch.func.functional_call(net, own, (row,)).square().sum()

    each = torch.func.vmap(torch.func.grad(loss), (None, 0))(parameters, x)
    one = torch.func.grad(loss)(parameters, x[2])
    check([part[2] for part in each.values()], one.values())
    _, slope = torch.func.jvp(lambda given: net(given).square().sum(), (x,), (torch.ones_like(x),))
    (wanted,) = torch.autograd.grad(net(x.requires_grad_()).square().sum(), x)
    torch.testing.assert_close(slope, wanted.sum(), **EXACT)


@pytest.mark.parametrize("reentrant", [False, True])
def test_recomputed_activations_give_the_same_gradients(reentrant):
    net, adapter = adapted()
    x = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)

    def halves(x):
        middle = checkpoint(lambda x: torch.tanh(net.b(torch.tanh(net.a(x)))), x, use_reentrant=reentrant)
        return checkpoint(lambda x: net.d(torch.tanh(net.c(x))), middle, use_reentrant=reentrant)

    net(x).square().sum().backward()
    wanted = [part.grad.clone() for part in adapter.parameters()]
    net.zero_grad()
    for _ in range(2):
        halves(x).square().sum().backward()
    check([part.grad / 2 for part in adapter.parameters()], wanted)


@pytest.mark.parametrize("how", ["hook", "patch", "trained bias", "subclass"])
def test_a_base_that_is_more_than_a_frozen_product_is_called(how, monkeypatch):
    net, adapter = adapted()
    base = net.a.base
    calls = []
    if how == "hook":
        base.register_forward_hook(lambda module, given, found: calls.append(1) or found * 2)
    elif how == "patch":
        old = base.forward
        base.forward = lambda x: calls.append(1) or old(x) * 2
    elif how == "trained bias":
        base.bias.requires_grad_(True)
    else:
        base.__class__ = type("Other", (nn.Linear,), {"forward": lambda self, x: calls.append(1) or x @ self.weight.T})
    x = torch.randn(3, 5, dtype=torch.float64)
    found = net(x)
    assert bool(calls) == (how != "trained bias")
    wanted = written_out(net, monkeypatch)(x)
    torch.testing.assert_close(found, wanted, **EXACT)
    more = [base.bias] if how == "trained bias" else []
    check(gradients(adapter, found.sum(), *more), gradients(adapter, wanted.sum(), *more))


def test_autocast_computes_in_its_type_and_trains_in_single_precision(monkeypatch):
    net, adapter = adapted(kind=torch.float32)
    x = torch.randn(8, 5)
    with torch.autocast("cpu", torch.bfloat16):
        found, wanted = net(x), written_out(net, monkeypatch)(x)
    assert found.dtype == wanted.dtype == torch.bfloat16
    torch.testing.assert_close(found, wanted, rtol=0.05, atol=0.05)
    own, others = (gradients(adapter, part.float().square().mean()) for part in (found, wanted))
    assert {part.dtype for part in own} == {torch.float32}
    check(own, others, rtol=0.1, atol=0.05)


def test_what_is_kept_for_the_backward_pass_is_the_input_and_a_little():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 64))
    attach(net, FlexLoRAConfig(target_modules=("0", "1"), initial_rank=2, total_steps=10))
    x = torch.randn(128, 64, requires_grad=True)
    kept: dict[int, int] = {}

    def note(part):
        kept[part.untyped_storage().data_ptr()] = part.untyped_storage().nbytes()
        return part

    with torch.autograd.graph.saved_tensors_hooks(note, lambda part: part):
        y = net(x)
    parameters = {part.untyped_storage().data_ptr() for part in net.parameters()}
    kept = {place: size for place, size in kept.items() if place not in parameters}
    # x of both layers, h of four slots for each, and Q̃.
    assert sum(kept.values()) <= 4 * (2 * 128 * 64 + 2 * 128 * 4 + 2 * 4 * 64)
    assert y.requires_grad


def test_whatever_is_written_between_two_passes_is_seen_by_the_next(monkeypatch):
    """A random walk over everything that changes a matrix or a pass; after each step outputs are those written out."""
    print(f"FOLDING_SEED={SEED}")
    draw = random.Random(SEED)
    net, adapter = adapted(seed=SEED % 1000)
    plain = written_out(net, monkeypatch)
    matrices = list(adapter.matrices.values())

    def x():
        return torch.randn(3, 5, dtype=torch.float64)

    def write():
        with torch.no_grad():
            draw.choice(adapter.parameters()).mul_(draw.choice([-0.9, 1.1]))

    def step():
        # Bounded: what is written again and again must not run away.
        torch.tanh(net(x())).sum().backward()
        torch.optim.SGD(adapter.parameters(), lr=1e-3).step()
        net.zero_grad()

    def move():
        one, other = draw.sample(matrices, 2)
        if one.rank > 1 and other.free_slot() is not None:
            one.empty(draw.choice(one.slots))
            p, q = (torch.randn(size, dtype=torch.float64) for size in (other.out_features, other.in_features))
            other.fill(other.free_slot(), p, draw.random(), q)

    def gate():
        matrix = draw.choice(matrices)
        off = draw.random() < 0.5
        matrix.gate = None if off else torch.rand(matrix.capacity, dtype=torch.float64, requires_grad=True)

    def open_gate():
        for matrix in matrices:
            if matrix.gate is not None:
                with torch.no_grad():
                    matrix.gate.mul_(0.5)

    def grow():
        matrix = draw.choice(matrices)
        if matrix.capacity < min(matrix.in_features, matrix.out_features):
            matrix.grow()
            matrix.gate = None

    def some_layers():
        part = draw.choice([net.a, net.b])
        part(torch.randn(2, part.in_features, dtype=torch.float64))

    def without_gradients():
        with torch.no_grad() if draw.random() < 0.5 else torch.inference_mode():
            net(x())

    def twice():
        net(net(x()))

    acts = [write, step, move, gate, open_gate, grow, some_layers, without_gradients, twice]
    told = []
    for _ in range(120):
        act = draw.choice(acts)
        act()
        told.append(act.__name__)
        given = x()
        for mode in draw.sample([torch.enable_grad, torch.no_grad, torch.inference_mode], 3):
            with mode():
                torch.testing.assert_close(net(given), plain(given), **EXACT, msg=lambda text: f"{text}\n{told}")
        gates = [matrix.gate for matrix in matrices if matrix.gate is not None]
        found, wanted = (gradients(adapter, run(given).square().sum(), *gates) for run in (net, plain))
        check(found, wanted)


def test_two_passes_before_one_backward_and_a_graph_that_is_kept():
    net, adapter = adapted()
    x, y = (torch.randn(3, 5, dtype=torch.float64) for _ in range(2))
    both = net(x).sum() + net(y).sum()
    found = torch.autograd.grad(both, adapter.parameters(), retain_graph=True)
    check(torch.autograd.grad(both, adapter.parameters()), found)
    apart = [gradients(adapter, net(part).sum()) for part in (x, y)]
    check(found, [one + other for one, other in zip(*apart, strict=True)])


def test_copies_share_nothing_with_the_model_they_were_made_of():
    net, _ = adapted()
    x = torch.randn(3, 5, dtype=torch.float64)
    net.a(x)
    file = io.BytesIO()
    torch.save(net, file)
    file.seek(0)
    for other in (copy.deepcopy(net), torch.load(file, weights_only=False)):
        before = net(x)
        with torch.no_grad():
            other.a.lam.mul_(2.0)
        assert torch.equal(net(x), before)
        assert not torch.equal(other(x), before)
        other(x).sum().backward()
        assert other.a.lam.grad is not None and net.a.lam.grad is None


def test_a_model_made_in_inference_mode_runs_and_sees_what_is_written():
    with torch.inference_mode():
        net, adapter = adapted()
        x = torch.randn(3, 5, dtype=torch.float64)
        before = net(x)
        adapter.matrices["d"].lam.mul_(2.0)
        assert not torch.equal(net(x), before)


def test_a_write_between_the_passes_is_an_error_and_no_wrong_gradient():
    net, adapter = adapted()
    loss = net(torch.randn(3, 5, dtype=torch.float64)).sum()
    with torch.no_grad():
        adapter.matrices["c"].Q.mul_(2.0)
    with pytest.raises(RuntimeError, match="between the forward and the backward pass"):
        loss.backward()


def test_below_the_lowest_matrix_with_rank_the_backward_pass_ends():
    net, adapter = adapted()
    x = torch.randn(3, 5, dtype=torch.float64)
    for name in ("a", "b"):
        matrix = adapter.matrices[name]
        with torch.no_grad():
            matrix.lam.zero_()
        before = net(x)
        for slot in list(matrix.slots):
            matrix.empty(slot)
        assert torch.equal(net(x), before)
    outputs = {}
    for name, matrix in adapter.matrices.items():
        matrix.register_forward_hook(lambda module, given, found, name=name: outputs.update({name: found}))
    net(x).sum().backward()
    assert [name for name, found in outputs.items() if found.requires_grad] == ["c", "d"]
    assert adapter.matrices["a"].Q.grad is None and adapter.matrices["c"].Q.grad is not None


def test_a_replica_of_another_thread_multiplies_by_its_own_copies():
    net, _ = adapted()
    x = torch.randn(3, 5, dtype=torch.float64)
    replica = net.a._replicate_for_data_parallel()
    for key, part in net.a._parameters.items():
        setattr(replica, key, part * 2 if key == "lam" else part)
    assert not torch.equal(replica(x), net.a(x))


@pytest.mark.parametrize("spare", [0, 1, None])
def test_spare_slots_are_room_and_nothing_else(spare):
    torch.manual_seed(0)
    net = Net()
    config = FlexLoRAConfig(target_modules=("a", "b"), initial_rank=2, total_steps=10)
    adapter = attach(net, config, spare_slots=spare)
    assert {matrix.capacity for matrix in adapter.matrices.values()} == {2 + (2 if spare is None else spare)}
    with pytest.raises(ValueError, match="spare_slots=-1 must be at least 0"):
        attach(Net(), config, spare_slots=-1)


def test_a_layer_that_is_used_twice_in_a_pass_takes_what_was_made_for_all(monkeypatch):
    made = []
    fold = Folding._fold
    monkeypatch.setattr(Folding, "_fold", lambda self, dtype: made.append(dtype) or fold(self, dtype))
    net, adapter = adapted()
    x = torch.randn(3, 5, dtype=torch.float64)

    def run():
        # As DeBERTa multiplies its positions by the weights of queries and keys.
        first = torch.tanh(net.b(torch.tanh(net.a(x))))
        again = torch.tanh(net.b(torch.tanh(net.a(first))))
        return net.d(torch.tanh(net.c(again)))

    for passes in range(1, 4):
        found, wanted = run(), written_out_of(run, monkeypatch)
        check(gradients(adapter, found.sum()), gradients(adapter, wanted.sum()))
        assert len(made) == passes


@pytest.mark.parametrize("backward", [False, True])
def test_a_model_that_is_let_go_is_freed_also_after_half_a_pass(backward):
    net, _ = adapted()
    seen = weakref.ref(net.d)
    found = net.c(torch.tanh(net.a(torch.randn(3, 5, dtype=torch.float64)))[:, :5])
    if backward:
        found.sum().backward()
    del net, found, _
    gc.collect()
    assert seen() is None


@pytest.mark.parametrize("seed", range(5))
def test_on_a_cpu_every_gradient_is_that_of_plain_operations_bit_for_bit(seed, monkeypatch):
    """So decisions stay those of logs that were written by plain operations, also where layers share their input."""
    torch.manual_seed(seed)
    net = nn.ModuleDict({name: nn.Linear(24, 24, bias=name != "k") for name in "qkvo"} | {"in": nn.Linear(24, 24)})
    config = FlexLoRAConfig(target_modules=tuple(net), initial_rank=3, total_steps=10)
    adapter = attach(net, config)
    with torch.no_grad():
        for matrix in adapter.matrices.values():
            matrix.lam[matrix.slots] = torch.randn(matrix.rank)

    def run(x):
        x = torch.tanh(net["in"](x))
        q, k, v = (net[name](x) for name in "qkv")
        return x + net["o"](torch.softmax(q @ k.mT, -1) @ v)

    x = torch.randn(2, 7, 24, requires_grad=True)
    found, wanted = run(x), written_out_of(lambda: run(x), monkeypatch)
    assert torch.equal(found, wanted)
    for one, other in zip(*(gradients(adapter, y.square().mean(), x) for y in (found, wanted)), strict=True):
        assert torch.equal(one, other)

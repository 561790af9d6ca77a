"""Every optimizer follows directions that come, go and make storage grow, or is refused at its first step."""

from __future__ import annotations

import copy
import warnings
from collections import defaultdict
from functools import partial

import accelerate
import pytest
import torch
from torch import nn
from transformers.optimization import Adafactor

from flexlora import FlexLoRAConfig, RankAllocator, attach
from flexlora.errors import FlexLoRAError, FlexLoRAWarning
from flexlora.initializers import NEW_DIRECTIONS
from flexlora.integrations import Recorder
from flexlora.moves import Moves
from flexlora.optimizer_state import innermost
from flexlora.run_log import read_run
from flexlora.state_rows import role

STEPS = 40
PLAIN = {"relative_step": False, "scale_parameter": False, "clip_threshold": 1e9}
# Adafactor measures a tensor's size over all of its slots: here nothing depends on it.
FACTORED = {
    "adafactor": lambda params: Adafactor(params, lr=1e-2, **PLAIN),
    "adafactor_beta1": lambda params: Adafactor(params, lr=1e-2, beta1=0.9, **PLAIN),
    "torch_adafactor": lambda params: torch.optim.Adafactor(params, lr=1e-3, eps=(None, 10.0), d=1e9),
}


class Lion(torch.optim.Optimizer):
    """Two betas and one moment."""

    def __init__(self, params):
        super().__init__(params, {"lr": 1e-3, "betas": (0.9, 0.99)})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                moment = self.state[p].setdefault("exp_avg", torch.zeros_like(p))
                p.sub_(group["lr"] * torch.sign(0.9 * moment + 0.1 * p.grad))
                moment.lerp_(p.grad, 0.01)


class ThreeBetas(Lion):
    """Adan's names: three betas beside Adam's keys."""

    def __init__(self, params):
        super().__init__(params)
        for group in self.param_groups:
            group["betas"] = (0.98, 0.92, 0.99)

    def step(self, closure=None):
        super().step()
        for p, state in self.state.items():
            state["step"] = state.get("step", 0) + 1
            state.setdefault("exp_avg_sq", torch.zeros_like(p)).add_(p.grad**2)


class AdamOfOtherNames(torch.optim.Optimizer):
    """AdamW as bitsandbytes names what it keeps of small tensors, or with one count a group, as apex has."""

    def __init__(self, params, lr, moments=("state1", "state2"), by_group=False):
        super().__init__(params, {"lr": lr, "betas": (0.9, 0.999)})
        self.moments, self.by_group = moments, by_group

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            if self.by_group:
                group["step"] = group.get("step", 0) + 1
            for p in group["params"]:
                state = self.state[p]
                first, second = (state.setdefault(key, torch.zeros_like(p)) for key in self.moments)
                if not self.by_group:
                    state["step"] = state.get("step", 0) + 1
                count = group["step"] if self.by_group else state["step"]
                first.lerp_(p.grad, 0.1)
                second.mul_(0.999).addcmul_(p.grad, p.grad, value=0.001)
                root = (second / (1 - 0.999**count)).sqrt() + 1e-8
                p.sub_(group["lr"] / (1 - 0.9**count) * first / root)


class ScheduleFree(torch.optim.Optimizer):
    """A second moment alone, which is corrected for the age of the group."""

    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr, "betas": (0.9, 0.999), "k": 0})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            group["k"] += 1
            for p in group["params"]:
                state = self.state[p]
                z = state.setdefault("z", p.clone())
                second = state.setdefault("exp_avg_sq", torch.zeros_like(p))
                second.mul_(0.999).addcmul_(p.grad, p.grad, value=0.001)
                p.lerp_(z, 1 / group["k"])
                z.sub_(group["lr"] * p.grad / ((second / (1 - 0.999 ** group["k"])).sqrt() + 1e-8))


class Elsewhere(torch.optim.Optimizer):
    """Keeps momentum beside its state: by number, or in one buffer a group."""

    def __init__(self, params, in_group):
        super().__init__(params, {"lr": 1e-2})
        self.in_group, self.kept = in_group, {}

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            kept = group.setdefault("kept", {}) if self.in_group else self.kept
            for number, p in enumerate(group["params"]):
                moment = kept.setdefault(number, torch.zeros_like(p))
                p.sub_(group["lr"] * moment.mul_(0.9).add_(p.grad))


class Lookahead(torch.optim.Optimizer):
    """Keeps slow weights beside those of another optimizer."""

    def __init__(self, params):
        self.optimizer = torch.optim.AdamW(params)
        self.param_groups, self.state = self.optimizer.param_groups, defaultdict(dict)


class Accumulators(torch.optim.Optimizer):
    """SM3: the smaller of one number a row and one a column, each the largest square so far."""

    def __init__(self, params):
        super().__init__(params, {"lr": 1e-2})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                row = state.setdefault("accumulator_0", p.new_zeros(len(p), *[1] * (p.dim() - 1)))
                column = state.setdefault("accumulator_1", p.new_zeros(1, p.shape[1])) if p.dim() > 1 else row
                found = torch.minimum(row, column) + p.grad**2
                p.sub_(group["lr"] * p.grad / (found.sqrt() + 1e-12))
                row.copy_(found.amax(dim=1, keepdim=True) if p.dim() > 1 else found)
                if p.dim() > 1:
                    column.copy_(found.amax(dim=0, keepdim=True))


FOLLOWING = {
    **{
        name: partial(getattr(torch.optim, name), lr=1e-3)
        for name in ("Adagrad", "Adam", "AdamW", "Adamax", "ASGD", "NAdam", "RAdam", "RMSprop", "Rprop")
    },
    "Adadelta": lambda params: torch.optim.Adadelta(params, lr=1.0),
    "Adagrad_begun": lambda params: torch.optim.Adagrad(params, lr=1e-2, initial_accumulator_value=0.1),
    "AMSGrad": lambda params: torch.optim.AdamW(params, lr=1e-3, amsgrad=True),
    "RMSprop_centered": lambda params: torch.optim.RMSprop(params, lr=1e-3, centered=True, momentum=0.9),
    "SGD": lambda params: torch.optim.SGD(params, lr=1e-2),
    "SGD_momentum": lambda params: torch.optim.SGD(params, lr=1e-2, momentum=0.9, nesterov=True),
    "Lion": Lion,
    "ThreeBetas": ThreeBetas,
    "SM3": Accumulators,
    "bitsandbytes": partial(AdamOfOtherNames, lr=1e-3),
    "apex": partial(AdamOfOtherNames, lr=1e-3, moments=("exp_avg", "exp_avg_sq"), by_group=True),
    "ScheduleFree": partial(ScheduleFree, lr=1e-3),
    **FACTORED,
}


def config(**more):
    settings = {"initial_rank": 2, "total_steps": STEPS, "warmup_steps": 1, "final_steps": 2, "interval": 2}
    extending = {"initial_budget": 2, "direction": "extend_only", "schedule": "constant", "importance": "nuclear_norm"}
    return FlexLoRAConfig(**{**settings, **extending, **more})


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(16, 12), nn.Tanh(), nn.Linear(12, 16))


def trained(make, spare, **more):
    model = net()
    asked = config(**more)
    adapter = attach(model, asked, spare_slots=spare)
    optimizer = make(adapter.trainable_parameters())
    allocator = RankAllocator(adapter, optimizer, asked)
    generator = torch.Generator().manual_seed(1)
    rules = set()
    for t in range(1, STEPS + 1):
        x = torch.randn(8, 16, generator=generator)
        (model(x) - x.flip(1)).pow(2).mean().backward()
        adapter.add_regularization_gradient()
        optimizer.step()
        if allocator.step(t) is not None:
            rules.update(allocator.last.rules)
        optimizer.zero_grad()
    return adapter, optimizer, rules


@pytest.mark.parametrize("name", FOLLOWING)
def test_storage_that_grew_trains_as_storage_that_had_room(name):
    """Extended until it is full, and more: the same λ as with that room from the start."""
    small, optimizer, rules = trained(FOLLOWING[name], 0)
    large, _, never = trained(FOLLOWING[name], 10)
    assert "grown" in rules and "grown" not in never
    assert small.ranks() == large.ranks()
    assert max(small.ranks().values()) > 4
    found = torch.cat([torch.as_tensor(value) for value in small.singular_values().values()])
    other = torch.cat([torch.as_tensor(value) for value in large.singular_values().values()])
    assert torch.isfinite(found).all() and found.abs().max() > 1e-4
    torch.testing.assert_close(found, other, rtol=2e-3, atol=2e-5)
    for parameter in small.parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            assert role(key, value, parameter.shape) is not None


@pytest.mark.parametrize("name", FOLLOWING)
def test_directions_come_and_go(name):
    adapter, _, _ = trained(FOLLOWING[name], 0, direction="both", initial_rank=4, new_direction="small_value")
    assert sum(adapter.ranks().values()) == 8
    assert all(torch.isfinite(parameter).all() for parameter in adapter.parameters())


@pytest.mark.parametrize("name", ["bitsandbytes", "apex"])
def test_adam_by_any_name_corrects_each_direction_for_its_age(name):
    churn = {"direction": "both", "initial_rank": 4, "new_direction": "small_value"}
    adapter, _, _ = trained(FOLLOWING[name], 4, **churn)
    wanted, _, _ = trained(partial(torch.optim.AdamW, lr=1e-3, weight_decay=0.0), 4, **churn)
    assert adapter.ranks() == wanted.ranks()
    for mine, other in zip(adapter.parameters(), wanted.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-6)


def test_a_new_direction_of_schedule_free_begins_with_the_second_moment_of_the_others():
    adapter = attach(net(), config())
    optimizer = ScheduleFree(adapter.trainable_parameters(), lr=1e-2)
    for _ in range(50):
        for parameter in adapter.trainable_parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
    moves = Moves(adapter, optimizer)
    moves.prune("0", 0)
    moves.extend("0", NEW_DIRECTIONS["zero_impact"], None, 0, 51)
    q = adapter.matrices["0"].Q
    before = optimizer.state[q]["z"].clone()
    optimizer.step()
    # Without it, 14 times the learning rate.
    torch.testing.assert_close(before[0] - optimizer.state[q]["z"][0], torch.full((16,), 1e-2), rtol=1e-2, atol=0)


def random_state(name, seed=0):
    model = net()
    adapter = attach(model, config(initial_rank=4), spare_slots=4)
    optimizer = FACTORED[name](adapter.trainable_parameters())
    generator = torch.Generator().manual_seed(seed)
    for _ in range(30):
        for parameter in adapter.trainable_parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        for matrix in adapter.matrices.values():
            for parameter in (matrix.Pt, matrix.lam, matrix.Q):
                parameter.grad[4:] = 0.0
        optimizer.step()
    return adapter, optimizer


def estimate(optimizer, parameter):
    state = optimizer.state[parameter]
    row, column = ((key, key.replace("row", "col")) for key in state if "row" in key).__next__()
    rows, columns = state[row].reshape(-1, 1), state[column].reshape(1, -1)
    return rows * columns / rows.mean()


@pytest.mark.parametrize("name", FACTORED)
def test_factored_moments_of_the_others_stay(name):
    """Pruned, extended, grown: row · column / mean(row) of every direction that stays is what it was."""
    adapter, optimizer = random_state(name)
    moves = Moves(adapter, optimizer)
    matrix = adapter.matrices["0"]
    before = estimate(optimizer, matrix.Q)
    moves.prune("0", 1)
    torch.testing.assert_close(estimate(optimizer, matrix.Q)[[0, 2, 3]], before[[0, 2, 3]])
    slot = moves.extend("0", NEW_DIRECTIONS["zero_impact"], None, 0, 31)["slot"]
    assert slot == 1
    after = estimate(optimizer, matrix.Q)
    torch.testing.assert_close(after[[0, 2, 3]], before[[0, 2, 3]])
    torch.testing.assert_close(after[1], before[[0, 2, 3]].mean(dim=0))
    for step in range(32, 37):
        moves.extend("0", NEW_DIRECTIONS["zero_impact"], None, 0, step)
    assert matrix.capacity > 8
    torch.testing.assert_close(estimate(optimizer, matrix.Q)[[0, 2, 3]], before[[0, 2, 3]])
    key = "variance" if name == "torch_adafactor" else "exp_avg_sq"
    lam = optimizer.state[matrix.lam][key]
    torch.testing.assert_close(lam[1], lam[[0, 2, 3]].mean())


def test_what_begins_otherwise_than_at_zero():
    """Rprop's step sizes, ASGD's averages and Adagrad's sums begin as those of a fresh parameter do."""
    for make, key, expected in (
        (lambda params: torch.optim.Rprop(params, lr=0.01), "step_size", lambda row: torch.full_like(row, 0.01)),
        (lambda params: torch.optim.ASGD(params, lr=0.01), "ax", lambda row: row),
        (FOLLOWING["Adagrad_begun"], "sum", lambda row: torch.full_like(row, 0.1)),
    ):
        adapter = attach(net(), config())
        optimizer = make(adapter.trainable_parameters())
        for _ in range(3):
            for parameter in adapter.trainable_parameters():
                parameter.grad = torch.randn_like(parameter)
            optimizer.step()
        moves = Moves(adapter, optimizer)
        with moves.together():
            moves.prune("2", 0)
            moves.extend("2", NEW_DIRECTIONS["small_value"], None, 0, 4)
        for parameter in (adapter.matrices["2"].Pt, adapter.matrices["2"].Q):
            row = parameter.detach()[0]
            assert row.norm() > 0
            torch.testing.assert_close(optimizer.state[parameter][key][0], expected(row))


class Refused(Lion):
    """One more entry of the state of every tensor, of a form that follows no direction."""

    entry = staticmethod(lambda p: None)

    def step(self, closure=None):
        super().step()
        for p in self.state:
            self.state[p]["precond"] = self.entry(p)


UNFIT = {
    "shampoo": lambda p: torch.eye(len(p)),
    "right_preconditioner": lambda p: torch.eye(p.shape[-1] + 3),
    "8bit": lambda p: torch.zeros(p.shape, dtype=torch.uint8),
    "blockwise": lambda p: torch.zeros(256),
    "list": lambda p: [torch.eye(len(p)), torch.eye(p.shape[-1])],
    "nested": lambda p: {"left": [torch.eye(len(p))]},
}


@pytest.mark.parametrize("form", UNFIT)
def test_state_that_follows_no_direction_is_refused_at_the_first_step(form):
    kind = type(form.title(), (Refused,), {"entry": staticmethod(UNFIT[form])})
    adapter = attach(net(), config())
    optimizer = kind(adapter.trainable_parameters())
    allocator = RankAllocator(adapter, optimizer, config(warmup_steps=20, interval=9))
    for parameter in adapter.trainable_parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    with pytest.raises(FlexLoRAError, match=rf"{form.title()} keeps 'precond' .*AdamW, SGD, Lion") as told:
        allocator.step(1)
    assert "\n" not in str(told.value)
    with pytest.raises(FlexLoRAError, match="keeps 'precond'"):
        RankAllocator(adapter, optimizer, config()).step(1)
    RankAllocator(adapter, optimizer, config(initial_budget=0)).step(1)


@pytest.mark.parametrize("in_group", [True, False])
def test_an_optimizer_that_keeps_its_tensors_elsewhere_is_refused_once_it_has_moved(in_group):
    adapter = attach(net(), config())
    optimizer = Elsewhere(adapter.trainable_parameters(), in_group)
    allocator = RankAllocator(adapter, optimizer, config())
    optimizer.kept["table"] = torch.ones(9)
    # A first step that a scaler left out.
    allocator.step(1)
    del optimizer.kept["table"]
    for parameter in adapter.trainable_parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    with pytest.raises(FlexLoRAError, match=r"Elsewhere keeps its tensors elsewhere than in its state.*AdamW"):
        allocator.step(2)


def test_what_cannot_be_trained_is_refused_before_a_step():
    adapter = attach(net(), config())
    matrices_only = [part for part in adapter.trainable_parameters() if part.dim() == 2]
    with pytest.raises(FlexLoRAError, match=r"2 of its 6 tensors, such as 0\.lam"):
        RankAllocator(adapter, torch.optim.Muon(matrices_only), config())
    optimizer = torch.optim.AdamW(adapter.trainable_parameters())
    adapter.model.requires_grad_(False)
    for refused in (adapter.trainable_parameters, lambda: RankAllocator(adapter, optimizer, config())):
        with pytest.raises(FlexLoRAError, match=r"P, λ and Q do not require gradients.*freeze before attach"):
            refused()
    adapter.model.requires_grad_(True).to("meta")
    optimizer = torch.optim.AdamW(adapter.trainable_parameters())
    for refused in (lambda: RankAllocator(adapter, optimizer, config()), adapter.merge, adapter.singular_values):
        with pytest.raises(FlexLoRAError, match="moved to the meta device after attach"):
            refused()


def test_training_a_copy_of_the_model_is_told():
    asked = config(initial_budget=2, interval=1, warmup_steps=1)
    adapter = attach(net(), asked)
    copied = copy.deepcopy(adapter.model)
    allocator = RankAllocator(adapter, torch.optim.AdamW(adapter.trainable_parameters()), asked)
    allocator.log_all_measures = True
    with pytest.warns(FlexLoRAWarning, match="every λ is 0 as at the start.*and not a copy of it"):
        for t in (1, 2):
            copied(torch.ones(2, 16)).sum().backward()
            allocator.step(t)


@pytest.mark.parametrize("held", [True, False])
def test_a_list_of_parameters_that_storage_outgrew_is_told_once_where_somebody_holds_it(held):
    asked = config()
    adapter = attach(net(), asked, spare_slots=0)
    optimizer = torch.optim.AdamW(adapter.trainable_parameters(), lr=1e-3)
    before = adapter.trainable_parameters() if held else []
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with Recorder(adapter, optimizer, asked, None) as recorder:
            for t in range(1, STEPS + 1):
                loss = adapter.model(torch.ones(4, 16)).pow(2).mean()
                loss.backward()
                regularizer = adapter.add_regularization_gradient()
                optimizer.step()
                recorder.step(t, loss, regularizer)
                optimizer.zero_grad()
    assert max(matrix.capacity for matrix in adapter.matrices.values()) > 2
    grew = [str(entry.message) for entry in told if "Storage grew" in str(entry.message)]
    assert len(grew) == bool(before) and all("adapter.reserve(rank)" in message for message in grew)


def test_lbfgs_and_a_reset_adagrad_are_refused_when_made():
    adapter = attach(net(), config())
    with pytest.raises(FlexLoRAError, match="LBFGS keeps one vector of all parameters"):
        RankAllocator(adapter, torch.optim.LBFGS(adapter.trainable_parameters()), config())
    with pytest.raises(FlexLoRAError, match="Adagrad makes only once"):
        RankAllocator(adapter, torch.optim.Adagrad(adapter.trainable_parameters()), config(optimizer_at_event="reset"))
    around = Lookahead(adapter.trainable_parameters())
    with pytest.raises(FlexLoRAError, match="Lookahead keeps weights of its own around AdamW"):
        RankAllocator(adapter, around, config())
    with pytest.raises(FlexLoRAError, match=r"defaultdict is no torch\.optim\.Optimizer"):
        RankAllocator(adapter, defaultdict(), config())


def test_every_optimizer_of_torch_is_tried():
    kinds = {
        name
        for name, kind in vars(torch.optim).items()
        if isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer)
    }
    # Muon takes matrices only, SparseAdam sparse gradients only.
    elsewhere = {"Optimizer", "LBFGS", "Muon", "SparseAdam", "Adafactor"}
    assert kinds - elsewhere <= set(FOLLOWING)


def test_the_optimizer_that_accelerate_prepared(tmp_path):
    model = net()
    asked = config()
    adapter = attach(model, asked)
    optimizer = torch.optim.AdamW(adapter.trainable_parameters(), lr=1e-2)
    model, prepared = accelerate.Accelerator(cpu=True).prepare(model, optimizer)
    assert innermost(prepared) is optimizer
    with Recorder(adapter, prepared, asked, tmp_path / "run") as recorder:
        for t in range(1, STEPS + 1):
            loss = model(torch.ones(4, 16)).pow(2).mean()
            loss.backward()
            regularizer = adapter.add_regularization_gradient()
            prepared.step()
            recorder.step(t, loss, regularizer)
            prepared.zero_grad()
    run = read_run(tmp_path / "run")
    assert run.state == "finished" and run.events
    assert recorder.allocator.moves.young.born


def test_steps_with_a_closure_are_those_without(make_llama, token_batch):
    """Gradients come within ``step``, and may have been cleared long before, as Lightning does."""

    def trained(closures):
        torch.manual_seed(2)
        model = make_llama()
        config = FlexLoRAConfig(initial_rank=4, warmup_steps=2, interval=3, final_steps=2, total_steps=16)
        adapter = attach(model, config)
        optimizer = torch.optim.AdamW(adapter.trainable_parameters(), lr=1e-2, weight_decay=0.0)
        allocator = RankAllocator(adapter, optimizer, config)

        def closure():
            optimizer.zero_grad()
            loss = model(input_ids=token_batch["input_ids"], labels=token_batch["input_ids"]).loss
            loss.backward()
            adapter.add_regularization_gradient()
            return loss

        for t in range(1, 17):
            if closures:
                optimizer.step(closure)
            else:
                closure()
                optimizer.step()
            allocator.step(t)
            model.zero_grad()
        assert allocator.moves.young.born
        return adapter

    for mine, other in zip(trained(False).parameters(), trained(True).parameters(), strict=True):
        assert torch.equal(mine, other)

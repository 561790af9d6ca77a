"""A layer that a step skips leaves its λ without a gradient: training and its log go on, whatever decides."""

from __future__ import annotations

import math
import warnings

import numpy as np
import peft
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from analysis.runs import load_run
from flexlora import FlexLoRAConfig, RankAllocator, attach
from flexlora.errors import FlexLoRAError, FlexLoRAWarning
from flexlora.importance import IMPORTANCES
from flexlora.integrations import FlexLoRACallback as OwnCallback
from flexlora.integrations import Recorder
from flexlora.peft import FlexLoRACallback
from flexlora.peft import FlexLoRAConfig as PeftConfig
from flexlora.policies import POLICIES, Policy, decided, load_policy
from tests.flexlora.architectures import ARCHITECTURES, SPEECH, logits
from tests.flexlora.test_peft_trainer import same, trained

WINDOW = {"warmup_steps": 1, "final_steps": 1, "interval": 2, "initial_budget": 2, "schedule": "constant"}


class Branches(nn.Module):
    """Linear layers side by side, of which each pass uses some."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.parts = nn.ModuleList(nn.Linear(6, 6) for _ in range(count))

    def forward(self, x, used):
        return sum(part(x) for part, on in zip(self.parts, used, strict=True) if on)


def config_for(**changes):
    return FlexLoRAConfig(**{"target_modules": "all-linear", "initial_rank": 2, "total_steps": 10, **WINDOW, **changes})


def branches(count, config):
    torch.manual_seed(0)
    adapter = attach(Branches(count), config)
    return adapter, torch.optim.AdamW(adapter.trainable_parameters(), lr=1e-2)


def step(adapter, optimizer, used):
    optimizer.zero_grad()
    adapter.model(torch.ones(3, 6), used).square().mean().backward()
    regularizer = adapter.add_regularization_gradient()
    optimizer.step()
    return regularizer


@given(st.randoms(use_true_random=False), st.sampled_from(sorted(IMPORTANCES)), st.sampled_from(["undefined", "first"]))
@settings(max_examples=25)
def test_what_has_no_gradient_has_no_sensitivity_and_moves_only_by_other_measures(chance, importance, all_zero):
    config = config_for(importance=importance, all_zero=all_zero, rank_one="zero")
    adapter, optimizer = branches(5, config)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FlexLoRAWarning)
        recorder = Recorder(adapter, optimizer, config, None)
        for t in range(1, 11):
            used = [chance.random() < 0.6 for _ in range(5)]
            used[chance.randrange(5)] = True
            regularizer = step(adapter, optimizer, used)
            lam = adapter.singular_values()
            gradients = {name: m.lam.grad for name, m in adapter.matrices.items()}
            slots = {name: list(m.slots) for name, m in adapter.matrices.items()}
            plan = recorder.step(t, 1.0, regularizer)
            if plan is None:
                continue
            scores = recorder.allocator.last.importance["sensitivity"]
            for name, on in zip(adapter.matrices, used, strict=True):
                assert (gradients[name] is not None) == on
                if on:
                    product = np.abs(lam[name] * gradients[name].numpy()[slots[name]])
                    assert scores[name] == pytest.approx(float(product.mean()), rel=1e-5)
                else:
                    assert scores[name] is None
                    assert importance != "sensitivity" or name not in {*plan.prune, *plan.extend}
        recorder.close()


def test_it_is_told_once_where_sensitivity_decides_and_not_where_it_is_logged_only():
    for importance, times in (("sensitivity", 1), ("spectral_entropy", 0)):
        config = config_for(importance=importance)
        adapter, optimizer = branches(3, config)
        recorder = Recorder(adapter, optimizer, config, None)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for t in range(1, 10):
                recorder.step(t, 1.0, step(adapter, optimizer, [True, False, True]))
        told = [str(each.message) for each in caught if "takes no part" in str(each.message)]
        assert len(told) == times
        assert all("parts.1 has no gradient at the event of step 3" in line for line in told)


def test_without_any_gradient_the_log_lacks_sensitivity_and_a_decision_by_it_is_refused():
    for importance in ("nuclear_norm", "sensitivity"):
        config = config_for(importance=importance)
        adapter, optimizer = branches(3, config)
        allocator = RankAllocator(adapter, optimizer, config)
        allocator.log_all_measures = True
        step(adapter, optimizer, [True] * 3)
        allocator.step(1)
        allocator.step(2)
        optimizer.zero_grad()
        if importance == "sensitivity":
            with pytest.raises(FlexLoRAError, match="between backward"):
                allocator.step(3)
            continue
        with pytest.warns(FlexLoRAWarning, match="between backward"):
            assert allocator.step(3) is not None
        assert set(allocator.last.importance["sensitivity"].values()) == {None}


def test_a_policy_that_is_shown_nan_may_answer_with_it_and_no_other_may():
    ranks = {"a": 2, "b": 2}
    mean = Policy(
        "mean",
        "mean",
        "decide",
        ("sensitivities",),
        lambda seen, *_: {n: v.mean() for n, v in seen["sensitivities"].items()},
    )
    arrays = {"sensitivities": {"a": np.full(2, np.nan), "b": np.ones(2)}}
    scores, plan = decided(mean, arrays, ranks, 1, {"a": 4, "b": 4})
    assert scores == {"a": None, "b": 1.0} and plan is None
    broken = Policy("broken", "broken", "decide", ("sensitivities",), lambda *_: {"a": 1.0, "b": math.nan})
    with pytest.raises(FlexLoRAError, match="returned nan for b"):
        decided(broken, arrays, ranks, 1, {"a": 4, "b": 4})


def test_a_policy_of_gradients_trains_through_skipped_layers(tmp_path, monkeypatch):
    file = tmp_path / "mine.py"
    file.write_text(
        "reads = ['sensitivities']\n\n\ndef decide(observed, ranks, budget):\n"
        "    return {name: values.mean() for name, values in observed['sensitivities'].items()}\n"
    )
    monkeypatch.setattr("flexlora.policies.POLICIES", dict(POLICIES))
    config = config_for(policy=load_policy(str(file)).key)
    adapter, optimizer = branches(4, config)
    allocator = RankAllocator(adapter, optimizer, config)
    with pytest.warns(FlexLoRAWarning, match="takes no part"):
        for t in range(1, 10):
            step(adapter, optimizer, [True, True, t % 3 != 0, True])
            plan = allocator.step(t)
            assert plan is None or t % 3 or "parts.2" not in {*plan.prune, *plan.extend}


def skipping(model):
    """Let training skip each layer of a BERT one time in three, as layerdrop does."""
    for layer in model.bert.encoder.layer:
        whole = layer.forward

        def forward(hidden, *args, _layer=layer, _whole=whole, **more):
            return hidden if _layer.training and torch.rand(()) < 1 / 3 else _whole(hidden, *args, **more)

        layer.forward = forward
    return model


@pytest.mark.parametrize("door", ["attach", "peft", "adalora"])
def test_layers_that_are_skipped_by_chance_train_log_and_resume_bit_for_bit(door, make_bert, tmp_path):
    def run(folder, **more):
        model = skipping(make_bert())
        if door == "attach":
            callback = OwnCallback(model, FlexLoRAConfig(initial_rank=4, **WINDOW), folder / "run")
        else:
            options = {"method": "adalora"} if door == "adalora" else WINDOW
            model = peft.get_peft_model(model, PeftConfig(task_type="SEQ_CLS", r=4, **options))
            callback = FlexLoRACallback(folder / "run")
        trained(model, "bert", folder, callback, save_strategy="steps", save_steps=12, **more)
        return callback.adapter

    straight = run(tmp_path)
    same(straight, run(tmp_path, resume=str(tmp_path / "out" / "checkpoint-12")))
    events = load_run(tmp_path / "run").events
    if door != "adalora":
        scores = [value for event in events for value in event["importance"]["sensitivity"].values()]
        assert None in scores and any(scores)


def test_a_merged_adapter_is_not_trained(make_bert, tmp_path):
    model = peft.get_peft_model(make_bert(), PeftConfig(task_type="SEQ_CLS", r=4, **WINDOW))
    model.merge_adapter()
    callback = FlexLoRACallback()
    with pytest.raises(FlexLoRAError, match=r"unmerge_adapter\(\)"):
        trained(model, "bert", tmp_path, callback)
    callback.close()
    model.unmerge_adapter()
    trained(model, "bert", tmp_path / "again")


DROPPING = [name for name, one in ARCHITECTURES.items() if one.settings is SPEECH]


@pytest.mark.parametrize("name", DROPPING)
def test_architectures_that_drop_layers_train_with_a_recorder(name):
    one = ARCHITECTURES[name]
    config = FlexLoRAConfig(initial_rank=2, total_steps=12, **WINDOW)
    torch.manual_seed(1)
    model = one.build().train()
    model.config.layerdrop = 0.5
    adapter = attach(model, config)
    optimizer = torch.optim.AdamW(adapter.trainable_parameters(), lr=1e-2)
    blank = 0
    with Recorder(adapter, optimizer, config, None) as recorder:
        for t in range(1, 13):
            logits(model, one.batch).square().mean().backward()
            regularizer = adapter.add_regularization_gradient()
            optimizer.step()
            plan = recorder.step(t, 1.0, regularizer)
            optimizer.zero_grad()
            blank += plan is not None and None in recorder.allocator.last.importance["sensitivity"].values()
    assert blank

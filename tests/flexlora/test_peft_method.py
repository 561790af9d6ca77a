"""FlexLoRA in PEFT's own words: what get_peft_model, PeftModel and its files promise, on three kinds of model."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
import warnings
from pathlib import Path

import peft
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import nn

from flexlora import FlexLoRAConfig as OwnConfig
from flexlora import attach
from flexlora.errors import FlexLoRAError, FlexLoRAWarning
from flexlora.integrations import FlexLoRACallback as OwnCallback
from flexlora.methods import METHODS
from flexlora.peft import FlexLoRACallback, FlexLoRAConfig, FlexLoRAModel
from flexlora.peft.config import NOT_HERE, REFUSED
from flexlora.peft.layer import FlexLoRALayer
from flexlora.peft.model import PATIENCE

STEPS = 24
WINDOW = {"warmup_steps": 2, "final_steps": 4, "interval": 3}
SETTINGS = {"r": 4, "total_steps": STEPS, **WINDOW, "initial_budget": 3, "schedule": "constant"}
TASKS = {"bert": "SEQ_CLS", "gpt2": "SEQ_CLS", "llama": "CAUSAL_LM"}
THROUGH_PEFT = [name for name in METHODS if name not in REFUSED]


@pytest.fixture
def make(make_bert, make_gpt2, make_llama):
    return {"bert": make_bert, "gpt2": make_gpt2, "llama": make_llama}


@pytest.fixture
def tuned(make):
    """Makes a PEFT model of a kind, in evaluation mode."""

    def build(kind="bert", **options):
        options = {"target_modules": "all-linear", "task_type": TASKS[kind], **SETTINGS, **options}
        return get_peft_model(make[kind](), FlexLoRAConfig(**options)).eval()

    return build


def batch(kind="bert", rows=4, seed=5):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, 50, (rows, 8), generator=generator)
    return {"input_ids": ids, "labels": ids.clone() if TASKS[kind] == "CAUSAL_LM" else torch.arange(rows) % 2}


@torch.no_grad()
def logits(model, kind="bert", **more):
    return model(input_ids=batch(kind)["input_ids"], **more).logits


def trained(model, kind="bert", steps=STEPS, rate=5e-3):
    """Train by a loop of one's own; return the events."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=rate, weight_decay=0.0)
    model.base_model.bind(optimizer)
    model.train()
    events = []
    for step in range(1, steps + 1):
        model(**batch(kind, seed=step)).loss.backward()
        optimizer.step()
        events.append(model.base_model.update_and_allocate(step))
        optimizer.zero_grad()
    model.eval()
    return [event for event in events if event is not None]


@pytest.mark.parametrize("kind", TASKS)
def test_the_start_is_that_of_attach_and_changes_no_output(kind, make, tuned):
    model, own, plain = tuned(kind), make[kind](), make[kind]()
    before = logits(plain, kind)
    adapter = attach(own, OwnConfig(initial_rank=4))
    assert torch.equal(logits(model, kind), before)
    assert list(model.base_model.adapter.matrices) == list(adapter.matrices)
    for name, matrix in adapter.matrices.items():
        held = model.base_model.adapter.matrices[name]
        assert torch.equal(held.Pt, matrix.Pt) and torch.equal(held.Q, matrix.Q) and held.slots == matrix.slots
    # The same numbers are trained; PEFT trains a copy of the head.
    sizes = sorted(p.numel() for p in own.parameters() if p.requires_grad)
    assert sorted(p.numel() for p in model.parameters() if p.requires_grad) == sizes
    assert model.get_nb_trainable_parameters()[0] == sum(sizes)
    assert sum(isinstance(module, FlexLoRALayer) for module in model.modules()) == len(adapter.matrices)


def test_what_is_trained_is_printed(tuned, capsys):
    model = tuned()
    model.print_trainable_parameters()
    count = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert f"trainable params: {count:,}" in capsys.readouterr().out


def test_what_is_saved_is_a_plain_lora_that_loads_without_us(make, tuned, tmp_path):
    for kind in TASKS:
        folder = tmp_path / kind
        model, own = tuned(kind), make[kind]()
        assert any(event.prune for event in trained(model, kind))
        model.save_pretrained(folder / "lora")
        own.save_pretrained(folder / "base")
        ranks = {name: rank for name, rank in model.base_model.adapter.ranks().items() if rank}
        told = json.loads((folder / "lora" / "adapter_config.json").read_text())
        assert told["peft_type"] == "LORA" and told["rank_pattern"] == ranks and len(set(ranks.values())) > 1
        assert told["alpha_pattern"] == {name: 2.0 * rank for name, rank in ranks.items()}
        tensors = load_file(folder / "lora" / "adapter_model.safetensors")
        A = {key: tensor.shape[0] for key, tensor in tensors.items() if ".lora_A." in key}
        assert {f"base_model.model.{name}.lora_A.weight": rank for name, rank in ranks.items()} == A
        heads = {key for key in tensors if "lora_" not in key}
        assert bool(heads) == (TASKS[kind] == "SEQ_CLS") and not any("modules_to_save" in key for key in heads)
        expected = {"ids": batch(kind)["input_ids"], "logits": logits(model, kind).contiguous()}
        save_file(expected, folder / "expected.safetensors", metadata={"model": type(own).__name__})
    code = """
import sys, warnings, pathlib, torch, transformers
from peft import PeftModel
from safetensors import safe_open
for folder in map(pathlib.Path, sys.argv[1:]):
    with safe_open(folder / "expected.safetensors", "pt") as file:
        kind, ids, logits = file.metadata()["model"], file.get_tensor("ids"), file.get_tensor("logits")
    base = getattr(transformers, kind).from_pretrained(folder / "base").eval()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        model = PeftModel.from_pretrained(base, folder / "lora").eval()
    with torch.no_grad():
        difference = (model(input_ids=ids).logits - logits).abs().max()
    assert type(model.base_model).__name__ == "LoraModel"
    assert difference < 1e-5, (kind, difference)
assert not any(name.startswith("flexlora") for name in sys.modules)
"""
    folders = [str(tmp_path / kind) for kind in TASKS]
    subprocess.run([sys.executable, "-c", code, *folders], check=True, cwd=tmp_path)


@pytest.mark.parametrize("kind", TASKS)
def test_a_saved_adapter_goes_on_as_flexlora(kind, make, tuned, tmp_path):
    model = tuned(kind)
    trained(model, kind)
    model.save_pretrained(tmp_path)
    config = FlexLoRAConfig(target_modules="all-linear", task_type=TASKS[kind], **SETTINGS)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        loaded = PeftModel.from_pretrained(make[kind](), tmp_path, config=config, is_trainable=True).eval()
    assert isinstance(loaded.base_model, FlexLoRAModel)
    assert loaded.base_model.adapter.ranks() == model.base_model.adapter.ranks()
    torch.testing.assert_close(logits(loaded, kind), logits(model, kind), atol=1e-5, rtol=0)
    for matrix in loaded.base_model.adapter.matrices.values():
        _, lam, Q = matrix.directions()
        if matrix.rank and lam.any():
            torch.testing.assert_close(Q[lam != 0].norm(dim=1), torch.ones(int((lam != 0).sum())))
    assert any(event.prune for event in trained(loaded, kind))


@pytest.mark.parametrize(("saved", "asked"), [((4, 8), (8, 8)), ((4, 8), (2, 16)), ((6, 3), (4, None))])
def test_a_saved_adapter_is_the_same_function_under_any_r_and_alpha(saved, asked, make, tuned, tmp_path):
    model = tuned(r=saved[0], lora_alpha=saved[1])
    assert any(event.prune for event in trained(model))
    model.save_pretrained(tmp_path)
    config = FlexLoRAConfig(task_type="SEQ_CLS", **{**SETTINGS, "r": asked[0], "lora_alpha": asked[1]})
    loaded = PeftModel.from_pretrained(make["bert"](), tmp_path, config=config, is_trainable=True).eval()
    torch.testing.assert_close(logits(loaded), logits(model), atol=1e-5, rtol=0)
    beside = tuned()
    beside.add_adapter("other", config)
    beside.load_adapter(tmp_path, "other")
    beside.set_adapter("other")
    torch.testing.assert_close(logits(beside), logits(model), atol=1e-5, rtol=0)
    loaded.save_pretrained(tmp_path / "again")
    again = PeftModel.from_pretrained(make["bert"](), tmp_path / "again").eval()
    torch.testing.assert_close(logits(again), logits(model), atol=1e-5, rtol=0)


def test_a_lora_of_peft_s_own_is_the_same_function_or_refused(make, tmp_path):
    def load(name):
        config = FlexLoRAConfig(task_type="SEQ_CLS", target_modules=["query", "value"], r=4)
        return PeftModel.from_pretrained(make["bert"](), tmp_path / name, config=config, is_trainable=True).eval()

    def save(name, config):
        model = get_peft_model(make["bert"](), config)
        for parameter in model.parameters():
            if parameter.requires_grad:
                torch.nn.init.normal_(parameter, std=0.2, generator=torch.Generator().manual_seed(1))
        model.save_pretrained(tmp_path / name)
        return model.eval()

    plain = {"task_type": "SEQ_CLS", "target_modules": ["query", "value"], "r": 3, "lora_alpha": 5}
    ranks = {"rank_pattern": {"layer.0.attention.self.query": 2}, "alpha_pattern": {r"layer.1.*value": 9}}
    for name, more in {"rslora": {"use_rslora": True}, "patterns": ranks}.items():
        model = save(name, LoraConfig(**plain, **more))
        torch.testing.assert_close(logits(load(name)), logits(model), atol=1e-5, rtol=1e-5)
    save("dora", LoraConfig(**plain, use_dora=True))
    with pytest.raises(FlexLoRAError, match="dora is a LoRA with use_dora=True"):
        load("dora")
    (tmp_path / "patterns" / "adapter_config.json").unlink()
    with pytest.raises(FlexLoRAError, match=r"no adapter_config.json that could be read, so their scale is not known"):
        load("patterns")


@pytest.mark.parametrize("kind", TASKS)
def test_the_state_dictionary_goes_out_and_in(kind, make, tuned):
    model, other = tuned(kind), tuned(kind, seed=3)
    trained(model, kind)
    state = get_peft_model_state_dict(model)
    assert {key.rpartition(".lora_")[2] for key in state if ".lora_" in key} == {"A.weight", "B.weight"}
    found = set_peft_model_state_dict(other, state)
    assert not found.unexpected_keys
    assert not [key for key in found.missing_keys if "flexlora_" in key or "modules_to_save" in key]
    torch.testing.assert_close(logits(other, kind), logits(model, kind), atol=1e-5, rtol=0)
    again = get_peft_model_state_dict(other)
    assert again.keys() == state.keys()
    for key, tensor in state.items():
        if ".lora_A." in key:
            pair = key.replace("lora_A", "lora_B")
            torch.testing.assert_close(again[pair] @ again[key], state[pair] @ tensor, atol=1e-6, rtol=1e-4)


def test_a_fresh_adapter_stays_alive_through_its_state_dictionary(tuned):
    """With λ = 0 the product is 0: written naively, no gradient would ever reach it again."""
    model = tuned()
    set_peft_model_state_dict(model, get_peft_model_state_dict(model))
    trained(model, steps=3)
    assert all(matrix.lam.detach().any() for matrix in model.base_model.adapter.matrices.values())


def test_torch_s_own_state_dictionary_is_exact(make, tuned):
    model = tuned()
    trained(model)
    other = tuned(seed=9)
    other.load_state_dict(model.state_dict())
    assert torch.equal(logits(other), logits(model))
    assert other.base_model.adapter.ranks() == model.base_model.adapter.ranks()


@pytest.mark.parametrize("kind", TASKS)
def test_disabled_merged_and_unloaded(kind, make, tuned):
    before = logits(make[kind](), kind)
    model = tuned(kind)
    trained(model, kind)
    after = logits(model, kind)
    assert (after - before).abs().max() > 1e-3
    with model.disable_adapter():
        assert torch.equal(logits(model, kind), before)
    assert torch.equal(logits(model, kind), after)
    copied = copy.deepcopy(model)
    assert torch.equal(logits(copied, kind), after)
    model.merge_adapter()
    torch.testing.assert_close(logits(model, kind), after, atol=1e-5, rtol=0)
    model.unmerge_adapter()
    torch.testing.assert_close(logits(model, kind), after, atol=1e-5, rtol=0)
    merged = model.merge_and_unload(safe_merge=True)
    assert not any(isinstance(module, FlexLoRALayer) for module in merged.modules())
    assert type(merged) is type(make[kind]())
    torch.testing.assert_close(logits(merged, kind), after, atol=1e-5, rtol=0)
    assert torch.equal(logits(copied, kind), after)
    plain, first = copied.unload(), dict(make[kind]().named_parameters())
    # The trained head stays in its place, as in PEFT; the body is as it was.
    body = {name: p for name, p in plain.named_parameters() if not name.startswith(("score", "classifier"))}
    assert len(body) > 10 and all(torch.equal(p, first[name]) for name, p in body.items())


def test_a_merge_that_is_not_finite_is_refused_and_leaves_the_weight(tuned):
    model = tuned(target_modules=["query"])
    matrix = next(iter(model.base_model.adapter.matrices.values()))
    with torch.no_grad():
        matrix.lam[0] = float("nan")
    before = matrix.base.weight.clone()
    with pytest.raises(ValueError, match="not finite"):
        model.merge_adapter(safe_merge=True)
    assert torch.equal(matrix.base.weight, before)
    with pytest.raises(FlexLoRAError, match="not finite"):
        get_peft_model_state_dict(model)


def test_a_weight_that_others_share_is_merged_for_this_layer_alone(make_bert):
    base = make_bert()
    layers = base.bert.encoder.layer
    layers[0].attention.self.query.weight = layers[1].attention.self.key.weight
    model = get_peft_model(base, FlexLoRAConfig(target_modules=["0.attention.self.query"], **SETTINGS)).eval()
    with torch.no_grad():
        next(iter(model.base_model.adapter.matrices.values())).lam[0] = 1.0
    after, kept = logits(model), layers[1].attention.self.key.weight.clone()
    merged = model.merge_and_unload()
    torch.testing.assert_close(logits(merged), after, atol=1e-5, rtol=0)
    assert torch.equal(layers[1].attention.self.key.weight, kept)


class Int8Linear(nn.Module):
    """Stands in for a quantisation library's layer: it maps x to y, and its weight is packed."""

    def __init__(self, linear):
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        scale = linear.weight.detach().abs().max() / 127
        self.register_buffer("weight", (linear.weight.detach() / scale).round().to(torch.int8))
        self.register_buffer("scale", scale)
        self.bias = linear.bias

    def forward(self, x):
        return nn.functional.linear(x, self.weight.to(x.dtype) * self.scale, self.bias)


def test_packed_weights_are_adapted_and_not_merged(make_bert, tmp_path):
    def packed():
        model = make_bert()
        for layer in model.bert.encoder.layer:
            layer.attention.self.query = Int8Linear(layer.attention.self.query)
        return model

    model = get_peft_model(packed(), FlexLoRAConfig(target_modules=["query"], task_type="SEQ_CLS", **SETTINGS)).eval()
    before = logits(packed())
    assert torch.equal(logits(model), before)
    trained(model)
    assert (logits(model) - before).abs().max() > 1e-3
    with pytest.raises(FlexLoRAError, match=r"The weight of .*query \(Int8Linear\) cannot be written to"):
        model.merge_adapter()
    model.save_pretrained(tmp_path)
    assert (
        model.base_model.adapter.ranks().keys()
        == json.loads((tmp_path / "adapter_config.json").read_text())["rank_pattern"].keys()
    )
    assert isinstance(model.unload().bert.encoder.layer[0].attention.self.query, Int8Linear)


def test_one_configuration_serves_several_models(make, tuned):
    config = FlexLoRAConfig(target_modules="all-linear", **SETTINGS)
    first = get_peft_model(make["bert"](), config)
    assert first.peft_config["default"].modules_to_save == ["classifier"]
    second = get_peft_model(make["gpt2"](), config)
    assert second.peft_config["default"].modules_to_save == ["score"]
    third = get_peft_model(make["llama"](), config)
    assert third.peft_config["default"].modules_to_save is None


def test_compiled_and_uncompiled_agree(tuned):
    model = tuned("llama")
    with torch.no_grad():
        for matrix in model.base_model.adapter.matrices.values():
            matrix.lam[: matrix.rank] = 0.3
    compiled = torch.compile(model, backend="eager")
    torch.testing.assert_close(logits(compiled, "llama"), logits(model, "llama"), atol=1e-5, rtol=0)


def test_several_adapters_are_added_switched_mixed_and_deleted(make, tuned):
    plain = logits(make["bert"]())
    model = tuned()
    trained(model)
    first = logits(model)
    model.add_adapter("second", FlexLoRAConfig(r=2, target_modules=["query", "key"], task_type="SEQ_CLS", **WINDOW))
    assert torch.equal(logits(model), first)
    model.set_adapter("second")
    assert torch.equal(logits(model), plain)
    assert all("second" in name for name, p in model.named_parameters() if p.requires_grad)
    model.base_model.peft_config["second"].total_steps = STEPS
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    with pytest.raises(FlexLoRAError, match="total_steps is missing"):
        model.base_model.bind(optimizer)
    model.base_model.bind(optimizer, total_steps=STEPS)
    model.train()
    for step in range(1, 9):
        model(**batch(seed=step)).loss.backward()
        optimizer.step()
        model.base_model.update_and_allocate(step)
        optimizer.zero_grad()
    model.eval()
    second = logits(model)
    assert (second - plain).abs().max() > 1e-4
    model.set_adapter("default")
    assert torch.equal(logits(model), first)
    rows = ["default", "second", "__base__", "default"]
    expected = torch.stack([first[0], second[1], plain[2], first[3]])
    torch.testing.assert_close(logits(model, adapter_names=rows), expected, atol=1e-5, rtol=0)
    assert torch.equal(logits(model), first)
    with pytest.raises(FlexLoRAError, match="there is no third"):
        logits(model, adapter_names=["third"] * 4)
    with pytest.raises(FlexLoRAError, match="is for inference"):
        logits(model.train(), adapter_names=rows)
    model.eval().delete_adapter("second")
    assert torch.equal(logits(model), first) and list(model.base_model.adapters) == ["default"]


def test_generation_mixes_adapters_beams_included(tuned):
    model = tuned("llama", target_modules=["q_proj"])
    with torch.no_grad():
        for matrix in model.base_model.adapter.matrices.values():
            matrix.lam[: matrix.rank] = 2.0
    ids = batch("llama", rows=2)["input_ids"]
    for beams in (1, 2):
        more = {"max_new_tokens": 4, "do_sample": False, "num_beams": beams, "pad_token_id": 0}
        mixed = model.generate(input_ids=ids, adapter_names=["default", "__base__"], **more)
        alone = model.generate(input_ids=ids[:1], **more)
        with model.disable_adapter():
            base = model.generate(input_ids=ids[1:], **more)
        assert torch.equal(mixed[:1], alone) and torch.equal(mixed[1:], base)


def test_active_together_adapters_add_up(make, tuned):
    model = tuned("llama", target_modules=["q_proj", "v_proj"])
    model.add_adapter("second", FlexLoRAConfig(r=2, target_modules=["q_proj", "k_proj"], task_type="CAUSAL_LM"))
    generator = torch.Generator().manual_seed(1)
    deltas = {}
    for adapter in model.base_model.adapters.values():
        for name, matrix in adapter.matrices.items():
            with torch.no_grad():
                matrix.lam[: matrix.rank] = torch.randn(matrix.rank, generator=generator)
            deltas[name] = deltas.get(name, 0) + matrix.delta_weight(torch.float32)
    model.base_model.set_adapter(["default", "second"])
    plain = make["llama"]().eval()
    with torch.no_grad():
        for name, delta in deltas.items():
            plain.get_submodule(name).weight += delta
    torch.testing.assert_close(logits(model, "llama"), logits(plain, "llama"), atol=1e-5, rtol=0)
    with pytest.raises(FlexLoRAError, match="One adapter can be trained at a time"):
        model.base_model.bind(torch.optim.SGD(model.parameters(), lr=0.1))
    merged = model.merge_and_unload(adapter_names=["default", "second"])
    torch.testing.assert_close(logits(merged, "llama"), logits(plain, "llama"), atol=1e-5, rtol=0)


def test_saving_writes_each_adapter_in_its_folder(make, tuned, tmp_path):
    model = tuned()
    model.add_adapter("second", FlexLoRAConfig(r=2, target_modules=["query"], task_type="SEQ_CLS", **WINDOW))
    for adapter in model.base_model.adapters.values():
        for matrix in adapter.matrices.values():
            with torch.no_grad():
                matrix.lam[: matrix.rank] = 0.3
    model.save_pretrained(tmp_path)
    for folder, name, rank in ((tmp_path, "default", 4), (tmp_path / "second", "second", 2)):
        told = json.loads((folder / "adapter_config.json").read_text())
        assert set(told["rank_pattern"].values()) == {rank}
        model.set_adapter(name)
        loaded = PeftModel.from_pretrained(make["bert"](), folder).eval()
        torch.testing.assert_close(logits(loaded), logits(model), atol=1e-5, rtol=0)
    other = tuned()
    other.load_adapter(tmp_path, "default")
    model.set_adapter("default")
    torch.testing.assert_close(logits(other), logits(model), atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match="Cannot combine adapters with different peft types"):
        other.load_adapter(tmp_path / "second", "second")
    other.add_adapter("second", FlexLoRAConfig(r=2, target_modules=["query"], task_type="SEQ_CLS"))
    other.load_adapter(tmp_path / "second", "second")
    other.set_adapter("second")
    model.set_adapter("second")
    torch.testing.assert_close(logits(other), logits(model), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", THROUGH_PEFT)
def test_every_method_trains_saves_and_loads(name, make, tuned, tmp_path):
    own = {"flexlora": {}, "adalora": WINDOW, "elalora": WINDOW, "dora_dynamic": WINDOW, "l1ra": {"interval": 4}}
    options = {**dict.fromkeys(SETTINGS), "method": name, "r": 4, "total_steps": STEPS, **own.get(name, {})}
    options = {key: value for key, value in options.items() if value is not None}
    model = get_peft_model(
        make["bert"](), FlexLoRAConfig(target_modules=["query", "value"], task_type="SEQ_CLS", **options)
    ).eval()
    assert torch.equal(logits(model), logits(make["bert"]()))
    events = trained(model)
    assert bool(events) == (name not in ("lora", "dylora", "mlae"))
    if name in ("lora", "salora", "dylora"):
        assert not any(matrix.lam.requires_grad for matrix in model.base_model.adapter.matrices.values())
    after = logits(model)
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(make["bert"](), tmp_path).eval()
    torch.testing.assert_close(logits(loaded), after, atol=1e-5, rtol=0)
    model.add_adapter("other", FlexLoRAConfig(r=2, task_type="SEQ_CLS", target_modules=["key"]))
    model.set_adapter("other")
    model.set_adapter("default")
    if name in ("lora", "salora", "dylora"):
        assert not any(matrix.lam.requires_grad for matrix in model.base_model.adapter.matrices.values())
    torch.testing.assert_close(logits(model.merge_and_unload()), after, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", REFUSED)
def test_methods_that_cannot_are_refused_by_name(name):
    with pytest.raises(FlexLoRAError, match=f"method='{name}' cannot work through PEFT: "):
        FlexLoRAConfig(method=name)


@pytest.mark.parametrize("key", NOT_HERE)
def test_options_of_lora_that_ask_for_nothing_are_taken_and_others_refused(key):
    neutral, reason = NOT_HERE[key]
    for value in neutral:
        FlexLoRAConfig(**{key: value})
    with pytest.raises(FlexLoRAError, match=f"^{key}='something' does not apply: "):
        FlexLoRAConfig(**{key: "something"})


def test_options_are_checked_and_named(tuned, make):
    with pytest.raises(FlexLoRAError, match="initial_rank is called r here"):
        FlexLoRAConfig(initial_rank=4)
    with pytest.raises(FlexLoRAError, match="target_rank does not belong to method flexlora"):
        FlexLoRAConfig(target_rank=4)
    with pytest.raises(FlexLoRAError, match="Unknown method 'dora'"):
        FlexLoRAConfig(method="dora")
    for refused, wrong in {
        r"^r=0 must be at least 1": {"r": 0},
        r"lora_alpha=-1.* above 0": {"lora_alpha": -1},
    }.items():
        with pytest.raises(FlexLoRAError, match=refused):
            FlexLoRAConfig(**wrong)
    with pytest.raises(FlexLoRAError, match=r"does not fit .*: its rank can be 1 to \d+. Lower r or leave"):
        tuned(target_modules=["query"], r=640)
    for typed, meant in {"initial_bugdet": "initial_budget", "lora_alhpa": "lora_alpha", "rank": "max_rank"}.items():
        with pytest.raises(
            FlexLoRAError, match=rf"{typed} does not belong .*Did you mean .*{meant}.* options are: "
        ) as no:
            FlexLoRAConfig(**{typed: 4})
        assert " initial_rank," not in str(no.value) and " alpha," not in str(no.value)
    config = FlexLoRAConfig(method="adalora", target_rank=4)
    assert (config.r, config.lora_alpha) == (6, 12)
    assert FlexLoRAConfig().r == 8
    with pytest.raises(FlexLoRAError, match="matches no linear layer"):
        tuned(target_modules=["nothing"])
    with pytest.raises(FlexLoRAError, match="modules_to_save 'nothing' is no module"):
        tuned(modules_to_save=["nothing"])
    with pytest.raises(FlexLoRAError, match="save it by model"):
        FlexLoRAConfig().save_pretrained("nowhere")
    with pytest.raises(FlexLoRAError, match="low_cpu_mem_usage"):
        get_peft_model(make["bert"](), FlexLoRAConfig(), low_cpu_mem_usage=True)


def test_targets_are_chosen_as_peft_chooses_them(make):
    def targets(**options):
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            model = get_peft_model(make["bert"](), FlexLoRAConfig(task_type="SEQ_CLS", **options))
        return set(model.base_model.adapter.matrices)

    everything = targets()
    assert targets(target_modules="all-linear") == everything and len(everything) >= 12
    assert targets(target_modules={"query"}) == targets(target_modules=r".*\.query")
    assert targets(exclude_modules=["query"]) == {name for name in everything if not name.endswith("query")}
    only = targets(target_modules=["query"], layers_to_transform=1)
    assert only == {"bert.encoder.layer.1.attention.self.query"}


def test_more_modules_and_tokens_are_trained_whole_and_saved(make, tmp_path):
    config = FlexLoRAConfig(
        target_modules=["query"], modules_to_save=["LayerNorm"], trainable_token_indices={"word_embeddings": [3, 4]},
        task_type="SEQ_CLS", **SETTINGS,
    )  # fmt: skip
    model = get_peft_model(make["bert"](), config)
    trained(model)
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(make["bert"](), tmp_path).eval()
    torch.testing.assert_close(logits(loaded), logits(model), atol=1e-5, rtol=0)
    name = "bert.embeddings.LayerNorm.modules_to_save.default.weight"
    assert not torch.equal(model.base_model.model.get_parameter(name), torch.ones(32))


def test_an_own_loop_moves_ranks_as_attach_and_recorder_do(make, tuned):
    from flexlora.integrations import Recorder

    model = tuned()
    events = trained(model)
    own = make["bert"]()
    adapter = attach(own, OwnConfig(initial_rank=4, total_steps=STEPS, initial_budget=3, schedule="constant", **WINDOW))
    optimizer = torch.optim.AdamW([p for p in own.parameters() if p.requires_grad], lr=5e-3, weight_decay=0.0)
    recorder = Recorder(adapter, optimizer, adapter.config, None)
    own.train()
    plans = []
    for step in range(1, STEPS + 1):
        loss = own(**batch(seed=step)).loss
        loss.backward()
        regularizer = adapter.add_regularization_gradient()
        optimizer.step()
        if recorder.step(step, loss, regularizer) is not None:
            plans.append(recorder.allocator.last)
        optimizer.zero_grad()
    assert [(e.prune, e.extend) for e in events] == [(e.prune, e.extend) for e in plans]
    assert any(event.prune for event in events)
    held = model.base_model.adapter
    assert torch.equal(held.flat_weights(), adapter.flat_weights())
    assert torch.equal(logits(model), logits(own.eval()))


def test_averaged_weights_follow_where_storage_is_reserved(make, tuned):
    model = tuned("bert", r=2, total_steps=12, max_rank=6, warmup_steps=1, final_steps=1, interval=1, initial_budget=4)
    model.base_model.adapter.reserve(6)
    optimizer = torch.optim.AdamW([part for part in model.parameters() if part.requires_grad], lr=1e-2)
    model.base_model.bind(optimizer)
    average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.5))
    ids = torch.arange(3, 19).reshape(2, 8)
    for step in range(1, 13):
        model(input_ids=ids, labels=torch.tensor([0, 1])).loss.backward()
        optimizer.step()
        model.base_model.update_and_allocate(step)
        optimizer.zero_grad()
        average.update_parameters(model)
    assert max(model.base_model.adapter.ranks().values()) > 4
    expected = average.module.eval()(input_ids=ids).logits
    model.load_state_dict(average.module.state_dict())
    torch.testing.assert_close(model.eval()(input_ids=ids).logits, expected)


def test_training_that_nobody_tends_is_told_once(tuned):
    model = tuned(target_modules=["query"]).train()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for _ in range(PATIENCE + 20):
            model(**batch(rows=1))
    own = [warning for warning in told if warning.category is FlexLoRAWarning]
    assert len(own) == 1
    assert "callbacks=[flexlora.peft.FlexLoRACallback()]" in str(own[0].message)
    assert "model.base_model.bind(optimizer)" in str(own[0].message)
    with pytest.raises(FlexLoRAError, match=r"Call model\.base_model\.bind\(optimizer\)"):
        model.base_model.update_and_allocate(1)
    with pytest.raises(FlexLoRAError, match="Nothing of this adapter is trained"):
        frozen = tuned(target_modules=["query"], inference_mode=True)
        frozen.base_model.bind(torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1))
    with pytest.raises(FlexLoRAError, match="does not train this adapter"):
        model.base_model.bind(torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1))


def test_saving_tells_that_nobody_tended(make, tuned, tmp_path):
    model = tuned(target_modules=["query"])
    with warnings.catch_warnings():
        warnings.simplefilter("error", FlexLoRAWarning)
        model.save_pretrained(tmp_path / "new")
        tended = tuned(target_modules=["query"])
        trained(tended, steps=2)
        tended.save_pretrained(tmp_path / "tended")
        plain = get_peft_model(make["bert"](), FlexLoRAConfig(method="lora", task_type="SEQ_CLS")).train()
        plain(**batch(rows=1))
        plain.save_pretrained(tmp_path / "lora")
    model.base_model.bind(torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1))
    model.train()(**batch(rows=1))
    with pytest.warns(FlexLoRAWarning, match="no rank could move: .*FlexLoRACallback.*update_and_allocate") as told:
        model.save_pretrained(tmp_path / "trained")
        model.save_pretrained(tmp_path / "again")
    assert sum(one.category is FlexLoRAWarning for one in told) == 1


def test_configurations_and_callbacks_of_the_other_kind_are_named(make, tuned):
    """Two classes have the name FlexLoRAConfig, and two FlexLoRACallback: one line says which is meant where."""
    own, here = OwnConfig(initial_rank=4), FlexLoRAConfig(r=4)
    here_instead, there_instead = "from flexlora.peft import FlexLoRAC", "from flexlora import FlexLoRAConfig"
    callback = "from flexlora.integrations import FlexLoRACallback"
    wrong = [
        (here_instead, lambda: get_peft_model(make["bert"](), own)),
        (there_instead, lambda: attach(make["bert"](), here)),
        (there_instead, lambda: OwnCallback(make["bert"](), here)),
        (here_instead, lambda: OwnCallback()),
        (here_instead, lambda: OwnCallback("runs/mine")),
        (here_instead, lambda: OwnCallback(tuned(), own)),
        (here_instead, lambda: attach(tuned(), own)),
        (callback, lambda: FlexLoRACallback(make["bert"]())),
        (callback, lambda: FlexLoRACallback(make["bert"](), own, "runs/mine")),
        (callback, lambda: FlexLoRACallback(config=own)),
    ]
    for says, call in wrong:
        with pytest.raises(FlexLoRAError, match=says) as told:
            call()
        assert "\n" not in str(told.value)
    assert copy.deepcopy(own) == own and not hasattr(own, "anything")


def test_the_adapter_points_to_peft_for_files_and_merging(tuned, tmp_path):
    adapter = tuned().base_model.adapter
    with pytest.raises(FlexLoRAError, match="merge_and_unload"):
        adapter.merge()
    for save in (adapter.save, adapter.export_peft):
        with pytest.raises(FlexLoRAError, match="save_pretrained"):
            save(tmp_path)


def test_peft_knows_one_more_type_and_the_others_as_before(make):
    kinds = list(peft.PeftType)
    assert peft.PeftType("FLEXLORA") is peft.PeftType.FLEXLORA is peft.PeftType["FLEXLORA"] is kinds[-1]
    assert len(set(kinds)) == len(kinds) and "FLEXLORA" in kinds
    assert copy.deepcopy(peft.PeftType.FLEXLORA) is peft.PeftType.FLEXLORA
    from flexlora.peft.model import FlexLoRAModel as Model
    from flexlora.peft.peft_type import register

    register(FlexLoRAConfig, Model)
    assert list(peft.PeftType) == kinds
    lora = get_peft_model(make["bert"](), LoraConfig(target_modules=["query"]))
    with pytest.raises(ValueError, match="Cannot combine adapters with different peft types"):
        lora.add_adapter("other", FlexLoRAConfig())
    with pytest.raises(ValueError, match="uses shared state"):
        peft.inject_adapter_in_model(FlexLoRAConfig(target_modules=["query"]), make["bert"]())


def test_the_method_itself_imports_peft_nowhere_at_its_top():
    root = Path(__file__).parents[2] / "flexlora"
    top = re.compile(r"^(?:from|import) peft\b", re.MULTILINE)
    found = {path.relative_to(root).as_posix() for path in root.rglob("*.py") if top.search(path.read_text("utf-8"))}
    assert {name.partition("/")[0] for name in found} - {"integrations"} == {"peft"}

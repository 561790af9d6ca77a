"""``attach`` finds what it should, changes nothing, and what it writes computes the same."""

from __future__ import annotations

import json
import math

import pytest
import torch

from flexlora import FlexLoRAConfig, RankAllocator, attach
from flexlora.adapter_files import load_adapter
from flexlora.errors import FlexLoRAError
from flexlora.linear import FlexLoRALinear
from flexlora.methods import METHODS
from flexlora.regularization import REGULARIZERS, add_orthogonality_gradient, orthogonality
from flexlora.true_spectra import TrueSpectra, from_grams

BERT_TARGETS = ("query", "key", "value", "attention.output.dense", "intermediate.dense", "output.dense")


def logits(model, batch):
    with torch.no_grad():
        return model.eval()(input_ids=batch["input_ids"]).logits


def scramble(adapter, seed=3):
    """Give every direction a value, as training would."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for matrix in adapter.matrices.values():
            matrix.lam[matrix.slots] = torch.randn(matrix.rank, generator=generator)


def heterogeneous(model, targets=BERT_TARGETS):
    """An adapter whose matrices have ranks 1, 2, ..., one of them grown beyond its first storage."""
    config = FlexLoRAConfig(target_modules=targets, initial_rank=3, total_steps=100)
    adapter = attach(model, config)
    optimizer = torch.optim.AdamW(adapter.trainable_parameters())
    allocator = RankAllocator(adapter, optimizer, config)
    scramble(adapter)
    for index, name in enumerate(adapter.matrices):
        for _ in range(min(index, 2)):
            allocator._prune(name)
        if index == 0:
            for step in range(5):
                allocator._extend(name, step)
    scramble(adapter)
    assert set(adapter.ranks().values()) == {8, 2, 1}
    assert next(iter(adapter.matrices.values())).capacity > 6
    return adapter


def test_attach_changes_no_output_and_names_matrices_as_before(make_bert, token_batch):
    model = make_bert()
    names = {name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    before = logits(model, token_batch)
    adapter = attach(model, FlexLoRAConfig(initial_rank=4))
    assert torch.equal(before, logits(model, token_batch))
    assert set(adapter.matrices) == names - {"classifier"}
    assert adapter.head == ["classifier.weight", "classifier.bias"]


def test_targets_match_whole_names_or_dotted_endings(make_bert):
    model = make_bert()
    adapter = attach(
        model, FlexLoRAConfig(target_modules=["output.dense", "bert.encoder.layer.0.attention.self.query"])
    )
    assert set(adapter.matrices) == {
        "bert.encoder.layer.0.attention.self.query",
        *(f"bert.encoder.layer.{layer}.{part}output.dense" for layer in (0, 1) for part in ("", "attention.")),
    }


def test_only_the_adapter_and_the_head_are_trained(make_bert):
    model = make_bert()
    adapter = attach(model, FlexLoRAConfig(target_modules=BERT_TARGETS, initial_rank=4))
    trained = {id(parameter) for parameter in model.parameters() if parameter.requires_grad}
    assert trained == {id(parameter) for parameter in adapter.trainable_parameters()}
    assert len(adapter.parameters()) == 3 * 12
    assert len(adapter.trainable_parameters()) == 3 * 12 + 2


def test_a_causal_language_model_keeps_its_output_embedding_frozen():
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=50, hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1,
    )  # fmt: skip
    adapter = attach(LlamaForCausalLM(config), FlexLoRAConfig(initial_rank=4))
    assert not adapter.head
    assert {name.rpartition(".")[2] for name in adapter.matrices} == {
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
    }  # fmt: skip


def test_a_target_that_matches_nothing_names_what_exists(make_bert):
    with pytest.raises(FlexLoRAError, match=r"q_proj.*attention\.self\.query") as caught:
        attach(make_bert(), FlexLoRAConfig(target_modules=["q_proj"]))
    assert "\n" not in str(caught.value)


def test_a_rank_that_does_not_fit_names_the_matrix_and_leaves_the_model_alone(make_bert):
    model = make_bert()
    with pytest.raises(FlexLoRAError, match=r"initial_rank=33.*32 × 32.*1 to 32"):
        attach(model, FlexLoRAConfig(target_modules=["query"], initial_rank=33))
    assert not any(isinstance(module, FlexLoRALinear) for module in model.modules())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_model_is_adapted_once(make_bert):
    model = make_bert()
    attach(model, FlexLoRAConfig(initial_rank=4))
    with pytest.raises(FlexLoRAError, match="adapted already"):
        attach(model, FlexLoRAConfig(initial_rank=4))


def test_a_model_without_linear_layers_is_refused():
    with pytest.raises(FlexLoRAError, match="no Linear or Conv1D"):
        attach(torch.nn.Sequential(torch.nn.LayerNorm(4)), FlexLoRAConfig(initial_rank=1))


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_merge_gives_plain_layers_with_the_same_output(make_bert, make_gpt2, token_batch, family):
    model = {"bert": make_bert, "gpt2": make_gpt2}[family]()
    adapter = attach(model, FlexLoRAConfig(initial_rank=3))
    scramble(adapter)
    before = logits(model, token_batch)
    merged = adapter.merge()
    assert merged is model
    assert not any(isinstance(module, FlexLoRALinear) for module in model.modules())
    assert torch.allclose(before, logits(model, token_batch), rtol=0, atol=1e-5 * float(before.abs().max()))


def test_save_and_load_give_the_same_model_bit_for_bit_in_lambda(make_bert, token_batch, tmp_path):
    model = make_bert()
    adapter = heterogeneous(model)
    before = logits(model, token_batch)
    adapter.save(tmp_path / "adapter")
    fresh = make_bert()
    loaded = load_adapter(fresh, tmp_path / "adapter")
    assert loaded.ranks() == adapter.ranks()
    for name, values in adapter.singular_values().items():
        assert (loaded.singular_values()[name] == values).all()
    after = logits(fresh, token_batch)
    assert torch.allclose(before, after, rtol=0, atol=1e-6 * float(before.abs().max()))


def test_loading_something_else_says_so_in_one_line(make_bert, tmp_path):
    with pytest.raises(FlexLoRAError, match="is not an adapter") as caught:
        load_adapter(make_bert(), tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_peft_loads_the_export_and_computes_the_same_logits(make_bert, make_gpt2, token_batch, tmp_path, family):
    from peft import PeftModel

    make = {"bert": make_bert, "gpt2": make_gpt2}[family]
    model = make()
    adapter = heterogeneous(model, BERT_TARGETS if family == "bert" else None)
    with torch.no_grad():
        adapter.head_parameters()[0].add_(0.5)
    ours = logits(model, token_batch)
    adapter.export_peft(tmp_path / "peft")
    theirs = logits(PeftModel.from_pretrained(make(), str(tmp_path / "peft")), token_batch)
    assert float((ours - theirs).abs().max()) <= 1e-5 * float(ours.abs().max())
    config = json.loads((tmp_path / "peft" / "adapter_config.json").read_text())
    assert config["rank_pattern"] == adapter.ranks()
    assert set(config["alpha_pattern"].values()) == {6.0 * rank / 3 for rank in (1, 2, 8)}


def test_the_regulariser_matches_its_formula(make_bert):
    adapter = attach(make_bert(), FlexLoRAConfig(target_modules=BERT_TARGETS, initial_rank=3))
    expected = []
    for matrix in adapter.matrices.values():
        P, _, Q = matrix.directions()
        identity = torch.eye(matrix.rank)
        expected.append([(P.T @ P - identity).norm() ** 2, (Q @ Q.T - identity).norm() ** 2])
    squares = torch.tensor(expected)
    forms = {
        "mean_squared": squares.sum() / len(squares),
        "sum_squared": squares.sum(),
        "mean_norm": squares.sqrt().sum() / len(squares),
    }
    assert set(forms) == set(REGULARIZERS)
    for form, value in forms.items():
        assert float(orthogonality(adapter.matrices.values(), form).detach()) == pytest.approx(float(value), rel=1e-5)
    value = adapter.regularization()
    assert value.dtype == torch.float32
    assert value.requires_grad


@pytest.mark.parametrize("form", REGULARIZERS)
def test_the_closed_form_gradient_equals_autograd(make_bert, form):
    matrices = list(heterogeneous(make_bert()).matrices.values())
    parameters = [part for matrix in matrices for part in (matrix.Pt, matrix.Q)]
    (0.1 * orthogonality(matrices, form)).backward()
    expected = [parameter.grad for parameter in parameters]
    for parameter in parameters:
        parameter.grad = None
    value = add_orthogonality_gradient(matrices, 0.1, form)
    assert float(value) == pytest.approx(float(orthogonality(matrices, form).detach()), rel=1e-6)
    for parameter, gradient in zip(parameters, expected, strict=True):
        assert torch.allclose(parameter.grad, gradient, rtol=1e-4, atol=1e-6)


def test_storage_that_was_replaced_is_gathered_anew(make_bert):
    adapter = heterogeneous(make_bert())
    before = adapter.regularization().detach()
    adapter.reserve(2 * max(matrix.capacity for matrix in adapter.matrices.values()))
    value = adapter.add_regularization_gradient()
    assert float(value) == pytest.approx(float(before), rel=1e-6)
    assert all(matrix.Pt.grad is not None and matrix.Q.grad is not None for matrix in adapter.matrices.values())


def test_all_true_spectra_at_once_are_those_of_each_matrix(make_bert):
    adapter = heterogeneous(make_bert())
    name, flat = next((name, matrix) for name, matrix in adapter.matrices.items() if matrix.rank > 1)
    with torch.no_grad():
        flat.Pt[flat.slots[1]] = flat.Pt[flat.slots[0]]
    expected, found = TrueSpectra(adapter).at(1), from_grams(adapter)
    assert name not in found
    assert found
    for key, values in found.items():
        assert values == pytest.approx(expected[key], rel=1e-9, abs=1e-9 * expected[key].max())


def test_empty_slots_do_not_enter_the_regulariser(make_bert):
    small = attach(make_bert(), FlexLoRAConfig(target_modules=BERT_TARGETS, initial_rank=3, max_rank=3))
    roomy = attach(make_bert(), FlexLoRAConfig(target_modules=BERT_TARGETS, initial_rank=3))
    assert float(small.regularization().detach()) == pytest.approx(float(roomy.regularization().detach()), rel=1e-6)


def test_lora_is_the_peft_parametrisation_with_lambda_frozen_at_one(make_bert, token_batch):
    model = make_bert()
    before = logits(model, token_batch)
    method = METHODS["lora"]
    adapter = method.attach(model, method.config(None, {"initial_rank": 4, "target_modules": BERT_TARGETS}))
    assert torch.equal(before, logits(model, token_batch))
    for matrix in adapter.matrices.values():
        assert (matrix.lam == 1).all()
        assert not matrix.lam.requires_grad
        assert not matrix.Pt.any()
        assert float(matrix.Q.detach().abs().max()) <= 1.0 / math.sqrt(matrix.in_features)
    assert len(adapter.parameters()) == 2 * 12


def test_autocast_keeps_the_adapter_in_fp32_and_its_output_in_bf16(make_bert):
    model = make_bert()
    adapter = attach(model, FlexLoRAConfig(initial_rank=4))
    scramble(adapter)
    matrix = next(iter(adapter.matrices.values()))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert matrix(torch.randn(3, 32)).dtype == torch.bfloat16
        assert adapter.regularization().dtype == torch.float32
    assert {parameter.dtype for parameter in adapter.parameters()} == {torch.float32}

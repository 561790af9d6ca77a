"""Adapters as PEFT writes them: what we say is in them is what PEFT computes, and what we write PEFT loads."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import regex
import torch
from peft import AdaLoraConfig, LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from analysis.adapters import (
    AdapterError,
    analyse_adapter,
    compress_adapter,
    config_snippet,
    describe_adapter,
    lora_settings,
    open_adapter,
    suggest_ranks,
    truncation_errors,
)
from analysis.adapters.files import CONFIG, WEIGHTS, NewTensor, TensorFile, write_tensors
from analysis.adapters.merging import MERGES, merge_adapters

PREFIX = "base_model.model."


def bert() -> nn.Module:
    config = BertConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, vocab_size=30, num_labels=3
    )
    return BertForSequenceClassification(config)


def gpt2() -> nn.Module:
    return GPT2LMHeadModel(GPT2Config(n_embd=16, n_layer=2, n_head=2, vocab_size=30, n_positions=16))


def llama() -> nn.Module:
    config = LlamaConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, vocab_size=30
    )
    return LlamaForCausalLM(config)


def t5() -> nn.Module:
    config = T5Config(d_model=16, d_kv=8, d_ff=24, num_layers=1, num_heads=2, vocab_size=30, decoder_start_token_id=0)
    return T5ForConditionalGeneration(config)


class Mixed(nn.Module):
    """A convolution, an embedding and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.config = None
        self.embed = nn.Embedding(20, 12)
        self.conv = nn.Conv2d(3, 8, 3)
        self.fc1 = nn.Linear(12, 10)


def lora(**options: Any) -> LoraConfig:
    return LoraConfig(**{"r": 4, "lora_alpha": 8, "target_modules": ["query", "value"], **options})


VARIANTS: dict[str, tuple[Callable[[], nn.Module], Callable[[], Any]]] = {
    "plain": (bert, lora),
    "rslora": (bert, lambda: lora(use_rslora=True)),
    "dora": (bert, lambda: lora(use_dora=True)),
    "patterns": (
        bert,
        lambda: lora(rank_pattern={r"layer\.0\.attention\.self\.query": 6, "value": 2}, alpha_pattern={"value": 16}),
    ),
    "rslora with patterns": (
        bert,
        lambda: lora(use_rslora=True, rank_pattern={"value": 3}, alpha_pattern={"query": 5}),
    ),
    "modules to save": (bert, lambda: lora(task_type="SEQ_CLS", modules_to_save=["classifier"])),
    "bias": (bert, lambda: lora(bias="all")),
    "lora bias": (bert, lambda: lora(lora_bias=True)),
    "all of bert": (bert, lambda: lora(target_modules=["query", "key", "value", "dense"])),
    "fan in fan out": (gpt2, lambda: lora(target_modules=["c_attn", "c_proj", "c_fc"], fan_in_fan_out=True)),
    "llama": (llama, lambda: lora(target_modules="all-linear")),
    "t5": (t5, lambda: lora(target_modules=["q", "v", "wo"])),
    "adalora": (
        bert,
        lambda: AdaLoraConfig(
            init_r=6, target_r=3, lora_alpha=8, target_modules=["query", "value"], tinit=1, tfinal=1, total_step=6
        ),
    ),
    "mixed": (Mixed, lambda: lora(target_modules=["embed", "conv", "fc1"])),
    "pissa": (bert, lambda: lora(init_lora_weights="pissa")),
    "one layer only": (bert, lambda: lora(layers_to_transform=[1], layers_pattern="layer")),
}
VARIANTS["mixed with patterns"] = (
    Mixed,
    lambda: lora(target_modules=["embed", "conv", "fc1"], rank_pattern={"conv": 3, "fc1": 6}, alpha_pattern={"fc1": 3}),
)


def filled(make: Callable[[], nn.Module], config: Any, dtype: torch.dtype = torch.float32) -> PeftModel:
    """A PEFT model whose B (and AdaLoRA's λ) has left its zero start."""
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = get_peft_model(make(), config)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name or "lora_E" in name or "lora_embedding" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return model.to(dtype)


def saved(model: PeftModel, folder: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save_pretrained(str(folder))
    return folder / "default" if not (folder / CONFIG).exists() else folder


def deltas(model: nn.Module) -> dict[str, np.ndarray]:
    """Name of every adapted layer → ΔW as PEFT computes it, (out, in · kernel); an embedding's is turned."""
    found = {}
    for name, module in model.named_modules():
        base = getattr(module, "base_layer", None)
        if hasattr(module, "get_delta_weight"):
            delta = module.get_delta_weight("default").detach().double().numpy()
            own = name.removeprefix(PREFIX)
            delta = delta.reshape(len(delta), -1)
            turned = getattr(module, "fan_in_fan_out", False) or isinstance(base, nn.Embedding)
            found[own] = delta.T if turned else delta
    return found


def reloaded(make: Callable[[], nn.Module], folder: Path) -> PeftModel:
    torch.manual_seed(0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = PeftModel.from_pretrained(make(), str(folder))
    assert not [str(item.message) for item in caught if "key" in str(item.message).lower()]
    return model


def check(spectra, expected: dict[str, np.ndarray], tolerance: float = 1e-5) -> None:
    assert {matrix.name for matrix in spectra.adapter.matrices} == set(expected)
    for matrix, values in spectra.rows():
        dense = np.linalg.svd(expected[matrix.name], compute_uv=False)
        assert (matrix.out_features, matrix.in_features) == expected[matrix.name].shape
        padded = np.zeros(max(len(dense), len(values)))
        padded[: len(values)] = values
        np.testing.assert_allclose(padded[: len(dense)], dense, atol=tolerance * max(dense[0], 1e-30))
        np.testing.assert_allclose(padded[len(dense) :], 0, atol=tolerance * dense[0])


@pytest.mark.parametrize("variant", VARIANTS)
def test_singular_values_are_those_of_the_delta_that_peft_computes(variant, tmp_path):
    make, config = VARIANTS[variant]
    model = filled(make, config())
    adapter = open_adapter(saved(model, tmp_path / "a"))
    check(analyse_adapter(adapter), deltas(model))
    assert adapter.skipped == {}
    kinds = {"dora": "Weight-decomposed", "pissa": "Initialised by pissa", "lora bias": "4 layers also learned a bias"}
    assert len(adapter.notices) == (variant in kinds)
    assert all(kinds[variant] in notice for notice in adapter.notices)


@pytest.mark.parametrize("variant", [name for name in VARIANTS if name != "pissa"])
def test_a_compressed_adapter_loads_and_its_error_is_the_stated_one(variant, tmp_path):
    make, config = VARIANTS[variant]
    model = filled(make, config())
    folder = saved(model, tmp_path / "a")
    spectra = analyse_adapter(open_adapter(folder))
    total = sum(matrix.rank for matrix in spectra.adapter.matrices)
    ranks = suggest_ranks(spectra, "rank", max(len(spectra.adapter.matrices), total // 2)).ranks
    stated = compress_adapter(spectra, ranks, tmp_path / "small")
    again = deltas(reloaded(make, tmp_path / "small"))
    before = deltas(model)
    by_spectrum = {error.matrix: error for error in truncation_errors(spectra, ranks)}
    for error in stated:
        lost = np.linalg.svd(before[error.matrix] - again[error.matrix], compute_uv=False)
        largest = np.linalg.norm(before[error.matrix], 2)
        for found in (error, by_spectrum[error.matrix]):
            assert found.frobenius == pytest.approx(np.linalg.norm(lost), abs=1e-5 * largest)
            assert found.spectral == pytest.approx(lost[0], abs=1e-5 * largest)
            assert found.rank_after == ranks[error.matrix]
    assert {error.matrix for error in stated} == set(before)
    check(analyse_adapter(open_adapter(tmp_path / "small")), again)
    old, new = TensorFile(folder / WEIGHTS), TensorFile(tmp_path / "small" / WEIGHTS)
    for name in spectra.adapter.carried:
        assert old.raw(name) == new.raw(name)


def test_an_adapter_that_counts_from_changed_weights_is_not_compressed(tmp_path):
    make, config = VARIANTS["pissa"]
    spectra = analyse_adapter(open_adapter(saved(filled(make, config()), tmp_path / "a")))
    with pytest.raises(AdapterError, match="path_initial_model_for_weight_conversion"):
        compress_adapter(spectra, dict.fromkeys(spectra.singular_values, 2), tmp_path / "small")
    assert not (tmp_path / "small").exists()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_opens_and_can_be_written(dtype, tmp_path):
    model = filled(bert, lora(), dtype)
    spectra = analyse_adapter(open_adapter(saved(model, tmp_path / "a")))
    exact = {}
    for name, module in model.named_modules():
        if hasattr(module, "get_delta_weight"):
            factors = [module.lora_B["default"].weight, module.lora_A["default"].weight]
            B, A = (factor.detach().double().numpy() for factor in factors)
            exact[name.removeprefix(PREFIX)] = 2 * B @ A
    check(spectra, exact)
    key = "BF16" if dtype == torch.bfloat16 else "F16"
    ranks = dict.fromkeys(exact, 2)
    stated = compress_adapter(spectra, ranks, tmp_path / "small", dtype=key)
    file = TensorFile(tmp_path / "small" / WEIGHTS)
    assert {tensor.dtype for tensor in file.tensors.values()} == {key}
    written = open_adapter(tmp_path / "small")
    for error in stated:
        B, A = written.factors(error.matrix)
        lost = exact[error.matrix] - written.find(error.matrix).scale * B @ A
        assert error.frobenius == pytest.approx(np.linalg.norm(lost), rel=1e-6)
    again = reloaded(bert, tmp_path / "small")
    assert all(np.isfinite(delta).all() for delta in deltas(again).values())


def test_adalora_after_its_masks_were_cut_out(tmp_path):
    model = filled(bert, VARIANTS["adalora"][1]())
    tuner = model.base_model
    masks = {}
    for number, name in enumerate(name for name, _ in model.named_parameters() if "lora_E" in name):
        kept = [True] * 6
        kept[number % 6] = kept[(number + 2) % 6] = False
        masks[name.removeprefix(PREFIX)] = kept
    tuner.peft_config["default"].rank_pattern = masks
    tuner.rankallocator.mask_using_rank_pattern(tuner.model, masks)
    expected = deltas(model)
    spectra = analyse_adapter(open_adapter(saved(model, tmp_path / "a")))
    check(spectra, expected)
    assert {matrix.rank for matrix in spectra.adapter.matrices} == {4}


def test_a_dead_adapter_is_called_dead(tmp_path):
    torch.manual_seed(0)
    model = get_peft_model(bert(), lora())
    spectra = analyse_adapter(open_adapter(saved(model, tmp_path / "a")))
    assert {row["state"] for row in spectra.table()} == {"dead"}
    assert "Every matrix is dead" in describe_adapter(spectra)[-1]


def test_experts_that_share_factors_are_matrices_of_their_own_and_keep_their_rank(tmp_path):
    class Experts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(3, 12, 10))

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.config = None
            self.experts = Experts()
            self.fc1 = nn.Linear(12, 10)

    config = lora(target_modules=["fc1"], target_parameters=["experts.weight"])
    model = filled(Model, config)
    folder = saved(model, tmp_path / "a")
    spectra = analyse_adapter(open_adapter(folder))
    stack = model.base_model.model.experts.get_delta_weight("default").detach().double().numpy()
    own = {f"experts.{number}.weight": delta for number, delta in enumerate(stack)}
    check(spectra, own | {"fc1": deltas(model)["fc1"]})
    ranks = {matrix.name: matrix.rank for matrix in spectra.adapter.matrices} | {"fc1": 1}
    compress_adapter(spectra, ranks, tmp_path / "small")
    again = reloaded(Model, tmp_path / "small").base_model.model
    assert np.array_equal(again.experts.get_delta_weight("default").detach().double().numpy(), stack)
    assert again.fc1.r["default"] == 1
    with pytest.raises(AdapterError, match="shares its rank with the other experts"):
        compress_adapter(spectra, ranks | {"experts.1.weight": 1}, tmp_path / "never")
    assert suggest_ranks(spectra, "energy", 0.5).ranks["experts.1.weight"] == 4


def test_a_copy_below_modules_to_save_is_one_matrix(tmp_path):
    rng = np.random.default_rng(0)
    A, B = rng.normal(size=(4, 10)).astype("<f4"), rng.normal(size=(6, 4)).astype("<f4")
    arrays = {"classifier.base_layer.weight": rng.normal(size=(6, 10)).astype("<f4")}
    for place in ("", "modules_to_save.", "original_module."):
        arrays |= {f"classifier.{place}lora_A.weight": A, f"classifier.{place}lora_B.weight": B}
    folder = tmp_path / "old"
    folder.mkdir()
    write_tensors(folder / WEIGHTS, {PREFIX + k: NewTensor("F32", v.shape, v.tobytes) for k, v in arrays.items()})
    settings = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": "classifier"}
    (folder / CONFIG).write_text(json.dumps(settings))
    spectra = analyse_adapter(open_adapter(folder))
    assert [matrix.name for matrix in spectra.adapter.matrices] == ["classifier"]
    assert set(spectra.adapter.skipped) == {"classifier.modules_to_save", "classifier.original_module"}
    compress_adapter(spectra, {"classifier": 2}, tmp_path / "small")
    names = set(TensorFile(tmp_path / "small" / WEIGHTS).tensors)
    assert names == {f"{PREFIX}classifier.{part}" for part in ("base_layer.weight", "lora_A.weight", "lora_B.weight")}


def test_ranks_of_names_that_end_alike_are_told_apart(tmp_path):
    class Inner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.query = nn.Linear(10, 10)

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.config = None
            self.query = nn.Linear(10, 10)
            self.inner = Inner()

    spectra = analyse_adapter(open_adapter(saved(filled(Model, lora(target_modules=["query"])), tmp_path / "a")))
    ranks = {"query": 1, "inner.query": 3}
    settings = lora_settings(spectra.adapter, ranks)
    compress_adapter(spectra, ranks, tmp_path / "small")
    small = reloaded(Model, tmp_path / "small")
    found = {name.removeprefix(PREFIX): m.r["default"] for name, m in small.named_modules() if hasattr(m, "lora_A")}
    assert found == ranks, settings


def test_every_kind_of_adapter_that_peft_has_is_opened_or_refused_by_name(tmp_path):
    tensors = {"x": NewTensor("F32", (1,), np.zeros(1, "<f4").tobytes)}
    for kind in peft.PeftType:
        if kind.value in ("LORA", "ADALORA"):
            continue
        folder = tmp_path / kind.value
        folder.mkdir()
        write_tensors(folder / WEIGHTS, tensors)
        (folder / CONFIG).write_text(json.dumps({"peft_type": kind.value}))
        with pytest.raises(AdapterError, match=kind.value):
            open_adapter(folder)


def test_a_matrix_that_adalora_emptied_is_not_adapted_again(tmp_path):
    class Twins(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.config = None
            self.query = nn.Linear(10, 10)
            self.inner = nn.ModuleDict({"query": nn.Linear(10, 10)})

    steps = {"total_step": 6, "tinit": 1, "tfinal": 1}
    model = filled(Twins, AdaLoraConfig(init_r=3, target_r=2, lora_alpha=8, target_modules=["query"], **steps))
    tuner = model.base_model
    masks = {"query.lora_E.default": [True] * 3, "inner.query.lora_E.default": [False] * 3}
    tuner.peft_config["default"].rank_pattern = masks
    tuner.rankallocator.mask_using_rank_pattern(tuner.model, masks)
    spectra = analyse_adapter(open_adapter(saved(model, tmp_path / "a")))
    ranks = {matrix.name: matrix.rank for matrix in spectra.adapter.matrices}
    assert ranks == {"query": 3, "inner.query": 0}
    compress_adapter(spectra, ranks, tmp_path / "small")
    assert set(deltas(reloaded(Twins, tmp_path / "small"))) == {"query"}


def test_the_snippet_is_the_configuration(tmp_path, write_adapter):
    ranks = {"model.layers.1.q_proj": 3, "model.layers.2.q_proj": 2}
    factors = {name: (np.ones((6, r)) * np.arange(1, r + 1), np.eye(r, 5)) for name, r in ranks.items()}
    settings = {
        "task_type": "CAUSAL_LM", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"], "lora_dropout": 0.1,
        "exclude_modules": ["model.layers.0.q_proj"], "layers_to_transform": [1, 2], "layers_pattern": "layers",
        "bias": "lora_only", "layer_replication": [[0, 3]], "target_parameters": ["mlp.experts.down"],
        "trainable_token_indices": [1, 5], "init_lora_weights": "orthogonal", "rank_pattern": {"layers.1.q_proj": 3},
        "alpha_pattern": {"layers.1.q_proj": 5}, "modules_to_save": ["score"], "use_rslora": True,
        "fan_in_fan_out": True, "ensure_weight_tying": True,
    }  # fmt: skip
    adapter = open_adapter(write_adapter(tmp_path / "a", factors, **settings))
    found: dict = {}
    exec(config_snippet(adapter, ranks), found)
    expected = LoraConfig(**settings).to_dict()
    assert found["config"].to_dict() == expected


def test_the_snippet_of_fewer_matrices_names_those_and_no_layers(tmp_path, write_adapter):
    factors = {f"model.layers.{n}.q_proj": (np.ones((6, 1)) * (n + 1), np.eye(1, 5)) for n in range(3)}
    config = {"r": 1, "target_modules": ["q_proj"], "layers_to_transform": [0, 1, 2]}
    adapter = open_adapter(write_adapter(tmp_path / "a", factors, **config))
    ranks = suggest_ranks(analyse_adapter(adapter), "rank", 1, least=0).ranks
    assert list(ranks.values()) == [0, 0, 1]
    found: dict = {}
    exec(config_snippet(adapter, ranks), found)
    assert found["config"].layers_to_transform is None
    assert regex.fullmatch(found["config"].target_modules, "model.layers.2.q_proj")
    assert not regex.fullmatch(found["config"].target_modules, "model.layers.1.q_proj")


@pytest.mark.parametrize("weights", [[1.0, 1.0, 1.0], [0.5, -1.0, 2.0]])
@pytest.mark.parametrize("density", [0.3, 0.99])
def test_ties_is_what_peft_makes_of_the_same_updates(weights, density):
    from peft.utils.merge_utils import ties

    rng = np.random.default_rng(0)
    deltas = [rng.normal(size=(7, 9)) for _ in weights]
    theirs = ties([torch.from_numpy(delta) for delta in deltas], torch.tensor(weights, dtype=torch.float64), density)
    assert MERGES["ties"](deltas, weights, density, rng) == pytest.approx(theirs.numpy())


def test_a_merged_adapter_loads_in_peft_and_is_the_sum(tmp_path):
    folders = [saved(filled(bert, lora(r=rank, lora_alpha=5)), tmp_path / f"{rank}") for rank in (2, 3)]
    parts = [deltas(reloaded(bert, folder)) for folder in folders]
    merge_adapters([open_adapter(folder) for folder in folders], tmp_path / "merged", weights=[0.5, 2.0])
    found = deltas(reloaded(bert, tmp_path / "merged"))
    for name, delta in found.items():
        assert delta == pytest.approx(0.5 * parts[0][name] + 2.0 * parts[1][name], abs=1e-5)


@pytest.mark.parametrize("variant", [key for key in VARIANTS if key not in ("adalora", "pissa")])
def test_the_snippet_adapts_the_same_matrices_at_the_ranks_it_names(variant, tmp_path):
    make, config = VARIANTS[variant]
    adapter = open_adapter(saved(filled(make, config()), tmp_path / "a"))
    own = {matrix.name: matrix.rank for matrix in adapter.matrices}
    for ranks in (own, {name: max(1, rank - 1) for name, rank in own.items()}):
        found: dict[str, Any] = {}
        exec(config_snippet(adapter, ranks), found)
        model = filled(make, found["config"])
        made = {
            name.removeprefix(PREFIX): (module.r["default"], module.scaling["default"])
            for name, module in model.named_modules()
            if hasattr(module, "get_delta_weight")
        }
        assert made.keys() - adapter.skipped.keys() == own.keys()
        for matrix in adapter.matrices:
            assert made[matrix.name] == (ranks[matrix.name], pytest.approx(matrix.scale))

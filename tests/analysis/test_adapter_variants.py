"""Every option of LoRA and every tuner of the installed PEFT: the numbers are its own, or it is refused by name."""

from __future__ import annotations

import dataclasses
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import peft
import pytest
import torch
from peft import AdaLoraConfig, LoHaConfig, LoKrConfig, LoraConfig, PeftConfig, PeftModel, PeftType, get_peft_model
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from peft.tuners.lora.config import ArrowConfig, BdLoraConfig, EvaConfig, KasaConfig, MontecloraConfig, VeloraConfig
from peft.tuners.lora.variants import BdLoraLinearVariant, KasaLinearVariant, QALoraLinearVariant
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from analysis.adapters import (
    AdapterError,
    analyse_adapter,
    compress_adapter,
    describe_adapter,
    open_adapter,
    suggest_ranks,
)
from analysis.adapters.files import CONFIG, WEIGHTS, NewTensor, write_tensors
from analysis.adapters.formats.others import READ, REASONS
from analysis.adapters.formats.peft_keys import KNOWN_KEYS
from analysis.adapters.plans import PLAIN, SAME

PREFIX = "base_model.model."


class Mixed(nn.Module):
    """One layer of each kind that PEFT adapts."""

    def __init__(self) -> None:
        super().__init__()
        self.config = None
        self.embed = nn.Embedding(20, 12)
        self.conv1 = nn.Conv1d(4, 8, 3)
        self.conv2 = nn.Conv2d(4, 6, (3, 2))
        self.point = nn.Conv2d(4, 8, 1)
        self.conv3 = nn.Conv3d(2, 6, 2)
        self.grouped = nn.Conv2d(4, 8, 3, groups=2)
        self.attn = nn.MultiheadAttention(12, 2)
        self.fc1 = nn.Linear(12, 10)
        self.fc2 = nn.Linear(16, 16)


class Wide(nn.Module):
    """Convolutions whose second Kronecker factor is itself decomposed at r = 2."""

    def __init__(self) -> None:
        super().__init__()
        self.config = None
        self.conv1 = nn.Conv1d(12, 36, 3)
        self.conv2 = nn.Conv2d(12, 36, (3, 2))


class Experts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate_up_proj = nn.Parameter(torch.randn(3, 12, 16))
        self.down_proj = nn.Parameter(torch.randn(3, 8, 12))
        self.router = nn.Parameter(torch.randn(6, 12))


class Mixture(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.config = None
        self.layers = nn.ModuleList(nn.ModuleDict({"experts": Experts()}) for _ in range(2))


def llama() -> nn.Module:
    return LlamaForCausalLM(
        LlamaConfig(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, vocab_size=30)
    )


def gpt2() -> nn.Module:
    return GPT2LMHeadModel(GPT2Config(n_embd=16, n_layer=1, n_head=2, vocab_size=30, n_positions=16))


def lora(*targets: str, **options: Any) -> Callable[[], LoraConfig]:
    given = {"r": 4, "lora_alpha": 8, "target_modules": list(targets) or ["q_proj", "v_proj"], **options}
    return lambda: LoraConfig(**given)


def loha(*targets: str, **options: Any) -> Callable[[], LoHaConfig]:
    return lambda: LoHaConfig(**{"r": 3, "alpha": 5, "target_modules": list(targets), **options})


def lokr(*targets: str, **options: Any) -> Callable[[], LoKrConfig]:
    return lambda: LoKrConfig(**{"r": 2, "alpha": 5, "target_modules": list(targets), **options})


Case = tuple[Callable[[], nn.Module], Callable[[], Any]]

LORA: dict[str, Case] = {
    "plain": (llama, lora()),
    "all linear": (llama, lambda: LoraConfig(r=4, target_modules="all-linear")),
    "use_rslora": (llama, lora(use_rslora=True)),
    "alpha 0": (llama, lora(lora_alpha=0)),
    "rank_pattern": (llama, lora(rank_pattern={r"layers\.0\.self_attn\.q_proj": 6, "v_proj": 2})),
    "alpha_pattern": (llama, lora(alpha_pattern={"v_proj": 16}, use_rslora=True, rank_pattern={"q_proj": 3})),
    "layers_to_transform": (llama, lora(layers_to_transform=[1], layers_pattern="layers")),
    "exclude_modules": (llama, lora(exclude_modules=["model.layers.0.self_attn.q_proj"])),
    "layer_replication": (llama, lora(layer_replication=[[0, 2], [1, 2]])),
    "trainable_token_indices": (llama, lora(trainable_token_indices=[1, 5])),
    "modules_to_save": (llama, lora(modules_to_save=["lm_head"])),
    "ensure_weight_tying": (llama, lora(ensure_weight_tying=True)),
    "bias all": (Mixed, lora("fc1", bias="all")),
    "bias lora_only": (Mixed, lora("fc1", bias="lora_only")),
    "lora_bias": (Mixed, lora("fc1", lora_bias=True)),
    "fan_in_fan_out": (gpt2, lora("c_attn", "c_fc", fan_in_fan_out=True)),
    "rank above the sides": (Mixed, lora("fc1", r=32)),
    "use_dora": (llama, lora(use_dora=True)),
    "dora of convolutions": (Mixed, lora("conv1", "conv2", "conv3", use_dora=True)),
    "dora of an embedding": (Mixed, lora("embed", use_dora=True)),
    "convolution 1d": (Mixed, lora("conv1")),
    "convolution 2d": (Mixed, lora("conv2", use_rslora=True)),
    "convolution 1 × 1": (Mixed, lora("point")),
    "convolution 3d": (Mixed, lora("conv3")),
    "grouped convolution": (Mixed, lora("grouped")),
    "embedding": (Mixed, lora("embed", "fc1", use_rslora=True)),
    "attention": (Mixed, lora("attn")),
    "target_parameters": (Mixture, lora(target_modules=[], target_parameters=["experts.gate_up_proj"])),
    "two parameters": (
        Mixture,
        lora(
            target_modules=[],
            target_parameters=["experts.gate_up_proj", "experts.down_proj"],
            rank_pattern={"experts.down_proj": 2},
        ),
    ),
    "a parameter of one matrix": (Mixture, lora(target_modules=[], target_parameters=["experts.router"])),
    "kasa_config": (llama, lora(kasa_config=KasaConfig())),
    "use_bdlora A": (llama, lora("o_proj", use_bdlora=BdLoraConfig(["o_proj"], None, nblocks=2))),
    "use_bdlora B": (llama, lora("q_proj", use_bdlora=BdLoraConfig(None, ["q_proj"], nblocks=4))),
    "use_bdlora in part": (
        llama,
        lora("q_proj", "o_proj", use_bdlora=BdLoraConfig(["o_proj"], None, nblocks=2, match_strict=False)),
    ),
    "monteclora_config": (llama, lora(monteclora_config=MontecloraConfig())),
    "velora_config": (llama, lora(velora_config=VeloraConfig(num_groups=4))),
    "alora_invocation_tokens": (llama, lora(alora_invocation_tokens=[1, 2], task_type="CAUSAL_LM")),
    **{
        f"init {start}": (llama, lora(init_lora_weights=start))
        for start in ("gaussian", "olora", "pissa", "pissa_niter_2", "orthogonal", "mica", False)
    },
    "init eva": (llama, lora(init_lora_weights="eva", eva_config=EvaConfig())),
    "adalora": (
        llama,
        lambda: AdaLoraConfig(
            init_r=4, target_r=2, lora_alpha=8, target_modules=["q_proj"], tinit=1, tfinal=1, total_step=6
        ),
    ),
}
"""Option → model and configuration; those of ``LoraConfig`` are named as they are there."""

LYCORIS: dict[str, Case] = {
    "loha": (Mixed, loha("fc2")),
    "loha with patterns": (llama, loha("q_proj", "v_proj", rank_pattern={"v_proj": 2}, alpha_pattern={"q_proj": 9})),
    "loha of more directions than sides": (Mixed, loha("fc1", "fc2", r=6)),
    "loha of convolutions": (Mixed, loha("conv1", "conv2", "point", r=2)),
    "loha of convolutions with cores": (Mixed, loha("conv1", "conv2", "point", r=2, use_effective_conv2d=True)),
    "lokr": (Mixed, lokr("fc2", "fc1")),
    "lokr with patterns": (llama, lokr("q_proj", "v_proj", rank_pattern={"v_proj": 1}, alpha_pattern={"q_proj": 9})),
    "lokr of two decomposed": (Mixed, lokr("fc2", r=1, decompose_both=True)),
    "lokr by a factor": (Mixed, lokr("fc2", r=1, decompose_factor=2)),
    "lokr whole": (Mixed, lokr("fc1", "fc2", r=16)),
    "lokr of convolutions": (Wide, lokr("conv1", "conv2")),
    "lokr of convolutions with cores": (Wide, lokr("conv1", "conv2", use_effective_conv2d=True)),
    "lokr of whole convolutions": (Mixed, lokr("conv1", "conv2", "point", r=16)),
}


def made(make: Callable[[], nn.Module], config: Any, folder: Path) -> nn.Module:
    """A PEFT model all of whose parameters are drawn anew, saved into a folder."""
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = get_peft_model(make(), config)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if any(word in name for word in ("lora_", "hada_", "lokr_")) and "base_layer.weight" not in name:
                    parameter.copy_(torch.randn_like(parameter))
        model.save_pretrained(str(folder))
    return model


def deltas(model: nn.Module) -> dict[str, np.ndarray]:
    """Name of every adapted weight → ΔW as PEFT computes it, (out, in · kernel)."""
    found = {}
    modules: list[tuple[str, Any]] = list(model.named_modules())
    for name, module in modules:
        if not hasattr(module, "get_delta_weight"):
            continue
        own, base = name.removeprefix(PREFIX), module.get_base_layer()
        for one, delta in _delta(module, base).items():
            array = delta.detach().double().numpy()
            array = array.T if isinstance(base, nn.Embedding) or getattr(module, "fan_in_fan_out", False) else array
            found[one.format(own.replace(".base_layer", "") if "{}." in one else own)] = array.reshape(len(array), -1)
    return found


def _delta(module: Any, base: nn.Module) -> dict[str, torch.Tensor]:
    if type(module).__name__ == "ParamWrapper":
        stack, own = module.get_delta_weight("default"), module.parameter_name
        if stack.ndim == 2:
            return {f"{{}}.{own}": stack}
        # As a map from inputs to outputs: the stored order differs by model.
        return {f"{{}}.{number}.{own}": one for number, one in enumerate(stack)}
    variant = type(module.lora_variant.get("default")) if hasattr(module, "lora_variant") else None
    if variant is KasaLinearVariant:
        return {"{}": KasaLinearVariant._get_delta_weight(module, "default")}
    if variant is BdLoraLinearVariant:
        return {"{}": BdLoraLinearVariant._get_bdlora_delta_weight(module, "default")}
    if isinstance(base, nn.Conv2d) and base.groups > 1:
        return {"{}": _by_forward(module, base)}
    return {"{}": module.get_delta_weight("default")}


def _by_forward(module: nn.Module, base: nn.Conv2d) -> torch.Tensor:
    """ΔW of a layer from what it adds to the output for each unit input."""
    shape = (base.in_channels, *base.kernel_size)
    units = torch.eye(int(np.prod(shape))).reshape(-1, *shape)
    with torch.no_grad():
        return (module(units) - base(units)).reshape(len(units), -1).T


def check(folder: Path, expected: dict[str, np.ndarray]) -> Any:
    adapter = open_adapter(folder)
    spectra = analyse_adapter(adapter)
    assert {matrix.name for matrix in adapter.matrices} == set(expected)
    assert expected
    for matrix, values in spectra.rows():
        delta = expected[matrix.name]
        dense = np.linalg.svd(delta, compute_uv=False)
        assert {matrix.out_features, matrix.in_features} == set(delta.shape)
        assert len(values) == matrix.rank <= min(delta.shape)
        np.testing.assert_allclose(values, dense[: len(values)], atol=1e-5 * max(dense[0], 1e-30))
        np.testing.assert_allclose(dense[len(values) :], 0, atol=1e-5 * dense[0])
        B, A = adapter.factors(matrix.name)
        assert (B.shape[1], A.shape[0]) == (matrix.rank, matrix.rank)
        product = np.linalg.svd(matrix.scale * B @ A, compute_uv=False)
        np.testing.assert_allclose(product[: len(values)], values, atol=1e-9 * max(dense[0], 1e-30))
    return spectra


@pytest.mark.parametrize("option", [*LORA, *LYCORIS])
def test_the_numbers_are_those_of_the_change_that_peft_computes(option, tmp_path):
    make, config = {**LORA, **LYCORIS}[option]
    model = made(make, config(), tmp_path)
    expected = deltas(model)
    spectra = check(tmp_path, expected)
    assert len({(m.block or m.layer, m.module_type) for m in spectra.adapter.matrices}) == len(expected)
    if option == "alpha 0":
        assert "alpha = 0" in describe_adapter(spectra)[-1]


SMALLER = (
    "use_bdlora A", "use_bdlora B", "monteclora_config", "velora_config", "convolution 1d", "convolution 3d",
    "embedding", "dora of convolutions", "layer_replication", "two parameters", "rank above the sides",
    "loha with patterns", "lokr with patterns",
)  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("option", SMALLER)
def test_what_is_written_smaller_is_what_peft_loads(option, tmp_path):
    make, config = {**LORA, **LYCORIS}[option]
    before = deltas(made(make, config(), tmp_path / "a"))
    spectra = analyse_adapter(open_adapter(tmp_path / "a"))
    ranks = suggest_ranks(spectra, "energy", 0.8).ranks
    errors = compress_adapter(spectra, ranks, tmp_path / "small", form=PLAIN if option in LYCORIS else SAME)
    torch.manual_seed(0)
    after = deltas(peft.PeftModel.from_pretrained(make(), str(tmp_path / "small")))
    assert set(before) == set(after) == {error.matrix for error in errors}
    if option in LYCORIS:
        # The modules are named as they were.
        written = PeftConfig.from_pretrained(str(tmp_path / "small")).target_modules
        assert written == config().target_modules
    for error in errors:
        lost = np.linalg.norm(before[error.matrix] - after[error.matrix])
        assert error.frobenius == pytest.approx(lost, abs=1e-4 * np.linalg.norm(before[error.matrix]))


@pytest.mark.parametrize("option", ["kasa_config", "grouped convolution", "init olora"])
def test_what_cannot_be_written_smaller_says_why(option, tmp_path):
    make, config = LORA[option]
    made(make, config(), tmp_path / "a")
    spectra = analyse_adapter(open_adapter(tmp_path / "a"))
    with pytest.raises(AdapterError, match=r"changed|grouped convolution"):
        compress_adapter(spectra, dict.fromkeys(spectra.singular_values, 1), tmp_path / "small")


@pytest.mark.filterwarnings("ignore")
def test_both_halves_of_an_attention_keep_one_rank(tmp_path):
    make, config = LORA["attention"]
    model = made(make, config(), tmp_path / "a")
    spectra = analyse_adapter(open_adapter(tmp_path / "a"))
    one, other = spectra.singular_values
    with pytest.raises(AdapterError, match="share a rank under PEFT; 3 and 2 were asked for"):
        compress_adapter(spectra, {one: 3, other: 2}, tmp_path / "no")
    compress_adapter(spectra, {one: 2, other: 2}, tmp_path / "small")
    after = deltas(peft.PeftModel.from_pretrained(make(), str(tmp_path / "small")))
    assert set(after) == set(deltas(model))


TOLD = {
    "use_dora": "rescale the rows of W0 + s · B A",
    "dora of an embedding": "rescale the rows",
    "init pissa": "changes the frozen weights too",
    "init olora": "changes the frozen weights too",
    "kasa_config": "removed the smallest singular components",
    "monteclora_config": "without the sampled noise",
    "alora_invocation_tokens": "only on tokens from the invocation sequence on",
    "layer_replication": "numbered as in the enlarged model",
    "trainable_token_indices": "Tokens of 1 embedding",
    "lora_bias": "also learned a bias",
    "rank above the sides": "has at most 10 directions",
}


@pytest.mark.parametrize("option", TOLD)
def test_what_the_numbers_leave_out_is_told(option, tmp_path):
    make, config = LORA[option]
    made(make, config(), tmp_path)
    assert any(TOLD[option] in notice for notice in open_adapter(tmp_path).notices)


@pytest.mark.parametrize(
    "option", ["plain", "use_rslora", "all linear", "embedding", "convolution 2d", "init gaussian"]
)
def test_nothing_is_told_of_what_leaves_nothing_out(option, tmp_path):
    make, config = LORA[option]
    made(make, config(), tmp_path)
    assert open_adapter(tmp_path).notices == []


def test_qalora_acts_on_averages_of_inputs(tmp_path):
    rng = np.random.default_rng(0)
    A, B = rng.normal(size=(3, 4)).astype("<f4"), rng.normal(size=(7, 3)).astype("<f4")
    _write(
        tmp_path,
        {f"{PREFIX}fc.lora_A.weight": A, f"{PREFIX}fc.lora_B.weight": B},
        use_qalora=True,
        qalora_group_size=5,
        base_model_name_or_path="a/model-GPTQ",
    )
    layer = SimpleNamespace(
        lora_A={"a": SimpleNamespace(weight=torch.from_numpy(A))},
        lora_B={"a": SimpleNamespace(weight=torch.from_numpy(B))},
        lora_dropout={"a": nn.Identity()},
        scaling={"a": 2.0},
        qalora_group_size={"a": 5},
        training=False,
        in_features=20,
    )
    delta = QALoraLinearVariant.forward(layer, "a", torch.eye(20), torch.zeros(20, 7)).T  # pyright: ignore
    check(tmp_path, {"fc": delta.double().numpy()})


def test_qalora_elsewhere_than_in_gptq_is_a_plain_lora_as_peft_trains_it(tmp_path):
    """PEFT ignores use_qalora in other layers: read with averages, σ and the number of inputs would be wrong."""
    base = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 16), nn.Linear(16, 8))
    config = LoraConfig(r=3, lora_alpha=6, target_modules=["0", "1", "2"], use_qalora=True, qalora_group_size=4)
    model = get_peft_model(base, config)
    torch.manual_seed(0)
    deltas = {}
    for name in ("0", "1", "2"):
        layer = model.base_model.model[int(name)]
        nn.init.normal_(layer.lora_B["default"].weight)
        deltas[name] = layer.get_delta_weight("default").detach().double().numpy()
    model.save_pretrained(tmp_path)
    check(tmp_path, deltas)
    adapter = open_adapter(tmp_path)
    assert "QALoRA" not in adapter.label and "plain LoRA" in adapter.notices[-1]
    compress_adapter(analyse_adapter(adapter), dict.fromkeys(deltas, 2), tmp_path / "less")
    plain = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 16), nn.Linear(16, 8))
    PeftModel.from_pretrained(plain, str(tmp_path / "less"))


@pytest.mark.parametrize(
    ("widths", "grouped"),
    [
        ({"q": (16, 16), "down": (32, 16)}, False),
        ({"q": (4, 16), "down": (8, 16)}, True),
        ({"q": (4, 16), "k": (4, 4)}, None),
        ({"q": (3, 7)}, None),
        ({"q": (16, 16), "o": (4, 16)}, None),
    ],
)
def test_the_widths_of_other_matrices_tell_whether_qalora_averages(tmp_path, widths, grouped):
    arrays = {}
    for name, (width, out) in widths.items():
        arrays |= {
            f"{PREFIX}{name}.lora_A.weight": np.ones((3, width)),
            f"{PREFIX}{name}.lora_B.weight": np.ones((out, 3)),
        }
    _write(tmp_path, arrays, use_qalora=True, qalora_group_size=4)
    if grouped is None:
        with pytest.raises(AdapterError, match="nothing tells"):
            open_adapter(tmp_path)
    else:
        found = {matrix.name: matrix.in_features for matrix in open_adapter(tmp_path).matrices}
        assert found == {name: width * (4 if grouped else 1) for name, (width, _) in widths.items()}


def _write(folder: Path, arrays: dict[str, np.ndarray], **config: Any) -> Path:
    write_tensors(folder / WEIGHTS, {k: NewTensor("F32", v.shape, v.astype("<f4").tobytes) for k, v in arrays.items()})
    settings = {"peft_type": "LORA", "r": 3, "lora_alpha": 6, "target_modules": ["fc"], **config}
    (folder / CONFIG).write_text(json.dumps(settings))
    return folder


def pair(name: str = "fc", rank: int = 3) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        f"{PREFIX}{name}.lora_A.weight": rng.normal(size=(rank, 8)),
        f"{PREFIX}{name}.lora_B.weight": rng.normal(size=(6, rank)),
    }


def test_a_router_between_adapters_is_refused_by_its_key(tmp_path):
    config = json.loads(json.dumps(dataclasses.asdict(ArrowConfig())))
    with pytest.raises(AdapterError, match="arrow_config"):
        open_adapter(_write(tmp_path, pair(), arrow_config=config))


@pytest.mark.parametrize(
    "more",
    [
        {"use_xyz": True},
        {"xyz_config": {"beta": 1}},
        {"spread": 0.5},
        {"mora_type": 6, "use_mora": True},
        {"mode": "x"},
    ],
)
def test_what_a_later_peft_adds_is_refused_by_its_key(tmp_path, more):
    key = next(iter(more))
    with pytest.raises(AdapterError, match=f"uses {key}=.*does not know"):
        open_adapter(_write(tmp_path, pair(), **more))


@pytest.mark.parametrize(
    "more",
    [{"use_xyz": False}, {"xyz_config": None}, {"xyz_group_size": 16, "use_xyz": False}, {"xyz_pattern": {}}],
)
def test_what_a_later_peft_adds_is_let_through_where_it_is_off(tmp_path, more):
    assert open_adapter(_write(tmp_path, pair(), **more)).notices == []


def test_a_configuration_without_a_kind_is_read_by_its_tensors(tmp_path):
    _write(tmp_path, pair())
    (tmp_path / CONFIG).write_text(json.dumps({"r": 3, "lora_alpha": 12}))
    adapter = open_adapter(tmp_path)
    assert (adapter.kind, adapter.matrices[0].scale, adapter.notices) == ("LORA", 4.0, [])
    (tmp_path / CONFIG).write_text(json.dumps({"r": 3, "lora_alpha": 12, "use_xyz": True}))
    with pytest.raises(AdapterError, match="use_xyz"):
        open_adapter(tmp_path)


def test_a_factor_that_is_not_known_is_refused_by_its_name(tmp_path):
    arrays = pair() | {f"{PREFIX}fc.lora_C.weight": np.ones((3, 3))}
    with pytest.raises(AdapterError, match="lora_C, which this version does not know"):
        open_adapter(_write(tmp_path, arrays))


def test_an_unknown_start_is_told(tmp_path):
    assert "Initialised by 'xyz'" in open_adapter(_write(tmp_path, pair(), init_lora_weights="xyz")).notices[0]


def test_every_option_of_the_installed_lora_is_known_and_each_variant_is_tried():
    fields = {field.name: field for field in dataclasses.fields(LoraConfig)}
    assert set(fields) <= KNOWN_KEYS["LORA"]
    assert {field.name for field in dataclasses.fields(AdaLoraConfig)} <= KNOWN_KEYS["ADALORA"]
    assert {field.name for field in dataclasses.fields(LoHaConfig)} <= KNOWN_KEYS["LOHA"]
    assert {field.name for field in dataclasses.fields(LoKrConfig)} <= KNOWN_KEYS["LOKR"]
    variants = [name for name, field in fields.items() if field.metadata.get("is_lora_variant")]
    elsewhere = {"use_qalora", "arrow_config"}
    assert [name for name in variants if not any(option.startswith(name) for option in LORA)] == sorted(
        elsewhere & set(variants), key=variants.index
    )


SETTINGS: dict[str, dict[str, Any]] = {
    "IA3": {"target_modules": ["q_proj", "down_proj"], "feedforward_modules": ["down_proj"]},
    "BOFT": {"boft_block_size": 4},
    "OFT": {"oft_block_size": 4, "r": 0},
    "ADAPTION_PROMPT": {"adapter_len": 2, "adapter_layers": 1, "task_type": "CAUSAL_LM", "target_modules": None},
    "FOURIERFT": {"n_frequency": 10},
    "WAVEFT": {"n_frequency": 10},
    "VBLORA": {"vector_length": 4, "num_vectors": 8},
    "MISS": {"r": 4},
    "ROAD": {"group_size": 4},
    "SHIRA": {"r": 2},
    "C3A": {"block_size": 4},
    "PSOFT": {"r": 4},
    "ADAMSS": {"r": 4, "num_subspaces": 2},
    "CPT": {"task_type": "CAUSAL_LM", "cpt_token_ids": [1, 2], "cpt_mask": [1, 1], "cpt_tokens_type_mask": [1, 1]},
    **{
        kind: {"task_type": "CAUSAL_LM", "num_virtual_tokens": 4}
        for kind in ("PROMPT_TUNING", "MULTITASK_PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING", "CARTRIDGE")
    },
}
OTHERS = [kind.value for kind in PeftType if kind.value not in READ]
NOT_MADE = {"XLORA": "it needs trained adapters"}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", OTHERS)
def test_every_other_tuner_is_refused_by_name_with_its_reason(kind, tmp_path):
    if kind in NOT_MADE:
        _write(tmp_path, pair(), peft_type=kind)
    else:
        given = SETTINGS.get(kind, {})
        if "num_virtual_tokens" not in given and "cpt_mask" not in given:
            given = {"target_modules": ["q_proj", "v_proj"], **given}
        config = PEFT_TYPE_TO_CONFIG_MAPPING[PeftType(kind)](**given)
        made(llama, config, tmp_path)
    with pytest.raises(AdapterError) as caught:
        open_adapter(tmp_path)
    assert f"peft_type '{kind}': {REASONS[kind]}" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_the_reasons_cover_the_tuners_of_the_installed_peft():
    assert set(OTHERS) <= set(REASONS)
    assert not set(READ) & set(REASONS)
    assert len(LORA) + len(LYCORIS) + len(OTHERS) >= 60
    assert peft.__version__.startswith("0.21")


def test_a_kind_that_peft_may_add_is_refused(tmp_path):
    with pytest.raises(AdapterError, match="peft_type 'NEWER': this version does not know it"):
        open_adapter(_write(tmp_path, pair(), peft_type="NEWER"))

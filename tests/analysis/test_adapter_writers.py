"""A resized adapter in the format that was read: read again, it has the stated error, and types and texts as before."""

from __future__ import annotations

import json
import math
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from analysis.adapters import (
    AdapterError,
    AdapterSpectra,
    analyse_adapter,
    compress_adapter,
    forms_of,
    open_adapter,
    planned,
    size_at,
    size_now,
    suggest_ranks,
    suggest_sizes,
    total_error,
)
from analysis.adapters.__main__ import main
from analysis.adapters.dtypes import DTYPES, rounded, stored
from analysis.adapters.files import CONFIG, NewTensor, TensorFile, write_tensors
from analysis.adapters.formats.table import FORMATS
from tests.analysis.test_adapter_formats import gguf

SIX = next(seed for seed in range(99) if np.random.default_rng(seed).integers(2, 7) == 6)
"""A seed for which ``mlx`` draws rank 6."""
UNET = "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_"
SEEDS = st.integers(0, 10_000)


class Made(NamedTuple):
    """An adapter to write: tensors, texts of the header, configuration beside it."""

    arrays: dict[str, np.ndarray]
    metadata: dict[str, str] | None = None
    config: dict[str, Any] | None = None
    name: str = "mine.safetensors"


def flat(name: str) -> str:
    return name.replace(".", "_")


def pairs(rng: np.random.Generator, down: str, up: str, alpha: str | None, modules: list[str], kernel=()) -> dict:
    found = {}
    for module in modules:
        out, width, rank = rng.integers(3, 9, 3)
        found[f"{module}{down}"] = rng.normal(size=(rank, width, *kernel))
        found[f"{module}{up}"] = rng.normal(size=(out, rank, *(1,) * len(kernel)))
        if alpha is not None:
            found[f"{module}{alpha}"] = np.array(rng.uniform(0.1, 40))
    return found


def kohya(rng: np.random.Generator) -> Made:
    args = json.dumps({"conv_dim": "4", "conv_alpha": "1", "preset": "full"})
    texts = {"ss_network_dim": "8", "ss_network_alpha": "4", "ss_network_args": args, "ss_tag": "é", "format": "pt"}
    names = [f"lora_unet_{flat(UNET)}{part}" for part in "qkv"]
    found = pairs(rng, ".lora_down.weight", ".lora_up.weight", ".alpha", names)
    found |= pairs(rng, ".lora_down.weight", ".lora_up.weight", None, ["lora_te1_text_model_encoder_layers_0_mlp_fc1"])
    found |= pairs(rng, ".lora_down.weight", ".lora_up.weight", ".alpha", ["lora_unet_conv_in"], (3, 3))
    found["lora_unet_mid_block_norm.diff"] = rng.normal(size=3)
    return Made(found, {**texts, "sshs_model_hash": "f00"})


def comfyui(rng: np.random.Generator) -> Made:
    names = [f"diffusion_model.double_blocks.{n}.img_attn.qkv" for n in range(3)]
    return Made(pairs(rng, ".lora_A.weight", ".lora_B.weight", ".alpha", names), {"note": "kept"})


def diffusers(rng: np.random.Generator) -> Made:
    found, header = {}, {}
    for part in ("unet", "text_encoder"):
        names = [f"{UNET}q", f"{UNET}k", f"other.{UNET}k"]
        found |= pairs(rng, ".lora_A.weight", ".lora_B.weight", None, [f"{part}.{name}" for name in names])
        header |= {f"{part}.r": 8, f"{part}.lora_alpha": float(rng.uniform(1, 20)), f"{part}.target_modules": ["to_k"]}
        header |= {f"{part}.alpha_pattern": {"to_q": 3}, f"{part}.use_rslora": part == "unet", f"{part}.bias": "none"}
    return Made(found, {"lora_adapter_metadata": json.dumps(header), "author": "me"})


def old_diffusers(rng: np.random.Generator) -> Made:
    return Made(pairs(rng, "_lora.down.weight", "_lora.up.weight", None, [f"unet.{UNET}{part}" for part in "qk"]))


def xlabs(rng: np.random.Generator) -> Made:
    names = [f"double_blocks.{n}.processor.qkv_lora{side}" for n in range(2) for side in (1, 2)]
    return Made(pairs(rng, ".down.weight", ".up.weight", None, names))


def mlx(rng: np.random.Generator) -> Made:
    rank, found = int(rng.integers(2, 7)), {"lm_head.weight": rng.normal(size=(3, 4))}
    for n in range(3):
        out, width = rng.integers(rank - 1, 10, 2)
        name = f"model.layers.{n}.self_attn.q_proj"
        found |= {f"{name}.lora_a": rng.normal(size=(width, rank)), f"{name}.lora_b": rng.normal(size=(rank, out))}
    own = [{"rank": rank, "scale": 3.5, "dropout": 0.1}, {"rank": rank, "alpha": 7, "scale": 2.0}]
    config = {"num_layers": 3, "model": "some/model", "lora_parameters": own[int(rng.integers(2))]}
    return Made(found, {"format": "mlx"}, config, "adapters.safetensors")


WRITTEN = {made.__name__: made for made in (kohya, comfyui, diffusers, old_diffusers, xlabs, mlx)}


def save(folder: Path, made: Made, dtype: str = "F32") -> Path:
    folder.mkdir()
    numbers = {name: rounded(np.atleast_1d(array), dtype) for name, array in made.arrays.items()}
    tensors = {
        name: NewTensor(dtype, made.arrays[name].shape, lambda own=own: stored(own, dtype))
        for name, own in numbers.items()
    }
    write_tensors(folder / made.name, tensors, made.metadata or {})
    if made.config is not None:
        (folder / CONFIG).write_text(json.dumps(made.config))
    return folder


def deltas(adapter: Any) -> dict[str, np.ndarray]:
    return {m.name: m.scale * np.matmul(*adapter.factors(m.name)) for m in adapter.matrices}


def hold_errors(spectra: AdapterSpectra, again: Any, errors: Any) -> None:
    """Hold every stated error against the difference of both dense ΔW."""
    before, after = deltas(spectra.adapter), deltas(again)
    assert set(after) == {error.matrix for error in errors if error.rank_after}
    for error in errors:
        own = before[error.matrix]
        lost = own - after.get(error.matrix, np.zeros_like(own))
        assert error.frobenius == pytest.approx(np.linalg.norm(lost), abs=1e-7 * np.linalg.norm(own))
        assert error.spectral == pytest.approx(np.linalg.norm(lost, 2), abs=1e-7 * np.linalg.norm(own))


@pytest.mark.parametrize("name", WRITTEN)
@settings(max_examples=12, deadline=None)
@given(seed=SEEDS, dtype=st.sampled_from(list(DTYPES)), drop=st.booleans())
@example(seed=360, dtype="F64", drop=False)  # Every r is more than its matrix has directions.
def test_what_is_written_is_read_again_with_the_stated_error(name, seed, dtype, drop):
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as root:
        source = save(Path(root) / "a", WRITTEN[name](rng), dtype)
        spectra = analyse_adapter(open_adapter(source))
        adapter = spectra.adapter
        if name == "mlx":
            most = int(rng.integers(1, 1 + max(m.rank for m in adapter.matrices)))
            ranks = {m.name: min(most, m.rank) for m in adapter.matrices}
        else:
            ranks = {
                m.name: int(rng.integers(0 if drop and i else 1, m.rank + 1)) for i, m in enumerate(adapter.matrices)
            }
        out = Path(root) / "b"
        errors = compress_adapter(spectra, ranks, out)
        again = open_adapter(out)
        hold_errors(spectra, again, errors)
        limit = {"F16": 3e-3, "BF16": 3e-2}.get(dtype, 1e-5)
        cut = {m.name: spectra.singular_values[m.name][ranks[m.name] :] for m in adapter.matrices}
        for error in errors:
            whole = np.linalg.norm(spectra.singular_values[error.matrix])
            assert error.frobenius == pytest.approx(np.linalg.norm(cut[error.matrix]), abs=limit * whole)
        assert again.format == adapter.format
        assert {t.dtype for t in again.file.tensors.values()} == {dtype}
        assert size_at(adapter, ranks).total == again.file.size == (out / again.file.path.name).stat().st_size
        assert size_now(again).factors <= size_now(adapter).factors
        assert set(again.file.tensors) <= set(adapter.file.tensors)
        for carried in adapter.carried:
            assert again.file.raw(carried) == adapter.file.raw(carried)
        for key, value in adapter.file.metadata.items():
            if key not in ("lora_adapter_metadata", "sshs_model_hash") and not key.startswith("ss_network"):
                assert again.file.metadata[key] == value


@pytest.mark.parametrize("name", WRITTEN)
def test_what_keeps_its_rank_keeps_its_bytes(name, tmp_path):
    spectra = analyse_adapter(open_adapter(save(tmp_path / "a", WRITTEN[name](np.random.default_rng(5)), "F16")))
    adapter = spectra.adapter
    errors = compress_adapter(spectra, {m.name: m.rank for m in adapter.matrices}, tmp_path / "b")
    again = open_adapter(tmp_path / "b")
    # Where r is more than out or in, fewer directions hold all of it.
    whole = [m for m in adapter.matrices if m.rank == adapter.entries[m.name].product.directions]
    assert whole
    stated = {error.matrix: error.frobenius for error in errors}
    for matrix in whole:
        assert stated[matrix.name] == 0
        assert again.find(matrix.name).scale == pytest.approx(matrix.scale, rel=1e-11)
        for tensor in adapter.entries[matrix.name].product.tensors:
            assert again.file.raw(tensor.name) == adapter.file.raw(tensor.name)
    if len(whole) == len(adapter.matrices):
        assert again.file.metadata == adapter.file.metadata


@pytest.mark.parametrize("name", ["kohya", "diffusers", "mlx"])
@pytest.mark.parametrize("target", ["rank", "bytes", "parameters", "energy"])
def test_a_target_holds_for_the_file_that_is_written(name, target, tmp_path):
    spectra = analyse_adapter(open_adapter(save(tmp_path / "a", WRITTEN[name](np.random.default_rng(4)))))
    for number, found in enumerate(suggest_sizes(spectra, target)):
        errors = compress_adapter(spectra, found.ranks, tmp_path / f"{number}")
        again = open_adapter(tmp_path / f"{number}")
        sizes = {"bytes": again.file.size, "rank": sum(m.rank for m in again.matrices), "parameters": again.parameters}
        assert target == "energy" or sizes[target] <= found.value
        assert found.error == pytest.approx(total_error(errors, spectra)["relative"], abs=1e-5)
        assert found.bound is None or target == "energy" or found.error >= found.bound - 1e-9


def test_kohya_says_its_new_ranks_and_keeps_what_else_it_says(tmp_path):
    spectra = analyse_adapter(open_adapter(save(tmp_path / "a", kohya(np.random.default_rng(2)))))
    names = list(spectra.singular_values)
    for ranks, told in ((dict.fromkeys(names, 2), "2"), ({n: 1 + (n == names[0]) for n in names}, "Dynamic")):
        out = tmp_path / f"{told}.safetensors"
        compress_adapter(spectra, ranks, out)
        texts = TensorFile(out).metadata
        assert texts["ss_network_dim"] == told
        assert texts["ss_network_alpha"] == "Dynamic"
        assert json.loads(texts["ss_network_args"])["preset"] == "full"
        assert json.loads(texts["ss_network_args"])["conv_dim"] == str(ranks["unet.conv_in"])
        assert texts["ss_tag"] == "é" and "sshs_model_hash" not in texts
        with pytest.raises(AdapterError, match="exists already"):
            compress_adapter(spectra, ranks, out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2.safetensors", "Dynamic.safetensors", "a"]


def test_the_header_of_diffusers_is_a_configuration_that_peft_takes(tmp_path):
    peft = pytest.importorskip("peft")
    from peft.utils.other import get_pattern_key

    spectra = analyse_adapter(open_adapter(save(tmp_path / "a", diffusers(np.random.default_rng(3)))))
    ranks = {m.name: 1 + i % m.rank for i, m in enumerate(spectra.adapter.matrices)}
    ranks[next(iter(ranks))] = 0
    compress_adapter(spectra, ranks, tmp_path / "b")
    again = open_adapter(tmp_path / "b")
    header = json.loads(again.file.metadata["lora_adapter_metadata"])
    for part in ("unet", "text_encoder"):
        own = {key.removeprefix(f"{part}."): value for key, value in header.items() if key.startswith(f"{part}.")}
        config = peft.LoraConfig(**own)
        for matrix in again.matrices:
            if matrix.name.startswith(f"{part}."):
                path = matrix.name.removeprefix(f"{part}.")
                key = get_pattern_key(config.rank_pattern, path)
                assert config.rank_pattern.get(key, config.r) == matrix.rank
                key = get_pattern_key(config.alpha_pattern, path)
                alpha = config.alpha_pattern.get(key, config.lora_alpha)
                assert alpha / (math.sqrt(matrix.rank) if config.use_rslora else matrix.rank) == pytest.approx(
                    matrix.scale
                )


def lycoris(rng: np.random.Generator) -> Made:
    names = ["hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"]
    shapes = [(10, 2), (2, 12), (10, 2), (2, 12)]
    found = {f"lycoris_a.{name}": rng.normal(size=shape) for name, shape in zip(names, shapes, strict=True)}
    found |= {
        "lycoris_a.alpha": np.array(1.0),
        "lycoris_b.lokr_w1": rng.normal(size=(2, 3)),
        "lycoris_b.alpha": np.array(9.0),
    }
    found |= {"lycoris_b.lokr_w2_a": rng.normal(size=(5, 2)), "lycoris_b.lokr_w2_b": rng.normal(size=(2, 4))}
    found |= {"lycoris_c.diff": rng.normal(size=(4, 3, 3, 3)), "lycoris_c.diff_b": rng.normal(size=4)}
    texts = {"ss_network_module": "lycoris.kohya", "ss_network_args": '{"algo": "loha", "x": "1"}'}
    return Made(found, texts)


def test_lycoris_is_written_as_plain_pairs_only_when_asked(tmp_path):
    spectra = analyse_adapter(open_adapter(save(tmp_path / "a", lycoris(np.random.default_rng(5)))))
    ranks = {name: min(3, len(values)) for name, values in spectra.singular_values.items()}
    with pytest.raises(AdapterError, match="cannot be cut in that form: --as lora"):
        compress_adapter(spectra, ranks, tmp_path / "b")
    errors = compress_adapter(spectra, ranks, tmp_path / "b", form="lora")
    assert "is written as a plain LoRA" in planned(spectra.adapter, ranks, form="lora").notices[0]
    again = open_adapter(tmp_path / "b")
    hold_errors(spectra, again, errors)
    assert (again.kind, again.file.metadata["ss_network_module"]) == ("LORA", "networks.lora")
    assert json.loads(again.file.metadata["ss_network_args"]) == {"algo": "lora", "x": "1"}
    assert again.file.tensors["lycoris_c.lora_down.weight"].shape == (3, 3, 3, 3)
    assert "lycoris_c.diff_b" in again.file.tensors


def test_a_middle_factor_is_multiplied_in_and_told(tmp_path):
    rng = np.random.default_rng(6)
    found = {
        "lora_unet_conv_in.lora_down.weight": rng.normal(size=(3, 5, 1, 1)),
        "lora_unet_conv_in.alpha": np.array(2.0),
    }
    found |= {"lora_unet_conv_in.lora_mid.weight": rng.normal(size=(3, 3, 3, 3))}
    found |= {"lora_unet_conv_in.lora_up.weight": rng.normal(size=(6, 3, 1, 1))}
    spectra = analyse_adapter(open_adapter(save(tmp_path / "a", Made(found))))
    compress_adapter(spectra, {"unet.conv_in": 3}, tmp_path / "same")
    assert set(open_adapter(tmp_path / "same").file.tensors) == set(found)
    errors = compress_adapter(spectra, {"unet.conv_in": 2}, tmp_path / "b")
    again = open_adapter(tmp_path / "b")
    hold_errors(spectra, again, errors)
    assert again.file.tensors["lora_unet_conv_in.lora_down.weight"].shape == (2, 5, 3, 3)
    assert "lora_mid" in planned(spectra.adapter, {"unet.conv_in": 2}).notices[0]


def test_magnitudes_stay_and_keep_their_matrix_alive(tmp_path):
    rng = np.random.default_rng(7)
    found = pairs(rng, ".lora_down.weight", ".lora_up.weight", ".alpha", ["lora_unet_conv_in"])
    found["lora_unet_conv_in.dora_scale"] = rng.normal(size=(4, 1))
    spectra = analyse_adapter(open_adapter(save(tmp_path / "a", Made(found))))
    compress_adapter(spectra, {"unet.conv_in": 1}, tmp_path / "b")
    again = open_adapter(tmp_path / "b")
    assert again.file.raw("lora_unet_conv_in.dora_scale") == spectra.adapter.file.raw("lora_unet_conv_in.dora_scale")
    with pytest.raises(AdapterError, match="has a magnitude"):
        compress_adapter(spectra, {"unet.conv_in": 0}, tmp_path / "c")


def test_mlx_has_one_rank_and_its_configuration_says_it(tmp_path):
    spectra = analyse_adapter(open_adapter(save(tmp_path / "a", mlx(np.random.default_rng(SIX)))))
    most = max(m.rank for m in spectra.adapter.matrices)
    found = suggest_ranks(spectra, "rank", most * 3 - 4)
    rank = max(found.ranks.values())
    assert rank < most and all(found.ranks[m.name] == min(rank, m.rank) for m in spectra.adapter.matrices)
    compress_adapter(spectra, found.ranks, tmp_path / "b")
    config = json.loads((tmp_path / "b" / CONFIG).read_text())
    assert config["lora_parameters"]["rank"] == rank
    assert config["model"] == "some/model"
    first = spectra.adapter.matrices[0].name
    with pytest.raises(AdapterError, match=r"MLX has one rank.*--as peft"):
        compress_adapter(spectra, found.ranks | {first: most}, tmp_path / "c")
    unlike = suggest_ranks(spectra, "rank", most * 3 - 4, form="peft")
    assert unlike.total_rank == most * 3 - 4


def test_as_peft_it_is_an_adapter_of_peft(tmp_path):
    for number, made in enumerate((comfyui, mlx)):
        own = made(np.random.default_rng(number))
        own.arrays.pop("lm_head.weight", None)
        spectra = analyse_adapter(open_adapter(save(tmp_path / f"a{number}", own)))
        ranks = {m.name: max(1, m.rank - i) for i, m in enumerate(spectra.adapter.matrices)}
        errors = compress_adapter(spectra, ranks, tmp_path / f"b{number}", form="peft")
        again = open_adapter(tmp_path / f"b{number}")
        hold_errors(spectra, again, errors)
        assert again.format == "peft" and again.config is not None and again.config["peft_type"] == "LORA"
        assert {m.name: m.rank for m in again.matrices} == ranks


@pytest.mark.parametrize(
    ("made", "why"),
    [(kohya, "flat names"), (diffusers, "text_encoder, unet"), (xlabs, "no paths of modules"), (mlx, "lm_head.weight")],
)
def test_as_peft_is_refused_by_name_where_it_means_nothing(made, why, tmp_path):
    adapter = open_adapter(save(tmp_path / "a", made(np.random.default_rng(0))))
    assert why in forms_of(adapter)["peft"]
    assert forms_of(adapter)["same"] == ""


@pytest.mark.parametrize("other", [True, False])
def test_experts_of_mlx_are_sized_and_not_written(other, tmp_path):
    rng = np.random.default_rng(0)
    found = {"m.0.up.lora_a": rng.normal(size=(6, 8)), "m.0.up.lora_b": rng.normal(size=(3, 5, 2))}
    if other:
        found |= {"m.1.q.lora_a": rng.normal(size=(9, 2)), "m.1.q.lora_b": rng.normal(size=(2, 7))}
    config = {"lora_parameters": {"rank": 2, "scale": 1.0}}
    spectra = analyse_adapter(open_adapter(save(tmp_path / "a", Made(found, {}, config, "adapters.safetensors"))))
    chosen = suggest_ranks(spectra, "energy", 0.2)
    assert set(chosen.ranks.values()) == ({1, 2} if other else {2})
    assert 0 < size_at(spectra.adapter, chosen.ranks).total <= size_now(spectra.adapter).total
    with pytest.raises(AdapterError, match="with experts is not written smaller"):
        compress_adapter(spectra, chosen.ranks, tmp_path / "b")
    assert "experts" in forms_of(spectra.adapter)["peft"]


def test_gguf_is_sized_and_not_written(tmp_path):
    tensors = {f"blk.{n}.attn_q.weight.lora_{part}": (0, shape, np.ones(shape, "<f4").tobytes())
               for n in range(2) for part, shape in (("a", (4, 32)), ("b", (64, 4)))}  # fmt: skip
    texts = {"general__type": "adapter", "adapter__type": "lora"}
    spectra = analyse_adapter(open_adapter(gguf(tmp_path / "a.gguf", tensors, adapter__lora__alpha=8.0, **texts)))
    assert all(forms_of(spectra.adapter).values())
    chosen = suggest_ranks(spectra, "bytes", 3000)
    with pytest.raises(AdapterError, match=r"GGUF is not written.*convert_lora_to_gguf"):
        compress_adapter(spectra, chosen.ranks, tmp_path / "b")


def test_every_format_says_how_it_is_written():
    assert all(own.writer.told for own in FORMATS)


def test_the_command_writes_the_format_it_read(tmp_path, capsys):
    save(tmp_path / "a", kohya(np.random.default_rng(9)))
    out = tmp_path / "small.safetensors"
    source = str(tmp_path / "a" / "mine.safetensors")
    assert main([source, "--rank", "8", "--out", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["suggestion"]
    assert told["bytes_after"]["total"] == out.stat().st_size < told["bytes_before"]["total"]
    assert told["notices"] and told["form"] == "same"
    assert main([source, "--rank", "8", "--out", str(tmp_path / "c"), "--as", "peft"]) == 2
    assert "flat names" in capsys.readouterr().err
    assert main([source, "--energy", "1", "--dtype", "F64", "--out", str(tmp_path / "d")]) == 0
    assert "more than the input's" in capsys.readouterr().out


def test_an_alpha_beyond_its_type_is_written_in_one_that_holds_it(tmp_path):
    rng = np.random.default_rng(10)
    found = {"lora_unet_conv_in.lora_down.weight": rng.normal(size=(2, 5)), "lora_unet_conv_in.alpha": np.array(6e-8)}
    found["lora_unet_conv_in.lora_up.weight"] = rng.normal(size=(6, 2))
    spectra = analyse_adapter(open_adapter(save(tmp_path / "a", Made(found), "F16")))
    errors = compress_adapter(spectra, {"unet.conv_in": 1}, tmp_path / "b")
    again = open_adapter(tmp_path / "b")
    hold_errors(spectra, again, errors)
    assert again.file.tensors["lora_unet_conv_in.alpha"].dtype == "F32"

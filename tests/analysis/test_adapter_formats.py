"""Files of others than PEFT: written here as their programs write them, read as their programs mean them."""

from __future__ import annotations

import json
import struct
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.adapters import (
    AdapterError,
    SeveralAdapters,
    analyse_adapter,
    compress_adapter,
    describe_adapter,
    open_adapter,
)
from analysis.adapters.files import CONFIG, WEIGHTS
from analysis.adapters.formats.table import FORMATS

RNG = np.random.default_rng(7)
UNET = "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
TEXT = "text_model.encoder.layers.0.self_attn.q_proj"


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype("<f4")


def safetensors(path: Path, arrays: dict[str, np.ndarray], metadata: dict[str, str] | None = None) -> Path:
    """Write a file by the format's own description; F16 and F32 as the arrays have."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    data = b""
    for name, array in arrays.items():
        raw = np.ascontiguousarray(array).tobytes()
        kind = {"<f4": "F32", "<f2": "F16", "<i8": "I64"}[array.dtype.str]
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def flat(name: str) -> str:
    return name.replace(".", "_")


def check(path: Path, expected: dict[str, np.ndarray], kind: str) -> Any:
    """Hold every matrix against a dense ΔW, (out, ...) with the rest as one."""
    adapter = open_adapter(path)
    spectra = analyse_adapter(adapter)
    assert adapter.format == kind
    assert {matrix.name for matrix in adapter.matrices} == set(expected)
    for matrix, values in spectra.rows():
        delta = expected[matrix.name].astype(np.float64)
        delta = delta.reshape(len(delta), -1)
        dense = np.linalg.svd(delta, compute_uv=False)
        assert (matrix.out_features, matrix.in_features) == delta.shape
        np.testing.assert_allclose(values, dense[: len(values)], atol=1e-5 * dense[0])
        np.testing.assert_allclose(dense[len(values) :], 0, atol=1e-5 * dense[0])
        B, A = adapter.factors(matrix.name)
        np.testing.assert_allclose(matrix.scale * B @ A, delta, atol=1e-5 * dense[0])
    return spectra


def test_kohya_pairs_with_alpha(tmp_path):
    A, B, C, D = normal(4, 12), normal(10, 4), normal(2, 8), normal(6, 2)
    arrays = {
        f"lora_unet_{flat(UNET)}.alpha": np.float32(2.0).reshape(()).astype("<f4"),
        f"lora_unet_{flat(UNET)}.lora_down.weight": A,
        f"lora_unet_{flat(UNET)}.lora_up.weight": B,
        f"lora_te1_{flat(TEXT)}.alpha": np.array(1, "<f4"),
        f"lora_te1_{flat(TEXT)}.lora_down.weight": C,
        f"lora_te1_{flat(TEXT)}.lora_up.weight": D,
        f"lora_te2_{flat(TEXT)}.lora_down.weight": C,
        f"lora_te2_{flat(TEXT)}.lora_up.weight": D,
    }
    spectra = check(
        safetensors(tmp_path / "kohya.safetensors", arrays, {"ss_network_dim": "4"}),
        {f"unet.{UNET}": 0.5 * B @ A, f"text_encoder.{TEXT}": 0.5 * D @ C, f"text_encoder_2.{TEXT}": D @ C},
        "kohya",
    )
    assert spectra.notices == [
        "1 of 3 matrices have no alpha in the file: taken as r, so s = 1, as kohya's loader does."
    ]
    assert len({matrix.block for matrix in spectra.adapter.matrices}) == 3


def test_kohya_convolutions_plain_and_with_a_core(tmp_path):
    down, up, point = normal(3, 4, 3, 3), normal(6, 3, 1, 1), normal(3, 4, 1, 1)
    core, small = normal(3, 3, 3, 3), normal(3, 5, 1, 1)
    start = "lora_unet_down_blocks_0_resnets_0"
    arrays = {
        f"{start}_conv1.lora_down.weight": down,
        f"{start}_conv1.lora_up.weight": up,
        f"{start}_conv1.alpha": np.array(6, "<f4"),
        f"{start}_conv2.lora_down.weight": small,
        f"{start}_conv2.lora_mid.weight": core,
        f"{start}_conv2.lora_up.weight": up,
        f"{start}_conv_shortcut.lora_down.weight": point,
        f"{start}_conv_shortcut.lora_up.weight": up,
    }
    name = "unet.down_blocks.0.resnets.0"
    plain = up[:, :, 0, 0]
    expected = {
        f"{name}.conv1": 2 * np.einsum("or,rikl->oikl", plain, down),
        f"{name}.conv2": np.einsum("or,rskl,si->oikl", plain, core, small[:, :, 0, 0]),
        f"{name}.conv_shortcut": np.einsum("or,rikl->oikl", plain, point),
    }
    spectra = check(safetensors(tmp_path / "conv.safetensors", arrays), expected, "kohya")
    assert [m.layer_kind for m in spectra.adapter.matrices] == ["convolution", "convolution", "linear"]


def test_lycoris_hadamard_and_kronecker(tmp_path):
    w1a, w1b, w2a, w2b = normal(10, 2), normal(2, 12), normal(10, 3), normal(3, 12)
    k1, k2a, k2b, k2 = normal(2, 3), normal(5, 2), normal(2, 4), normal(5, 4)
    t1, c1a, c1b = normal(2, 2, 3, 3), normal(2, 6), normal(2, 4)
    t2, c2a, c2b = normal(2, 2, 3, 3), normal(2, 6), normal(2, 4)
    arrays = {
        "lycoris_a.hada_w1_a": w1a, "lycoris_a.hada_w1_b": w1b, "lycoris_a.hada_w2_a": w2a, "lycoris_a.hada_w2_b": w2b,
        "lycoris_a.alpha": np.array(1, "<f4"),
        "lycoris_b.lokr_w1": k1, "lycoris_b.lokr_w2_a": k2a, "lycoris_b.lokr_w2_b": k2b,
        "lycoris_b.alpha": np.array(4, "<f4"),
        "lycoris_c.lokr_w1": k1, "lycoris_c.lokr_w2": k2, "lycoris_c.alpha": np.array(77, "<f4"),
        "lycoris_d.hada_t1": t1, "lycoris_d.hada_w1_a": c1a, "lycoris_d.hada_w1_b": c1b,
        "lycoris_d.hada_t2": t2, "lycoris_d.hada_w2_a": c2a, "lycoris_d.hada_w2_b": c2b,
    }  # fmt: skip
    first = np.einsum("rskl,ro,si->oikl", t1, c1a, c1b)
    expected = {
        "a": 0.5 * (w1a @ w1b) * (w2a @ w2b),
        "b": 2.0 * np.kron(k1, k2a @ k2b),
        # Without a decomposed factor there is no r to divide alpha by.
        "c": np.kron(k1, k2),
        "d": first * np.einsum("rskl,ro,si->oikl", t2, c2a, c2b),
    }
    spectra = check(safetensors(tmp_path / "lyco.safetensors", arrays), expected, "kohya")
    assert spectra.adapter.label == "LoHa and LoKr"
    with pytest.raises(AdapterError, match="cannot be cut in that form: --as lora"):
        compress_adapter(spectra, dict.fromkeys(expected, 1), tmp_path / "small")


def test_whole_differences_and_what_is_told_by_name(tmp_path):
    diff = normal(6, 5)
    arrays = {
        "lora_unet_mid_block_proj_in.diff": diff,
        "lora_unet_mid_block_norm.diff": normal(6),
        "lora_unet_mid_block_proj_in.diff_b": normal(6),
        "lora_unet_mid_block_to_q.on_input": np.array(1, "<i8"),
        "lora_unet_mid_block_to_q.weight": normal(6),
        "lora_unet_mid_block_to_v.oft_blocks": normal(2, 3, 3),
    }
    spectra = check(safetensors(tmp_path / "diff.safetensors", arrays), {"unet.mid_block.proj_in": diff}, "kohya")
    assert {reason.split(":")[0] for reason in spectra.adapter.skipped.values()} == {"IA³", "OFT"}
    assert len(spectra.adapter.carried) == 3


KOHYA_PAIR = {"lora_unet_a.lora_down.weight": (2, 8), "lora_unet_a.lora_up.weight": (6, 2)}
DOTTED_PAIR = {"unet.a.lora_A.weight": (2, 8), "unet.a.lora_B.weight": (6, 2)}
MLX_PAIR = {"a.lora_a": (8, 2), "a.lora_b": (2, 6)}
PEFT_PAIR = {"base_model.model.a.lora_A.weight": (2, 8), "base_model.model.a.lora_B.weight": (6, 2)}


@pytest.mark.parametrize(
    ("pair", "name", "says"),
    [
        *(
            (KOHYA_PAIR, f"lora_unet_{name}", "which this version does not know")
            for name in (
                "a.lora_foo",
                "a.scale",
                "a.set_weight",
                "a.scalar",
                "a.lora_down.0",
                "b.foo",
                "b.lora_foo.weight",
            )
        ),
        (KOHYA_PAIR, "lora_unet_a.hada_w3_a", "which this version does not know"),
        (KOHYA_PAIR, "lora_unet_a.diff", "is stored in two ways"),
        (KOHYA_PAIR, "lora_unet_a.lokr_w1", "is stored in two ways"),
        (DOTTED_PAIR, "unet.a.lora_C.weight", "which this version does not know"),
        (DOTTED_PAIR, "unet.a.scale", "which this version does not know"),
        (DOTTED_PAIR, "unet.a.diff", "is stored in two ways"),
        (MLX_PAIR, "a.lora_c", "which this version does not know"),
        (PEFT_PAIR, "base_model.model.a.lora_C.weight", "which this version does not know"),
        (PEFT_PAIR, "base_model.model.a.lora_embedding_A", "factors of an embedding and of another layer"),
    ],
)
def test_a_tensor_that_may_be_of_the_change_is_refused(tmp_path, pair, name, says):
    arrays = {key: normal(*shape) for key, shape in pair.items()}
    open_adapter(safetensors(tmp_path / "a.safetensors", arrays))
    with pytest.raises(AdapterError, match=says):
        open_adapter(safetensors(tmp_path / "b.safetensors", {**arrays, name: normal(6, 8)}))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("lora_unet_a.lora_up.bias", "1 layer also learned a bias"),
        ("lora_unet_b.alpha", "an alpha without factors"),
        ("lora_unet_n.w_norm", "lora_unet_n.w_norm"),
        ("lora_unet_a.diff_b", "lora_unet_a.diff_b"),
        ("emb_params", "emb_params"),
    ],
)
def test_what_only_stands_beside_is_told_and_stays_in_what_is_written(tmp_path, name, told):
    arrays = {key: normal(*shape) for key, shape in KOHYA_PAIR.items()} | {name: normal(1)}
    spectra = analyse_adapter(open_adapter(safetensors(tmp_path / "a.safetensors", arrays)))
    assert told in " ".join([*describe_adapter(spectra), *spectra.notices])
    compress_adapter(spectra, {"unet.a": 1}, tmp_path / "less.safetensors")
    assert name in open_adapter(tmp_path / "less.safetensors").file.tensors


@pytest.mark.parametrize("middle", [".lora.down.weight", "_lora.down.weight", ".lora_linear_layer.down.weight"])
def test_old_files_of_diffusers(tmp_path, middle):
    A, B = normal(3, 8), normal(9, 3)
    stored = f"unet.{UNET}" if middle[0] == "." else f"unet.{UNET.replace('to_q', 'processor.to_q')}"
    arrays = {stored + middle: A, stored + middle.replace("down", "up"): B}
    spectra = check(safetensors(tmp_path / "pytorch_lora_weights.safetensors", arrays), {stored: B @ A}, "diffusers")
    assert "s = 1, as diffusers does" in spectra.notices[0]
    assert open_adapter(tmp_path).matrices == spectra.adapter.matrices


@pytest.mark.parametrize("prefix", ["", "unet.", "transformer.", "text_encoder."])
def test_diffusers_takes_r_and_alpha_from_the_header(tmp_path, prefix):
    A, B, C, D = normal(3, 8), normal(9, 3), normal(2, 8), normal(9, 2)
    other = UNET.replace("to_q", "to_v")
    arrays = {
        f"{prefix}{UNET}.lora_A.weight": A, f"{prefix}{UNET}.lora_B.weight": B,
        f"{prefix}{other}.lora_A.weight": C, f"{prefix}{other}.lora_B.weight": D,
    }  # fmt: skip
    settings = {f"{prefix}r": 3, f"{prefix}lora_alpha": 6, f"{prefix}rank_pattern": {"to_v": 2}}
    settings |= {f"{prefix}alpha_pattern": {"to_v": 10}, f"{prefix}use_dora": False}
    path = safetensors(tmp_path / "x.safetensors", arrays, {"lora_adapter_metadata": json.dumps(settings)})
    spectra = check(path, {f"{prefix}{UNET}": 2 * B @ A, f"{prefix}{other}": 5 * D @ C}, "diffusers")
    assert spectra.notices == []


def test_diffusers_refuses_what_the_header_switches_on_and_this_version_does_not_know(tmp_path):
    arrays = {f"unet.{UNET}.lora_A.weight": normal(3, 8), f"unet.{UNET}.lora_B.weight": normal(9, 3)}
    metadata = {"lora_adapter_metadata": json.dumps({"unet.r": 3, "unet.use_xyz": True})}
    with pytest.raises(AdapterError, match="use_xyz"):
        open_adapter(safetensors(tmp_path / "x.safetensors", arrays, metadata))
    with pytest.raises(AdapterError, match="no JSON object"):
        open_adapter(safetensors(tmp_path / "y.safetensors", arrays, {"lora_adapter_metadata": "["}))


def test_comfyui_flux_blocks(tmp_path):
    A, B = normal(4, 8), normal(9, 4)
    names = ["double_blocks.0.img_attn.qkv", "double_blocks.0.txt_attn.qkv", "single_blocks.10.linear1"]
    names.append("single_blocks.2.linear1")
    arrays = {}
    for name in names:
        start = f"diffusion_model.{name}"
        arrays |= {f"{start}.lora_A.weight": A, f"{start}.lora_B.weight": B, f"{start}.alpha": np.array(2, "<f4")}
    spectra = check(safetensors(tmp_path / "flux.safetensors", arrays), dict.fromkeys(names, 0.5 * B @ A), "diffusers")
    assert [m.name for m in spectra.adapter.matrices] == [*names[:2], names[3], names[2]]
    assert [m.module_type for m in spectra.adapter.matrices][:2] == ["img_attn.qkv", "txt_attn.qkv"]


def test_flux_adapters_of_xlabs(tmp_path):
    arrays = {}
    for number in (1, 2):
        start = f"double_blocks.3.processor.qkv_lora{number}"
        arrays |= {f"{start}.down.weight": normal(2, 8), f"{start}.up.weight": normal(9, 2)}
    down, up = (
        arrays["double_blocks.3.processor.qkv_lora1.down.weight"],
        "double_blocks.3.processor.qkv_lora1.up.weight",
    )
    adapter = open_adapter(safetensors(tmp_path / "x.safetensors", arrays))
    assert [m.name for m in adapter.matrices] == ["double_blocks.3.processor.qkv1", "double_blocks.3.processor.qkv2"]
    B, A = adapter.factors("double_blocks.3.processor.qkv1")
    assert np.array_equal(B @ A, arrays[up].astype(float) @ down.astype(float))


def mlx(folder: Path, arrays: dict[str, np.ndarray], **parameters: Any) -> Path:
    safetensors(folder / "adapters.safetensors", arrays)
    settings = {"fine_tune_type": "lora", "num_layers": 2, "lora_parameters": parameters, "model": "some/model"}
    (folder / CONFIG).write_text(json.dumps(settings))
    return folder


@pytest.mark.parametrize(
    ("parameters", "scale"),
    [({"rank": 4, "scale": 20.0, "dropout": 0.0}, 20.0), ({"rank": 4, "alpha": 16, "scale": 10.0}, 40.0)],
)
def test_mlx_stores_both_factors_transposed(tmp_path, parameters, scale):
    a, b, ea, eb = normal(12, 4), normal(4, 10), normal(3 * 4, 12), normal(3, 7, 4)
    arrays = {
        "model.layers.0.self_attn.q_proj.lora_a": a, "model.layers.0.self_attn.q_proj.lora_b": b,
        "model.layers.0.mlp.switch_mlp.up_proj.lora_a": ea, "model.layers.0.mlp.switch_mlp.up_proj.lora_b": eb,
    }  # fmt: skip
    expected = {"model.layers.0.self_attn.q_proj": scale * (a @ b).T} | {
        f"model.layers.0.mlp.switch_mlp.{e}.up_proj": scale * eb[e] @ ea.reshape(3, 4, 12)[e] for e in range(3)
    }
    check(mlx(tmp_path, arrays, **parameters), expected, "mlx")


@pytest.mark.parametrize(("kind", "known"), [("lora", True), ("dora", True), (None, True), ("later", False)])
def test_mlx_refuses_a_way_of_tuning_that_is_not_known(tmp_path, kind, known):
    safetensors(tmp_path / "adapters.safetensors", {"a.lora_a": normal(8, 2), "a.lora_b": normal(2, 9)})
    (tmp_path / CONFIG).write_text(json.dumps({"fine_tune_type": kind, "lora_parameters": {"rank": 2, "scale": 2.0}}))
    if known:
        assert open_adapter(tmp_path).matrices[0].scale == 2
    else:
        with pytest.raises(AdapterError, match="fine_tune_type='later'"):
            open_adapter(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_told(tmp_path, encoding):
    folder = peft_folder(tmp_path / "a")
    (folder / CONFIG).write_text((folder / CONFIG).read_text(), encoding=encoding)
    with pytest.raises(AdapterError, match="begins with a byte order mark"):
        open_adapter(folder)


def test_mlx_refuses_parameters_that_are_not_known(tmp_path):
    with pytest.raises(AdapterError, match="uses gamma=2 of lora_parameters"):
        open_adapter(mlx(tmp_path, {"q.lora_a": normal(8, 2), "q.lora_b": normal(2, 8)}, rank=2, scale=1.0, gamma=2))


def gguf(path: Path, tensors: dict[str, tuple[int, tuple[int, ...], bytes]], **values: Any) -> Path:
    """Write a GGUF file, version 3: settings are texts, 32-bit floats or arrays of 32-bit numbers."""

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value.encode())) + value.encode()

    def entry(value: Any) -> bytes:
        if isinstance(value, str):
            return struct.pack("<I", 8) + text(value)
        if isinstance(value, list):
            return struct.pack("<IIQ", 9, 4, len(value)) + struct.pack(f"<{len(value)}I", *value)
        return struct.pack("<If", 6, value)

    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(values))
    head += b"".join(text(key.replace("__", ".")) + entry(value) for key, value in values.items())
    data = b""
    for name, (kind, shape, raw) in tensors.items():
        head += text(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape[::-1])
        head += struct.pack("<IQ", kind, len(data))
        data += raw + b"\0" * (-len(raw) % 32)
    path.write_bytes(head + b"\0" * (-len(head) % 32) + data)
    return path


def q8(array: np.ndarray) -> tuple[bytes, np.ndarray]:
    """Blocks of 32: a half-precision scale and bytes; and what they mean."""
    blocks = array.reshape(-1, 32)
    scale = (np.abs(blocks).max(axis=1) / 127).astype("<f2")
    numbers = np.rint(blocks / scale.astype(np.float32)[:, None]).astype("i1")
    raw = b"".join(s.tobytes() + n.tobytes() for s, n in zip(scale, numbers, strict=True))
    return raw, (numbers * scale.astype(np.float64)[:, None]).reshape(array.shape)


PLAIN_GGUF = {
    "blk.0.attn_q.weight.lora_a": (0, (4, 32), bytes(512)),
    "blk.0.attn_q.weight.lora_b": (0, (8, 4), bytes(128)),
}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda file: file.replace(b"general.arch", b"adapter.type"), "says 'adapter.type' twice"),
        (lambda file: file.replace(b"attn_q.weight.lora_b", b"attn_q.weight.lora_a"), "has '.*lora_a' twice"),
        (
            lambda file: file.replace(struct.pack("<QQIQ", 4, 8, 0, 512), struct.pack("<QQIQ", 4, 8, 0, 508)),
            "multiple of the alignment",
        ),
        (
            lambda file: file.replace(struct.pack("<QQIQ", 32, 4, 0, 0), struct.pack("<QQIQ", 31, 4, 8, 0)),
            "blocks of 32",
        ),
        (lambda file: file.replace(b"lora_b", b"lora_c"), "lora_c"),
    ],
)
def test_a_gguf_file_that_contradicts_itself_is_refused(tmp_path, change, says):
    file = gguf(tmp_path / "a.gguf", PLAIN_GGUF, adapter__type="lora", general__arch="llama").read_bytes()
    assert open_adapter(tmp_path / "a.gguf").matrices and change(file) != file
    (tmp_path / "b.gguf").write_bytes(change(file))
    with pytest.raises(AdapterError, match=says):
        open_adapter(tmp_path / "b.gguf")


@given(st.integers(0, 100))
def test_only_powers_of_two_are_alignments(tmp_path_factory, alignment):
    path = tmp_path_factory.mktemp("gguf") / "a.gguf"
    file = gguf(path, {}, general__alignment="xxxx").read_bytes()
    value = struct.pack("<IQ", 8, 4) + b"xxxx"
    path.write_bytes(file.replace(value, struct.pack("<II", 4, alignment)))
    power = alignment > 0 and not alignment & (alignment - 1)
    with pytest.raises(AdapterError, match="holds no lora_a" if power else "a power of 2 is needed"):
        open_adapter(path)


def test_gguf_of_every_type_that_is_read(tmp_path):
    A, B = normal(4, 32), normal(64, 4)
    half = B.astype("<f2")
    raw, meant = q8(A)
    cut = (A.view("<u4") >> 16).astype("<u2")
    as_bf16 = (cut.astype("<u4") << 16).view("<f4")
    embed_a, embed_b = normal(20, 4), normal(32, 4)
    experts_a, experts_b = normal(2, 4, 32), normal(2, 16, 4)
    path = gguf(
        tmp_path / "lora.gguf",
        {
            "blk.0.attn_q.weight.lora_a": (0, A.shape, A.tobytes()),
            "blk.0.attn_q.weight.lora_b": (1, B.shape, half.tobytes()),
            "blk.10.attn_q.weight.lora_a": (8, A.shape, raw),
            "blk.10.attn_q.weight.lora_b": (0, B.shape, B.tobytes()),
            "blk.2.attn_q.weight.lora_a": (30, A.shape, cut.tobytes()),
            "blk.2.attn_q.weight.lora_b": (0, B.shape, B.tobytes()),
            "blk.2.ffn_up_exps.weight.lora_a": (0, experts_a.shape, experts_a.tobytes()),
            "blk.2.ffn_up_exps.weight.lora_b": (0, experts_b.shape, experts_b.tobytes()),
            "token_embd.weight.lora_a": (0, embed_a.shape, embed_a.tobytes()),
            "token_embd.weight.lora_b": (0, embed_b.shape, embed_b.tobytes()),
        },
        general__type="adapter", adapter__type="lora", adapter__lora__alpha=8.0, general__architecture="llama",
        some__list=[1, 2, 3],
    )  # fmt: skip
    spectra = check(
        path,
        {
            "blk.0.attn_q": 2 * half.astype(float) @ A,
            "blk.10.attn_q": 2 * B @ meant,
            "blk.2.attn_q": 2 * B @ as_bf16,
            "token_embd": 2 * embed_b @ embed_a.T,
            **{f"blk.2.ffn_up_exps.{e}": 2 * experts_b[e] @ experts_a[e] for e in range(2)},
        },
        "gguf",
    )
    names = [matrix.name for matrix in spectra.adapter.matrices]
    assert names.index("blk.2.attn_q") < names.index("blk.10.attn_q")
    whole = path.read_bytes()
    for cut_at in range(0, len(whole), 101):
        path.write_bytes(whole[:cut_at])
        with pytest.raises(AdapterError) as caught:
            open_adapter(path)
        assert len(str(caught.value).splitlines()) == 1


def test_gguf_of_a_quantised_type_and_of_a_model_is_refused_by_name(tmp_path):
    tensors = {"a.weight.lora_a": (12, (4, 32), b""), "a.weight.lora_b": (0, (8, 4), normal(8, 4).tobytes())}
    path = gguf(tmp_path / "q.gguf", tensors, general__type="adapter", adapter__type="lora", adapter__lora__alpha=8.0)
    with pytest.raises(AdapterError, match=r"quantised \(type 12\).*--outtype f16"):
        analyse_adapter(open_adapter(path))
    with pytest.raises(AdapterError, match="it is no LoRA adapter but a model"):
        open_adapter(gguf(tmp_path / "m.gguf", {}, general__type="model"))


def peft_folder(folder: Path, layer: int = 0, **config: Any) -> Path:
    arrays = {}
    for part, shape in (("A", (2, 8)), ("B", (6, 2))):
        arrays[f"base_model.model.model.layers.{layer}.q_proj.lora_{part}.weight"] = normal(*shape)
    safetensors(folder / WEIGHTS, arrays)
    settings = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"], **config}
    (folder / CONFIG).write_text(json.dumps(settings))
    return folder


def test_a_file_in_shards(tmp_path):
    folder = peft_folder(tmp_path / "a")
    (folder / WEIGHTS).unlink()
    arrays = {f"base_model.model.model.layers.{n}.q_proj.lora_{p}.weight": normal(*s) for n in range(2)
              for p, s in (("A", (2, 8)), ("B", (6, 2)))}  # fmt: skip
    names = list(arrays)
    index = {}
    for number, own in enumerate((names[:3], names[3:]), 1):
        file = f"adapter_model-0000{number}-of-00002.safetensors"
        safetensors(folder / file, {name: arrays[name] for name in own})
        index |= dict.fromkeys(own, file)
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    expected = {f"model.layers.{n}.q_proj": 2 * arrays[names[2 * n + 1]] @ arrays[names[2 * n]] for n in range(2)}
    check(folder, expected, "peft")
    check(folder / f"{WEIGHTS}.index.json", expected, "peft")
    (folder / "adapter_model-00002-of-00002.safetensors").unlink()
    with pytest.raises(AdapterError, match="All of its files are needed"):
        open_adapter(folder)


def test_a_folder_of_checkpoints_names_them_in_natural_order(tmp_path):
    for number in (200, 1000, 50):
        peft_folder(tmp_path / "run" / f"checkpoint-{number}")
    peft_folder(tmp_path / "run" / "named" / "math")
    with pytest.raises(SeveralAdapters) as caught:
        open_adapter(tmp_path / "run")
    assert [path.name for path in caught.value.choices] == [
        "checkpoint-50", "checkpoint-200", "checkpoint-1000", "math",
    ]  # fmt: skip
    assert "holds 4 adapters: checkpoint-50, checkpoint-200, checkpoint-1000, named/math" in str(caught.value)
    peft_folder(tmp_path / "whole")
    peft_folder(tmp_path / "whole" / "checkpoint-10")
    assert open_adapter(tmp_path / "whole").notices[-1].endswith("which are not opened here: checkpoint-10.")
    peft_folder(tmp_path / "outer" / "inner")
    assert open_adapter(tmp_path / "outer").name == "inner"


def test_a_folder_of_loose_files_is_a_choice_too(tmp_path):
    for name in ("style", "face"):
        arrays = {f"lora_unet_a.lora_{side}.weight": normal(4, 4) for side in ("down", "up")}
        safetensors(tmp_path / f"{name}.safetensors", arrays)
    with pytest.raises(SeveralAdapters, match=r"face\.safetensors, style\.safetensors"):
        open_adapter(tmp_path)
    (tmp_path / "face.safetensors").unlink()
    assert open_adapter(tmp_path).format == "kohya"


def test_a_zip_opens_as_what_it_holds(tmp_path):
    folder = peft_folder(tmp_path / "a")
    with zipfile.ZipFile(tmp_path / "mine.zip", "w") as archive:
        for file in folder.iterdir():
            archive.write(file, f"inside/{file.name}")
        archive.writestr("__MACOSX/._adapter_model.safetensors", b"junk")
    adapter = open_adapter(tmp_path / "mine.zip")
    assert adapter.name == "mine"
    assert analyse_adapter(adapter).singular_values.keys() == {"model.layers.0.q_proj"}
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        for number in range(2):
            for file in folder.iterdir():
                archive.write(file, f"{number}/{file.name}")
    with pytest.raises(AdapterError, match=r"holds 2 adapters: 0, 1\. Unpack it"):
        open_adapter(tmp_path / "two.zip")
    (tmp_path / "no.zip").write_bytes(b"PK nothing")
    with pytest.raises(AdapterError, match="cannot be unpacked"):
        open_adapter(tmp_path / "no.zip")
    with zipfile.ZipFile(tmp_path / "text.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(AdapterError, match=r"no safetensors or GGUF file, but readme\.txt"):
        open_adapter(tmp_path / "text.zip")


def test_a_name_of_the_hub_is_one_line_without_network_or_client(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(AdapterError, match="is no path here, and cannot be fetched from the hub") as caught:
        open_adapter("nobody/has-this-adapter")
    assert len(str(caught.value).splitlines()) == 1
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(AdapterError, match="pip install huggingface_hub"):
        open_adapter("nobody/has-this-adapter")
    peft_folder(tmp_path / "nobody" / "has-this-adapter")
    assert open_adapter("nobody/has-this-adapter").format == "peft"


def test_a_repository_of_the_hub_is_fetched_file_by_file(tmp_path, monkeypatch):
    import huggingface_hub
    from huggingface_hub import HfApi

    asked: dict[str, Any] = {}

    class Sibling:
        def __init__(self, name: str, size: int) -> None:
            self.rfilename, self.size = name, size

    held = (CONFIG, WEIGHTS, "optimizer.pt", "model.safetensors", "README.md")
    info = SimpleNamespace(siblings=[Sibling(name, 10) for name in held])

    def fetched(name: str, allow_patterns: list[str]) -> str:
        asked["files"] = allow_patterns
        return str(peft_folder(tmp_path / "cache"))

    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr(HfApi, "model_info", lambda self, name, files_metadata: info)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetched)
    monkeypatch.chdir(tmp_path)
    assert open_adapter("someone/some-adapter").name == "some-adapter"
    assert asked["files"] == [CONFIG, WEIGHTS]
    info.siblings = [Sibling("model-00001-of-00002.safetensors", 10), Sibling("model-00002-of-00002.safetensors", 10)]
    with pytest.raises(AdapterError, match="holds no adapter that can be told from its names"):
        open_adapter("someone/some-model")
    info.siblings = [Sibling(WEIGHTS, 5 << 30)]
    with pytest.raises(AdapterError, match="at most 4,096 are fetched"):
        open_adapter("someone/some-adapter")


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 2962192\n"
INSTEAD = {
    "pointer": (POINTER, r"Git LFS pointer, not the file itself \(2,962,192 bytes\).*git lfs pull"),
    "page": (b"<!DOCTYPE html>\n<html><head><title>404</title>", "is a web page, not the file"),
    "answer": (b'{"error": "Repository not found"}', r"holds JSON text, not weights \(Repository not found\)"),
    "empty": (b"", "is empty. Download it again"),
    "older pointer": (POINTER.replace(b"git-lfs", b"hawser"), "Git LFS pointer"),
    "annex": (b"/annex/objects/SHA256E-s29--" + b"0" * 64 + b".safetensors\n", "pointer of git-annex.*git annex get"),
    "marked page": (b"\xef\xbb\xbf<!-- saved --><html>", "is a web page, not the file"),
    "bucket": (b"<Error><Code>AccessDenied</Code></Error>", "is a web page, not the file"),
    "nested answer": (b'{"error": {"message": "rate limit"}}', r"holds JSON text, not weights \(rate limit\)"),
    "words": (b"Entry not found", "holds text, not weights: 'Entry not found'"),
    "archive": (b"\x1f\x8b\x08" + b"a" * 20, "a gzip archive under another name"),
    "zeros": (bytes(4096), "holds only zeros"),
    "eight bytes": ((100).to_bytes(8, "little"), "is cut short: 8 of at least 108 bytes"),
    "pickle": (b"PK\x03\x04" + b"\0" * 100, "under another name"),
}


@pytest.mark.parametrize("case", INSTEAD)
def test_what_lies_in_place_of_weights_is_told_as_what_it_is(tmp_path, case):
    content, says = INSTEAD[case]
    folder = peft_folder(tmp_path / "a")
    (folder / WEIGHTS).write_bytes(content)
    with pytest.raises(AdapterError, match=says):
        open_adapter(folder)


@pytest.mark.parametrize("case", ["older pointer", "page", "words"])
def test_a_pickle_that_is_none_is_told_as_what_it_is(tmp_path, case):
    content, says = INSTEAD[case]
    (tmp_path / "adapter_model.bin").write_bytes(content)
    for path in (tmp_path, tmp_path / "adapter_model.bin"):
        with pytest.raises(AdapterError, match=says if case != "words" else "weights_only=True"):
            open_adapter(path)


def test_what_a_trainer_pickles_is_not_taken_for_weights(tmp_path):
    for name in ("training_args.bin", "optimizer.pt", "rng_state_0.pth", "scheduler.pt"):
        (tmp_path / name).write_bytes(b"\x80\x02}q\x00.")
    with pytest.raises(AdapterError, match=r"has no adapter_model\.safetensors; it holds"):
        open_adapter(tmp_path)


@pytest.mark.parametrize("content", [{"error": "Repository not found"}, {"detail": "Repository not found"}])
def test_an_answer_of_a_server_is_no_configuration(tmp_path, content):
    folder = peft_folder(tmp_path / "a")
    (folder / CONFIG).write_text(json.dumps(content))
    with pytest.raises(AdapterError, match="is the answer of a server, not the settings: Repository not found"):
        open_adapter(folder)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"dtype": "F16"}, r"lora_B.weight is F16 \[9, 4\] by its head, which takes 72 bytes, and has 144"),
        ({"dtype": "F64"}, r"which takes 288 bytes, and has 144"),
        ({"data_offsets": [0, 144]}, "lies where another tensor does"),
        ({"data_offsets": [132, 276]}, "leaves bytes before it that no tensor has"),
        ({}, "it has 4 bytes more than its tensors take"),
    ],
)
def test_a_head_that_contradicts_the_file_names_the_tensor(tmp_path, change, says):
    header = {
        "a.lora_A.weight": {"dtype": "F32", "shape": [4, 8], "data_offsets": [0, 128]},
        "a.lora_B.weight": {"dtype": "F32", "shape": [9, 4], "data_offsets": [128, 272], **change},
    }
    text = json.dumps(header).encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(276))
    with pytest.raises(AdapterError, match=f"a.safetensors is damaged: .*{says}"):
        open_adapter(path)


def test_the_case_of_a_suffix_does_not_matter(tmp_path):
    path = peft_folder(tmp_path / "a") / WEIGHTS
    assert open_adapter(path.rename(path.with_name("OTHER.SafeTensors"))).matrices
    assert open_adapter(tmp_path / "a").matrices


@pytest.mark.parametrize("case", ["pointer", "annex", "page", "empty"])
def test_what_lies_in_place_of_a_configuration_is_told_as_what_it_is(tmp_path, case):
    content, says = INSTEAD[case]
    folder = peft_folder(tmp_path / "a")
    (folder / CONFIG).write_bytes(content)
    with pytest.raises(AdapterError, match=f"^{CONFIG} .*" if case == "empty" else says):
        open_adapter(folder)


def test_a_cut_file_says_how_much_is_there(tmp_path):
    folder = peft_folder(tmp_path / "a")
    whole = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(whole[:-40])
    with pytest.raises(AdapterError, match=f"is cut short: {len(whole) - 40} of {len(whole)} bytes"):
        open_adapter(folder)


def test_the_recipe_for_a_pickle_works_as_it_is_written(tmp_path, monkeypatch):
    import shlex

    import torch

    folder = peft_folder(tmp_path / "a")
    expected = analyse_adapter(open_adapter(folder)).singular_values
    file, shared = open_adapter(folder).file, torch.zeros(4)
    tensors = {name: torch.from_numpy(file.read(name)).float() for name in file.tensors}
    torch.save({**tensors, "head.weight": shared, "head.tied": shared}, folder / "adapter_model.bin")
    (folder / WEIGHTS).unlink()
    with pytest.raises(AdapterError) as caught:
        open_adapter(folder)
    command = shlex.split(str(caught.value)[str(caught.value).index("python -c") :])
    monkeypatch.chdir(folder)
    assert command[:2] == ["python", "-c"] and len(command) == 3
    exec(command[2], {})
    found = analyse_adapter(open_adapter(folder)).singular_values
    assert all(np.allclose(found[name], values) for name, values in expected.items())


def test_a_pickle_of_a_kind_that_is_not_read_is_refused_before_anybody_converts_it(tmp_path):
    folder = peft_folder(tmp_path / "a", peft_type="PROMPT_TUNING")
    (folder / WEIGHTS).rename(folder / "adapter_model.bin")
    with pytest.raises(AdapterError, match="'PROMPT_TUNING': it trains what is put before the input"):
        open_adapter(folder)


def test_a_file_that_no_format_knows_is_refused(tmp_path):
    with pytest.raises(AdapterError, match="It is no LoRA adapter that is known here"):
        open_adapter(safetensors(tmp_path / "model.safetensors", {"encoder.weight": normal(3, 3)}))


def test_a_half_of_a_pair_is_named_in_every_format(tmp_path):
    for name in ("lora_unet_a.lora_down.weight", "unet.a.lora.up.weight", "a.lora_a", "lora_unet_a.hada_w1_a"):
        with pytest.raises(AdapterError, match="without its partner"):
            open_adapter(safetensors(tmp_path / "x.safetensors", {name: normal(4, 4)}))


def test_every_format_says_what_it_is():
    assert len({own.read for own in FORMATS}) == len(FORMATS)
    assert all(own.label and own.files and own.holds for own in FORMATS)


def test_a_matrix_that_would_not_fit_into_memory_is_refused_before_it_is_formed(tmp_path):
    header, end = {}, 0
    for part, shape in (
        ("w1_a", (40_000, 300)),
        ("w1_b", (300, 40_000)),
        ("w2_a", (40_000, 300)),
        ("w2_b", (300, 40_000)),
    ):
        size = 2 * shape[0] * shape[1]
        header[f"lora_unet_a.hada_{part}"] = {"dtype": "F16", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    with (tmp_path / "x.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        # Sparse: nothing is read of it.
        file.truncate(8 + len(text) + end)
    with pytest.raises(AdapterError, match="would take 12 GiB to form"):
        open_adapter(tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"use_qalora": True, "qalora_group_size": 10**30}, "qalora_group_size is 1"),
        (
            {"use_qalora": True, "qalora_group_size": 1 << 19, "base_model_name_or_path": "x-gptq"},
            "inputs by its configuration",
        ),
        ({"use_bdlora": {"target_modules_bd_a": ["q_proj"], "nblocks": 1 << 40}}, "cannot be"),
        ({"use_bdlora": True}, "does not say how many blocks"),
        ({"target_parameters": ["q_proj.weight"], "r": 7}, "how many experts share them is unknown"),
    ],
)
def test_a_configuration_that_asks_for_the_impossible_is_one_line(tmp_path, more, says):
    with pytest.raises(AdapterError, match=says):
        open_adapter(peft_folder(tmp_path / "a", **more))

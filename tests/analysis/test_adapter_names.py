"""Files under the names that image and video tools write: which scale each matrix has, and which cell."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from analysis.adapters import AdapterError, analyse_adapter, compress_adapter, open_adapter
from analysis.adapters.files import floats, numbers
from analysis.adapters.formats.module_paths import component_of
from flexlora.matrix_places import place_matrices
from tests.analysis.test_adapter_formats import UNET, check, flat, normal, safetensors


@pytest.mark.parametrize("start", ["", "diffusion_model.", "transformer."])
@pytest.mark.parametrize("name", ["double_blocks.0.img_attn.qkv", "blocks.3.self_attn.q"])
def test_an_alpha_beside_a_and_b_counts_under_every_name(tmp_path, start, name):
    A, B = normal(4, 8), normal(9, 4)
    arrays = {f"{start}{name}.lora_A.weight": A, f"{start}{name}.lora_B.weight": B}
    arrays[f"{start}{name}.alpha"] = np.array(2.0, "<f4")
    path = safetensors(tmp_path / "x.safetensors", arrays)
    shown = f"transformer.{name}" if start == "transformer." else name
    check(path, {shown: 0.5 * B @ A}, open_adapter(path).format)
    assert open_adapter(path).matrices[0].scale == 0.5


def test_an_alpha_may_be_a_whole_number(tmp_path):
    A, B = normal(4, 8), normal(9, 4)
    start = f"lora_unet_{flat(UNET)}"
    arrays = {f"{start}.alpha": np.array(2, "<i8"), f"{start}.lora_down.weight": A, f"{start}.lora_up.weight": B}
    path = safetensors(tmp_path / "x.safetensors", arrays)
    check(path, {f"unet.{UNET}": 0.5 * B @ A}, "kohya")
    # Half of it is no whole number: the written one keeps s.
    compress_adapter(analyse_adapter(open_adapter(path)), {f"unet.{UNET}": 1}, tmp_path / "smaller.safetensors")
    again = open_adapter(tmp_path / "smaller.safetensors")
    alpha = again.file.tensors[f"{start}.alpha"]
    assert float(numbers(again.file, alpha)) == again.matrices[0].scale == 0.5


def test_the_name_that_an_adapter_has_within_a_model_is_taken_out(tmp_path):
    A, B, name = normal(4, 8), normal(9, 4), f"transformer.{UNET}"
    arrays = {f"{name}.lora_A.mine.weight": A, f"{name}.lora_B.mine.weight": B}
    arrays[f"{name}.lora_magnitude_vector.mine"] = normal(9)
    check(safetensors(tmp_path / "x.safetensors", arrays), {name: B @ A}, "diffusers")
    arrays |= {f"{name}.lora_A.other.weight": A, f"{name}.lora_B.other.weight": B}
    with pytest.raises(AdapterError, match="several adapters: mine, other"):
        open_adapter(safetensors(tmp_path / "y.safetensors", arrays))


@pytest.mark.parametrize("said", ["unet.", "transformer.", "diffusion_model."])
@pytest.mark.parametrize("start", ["", "diffusion_model."])
def test_the_only_settings_in_a_header_are_those_of_names_without_a_part(tmp_path, said, start):
    A, B = normal(4, 8), normal(9, 4)
    metadata = {"lora_adapter_metadata": json.dumps({f"{said}r": 4, f"{said}lora_alpha": 8})}
    arrays = {f"{start}{UNET}.lora_A.weight": A, f"{start}{UNET}.lora_B.weight": B}
    spectra = check(safetensors(tmp_path / "x.safetensors", arrays, metadata), {UNET: 2 * B @ A}, "diffusers")
    assert spectra.notices == []
    (error,) = compress_adapter(spectra, {UNET: 2}, tmp_path / "smaller.safetensors")
    again = open_adapter(tmp_path / "smaller.safetensors")
    (C, D), (matrix,) = again.factors(UNET), again.matrices
    np.testing.assert_allclose(np.linalg.norm(2 * B @ A - matrix.scale * C @ D), error.frobenius, rtol=1e-4)


def test_a_part_that_the_header_says_nothing_of_is_told(tmp_path):
    A, B, other = normal(4, 8), normal(9, 4), "text_encoder.text_model.encoder.layers.0.self_attn.q_proj"
    metadata = {"lora_adapter_metadata": json.dumps({"unet.r": 4, "unet.lora_alpha": 8})}
    arrays = {f"{name}.lora_{part}.weight": factor for name in (f"unet.{UNET}", other) for part, factor in
              (("A", A), ("B", B))}  # fmt: skip
    spectra = check(
        safetensors(tmp_path / "x.safetensors", arrays, metadata),
        {f"unet.{UNET}": 2 * B @ A, other: B @ A},
        "diffusers",
    )
    assert [line for line in spectra.notices if "says nothing of" in line and other in line]


@pytest.mark.parametrize(
    "name",
    [
        "encoder.block.0.layer.1.DenseReluDense.wi_0", "blocks.0.cross_attn.kv_linear", "t_embedder.mlp.0",
        "img_emb.proj.1", "blocks.0.adaln_modulation_self_attn.1", "transformer_blocks.0.audio_to_video_attn.to_q",
        "double_stream_blocks.0.block.attn1.to_q_t", "distilled_guidance_layer.layers.0.in_layer",
    ],
)  # fmt: skip
def test_flat_names_part_where_the_model_does(name):
    assert component_of(f"lora_unet_{flat(name)}") == ("unet", name)


PLACES = [
    # A single stack keeps its name, also where all of it has one number.
    (["unet.down_blocks.0.attentions.0.proj_in", "unet.mid_block.attentions.0.proj_in"],
     ["down_blocks.0.attentions.0", "mid_block.attentions.0"]),
    (["unet.output_blocks.0.1.proj_in", "unet.input_blocks.4.1.proj_in"],
     ["output_blocks.0.1", "input_blocks.4.1"]),
    # Blocks of two stacks are no one layer, whichever matrices they have.
    (["double_blocks.0.img_attn.qkv", "single_blocks.0.linear1"], ["double_blocks.0", "single_blocks.0"]),
    (["vision.layers.1.q_proj", "language.layers.1.up_proj"], ["vision.1", "language.1"]),
    (["te.encoder.block.0.layer.0.SelfAttention.q", "te.encoder.block.0.layer.1.DenseReluDense.wo", "u.up_blocks.0.q",
      "u.up_blocks.0.wo"],
     ["te.encoder.0.0", "te.encoder.0.1", "u.up_blocks.0", "u.up_blocks.0"]),
    # Those of an encoder and its decoder are told apart by their types.
    (["encoder.block.0.layer.0.SelfAttention.q", "decoder.block.0.layer.0.SelfAttention.q"], ["", ""]),
]  # fmt: skip


@pytest.mark.parametrize(("names", "blocks"), PLACES)
def test_blocks_of_unlike_stacks_have_names(names, blocks):
    assert [place.block for place in place_matrices(names).values()] == blocks


@pytest.mark.parametrize(("end", "told"), [("oft_diag", "OFT"), ("a1.weight", "GLoRA")])
def test_a_file_of_another_method_alone_is_told_by_name(tmp_path, end, told):
    arrays = {f"lora_unet_{flat(UNET)}.{end}": normal(2, 4), f"lora_unet_{flat(UNET)}.alpha": np.array(1.0, "<f4")}
    with pytest.raises(AdapterError, match=told):
        open_adapter(safetensors(tmp_path / "x.safetensors", arrays))


def test_what_comfyui_does_to_a_base_weight_stands_beside(tmp_path):
    A, B, name = normal(4, 8), normal(9, 4), "diffusion_model.img_in"
    arrays = {f"{name}.lora_down.weight": A, f"{name}.lora_up.weight": B}
    arrays[f"{name}.reshape_weight"] = np.array([9, 8], "<i8")
    spectra = check(safetensors(tmp_path / "x.safetensors", arrays), {"img_in": B @ A}, "kohya")
    assert spectra.adapter.carried == [f"{name}.reshape_weight"]


@pytest.mark.parametrize(("kind", "bits"), [("F8_E4M3", "float8_e4m3fn"), ("F8_E5M2", "float8_e5m2")])
def test_numbers_of_eight_bits_are_read_and_written_in_sixteen(tmp_path, kind, bits):
    every = torch.arange(256, dtype=torch.uint8)
    np.testing.assert_array_equal(floats(bytes(range(256)), kind), every.view(getattr(torch, bits)).double().numpy())
    A, B = (torch.randn(*shape).to(getattr(torch, bits)) for shape in ((4, 8), (9, 4)))
    path = tmp_path / "x.safetensors"
    save_file({"unet.q.lora_A.weight": A, "unet.q.lora_B.weight": B}, path)
    spectra = check(path, {"unet.q": (B.float() @ A.float()).numpy()}, "diffusers")
    compress_adapter(spectra, {"unet.q": 2}, tmp_path / "smaller.safetensors")
    written = open_adapter(tmp_path / "smaller.safetensors")
    assert {tensor.dtype for tensor in written.file.tensors.values()} == {"BF16"}

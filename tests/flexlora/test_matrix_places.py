"""Where matrices stand beside each other: each in a cell of its own, named as the model names it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexlora.matrix_names import describe_matrix, module_type_order
from flexlora.matrix_places import natural_order, place_matrices, plain_path

UNET = [
    f"{block}.attentions.{number}.transformer_blocks.{inner}.{rest}"
    for block in ("down_blocks.1", "down_blocks.2", "mid_block", "up_blocks.0", "up_blocks.1")
    for number in (0, 1)
    for inner in (0, 1)
    for rest in (
        *(f"{attn}.{part}" for attn in ("attn1", "attn2") for part in ("to_q", "to_k", "to_v", "to_out.0")),
        "ff.net.0.proj",
        "ff.net.2",
    )
]
FAMILIES: dict[str, list[str]] = {
    "U-Net": [*UNET, "down_blocks.0.resnets.1.conv1", "mid_block.resnets.0.conv2", "conv_in", "time_embed.linear_1"],
    "pipeline": [*(f"unet.{name}" for name in UNET), "text_encoder.text_model.encoder.layers.0.self_attn.q_proj"],
    "Flux of diffusers": [
        f"{stack}.{number}.{rest}"
        for stack in ("transformer_blocks", "single_transformer_blocks")
        for number in range(12)
        for rest in ("attn.to_q", "attn.add_q_proj", "ff.net.0.proj", "ff_context.net.0.proj", "attn.to_out.0")
    ],
    "Flux": [
        f"{stack}.{number}.{rest}"
        for stack, rests in {
            "double_blocks": ("img_attn.qkv", "txt_attn.qkv", "img_mlp.0", "img_mlp.2", "txt_mlp.0", "img_mod.lin"),
            "single_blocks": ("linear1", "linear2", "modulation.lin"),
        }.items()
        for number in range(3)
        for rest in rests
    ],
    "vision beside language": [
        f"model.{tower}.layers.{number}.{part}"
        for tower in ("vision_tower.vision_model.encoder", "language_model")
        for number in range(3)
        for part in ("self_attn.q_proj", "mlp.fc1", "mlp.up_proj")
    ],
    "experts": [
        f"model.layers.{layer}.{rest}"
        for layer in range(2)
        for rest in (
            *(f"mlp.experts.{number}.{part}_proj" for number in range(12) for part in ("up", "gate", "down")),
            *(f"mlp.shared_expert.{part}_proj" for part in ("up", "gate", "down")),
            "self_attn.q_proj",
            "mlp.gate",
        )
    ],
    "Swin": [
        f"swin.encoder.layers.{stage}.blocks.{block}.{rest}"
        for stage in range(2)
        for block in range(2)
        for rest in ("attention.self.query", "attention.output.dense", "intermediate.dense", "output.dense")
    ],
    "SegFormer": [
        f"segformer.encoder.block.{stage}.{block}.{rest}"
        for stage in range(2)
        for block in range(2)
        for rest in ("attention.self.query", "attention.self.sr", "attention.output.dense", "mlp.dense1", "mlp.dense2")
    ],
    "Mamba": [
        f"backbone.layers.{number}.mixer.{part}" for number in range(2) for part in ("in_proj", "x_proj", "out_proj")
    ],
    "T5": [f"{side}.block.{n}.layer.0.SelfAttention.q" for side in ("encoder", "decoder") for n in (0, 1)],
    "CLIP": [f"{side}_model.encoder.layers.{n}.self_attn.q_proj" for side in ("text", "vision") for n in (0, 1)],
    "audio codec": [f"{side}.layers.{n}.conv" for side in ("encoder", "decoder") for n in (0, 3)],
}  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_every_matrix_has_a_cell_of_its_own(family):
    names = FAMILIES[family]
    found = place_matrices(names)
    assert len({(place.block or place.layer, place.module_type) for place in found.values()}) == len(names)
    for name, place in found.items():
        # A block is called as the model calls it.
        words = iter(name.split("."))
        assert all(word in words for word in place.block.split(".") if word)
        assert place.layer == describe_matrix(name)[0]


@pytest.mark.parametrize(
    ("family", "name", "block", "kind"),
    [
        ("U-Net", UNET[4], "down_blocks.1.attentions.0.transformer_blocks.0", "attn2.query"),
        ("U-Net", "down_blocks.0.resnets.1.conv1", "down_blocks.0.resnets.1", "conv1"),
        ("Flux", "double_blocks.2.txt_attn.qkv", "double_blocks.2", "txt_attn.qkv"),
        ("Flux of diffusers", "single_transformer_blocks.10.attn.to_q", "single_transformer_blocks.10", "query"),
        ("vision beside language", "model.language_model.layers.2.mlp.up_proj", "language_model.2", "up"),
        ("experts", "model.layers.1.mlp.experts.10.gate_proj", "1.mlp.experts.10", "gate"),
        ("Swin", "swin.encoder.layers.1.blocks.0.attention.self.query", "1.0", "query"),
        ("Mamba", "backbone.layers.1.mixer.in_proj", "", "mixer.in_proj"),
        ("T5", "decoder.block.1.layer.0.SelfAttention.q", "", "decoder_query"),
        ("CLIP", "vision_model.encoder.layers.1.self_attn.q_proj", "vision_model.encoder.1", "query"),
    ],
)
def test_blocks_are_named_as_the_model_names_them(family, name, block, kind):
    place = place_matrices(FAMILIES[family])[name]
    assert (place.block, place.module_type) == (block, kind)


@given(st.lists(st.text("ab_12.", min_size=1, max_size=9), min_size=1, max_size=8, unique=True))
def test_any_names_are_told_apart(names):
    found = place_matrices(names)
    assert list(found) == names
    cells = {(place.block, None if place.block else place.layer, place.module_type) for place in found.values()}
    assert len(cells) == len(names)


def test_two_stands_before_ten_and_an_encoder_before_its_decoder():
    names = ["decoder.layers.1.q", "encoder.layers.10.q", "encoder.layers.2.q", "a.1", "a.1.b"]
    assert sorted(names, key=natural_order) == [
        "a.1", "a.1.b", "encoder.layers.2.q", "encoder.layers.10.q", "decoder.layers.1.q",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        "model.layers.0.q_proj", "language_model.model.layers.0.q_proj", "model.language_model.layers.0.q_proj",
        "_orig_mod.model.layers.0.q_proj", "base_model.model.model.layers.0.q_proj", "module.model.layers.0.q_proj",
        "model.layers.0._orig_mod.q_proj",
    ],
)  # fmt: skip
def test_one_model_has_one_path_under_every_wrapper(name):
    assert plain_path(name) == "layers.0.q_proj"


def test_towers_keep_their_names():
    assert plain_path("model.vision_tower.layers.0.q") != plain_path("model.language_model.layers.0.q")


def test_types_with_a_word_before_them_stand_with_theirs():
    types = ["up", "attn2.query", "attn1.query", "query", "attn1.attn_out", "zebra"]
    assert module_type_order(types) == ["query", "attn1.query", "attn2.query", "attn1.attn_out", "up", "zebra"]

"""Layer and module type of real module names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexlora.matrix_names import MODULE_TYPES, describe_matrix, module_type_order

KNOWN = {
    "bert.encoder.layer.3.attention.self.query": (3, "query"),
    "bert.encoder.layer.3.attention.self.key": (3, "key"),
    "bert.encoder.layer.3.attention.self.value": (3, "value"),
    "bert.encoder.layer.3.attention.output.dense": (3, "attn_out"),
    "bert.encoder.layer.11.intermediate.dense": (11, "ffn_in"),
    "bert.encoder.layer.11.output.dense": (11, "ffn_out"),
    "bert.pooler.dense": (None, "pooler.dense"),
    "distilbert.transformer.layer.0.attention.q_lin": (0, "query"),
    "distilbert.transformer.layer.0.attention.k_lin": (0, "key"),
    "distilbert.transformer.layer.0.attention.v_lin": (0, "value"),
    "distilbert.transformer.layer.0.attention.out_lin": (0, "attn_out"),
    "distilbert.transformer.layer.0.ffn.lin1": (0, "ffn_in"),
    "distilbert.transformer.layer.0.ffn.lin2": (0, "ffn_out"),
    "roberta.encoder.layer.2.attention.self.query": (2, "query"),
    "deberta.encoder.layer.5.attention.self.query_proj": (5, "query"),
    "deberta.encoder.layer.5.attention.self.key_proj": (5, "key"),
    "deberta.encoder.layer.5.attention.self.value_proj": (5, "value"),
    "deberta.encoder.layer.5.attention.output.dense": (5, "attn_out"),
    "vit.encoder.layer.1.attention.attention.query": (1, "query"),
    "vit.encoder.layer.1.attention.output.dense": (1, "attn_out"),
    "vit.layers.1.attention.q_proj": (1, "query"),
    "vit.layers.1.attention.o_proj": (1, "attn_out"),
    "vit.layers.1.mlp.fc1": (1, "ffn_in"),
    "vit.layers.1.mlp.fc2": (1, "ffn_out"),
    "transformer.h.7.attn.c_attn": (7, "qkv"),
    "transformer.h.7.attn.c_proj": (7, "attn_out"),
    "transformer.h.7.mlp.c_fc": (7, "ffn_in"),
    "transformer.h.7.mlp.c_proj": (7, "ffn_out"),
    "model.layers.31.self_attn.q_proj": (31, "query"),
    "model.layers.31.self_attn.o_proj": (31, "attn_out"),
    "model.layers.31.mlp.gate_proj": (31, "gate"),
    "model.layers.31.mlp.up_proj": (31, "up"),
    "model.layers.31.mlp.down_proj": (31, "down"),
    "encoder.block.4.layer.0.SelfAttention.q": (4, "query"),
    "encoder.block.4.layer.0.SelfAttention.o": (4, "attn_out"),
    "encoder.block.4.layer.1.DenseReluDense.wi": (4, "ffn_in"),
    "encoder.block.4.layer.1.DenseReluDense.wi_0": (4, "gate"),
    "encoder.block.4.layer.1.DenseReluDense.wo": (4, "ffn_out"),
    "decoder.block.4.layer.0.SelfAttention.q": (4, "decoder_query"),
    "decoder.block.4.layer.1.EncDecAttention.q": (4, "decoder_cross_query"),
    "decoder.block.4.layer.1.EncDecAttention.o": (4, "decoder_cross_attn_out"),
    "decoder.block.4.layer.2.DenseReluDense.wo": (4, "decoder_ffn_out"),
    "model.encoder.layers.0.self_attn.out_proj": (0, "attn_out"),
    "model.decoder.layers.0.encoder_attn.k_proj": (0, "decoder_cross_key"),
    "gpt_neox.layers.6.attention.query_key_value": (6, "qkv"),
    "gpt_neox.layers.6.attention.dense": (6, "attn_out"),
    "gpt_neox.layers.6.mlp.dense_h_to_4h": (6, "ffn_in"),
    "net.0": (0, "net"),
    "layers.2.mixer.odd": (2, "mixer.odd"),
    "linear": (None, "linear"),
    "0": (0, "0"),
}


@pytest.mark.parametrize("name", KNOWN)
def test_real_names_are_understood(name):
    assert describe_matrix(name) == KNOWN[name]


@pytest.mark.parametrize(
    "family", ["bert.encoder.layer.3", "transformer.h.7", "decoder.block.4", "encoder.block.4", "vit.layers.1"]
)
def test_no_two_matrices_of_a_layer_share_a_type(family):
    found = [describe_matrix(name) for name in KNOWN if name.startswith(family + ".")]
    assert len(set(found)) == len(found) > 1


@given(st.lists(st.text("abq_19", min_size=1, max_size=5), min_size=1, max_size=6).map(".".join))
def test_any_name_is_described(name):
    layer, kind = describe_matrix(name)
    assert kind
    numbers = [part for part in name.split(".") if part.isdecimal()]
    assert layer == (int(numbers[0]) if numbers else None)


@given(st.permutations(["decoder_query", "ffn_out", "query", "zebra", "attn_out", "alpha", "query"]))
def test_types_are_shown_in_the_order_of_the_data_flow(types):
    assert module_type_order(types) == ["query", "attn_out", "ffn_out", "decoder_query", "alpha", "zebra"]


def test_every_type_has_one_place():
    assert module_type_order(MODULE_TYPES) == list(MODULE_TYPES)

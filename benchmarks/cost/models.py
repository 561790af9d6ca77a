"""Models with random weights and batches of random tokens, the same for every contestant."""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AttentionInterface,
    AttentionMaskInterface,
    BertConfig,
    BertForSequenceClassification,
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
)
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from cost.shapes import CostError, Shape

HEADS = ("classifier", "pooler")
"""Modules outside the body that every contestant trains whole."""

BATCHES = 4

# With a mask of ones an eager step finds by itself that it needs none, by reading it back from the device; a compiled
# or captured step cannot read it and would attend through a full mask instead. Without one, all attend alike.
AttentionInterface.register("unpadded", sdpa_attention_forward)
AttentionMaskInterface.register("unpadded", lambda *args, **options: None)


def build_model(shape: Shape, device: torch.device, *, static: bool = False) -> nn.Module:
    """Return a new model in training mode, frozen but for its head.

    Args:
        shape: what to build; weights are drawn from seed 0.
        device: where.
        static: leave out what a stream capture forbids and these batches do not need: random state kept by activation
            checkpointing (Llama has no dropout) and DeBERTa's positions made on the host at every step.
    """
    make = {"deberta": _deberta, "bert": _bert, "llama": _llama}[shape.family]
    before = torch.get_default_dtype()
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), device:
        torch.manual_seed(0)
        torch.set_default_dtype(torch.bfloat16 if shape.half_weights else torch.float32)
        try:
            model = make(shape)
        finally:
            torch.set_default_dtype(before)
    if shape.packed:
        _pack(model, device)
    for name, parameter in model.named_parameters():
        if parameter.is_floating_point():
            parameter.requires_grad_(name.split(".")[0] in HEADS)
    if shape.checkpointing:
        how = {"use_reentrant": False, "preserve_rng_state": not static}
        # Its name since transformers 5.20; the older one warns there.
        enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
        enable(how)
    if static and shape.family == "deberta":
        _keep_positions(model)
    return model.train()


def share_frozen(model: nn.Module, frozen: dict[str, Tensor]) -> None:
    """Let frozen matrices be those in ``frozen``, so that many models fit beside each other; add those that miss there.

    Vectors stay its own: they are small, and whoever has nothing else to train trains one.
    """
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1 and parameter.is_floating_point() and not parameter.requires_grad:
            parameter.data = frozen.setdefault(name, parameter.data)


def make_batches(shape: Shape, device: torch.device, number: int = BATCHES) -> list[dict[str, Tensor]]:
    """Return batches of random tokens without padding: input_ids and attention_mask (batch, length), labels."""
    generator = torch.Generator().manual_seed(1)
    batches = []
    for _ in range(number):
        ids = torch.randint(5, shape.vocabulary, (shape.batch, shape.length), generator=generator)
        labels = ids if shape.family == "llama" else torch.randint(0, 2, (shape.batch,), generator=generator)
        batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}
        batches.append({key: value.to(device) for key, value in batch.items()})
    return batches


def _common(shape: Shape) -> dict[str, Any]:
    return {
        "hidden_size": shape.hidden, "num_hidden_layers": shape.layers, "num_attention_heads": shape.heads,
        "intermediate_size": shape.intermediate, "vocab_size": shape.vocabulary,
    }  # fmt: skip


def _classifier(shape: Shape) -> dict[str, Any]:
    # Without the problem's type DeBERTa asks the device which labels are there, at every step.
    return {
        "hidden_dropout_prob": shape.dropout, "attention_probs_dropout_prob": shape.dropout,
        "problem_type": "single_label_classification", "num_labels": 2,
    }  # fmt: skip


def _deberta(shape: Shape) -> nn.Module:
    config = DebertaV2Config(
        **_common(shape), **_classifier(shape), max_position_embeddings=512, relative_attention=True,
        position_buckets=256, norm_rel_ebd="layer_norm", share_att_key=True, pos_att_type=["p2c", "c2p"],
        max_relative_positions=-1, position_biased_input=False, type_vocab_size=0, layer_norm_eps=1e-7,
    )  # fmt: skip
    return DebertaV2ForSequenceClassification(config)


def _bert(shape: Shape) -> nn.Module:
    config = BertConfig(**_common(shape), **_classifier(shape), attn_implementation=shape.attention)
    return BertForSequenceClassification(config)


def _llama(shape: Shape) -> nn.Module:
    config = LlamaConfig(
        **_common(shape), num_key_value_heads=shape.key_value_heads, max_position_embeddings=4096, use_cache=False,
        tie_word_embeddings=False, attn_implementation=shape.attention,
    )  # fmt: skip
    return LlamaForCausalLM(config)


def _pack(model: nn.Module, device: torch.device) -> None:
    """Put bitsandbytes' 4-bit layers in the place of the body's linear ones, one after another."""
    try:
        from bitsandbytes.nn import Linear4bit, Params4bit
    except ImportError:
        raise CostError("not available: pip install bitsandbytes") from None
    for name, module in list(model.named_modules()):
        if type(module) is nn.Linear and ".layers." in name:
            parent, _, leaf = name.rpartition(".")
            # Weights of its own would be drawn on the host, minutes for nothing.
            with torch.device("meta"):
                packed = Linear4bit(module.in_features, module.out_features, False, torch.bfloat16, quant_type="nf4")
            weight = Params4bit(module.weight.data, requires_grad=False, quant_type="nf4", module=packed)
            packed.weight = weight.to(device)
            packed.bias = module.bias
            setattr(model.get_submodule(parent), leaf, packed)
    # By this PEFT tells such layers from plain ones.
    setattr(model, "is_loaded_in_4bit", True)  # noqa: B010 - a module may hold any attribute


def _keep_positions(model: nn.Module) -> None:
    encoder = model.get_submodule("deberta.encoder")
    make, kept = encoder.get_rel_pos, {}

    def get_rel_pos(self: nn.Module, hidden: Tensor, *others: Any) -> Tensor:
        length = hidden.shape[-2]
        if length not in kept:
            kept[length] = make(hidden, *others)
        return kept[length]

    setattr(encoder, "get_rel_pos", MethodType(get_rel_pos, encoder))  # noqa: B010 - a module may hold a method

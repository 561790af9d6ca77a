"""What a matrix is, read from its dotted module name: layer and module type."""

from __future__ import annotations

from collections.abc import Iterable

MODULE_TYPES = (
    "query",
    "key",
    "value",
    "qkv",
    "attn_out",
    "cross_query",
    "cross_key",
    "cross_value",
    "cross_attn_out",
    "ffn_in",
    "gate",
    "up",
    "gate_up",
    "down",
    "ffn_out",
)
"""Module types that have a name of their own, in the order in which data flows through a layer."""

_BY_LAST_PART = {
    **dict.fromkeys(("query", "query_proj", "q_proj", "q_lin", "q_attn", "wq"), "query"),
    **dict.fromkeys(("key", "key_proj", "k_proj", "k_lin", "wk"), "key"),
    **dict.fromkeys(("value", "value_proj", "v_proj", "v_lin", "wv"), "value"),
    **dict.fromkeys(("c_attn", "qkv", "qkv_proj", "in_proj", "query_key_value"), "qkv"),
    **dict.fromkeys(("o_proj", "out_lin"), "attn_out"),
    **dict.fromkeys(("c_fc", "fc1", "lin1", "wi", "dense_h_to_4h", "fc_in"), "ffn_in"),
    **dict.fromkeys(("fc2", "lin2", "dense_4h_to_h", "fc_out"), "ffn_out"),
    **dict.fromkeys(("gate_proj", "wi_0"), "gate"),
    **dict.fromkeys(("up_proj", "wi_1"), "up"),
    **dict.fromkeys(("gate_up_proj",), "gate_up"),
    **dict.fromkeys(("down_proj",), "down"),
}
"""Last parts that mean the same in every model family."""

_IN_ATTENTION = {
    **dict.fromkeys(("q",), "query"),
    **dict.fromkeys(("k",), "key"),
    **dict.fromkeys(("v",), "value"),
    **dict.fromkeys(("o", "wo", "out", "dense", "c_proj", "out_proj", "proj"), "attn_out"),
}
"""Last parts that need an attention module above them."""


def describe_matrix(name: str) -> tuple[int | None, str]:
    """Return (layer, module type) of a matrix, such as ``bert.encoder.layer.3.attention.self.query``.

    The layer is the first number in the path, None without one. The type is one of ``MODULE_TYPES``, with ``decoder_``
    before it below a module called decoder; where none is recognised, the last meaningful parts of the path.
    """
    parts = name.split(".")
    numbers = [index for index, part in enumerate(parts) if part.isdecimal()]
    layer = int(parts[numbers[0]]) if numbers else None
    own = parts[numbers[-1] + 1 :] if numbers else parts
    kind = _module_type(own)
    if kind is None:
        words = own or [part for part in parts if not part.isdecimal()][-1:] or parts
        return layer, ".".join(words[-2:])
    return layer, f"decoder_{kind}" if "decoder" in parts else kind


def module_type_order(types: Iterable[str]) -> list[str]:
    """Return the distinct types for display: in the order of ``MODULE_TYPES``, decoder types next, the rest by name."""
    known = [*MODULE_TYPES, *(f"decoder_{kind}" for kind in MODULE_TYPES)]
    places = {kind: place for place, kind in enumerate(known)}
    return sorted(set(types), key=lambda kind: (places.get(kind, len(known)), kind))


def _module_type(own: list[str]) -> str | None:
    if not own:
        return None
    last, above = own[-1].lower(), [part.lower() for part in own[:-1]]
    in_attention = any("attn" in part or "attention" in part for part in above)
    kind = _BY_LAST_PART.get(last)
    if kind is None and in_attention:
        kind = _IN_ATTENTION.get(last)
    if kind is None:
        kind = _in_feed_forward(last, above)
    crossed = any("cross" in part or "encdec" in part or part == "encoder_attn" for part in above)
    if crossed and kind in ("query", "key", "value", "attn_out"):
        return f"cross_{kind}"
    return kind


def _in_feed_forward(last: str, above: list[str]) -> str | None:
    """BERT, GPT-2 and T5 name the feed-forward layers like others: the module above decides."""
    parent = above[-1] if above else ""
    if last == "dense" and parent in ("intermediate", "output"):
        return "ffn_in" if parent == "intermediate" else "ffn_out"
    if last in ("c_proj", "wo", "proj") and parent in ("mlp", "ffn", "densereludense"):
        return "ffn_out"
    return None


def place_label(layer: int | None, module_type: str) -> str:
    """Return a short name of a matrix: "layer 3 ffn_out"."""
    return module_type if layer is None else f"layer {layer} {module_type}"

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
    **dict.fromkeys(("query", "query_proj", "q_proj", "q_lin", "q_attn", "wq", "to_q", "attn_q"), "query"),
    **dict.fromkeys(("key", "key_proj", "k_proj", "k_lin", "wk", "to_k", "attn_k"), "key"),
    **dict.fromkeys(("value", "value_proj", "v_proj", "v_lin", "wv", "to_v", "attn_v"), "value"),
    **dict.fromkeys(("c_attn", "qkv", "qkv_proj", "query_key_value", "to_qkv", "attn_qkv"), "qkv"),
    **dict.fromkeys(("o_proj", "out_lin", "to_out", "attn_output"), "attn_out"),
    **dict.fromkeys(("c_fc", "fc1", "lin1", "wi", "dense_h_to_4h", "fc_in"), "ffn_in"),
    **dict.fromkeys(("fc2", "lin2", "dense_4h_to_h", "fc_out"), "ffn_out"),
    **dict.fromkeys(("gate_proj", "wi_0", "ffn_gate"), "gate"),
    **dict.fromkeys(("up_proj", "wi_1", "ffn_up"), "up"),
    **dict.fromkeys(("gate_up_proj",), "gate_up"),
    **dict.fromkeys(("down_proj", "ffn_down"), "down"),
}
"""Last parts that mean the same in every model family."""

_IN_ATTENTION = {
    **dict.fromkeys(("q",), "query"),
    **dict.fromkeys(("in_proj",), "qkv"),
    **dict.fromkeys(("k",), "key"),
    **dict.fromkeys(("v",), "value"),
    **dict.fromkeys(("o", "wo", "out", "dense", "c_proj", "out_proj", "proj"), "attn_out"),
}
"""Last parts that need an attention module above them."""


_SEQUENTIAL = frozenset(
    {
        "net", "to_out", "mlp", "ff", "ffn", "fc", "proj", "head", "classifier", "img_mlp", "txt_mlp", "img_mod",
        "txt_mod",
        "emb_layers", "in_layers", "out_layers", "adaLN_modulation", "feed_forward", "time_embed", "label_emb",
    }
)  # fmt: skip
"""Modules whose numbers count steps within a layer, not layers."""


def split_name(name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the path up to the last number that counts layers, and the rest: which matrix of that layer."""
    parts = tuple(part for part in name.split(".") if part != "base_layer")
    numbers = [index for index, part in enumerate(parts) if part.isdecimal()]
    counting = [
        index
        for index in numbers[1:]
        if index < len(parts) - 1 and not parts[index - 1].isdecimal() and parts[index - 1] not in _SEQUENTIAL
    ]
    # A number right after one, as in block.0.1, counts layers too, unless nothing follows it.
    counting += [i for i in numbers[1:] if i < len(parts) - 1 and parts[i - 1].isdecimal()]
    last = max([*numbers[:1], *counting], default=-1)
    head, tail = parts[: last + 1], parts[last + 1 :]
    if tail and all(part.isdecimal() for part in tail):
        tail = (next((part for part in reversed(head) if not part.isdecimal()), tail[0]), *tail)
    if not tail:
        tail = tuple(part for part in parts if not part.isdecimal())[-1:] or parts[-1:]
    return head, tail


def kind_of_tail(tail: tuple[str, ...]) -> str:
    """Return the module type that the rest of a name says, as in ``describe_matrix``; else its last two words."""
    return _module_type(list(tail)) or ".".join(tail[-2:])


def describe_matrix(name: str) -> tuple[int | None, str]:
    """Return (layer, module type) of a matrix, such as ``bert.encoder.layer.3.attention.self.query``.

    The layer is the first number in the path, None without one. The type is one of ``MODULE_TYPES``, with ``decoder_``
    before it below a module called decoder; where none is recognised, the last meaningful parts of the path.
    """
    parts = name.split(".")
    layer = next((int(part) for part in parts if part.isdecimal()), None)
    _, tail = split_name(name)
    kind = _module_type(list(tail))
    if kind is None:
        return layer, ".".join(tail[-2:])
    return layer, f"decoder_{kind}" if "decoder" in parts else kind


def module_type_order(types: Iterable[str]) -> list[str]:
    """Return the distinct types for display: in the order of ``MODULE_TYPES``, decoder types next, the rest by name."""
    known = [*MODULE_TYPES, *(f"decoder_{kind}" for kind in MODULE_TYPES)]
    places = {kind: place for place, kind in enumerate(known)}

    def order(kind: str) -> tuple[int, int, str]:
        # attn2.query stands with the queries, after attn1.query.
        own = places.get(kind, len(known))
        return (own, 0, kind) if own < len(known) else (places.get(kind.rpartition(".")[2], own), 1, kind)

    return sorted(set(types), key=order)


def _module_type(own: list[str]) -> str | None:
    if not own:
        return None
    words = [part.lower() for part in own if not part.isdecimal()]
    if not words:
        return None
    last, above = words[-1], words[:-1]
    if words[-2:] == ["net", "proj"] or last == "net":
        # diffusers: ff.net.0.proj and ff.net.2.
        return _of_net(own)
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


def _of_net(own: list[str]) -> str | None:
    above = [part.lower() for part in own if not part.isdecimal()]
    if not any("ff" in part or part.endswith("mlp") for part in above):
        return None
    return "ffn_in" if above[-1] == "proj" else "ffn_out" if own[-1].isdecimal() and own[-1] != "0" else None


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

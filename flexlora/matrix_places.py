"""Where the matrices of one model stand beside each other: every one in a cell of its own, in natural order."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from flexlora.matrix_names import describe_matrix, kind_of_tail, split_name

GENERIC = ("model", "layers", "layer", "blocks", "block", "h")
"""Words of a path that are left out of a block's name where the others tell it."""
WRAPPERS = frozenset(
    {
        "_orig_mod", "base_model", "base_layer", "module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module",
        "model", "language_model", "text_model", "default", "processor",
    }
)  # fmt: skip
"""Words that a wrapper or another class of the same model puts into a name."""

PARTS = ("unet", "transformer", "diffusion_model")
"""First words that some tools write before the names of a model, and others leave out."""

_DIGITS = re.compile(r"(\d+)")


class MatrixPlace(NamedTuple):
    """A cell of the map.

    Attributes:
        layer: the first number in the name; None without one.
        module_type: as ``describe_matrix`` says it, with the words before it that tell it from others of its block.
        block: which stack and layer of several, such as ``down_blocks.1.attentions.0``; empty where the layer tells.
    """

    layer: int | None
    module_type: str
    block: str = ""


def natural_order(name: str) -> list[tuple[int, int, str]]:
    """Return what to sort names by: 2 before 10, an encoder before its decoder."""
    parts = _DIGITS.split(name.replace("decoder", "encoder~"))
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]


def plain_path(name: str) -> str:
    """Return a name without what wrappers and renamed classes put into it, so that one model's names agree."""
    parts = [part for part in name.split(".") if part not in WRAPPERS]
    if len(parts) > 1 and parts[0] in PARTS:
        parts = parts[1:]
    # Older diffusers have one layer where newer ones have a layer and its dropout.
    return ".".join(parts[:-1] if parts[-2:] == ["to_out", "0"] else parts)


def place_matrices(names: Sequence[str]) -> dict[str, MatrixPlace]:
    """Return name → its place; no two of them share (block or layer, module type).

    Layer and type suffice for most models. Where they do not (U-Nets, towers, experts), the block is the path up to the
    last number that counts layers, as the model names it, without words that all blocks have.
    """
    plain = {name: describe_matrix(name) for name in names}
    split = {name: split_name(name) for name in names}
    if len(set(plain.values())) == len(plain) and not _several_stacks(names):
        return {name: MatrixPlace(*place) for name, place in plain.items()}
    kinds = _kinds(split.values())
    blocks = _block_names({head for head, _ in split.values()})
    found = {name: MatrixPlace(plain[name][0], kinds[tail], blocks[head]) for name, (head, tail) in split.items()}
    if len({(place.block, place.module_type) for place in found.values()}) < len(found):
        return {name: MatrixPlace(plain[name][0], plain[name][1], name) for name in names}
    return found


Words = tuple[str, ...]


def _several_stacks(names: Iterable[str]) -> bool:
    """True where layers stand in several stacks, as in ``double_blocks.0`` and ``single_blocks.0``.

    An encoder and its decoder are told apart by their module types. A number that ends a name counts steps of a head or
    an embedder: it only matters where a layer has the same.
    """
    stacks: dict[str, set[Words]] = {}
    layered: set[Words] = set()
    for name in names:
        words = tuple("encoder" if word == "decoder" else word for word in name.split("."))
        at = next((place for place, word in enumerate(words) if word.isdecimal()), None)
        if at is not None:
            stacks.setdefault(words[at], set()).add(words[:at])
            if at < len(words) - 1:
                layered.add(words[:at])
    return len(layered) > 1 or any(len(own) > 1 for own in stacks.values())


def _kinds(split: Iterable[tuple[Words, Words]]) -> dict[Words, str]:
    """Return tail of a name → its module type, with more words where a block has two tails of one type."""
    pairs = list(split)
    kind = {tail: kind_of_tail(tail) for _, tail in pairs}
    beside: dict[tuple[Words, str], set[Words]] = {}
    for head, tail in pairs:
        beside.setdefault((head, kind[tail]), set()).add(tail)
    unclear: dict[str, set[Words]] = {}
    for (_, one), tails in beside.items():
        if len(tails) > 1:
            unclear.setdefault(one, set()).update(tails)
    for one, group in unclear.items():
        common = set.intersection(*(set(tail) for tail in group))
        labels = {tail: ".".join([*(word for word in tail[:-1] if word not in common), one]) for tail in group}
        if len(set(labels.values())) < len(group):
            labels = {tail: ".".join(tail) for tail in group}
        kind |= labels
    return kind


def _block_names(heads: set[Words]) -> dict[Words, str]:
    """Return path of a block → the shortest name that it has among the others."""
    paths = [head for head in heads if head]
    start = 0
    # The outermost stack stays, whatever all of them share within it.
    most = min((max(0, next(at for at, w in enumerate(p) if w.isdecimal()) - 1) for p in paths), default=0)
    while start < most and len({path[: start + 1] for path in paths}) == 1 and all(len(p) > start + 2 for p in paths):
        start += 1
    # A number means nothing without the word before it.
    start -= start > 0 and any(path[start].isdecimal() for path in paths)
    found = {head: head[start:] for head in heads}
    pairs: dict[str, set[str]] = {}
    for head in found.values():
        for word, number in itertools.pairwise(head[1:]):
            if number.isdecimal() and not word.isdecimal():
                pairs.setdefault(word, set()).add(number)
    # The outermost stack tells where a block is: only numbers within it may go without saying.
    outer = {next((w for w, n in itertools.pairwise(head) if n.isdecimal()), "") for head in found.values()}
    for word, numbers in pairs.items():
        if len(numbers) == 1 and word not in outer:
            found = _shorter(found, {head: _without_pair(own, word) for head, own in found.items()})
    for word in GENERIC:
        found = _shorter(found, {head: tuple(part for part in own if part != word) for head, own in found.items()})
    return {head: ".".join(own) for head, own in found.items()}


def _shorter(before: dict[Words, Words], after: dict[Words, Words]) -> dict[Words, Words]:
    """Return ``after`` where it still tells all apart and leaves none without a name."""
    whole = len(set(after.values())) == len(after) and all(own for head, own in after.items() if head)
    return after if whole else before


def _without_pair(words: Words, word: str) -> Words:
    """Return words without one word and the number after it, unless it comes first or nothing that counts is left."""
    if word not in words[1:]:
        return words
    at = words.index(word, 1)
    rest = words[:at] + words[at + 2 :]
    return rest if any(part.isdecimal() for part in rest) else words

"""``with_own``: a card that is there already, with our section in it and nothing of it lost. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from flexlora.errors import FlexLoRAError

BEGIN, END = "<!-- flexlora: begin -->", "<!-- flexlora: end -->"
"""Between these lines stands what is written anew each time."""


def with_own(path: Path, matter: Mapping[str, Any], title: str, section: str) -> str:
    """Return the text of a card: that of ``path``, if it is there, with our section and what its front matter lacks.

    Args:
        path: the card; its front matter keeps every line, and gets the keys and tags of ours that it has not.
        matter: our front matter; ``license`` replaces one that is there.
        title: of a new card.
        section: our text; it replaces the one between the marks, or goes to the end.

    Raises:
        FlexLoRAError: a card that cannot be read or whose marks are damaged.
    """
    section = f"{BEGIN}\n\n{section.strip()}\n\n{END}\n"
    if not path.exists():
        return f"---\n{yaml.safe_dump(dict(matter), sort_keys=True)}---\n\n# {title}\n\n{section}"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FlexLoRAError(f"{path} cannot be read: {error}. Move it away, and a new one is written.") from error
    front, body = _parted(text)
    try:
        front = _completed(front, matter)
    except (yaml.YAMLError, ValueError) as error:
        raise FlexLoRAError(
            f"The front matter of {path} cannot be read: {' '.join(str(error).split())}. Mend it, or move the card "
            "away."
        ) from error
    marks = body.count(BEGIN), body.count(END)
    if marks == (0, 0):
        return f"---\n{front}---\n{body.rstrip()}\n\n{section}"
    before, _, rest = body.partition(BEGIN)
    _, end, after = rest.partition(END)
    if marks != (1, 1) or not end:
        raise FlexLoRAError(f"{path} has not one {BEGIN} before one {END}. Remove both lines and what is ours of it.")
    return f"---\n{front}---\n{before}{section}{after.removeprefix(chr(10))}"


def _parted(text: str) -> tuple[str, str]:
    """Return front matter, without its fences, and body."""
    if text.startswith("---\n"):
        front, fence, body = f"\n{text[4:]}".partition("\n---\n")
        if fence:
            return f"{front[1:]}\n" if front[1:] else "", body
    return "", f"\n{text}"


def _completed(front: str, matter: Mapping[str, Any]) -> str:
    """Return front matter with what it lacks: no other line is read and written anew, which YAML may misunderstand."""
    found = yaml.compose(front, Loader=yaml.SafeLoader)
    if found is not None and not isinstance(found, yaml.MappingNode):
        raise ValueError("it is no mapping of keys")
    places = {key.value: (key, value) for key, value in found.value} if found is not None else {}
    spans, lacking = [], {}
    for key, value in matter.items():
        if key not in places:
            lacking[key] = value
            continue
        name, node = places[key]
        new = _values(node) + [tag for tag in value if tag not in _values(node)] if key == "tags" else value
        if key in ("tags", "license") and new != (_values(node) if key == "tags" else node.value):
            spans.append((name.start_mark.index, node.end_mark.index, {key: new}))
    for start, stop, entry in sorted(spans, key=lambda span: -span[0]):
        rest = front[stop:]
        text = yaml.safe_dump(entry)
        front = front[:start] + (text.rstrip("\n") if rest.startswith(("\n", " ", "#")) else text) + rest
    return front + (yaml.safe_dump(lacking, sort_keys=True) if lacking else "")


def _values(node: yaml.Node) -> list[str]:
    if isinstance(node, yaml.SequenceNode):
        return [part.value for part in node.value]
    return [node.value] if node.value else []

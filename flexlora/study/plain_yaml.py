"""YAML as plain data: mappings, lists, texts, numbers; nothing that can grow, repeat itself or run."""

from __future__ import annotations

import math
import re
from typing import Any

import yaml

from flexlora.errors import FlexLoRAError

MAX_BYTES = 1 << 20
MAX_DEPTH = 40


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader without aliases, without repeated keys, and with ``1e-3`` read as a number."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise _fault(event.start_mark, f"*{event.anchor} is an alias; write the value out")
        event = self.peek_event()
        if getattr(event, "anchor", None) is not None:
            raise _fault(event.start_mark, f"&{event.anchor} is an anchor, which nothing may refer to; remove it")
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise _fault(event.start_mark, f"more than {MAX_DEPTH} levels deep")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag.endswith(":merge"):
                raise _fault(key_node.start_mark, "<< merges what stands elsewhere; write it out")
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str | int):
                raise _fault(key_node.start_mark, f"{_short(key)} cannot be a key; keys are names")
            if key in found:
                raise _fault(key_node.start_mark, f"key {_short(key)} stands there twice")
            found[key] = self.construct_object(value_node, deep=True)
        return found


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


def read_plain_yaml(text: str, name: str) -> Any:
    """Return the content of one YAML document.

    Args:
        text: the document.
        name: what to call it in errors.

    Returns:
        None, bool, int, finite float, str, and lists and dicts (keys: str or int) of these.

    Raises:
        FlexLoRAError: no YAML, an alias or anchor, a repeated key, a tag, a date, a number that is not finite, too deep
            or too long.
    """
    if len(text) > MAX_BYTES:
        raise FlexLoRAError(f"{name} has {len(text):,} characters; at most {MAX_BYTES:,} are read.")
    loader = None
    try:
        loader = _Loader(text)
        content = loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f", line {mark.line + 1}" if mark is not None else ""
        told = " ".join(part for part in (error.context, error.problem) if part)
        raise FlexLoRAError(f"{name}{place}: {told}.") from error
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError) as error:
        raise FlexLoRAError(f"{name} is no YAML: {' '.join(str(error).split())}.") from error
    finally:
        if loader is not None:
            loader.dispose()
    return _plain(content, name)


def _plain(value: Any, name: str) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item, name) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item, name) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise FlexLoRAError(f"{name}: {value} is not a finite number.")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise FlexLoRAError(f"{name}: {_short(value)} is a {type(value).__name__}; write it in quotes as a text.")


def _fault(mark: Any, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


def _short(value: Any) -> str:
    text = str(value)
    return repr(text if len(text) <= 40 else text[:37] + "...")

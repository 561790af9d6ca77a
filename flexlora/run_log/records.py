"""What a line of ``events.jsonl`` must hold before anything is computed from it: logs may come from anywhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from typing import Any

Test = Callable[[Any], bool]

NUMBERS = frozenset((int, float, type(None)))


def read_line(line: bytes) -> dict[str, Any]:
    """Return one record; a number that JSON does not have is undefined."""
    return json.loads(line, parse_constant=lambda _: None)


def check_record(kind: str, record: Mapping[str, Any], matrices: Collection[str]) -> None:
    """Refuse a record that pages and metrics could not use; keys that are not known may hold anything.

    ``record`` holds the other fields of a line of this ``kind``; an event as the reader gives it, ``importance`` by
    name. ``matrices`` are the names in the header.

    Raises:
        ValueError: what is wrong, in one line.
    """
    where = f"{kind} at step {record.get('step')}"
    for key, (test, needed) in FIELDS.get(kind, {}).items():
        if key not in record and not needed:
            continue
        if key not in record or not test(record[key]):
            raise ValueError(f"{where}: {key} is {_shown(record.get(key))}")
    if kind != "event":
        return
    for half in ("prune", "extend"):
        for move in record[half]:
            for key, (test, needed) in MOVE.items():
                if (needed or key in move) and not test(move.get(key)):
                    raise ValueError(f"{where}, {half}: {key} is {_shown(move.get(key))}")
            if move["matrix"] not in matrices:
                raise ValueError(f"{where}, {half}: the header has no matrix {_shown(move['matrix'])}")


def _shown(value: Any) -> str:
    text = repr(value)
    return "missing" if value is None else text if len(text) < 40 else f"{text[:39]}…"


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and abs(value) < 1 << 53


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return type(value) in NUMBERS


def _are_numbers(value: Any) -> bool:
    # There are as many as matrices or directions, for every measure of every event.
    return isinstance(value, list) and NUMBERS.issuperset(map(type, value))


def _list_of(kind: type) -> Test:
    return lambda value: isinstance(value, list) and all(isinstance(item, kind) for item in value)


def _table_of(test: Test) -> Test:
    return lambda value: isinstance(value, dict) and all(map(test, value.values()))


def _or_null(test: Test) -> Test:
    return lambda value: value is None or test(value)


def _are_scores(value: Any) -> bool:
    return isinstance(value, dict) and NUMBERS.issuperset(map(type, value.values()))


def _is_adaptive(value: Any) -> bool:
    numbers, lists = ("ceiling", "noise", "undone"), ("gaps", "thresholds")
    return (
        isinstance(value, dict)
        and all(key in value and _is_number(value[key]) for key in numbers)
        and all(_are_numbers(value.get(key)) for key in lists)
    )


FIELDS: dict[str, dict[str, tuple[Test, bool]]] = {
    "event": {
        "step": (_is_whole, True),
        "budget": (_is_whole, True),
        "measure": (_is_text, True),
        "importance": (_table_of(_are_scores), True),
        "prune": (_list_of(dict), True),
        "extend": (_list_of(dict), True),
        "rules": (_list_of(str), True),
        "refused": (_or_null(_table_of(_is_text)), False),
        "decided": (_or_null(_table_of(lambda value: _is_number(value) or value == "first")), False),
        "scores": (_or_null(_table_of(_or_null(_are_numbers))), False),
        "threshold": (_is_number, False),
        "target_rank": (_is_number, False),
        "adaptive": (_or_null(_is_adaptive), False),
    },
    "eval": {"step": (_is_whole, True), "split": (_is_text, True), "metrics": (_table_of(_is_number), True)},
    "note": {"step": (_or_null(_is_whole), False), "kind": (_is_text, False)},
    "end": {},
}
"""Kind of a line → key → (what it must be, whether it must be there)."""

MOVE: dict[str, tuple[Test, bool]] = {
    "matrix": (_is_text, True),
    "slot": (lambda value: _is_whole(value) and value >= 0, True),
    "singular_value": (_is_number, False),
    "score": (_is_number, False),
    "rules": (_list_of(str), False),
}

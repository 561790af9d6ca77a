"""Labels and texts as people write them: which are missing, which are numbers, what the classes are. Torch-free."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from flexlora.errors import FlexLoRAError
from flexlora.tasks.rows import PLACE, Rows, brief, refuse, shown
from flexlora.tasks.source import SourceOptions

MISSING_WORDS = ("", "-", "-1", "None", "NA")
"""A label that is written so is none; a text only where it is empty."""
MISSING_IN_ANY_CASE = ("nan", "null", "n/a", "<na>", "#n/a")
NO_LABEL = -1
"""As a number it is no label either, unless other labels of the training rows are negative, or all others are 1."""
LARGEST_SCORE = float(np.finfo(np.float32).max)
MOST_CLASSES = 1000
IMBALANCED = 0.9
"""Share of one class above which a run tells so."""
# Marks that take no room count as spaces.
_AROUND = " \t\r\n\ufeff\u200b\u00a0"
_DECIMAL_COMMA = re.compile(r"[+-]?\d+(,\d+)?")


@dataclass(frozen=True)
class Labels:
    """The labels of a split.

    Attributes:
        values: one a row: text, number or truth value; None where there is none.
        missing: how those are written that are none → how often.
        signed: True when −1 is a label, because other labels are negative too.
    """

    values: list[Any]
    missing: Counter[str]
    signed: bool


def read_labels(rows: Rows, column: str, source: SourceOptions, signed: bool | None = None) -> Labels:
    """Return the labels of a split in their own type.

    Spaces around them are dropped; all are numbers or none is.

    Args:
        rows: the split.
        column: name of the column.
        source: for refusals.
        signed: of the training rows; None = these are they. A split of nothing but −1 has no labels either way.

    Raises:
        FlexLoRAError: a list or an object, a number that is not finite, scores among words; with row and column.
    """
    missing: Counter[str] = Counter()
    values: list[Any] = []
    for place, value in zip(rows.places, rows.table[column].tolist(), strict=True):
        if not is_scalar(value):
            refuse(source, place, column, f"{shown(value)} is no label. A label is a word or a number.")
        value = value.strip(_AROUND).strip() if isinstance(value, str) else value
        written = _written_missing(value)
        if written is not None:
            missing[written] += 1
        values.append(None if written is not None else value)
    present = [place for place, value in enumerate(values) if value is not None]
    kinds = {isinstance(values[place], bool | np.bool_) for place in present}
    if len(kinds) > 1:
        first = next(place for place in present if isinstance(values[place], bool | np.bool_))
        refuse(source, rows.places[first], column, f"{values[first]} stands among labels that are not true or false.")
    numbers = _numbers([values[place] for place in present], [rows.places[place] for place in present], column, source)
    for place, number in zip(present, numbers, strict=True):
        values[place] = number
    return _without_minus_one(Labels(values, missing, bool(signed)), present, signed)


def read_texts(rows: Rows, column: str, source: SourceOptions) -> list[str | None]:
    """Return the texts of a split as they are; None where there is none: null, NaN, or nothing but spaces.

    Raises:
        FlexLoRAError: a list, an object, bytes, or half of a surrogate pair; with row and column.
    """
    texts: list[str | None] = []
    for place, value in zip(rows.places, rows.table[column].tolist(), strict=True):
        if not is_scalar(value):
            refuse(source, place, column, f"{shown(value)} ({type(value).__name__}) is no text.")
        if is_null(value) or (isinstance(value, str) and not value.strip()):
            texts.append(None)
            continue
        text = str(value)
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError:
                refuse(source, place, column, f"{shown(value)} holds half a character (a lone surrogate).")
        texts.append(text)
    return texts


def is_scalar(value: Any) -> bool:
    """False for lists, objects, arrays and bytes."""
    return isinstance(value, str | int | float | None) or (
        pd.api.types.is_scalar(value) and not isinstance(value, bytes)
    )


def is_null(value: Any) -> bool:
    """True for None, NaN and what else a table has for nothing."""
    return value is None or (not isinstance(value, str | int) and bool(pd.isna(value)))


def label_name(value: Any) -> str:
    """Return what a class is called: 1 and 1.0 are one class."""
    # An integer column with a gap is read as floats.
    return str(int(value)) if isinstance(value, float) and value == round(value) else str(value)


def class_names(tables: Mapping[str, pd.DataFrame], source: SourceOptions, told: Sequence[str] = ()) -> list[str]:
    """Return the class names in order; none when the labels are scores.

    Args:
        tables: split → rows with ``label`` and ``PLACE``.
        source: for refusals.
        told: what was left out, which may be why one label only is left.

    Raises:
        FlexLoRAError: one label only, more than 1,000, or one of another split that train does not have.
    """
    train = tables["train"]["label"]
    scores = pd.api.types.is_float_dtype(train) and bool((train % 1 != 0).any())
    known = sorted(
        set(map(label_name, train.unique().tolist())), key=lambda name: (not name.isdigit(), len(name), name)
    )
    if len(known) < 2:
        raise FlexLoRAError(
            " ".join([f"data={source.data} has one label only ({brief(known[0])}): there is nothing to learn.", *told])
        )
    for split, table in tables.items():
        if scores:
            _refuse_words_among_scores(split, table, source)
            continue
        strange = sorted(set(map(label_name, table["label"].unique().tolist())) - set(known))
        if strange:
            where = table.loc[table["label"].map(label_name) == strange[0], PLACE].iloc[0]
            raise FlexLoRAError(
                f"data={source.data}: the {split} split has labels that train does not have: {_listed(strange[:5])} "
                f"({where}). Train has: {_listed(known[:10])}."
            )
    if scores:
        return []
    if len(known) > MOST_CLASSES:
        raise FlexLoRAError(
            f"data={source.data} has {len(known)} labels in column label, such as {_listed(known[:3])}; at most "
            f"{MOST_CLASSES} are classes."
        )
    return known


def told_balance(labels: Sequence[Any], kind: str = "label") -> list[str]:
    """Return what to tell about the classes of the training rows: one that is nearly all, some that are one row."""
    counts: Counter[str] = Counter()
    for label, count in Counter(labels).items():
        counts[label_name(label)] += count
    name, most = counts.most_common(1)[0]
    told = []
    if most > IMBALANCED * len(labels):
        told.append(
            f"train: {math.floor(1000 * most / len(labels)) / 10:g} % of its rows have {kind} {brief(name)}: always "
            "answering that is right as often."
        )
    single = [name for name, count in counts.items() if count == 1]
    if single:
        more = f" and {len(single) - 5} more" if len(single) > 5 else ""
        told.append(f"train: one row only has {kind} {_listed(single[:5])}{more}.")
    spellings: dict[str, list[str]] = {}
    for name in counts:
        spellings.setdefault(" ".join(unicodedata.normalize("NFKC", name).casefold().split()), []).append(name)
    for names in spellings.values():
        if len(names) > 1:
            alike = " and ".join(map(shown, sorted(names)))
            told.append(f"train: {kind}s {alike} differ in case or spacing only, and are classes of their own.")
    return told


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(brief, names))


def _written_missing(value: Any) -> str | None:
    if is_null(value):
        return "null"
    if isinstance(value, str) and (value in MISSING_WORDS or value.lower() in MISSING_IN_ANY_CASE):
        # −1 is decided when it is known whether all are numbers.
        return None if value == str(NO_LABEL) else value or "empty"
    return None


def _numbers(values: list[Any], places: Sequence[str], column: str, source: SourceOptions) -> list[Any]:
    try:
        found: Any = pd.to_numeric(pd.Series(values, dtype=object))
    except (ValueError, TypeError):
        _refuse_mixed(values, places, column, source)
        return [str(value) for value in values]
    for place, value, number in zip(places, values, found, strict=True):
        if isinstance(number, float) and not abs(number) <= LARGEST_SCORE:
            refuse(source, place, column, f"{value} is no finite score (of at most {LARGEST_SCORE:.1e}).")
    return found.tolist()


def _refuse_mixed(values: list[Any], places: Sequence[str], column: str, source: SourceOptions) -> None:
    """Refuse scores among words: they would become one class each."""
    words = [str(value) for value in values]
    numeric: Any = pd.to_numeric(pd.Series(words, dtype=object), errors="coerce")
    fractions = (numeric % 1 != 0) & numeric.notna()
    if fractions.any():
        first = int(np.flatnonzero(numeric.isna())[0])
        score = words[int(np.flatnonzero(fractions)[0])]
        refuse(source, places[first], column, f"{shown(words[first])} is no number, and others are scores, as {score}.")
    commas = [place for place, word in enumerate(words) if "," in word]
    if commas and all(map(_DECIMAL_COMMA.fullmatch, words)):
        refuse(source, places[commas[0]], column, f"{words[commas[0]]!r} has a comma. Scores have a decimal point.")


def _without_minus_one(labels: Labels, present: Sequence[int], signed: bool | None) -> Labels:
    """Make −1 no label where it is none."""
    values = labels.values
    numeric = [values[place] for place in present if isinstance(values[place], int | float)]
    negative = {value for value in numeric if value < 0}
    if signed is None:
        signed = bool(negative - {NO_LABEL}) or set(numeric) == {NO_LABEL, 1}
    if signed and set(numeric) != {NO_LABEL}:
        return Labels(values, labels.missing, signed)
    for place in present:
        # Among words it is written as text.
        if values[place] in (NO_LABEL, str(NO_LABEL)) and not isinstance(values[place], bool):
            values[place] = None
            labels.missing[str(NO_LABEL)] += 1
    return Labels(values, labels.missing, signed)


def _refuse_words_among_scores(split: str, table: pd.DataFrame, source: SourceOptions) -> None:
    if not pd.api.types.is_numeric_dtype(table["label"]) or pd.api.types.is_bool_dtype(table["label"]):
        value, place = table["label"].iloc[0], table[PLACE].iloc[0]
        refuse(source, place, "label", f"{shown(value)} is no number, and train has scores ({split} split).")

"""Which columns hold what a task needs: those with known names, or those that ``columns=`` names. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flexlora.errors import FlexLoRAError
from flexlora.tasks.rows import Rows
from flexlora.tasks.separated import LEFT_OUT
from flexlora.tasks.source import SourceOptions

TEXT_COLUMNS = (
    ("sentence1", "sentence2"),
    ("question1", "question2"),
    ("premise", "hypothesis"),
    ("question", "sentence"),
    ("question", "passage"),
    ("sentence",),
    ("text",),
)
"""Columns that hold the text or the two texts, the first that is there wins."""
LABEL_COLUMNS = ("label", "labels", "score", "gold_label")


@dataclass(frozen=True)
class Roles:
    """Names of the columns with what goes in, in order, and with what is to come out; None = no such column."""

    inputs: tuple[str, ...]
    label: str | None


def named_columns(source: SourceOptions) -> list[str] | None:
    """Return the names in ``columns=`` without those to leave out; None where it is not given.

    Raises:
        FlexLoRAError: a name stands there twice.
    """
    if source.columns is None:
        return None
    names = [name for name in source.columns if name != LEFT_OUT]
    if not names or len(set(names)) < len(names):
        told = "names a column twice" if names else "leaves every column out"
        raise FlexLoRAError(f"columns={','.join(source.columns)} {told}.")
    return names


def text_roles(rows: Rows, source: SourceOptions) -> Roles:
    """Return the text or the two texts and the label of a split.

    Raises:
        FlexLoRAError: there is no text, or ``columns=`` names too many, or a name that is not there.
    """
    named = named_columns(source)
    pool = rows.names if named is None else named
    texts = next((names for names in TEXT_COLUMNS if all(name in pool for name in names)), None)
    label = next((name for name in LABEL_COLUMNS if name in pool), None)
    if named is not None and (texts is None or label is None):
        texts, label = _in_order(named, texts, label, source)
    if texts is None:
        allowed = "; ".join(", ".join(names) for names in TEXT_COLUMNS)
        raise FlexLoRAError(
            f"data={source.data} has columns {told_names(rows)}: no text among them ({rows.files}). Known are: "
            f"{allowed}. Name others: columns=sentence,label, for a file without a header line too."
        )
    return checked_roles(rows, Roles(texts, label), source)


def checked_roles(rows: Rows, roles: Roles, source: SourceOptions) -> Roles:
    """Return the roles; without a label where the split has no such column.

    Raises:
        FlexLoRAError: a column is not there, or more than one has its name.
    """
    missing = [name for name in roles.inputs if name not in rows.names]
    if missing:
        raise FlexLoRAError(
            f"data={source.data}: {rows.files} has no column {', '.join(missing)}; it has: {told_names(rows)}."
        )
    label = roles.label if roles.label in rows.names else None
    for name in (*roles.inputs, *([label] if label else [])):
        if name in rows.repeated:
            raise FlexLoRAError(
                f"data={source.data}: {rows.files} has more than one column {name}: {told_names(rows)}. Rename one."
            )
    return Roles(roles.inputs, label)


def refuse_without_label(rows: Rows, known: Sequence[str], source: SourceOptions) -> None:
    """Say that the training rows have no label column, which ones there are, and what is known."""
    wanted = ", ".join(known) if source.columns is None else ", ".join(named_columns(source) or ["none"])
    raise FlexLoRAError(
        f"data={source.data}: {rows.files} has no label column; found: {told_names(rows)}. "
        + (f"Known are: {wanted}. Name another: columns=TEXT,LABEL." if source.columns is None else f"Named: {wanted}.")
    )


def told_names(rows: Rows) -> str:
    """Return the columns of a file, for people."""
    names = [name if len(name) <= 40 else f"{name[:40]}…" for name in rows.names]
    return ", ".join([*names[:20], *([f"{len(names) - 20} more"] if len(names) > 20 else [])]) or "none"


def _in_order(
    named: Sequence[str], texts: tuple[str, ...] | None, label: str | None, source: SourceOptions
) -> tuple[tuple[str, ...], str | None]:
    """Return texts and label of ``columns=`` by their order: the label is the last unless its name is known."""
    if label is None and named[-1] not in (texts or ()):
        label = named[-1]
    inputs = tuple(name for name in named if name != label)
    if not 1 <= len(inputs) <= 2:
        raise FlexLoRAError(
            f"columns={','.join(source.columns or ())}: {len(inputs)} texts ({', '.join(inputs) or 'none'}) beside the "
            f"label {label}. Name one text or two, then the label; in a file without a header line - leaves a column "
            "out."
        )
    return inputs, label

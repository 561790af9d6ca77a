"""Rows with a label and with all that goes in; what is left out of the others is counted. Torch-free."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from flexlora.errors import FlexLoRAError
from flexlora.tasks.columns import LABEL_COLUMNS, Roles, refuse_without_label
from flexlora.tasks.labels import NO_LABEL, Labels, read_labels, read_texts
from flexlora.tasks.rows import PLACE, Rows
from flexlora.tasks.source import SourceOptions

MUCH = 0.05
"""Share of rows with −1 above which it may be a class all the same."""

ReadInput = Callable[[Rows, str, SourceOptions], Sequence[Any]]
ReadLabels = Callable[[Rows, str, SourceOptions, bool | None], Labels]


def labelled_tables(
    found: Mapping[str, Rows],
    source: SourceOptions,
    roles_of: Callable[[Rows, SourceOptions], Roles],
    names: Sequence[str],
    *,
    known: Sequence[str] = LABEL_COLUMNS,
    read_input: ReadInput = read_texts,
    read_label: ReadLabels = read_labels,
) -> tuple[dict[str, pd.DataFrame], list[str]]:
    """Return split → rows that can be used, and a line for each kind of rows that are left out.

    The columns of a table are the inputs, ``label`` and ``PLACE``, in the order of the file. A split without a label
    column has no rows.

    Args:
        found: split → all its rows, train first.
        source: for refusals.
        roles_of: says which columns are meant; raises ``FlexLoRAError``.
        names: what the inputs are called in the tables, the first so many.
        known: label columns that a refusal names.
        read_input: the values of a column, None where there is none.
        read_label: the labels of a column.

    Raises:
        FlexLoRAError: see ``read_labels`` and ``read_texts``; training rows without a label or without any text.
    """
    tables: dict[str, pd.DataFrame] = {}
    told: list[str] = []
    signed: bool | None = None
    of_train: tuple[str, ...] | None = None
    for split, rows in found.items():
        roles = roles_of(rows, source)
        if roles.label is None:
            if split == "train":
                refuse_without_label(rows, known, source)
            told.append(f"{split}: {rows.files} has no label column, so it is not scored.")
            tables[split] = pd.DataFrame(columns=[*names[: len(roles.inputs)], "label", PLACE])
            continue
        of_train = of_train or roles.inputs
        if len(roles.inputs) != len(of_train):
            raise FlexLoRAError(
                f"data={source.data}: {rows.files} has {' and '.join(roles.inputs)}, and {split} needs what the other "
                f"files have: {' and '.join(of_train)}."
            )
        labels = read_label(rows, roles.label, source, signed)
        signed = labels.signed if split == "train" else signed
        inputs = [read_input(rows, name, source) for name in roles.inputs]
        has_label = [value is not None for value in labels.values]
        whole = [all(values[row] is not None for values in inputs) for row in range(len(has_label))]
        kept = [row for row, label in enumerate(has_label) if label and whole[row]]
        columns = dict(zip(names, inputs, strict=False)) | {"label": labels.values, PLACE: rows.places}
        tables[split] = pd.DataFrame({name: [values[row] for row in kept] for name, values in columns.items()})
        mine = told_left_out(split, len(has_label), labels.missing, sum(has_label) - len(kept), roles.inputs)
        told += mine
        if split == "train" and not kept:
            raise FlexLoRAError(f"data={source.data} has no labelled row in its train split. {' '.join(mine)}")
    return tables, told


def told_left_out(
    split: str, total: int, missing: Counter[str], without_input: int, inputs: Sequence[str]
) -> list[str]:
    """Return what to tell about rows without label or input, if there are any."""
    told = []
    count = sum(missing.values())
    if count:
        words = ", ".join(sorted(missing))
        how_many = f"all {total}" if count == total else f"{count} of {total}"
        # As often as a class, and not as a gap.
        advice = " If −1 is a class, write it as a word." if MUCH < missing[str(NO_LABEL)] / total < 1 else ""
        told.append(f"{split}: {how_many} rows left out: no label ({words}).{advice}")
    if without_input:
        held = " or ".join(inputs)
        told.append(f"{split}: {without_input} of {total} rows left out: a label, but nothing in {held}.")
    return told

"""docs/data.md: each example file is read, or refused, as is written below it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from flexlora.errors import FlexLoRAError
from flexlora.tasks.columns import LABEL_COLUMNS, TEXT_COLUMNS, text_roles
from flexlora.tasks.labelled import labelled_tables
from flexlora.tasks.labels import MISSING_IN_ANY_CASE, MISSING_WORDS, label_name
from flexlora.tasks.source import DELIMITERS, SourceOptions
from flexlora.tasks.split_files import SPLIT_FILES
from flexlora.tasks.table_files import SUFFIXES
from flexlora.tasks.tables import read_rows

TEXT = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```\n(.*?)```", TEXT, flags=re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_an_example_is_taken_as_it_says(block, tmp_path):
    first, _, rest = block.partition("\n")
    name, *options = first.split()
    content, *said = rest.split("→ ")
    (tmp_path / name).write_text(content, encoding="utf-8")
    columns = next((tuple(text.removeprefix("columns=").split(",")) for text in options), None)
    source = SourceOptions(data=str(tmp_path), columns=columns)
    try:
        found, told = labelled_tables(read_rows(source), source, text_roles, ("text0", "text1"))
    except FlexLoRAError as error:
        assert len(said) == 1 and said[0].strip() in str(error)
        return
    labels = ", ".join(label_name(label) for label in found["train"]["label"])
    assert [line.strip() for line in said] == [f"{len(found['train'])} rows, labels {labels}", *told]


def test_every_name_that_is_known_is_told():
    assert len(BLOCKS) > 8
    names = [*LABEL_COLUMNS, *(name for pair in TEXT_COLUMNS for name in pair), *DELIMITERS, *SUFFIXES]
    names += [word for words in SPLIT_FILES.values() for word in words]
    names += [word for word in (*MISSING_WORDS, *MISSING_IN_ANY_CASE) if word not in ("", "-1")]
    assert [name for name in names if f"`{name}`" not in TEXT and f"delimiter={name}" not in TEXT] == []

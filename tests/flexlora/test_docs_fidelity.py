"""docs/fidelity.md names every choice that exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from flexlora.config import PRESETS, FlexLoRAConfig
from flexlora.importance import IMPORTANCES
from flexlora.schedules import SCHEDULES

TEXT = (Path(__file__).parents[2] / "docs" / "fidelity.md").read_text(encoding="utf-8")
FIELDS = FlexLoRAConfig.__dataclass_fields__
NAMES = {
    *IMPORTANCES,
    *SCHEDULES,
    *PRESETS,
    *FIELDS,
    *(choice for item in FIELDS.values() for choice in item.metadata["choices"]),
}


def missing(names, text):
    written = {word for code in re.findall(r"`([^`\n]+)`", text) for word in re.findall(r"\w+", code)}
    return sorted(set(names) - written)


def test_every_measure_schedule_preset_field_and_choice_is_named():
    assert missing(NAMES, TEXT) == []


@pytest.mark.parametrize("name", ["effective_rank", "rank_one", "reference"])
def test_a_missing_name_would_be_noticed(name):
    assert missing(NAMES, re.sub(rf"\b{name}\b", "other", TEXT)) == [name]


@pytest.mark.parametrize("preset", PRESETS)
def test_the_table_of_presets_shows_the_values_in_use(preset):
    section = TEXT.split("\n## Presets\n")[1].split("\n## ")[0]
    header, _, *rows = [line for line in section.splitlines() if line.startswith("|")]
    column = [cell.strip() for cell in header.split("|")].index(f"`{preset}`")
    cells = [[cell.strip() for cell in row.split("|")] for row in rows]
    shown = {row[1].strip("`"): row[column].strip("`") for row in cells}
    assert shown == {name: str(value).replace("None", "none") for name, value in PRESETS[preset].items()}


def test_there_is_a_place_for_measured_choices():
    assert TEXT.count("\n## Measured choices\n") == 1
    assert TEXT.count("\n## Where the paper's own claims fail\n") == 1

"""Docs that tell where things are name what is there, and nothing is left out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
HOUSE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)# ]+)[^)]*\)", text):
        assert target.startswith("https://") or (path.parent / target).exists(), target


@pytest.mark.parametrize("path", [path for path in DOCS if path.name != "CONTRIBUTING.md"], ids=lambda path: path.name)
def test_files_of_the_tree_are_named_as_they_are(path):
    named = re.findall(
        r"`((?:app|analysis|flexlora|benchmarks|tests|docs)/[\w./-]+)`", path.read_text(encoding="utf-8")
    )
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_file_and_room_that_the_house_names_exists():
    named = [name for name in re.findall(r"`([\w./]+/[\w./]*)`", HOUSE) if "(" not in name]
    assert len(named) > 40
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_room_is_in_the_table_and_in_the_picture():
    table = re.findall(r"^\| `([\w/]+/)` \|", HOUSE, re.MULTILINE)
    picture = HOUSE.split("```")[1]
    for top in ("flexlora", "analysis", "app", "app/player"):
        rooms = {
            path.relative_to(ROOT).as_posix() + "/" for path in (ROOT / top).iterdir() if list(path.glob("*.[pj][sy]"))
        }
        rooms -= {"flexlora/tasks/weights/"}
        assert rooms - set(table) == set(), "not in the table"
        assert [room for room in rooms if not re.search(rf"\b{Path(room).name}\b", picture)] == [], "not in the picture"

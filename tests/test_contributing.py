"""Each recipe of CONTRIBUTING.md is followed to the letter, in a copy of the tree, and what it says to run is run."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
TREE = (
    "flexlora",
    "analysis",
    "app",
    "tests",
    "docs",
    "pyproject.toml",
    "package.json",
    "README.md",
    "CONTRIBUTING.md",
)
MOST_LINES, MOST_FILES = 40, 5

STEP = re.compile(
    r"^(?:In `(?P<old>\S+)`, (?P<where>before|after|instead of) `(?P<line>[^\n]+)`|New, `(?P<new>\S+)`):\n\n"
    r"```\w+\n(?P<code>.*?)```",
    re.M | re.S,
)
RUN = re.compile(r"^Run:\n\n```\n(.*?)```", re.M | re.S)


class Step(NamedTuple):
    """Lines that a recipe adds to a file: before, after or instead of the only line that starts so, or new."""

    path: str
    code: str
    where: str | None
    line: str | None

    def follow(self, tree: Path) -> None:
        path = tree / self.path
        if self.line is None:
            assert not path.exists(), f"{self.path} exists already"
            path.write_text(self.code, encoding="utf-8")
            return
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        found = [number for number, line in enumerate(lines) if line.strip().startswith(self.line)]
        assert len(found) == 1, f"{self.path}: {len(found)} lines start with {self.line}"
        first = found[0] + (self.where == "after")
        lines[first : found[0] + (self.where != "before")] = [self.code]
        path.write_text("".join(lines), encoding="utf-8")


def recipes() -> dict[str, str]:
    return dict(re.findall(r"^## (Add a \w+)\n(.*?)(?=^## |\Z)", TEXT, re.M | re.S))


def steps(recipe: str) -> list[Step]:
    return [
        Step(found["old"] or found["new"], found["code"], found["where"], found["line"])
        for found in STEP.finditer(recipe)
    ]


def files(tree: Path) -> dict[str, bytes]:
    kept = (path for path in tree.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(tree).as_posix(): path.read_bytes() for path in kept}


@pytest.fixture
def tree(tmp_path) -> Path:
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in TREE:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("*.webp"))
        else:
            shutil.copy(ROOT / name, copy / name)
    (copy / "sample_runs").symlink_to(ROOT / "sample_runs")
    return copy


@pytest.mark.parametrize("name", recipes())
def test_a_recipe_followed_to_the_letter_works(name, tree):
    recipe = recipes()[name]
    before = files(tree)
    for step in steps(recipe):
        step.follow(tree)
    (commands,) = RUN.findall(recipe)
    for command in commands.strip().splitlines():
        word, *rest = shlex.split(command)
        assert word == "python"
        done = subprocess.run(
            [sys.executable, *rest],
            cwd=tree, env={**os.environ, "PYTHONPATH": str(tree)},
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    after = files(tree)
    changed = {path for path in after if path.split("/")[0] in TREE and before.get(path) != after[path]}
    assert changed >= {step.path for step in steps(recipe)}
    assert len(changed) <= MOST_FILES, changed
    python = [path for path in changed if path.endswith(".py")]
    for check in (["format", "--check"], ["check"]):
        done = subprocess.run([sys.executable, "-m", "ruff", *check, *python], cwd=tree, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", recipes())
def test_a_recipe_is_short(name):
    found = steps(recipes()[name])
    assert 0 < sum(step.code.count("\n") for step in found) <= MOST_LINES


def test_the_three_recipes_are_there():
    assert list(recipes()) == ["Add a measure", "Add a schedule", "Add a view"]
    assert all(
        recipe.count("```python\n") + recipe.count("```js\n") == len(steps(recipe)) for recipe in recipes().values()
    )


def test_a_line_that_is_not_there_is_noticed(tree):
    with pytest.raises(AssertionError, match="0 lines start with nowhere"):
        Step("flexlora/importance.py", "", "after", "nowhere").follow(tree)

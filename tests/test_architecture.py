"""What may import what, and how large things may be. Each rule is also shown to fail on code that breaks it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "transformers", "peft", "streamlit")
MAX_FILE_LINES, MAX_FUNCTION_LINES = 400, 60

TORCH_FREE = (
    "errors",
    "importance",
    "schedules",
    "schedule_text",
    "adaptive",
    "reallocation",
    "decision",
    "edits",
    "adapter_config",
    "config",
    "settings",
    "matrix_names",
    "matrix_places",
    "rank_targets",
    "spectra",
    "ragged",
    "budgets",
    "study",
    "run_log",
    "job",
    "controls",
    "child",
    "served",
    "counter",
    "allocation",
    "choices",
    "planted",
    "policies",
    "methods/__init__",
    "methods/configs",
    "tasks/__init__",
)
"""Modules of flexlora that pages and the command line import before anything is trained."""

CONTRACT = (
    "from flexlora import FlexLoRAConfig",
    "from flexlora.importance import spectral_entropy, IMPORTANCES",
    "from flexlora.schedules import SCHEDULES",
    "from flexlora.reallocation import plan_reallocation, Reallocation",
    "from flexlora.policies import POLICIES",
    "from flexlora.run_log import RunWriter, read_run, RunLogError",
    "from analysis.runs import load_run",
    "import analysis.metrics, analysis.figures",
    "import analysis.adapters, analysis.glossary, analysis.importers, analysis.payload, analysis.report",
    "import analysis.costs, analysis.notebook, analysis.tables, analysis.why",
    "import flexlora.job, flexlora.controls, flexlora.methods, flexlora.tasks, flexlora.train",
    "import flexlora.study.__main__, flexlora.study.worker, flexlora.study.ray_pool",
    "import flexlora.served, flexlora.study.served, flexlora.study.partial",
    "import analysis.study.__main__, analysis.leaderboard.__main__",
)
"""Imports that stay light."""

REGISTRIES = (
    "CHOICES", "FIGURES", "FORMULAS", "GLOSSARY", "IMPORTANCES", "MEASURES", "METHODS", "NEW_DIRECTIONS", "PRESETS",
    "PRUNE_RULES", "QUANTITIES", "SCHEDULES", "SORTS", "STAGES", "TABLES", "TASKS", "VIEWS",
)  # fmt: skip
"""Names that mean one thing each: whoever reads one of them anywhere knows which."""


def imported(tree: ast.AST, *, everywhere: bool) -> Iterator[str]:
    """Dotted names that the code imports; only what runs at import time unless ``everywhere``."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif everywhere:
            yield from imported(node, everywhere=True)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from imported(ast.Module(node.orelse, []), everywhere=False)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from imported(node, everywhere=False)


def never_imports(*banned: str, everywhere: bool = True) -> Callable[[str], list[str]]:
    def find(source: str) -> list[str]:
        names = imported(ast.parse(source), everywhere=everywhere)
        return [name for name in names if any(name == ban or name.startswith(ban + ".") for ban in banned)]

    return find


def never_calls(banned: str) -> Callable[[str], list[str]]:
    def find(source: str) -> list[str]:
        calls = [node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
        names = [f.id if isinstance(f, ast.Name) else getattr(f, "attr", "") for f in calls]
        return [name for name in names if name == banned]

    return find


def never_imports_rooms(*banned: str) -> Callable[[str], list[str]]:
    """Of a script below app/player: rooms beside its own; also where only a type is imported."""

    def find(source: str) -> list[str]:
        return [room for room in re.findall(r"""["']\.\./(\w+)/""", source) if room in banned]

    return find


def long_file(source: str) -> list[str]:
    count = len(source.splitlines())
    return [f"{count} lines"] if count > MAX_FILE_LINES else []


def long_functions(source: str) -> list[str]:
    functions = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    lengths = {function.name: (function.end_lineno or 0) - function.lineno + 1 for function in functions}
    return [f"{name}: {length} lines" for name, length in lengths.items() if length > MAX_FUNCTION_LINES]


def python_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def scripts(folder: str) -> list[Path]:
    return sorted((ROOT / "app" / folder).rglob("*.js"))


def torch_free_files() -> list[Path]:
    packages = [(ROOT / "flexlora" / name) for name in TORCH_FREE]
    folders = [path for package in packages if package.is_dir() for path in sorted(package.rglob("*.py"))]
    return [path.with_suffix(".py") for path in packages if path.with_suffix(".py").exists()] + folders


@dataclass(frozen=True)
class Rule:
    """``find`` gives what breaks the rule in a source text; ``broken`` must be caught and ``kept`` must not."""

    files: Callable[[], list[Path]]
    find: Callable[[str], list[str]]
    broken: tuple[str, ...]
    kept: tuple[str, ...]


def everything() -> list[Path]:
    return python_files("flexlora", "analysis", "app")


def with_client_side() -> list[Path]:
    return [*everything(), *sorted((ROOT / "app").rglob("*.js"))]


RULES = {
    "flexlora knows neither analysis nor app": Rule(
        lambda: python_files("flexlora"),
        never_imports("analysis", "app"),
        ("import analysis.runs", "def f():\n    from app import live", "if TYPE_CHECKING:\n    import analysis"),
        ("import analysis_tools", "from flexlora.run_log import read_run"),
    ),
    "analysis knows neither torch nor streamlit": Rule(
        lambda: python_files("analysis"),
        never_imports(*HEAVY),
        (
            "import torch",
            "import torch.nn as nn",
            "def f():\n    from peft import LoraConfig",
            "import streamlit as st",
        ),
        ("import numpy", "import torchless"),
    ),
    "the light half of flexlora loads nothing heavy": Rule(
        torch_free_files,
        never_imports(*HEAVY, everywhere=False),
        (
            "import torch",
            "try:\n    import peft\nexcept ImportError:\n    peft = None",
            "class A:\n    import torch",
            "if TYPE_CHECKING:\n    pass\nelse:\n    import torch",
        ),
        ("def f():\n    import torch", "if TYPE_CHECKING:\n    import torch", "import torchless"),
    ),
    "pages know neither torch nor Plotly's objects": Rule(
        lambda: python_files("app/app_pages"),
        never_imports("torch", "plotly.graph_objects"),
        ("def f():\n    import torch", "import plotly.graph_objects as go", "from plotly import graph_objects"),
        ("import plotly", "from analysis import figures"),
    ),
    "pages open no files": Rule(
        lambda: python_files("app/app_pages"),
        never_calls("open"),
        ("open('x')", "with Path('x').open() as f:\n    pass"),
        ("opened('x')", "x = open"),
    ),
    "pages know each other by name only": Rule(
        lambda: python_files("app/app_pages"),
        never_imports("app_pages", "navigation"),
        ("from app_pages import explore", "def f():\n    from navigation import pages"),
        ("from links import go", "import pages"),
    ),
    "the rooms of the app know no page": Rule(
        lambda: python_files(
            "app/adapters",
            "app/classroom",
            "app/compare",
            "app/jobs",
            "app/learn",
            "app/player",
            "app/playground",
            "app/runs",
            "app/schedule",
        ),
        never_imports("app_pages", "navigation"),
        ("from app_pages.train import page", "def f():\n    import navigation"),
        ("from runs.store import plain",),
    ),
    "the player's model knows neither its views nor its source": Rule(
        lambda: scripts("player/model"),
        never_imports_rooms("film", "views", "ui", "source"),
        ('import { MAPS } from "../views/maps.js";', '/** @type {import("../ui/player.js").Player} */'),
        ('import { largest } from "./model.js";',),
    ),
    "the pen knows no view": Rule(
        lambda: scripts("player/pen"),
        never_imports_rooms("film", "views", "ui", "source"),
        ('import { MAPS } from "../views/maps.js";', '/** @type {import("../ui/clock.js").Clock} */'),
        ('import { largest } from "../model/model.js";',),
    ),
    "a view needs no player": Rule(
        lambda: scripts("player/views"),
        never_imports_rooms("ui", "source"),
        ('import { Clock } from "../ui/clock.js";', '/** @type {import("../source/mailbox.js").Mailbox} */'),
        ('import { Box } from "../pen/draw.js";', 'import { largest } from "../model/model.js";'),
    ),
    "the film needs no player": Rule(
        lambda: scripts("player/film"),
        never_imports_rooms("ui", "source"),
        ('import { Clock } from "../ui/clock.js";', '/** @type {import("../source/feed.js").Feed} */'),
        ('import { castOf } from "./cast.js";', 'import { drawSign } from "../views/tiles.js";'),
    ),
    "nothing prints": Rule(everything, never_calls("print"), ("def f():\n    print(1)",), ("printer(1)",)),
    "no file is too long to read": Rule(with_client_side, long_file, ("\n" * 401,), ("\n" * 400,)),
    "no function is too long to read": Rule(
        everything,
        long_functions,
        ("def f():\n" + "    x = 1\n" * 60, "class A:\n    async def f(self):\n" + "        x = 1\n" * 60),
        ("def f():\n" + "    x = 1\n" * 59,),
    ),
}


@pytest.mark.parametrize("name", RULES)
def test_rule_holds(name):
    rule = RULES[name]
    files = rule.files()
    assert files
    found = {path: rule.find(path.read_text(encoding="utf-8")) for path in files}
    assert {str(path.relative_to(ROOT)): broken for path, broken in found.items() if broken} == {}


@pytest.mark.parametrize("name", RULES)
def test_rule_can_fail(name):
    rule = RULES[name]
    for source in rule.broken:
        assert rule.find(source), source
    for source in rule.kept:
        assert not rule.find(source), source


def registries_in(source: str) -> list[str]:
    """Names of registries that the code defines."""
    targets = [
        target
        for node in ast.parse(source).body
        for target in (node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)])
    ]
    return [target.id for target in targets if isinstance(target, ast.Name) and target.id in REGISTRIES]


def test_one_word_is_one_registry():
    defined = [name for path in everything() for name in registries_in(path.read_text(encoding="utf-8"))]
    assert sorted(defined) == sorted(set(defined))
    assert registries_in("A = 1\nTABLES: dict = {}\nVIEWS = ()\ndef f():\n    TASKS = 1") == ["TABLES", "VIEWS"]


def test_every_module_on_the_light_list_exists():
    found = {path.relative_to(ROOT / "flexlora").with_suffix("").as_posix() for path in torch_free_files()}
    missing = [name for name in TORCH_FREE if name not in found and f"{name}/__init__" not in found]
    assert missing == []


def heavy_modules_after(statement: str) -> list[str]:
    """Import in a fresh interpreter and return which heavy packages it loaded."""
    code = f"import sys\n{statement}\nsys.stdout.write(' '.join(m for m in {HEAVY} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("statement", CONTRACT)
def test_the_contract_imports_load_nothing_heavy(statement):
    assert heavy_modules_after(statement) == []


def test_a_heavy_import_would_be_noticed():
    assert "torch" in heavy_modules_after("from flexlora import attach")


def test_the_package_names_what_it_offers():
    import flexlora

    assert set(flexlora.__all__) <= set(dir(flexlora))
    with pytest.raises(AttributeError, match="FlexLoRAConfig"):
        _ = flexlora.nothing_of_that_name

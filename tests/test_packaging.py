"""The wheel, installed into an empty folder, is the whole Lab; what it declares is what it needs."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import tomllib
import urllib.request
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SHIPPED = ("flexlora", "analysis", "app", "sample_runs", "pyproject.toml", "setup.py", "README.md", "LICENSE", "NOTICE")
OPTIONAL = (
    "torch",
    "transformers",
    "peft",
    "sklearn",
    "pandas",
    "psutil",
    "plotly",
    "streamlit",
    "tensorboard",
    "kaleido",
)
START_TIMEOUT_S = 60


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy: a build leaves folders beside the sources."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in SHIPPED:
        source, copy = ROOT / name, folder / "source" / name
        copy.parent.mkdir(exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__", "cache"))
        else:
            shutil.copy(source, copy)
    pip("wheel", "--no-build-isolation", "--wheel-dir", folder, folder / "source")
    (built,) = folder.glob("flexlora_lab-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The wheel in a folder of its own; what it depends on is that of this environment."""
    folder = tmp_path_factory.mktemp("installed")
    pip("install", "--ignore-installed", "--target", folder, wheel)
    return folder


@pytest.fixture
def flexlora(installed, tmp_path):
    """Runs the console command in an empty folder."""

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(installed / "bin" / "flexlora"), *map(str, arguments)]
        return subprocess.run(
            command, cwd=tmp_path, env=environment(installed), capture_output=True, text=True, timeout=120, check=False
        )

    return run


def pip(*arguments: object) -> None:
    command = [sys.executable, "-m", "pip", arguments[0], "--no-index", "--no-deps", "--quiet", *arguments[1:]]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def environment(installed: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FLEXLORA_LAB")}
    return {**kept, "PYTHONPATH": str(installed)}


def test_the_wheel_carries_the_app_its_scripts_and_few_samples(wheel):
    with zipfile.ZipFile(wheel) as archive:
        sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
    for source in (ROOT / "app").rglob("*"):
        if source.suffix in {".py", ".js", ".css", ".toml"}:
            assert f"flexlora_lab/{source.relative_to(ROOT / 'app').as_posix()}" in sizes
    samples = {name: size for name, size in sizes.items() if name.startswith("flexlora_lab/sample_runs/")}
    assert "flexlora_lab/sample_runs/words-flexlora-paper/run.json" in samples
    assert "flexlora_lab/sample_runs/studies/four_ways/runs/digits-lora-s0/run.json" in samples
    # The runs that the lessons look at are among them.
    assert sum(samples.values()) < 5_500_000
    assert {name.partition("/")[0] for name in sizes} == {
        "analysis", "flexlora", "flexlora_lab", f"flexlora_lab-{PROJECT['version']}.dist-info",
    }  # fmt: skip


def test_the_command_trains_and_reports_in_an_empty_folder(flexlora, tmp_path):
    done = flexlora("train", "--task", "digits", "--steps", 5, "--out", "runs/demo", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["steps"] == 5
    done = flexlora("report", "runs/demo", "--out", "demo.html")
    assert done.returncode == 0, done.stderr
    assert "<script" in (tmp_path / "demo.html").read_text(encoding="utf-8")


def test_the_wheel_has_what_a_notebook_shows(wheel):
    with zipfile.ZipFile(wheel) as archive:
        assert {"analysis/notebook/page.html", "analysis/notebook/bridge.js"} <= set(archive.namelist())


def test_the_app_opens_in_an_empty_folder(installed, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(installed / "bin" / "flexlora"), "app", "--port", str(port)]
    with (tmp_path / "log").open("w") as log, subprocess.Popen(
        command, cwd=tmp_path, env=environment(installed), stdout=log, stderr=subprocess.STDOUT
    ) as server:  # fmt: skip
        try:
            assert answer(server, f"http://127.0.0.1:{port}/_stcore/health") == b"ok"
            address = f"http://127.0.0.1:{port}"
            run = answer(server, f"{address}/lab/run/words-flexlora-paper?since=0")
            assert 10_000 < len(run) < len(answer(server, f"{address}/lab/run/words-flexlora-paper"))
            modules = re.findall(r"lab/js/\w+/[\w/]+\.js", answer(server, f"{address}/").decode())
            assert modules
            assert all(b"export" in answer(server, f"{address}/{module}") for module in modules)
        finally:
            server.terminate()


def answer(server: subprocess.Popen, address: str) -> bytes:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        assert server.poll() is None, "the server has ended"
        try:
            with urllib.request.urlopen(address, timeout=10) as found:
                return found.read()
        except OSError:
            assert time.monotonic() < deadline, f"no answer from {address}"
            time.sleep(0.2)


def test_help_names_every_command_and_an_unknown_one_is_told(flexlora):
    done = flexlora("--help")
    assert done.returncode == 0
    words = re.findall(r"^  (\w+) +\w", done.stdout, re.MULTILINE)
    assert words == ["app", "train", "study", "report", "pack", "adapters", "export", "leaderboard", "import"]
    for word in words:
        told = flexlora(word, "--help")
        assert told.returncode == 0 and told.stdout.startswith("usage: "), told.stderr
    done = flexlora("sing")
    assert done.returncode == 2 and done.stdout == "" and len(done.stderr.splitlines()) == 1
    assert all(word in done.stderr for word in words)


@pytest.mark.parametrize(
    "arguments", [("--port", "70000"), ("--port", "x"), ("--runs", "file"), ("--host", "0.0.0.256")]
)
def test_what_cannot_be_served_is_told_in_one_line(flexlora, tmp_path, arguments):
    (tmp_path / "file").touch()
    done = flexlora("app", *arguments)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and arguments[1] in done.stderr


def without(*names: str) -> str:
    """Python that hides packages, then runs the console command."""
    return (
        "import sys\n"
        "class Hidden:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] in {names!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Hidden())\n"
        "from app.command import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )


def run_without(names: tuple[str, ...], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", without(*names), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("arguments", "extra"), [(("app",), "app"), (("train", "--task", "digits"), "train")])
def test_a_missing_extra_is_named(arguments, extra, tmp_path):
    out = ("--out", str(tmp_path / "run")) if extra == "train" else ()
    done = run_without(OPTIONAL, *arguments, *out)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert f'pip install "flexlora-lab[{extra}]"' in done.stderr.splitlines()[-1]


def test_logs_reports_and_adapters_need_only_the_core(tmp_path):
    done = run_without(OPTIONAL, "report", "sample_runs/words-flexlora-paper", "--out", str(tmp_path / "words.html"))
    assert done.returncode == 0, done.stderr
    done = run_without(("peft",), "export", str(tmp_path), "--out", str(tmp_path / "peft"))
    assert done.returncode == 2 and "holds no adapter" in done.stderr
    done = run_without(OPTIONAL, "adapters", str(tmp_path))
    assert done.returncode == 2 and "Traceback" not in done.stderr and "pip install" not in done.stderr
    done = run_without(OPTIONAL, "import", str(tmp_path))
    assert done.returncode == 2 and "Traceback" not in done.stderr and "pip install" not in done.stderr


def declared(*extras: str) -> dict[str, Requirement]:
    lines = [*PROJECT["dependencies"], *(line for extra in extras for line in PROJECT["optional-dependencies"][extra])]
    return {canonicalize_name(found.name): found for found in map(Requirement, lines)}


def imported(folder: str) -> set[str]:
    """Distributions that the modules of a folder import, wherever in a module."""
    found: set[str] = set()
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {name.name.partition(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                found.add(node.module.partition(".")[0])
    own = {"flexlora", "analysis", *(path.stem for path in (ROOT / "app").iterdir())}
    distributions = packages_distributions()
    return {canonicalize_name(distributions[name][0]) for name in found - own if name in distributions}


# Streamlit serves by Starlette, transformers brings tokenizers and the hub's client, TensorBoard protobuf, and Kaleido
# Choreographer.
BROUGHT = {
    "app": {"starlette"},
    "flexlora": {"tokenizers", "huggingface-hub"},
    "analysis": {"protobuf", "choreographer", "huggingface-hub"},
}
# The plug-in for Axolotl, the callback for Lightning and the optimizer for DeepSpeed are for those who have these, and
# what they require.
HOSTS = {"axolotl", "deepspeed", "pydantic", "lightning", "pytorch-lightning"}


@pytest.mark.parametrize(
    ("folder", "extras"),
    [
        ("flexlora", ("train", "hub", "peft")),
        ("analysis", ("app", "notebook", "paper", "tensorboard")),
        ("app", ("app",)),
    ],
)
def test_what_a_package_imports_is_declared(folder, extras):
    assert imported(folder) - set(declared(*extras)) - HOSTS == BROUGHT[folder]


def test_the_pinned_versions_are_within_the_declared_ranges():
    ranges = declared(*(extra for extra in PROJECT["optional-dependencies"] if extra != "all"))
    lines = [line for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines() if "==" in line]
    assert len(lines) > 10
    # An older set, of Python 3.12, that must do as well.
    lines += ["torch==2.11.0", "transformers==5.17.0", "peft==0.21.0", "numpy==2.5.2", "safetensors==0.8.0"]
    for line in lines:
        name, _, version = line.partition("==")
        assert ranges[canonicalize_name(name)].specifier.contains(version), line


def test_every_extra_is_in_the_one_that_holds_all():
    extras = PROJECT["optional-dependencies"]
    (line,) = extras["all"]
    assert Requirement(line).extras == set(extras) - {"all"}


def test_the_checkers_of_the_scripts_are_pinned_and_name_no_registry():
    wanted = json.loads((ROOT / "package.json").read_text(encoding="utf-8"))["devDependencies"]
    packages = json.loads((ROOT / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    assert {name: packages[f"node_modules/{name}"]["version"] for name in wanted} == wanted
    assert [name for name, package in packages.items() if "resolved" in package] == []

"""What can be checked of the image without Docker: its files are there, its command serves, nothing private goes in."""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
SPACE = (ROOT / "deploy" / "space" / "README.md").read_text(encoding="utf-8")
START_TIMEOUT_S = 60


def instructions(word: str) -> list[str]:
    return re.findall(rf"^{word} +(.*)$", DOCKERFILE, re.MULTILINE)


def default_port() -> str:
    (port,) = set(re.findall(r"\$\{PORT:-(\d+)\}", DOCKERFILE))
    return port


def copied() -> list[str]:
    return [source for line in instructions("COPY") for source in shlex.split(line)[:-1]]


def ignored(path: str, patterns: list[str]) -> bool:
    """Whether a path stays out of the build, as Docker has it: the last line that matches it or a parent decides."""
    out = False
    parts = path.split("/")
    parents = ["/".join(parts[: depth + 1]) for depth in range(len(parts))]
    for pattern in patterns:
        kept, plain = pattern.startswith("!"), pattern.lstrip("!")
        # `*` stays within one folder, `**/` crosses any number of them, none included.
        found = re.compile(
            "".join("(?:.*/)?" if part == "**/" else re.escape(part).replace(r"\*", "[^/]*") for part in split(plain))
        )
        if any(found.fullmatch(parent) for parent in parents):
            out = not kept
    return out


def split(pattern: str) -> list[str]:
    return [part for part in re.split(r"(\*\*/)", pattern) if part]


def ignore_patterns() -> list[str]:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_every_file_that_is_copied_is_there_and_reaches_the_build():
    patterns = ignore_patterns()
    assert len(copied()) > 8
    for source in copied():
        assert (ROOT / source).exists(), source
    if (ROOT / ".git").exists():
        done = subprocess.run(
            ["git", "ls-files", "--", *copied()], cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert [path for path in done.stdout.splitlines() if ignored(path, patterns)] == []


@pytest.mark.parametrize(
    "path",
    [
        ".git/config", "runs/mine/run.json", "node_modules/x/index.js", ".venv/bin/python", ".env", "tests/conftest.py",
        "app/__pycache__/main.cpython-312.pyc", "sample_runs/digits-lora/cache/spectra.bin", "docs/explore.webp",
    ],
)  # fmt: skip
def test_what_is_private_or_of_no_use_stays_out(path):
    assert ignored(path, ignore_patterns())


def test_the_reading_of_dockerignore_can_tell():
    assert not ignored("flexlora/a.py", ["*", "!flexlora"]) and ignored("other/a.py", ["*", "!flexlora"])
    assert (
        ignored("a/b/cache/x", ["**/cache"])
        and ignored("cache", ["**/cache"])
        and not ignored("a/cached", ["**/cache"])
    )
    assert not ignored("a/b.pyc", ["*.pyc"]) and ignored("a/b.pyc", ["**/*.pyc"])


def test_it_runs_as_somebody_who_may_write_only_the_data():
    (user,) = instructions("USER")
    made = next(line for line in instructions("RUN") if "useradd" in line)
    assert re.search(rf"--uid 1000 {user}\b.*chown {user}:{user} /data$", made)
    assert instructions("WORKDIR") == ["/data"]
    assert DOCKERFILE.index(f"USER {user}") < DOCKERFILE.index("\nCMD")


def test_torch_is_the_build_for_cpus_of_the_pinned_version_and_no_other_host_is_named():
    assert re.findall(r"https?://([\w.-]+)/", DOCKERFILE) == ["download.pytorch.org"]
    pinned = [line for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines() if line[:2] != "-e"]
    assert [line for line in pinned if line.startswith("torch==")] == [pinned[0]]
    assert not [line for line in pinned if line.startswith("-")]


def test_the_command_serves_and_the_check_of_health_sees_it(tmp_path):
    # The console command, as the wheel installs it.
    command = tmp_path / "bin" / "flexlora"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m app.command "$@"\n')
    command.chmod(0o755)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FLEXLORA_LAB")}
    path = os.pathsep.join([str(command.parent), os.environ.get("PATH", "")])
    environment = {**kept, "PYTHONPATH": str(ROOT), "PORT": port, "PATH": path}
    (line,) = instructions("CMD")
    (check,) = re.findall(r"CMD (\[.*)", instructions("HEALTHCHECK")[0])
    checked = [sys.executable, *json.loads(check)[1:]]
    assert json.loads(check)[0] == "python"
    assert subprocess.run(checked, env=environment, capture_output=True, check=False).returncode != 0
    with (tmp_path / "log").open("w") as log, subprocess.Popen(
        json.loads(line), cwd=tmp_path, env=environment, stdout=log, stderr=subprocess.STDOUT
    ) as server:  # fmt: skip
        try:
            deadline = time.monotonic() + START_TIMEOUT_S
            while subprocess.run(checked, env=environment, capture_output=True, check=False).returncode:
                assert server.poll() is None and time.monotonic() < deadline, (tmp_path / "log").read_text()
                time.sleep(0.2)
            # Whoever reaches the port by whatever name is served, as behind a Space's proxy.
            asked = urllib.request.Request(f"http://127.0.0.1:{port}/", headers={"Host": "lab.example.org"})
            with urllib.request.urlopen(asked, timeout=30) as answer:
                assert b"<html" in answer.read()
        finally:
            server.terminate()


def test_compose_serves_this_machine_and_keeps_the_runs():
    (service,) = COMPOSE["services"].values()
    port = service["environment"]["PORT"]
    assert service["build"] == "." and service["ports"] == [f"127.0.0.1:{port}:{port}"] and port == "8501"
    ((volume, place),) = (mount.split(":") for mount in service["volumes"])
    assert volume in COMPOSE["volumes"] and [place] == instructions("WORKDIR")


def test_the_readme_of_a_space_names_the_port_and_is_of_its_form():
    _, front, _ = SPACE.split("---\n", 2)
    told = yaml.safe_load(front)
    assert told["sdk"] == "docker" and str(told["app_port"]) == default_port() == instructions("EXPOSE")[0]
    assert len(told["short_description"]) <= 60
    assert {told["colorFrom"], told["colorTo"]} <= {
        "red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"
    }  # fmt: skip

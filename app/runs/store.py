"""Runs for the pages: where they are, cached loading, and the one place that turns a bad log into a calm box."""

from __future__ import annotations

import os
import re
import time
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

import streamlit as st

from analysis.outside import OutsideError, expanded
from analysis.payload import pack_run
from analysis.runs import Run, load_run
from files import REPOSITORY, stamp
from flexlora.adapter_config import AdapterConfig
from flexlora.errors import FlexLoRAError
from flexlora.run_log import RunLogError, find_runs, read_header
from flexlora.run_log.format import CHECKSUMS, HEADER, HEARTBEAT, LINES
from flexlora.study.files import RUNS
from flexlora.tasks import MODEL_TASKS
from runs.memory import give_back
from schedule.editor import AdapterSize, mean_cost
from serve import HERE

STUDIES = "studies"
"""Folder of the bundled studies, among the bundled runs."""
NEARBY = 3
"""Runs that are named in place of one that is not there."""
NEWCOMERS_RUN = "words-flexlora-paper"

# A run whose heartbeat is younger may still change its state without writing a record.
_RESTLESS_S = 60
# An end record is short.
_END_BYTES = 4096


class RunEntry(NamedTuple):
    """A run that can be opened.

    Attributes:
        key: What a link calls it: the folder's name, with "runs/" before it for the user's own; of a run of a study
            its place below the folder of runs, such as runs/STUDY/runs/RUN.
        folder: The run log.
    """

    key: str
    folder: Path


class OpenRun(NamedTuple):
    """A loaded run, and the payload of it that the player shows."""

    run: Run
    payload: bytes


def samples_root() -> Path:
    """Folder of the bundled runs."""
    return Path(os.environ.get("FLEXLORA_LAB_SAMPLES") or REPOSITORY / "sample_runs")


def runs_root() -> Path:
    """Folder of the user's own runs: that of the folder in which the server was started."""
    return Path(os.environ.get("FLEXLORA_LAB_RUNS") or "runs").absolute()


def named(typed: str, error: type[OutsideError]) -> Path:
    """Return the path that was typed; a relative one that leads nowhere begins in the Lab's own folder.

    ``error`` is raised for a ~ of nobody, and where `allowed` raises it.
    """
    path = expanded(typed, error)
    # Path.exists raises for a name that is too long.
    return allowed(path if os.path.exists(path) else REPOSITORY / path, error)  # noqa: PTH110


def allowed(path: Path, error: type[FlexLoRAError]) -> Path:
    """Return a path that a visitor named; docs/shared-server.md says when ``error`` is raised instead."""
    files = os.environ.get("FLEXLORA_LAB_FILES")
    hosts = {st.get_option("server.address"), *(st.get_option("server.allowedHosts") or ())}
    folders = [runs_root(), samples_root(), *([Path(files)] if files else [])]
    if (not files and hosts.issubset(HERE)) or any(path.resolve().is_relative_to(own.resolve()) for own in folders):
        return path
    told = f"in {files}" if files else "among the runs (flexlora app --files FOLDER opens another folder)"
    raise error(f"Others reach this server, so a path must lie {told}. Upload the files instead.")


def run_entries() -> list[RunEntry]:
    """Every run that can be opened: the bundled ones by name, then the user's own, newest first."""
    samples = sorted(find_runs(samples_root()), key=lambda folder: folder.name)
    own = find_runs(runs_root())
    return [RunEntry(folder.name, folder) for folder in samples] + [
        RunEntry(f"runs/{folder.name}", folder) for folder in own
    ]


def typed_path(entry: RunEntry) -> str:
    """Path of a run as a user types it in the server's folder, as runs/demo; else the whole path."""
    here = Path.cwd()
    return str(entry.folder.relative_to(here) if entry.folder.is_relative_to(here) else entry.folder)


def resolve_run(key: str, entries: list[RunEntry]) -> RunEntry | None:
    """The run among `run_entries` whose key an untrusted link names.

    The user's own may go by its bare name, as the picker shows it, where no bundled one has that key. A folder that
    exists without being a run has an entry too, so that its fault can be told; None otherwise.
    """
    by_key = {entry.key: entry for entry in entries}
    if found := by_key.get(key) or by_key.get(f"runs/{key}" if "/" not in key else key):
        return found
    own = key.startswith("runs/")
    parts = key.removeprefix("runs/").split("/")
    # A study's own runs lie below it: NAME/runs/RUN, of a bundled study studies/NAME/runs/RUN.
    above = [] if own else [STUDIES]
    placed = len(parts) == 1 or (len(parts) == len(above) + 3 and parts[: len(above)] == above and parts[-2] == RUNS)
    if not placed or any(not part or part != Path(part).name or part in {".", ".."} for part in parts):
        return None
    folder = (runs_root() if own else samples_root()).joinpath(*parts)
    try:
        return RunEntry(key, folder) if folder.is_dir() else None
    except OSError:
        # A name that is too long for a folder.
        return None


def nearby_runs(key: str, entries: list[RunEntry]) -> str:
    """Says which runs there are in place of one that is not: those with a name like it, else the first few."""
    keys = [entry.key for entry in sorted(entries, key=lambda entry: not entry.key.startswith("runs/"))]
    names = {one.removeprefix("runs/"): one for one in reversed(keys)}
    close = [names[name] for name in get_close_matches(key.removeprefix("runs/"), names, NEARBY)]
    if close:
        return f"Did you mean {' or '.join(close)}?"
    more = f" and {len(keys) - NEARBY} more" if len(keys) > NEARBY else ""
    return f"There are {', '.join(keys[:NEARBY])}{more}." if keys else "There is none here."


def default_run(keys: list[str]) -> str:
    """The one of these keys, bundled runs first, that a newcomer sees: the default task under the paper's preset."""
    return NEWCOMERS_RUN if NEWCOMERS_RUN in keys else keys[0]


def open_run(folder: Path) -> OpenRun | None:
    """Loads the run of a folder; None after a box was shown that says why it cannot be read."""
    try:
        return _load(str(folder), _stamp(folder))
    except RunLogError as error:
        st.warning(f"**This run cannot be opened.**\n\n{plain(str(error))}")
        return None


def chosen_run(asked: str) -> RunEntry | None:
    """The run that a page shows whose address asks for one, or for none; None when there is no run at all."""
    entries = run_entries()
    found = resolve_run(asked, entries) if asked else None
    return found or (resolve_run(default_run([entry.key for entry in entries]), entries) if entries else None)


def load_quietly(entry: RunEntry) -> OpenRun | None:
    """Loads a run from outside a page, for the page that will ask for it; None when it cannot be read."""
    try:
        return _load(str(entry.folder), _stamp(entry.folder))
    except (RunLogError, OSError):
        return None


@st.cache_data(max_entries=64, show_spinner=False)
def _shapes(task: str, targets: tuple[str, ...] | None) -> list[tuple[int, int]]:
    """In and out features of the matrices of a task, from the bundled run that adapts the same modules."""
    if task in MODEL_TASKS:
        # The model is the user's: what a bundled run of the task adapted says nothing about it.
        return []
    for entry in find_runs(samples_root()):
        try:
            header, _ = read_header(entry)
            config = header["config"]
            wanted = None if config.get("target_modules") is None else tuple(config["target_modules"])
            if header["task"] == task and wanted == targets:
                return [(row["in_features"], row["out_features"]) for row in header["matrices"]]
        except (RunLogError, KeyError, TypeError):
            continue
    return []


def adapter_size(task: str, config: AdapterConfig) -> AdapterSize:
    """How many matrices a job will adapt and what a direction costs; unknown where no bundled run tells."""
    shapes = _shapes(task, config.target_modules)
    return AdapterSize(len(shapes), config.initial_rank, mean_cost(shapes))


@st.cache_resource(max_entries=4, show_spinner=False)
def _load(folder: str, changed: tuple[int, ...]) -> OpenRun:
    run = load_run(Path(folder))
    payload = pack_run(run)
    # Each large run leaves others behind: those that fell out of this cache, and sessions that have ended.
    give_back()
    return OpenRun(run, payload)


def _stamp(folder: Path) -> tuple[int, ...]:
    """Changes whenever the run may have: with each flush, and every few seconds while somebody may be writing."""
    try:
        restless = time.time() - (folder / HEARTBEAT).stat().st_mtime < _RESTLESS_S and not _has_ended(folder)
    except OSError:
        restless = False
    return (*stamp(folder / HEADER, folder / CHECKSUMS), int(time.time() // 2) if restless else 0)


def _has_ended(folder: Path) -> bool:
    """True when the last line says so: whoever goes on with the run writes another, which the sizes tell."""
    try:
        with (folder / LINES).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _END_BYTES))
            last = file.read().rstrip(b"\n").rpartition(b"\n")[2]
    except FileNotFoundError:
        return False
    return last.startswith(b'{"record": "end"')


_SHORTCODE = re.compile(r":(?=[\w+-]+(?:/\w+)?:)")
"""Streamlit draws icons and emoji for such words, escaped or not; a sign of no width keeps them words."""


def plain(text: str) -> str:
    """Returns text that Markdown shows as it is: names of runs and files come from outside."""
    # A name that is no text has no place in a message to the browser.
    text = text.encode("utf-8", "backslashreplace").decode()
    text = _SHORTCODE.sub(":\u2060", text)
    return "".join(f"\\{character}" if character in r"\`*_{}[]<>()#+!|$~:" else character for character in text)

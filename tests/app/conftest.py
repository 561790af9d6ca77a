"""The app's folder on the path, as `streamlit run` puts it there; small run logs made on the spot; a real server."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
APP = REPOSITORY / "app"
if str(APP) not in sys.path:
    sys.path.insert(0, str(APP))

TYPES = ("query", "value", "ffn_in")
LAYERS = 2
STEPS = 40
EVENTS = (10, 15, 20, 25)
RANK = 4
START_TIMEOUT_S = 60
WINDOW = {"width": 1440, "height": 900}


def matrix_name(layer: int, module_type: str) -> str:
    return f"encoder.layer.{layer}.{module_type}"


def header_of(name: str, method: str) -> dict:
    matrices = [
        {"name": matrix_name(layer, kind), "layer": layer, "module_type": kind, "in_features": 32, "out_features": 32}
        for layer in range(LAYERS)
        for kind in TYPES
    ]
    return {
        "name": name,
        "created_unix_s": 1_700_000_000.0,
        "method": method,
        "preset": "paper",
        "task": "digits",
        "config": {"initial_rank": RANK, "total_steps": STEPS},
        "model": "test",
        "matrices": matrices,
        "seed": 0,
        "versions": {},
        "command": "python -m flexlora.train --task digits --out runs/test",
        "device": "cpu",
        "parent": None,
    }


def write_run(folder: Path, *, name: str | None = None, steps: int = STEPS, finish: bool = True) -> Path:
    """A log whose first matrix loses a direction at each event and whose last one gains one."""
    from flexlora.run_log import RunWriter

    header = header_of(name or folder.name, "flexlora")
    matrices = header["matrices"]
    generator = np.random.default_rng(0)
    slots = [list(range(RANK)) for _ in matrices]
    writer = RunWriter(folder, header)
    for step in range(1, steps + 1):
        writer.step(step, 1 / step, 0.01, 1 / step + 0.001, 1e-3, 1 if step in EVENTS else 0)
        values = [
            np.array([(1 + m) * step * 0.01 * 0.7**i for i in range(len(active))]) for m, active in enumerate(slots)
        ]
        writer.spectrum(step, values, [np.sort(v * generator.uniform(0.99, 1.01, len(v)))[::-1] for v in values])
        if step in EVENTS:
            removed, fresh = slots[0].pop(), max(slots[-1]) + 1
            slots[-1].append(fresh)
            importance = {matrix["name"]: 0.5 + 0.05 * m for m, matrix in enumerate(matrices)}
            writer.event(
                step,
                1,
                {"spectral_entropy": importance},
                "spectral_entropy",
                [{"matrix": matrices[0]["name"], "slot": removed, "singular_value": float(values[0][-1]), "rules": []}],
                [{"matrix": matrices[-1]["name"], "slot": fresh, "rules": []}],
                {},
                [],
            )
            if len(slots[0]) == 1:
                slots[0].append(max(slots[0]) + 1)
    if finish:
        writer.end("completed", wall_s=1.0, peak_memory_bytes=1)
    else:
        writer.close()
    return folder


def write_soft_run(folder: Path, method: str = "adalora") -> Path:
    """A log with gates: at the first event the first matrix loses a direction, which comes back at the third.

    The last direction of the last matrix is used in 60 % of the steps.
    """
    from flexlora.run_log import RunWriter

    header = header_of(folder.name, method)
    names = [matrix["name"] for matrix in header["matrices"]]
    gates = [np.ones(RANK) for _ in names]
    gates[-1][-1] = 0.6
    values = [np.array([0.8, -0.4, 0.2, 0.1]) for _ in names]
    writer = RunWriter(folder, header)
    for step in range(1, STEPS + 1):
        on = sum(int((own > 0).sum()) for own in gates)
        writer.step(step, 1 / step, 0.01, 1 / step, 1e-3, None, step_s=0.01, penalty=0.1 / step, target_rank=23)
        writer.spectrum(step, values, [np.sort(np.abs(own))[::-1] for own in values], [own.copy() for own in gates])
        if step in (EVENTS[0], EVENTS[2]):
            off = step == EVENTS[0]
            move = {"matrix": names[0], "slot": 3, "score": 0.125, "rules": ["masked" if off else "revived"]}
            prune, extend = ([{**move, "singular_value": 0.1}], []) if off else ([], [move])
            writer.event(step, on - 23, {"score": {}}, "score", prune, extend, target_rank=23, threshold=0.5)
            gates[0][3] = 0.0 if off else 1.0
    writer.eval(STEPS, "test", {"accuracy": 0.9})
    writer.end("completed", wall_s=1.0, state_bytes={"adapter": 10, "optimizer": 20, "method": 4000})
    return folder


@pytest.fixture(scope="session")
def logged() -> SimpleNamespace:
    """What `make_run` writes: .events (steps), .steps (the last one), .name(layer, module_type)."""
    return SimpleNamespace(events=EVENTS, steps=STEPS, name=matrix_name)


@pytest.fixture(scope="session")
def make_run() -> Callable[..., Path]:
    """Writes a small log into a folder."""
    return write_run


@pytest.fixture(scope="session")
def make_soft_run() -> Callable[..., Path]:
    """Writes a small log with gates into a folder."""
    return write_soft_run


@pytest.fixture
def roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Empty folders for the bundled and the user's runs, and an app that looks nowhere else."""
    import streamlit

    samples, own = tmp_path / "samples", tmp_path / "runs"
    samples.mkdir()
    own.mkdir()
    monkeypatch.setenv("FLEXLORA_LAB_SAMPLES", str(samples))
    monkeypatch.setenv("FLEXLORA_LAB_RUNS", str(own))
    # Without a server's options an app does not know who reaches it.
    monkeypatch.setenv("FLEXLORA_LAB_FILES", "/")
    streamlit.cache_resource.clear()
    return samples, own


@pytest.fixture(scope="session")
def served_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with what `server` serves: samples/ and runs/."""
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="session")
def server(served_root: Path) -> Iterator[str]:
    """Address of the app, served once per session with one sample run and one run of the user's."""
    root = served_root
    write_run(root / "samples" / "test-paper")
    write_run(root / "runs" / "other", name='<other> & "its" name')
    write_soft_run(root / "runs" / "soft")
    for name in ("studies", "costs"):
        shutil.copytree(REPOSITORY / "sample_runs" / name, root / "samples" / name)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    environment = {
        **os.environ,
        "FLEXLORA_LAB_SAMPLES": str(root / "samples"),
        "FLEXLORA_LAB_RUNS": str(root / "runs"),
    }
    command = [sys.executable, "-m", "streamlit", "run", "app/main.py", "--server.port", str(port)]
    log = root / "server.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            command, cwd=REPOSITORY, env=environment, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
        )
    try:
        _wait_for(address, process, log)
        yield address
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(address: str, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            pytest.fail(f"The server ended with code {process.returncode}:\n{log.read_text()}")
        try:
            with urllib.request.urlopen(f"{address}/_stcore/health", timeout=2) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"The server did not answer within {START_TIMEOUT_S} s:\n{log.read_text()}")


class _Module(SimpleHTTPRequestHandler):
    """Hands out a file of the app to any page."""

    def end_headers(self) -> None:
        self.send_header("Access-Control-Allow-Origin", "*")
        super().end_headers()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture(scope="session")
def modules() -> Iterator[Callable[..., str]]:
    """f(*paths below app/) → what a script writes for an object of all that these modules export."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Module, directory=str(APP)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_port}"

    def exports(*paths: str) -> str:
        return f"Object.assign({{}}, {', '.join(f'await import(`{base}/{path}`)' for path in paths)})"

    yield exports
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def browser() -> Iterator:
    """A real Chromium. Without one these tests fail: a skipped journey proves nothing."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        pytest.fail("Playwright is missing. Install it: pip install -r requirements-dev.txt")
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    path = path or shutil.which("google-chrome")
    if not path:
        pytest.fail("No Chromium found. Install one (apt-get install chromium) or name it in CHROMIUM.")
    arguments = (
        "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
        "--disable-component-update --disable-sync"
    )
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=arguments.split())
        yield chromium
        chromium.close()


FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report


def _tell(page) -> None:
    """Print what a page shows, for a test that failed on it."""
    print(f"--- {page.url}")
    for what in ("[data-testid=stMain]", ".fl-trouble"):
        print(*page.locator(what).all_inner_texts(), sep="\n")
    for node in page.locator(".fl-player").all():
        print(node.evaluate("node => node.cloneNode(false).outerHTML"))


class Tab:
    """A tab that tests use one after another: to start a page's process costs more than to load the app in it.

    Attributes:
        page: without cookies, storage, routes and a pointer of an earlier test.
        errors: what scripts threw in it since it was reset.
    """

    def __init__(self, browser, server: str) -> None:
        self._browser, self._rest = browser, f"{server}/_stcore/health"
        self.errors: list[str] = []
        self._open()

    def _open(self) -> None:
        self._context = self._browser.new_context(viewport=WINDOW)
        self.page = self._context.new_page()
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))

    def reset(self) -> None:
        """Leave the app, and everything that it or a test has left behind."""
        if self.page.is_closed():
            self._context.close()
            self._open()
        for other in self._context.pages:
            if other is not self.page:
                other.close()
        self.page.unroute_all(behavior="ignoreErrors")
        # The same origin: another one would end the page's process.
        self.page.goto(self._rest)
        self.page.evaluate("localStorage.clear(); sessionStorage.clear()")
        self._context.clear_cookies()
        self.page.mouse.move(0, 0)
        self.page.set_viewport_size(WINDOW)
        self.page.emulate_media(reduced_motion="no-preference")
        self.errors.clear()


@pytest.fixture(scope="session")
def only_tab(browser, server) -> Tab:
    return Tab(browser, server)


@pytest.fixture
def tab(only_tab, request) -> Iterator:
    """A page as in a new profile, before it goes anywhere; errors in it fail the test."""
    context = only_tab.page.context
    yield only_tab.page
    if FAILED in request.node.stash:
        for page in context.pages:
            _tell(page)
    errors = [*only_tab.errors]
    only_tab.reset()
    assert not errors


@pytest.fixture
def open_page(browser, server, tab, request) -> Iterator[Callable]:
    """Opens an address of the app, each time in a new browser profile; errors in the page fail the test.

    Only the first page, if it asks for no more than a size and less motion, is the tab that tests share; ``new=True``:
    not that one either.
    """
    contexts, errors, free = [], [], [tab]

    def go(address: str = "/", *, new: bool = False, **options):
        if free and not new and set(options) <= {"viewport", "reduced_motion"}:
            page = free.pop()
            page.set_viewport_size(options.get("viewport", WINDOW))
            page.emulate_media(reduced_motion=options.get("reduced_motion", "no-preference"))
        else:
            context = browser.new_context(**{"viewport": WINDOW, **options})
            contexts.append(context)
            page = context.new_page()
            page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(server + address)
        return page

    yield go
    for context in contexts:
        if FAILED in request.node.stash:
            for page in context.pages:
                _tell(page)
        context.close()
    assert not errors

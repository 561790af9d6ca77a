"""A class of thirty at one server: does everybody see each step in time, and does training go on?

python benchmarks/class_load.py [--sessions 30] [--waves 3] [--steps 12] [--alone 25]

Everything runs on this machine, over loopback: the server, the browsers and the clients share its cores, which the
laptops of a class would not, so browsers and clients run at a lower priority. What is real and what is not:

- One leader and two students are real browsers (Chromium). The leader presses keys and follows links in it.
- The others join over HTTP, keep the long poll of the class's bar open, and hold a session of the app on its WebSocket,
  with the parts of pages that run again by themselves. They fetch the page and, in Explore, the run's payload, and run
  the script of each page that the leader goes to. They draw nothing and fetch none of the page's files, which browsers
  keep. A step within one run costs a browser no question to the server, so here it ends with the news of it.
- One job trains (the leader's, started in the browser), and five members' jobs wait, started by the page's own button
  over the WebSocket by members who then leave.

Prints one JSON object: failed sessions, seconds from the leader's key to each session (median, p95, longest) for steps
of one run and for another page, memory of the server and of the process that trains after each wave, training steps a
second with the class and alone before and after it, and whether two Starts at one instant both came to their end. Exits
with 1 when a session failed or a run did not end.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from urllib.parse import parse_qsl, urlsplit

import psutil
from class_members import RUN, Crowd, Member
from first_picture import ARGUMENTS, ROOT, free_port, wait_until_healthy
from playwright.sync_api import Browser, Page, sync_playwright
from two_browsers import PRESS, settled, state_of

sys.path.insert(0, str(ROOT))
from flexlora.run_log import RunLogError, glance_run

SERVE = "import sys; from app.serve import main; sys.exit(main(sys.argv[1:]))"
LATE_S = 8.0
"""A session that has not seen a step by then has failed."""
GONE_S = 35.0
"""A session that was left is forgotten by the server after 30 s."""
WAITING = 5
SEEN = """() => { window.seen = {}; const look = () => { const at = location.pathname + location.search;
    window.seen[at] ??= Date.now() / 1000; setTimeout(look, 15); }; look(); }"""


@dataclass
class Times:
    """Seconds from a key of the leader to each session."""

    steps: list[float] = field(default_factory=list)
    pages: list[float] = field(default_factory=list)


def enter(browser: Browser, address: str, path: str, name: str, code: str = "") -> Page:
    """Join by the page, as the leader without a code; return the page that one comes to."""
    page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    page.set_default_timeout(60_000)
    page.goto(address + path)
    if code:
        page.fill("[name=code]", code)
    page.fill("[name=name]", name)
    page.click("button")
    page.wait_for_selector(".cl-row")
    return page


def set_up(page: Page, address: str, task: str, seed: int, steps: int) -> None:
    """Fill in Train's form."""
    page.goto(f"{address}/train")
    page.get_by_role("combobox", name="Task").click()
    page.get_by_text(task, exact=True).last.click()
    for name, value in (("Steps", steps), ("Seed", seed)):
        settled(page)
        page.get_by_role("spinbutton", name=name, exact=True).fill(str(value))
        page.keyboard.press("Enter")
    settled(page)


def step_now(folder: Path) -> int:
    """Return how many steps a log has."""
    try:
        return glance_run(folder).step
    except RunLogError:
        return 0


class Pace:
    """Steps a second of a log between two moments."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._step, self._at = folder, step_now(folder), time.monotonic()

    def so_far(self) -> float:
        """Return it."""
        return (step_now(self._folder) - self._step) / (time.monotonic() - self._at)


def alone(folder: Path, seconds: float) -> float:
    """Return the pace of a log while nobody asks for anything."""
    pace = Pace(folder)
    time.sleep(seconds)
    return pace.so_far()


def lead(leader: Page, students: list[Page], crowd: Crowd, moves: int, times: Times) -> list[str]:
    """Let the leader go through steps of a run and to other pages; return which sessions missed one."""
    missed: list[str] = []
    links = {moves // 3: "Methods", moves // 3 + 1: "Explore", 2 * moves // 3: "Runs", 2 * moves // 3 + 1: "Explore"}
    for move in range(moves):
        for student in students:
            student.evaluate("window.seen = {}")
        before, began = leader.evaluate("location.href"), time.time()
        if move in links:
            leader.get_by_role("link", name=links[move]).first.click()
        else:
            # A link that was followed keeps the keyboard.
            leader.evaluate("document.activeElement?.blur()")
            leader.keyboard.press("ArrowRight")
        leader.wait_for_function("before => location.href !== before", arg=before)
        # A page writes its own address some time after it was opened.
        leader.wait_for_timeout(1500)
        if links.get(move, "Explore") == "Explore":
            # The next key is for the player.
            leader.wait_for_selector(".fl-player[data-step]")
        told = leader.evaluate("async () => (await (await fetch('lab/class/state?since=-1&wait=0')).json()).lead")
        deadline = began + LATE_S
        while time.time() < deadline and not all(seen_at(member, told["number"]) for member in crowd.members):
            time.sleep(0.02)
        into = times.pages if move in links else times.steps
        for number, member in enumerate(crowd.members):
            seen = seen_at(member, told["number"])
            into.append(seen - began) if seen else missed.append(f"member {number} missed move {move}")
        wanted = (told["page"], told["query"])
        for number, student in enumerate(students):
            while (seen := arrival(student, wanted)) is None and time.time() < deadline:
                time.sleep(0.02)
            into.append(seen - began) if seen else missed.append(f"browser {number} missed move {move}: {wanted}")
    return missed


def arrival(student: Page, wanted: tuple[str, dict[str, str]]) -> float | None:
    """Return when a student's address was first the place that the server tells, whatever it has become since."""
    for at, when in student.evaluate("window.seen").items():
        parts = urlsplit(at)
        if (parts.path.strip("/"), dict(parse_qsl(parts.query))) == wanted:
            return float(when)
    return None


def seen_at(member: Member, number: int) -> float | None:
    """Return when a member had a move of the leader, or a later one."""
    return next((at for own, at in member.seen if own >= number), None)


def summary(values: list[float]) -> dict[str, float]:
    """Return median, p95 and longest of some seconds."""
    order = sorted(values)
    return {
        "count": len(order),
        "median_s": round(median(order), 2),
        "p95_s": round(order[int(0.95 * (len(order) - 1))], 2),
        "longest_s": round(order[-1], 2),
    }


def wave(
    browser: Browser, leader: Page, address: str, code: str, count: int, moves: int, times: Times, number: int
) -> list[str]:
    """One class: everybody joins at once, follows, and leaves; return what went wrong."""
    crowd = Crowd(address, code)
    crowd.come(count - 3)
    students = [enter(browser, address, "/", f"Student {number}.{place}", code) for place in (1, 2)]
    for student in students:
        student.wait_for_selector(".fl-player .fl-top")
        student.evaluate(SEEN)
    leader.goto(f"{address}/?run={RUN}&step={60 + number}")
    leader.wait_for_selector(".fl-player .fl-top")
    leader.wait_for_timeout(3000)
    missed = lead(leader, students, crowd, moves, times)
    for student in students:
        student.context.close()
    return [*missed, *crowd.leave()]


def two_at_once(browser: Browser, address: str, code: str, runs: Path) -> dict[str, object]:
    """Two members press Start at the same instant; do both runs come to their end?"""
    pages = [enter(browser, address, "/train", f"Starter {seed}", code) for seed in (901, 902)]
    for seed, page in zip((901, 902), pages, strict=True):
        # Who follows would be taken to the leader's page.
        page.get_by_role("button", name="Let go").click()
        set_up(page, address, "Digits (toy)", seed, 60)
    at = time.time() * 1000 + 1500
    for page in pages:
        page.evaluate(f"(args) => {{ window.pressed = ({PRESS})(args) }}", [at, ".st-key-train_start button"])
    pressed = [float(page.evaluate("() => window.pressed")) for page in pages]
    folders = [runs / f"digits-flexlora-paper-s{seed}" for seed in (901, 902)]
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and [state_of(folder) for folder in folders] != ["finished"] * 2:
        time.sleep(1)
    for page in pages:
        page.context.close()
    return {"apart_ms": round(abs(pressed[0] - pressed[1])), "states": [state_of(folder) for folder in folders]}


def sizes(server: psutil.Process) -> tuple[int, int]:
    """Return the memory of the server and that of its processes, in MB."""
    children = sum(child.memory_info().rss for child in server.children(recursive=True))
    return round(server.memory_info().rss / 2**20), round(children / 2**20)


def measure(browser: Browser, server: subprocess.Popen[bytes], address: str, printed: str, runs: Path, options) -> dict:
    """Return what the module's docstring promises."""
    found, link = re.search(r"Code +(\w+) (\w+)", printed), re.search(r"(/lab/class/leader\?token=\S+)", printed)
    assert found and link, printed
    code, process, times = found[1] + found[2], psutil.Process(server.pid), Times()
    leader = enter(browser, address, link[1], "Leader")
    set_up(leader, address, "Word sentiment", 900, 20_000)
    leader.click(".st-key-train_start button")
    folder = runs / "words-flexlora-paper-s900"
    while step_now(folder) < 20:
        leader.wait_for_timeout(500)
    Crowd(address, code).start([910 + number for number in range(WAITING)])
    leader.goto("about:blank")
    time.sleep(GONE_S)
    memory, faults, paces, before = [sizes(process)], [], [], alone(folder, options.alone)
    leader.goto(f"{address}/?run={RUN}&step=50")
    leader.wait_for_selector(".fl-player .fl-top")
    leader.get_by_role("button", name="Follow me").click()
    for number in range(options.waves):
        pace = Pace(folder)
        faults += wave(browser, leader, address, code, options.sessions, options.steps, times, number)
        paces.append(pace.so_far())
        leader.goto("about:blank")
        time.sleep(GONE_S)
        memory.append(sizes(process))
    after = alone(folder, options.alone)
    waited = len([path for path in runs.glob("digits-*") if not (path / "run.json").exists()])
    leader.goto(f"{address}/class")
    leader.get_by_role("button", name="Stop all").click()
    leader.get_by_role("button", name=re.compile("Stop [0-9]+ jobs?")).click()
    leader.wait_for_selector("text=Nothing trains, and nobody waits.")
    measured = {
        "sessions": options.sessions,
        "faults": faults,
        "step_of_one_run": summary(times.steps),
        "another_page": summary(times.pages),
        "memory_mb": [own for own, _ in memory],
        "training_memory_mb": [children for _, children in memory],
        "training_steps_s": {"alone_before": round(before, 2), "alone_after": round(after, 2),
                             "waves": [round(own, 2) for own in paces]},
        "training_share": round(min(paces) / ((before + after) / 2), 2),
        "waited_all_along": waited,
        "load_average": [round(load, 1) for load in os.getloadavg()],
    }  # fmt: skip
    sys.stderr.write(f"{json.dumps(measured)}\n")
    return {**measured, "two_starts": two_at_once(browser, address, code, runs)}


def main() -> int:
    """Serve a class, let it be attended, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sessions", type=int, default=30)
    parser.add_argument("--waves", type=int, default=3)
    parser.add_argument("--steps", type=int, default=12, help="moves of the leader in a wave; four are to other pages")
    parser.add_argument("--alone", type=float, default=25.0, help="seconds in which training alone is timed")
    options = parser.parse_args()
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    load, port = os.getloadavg(), free_port()
    address = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        runs, log = Path(folder) / "runs", Path(folder) / "log"
        command = [sys.executable, "-c", SERVE, "--class", "--port", str(port), "--runs", str(runs)]
        with log.open("wb") as output:
            server = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )  # fmt: skip
        # The laptops of a class take nothing from the server's cores: what stands for them gives way to it here.
        os.nice(10)
        try:
            wait_until_healthy(address)
            browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS.split())
            found = measure(browser, server, address, log.read_text(), runs, options)
            browser.close()
        finally:
            server.kill()
            server.wait()
    found["load_average_before"] = [round(value, 1) for value in load]
    sys.stdout.write(json.dumps(found, indent=1) + "\n")
    return bool(found["faults"]) or found["two_starts"]["states"] != ["finished", "finished"]


if __name__ == "__main__":
    sys.exit(main())

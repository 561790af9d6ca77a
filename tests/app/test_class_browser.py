"""A leader and two students in real browsers: join, wrong code, follow, let go, a poll, another's run."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NAME = "<img src=x onerror=window.hacked=1>Ann"
SERVE = "import sys; from app.serve import main; sys.exit(main(sys.argv[1:]))"
WAIT_MS = 60_000
STEPS_SEEN = """() => { window.steps = new Set(); const look = () => {
    window.steps.add(new URLSearchParams(location.search).get("step") ?? 0); setTimeout(look, 20); }; look(); }"""


class Class:
    """A served class: its address, code and leader's link, as its command printed them."""

    def __init__(self, root: Path, address: str, printed: str) -> None:
        self.root, self.address = root, address
        found = re.search(r"Code +(\w+) (\w+)", printed)
        link = re.search(r"(/lab/class/leader\?token=\S+)", printed)
        assert found and link, printed
        self.code, self.link = found[1] + found[2], link[1]


@pytest.fixture
def served_class(tmp_path, make_run):
    make_run(tmp_path / "runs" / "other")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path / "log"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", SERVE, "--class", "--name", "<b>School</b>", "--port", str(port)]
    with log.open("w") as output, subprocess.Popen(
        [*command, "--runs", str(tmp_path / "runs")], cwd=tmp_path, env=environment, stdout=output,
        stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        try:
            deadline = time.monotonic() + 60
            while not is_well(f"http://127.0.0.1:{port}"):
                assert process.poll() is None and time.monotonic() < deadline, log.read_text()
                time.sleep(0.1)
            yield Class(tmp_path / "runs", f"http://127.0.0.1:{port}", log.read_text())
        finally:
            process.kill()


def is_well(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/_stcore/health", timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


@pytest.fixture
def newcomer(browser):
    """Opens pages, each of a browser of its own; what a script throws in one fails the test."""
    errors: list[str] = []
    contexts = []

    def come(width: int = 1280):
        context = browser.new_context(viewport={"width": width, "height": 800})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(WAIT_MS)
        page.on("pageerror", lambda error: errors.append(str(error)))
        return page

    yield come
    for context in contexts:
        context.close()
    assert not errors


def join(page, school: Class, name: str, path: str = "/") -> None:
    page.goto(school.address + path)
    page.fill("[name=code]", school.code.lower())
    page.fill("[name=name]", name)
    page.click("button")
    page.wait_for_selector(".cl-row .cl-name")


def is_at(page, step: int) -> None:
    page.wait_for_function(f"new URLSearchParams(location.search).get('step') === '{step}'")


def test_a_leader_and_two_students(served_class, newcomer):
    leader, ann, ben = newcomer(), newcomer(), newcomer(1024)
    leader.goto(served_class.address + served_class.link)
    leader.get_by_role("button", name="Lead this class").click()
    leader.wait_for_selector(".cl-row")

    ann.goto(served_class.address + "/runs?x=1")
    ann.fill("[name=code]", "WRONGX")
    ann.fill("[name=name]", NAME)
    ann.click("button")
    assert "does not fit" in ann.inner_text("[role=alert]")
    assert ann.locator(".stApp").count() == 0
    ann.fill("[name=code]", served_class.code)
    ann.click("button")
    ann.wait_for_url("**/runs?x=1")
    ann.wait_for_selector(".cl-row")
    assert ann.inner_text(".cl-name") == NAME and ann.inner_text(".cl-title") == "<b>School</b>"
    join(ben, served_class, "Ben", "/?run=runs/other")

    # Everybody goes where the leader is, a player of the same run without a rerun, another page by one.
    leader.goto(f"{served_class.address}/?run=runs/other&step=12")
    leader.get_by_role("button", name="Follow me").click()
    for student in (ann, ben):
        is_at(student, 12)
        student.wait_for_selector(".fl-player .fl-top")
    leader.wait_for_selector(".fl-player .fl-top")
    leader.keyboard.press("ArrowRight")
    for student in (ann, ben):
        is_at(student, 13)
    ben.get_by_role("button", name="Let go").click()
    leader.keyboard.press("ArrowRight")
    is_at(ann, 14)
    ben.wait_for_timeout(400)
    is_at(ben, 13)
    ben.get_by_role("button", name="Follow again").click()
    is_at(ben, 14)
    # While the leader's clock moves, its address stays; others see it move all the same.
    ann.evaluate(STEPS_SEEN)
    leader.keyboard.press(" ")
    is_at(ann, 40)
    between = [int(step) for step in ann.evaluate("[...window.steps]") if 14 < int(step) < 40]
    assert between and between == sorted(between)
    leader.get_by_role("link", name="Methods").first.click()
    for student in (ann, ben):
        # Methods reads no address: what stood in the leader's before may still be in a student's.
        student.wait_for_function("location.pathname.endsWith('/methods')")
    # Explore's own address names no run; what the leader sees there is what others see.
    leader.get_by_role("link", name="Explore").first.click()
    for student in (ann, ben):
        student.wait_for_function(
            "location.pathname === '/' && new URLSearchParams(location.search).get('run') === 'runs/other'"
        )

    # A presenter's keys turn the steps of the lesson; what a student did there is counted.
    leader.goto(f"{served_class.address}/learn")
    leader.wait_for_function("new URLSearchParams(location.search).has('lesson')")
    leader.get_by_role("button", name="Present", exact=True).click()
    for _ in range(3):
        before = leader.evaluate("location.search")
        leader.keyboard.press("PageDown")
        leader.wait_for_function("before => location.search !== before", arg=before)
        at = leader.evaluate("location.pathname + location.search")
        for student in (ann, ben):
            student.wait_for_function("at => location.pathname + location.search === at", arg=at)
    leader.keyboard.press("Escape")
    ann.locator("[aria-current=step] .ln-option").first.click()

    # The leader's own page leads nobody. One vote each; counts when they are shown.
    leader.get_by_role("link", name="Class").first.click()
    leader.get_by_label("Question").fill("Which?")
    leader.get_by_label("Choices, one a line").fill("one\ntwo")
    leader.keyboard.press("Control+Enter")
    leader.get_by_role("button", name="Ask the class").click()
    for student, choice in ((ann, "one"), (ben, "one"), (ben, "two")):
        student.locator(".cl-choice", has_text=choice).click()
        student.wait_for_selector(f".cl-choice[aria-pressed=true]:has-text('{choice}')")
    assert ann.locator(".cl-count").count() == 0 and "/learn?" in ann.url
    leader.wait_for_selector("text=begun by 1 of 2")
    leader.get_by_role("button", name="Show everybody").click()
    ann.wait_for_selector(".cl-count")
    assert ann.locator(".cl-count").all_inner_texts() == ["1", "1"]
    leader.wait_for_selector(f"text={NAME}, Ben")

    # What only the leader may do is refused where it matters, and no name was ever run.
    claim = "{method: 'POST', body: JSON.stringify({on: true, page: '', query: {}})}"
    status = ben.evaluate(f"async () => (await fetch('lab/class/lead', {claim})).status")
    assert status == 403
    for page in (leader, ann, ben):
        assert page.evaluate("window.hacked") is None
    request = urllib.request.Request(f"{served_class.address}/lab/run/runs/other")
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(request)


def test_the_worksheet_prints_on_two_pages(browser):
    context = browser.new_context()
    page = context.new_page()
    page.goto((ROOT / "docs" / "worksheet.html").as_uri())
    printed = page.pdf(prefer_css_page_size=True)
    context.close()
    assert re.findall(rb"/Count (\d+)", printed) == [b"2"]

"""A server that is killed in the middle of a class: whatever somebody was told is there after the restart."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

from classroom.codes import make_codes
from classroom.room import Room
from classroom.state import ClassState

APP = Path(__file__).resolve().parents[2] / "app"
TEACH = """
import sys
from pathlib import Path
from classroom.room import Room
from classroom import state as s
room = Room(Path(sys.argv[1]))
n = room.state.version
while True:
    n += 1
    member = f"m{n % 40}"
    if member not in room.state.members:
        done = room.join(member, f"Member {n % 40}")
    elif n % 25 == 0 and len(room.state.polls) < 100:
        done = room.change(s.asked, f"Question {n}", ["yes", "no"])
    elif n % 3 == 0 and room.state.polls:
        done = room.change(s.answered, member, room.state.polls[-1].number, n % 2)
    elif n % 3 == 1:
        told = {"lesson": f"L{n % 7}", "step": n % 50, "right": n % 2 == 0, "version": 1}
        done = room.change(s.progressed, member, told)
    else:
        done = room.change(s.led, True, "learn", {"step": str(n)})
    print(done.version, done.lead.number, len(done.members), len(done.polls), flush=True)
"""
ACKNOWLEDGED = ("version", "lead", "members", "polls")


def told_before_it_died(root: Path, lines: int) -> dict[str, int]:
    """Let a server teach, kill it some lines after it began, return what it last told."""
    environment = {**os.environ, "PYTHONPATH": f"{APP.parent}{os.pathsep}{APP}"}
    with subprocess.Popen(
        [sys.executable, "-c", TEACH, str(root)], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        told = [process.stdout.readline() for _ in range(lines)]
        process.send_signal(signal.SIGKILL)
        # What it had told until the signal came counts, too; the last line may be cut.
        told += [line for line in process.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
    assert process.returncode == -signal.SIGKILL
    return dict(zip(ACKNOWLEDGED, map(int, told[-1].split()), strict=True))


def now(state: ClassState) -> dict[str, int]:
    counted = (state.version, state.lead.number, len(state.members), len(state.polls))
    return dict(zip(ACKNOWLEDGED, counted, strict=True))


def test_what_was_told_is_kept_whenever_the_server_is_killed(tmp_path):
    codes, _ = make_codes(tmp_path, "School")
    draw = random.Random(7)
    before = 0
    for _ in range(4):
        told = told_before_it_died(tmp_path, draw.randrange(1, 120))
        room = Room(tmp_path)
        held = now(room.state)
        assert held["version"] >= told["version"] > before and not room.notice
        # One change may be in the file that nobody was told of.
        assert all(0 <= held[name] - told[name] <= 1 for name in ACKNOWLEDGED)
        assert room.codes == codes and all(sum(poll.counts) == len(poll.votes) for poll in room.state.polls)
        before = held["version"]
        room.close()

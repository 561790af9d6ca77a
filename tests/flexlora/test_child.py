"""The parent's end of a child process: what it is told, and how it died."""

from __future__ import annotations

import os
import signal

import psutil
import pytest

from flexlora.child import Child


def test_a_child_ends_in_order_when_it_is_closed():
    child = Child("flexlora.served")
    assert child.lives
    assert child.close() == "" and not child.lives
    assert not child.send({"command": "stop"}), "nobody is there to hear it"
    assert child.close() == ""


def test_what_cannot_be_started_says_why_in_one_line():
    child = Child("flexlora.no_such_module")
    assert list(child.answers()) == []
    assert "no_such_module" in (told := child.close()) and "\n" not in told


def test_a_child_that_is_killed_says_by_what():
    child = Child("flexlora.served")
    child.kill()
    assert list(child.answers()) == [] and child.close() == "It was ended by SIGKILL."


@pytest.mark.skipif(os.name != "posix", reason="such priorities and sessions are POSIX's")
def test_a_child_gives_way_and_hears_no_signal_of_the_parents_session():
    child = Child("flexlora.served", niceness=3, own_session=True)
    (one,) = [own for own in psutil.Process().children() if "flexlora.served" in own.cmdline()]
    assert one.nice() == min(psutil.Process().nice() + 3, 19)
    assert os.getsid(one.pid) == one.pid != os.getsid(0)
    one.send_signal(signal.SIGTERM)
    assert child.close() == "It was ended by SIGTERM."

"""`flexlora app --class`: what it prints, and what it refuses before anything is served."""

from __future__ import annotations

import os
import re
import socket

import pytest

from app import serve
from app.classroom import announce, codes
from classroom.codes import FOLDER, LOCK
from flexlora.run_log.disk import is_locked_elsewhere


@pytest.fixture
def started(tmp_path, capsys, monkeypatch):
    """Runs the command as far as the server; returns its exit status and what it printed."""
    import streamlit.web.cli

    monkeypatch.setattr(streamlit.web.cli, "main", lambda *_, **__: 0)
    # Set here, so that what the command sets is taken back.
    for name in ("FLEXLORA_LAB_RUNS", "FLEXLORA_LAB_CLASS", "FLEXLORA_LAB_FILES", "FORWARDED_ALLOW_IPS"):
        monkeypatch.setenv(name, "")

    def start(*more: str) -> tuple[int, str]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        status = serve.main(["--class", "--runs", str(tmp_path), "--port", str(port), *more])
        return status, capsys.readouterr().err

    return start


def test_it_prints_code_and_leaders_link_once_and_the_same_code_again(started, tmp_path):
    status, first = started("--name", "Spring\tschool")
    code, token = re.search(r"Code +(\w+ \w+)", first), re.search(r"leader\?token=(\S+)", first)
    assert status == 0 and code and token and "Class      Spring school\n" in first and "█" in first
    held = codes.read_codes(tmp_path)
    assert held.code == code[1].replace(" ", "") and held.leads(token[1])
    _, again = started("--name", "Autumn")
    assert code[0] in again and token[1] not in again and "Class      Autumn" in again
    _, new = started("--new-codes")
    assert code[1] not in new and "leader?token=" in new and not codes.read_codes(tmp_path).leads(token[1])


def test_it_says_what_it_opens(started):
    assert "Only this machine reaches it" in started()[1]
    told = started("--host", "0.0.0.0", "--address", "http://192.0.2.7:80/")[1]
    assert "open to the network" in told and "Without HTTPS" in told and "http://192.0.2.7:80/?code=" in told


@pytest.mark.parametrize(
    ("options", "why"),
    [(("--name", "x" * 61), "61 characters"), (("--address", "lab.local"), "--address lab.local is none")],
)
def test_what_makes_no_class_is_refused_in_one_line(started, options, why):
    status, told = started(*options)
    assert status == 2 and why in told and len(told.splitlines()) == 1


def test_damaged_codes_and_a_class_that_is_served_are_refused_in_one_line(started, tmp_path):
    started()
    with (tmp_path / FOLDER / LOCK).open("ab") as lock:
        assert not is_locked_elsewhere(lock)
        status, told = started()
        assert status == 2 and "Another server holds the class" in told and len(told.splitlines()) == 1
    (tmp_path / FOLDER / "codes.json").write_text("[]")
    status, told = started()
    assert status == 2 and "--new-codes makes new ones" in told and len(told.splitlines()) == 1
    assert started("--new-codes")[0] == 0


def test_addresses_of_a_server_for_everybody_are_those_of_its_networks():
    found = announce.addresses_of("0.0.0.0", 8501)
    assert found and all(re.fullmatch(r"http://[0-9.]+:8501", address) for address in found)
    assert announce.addresses_of("::1", 80) == ["http://[::1]:80"]


def test_a_terminal_without_half_blocks_gets_no_picture_and_a_page_one_that_holds_the_same():
    assert "No QR code" in announce.qr_text("http://x", "ascii") and "█" in announce.qr_text("http://x")
    assert announce.qr_svg("http://x").startswith("<svg")


def test_no_proxy_is_believed_unless_one_is_named(started, monkeypatch):
    monkeypatch.delenv("FORWARDED_ALLOW_IPS", raising=False)
    started()
    assert os.environ["FORWARDED_ALLOW_IPS"] == ""
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "127.0.0.1")
    started()
    assert os.environ["FORWARDED_ALLOW_IPS"] == "127.0.0.1"

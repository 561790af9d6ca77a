"""A class at the level of the protocol: who comes in, what is refused, what is told."""

from __future__ import annotations

import json
import re

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import HTMLResponse, PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from classroom import room as rooms
from classroom.attempts import PER_ADDRESS, Attempts
from classroom.codes import make_codes
from classroom.gate import Gate
from classroom.room import Room
from classroom.routes import LARGEST, routes
from flexlora.errors import FlexLoRAError
from jobs import sharing
from jobs.visitor import COOKIE, BrowserCookie

PAGE = {"accept": "text/html"}
SCRIPT = "<script>alert(1)</script>"
STUDENTS_MAY_NOT = [
    ("lead", {"on": True, "page": "train", "query": {}}),
    ("poll", {"poll": 1, "open": False}),
    ("poll", {"poll": 1, "revealed": True}),
]


class School:
    """A server with a class, and browsers at it."""

    def __init__(self, root) -> None:
        self.codes, self.token = make_codes(root, f"School {SCRIPT}")
        self.room = Room(root)

        async def page(_):
            return HTMLResponse("the app")

        async def run(_):
            return PlainTextResponse("numbers")

        async def socket(found):
            await found.accept()
            await found.send_text("the app")
            await found.close()

        self.heard: list[str] = []

        async def echo(found):
            await found.accept()
            async for text in found.iter_text():
                self.heard.append(text)
                await found.send_text(text)

        self.app = Starlette(
            routes=[
                *routes("", self.room),
                Route("/lab/run/{name:path}", run),
                Route("/_stcore/health", run),
                WebSocketRoute("/_stcore/stream", socket),
                WebSocketRoute("/echo", echo),
                Route("/{_:path}", page),
            ],
            middleware=[Middleware(BrowserCookie), Middleware(Gate, room=self.room, base="")],
        )

    def browser(self, address: str = "10.0.0.1") -> TestClient:
        client = TestClient(self.app, base_url="http://lab", client=(address, 1), follow_redirects=False)
        client.get("/", headers=PAGE)
        return client

    def member(self, name: str = "Anna") -> TestClient:
        client = self.browser()
        assert client.post("/lab/class/join", data={"code": self.codes.code, "name": name}).status_code == 303
        return client

    def leader(self) -> TestClient:
        client = self.browser()
        answer = client.post("/lab/class/leader", data={"token": self.token, "name": "Leader"})
        assert answer.status_code == 303
        return client


@pytest.fixture
def school(tmp_path):
    made = School(tmp_path)
    yield made
    made.room.close()


def state_of(client: TestClient, since: int = -1) -> dict | None:
    answer = client.get(f"/lab/class/state?since={since}&wait=0")
    assert answer.status_code in (200, 204)
    return answer.json() if answer.status_code == 200 else None


def is_one_line(answer) -> bool:
    return len(answer.text.splitlines()) == 1 and len(answer.text) < 250 and "Traceback" not in answer.text


@pytest.mark.parametrize("path", ["/", "/train", "/class?x=1", "/lab/run/words", "/lab/class/state", "/static/x.js"])
def test_without_the_code_there_is_no_page_but_the_join_page(school, path):
    client = school.browser()
    page = client.get(path, headers=PAGE)
    assert "Code of the class" in page.text and "the app" not in page.text and "numbers" not in page.text
    assert (
        "default-src 'none'" in page.headers["content-security-policy"] and page.headers["cache-control"] == "no-store"
    )
    for method in ("GET", "POST", "PUT", "DELETE"):
        answer = client.request(method, path)
        assert answer.status_code == 401 and is_one_line(answer)
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("ws://lab/_stcore/stream"):
        pass
    assert client.get("/_stcore/health").status_code == 200


def test_with_the_code_everything_is_there_and_a_reload_keeps_it(school):
    client = school.member()
    for _ in range(2):
        assert client.get("/train", headers=PAGE).text == "the app"
        assert client.get("/lab/run/words").text == "numbers"
    with client.websocket_connect("ws://lab/_stcore/stream") as socket:
        assert socket.receive_text() == "the app"


@pytest.mark.parametrize(
    ("to", "then"),
    [("/train?run=a%20b&x=1", "/train?run=a%20b&x=1"), ("", "/"), ("//evil.example/", "/"), ("http://evil.ex", "/"),
     ("/\\evil.example", "/"), ("/lab/class/state", "/"), ("/\nSet-Cookie: a=b", "/"), ("javascript:alert(1)", "/")],
)  # fmt: skip
def test_one_comes_to_where_one_wanted_and_nowhere_else(school, to, then):
    form = {"code": school.codes.code, "name": "Anna", "to": to}
    answer = school.browser().post("/lab/class/join", data=form)
    assert (answer.status_code, answer.headers["location"]) == (303, then)


def test_the_join_page_brings_a_code_and_the_address_but_keeps_the_code_out_of_it(school):
    page = school.browser().get("/train?code=ABC&run=x", headers=PAGE).text
    assert 'value="ABC"' in page and 'name="to" value="/train?run=x"' in page


def test_what_people_type_is_text(school):
    client = school.browser()
    for form in ({"code": SCRIPT, "name": SCRIPT, "to": SCRIPT}, {"code": '"><img onerror=x>', "name": "x"}):
        page = client.post("/lab/class/join", data=form)
        assert page.status_code == 403 and "<script" not in page.text and "<img" not in page.text
    school.member(SCRIPT)
    assert SCRIPT in {member.name for member in school.room.state.members.values()}


def test_a_thousand_wrong_codes_let_nobody_in_and_members_stay_at_work(school):
    member, guesser = school.member(), school.browser()
    answers = [guesser.post("/lab/class/join", data={"code": f"A{n}", "name": "x"}) for n in range(1000)]
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) == {403, 429} and statuses.count(403) <= PER_ADDRESS.burst + 5
    right = guesser.post("/lab/class/join", data={"code": school.codes.code, "name": "x"})
    assert right.status_code == 429, "a right code after too many wrong ones would tell that it is right"
    assert re.search("Too many wrong codes were tried. Try again in [0-9]+ s[.]", right.text)
    assert len(school.room.state.members) == 1
    assert member.get("/train", headers=PAGE).text == "the app", "the same address, another browser"
    assert school.browser("10.0.0.2").post(
        "/lab/class/join", data={"code": school.codes.code, "name": "y"}
    ).status_code == 303  # fmt: skip


def test_many_addresses_together_are_slowed_too(school):
    school.room.attempts = Attempts(clock=lambda: 0.0)
    statuses = []
    client = school.browser()
    for n in range(300):
        client._transport.client = (f"10.1.{n // 250}.{n % 250}", 1)
        statuses.append(client.post("/lab/class/join", data={"code": "x", "name": "x"}).status_code)
    assert (statuses.count(403), statuses.count(429)) == (200, 100)


def test_a_browser_without_cookies_is_told_so(school):
    client = TestClient(school.app, base_url="http://lab", follow_redirects=False)
    answer = client.post("/lab/class/join", data={"code": school.codes.code, "name": "Anna"})
    assert answer.status_code == 400 and "keeps no cookie" in answer.text and not school.room.state.members


@pytest.mark.parametrize("name", ["", " ", "x" * 41, "x" * 10_000])
def test_a_name_that_is_none_is_said_on_the_page(school, name):
    answer = school.browser().post("/lab/class/join", data={"code": school.codes.code, "name": name})
    assert answer.status_code == 400 and "give 1 to 40" in answer.text and not school.room.state.members


def test_the_leaders_link_only_shows_a_button_that_takes_the_lead(school):
    client = school.browser()
    page = client.get(f"/lab/class/leader?token={school.token}", headers=PAGE)
    assert page.status_code == 200 and "Lead this class" in page.text and not school.room.state.members
    assert client.post("/lab/class/leader", data={"token": "x" * 43, "name": "x"}).status_code == 403
    leader = school.leader()
    assert state_of(leader)["leads"] and not state_of(school.member())["leads"]
    assert [sharing.leads(key) for key in school.room.state.members] == [True, False]


@pytest.mark.parametrize(("path", "content"), STUDENTS_MAY_NOT)
def test_a_student_who_claims_to_lead_is_refused(school, path, content):
    from classroom.state import asked

    student = school.member()
    school.room.change(asked, "Which?", ["one", "two"])
    before = school.room.state
    for claim in ({}, {"leads": True, "leader": True, "token": "x"}):
        answer = student.post(f"/lab/class/{path}", json={**content, **claim}, headers={"X-Leader": "1"})
        assert answer.status_code == 403 and is_one_line(answer)
    assert school.room.state == before


def test_what_the_leader_shows_comes_to_everybody(school):
    leader, student = school.leader(), school.member()
    since = state_of(student)["version"]
    assert state_of(student, since) is None
    place = {"on": True, "page": "learn", "query": {"lesson": "rank", "step": "3"}}
    assert leader.post("/lab/class/lead", json=place).json()["lead"] == {**place, "number": 1}
    told = state_of(student, since)
    assert told["lead"] == {**place, "number": 1} and state_of(student, told["version"]) is None


def test_a_vote_is_answered_with_what_holds_now(school):
    from classroom.state import asked

    leader, anna, ben = school.leader(), school.member("Anna"), school.member("Ben")
    school.room.change(asked, "Which?", ["one", "two"])
    assert anna.post("/lab/class/vote", json={"poll": 1, "choice": 1}).json()["poll"]["vote"] == 1
    assert state_of(leader)["poll"]["counts"] == [0, 1] and state_of(ben)["poll"]["counts"] is None
    told = leader.post("/lab/class/poll", json={"poll": 1, "revealed": True, "open": False}).json()
    assert told["poll"]["revealed"] and state_of(ben)["poll"]["counts"] == [0, 1]
    assert ben.post("/lab/class/vote", json={"poll": 1, "choice": 0}).status_code == 409


@pytest.mark.parametrize(
    ("path", "content", "status"),
    [
        ("vote", b"", 400),
        ("vote", b"{", 400),
        ("vote", b"\xff\xfe", 400),
        ("vote", b"[" * 5000, 400),
        ("vote", b"[]", 400),
        ("vote", b"null", 400),
        ("vote", {"poll": 9, "choice": 0}, 404),
        ("vote", {"poll": "1", "choice": 0}, 404),
        ("vote", {"poll": True, "choice": 0}, 404),
        ("vote", {}, 404),
        ("vote", {"poll": 1, "choice": "0"}, 400),
        ("vote", {"poll": 1, "choice": 10**30}, 400),
        ("progress", {}, 400),
        ("progress", {"lesson": "x" * 10_000, "step": 1, "version": 1}, 400),
        ("progress", {"lesson": None, "step": 1, "version": 1}, 400),
        ("progress", {"lesson": "Rank", "step": {}, "version": 1}, 400),
        ("progress", {"lesson": "Rank", "step": 1, "right": 1, "version": 1}, 400),
        ("progress", b"x" * (LARGEST + 1), 413),
        ("join", b"x" * (LARGEST + 1), 413),
        ("join", b"&" * 1000, 400),
        ("join", b"\xff=\xff", 400),
        ("nosuch", {}, 404),
    ],
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(school, path, content, status):
    from classroom.state import asked

    student = school.member()
    school.room.change(asked, "Which?", ["one", "two"])
    before, file = school.room.state, (school.room.folder / "state.json").read_bytes()
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    school.app.router.routes.pop()
    answer = student.post(f"/lab/class/{path}", content=body)
    assert answer.status_code == status
    assert path == "join" or is_one_line(answer)
    assert school.room.state == before and (school.room.folder / "state.json").read_bytes() == file


@pytest.mark.parametrize("since", ["x", "", "1.5", "9" * 40, "٣", "--1"])
def test_a_version_that_is_none_is_refused(school, since):
    answer = school.member().get("/lab/class/state", params={"since": since})
    assert answer.status_code == 400 and is_one_line(answer)


@pytest.mark.parametrize(
    "headers",
    [{"origin": "http://evil.example"}, {"origin": "null"}, {"origin": "http://lab:9999"}, {"origin": "http://["},
     {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}],
)  # fmt: skip
def test_a_page_of_another_site_changes_nothing(school, headers):
    leader = school.leader()
    before = school.room.state
    place = {"on": True, "page": "train", "query": {}}
    answer = leader.post("/lab/class/lead", json=place, headers=headers)
    assert answer.status_code == 403 and is_one_line(answer)
    form = {"code": school.codes.code, "name": "Anna"}
    assert school.browser().post("/lab/class/join", data=form, headers=headers).status_code == 403
    assert school.room.state == before
    good = {"origin": "http://lab", "sec-fetch-site": "same-origin"}
    assert leader.post("/lab/class/lead", json=place, headers=good).status_code == 200


def test_who_is_taken_out_is_outside(school):
    from classroom.state import removed

    student = school.member()
    (key,) = school.room.state.members
    school.room.change(removed, key)
    assert "Code of the class" in student.get("/train", headers=PAGE).text
    assert student.post("/lab/class/vote", json={}).status_code == 401


def test_codes_members_and_the_lead_are_there_after_a_restart_and_one_server_holds_them(school, tmp_path):
    leader, student = school.leader(), school.member("Ben")
    with pytest.raises(FlexLoRAError, match="Another server"):
        Room(tmp_path)
    before = school.room.state
    school.room.close()
    assert not sharing.leads(next(iter(before.members)))
    room = Room(tmp_path)
    assert room.state == before and room.codes == school.codes
    assert [sharing.leads(key) for key in before.members] == [True, False]
    room.close()
    room = Room(tmp_path)
    assert room.state == before
    room.close()
    codes, _ = make_codes(tmp_path, "School")
    room = Room(tmp_path)
    assert len(room.state.members) == 2 and not any(member.leads for member in room.state.members.values())
    assert room.state.token == codes.leader, "new codes: who led by the old ones does no more"
    assert all(COOKIE in client.cookies for client in (leader, student)), "the cookie is who they are"
    room.close()


def test_a_damaged_file_is_laid_aside_and_told(school, tmp_path):
    school.member()
    school.room.close()
    (school.room.folder / rooms.STATE).write_text('{"schema": 1')
    room = Room(tmp_path)
    assert room.state.members == {} and "damaged" in room.notice
    assert [path.read_text() for path in room.folder.glob("*.damaged")] == ['{"schema": 1']
    room.close()


def test_a_full_disk_is_said_and_nothing_has_happened(school, monkeypatch):
    student = school.member()
    before = school.room.state

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(rooms, "put_bytes", full)
    told = {"lesson": "spectrum", "step": "about", "right": None, "version": "one"}
    answer = student.post("/lab/class/progress", json=told)
    assert answer.status_code == 507 and is_one_line(answer) and school.room.state == before


def test_a_socket_ends_when_its_member_is_taken_out(school):
    from classroom.state import removed

    student = school.member()
    (key,) = school.room.state.members
    with student.websocket_connect("ws://lab/echo") as socket:
        socket.send_text("first")
        assert socket.receive_text() == "first"
        school.room.change(removed, key)
        socket.send_text("second")
        with pytest.raises(WebSocketDisconnect) as ended:
            socket.receive_text()
    assert ended.value.code == 1008 and school.heard == ["first"]


@pytest.mark.parametrize("origin", ["http://evil.example", "http://lab:9999", "null"])
def test_a_page_of_another_site_gets_no_socket(school, origin):
    student = school.member()
    there = "ws://lab/_stcore/stream"
    with pytest.raises(WebSocketDisconnect), student.websocket_connect(there, headers={"origin": origin}):
        pass
    with student.websocket_connect(there, headers={"origin": "http://lab"}) as socket:
        assert socket.receive_text() == "the app"


@pytest.mark.parametrize("place", [("train", {"run": "\ud800"}), ("train", {"\udfff": "x"}), ("\ud800", {})])
def test_the_leader_shows_no_half_of_a_surrogate_pair(school, place):
    page, query = place
    body = json.dumps({"on": True, "page": page, "query": query})
    answer = school.leader().post("/lab/class/lead", content=body)
    assert answer.status_code == 400 and is_one_line(answer)
    assert state_of(school.member("Ben")) is not None


def test_halves_of_surrogate_pairs_in_a_kept_class_are_dropped(school, tmp_path):
    school.member()
    school.room.close()
    held = json.loads((school.room.folder / rooms.STATE).read_text())
    held["lead"] = {"on": True, "page": "train", "query": {"run": "a\ud800b"}, "number": 1}
    (school.room.folder / rooms.STATE).write_text(json.dumps(held))
    room = Room(tmp_path)
    assert room.state.lead.query == {"run": "ab"} and len(room.state.members) == 1 and room.notice == ""
    room.close()


@pytest.mark.parametrize("text", ['{"schema": 1, "version": 1e999}', "[" * 100_000, '{"schema": 1e999}', "[]"])
def test_whatever_is_damaged_is_laid_aside(school, tmp_path, text):
    school.member()
    school.room.close()
    kept = json.loads((school.room.folder / rooms.STATE).read_text())
    held = text if "version" not in text else json.dumps(kept).replace('"version": 1', '"version": 1e999')
    (school.room.folder / rooms.STATE).write_text(held)
    room = Room(tmp_path)
    assert room.state.members == {} and "damaged" in room.notice
    room.close()


@pytest.mark.parametrize(
    ("lesson", "step", "status"),
    [("spectrum", "about", 200), ("quiz", "before", 200), ("spectrum", "none", 400), ("Rank", "about", 400),
     ("spectrum", 1, 400), ("spectrum", ["about"], 400), (["spectrum"], "about", 400), ("quiz", "during", 400)],
)  # fmt: skip
def test_only_steps_that_there_are_count(school, lesson, step, status):
    told = {"lesson": lesson, "step": step, "right": None, "version": "one"}
    answer = school.member().post("/lab/class/progress", json=told)
    assert answer.status_code == status and (status == 200 or is_one_line(answer))
    assert bool(school.room.state.progress) == (status == 200)


def test_one_is_never_told_to_try_again_in_no_time(school, monkeypatch):
    browser = school.browser()
    monkeypatch.setattr(school.room.attempts, "wait_s", lambda _: 0.2)
    answer = browser.post("/lab/class/join", data={"code": school.codes.code, "name": "Anna"})
    assert answer.status_code == 429 and "Try again in 1 s." in answer.text

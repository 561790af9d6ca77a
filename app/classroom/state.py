"""All that a class is, as one value, and what may happen to it: functions from a state to the next one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from classroom.board import Board
from classroom.error import ClassError
from classroom.lead import Lead, moved
from classroom.member import MOST_MEMBERS, Member, name_of
from classroom.poll import MOST_POLLS, Poll, new_poll, voted
from classroom.progress import Answered, Progress, noted
from jobs.caps import Caps

SCHEMA = 1


@dataclass(frozen=True)
class ClassState:
    """A class.

    Attributes:
        version: grows with each change.
        shown: the version of the latest change that all members see.
        members: key of a visitor → who that is.
        lead: where the leader is.
        polls: in the order in which they were asked.
        board: what the board of results compares; None = there is none.
        progress: key of a member → how far in the lessons.
        caps: how large a member's job may be.
        token: what is kept of the token by which its leaders lead.
    """

    version: int = 0
    shown: int = 0
    members: Mapping[str, Member] = field(default_factory=dict)
    lead: Lead = field(default_factory=Lead)
    polls: tuple[Poll, ...] = ()
    board: Board | None = None
    progress: Mapping[str, Progress] = field(default_factory=dict)
    caps: Caps = field(default_factory=Caps)
    token: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the state as JSON holds it."""
        return {"schema": SCHEMA, **asdict(self)}

    @classmethod
    def of(cls, held: Mapping[str, Any]) -> ClassState:
        """Return what `to_dict` wrote.

        Raises:
            ClassError: it is no state of a class, or one of another version of the Lab.
        """
        try:
            if held["schema"] != SCHEMA:
                raise ClassError(f"The class was kept by another version of the Lab (schema {held['schema']}).")
            return cls(
                int(held["version"]),
                int(held["shown"]),
                {str(key): Member.of(own) for key, own in held["members"].items()},
                Lead.of(held["lead"]),
                tuple(map(Poll.of, held["polls"])),
                Board.of(held["board"]) if held["board"] is not None else None,
                {
                    str(key): {str(lesson): Answered.of(steps) for lesson, steps in own.items()}
                    for key, own in held["progress"].items()
                },
                Caps.of(held["caps"]),
                str(held["token"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ClassError(f"This is no class: {error}") from error


def joined(state: ClassState, key: str, name: object, now_unix_s: float, *, leads: bool = False) -> ClassState:
    """Return the class with somebody in it; who joins again has a new name, and stays the leader if that is so."""
    before = state.members.get(key)
    if before is None and len(state.members) >= MOST_MEMBERS:
        raise ClassError(f"The class has {MOST_MEMBERS} members, which is the most it takes.", 409)
    taken = [own.name for other, own in state.members.items() if other != key]
    since = now_unix_s if before is None else before.joined_unix_s
    member = Member(name_of(name, taken), since, leads or (before is not None and before.leads))
    return replace(state, members={**state.members, key: member})


def led_by(state: ClassState, token: str) -> ClassState:
    """Return the class under a leader's token: who led it by another one is a member like others."""
    if state.token == token:
        return state
    members = {key: replace(member, leads=False) for key, member in state.members.items()}
    return replace(state, members=members, token=token)


def removed(state: ClassState, key: str) -> ClassState:
    """Return the class without somebody, whose votes and progress go with them; a leader stays."""
    if key not in state.members or state.members[key].leads:
        return state
    polls = tuple(replace(poll, votes=_without(poll.votes, key)) for poll in state.polls)
    return replace(
        state, members=_without(state.members, key), progress=_without(state.progress, key), polls=polls
    )  # fmt: skip


def led(state: ClassState, on: object, page: object, query: object) -> ClassState:
    """Return the class after a move of its leader."""
    return replace(state, lead=moved(state.lead, on, page, query))


def asked(state: ClassState, question: object, choices: object) -> ClassState:
    """Return the class with a new poll; an open one is closed, as there is one at a time."""
    if len(state.polls) >= MOST_POLLS:
        raise ClassError(f"The class has had {MOST_POLLS} polls, which is the most it keeps.", 409)
    poll = new_poll(len(state.polls) + 1, question, choices)
    return replace(state, polls=(*(replace(old, open=False) for old in state.polls), poll))


def answered(state: ClassState, member: str, number: object, choice: object) -> ClassState:
    """Return the class with a member's vote."""
    poll = find_poll(state, number)
    return _with_poll(state, voted(poll, member, choice))


def turned(state: ClassState, number: object, *, open: bool | None = None, revealed: bool | None = None) -> ClassState:
    """Return the class with a poll opened or closed, its counts shown or hidden; None = as it was."""
    poll = find_poll(state, number)
    if open:
        state = replace(state, polls=tuple(replace(old, open=False) for old in state.polls))
    return _with_poll(
        state,
        replace(
            poll,
            open=poll.open if open is None else open,
            revealed=poll.revealed if revealed is None else revealed,
        ),
    )


def progressed(state: ClassState, member: str, told: Mapping[str, Any]) -> ClassState:
    """Return the class after a member's step in a lesson."""
    return replace(state, progress={**state.progress, member: noted(state.progress.get(member, {}), told)})


def compared(state: ClassState, board: Board | None) -> ClassState:
    """Return the class with another board of results, or none."""
    return replace(state, board=board)


def capped(state: ClassState, caps: Caps) -> ClassState:
    """Return the class with other bounds of its jobs."""
    return replace(state, caps=caps)


def find_poll(state: ClassState, number: object) -> Poll:
    """Return a poll by its number.

    Raises:
        ClassError: there is none.
    """
    for poll in state.polls:
        if not isinstance(number, bool) and poll.number == number:
            return poll
    raise ClassError("There is no such poll.", 404)


def next_version(before: ClassState, after: ClassState) -> ClassState:
    """Return a changed state with its versions; who only looks need not know of votes that are not shown."""
    version = before.version + 1
    seen = seen_by_all(after) != seen_by_all(before)
    return replace(after, version=version, shown=version if seen else before.shown)


def seen_by_all(state: ClassState) -> dict[str, Any]:
    """Return what each member's browser is told of the class, as JSON holds it."""
    poll = state.polls[-1] if state.polls else None
    lead = state.lead
    return {
        "lead": {"on": lead.on, "page": lead.page, "query": dict(lead.query), "number": lead.number},
        "poll": poll and {
            "number": poll.number,
            "question": poll.question,
            "choices": list(poll.choices),
            "open": poll.open,
            "counts": poll.counts if poll.revealed else None,
        },
    }  # fmt: skip


def seen_by(state: ClassState, key: str) -> dict[str, Any]:
    """Return what the browser of one member is told: the same, their own vote, and for the leader all counts."""
    member, told = state.members[key], seen_by_all(state)
    if told["poll"]:
        poll = state.polls[-1]
        told["poll"]["vote"] = poll.votes.get(key)
        if member.leads:
            told["poll"]["counts"], told["poll"]["revealed"] = poll.counts, poll.revealed
    version = state.version if member.leads else state.shown
    # A leader may lead from several browsers.
    members = sum(not own.leads for own in state.members.values())
    return {"version": version, "name": member.name, "leads": member.leads, "members": members, **told}


def _with_poll(state: ClassState, poll: Poll) -> ClassState:
    return replace(state, polls=tuple(poll if old.number == poll.number else old for old in state.polls))


def _without(held: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in held.items() if name != key}

"""Somebody who plays a lesson in a real browser: with the keyboard alone, or with the mouse alone."""

from __future__ import annotations

import statistics
from itertools import pairwise
from typing import Any

WATCH = """window.told = [];
document.addEventListener("lab-progress", ({ detail }) => window.told.push(detail));
window.held = () => {
  let node = document.activeElement;
  while (node?.shadowRoot?.activeElement) node = node.shadowRoot.activeElement;
  return node;
};"""
"""For a page's first script: told, what the reader says of progress, and held(), what has the keyboard."""
MOST_TABS = 120
HAND_STEPS = 6
MAP_LEFT, MAP_RIGHT, MAP_TOP = 32, 34, 18
"""Pixels around the cells of a map of ranks; see `below_map`."""


class Learner:
    """One way to play; answers as it is wished, right or wrong."""

    def __init__(self, page: Any) -> None:
        self.page = page

    @property
    def here(self) -> Any:
        """The step that is read."""
        return self.page.locator(".ln-step[aria-current]")

    @property
    def answered(self) -> bool:
        return "ln-answered" in (self.here.get_attribute("class") or "")

    def open(self, address: str) -> None:
        self.page.goto("about:blank")
        self.page.goto(address)
        self.here.wait_for()

    def answer(self, step: dict[str, Any], wish: bool) -> bool | None:
        """Answer a step right or wrong; what was looked for is found at last.

        Returns:
            What the reader should say of the answer; None = right or not, as the way there was.
        """
        right = getattr(self, step["ask"]["kind"])(step, wish)
        self.page.wait_for_selector(".ln-step[aria-current].ln-answered")
        return right

    def select(self, step: dict[str, Any], wish: bool) -> None:
        ask, view = step["ask"], step["stage"]["view"]
        self.page.wait_for_selector(f'.fl-player[data-step="{view["step"]}"]')
        (self.select_step if ask["field"] == "step" else self.select_matrix)(ask, view, wish)

    def shown_step(self) -> int:
        return int(self.page.locator(".fl-player").get_attribute("data-step"))

    def select_step(self, ask: dict[str, Any], view: dict[str, Any], wish: bool) -> None:
        if not wish:
            self.next_event()
            self.wait_for_miss()
        while self.shown_step() < ask["answers"][0]:
            self.next_event()

    def next_event(self) -> None:
        before = self.shown_step()
        self.press_next_event()
        self.page.locator(f'.fl-player:not([data-step="{before}"])').wait_for()

    def matrices(self) -> list[str]:
        return self.page.eval_on_selector_all("select.fl-matrix option", "all => all.map((own) => own.title)")

    def other_matrix(self, ask: dict[str, Any], view: dict[str, Any]) -> str:
        """One that is not looked for, nor shown already."""
        return next(name for name in self.matrices() if name not in (*ask["answers"], view["matrix"]))

    def wait_for_miss(self) -> None:
        self.here.locator(".ln-status", has_text="Not that one.").wait_for()


def aim_of(dial: dict[str, Any], goal: list[float]) -> int:
    """The first frame of a dial that reaches its goal."""
    low, high = goal
    return next(i for i, frame in enumerate(dial["frames"]) if low <= frame["value"] <= high)


def curve_of(ask: dict[str, Any], wish: bool) -> list[float]:
    """Values to draw from the first point that is not told: the true ones, or all along the top, but for the event.

    Where the event is what counts, a wrong curve jumps if the true one does not.
    """
    if not wish and ask.get("by_jump"):
        changes = [abs(two - one) for one, two in pairwise(ask["truth"])]
        if changes[ask["x"].index(ask["mark"])] < statistics.median(changes):
            return [ask["high" if x > ask["mark"] else "low"] for x in ask["x"][ask["given"] :]]
    return [own if wish else ask["high"] for own in ask["truth"][ask["given"] :]]


def below_map(width: float, height: float) -> int:
    """Pixels below the cells: the legend, a second line of it in a narrow map, the sums; a short one has the first."""
    return 26 if height < 240 else 62 if width < 590 else 44


class Keyboard(Learner):
    """Presses keys, and nothing else."""

    def tab_to(self, selector: str) -> None:
        """The element that the keyboard reaches first among those that match."""
        for _ in range(MOST_TABS):
            self.page.keyboard.press("Tab")
            self.reached()
            if self.page.evaluate("selector => held().matches(selector)", selector):
                return
        raise AssertionError(f"Tab does not reach {selector}")

    def reached(self) -> None:
        """Called where the keyboard has come to another place."""

    def go_on(self) -> None:
        """To the next step, by its key."""
        if self.page.evaluate("held().matches('select')"):
            # There a letter looks for an entry.
            self.page.keyboard.press("Tab")
        self.page.keyboard.press("n")

    def choose(self, step: dict[str, Any], wish: bool) -> bool:
        right = step["ask"]["right"]
        place = right if wish else (right + 1) % len(step["ask"]["options"])
        self.tab_to(f".ln-step[aria-current] .ln-option:nth-of-type({place + 1})")
        self.page.keyboard.press("Enter")
        return wish

    def press_next_event(self) -> None:
        self.page.keyboard.press("Shift+ArrowRight")

    def select_matrix(self, ask: dict[str, Any], view: dict[str, Any], wish: bool) -> None:
        self.tab_to("select.fl-matrix")
        names = self.matrices()
        shown = names.index(view["matrix"])
        if not wish:
            shown = self.walk(shown, names.index(self.other_matrix(ask, view)))
            self.wait_for_miss()
        self.walk(shown, names.index(ask["answers"][0]))

    def walk(self, shown: int, aim: int) -> int:
        for _ in range(abs(aim - shown)):
            self.page.keyboard.press("ArrowDown" if aim > shown else "ArrowUp")
        return aim

    def dial(self, step: dict[str, Any], wish: bool) -> bool:
        self.tab_to("input.ln-slider")
        dial = step["stage"]["dial"]
        key = "ArrowLeft" if aim_of(dial, step["ask"]["goal"]) < dial["start"] else "ArrowRight"
        for _ in dial["frames"]:
            if self.answered:
                break
            self.page.keyboard.press(key)
        return True

    def draw(self, step: dict[str, Any], wish: bool) -> bool:
        ask = step["ask"]
        self.tab_to(f'.ln-point[data-point="{ask["given"]}"]')
        low, high = ask["low"], ask["high"]
        value = ask["truth"][ask["given"] - 1] if ask["given"] else (low + high) / 2
        for aim in curve_of(ask, wish):
            turns = round((aim - value) / (high - low) * 24)
            for _ in range(abs(turns) or 2):
                self.page.keyboard.press("ArrowUp" if turns > 0 or (not turns and _ == 0) else "ArrowDown")
            value += turns * (high - low) / 24
            self.page.keyboard.press("ArrowRight")
        self.tab_to(".ln-dial .ln-main")
        self.page.keyboard.press("Enter")
        return wish


class Mouse(Learner):
    """Points, clicks and drags, and nothing else."""

    def box(self, selector: str) -> dict[str, float]:
        node = self.page.locator(selector).first
        node.scroll_into_view_if_needed()
        return node.bounding_box()

    def go_on(self) -> None:
        self.page.locator(".ln-bar .ln-button").last.click()

    def choose(self, step: dict[str, Any], wish: bool) -> bool:
        right = step["ask"]["right"]
        self.here.locator(".ln-option").nth(right if wish else (right + 1) % len(step["ask"]["options"])).click()
        return wish

    def press_next_event(self) -> None:
        self.page.locator(".fl-bar").get_by_role("button", name="Next event").click()

    def select_matrix(self, ask: dict[str, Any], view: dict[str, Any], wish: bool) -> None:
        if not wish:
            self.click_cell(self.other_matrix(ask, view))
            self.wait_for_miss()
        self.click_cell(ask["answers"][0])

    def click_cell(self, name: str) -> None:
        """Of the map: a row for each layer, in it the kinds as the model has them."""
        read = "all => all.map((own) => [own.title, Number(own.value), own.text.split(' ')[1]])"
        matrices = self.page.eval_on_selector_all("select.fl-matrix option", read)
        kinds = len({kind for _, _, kind in matrices})
        layer, kind = divmod(next(place for own, place, _ in matrices if own == name), kinds)
        box = self.box(".fl-map")
        wide = (box["width"] - MAP_LEFT - MAP_RIGHT) / kinds
        tall = (box["height"] - MAP_TOP - below_map(box["width"], box["height"])) / (len(matrices) // kinds)
        self.page.mouse.click(box["x"] + MAP_LEFT + (kind + 0.5) * wide, box["y"] + MAP_TOP + (layer + 0.5) * tall)

    def dial(self, step: dict[str, Any], wish: bool) -> bool:
        dial = step["stage"]["dial"]
        last, aim = len(dial["frames"]) - 1, aim_of(dial, step["ask"]["goal"])
        box = self.box("input.ln-slider")
        middle = box["y"] + box["height"] / 2
        # The knob's middle stays its own half width inside the track.
        knob = 8

        def across(place: int) -> float:
            return box["x"] + knob + place / last * (box["width"] - 2 * knob)

        self.page.mouse.move(across(dial["start"]), middle)
        self.page.mouse.down()
        for place in range(dial["start"], aim, 1 if aim > dial["start"] else -1):
            self.page.mouse.move(across(place), middle)
        self.page.mouse.move(across(aim), middle)
        self.page.mouse.up()
        return True

    def draw(self, step: dict[str, Any], wish: bool) -> bool:
        ask = step["ask"]
        box = self.box(".ln-drawing svg")
        low, high = ask["low"], ask["high"]
        places = [
            self.page.locator(f'.ln-drawing [data-point="{i}"]').bounding_box()
            for i in range(ask["given"], len(ask["x"]))
        ]
        # The picture's own margins (plot): 30 above, 42 below.
        top, bottom = box["y"] + 30, box["y"] + box["height"] - 42
        ends = [bottom - (own - low) / (high - low) * (bottom - top) for own in curve_of(ask, wish)]
        middles = [own["x"] + own["width"] / 2 for own in places]
        self.page.mouse.move(middles[0], ends[0])
        self.page.mouse.down()
        for x, y in zip(middles, ends, strict=True):
            self.page.mouse.move(x, y, steps=HAND_STEPS)
        self.page.mouse.up()
        self.page.locator(".ln-dial .ln-main").click()
        return wish

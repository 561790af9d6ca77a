"""Play all lessons in the app and keep a picture of each step, before its answer and after: to be looked at.

python -m tests.app.play_lessons ADDRESS [--out shots] [--hand mouse|keys] [--wish wrong|right] [--width 1440]
    [--theme light|dark] [--lesson spectrum ...] [--motion]

ADDRESS is the running app's, as http://127.0.0.1:8501. The pictures are put on sheets of four, asked beside answered;
of a narrow page they are as long as it is. Prints what a step has that it should not: a page wider than its window, a
text of a picture beyond its edge or over another, a place of the keyboard that is not seen. Needs a Chromium.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Error, Page, sync_playwright

from analysis.lessons import lesson_book, material
from tests.app.learner import WATCH, Keyboard, Learner, Mouse

ROOT = Path(__file__).parents[2]
ARGUMENTS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
HEIGHTS = {1440: 900, 1024: 768, 390: 844}
NARROW, SETTLED_MS = 860, 700
ON_A_SHEET, GAP = 4, 8
LOOK = (Path(__file__).with_name("play_lessons_look.js")).read_text(encoding="utf-8")


class Walker(Keyboard):
    """Says where the keyboard is not seen."""

    def reached(self) -> None:
        if line := self.page.evaluate("look.unseen()"):
            print("keyboard", line, flush=True)


def shoot(page: Page, path: Path, width: int) -> None:
    """Keep a picture of the window, and of the whole page where it is read by scrolling."""
    page.screenshot(path=path)
    if width >= NARROW:
        return
    tall = page.evaluate("Math.ceil(look.tall())")
    page.set_viewport_size({"width": width, "height": max(HEIGHTS[width], tall)})
    page.wait_for_timeout(SETTLED_MS)
    page.screenshot(path=path.with_stem(f"{path.stem}-whole"))
    page.set_viewport_size({"width": width, "height": HEIGHTS[width]})
    page.wait_for_timeout(SETTLED_MS // 2)


def play(page: Page, learner: Learner, lesson: dict[str, Any], folder: Path, options: argparse.Namespace) -> None:
    """One lesson from its first step to its last."""
    first = lesson["steps"][0]["key"]
    learner.open(f"{options.address}/learn?lesson={lesson['key']}&step={first}&version=a")
    for number, step in enumerate(lesson["steps"], lesson["first"]):
        place = f"{lesson['number']}.{number}"
        page.wait_for_selector(f"#ln-{lesson['key']}-{step['key']}[aria-current]")
        page.wait_for_timeout(SETTLED_MS)
        tell(page, f"{place} asked")
        shoot(page, folder / f"{place}-a.png", options.width)
        wish = options.wish == "right"
        try:
            said = learner.answer(step, wish)
        except (Error, AssertionError) as error:
            print(place, "NOT ANSWERED", str(error).splitlines()[0], flush=True)
            page.screenshot(path=folder / f"{place}-failed.png")
            page.keyboard.press("n")
            continue
        told = page.evaluate("told.at(-1)")
        if (told["step"], said if said is not None else told["right"]) != (step["key"], told["right"]):
            print(place, "told", json.dumps(told), "wished", said, flush=True)
        page.wait_for_timeout(SETTLED_MS)
        tell(page, f"{place} answered")
        shoot(page, folder / f"{place}-b.png", options.width)
        learner.go_on()


def write_sheets(folder: Path, width: int) -> None:
    """Put the pictures on sheets, in the order of the steps: two in a row, of long pages four."""
    long = width < NARROW
    found = sorted(path for path in folder.glob("?.?-*.png") if path.stem.endswith("-whole") == long)
    columns = ON_A_SHEET if long else 2
    for first in range(0, len(found), ON_A_SHEET):
        pictures = [Image.open(path).convert("RGB") for path in found[first : first + ON_A_SHEET]]
        rows = [pictures[at : at + columns] for at in range(0, len(pictures), columns)]
        heights = [max(picture.height for picture in row) + GAP for row in rows]
        sheet = Image.new("RGB", (columns * (width + GAP), sum(heights)), "#888888")
        for place, row in enumerate(rows):
            for column, picture in enumerate(row):
                sheet.paste(picture, (column * (width + GAP), sum(heights[:place])))
        sheet.save(folder / f"sheet-{first // ON_A_SHEET:02}.png")


def tell(page: Page, place: str) -> None:
    for line in page.evaluate("look.troubles()"):
        print(place, line, flush=True)


def main() -> None:
    """Play, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("address")
    parser.add_argument("--out", type=Path, default=Path("shots"))
    parser.add_argument("--hand", choices=["mouse", "keys"], default="mouse")
    parser.add_argument("--wish", choices=["wrong", "right"], default="wrong")
    parser.add_argument("--width", type=int, choices=HEIGHTS, default=1440)
    parser.add_argument("--theme", choices=["light", "dark"], default="light")
    parser.add_argument("--lesson", nargs="*")
    parser.add_argument("--motion", action="store_true")
    options = parser.parse_args()
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    book = lesson_book(material(ROOT / "sample_runs"))
    folder = options.out / f"{options.width}-{options.theme}-{options.hand}-{options.wish}"
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS.split())
        page = browser.new_page(
            viewport={"width": options.width, "height": HEIGHTS[options.width]},
            color_scheme=options.theme,
            reduced_motion="no-preference" if options.motion else "reduce",
        )
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: print("ERROR", error, flush=True))
        page.add_init_script(WATCH + LOOK)
        learner = (Mouse if options.hand == "mouse" else Walker)(page)
        for lesson in book["lessons"]:
            if not options.lesson or lesson["key"] in options.lesson:
                play(page, learner, lesson, folder, options)
        browser.close()
    write_sheets(folder, options.width)


if __name__ == "__main__":
    main()

"""Everything that is written can be read, everything that can be reached has a name: every page, view and theme."""

from __future__ import annotations

import base64
import re
import tomllib
from pathlib import Path

import pytest

from analysis.payload import pack_run
from analysis.report import write_report
from analysis.runs import load_run

HERE = Path(__file__).parent
APP = HERE.parents[1] / "app"
SAMPLES = HERE.parents[1] / "sample_runs"
TIMEOUT_MS = 40_000
PARTS = ("dom", "canvas", "focus", "views")
MODULES = ("ui/player", "model/model", "model/container", "model/stages", "pen/draw")
THEMES = ("light", "dark")
WIDTHS = ({"width": 1440, "height": 900}, {"width": 1024, "height": 768})
MOST_STOPS = 150
PATIENCE = 8
GROUND = "getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor"
PLAYER = "[data-testid=stMain] .fl-player[data-step]"
PAGES = {
    "/?side=why&step=20": f"{PLAYER} .fl-verdict",
    "/?step=20&stage=prune&with=runs/soft": PLAYER,
    "/playground": ".pg-race[data-step]",
    "/playground#show=price": ".pg-page .pg-facts dd",
    "/playground#show=starts": ".pg-page .pg-table td",
    "/train": ".fl-handle",
    "/runs": "[data-testid=stDataFrame] canvas",
    "/what-if": ".stPlotlyChart .xtick",
    "/adapters": "[data-testid=stFileUploader]",
    "/methods": ".mg-card canvas",
    "/compare?study=four_ways": ".stPlotlyChart .xtick",
    "/compare?part=New+study": "[data-testid=stNumberInput]",
}
"""Page → what is there when it is complete."""
VIEWS = (
    ("words-flexlora-paper", "light", 0),
    ("digits-adalora", "dark", 0),
    ("digits-lora", "dark", 1),
    ("arc-flexlora-seed0", "light", 1),
)
"""Run, theme, place in ``WIDTHS``."""
NAMED_ROLES = {"button", "link", "textbox", "combobox", "checkbox", "slider", "tab", "radio", "searchbox", "spinbutton"}
NAMED_ROLES |= {"switch", "menuitem", "listbox", "image", "dialog"}


def checks() -> str:
    """The scripts as one that puts what they export into ``window.lab``."""
    text = "\n".join((HERE / f"accessibility_{part}.js").read_text(encoding="utf-8") for part in PARTS)
    names = ", ".join(re.findall(r"^export (?:async )?(?:function|const) (\w+)", text, re.M))
    return f"(() => {{ {re.sub(r'^export ', '', text, flags=re.M)}; window.lab = {{ {names} }}; watchCanvases(); }})()"


def text_faults(page) -> list[str]:
    return page.evaluate("[...lab.textFaults(), ...lab.canvasFaults(true).faults]")


def unnamed(page) -> list[str]:
    """What the browser tells a screen reader of elements that can be used or looked at, and that have no name."""
    session = page.context.new_cdp_session(page)
    faults = []
    for node in session.send("Accessibility.getFullAXTree")["nodes"]:
        role = node.get("role", {}).get("value")
        if node.get("ignored") or role not in NAMED_ROLES or node.get("name", {}).get("value", "").strip():
            continue
        own = session.send("DOM.describeNode", {"backendNodeId": node["backendDOMNodeId"]})["node"]
        # Signs on buttons that have a name themselves.
        if own["nodeName"] != "svg" or "role" in own["attributes"][::2]:
            faults.append(f"{role} without a name: {own['nodeName']} {own['attributes']}")
    session.detach()
    return faults


def walk(page) -> tuple[int, list[str]]:
    """Tab through the page: how many stops it has, and what is wrong with them."""
    page.evaluate("window.walk = lab.startWalk()")
    for _ in range(MOST_STOPS):
        page.keyboard.press("Tab")
        if not page.evaluate("walk.stop()"):
            break
    return page.evaluate("[walk.stops.length, walk.faults]")


@pytest.fixture(scope="module")
def page(browser):
    """A page that knows the checks and follows the theme that is asked for."""
    context = browser.new_context(color_scheme=THEMES[0])
    context.add_init_script(checks())
    yield context.new_page()
    context.close()


def seen_in(page, theme: str) -> list[str]:
    """Faults of a page in a theme, at the width of the same place: colours follow the theme, and room the width."""
    width = WIDTHS[THEMES.index(theme)]
    page.emulate_media(color_scheme=theme)
    page.set_viewport_size(width)
    found = []
    # What is drawn anew takes a moment: a fault is what stays.
    for _ in range(PATIENCE):
        page.wait_for_timeout(300)
        found = text_faults(page)
        if not found:
            break
    return [f"{theme}, {width['width']}: {fault}" for fault in found]


@pytest.mark.parametrize("address", PAGES)
def test_every_page_can_be_read_and_reached(page, server, address):
    page.emulate_media(color_scheme=THEMES[0])
    page.set_viewport_size(WIDTHS[0])
    page.goto(server + address)
    page.wait_for_selector(PAGES[address], timeout=TIMEOUT_MS)
    faults = seen_in(page, THEMES[0]) + unnamed(page)
    ground = page.evaluate(GROUND)
    stops, found = walk(page)
    assert 10 < stops < MOST_STOPS
    faults += found + seen_in(page, THEMES[1])
    assert page.evaluate(GROUND) != ground
    assert sorted(set(faults)) == []


@pytest.fixture(scope="module")
def bare(browser):
    """A page without an app that knows the checks."""
    context = browser.new_context()
    page = context.new_page()
    page.evaluate(checks())
    yield page
    context.close()


def packed(run: str) -> str:
    return base64.b64encode(pack_run(load_run(SAMPLES / run))).decode()


def theme_of(name: str) -> dict[str, str]:
    """The variables that Streamlit makes of the theme's colours. Its font is not here: one that is wider stands in."""
    settings = tomllib.loads((APP / ".streamlit" / "config.toml").read_text(encoding="utf-8"))["theme"][name]
    colours = {f"--st-{re.sub('(?=[A-Z])', '-', key).lower()}": value for key, value in settings.items()}
    return colours | {"--st-font": "sans-serif", "--st-code-font": "monospace"}


@pytest.mark.parametrize("run, theme, width", VIEWS)
def test_every_view_can_be_read(bare, modules, run, theme, width):
    bare.set_viewport_size(WIDTHS[width])
    other = "digits-lora" if run != "digits-lora" else "digits-adalora"
    asked = {"payload": packed(run), "other": packed(other), "theme": theme_of(theme)}
    script = f"async (asked) => lab.viewFaults({modules(*(f'player/{name}.js' for name in MODULES))}, asked)"
    seen = bare.evaluate(script, asked)
    assert seen["count"] > 1000
    assert seen["faults"] == []


def test_a_report_can_be_read_and_reached(page, make_run, tmp_path):
    page.emulate_media(color_scheme=THEMES[0])
    page.goto(write_report(load_run(make_run(tmp_path / "run")), tmp_path / "report.html").path.as_uri())
    page.wait_for_selector(".fl-player[data-step]", timeout=TIMEOUT_MS)
    faults = seen_in(page, THEMES[0]) + unnamed(page) + walk(page)[1]
    assert sorted(set(faults + seen_in(page, THEMES[1]))) == []


PLANTED = """
<main style="background: white; color: black; font: 14px sans-serif">
  <p style="color: #999">faint</p> <p style="background: rgb(0 0 0 / 60%)">dark below</p>
  <p style="opacity: 0.5">dim</p>
  <p style="font-size: 9px">small</p> <button disabled style="color: #ccc">off</button>
  <p style="color: #777; font-size: 24px">large enough</p> <div id="shadow"></div>
  <svg width="60" height="20"><rect width="60" height="20" fill="#222"/><text y="15" fill="#333">drawn</text></svg>
  <canvas width="300" height="60"></canvas>
  <button id="unnamed"></button> <button tabindex="2">jumps ahead</button>
  <div style="display: flex; flex-direction: column-reverse"><button>second</button><button>first</button></div>
  <button style="outline: none">unseen</button> <button>last</button>
</main>
"""
PLANT = """
(text) => {
  document.body.innerHTML = text;
  const shadow = document.getElementById("shadow").attachShadow({ mode: "open" });
  shadow.innerHTML = "<p style='color: #aaa'>in a shadow</p>";
  const pen = document.querySelector("canvas").getContext("2d");
  pen.fillStyle = "#123570";
  pen.fillRect(0, 0, 100, 60);
  const write = (text, x, y, size, colour) => {
    Object.assign(pen, { font: `${size}px sans-serif`, fillStyle: colour });
    pen.fillText(text, x, y);
  };
  write("painted", 5, 15, 14, "#333333"); write("tiny", 150, 15, 9, "#000000"); write("fine", 5, 50, 14, "#ffffff");
  write("over", 200, 50, 14, "#000000"); write("another", 205, 52, 14, "#000000");
}
"""


def test_what_is_planted_is_found(bare):
    bare.set_viewport_size(WIDTHS[0])
    bare.evaluate(PLANT, PLANTED)
    told = text_faults(bare)
    for words in ("faint", "dark below", "dim", "in a shadow", "drawn", "painted"):
        assert [fault for fault in told if f"“{words}”: contrast" in fault], (words, told)
    assert [fault for fault in told if "“small”: 9 px" in fault]
    assert [fault for fault in told if "“tiny”: 9.0 px" in fault]
    assert [fault for fault in told if "“over” and “another” overlap" in fault]
    assert len(told) == 9
    assert len(unnamed(bare)) == 1
    found = walk(bare)[1]
    for words in ("tabindex 2", "back to button “first”", "“unseen”: nothing shows"):
        assert [fault for fault in found if words in fault], (words, found)

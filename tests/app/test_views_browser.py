"""The views and what leaves the page: each number that is drawn or saved is that of the run."""

from __future__ import annotations

import csv
import io
import json
import re
import struct
import time
from xml.etree import ElementTree

import numpy as np
import pytest

from analysis.groups import layer_spread
from analysis.metrics import net_moves
from analysis.order import sorted_matrices
from analysis.quantities import defined_entropy
from analysis.runs import load_run
from analysis.tables import TABLES, VIEWS, Moment
from analysis.tables.columns import numbers
from player import CHOICES

TIMEOUT_MS = 40_000
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def run(make_run, tmp_path_factory):
    """The same run as the one that is served."""
    return load_run(make_run(tmp_path_factory.mktemp("same") / "test-paper"))


@pytest.fixture(scope="module")
def shared_page(browser, server):
    """One browser profile for all tests: opening a page anew costs more than what is tested."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    yield context.new_page()
    context.close()


@pytest.fixture
def open_view(shared_page, server):
    """Opens an address; errors in the page fail the test."""
    errors = []

    def listen(error) -> None:
        errors.append(str(error))

    shared_page.on("pageerror", listen)

    def go(address: str, colours: str = "light", answers: dict | None = None) -> Viewer:
        shared_page.emulate_media(color_scheme=colours)
        for pattern, answer in (answers or {}).items():
            shared_page.route(pattern, answer)
        shared_page.goto(server + address)
        return Viewer(shared_page)

    yield go
    shared_page.remove_listener("pageerror", listen)
    assert not errors


class Viewer:
    """What a user sees, and what is saved."""

    def __init__(self, page):
        self.page = page
        page.wait_for_selector("[data-testid=stMain] .fl-player[data-step]", timeout=TIMEOUT_MS)

    def close(self) -> None:
        self.page.keyboard.press("Escape")
        self.page.get_by_role("dialog").wait_for(state="hidden", timeout=TIMEOUT_MS)

    def choose(self, name: str, key: str) -> None:
        self.page.locator(f".fl-choose-{name} select").evaluate(
            "(list, key) => { list.value = key; list.dispatchEvent(new Event('change')); }", key
        )
        self.page.wait_for_selector(f'.fl-player[data-{name}="{key}"]', timeout=TIMEOUT_MS)

    def take_out(self, picture: str) -> None:
        if not self.page.locator(".fl-takeout").is_visible():
            self.page.keyboard.press("e")
            self.page.locator(".fl-takeout").wait_for(timeout=TIMEOUT_MS)
        self.page.get_by_label("Which picture").select_option(picture)

    def save(self, button: str | re.Pattern[str]) -> tuple[str, bytes]:
        with self.page.expect_download(timeout=TIMEOUT_MS) as download:
            self.page.locator(".fl-takeout").get_by_role("button", name=button).click()
        return download.value.suggested_filename, download.value.path().read_bytes()

    def svg(self, picture: str) -> ElementTree.Element:
        self.take_out(picture)
        return ElementTree.fromstring(self.save("SVG")[1])

    def numbers(self, picture: str, label: str) -> list[dict[str, str]]:
        self.take_out(picture)
        text = self.save(re.compile(f"^CSV: {label}$"))[1].decode()
        self.close()
        return list(csv.DictReader(io.StringIO(text)))


def column(rows: list[dict[str, str]], name: str) -> np.ndarray:
    return np.array([float(row[name] or "nan") for row in rows])


def evaluate(page, exports: str, names: str, call: str):
    """Calls functions of a module."""
    return page.evaluate(f"async () => {{ const {{ {names} }} = {exports}; return {call}; }}")


def test_the_map_leaves_as_svg_with_the_ranks_of_the_run(open_view, run, logged):
    step = logged.events[1] + 1
    viewer = open_view(f"/?run=test-paper&step={step}", "dark")
    image = viewer.svg("map")
    drawn = [int(text.text) for text in image.iter(f"{SVG}text") if text.get("font-weight") == "600"]
    record = run.record_at(step)
    assert drawn == run.ranks[record].tolist()
    assert f"Rank map at step {step}" in image.findtext(f"{SVG}desc")
    caption = image.findtext(f"{SVG}title")
    assert caption.startswith(f"test-paper · step {step} of {logged.steps} · ")
    assert caption in [text.text for text in image.iter(f"{SVG}text")]
    assert next(image.iter(f"{SVG}rect")).get("fill") == "rgb(255,255,255)"
    viewer.page.get_by_label("dark, as on screen").check()
    assert next(viewer.svg("map").iter(f"{SVG}rect")).get("fill") != "rgb(255,255,255)"


def test_a_png_is_twice_as_fine_as_the_screen_and_its_name_says_what_it_shows(open_view, logged):
    viewer = open_view(f"/?run=test-paper&step={logged.steps}")
    width, height = viewer.page.locator(".fl-map").evaluate("node => [node.clientWidth, node.clientHeight]")
    viewer.take_out("map")
    name, data = viewer.save("PNG")
    assert name == f"test-paper_step{logged.steps}_map.png"
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", data[16:24]) == (2 * (width + 24), 2 * (height + 46))


def test_every_view_leaves_as_one_svg_that_is_well_formed_whatever_the_run_is_called(open_view):
    viewer = open_view("/?run=runs/other")
    for band in CHOICES["band"]:
        viewer.choose("band", band)
        image = viewer.svg("all")
        viewer.close()
        assert image.findtext(f"{SVG}title").startswith('<other> & "its" name · step ')
        assert not [node for node in image.iter() if "NaN" in "".join(node.attrib.values())]
        hrefs = [node.get("href") for node in image.iter(f"{SVG}image")]
        assert all(href.startswith("data:image/png;base64,") for href in hrefs)
        assert bool(hrefs) == (band in ("strip", "layers"))
        label = viewer.page.locator(".fl-moving").get_attribute("aria-label")
        assert label
        assert label.split(";")[0] in image.findtext(f"{SVG}desc")


def test_the_maps_of_spectra_and_of_rank_over_time_leave_as_svg_with_their_words(open_view, run, logged):
    step = logged.events[1]
    viewer = open_view(f"/?run=test-paper&step={step}&map=spectra&matrix={logged.name(1, 'value')}")
    values = np.sort(np.abs(run.singular_values(step)[logged.name(1, "value")]))[::-1]
    for key, told in (("spectra", f"largest |λ| {values[0]:.3g}"), ("rank_time", f"step {step} · rank 4")):
        viewer.choose("map", key)
        image = viewer.svg("map")
        viewer.close()
        assert told in image.findtext(f"{SVG}desc")
        assert not [node for node in image.iter() if "NaN" in "".join(node.attrib.values())]
        drawn = [text.text for text in image.iter(f"{SVG}text") if text.get("font-weight") == "600"]
        assert drawn == [str(rank) for rank in run.ranks[run.record_at(step)]]
    viewer.choose("map", "spectra")
    box = viewer.page.locator(".fl-map").bounding_box()
    viewer.page.mouse.move(box["x"] + 36, box["y"] + 40)
    viewer.page.locator(".fl-tip", has_text=re.compile(r"^L0 query · step 15 · no. 1 of \d · slot 0 · λ ")).wait_for(
        timeout=TIMEOUT_MS
    )


def test_the_card_promises_no_decision_where_none_can_come_nor_a_difference_without_a_log(browser, modules):
    page = browser.new_page()
    told = page.evaluate(
        """async () => {
          const { WhyCard, beforeAny } = EXPORTS;
          const model = (state, events) => ({ events, run: { state, firstEvent: 30 } });
          const other = { measure: "m", label: "m", own: false, score: null, place: null, end: null, of: null };
          const card = new WhyCard();
          card.update({ headline: "", verdict: "stayed", lines: [], rules: [], alternatives: [
            { ...other, verdict: "not logged", agrees: false }, { ...other, verdict: "prune", agrees: false } ] }, "");
          const cells = [...card.root.querySelectorAll("td:last-child")].map((cell) => cell.textContent);
          const runs = [model("finished", []), model("running", []), model("finished", [{ step: 9 }])];
          return [...runs.map(beforeAny), ...cells, card.root.querySelectorAll(".fl-differs").length];
        }""".replace("EXPORTS", modules("player/views/why_card.js", "player/ui/tell.js")),
    )
    page.close()
    due, first = "No event yet: the first is due at step 30.", "No event yet: the first is at step 9."
    assert told == ["This run has no events: nothing was decided.", due, first, "not logged", "≠ prune", 1]


def test_the_why_card_leaves_as_a_picture_and_as_numbers_of_its_own_event_only(open_view, logged):
    step, matrix = logged.events[0], logged.name(0, "query")
    line = {"key": "rank", "label": "rank", "text": "4 < 5", "detail": "of L0 query"}
    card = {"event": 1, "step": step, "matrix": matrix, "verdict": "pruned", "headline": "L0 query loses one."}
    card |= {"lines": [line], "rules": [], "alternatives": []}

    def answer(route):
        own = f"matrix={matrix}" in route.request.url
        route.fulfill(json={"event": step, "matrix": matrix, "card": card}) if own else route.abort()

    viewer = open_view(f"/?run=test-paper&side=why&step={step}&matrix={matrix}", answers={"**/lab/why/**": answer})
    viewer.page.locator(".fl-why").get_by_text("L0 query loses one.").wait_for(timeout=TIMEOUT_MS)
    texts = [text.text for text in viewer.svg("side").iter(f"{SVG}text")]
    assert texts[:3] == ["L0 query loses one.", "rank: 4 < 5", "of L0 query"]
    viewer.close()
    (row,) = viewer.numbers("side", "Why\\?")
    assert (row["kind"], row["label"], row["text"], row["detail"]) == ("line", "rank", "4 < 5", "of L0 query")
    viewer.page.get_by_label("Matrix").select_option(label="L0 value")
    viewer.page.wait_for_selector(f'.fl-player[data-matrix="{logged.name(0, "value")}"]', timeout=TIMEOUT_MS)
    assert "L0 query loses one." not in [text.text for text in viewer.svg("side").iter(f"{SVG}text")]


def test_what_is_saved_is_the_table_of_what_is_shown(open_view, run, logged):
    step, first = logged.events[1], logged.name(0, "query")
    at = Moment(step, first, 12, "change", "final_rank")
    viewer = open_view(f"/?run=test-paper&step={step}&band=strip&sort=final_rank&colour=change&since=12&matrix={first}")
    for picture, place, label, key in (("map", "map", "Map", "map"), ("time", "band", "Strip", "strip")):
        table = VIEWS[place][key](run, at)
        rows = viewer.numbers(picture, label)
        assert list(rows[0]) == table.column_names
        for name in {"rank_change", "pruned", *(m.name for m in run.matrices)} & set(table.column_names):
            assert column(rows, name) == pytest.approx(numbers(table, name))
    curves = viewer.numbers("time", "Curves")
    assert list(curves[0]) == TABLES["curves"](run).column_names
    assert column(curves, "net_moves")[-1] == net_moves(run)


def test_the_order_by_similarity_comes_when_it_is_asked_for(open_view, run):
    viewer = open_view("/?run=test-paper&band=strip&sort=similarity")
    similar = [run.matrices[m].name for m in sorted_matrices(run, "similarity")]
    assert similar != [run.matrices[m].name for m in sorted_matrices(run, "architecture")]
    # The server is asked for it once the user rests, so it comes a moment later.
    deadline = time.monotonic() + TIMEOUT_MS / 1000
    while list(viewer.numbers("time", "Strip")[0])[1:] != similar:
        assert time.monotonic() < deadline, "the order did not come"
        viewer.page.wait_for_timeout(600)


def test_the_directions_of_the_selected_matrix_come_first_and_tell_their_values_as_do_the_curves(
    open_view, run, logged
):
    step = logged.events[-1] + 2
    viewer = open_view(f"/?run=test-paper&step={step}&matrix={logged.name(1, 'ffn_in')}")
    page = viewer.page
    assert page.locator(".fl-player").get_attribute("data-band") == "directions"
    at_clock = run.singular_values(step)[logged.name(1, "ffn_in")]
    label = page.locator(".fl-moving").get_attribute("aria-label")
    assert f"{len(at_clock)} at the clock; the largest: slot 0 · λ {at_clock[0]:.3g} ·" in label
    drawn = [text.text for text in viewer.svg("time").iter(f"{SVG}text")]
    viewer.close()
    assert f"0: {at_clock[0]:.3g}" in drawn
    box = page.locator(".fl-moving").bounding_box()
    told = []
    for y in range(20, int(box["height"]) - 20, 4):
        page.mouse.move(box["x"] + box["width"] - 120, box["y"] + y)
        page.wait_for_timeout(20)
        told.append(page.locator(".fl-tip").inner_text())
    assert any(re.match(r"L1 ffn_in · step 3\d · slot \d · λ ", tip) for tip in told)
    for curve in ("task loss", "total rank"):
        assert any(tip.startswith(f"{curve} · step 3") for tip in told), told


def test_a_line_or_a_share_under_the_pointer_tells_itself_and_a_click_selects_it_everywhere(open_view, run, logged):
    viewer = open_view("/?run=test-paper&band=trajectories")
    page = viewer.page
    box = page.locator(".fl-moving").bounding_box()
    right = box["x"] + box["width"] - 90
    # The last matrix gained most: its line is the highest at the end.
    page.mouse.move(right, box["y"] + 22)
    page.mouse.click(right, box["y"] + 22)
    page.wait_for_selector(f'.fl-player[data-matrix="{logged.name(1, "ffn_in")}"]', timeout=TIMEOUT_MS)
    assert page.locator(".fl-tip").inner_text().startswith("L1 ffn_in · step 40 · rank")
    assert "Selected: L1 ffn_in" in page.locator(".fl-map").get_attribute("aria-label")
    viewer.choose("band", "share_layer")
    page.mouse.move(right, box["y"] + 24)
    own = [m for m, matrix in enumerate(run.matrices) if matrix.layer == 0]
    rank, total = run.ranks[-1][own].sum(), run.ranks[-1].sum()
    assert f"of the total rank ({rank} of {total})" in page.locator(".fl-tip").inner_text()
    page.mouse.click(right, box["y"] + 24)
    page.wait_for_selector('.fl-player[data-matrix*="layer.0."]', timeout=TIMEOUT_MS)


def test_a_layer_under_the_pointer_tells_its_mean_and_a_click_goes_to_its_matrix_of_the_same_type(
    open_view, run, logged
):
    viewer = open_view(
        f"/?run=test-paper&band=layers&colour=entropy&step={logged.steps}&matrix={logged.name(0, 'value')}"
    )
    page = viewer.page
    box = page.locator(".fl-moving").bounding_box()
    # Right of the axis stands what it is at the clock.
    right = box["x"] + box["width"] - 40
    # The first row begins below the key.
    page.mouse.move(right, box["y"] + 40)
    mean, least, greatest, defined = (column[-1, 0] for column in layer_spread(run, defined_entropy(run)))
    tip = page.locator(".fl-tip").inner_text()
    assert tip.startswith(f"layer 0 · step {logged.steps} · entropy: mean {mean:.3f} of {defined} matrices, ")
    assert [float(text) for text in re.findall(r"[\d.]+", tip)[-2:]] == pytest.approx([least, greatest], abs=0.01)
    for y in range(40, int(box["height"]), 6):
        page.mouse.move(right, box["y"] + y)
        if page.locator(".fl-tip").inner_text().startswith("layer 1 "):
            page.mouse.click(right, box["y"] + y)
            break
    page.wait_for_selector(f'.fl-player[data-matrix="{logged.name(1, "value")}"]', timeout=TIMEOUT_MS)


def test_the_numbers_can_be_read_as_a_table_and_keys_rest_while_it_is_open(open_view, run):
    viewer = open_view("/?run=test-paper&step=20")
    page = viewer.page
    page.keyboard.press("Shift+T")
    table = page.get_by_role("dialog").locator("table")
    assert table.locator("tbody td:nth-child(3)").all_inner_texts() == [matrix.name for matrix in run.matrices]
    ranks = table.locator("tbody tr td:nth-child(6)").all_inner_texts()
    assert ranks == [str(rank) for rank in run.ranks[run.record_at(20)]]
    page.keyboard.press("End")
    page.get_by_label("Numbers of").select_option("curves")
    assert table.locator("thead th").first.inner_text() == "step"
    viewer.close()
    assert page.locator(".fl-player").get_attribute("data-step") == "20"
    viewer.take_out("map")
    command = page.locator(".fl-command").inner_text()
    assert command == "python -m analysis.report sample_runs/test-paper --out test-paper.html"


def test_a_card_that_is_not_of_now_says_of_which_event_it_is(browser, modules):
    page = browser.new_page()
    shown = page.evaluate(
        f"async () => {{ const {{ WhyCard }} = {modules('player/views/why_card.js')}; const card = new WhyCard();"
        " const of = { event: 3, step: 30, verdict: 'stayed', headline: 'Stayed.', lines: [], rules: [] };"
        " of.alternatives = [];"
        " const texts = []; const look = () => texts.push(card.root.textContent);"
        " card.update(of, ''); look(); card.update(of, '', 'Of event 3'); look(); card.update(of, ''); look();"
        " card.update(null, 'One moment'); look(); return texts; }",
    )
    page.close()
    assert shown == ["Stayed.", "Of event 3Stayed.", "Stayed.", "One moment"]


def test_small_parts_keep_their_promises(browser, modules):
    page = browser.new_page()
    spiky = (
        "(() => { const xs = Float64Array.from({ length: 90000 }, (_, i) => i / 100);"
        " const ys = xs.map((x, i) => Math.sin(i) + (i === 41234 ? 50 : i === 7 ? -50 : 0)); ys[500] = NaN;"
        " const [a, b] = perColumn(xs, ys); const known = [...b].filter((y) => !Number.isNaN(y));"
        " return { count: a.length, high: Math.max(...known), low: Math.min(...known), gaps: b.length - known.length,"
        " ascending: [...a].every((x, i) => i === 0 || x > a[i - 1]), same: perColumn([0, 1], [2, 3])[1] }; })()"
    )
    found = evaluate(page, modules("player/model/columns.js"), "perColumn", spiky)
    assert found["count"] <= 5 * 900
    assert found["high"] > 49
    assert found["low"] < -49
    assert found["gaps"] == 1
    assert found["ascending"]
    assert found["same"] == [2, 3]
    values = [0.1, 1 / 3, -2.5e-7, 12345.678, 3.0e22]
    sent = [float(np.float32(value)) for value in values] + values
    texts = evaluate(page, modules("player/model/csv.js"), "exactText", f"{json.dumps(sent)}.map(exactText)")
    assert [np.float32(text) for text in texts[:5]] == [np.float32(value) for value in values]
    assert [float(text) for text in texts[5:]] == values
    odd = [["a,b", 'say "x"', " edge", "two\nlines", "plain", ""], [None, 1, "λ", 0, -1, "=1+1"]]
    text = evaluate(
        page,
        modules("player/model/csv.js"),
        "csvOf",
        f"csvOf({{ head: {json.dumps(odd[0])}, rows: [{json.dumps(odd[1])}] }})",
    )
    assert list(csv.reader(io.StringIO(text, newline=""))) == [odd[0], ["", "1", "λ", "0", "-1", "'=1+1"]]
    escaped = evaluate(
        page, modules("player/pen/svg_pen.js"), "escapeXml", "escapeXml(`<a b='c'>&\\u0000\\ud800\"λ🙂`)"
    )
    assert ElementTree.fromstring(f'<x y="{escaped}"/>').get("y") == "<a b='c'>&\"λ🙂"
    page.close()

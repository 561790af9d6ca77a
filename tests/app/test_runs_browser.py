"""A true journey through Runs: upload a log, correct its map, import, look at it, download it, remove it for good."""

from __future__ import annotations

import json
import time
import zipfile

TIMEOUT_MS = 40_000
PLAYER = "[data-testid=stMain] .fl-player[data-step]"
ROW_PX = 35
NAMES = [f"encoder.layer.{n}.attention.self.{kind}.lora_E" for n in range(2) for kind in ("query", "value")]


def wait_for(page, condition):
    deadline = time.monotonic() + TIMEOUT_MS / 1000
    while not condition():
        assert time.monotonic() < deadline, page.locator("body").inner_text()[:3000]
        page.wait_for_timeout(50)


def button(page, key):
    return page.locator(f".st-key-{key} button").first


def type_into_cell(page, table, row, column, text):
    """Type into a cell of a canvas table: click the first cell of the row, go right, open, overwrite."""
    editor = page.locator("#portal textarea, #portal input").first
    deadline = time.monotonic() + TIMEOUT_MS / 1000
    # A busy page loses keys, and another cell opens, which may be one that cannot be edited.
    while not (editor.count() and editor.is_enabled()):
        assert time.monotonic() < deadline, "the cell did not open"
        if editor.count():
            page.keyboard.press("Escape")
        table.scroll_into_view_if_needed()
        box = table.bounding_box()
        page.mouse.click(box["x"] + 20, box["y"] + ROW_PX * (row + 1.5))
        for _ in range(column):
            page.keyboard.press("ArrowRight")
        page.keyboard.press("Enter")
        page.wait_for_timeout(500)
    editor.fill(text)
    page.keyboard.press("Enter")


def test_upload_correct_import_look_download_and_remove(open_page, tmp_path):
    log = tmp_path / "rank_log.csv"
    log.write_text(f"step,{','.join(NAMES)}\r\n100,8,8,7,9\r\n200,8,7,8,9\r\n")
    (tmp_path / "photo.png").write_bytes(b"\x89PNG\r\n")
    page = open_page("/runs")
    page.get_by_text("Import a log").wait_for(timeout=TIMEOUT_MS)
    page.get_by_text("Import a log").click()
    files = page.locator("input[type=file]").first
    files.set_input_files(str(tmp_path / "photo.png"))
    wait_for(page, lambda: page.get_by_text("photo.png is no log that can be imported").count())
    assert page.get_by_text("Traceback").count() == 0

    page.reload()
    page.get_by_text("Import a log").click(timeout=TIMEOUT_MS)
    files.set_input_files(str(log))
    page.get_by_text("4 matrices").first.wait_for(timeout=TIMEOUT_MS)
    table = page.locator("[class*=st-key-runs_types] [data-testid=stDataFrame]")
    table.wait_for(timeout=TIMEOUT_MS)
    rows = page.locator("[class*=st-key-runs_rows]")
    # During a rerun the old table and the new one may stand there together.
    classes = "tables => tables.map((table) => table.className)"
    before = rows.evaluate_all(classes)
    type_into_cell(page, table, row=1, column=2, text="corrected")
    wait_for(page, lambda: (now := rows.evaluate_all(classes)) and len(now) == 1 and now != before)
    page.get_by_label("Name of the run", exact=True).fill("theirs")
    page.keyboard.press("Enter")
    button(page, "runs_import").click()
    page.get_by_text("is imported: 4 matrices").wait_for(timeout=TIMEOUT_MS)

    button(page, "runs_imported_explore").click()
    page.wait_for_selector(PLAYER, timeout=TIMEOUT_MS)
    wait_for(page, lambda: page.get_by_text("stopped, step 201 of 201").count())
    # Ranks that change without a known reason are not said to stand still.
    assert "this log tells ranks only" in page.locator(".fl-sentence").inner_text()
    assert "tells ranks, not events" in page.locator(".fl-events").inner_text()
    assert page.locator(".fl-numbers").inner_text().endswith("λ unknown")
    # Nor is all of their time hatched: the strip shows what the log does know.
    assert page.locator(".fl-moving").get_attribute("aria-label").startswith("rank of 4 matrices")

    page.get_by_role("link", name="Runs").click()
    with page.expect_download(timeout=TIMEOUT_MS) as download:
        button(page, "runs_zip").click()
    download.value.save_as(tmp_path / "theirs.zip")
    header = json.loads(zipfile.ZipFile(tmp_path / "theirs.zip").read("theirs/run.json"))["header"]
    assert [row["module_type"] for row in header["matrices"]] == ["query", "corrected"] * 2
    assert [row["layer"] for row in header["matrices"]] == [0, 0, 1, 1]

    button(page, "runs_trash").click()
    page.get_by_text("theirs is in the trash").wait_for(timeout=TIMEOUT_MS)
    button(page, "runs_undo").click()
    page.get_by_text("theirs is back").wait_for(timeout=TIMEOUT_MS)
    button(page, "runs_trash").click()
    page.get_by_text("Trash: 1").click(timeout=TIMEOUT_MS)
    page.locator("[class*=st-key-runs_delete_] button").first.click()
    button(page, "runs_confirm_yes").click()
    page.get_by_text("theirs deleted").wait_for(timeout=TIMEOUT_MS)

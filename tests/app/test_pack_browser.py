"""A pack in a real browser: from files, without a server, with the network off."""

from __future__ import annotations

from pathlib import Path

from analysis.pack import write_pack

SAMPLES = Path(__file__).parents[2] / "sample_runs"
TIMEOUT_MS = 40_000


def test_a_pack_teaches_trains_and_plays_with_the_network_off(browser, tmp_path):
    pack = write_pack(tmp_path / "a pack #1", SAMPLES)
    context = browser.new_context(viewport={"width": 1024, "height": 768}, offline=True)
    context.set_default_timeout(TIMEOUT_MS)
    page = context.new_page()
    errors, asked = [], []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
    page.on("request", lambda request: asked.append(request.url))
    page.goto((pack.folder / "index.html").as_uri())
    page.get_by_role("link", name="Lessons").click()
    page.get_by_role("heading", name="What this is about").wait_for()
    page.go_back()
    page.get_by_role("link", name="Playground").click()
    page.get_by_text("step 2", exact=False).first.wait_for()
    page.go_back()
    page.get_by_role("link", name="words-flexlora-paper").click()
    page.wait_for_selector(".fl-player[data-step]")
    page.get_by_role("link", name="playground").click()
    page.get_by_role("heading", name="Playground").wait_for()
    context.close()
    assert not errors
    assert all(url.startswith(("file:", "blob:", "data:")) for url in asked)

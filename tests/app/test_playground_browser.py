"""The Playground in a real browser: paint, play, moves, a link that restores all of it."""

from __future__ import annotations

from flexlora.run_log import read_run

RACE = ".pg-race[data-step]"
TIMEOUT_MS = 40_000


def told(page) -> dict[str, str]:
    return page.locator(RACE).evaluate("node => ({ ...node.dataset })")


def test_a_scale_moves_the_energy_on_its_axis_and_leaves_the_entropy(open_page):
    page = open_page("/playground#show=spectrum")
    axes = page.locator(".pg-gauge canvas")
    axes.first.wait_for(timeout=TIMEOUT_MS)
    energy, entropy = (axis.get_attribute("aria-label").split(": ")[1] for axis in axes.all())
    page.get_by_role("button", name="Scale × 10").click()
    scaled, same = (axis.get_attribute("aria-label").split(": ")[1].split(", before ") for axis in axes.all())
    assert scaled[1] == energy and abs(float(scaled[0]) / float(energy) - 100) < 1
    assert same == [entropy, entropy]
    page.get_by_role("button", name="One alone").click()
    assert axes.last.get_attribute("aria-label") == "entropy I: 0", "what was before goes with the next change"


def test_paint_play_and_share(open_page, served_root):
    page = open_page("/playground#layers=2&steps=120&truth=1,1,1,7,7,7")
    noise: list[str] = []
    page.on("console", lambda line: noise.append(line.text) if line.type == "error" else None)
    page.wait_for_selector(RACE, timeout=TIMEOUT_MS)
    # Something moves without a press.
    page.wait_for_selector(".pg-moves li", timeout=TIMEOUT_MS)
    assert "left map" in page.locator(".pg-look").inner_text()
    assert page.locator(".pg-moves li").last.inner_text().split("step")[1].startswith(" 40: layer ")

    why = page.locator(".pg-side-a .pg-why")
    assert why.inner_text().startswith("layer ") and "lowest of 6: lost its smallest direction." in why.inner_text()
    assert page.locator(".pg-side-b .pg-why").inner_text() == "Every matrix keeps its directions."

    page.get_by_role("button", name="Pause").click()
    page.wait_for_selector("text=Go on")
    # A stroke over two matrices of layer 0.
    page.get_by_role("button", name="paint rank 16").click()
    canvas = page.locator("canvas.pg-paint")
    box = canvas.bounding_box()
    y = box["y"] + 20 + (box["height"] - 20) / 4
    page.mouse.move(box["x"] + 58 + (box["width"] - 58) / 6, y)
    page.mouse.down()
    page.mouse.move(box["x"] + 58 + (box["width"] - 58) / 2, y, steps=4)
    page.mouse.up()
    page.wait_for_function("location.hash.includes('truth=16,16,1,7')", timeout=TIMEOUT_MS)
    # The keyboard changes the third.
    canvas.focus()
    for key in ("ArrowRight", "+"):
        page.keyboard.press(key)
    page.wait_for_function("location.hash.includes('truth=16,16,2,7')", timeout=TIMEOUT_MS)
    assert page.locator(".pg-painter p").inner_text().startswith("layer 0 down needs 2")

    page.get_by_label("Rule of contestant B").select_option("oracle")
    page.get_by_label("Pace").select_option("as fast as it goes")
    # Before the first event a press is a guess.
    page.locator(".pg-side-a canvas").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("text=layer 0 mix is your pick: the first event comes after step 40.")
    page.get_by_role("button", name="To the next event").click()
    page.wait_for_selector(".pg-race[data-step='40']", timeout=TIMEOUT_MS)
    words = page.locator(".pg-moves li").all_inner_texts()
    assert len(words) == 2 and all("step 40: layer " in line and "gained one" in line for line in words)
    assert why.inner_text().startswith(("You were right", "You were nearly right", "Not your pick"))
    assert "layer 0 mix at step 40: entropy ." in why.inner_text()
    assert page.locator(".pg-scored").all_inner_texts() == ["Small numbers: entropy at the event of step 40.", ""]
    # A matrix that is asked tells why, by the keyboard too.
    page.locator(".pg-side-b canvas").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("text=layer 0 mix at step 40: had 4 and needs 16: ")
    page.get_by_role("button", name="Go on").click()
    page.wait_for_selector(".pg-race[data-finished=true]", timeout=TIMEOUT_MS)
    assert int(told(page)["moved"]) > 0
    verdict = page.locator(".pg-ended").inner_text()
    assert verdict.startswith("Moves ended at step ") and "A (FlexLoRA" in verdict and "B (oracle" in verdict
    assert "moves ended at step " in page.locator(".pg-bar output").inner_text()
    page.get_by_text("Take it along").click()
    commands = page.locator(".pg-commands code").all_inner_texts()
    assert "scenario=16,16,2,7,7,7" in commands[0] and "--set policy=oracle" in commands[1]

    # Numbers that cannot be are told where they stand, and nothing is lost.
    page.get_by_text("All settings", exact=True).click()
    page.get_by_label("steps between events of A").fill("90")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=No room for an event")
    assert page.get_by_label("steps between events of A").input_value() == "20"

    address = page.url
    other = open_page(address[address.index("/playground") :], new=True)
    other.wait_for_selector(RACE, timeout=TIMEOUT_MS)
    assert other.get_by_label("Rule of contestant B").input_value() == "oracle"
    assert "layer 0 mix needs 16" in other.locator("canvas.pg-paint").get_attribute("aria-label")
    other.wait_for_selector(".pg-moves li", timeout=TIMEOUT_MS)
    # The same seed, the same race: what the link shows is what was seen.
    assert other.locator(".pg-moves li").last.inner_text() == page.locator(".pg-moves li").last.inner_text()
    # Streamlit asks for its own health below a page's name, where nothing is.
    assert [line for line in noise if "404" not in line] == []

    # The same training, as a run of the visitor's.
    page.get_by_role("button", name="Open A in the player").click()
    page.wait_for_selector(".fl-player[data-step]", timeout=TIMEOUT_MS)
    assert "run=runs%2Fplayground-a" in page.url
    assert read_run(served_root / "runs" / "playground-a").header["config"]["seed"] == 0

"""The Adapters page headless: open, look, correct, shrink, write, compare; and what is said about bad input."""

from __future__ import annotations

import io
import json
import re
import shutil
import tomllib
import zipfile
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from analysis.adapters import AdapterError, open_adapter
from analysis.adapters.doctor import CHECKS, Finding
from analysis.adapters.files import CONFIG, WEIGHTS, NewTensor, TensorFile, write_tensors
from analysis.adapters.own import open_any
from analysis.runs import load_run

APP = Path(__file__).resolve().parents[2] / "app"
EXAMPLE = APP.parent / "sample_runs" / "adapters" / "digits-flexlora"
NAMES = ("encoder.layer.0.attention.self.query", "encoder.layer.0.attention.self.value", "oddly.named")


def script():
    from app_pages import adapters

    adapters.page()


def make(folder: Path, seed=0, **config) -> Path:
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    tensors = {}
    for name in NAMES:
        for part, shape in (("A", (4, 10)), ("B", (12, 4))):
            data = 0.1 * rng.normal(size=shape)
            tensors[f"base_model.model.{name}.lora_{part}.weight"] = NewTensor("F64", shape, data.tobytes)
    write_tensors(folder / WEIGHTS, tensors)
    (folder / CONFIG).write_text(json.dumps({"peft_type": "LORA", "r": 4, "lora_alpha": 8, **config}))
    return folder


@pytest.fixture
def page(roots):
    return AppTest.from_function(script, default_timeout=30)


@pytest.fixture
def opened(page, tmp_path):
    page.run()
    page.text_input(key="adapters_path").set_value(str(make(tmp_path / "mine"))).run()
    assert not page.exception
    return page


def text(page):
    blocks = [*page.markdown, *page.caption, *page.error, *page.warning, *page.info, *page.success]
    return "\n".join(block.value for block in blocks)


def show(page, view):
    page.segmented_control(key="adapters_view").set_value(view).run()
    assert not page.exception
    return page


def test_before_anything_is_opened_the_page_says_what_it_is_for(page):
    page.run()
    assert not page.exception
    assert "every LoRA, AdaLoRA, LoHa, LoKr" in text(page)


def test_an_adapter_opens_by_path_and_the_address_follows(opened, tmp_path):
    assert "3 matrices, r = 4, 12 directions" in text(opened)
    assert opened.query_params["adapter"] == str(tmp_path / "mine")
    assert opened.selectbox(key="adapters_matrix").value == NAMES[0]
    opened.selectbox(key="adapters_matrix").set_value(NAMES[2]).run()
    assert not opened.exception
    assert "of 4 directions hold 99 % of its energy" in text(opened)


def test_the_address_opens_an_adapter(page, tmp_path):
    page.query_params["adapter"] = str(make(tmp_path / "linked"))
    page.run()
    assert not page.exception
    assert "**linked.**" in text(page)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda folder: (folder / WEIGHTS).unlink(), "has no adapter"),
        (lambda folder: (folder / WEIGHTS).write_bytes(b"broken"), "is cut short"),
        (lambda folder: (folder / CONFIG).write_text('{"peft_type": "PROMPT_TUNING"}'), "PROMPT"),
        (lambda folder: (folder / WEIGHTS).rename(folder / "adapter_model.bin"), "pickled objects"),
    ],
)
def test_what_cannot_be_opened_is_one_box_and_the_last_adapter_stays(opened, tmp_path, spoil, says):
    bad = make(tmp_path / "bad")
    spoil(bad)
    opened.text_input(key="adapters_path").set_value(str(bad)).run()
    assert not opened.exception
    assert len(opened.error) == 1
    assert says in opened.error[0].value.replace("\\", "")
    assert "Still shown: mine" in text(opened)
    assert "3 matrices" in text(opened)


@pytest.mark.parametrize("path", ["nul\0byte", "x" * 5000, "~no_such_user/here", "/", "[link](http://x) **b**"])
def test_odd_paths_are_one_box(page, path):
    page.run()
    page.text_input(key="adapters_path").set_value(path).run()
    assert not page.exception
    assert len(page.error) == 1


def test_the_table_has_a_row_a_matrix_and_its_mapping_can_be_corrected(opened, tmp_path):
    show(opened, "Table")
    assert list(opened.dataframe[0].value["matrix"]) == list(NAMES)
    opened.session_state["adapters_places"] = {str(tmp_path / "mine"): {NAMES[2]: (5, "odd")}}
    show(opened, "What is inside")
    assert "layer 5 odd" in opened.selectbox(key="adapters_matrix").options[2]


def test_a_corrected_mapping_outlives_a_look_at_another_view_until_it_is_reset(opened, tmp_path):
    key = str(tmp_path / "mine")
    opened.session_state["adapters_places"] = {key: {NAMES[2]: (5, "odd")}}
    for view in ("Table", "What is inside", "Table"):
        show(opened, view)
        assert opened.session_state["adapters_places"][key] == {NAMES[2]: (5, "odd")}
    opened.button(key="adapters_mapping_reset").click().run()
    assert not opened.exception
    assert not opened.session_state["adapters_places"].get(key)


def test_a_suggestion_follows_its_target_and_every_order_stands_beside_it(opened):
    show(opened, "Shrink it")
    opened.selectbox(key="adapters_target").set_value("rank").run()
    opened.slider[0].set_value(5).run()
    assert not opened.exception
    assert "Total rank 12 → 5" in text(opened)
    orders = opened.dataframe[-1].value
    assert set(orders["rank"]) == {5}
    opened.slider[0].set_value(2).run()
    assert not opened.exception
    assert "every matrix keeps at least one direction" in opened.error[0].value


def test_the_smaller_adapter_is_written_where_asked_and_never_over_another(opened, tmp_path):
    show(opened, "Shrink it")
    opened.selectbox(key="adapters_target").set_value("rank").run()
    opened.slider[0].set_value(6).run()
    out = next(widget for widget in opened.text_input if widget.key.startswith("adapters_out"))
    out.set_value(str(tmp_path / "small"))
    opened.button(key="adapters_write").click().run()
    assert not opened.exception
    assert "Measured on the file" in text(opened)
    assert sum(matrix.rank for matrix in open_adapter(tmp_path / "small").matrices) == 6
    opened.button(key="adapters_write").click().run()
    assert not opened.exception
    assert "not empty" in opened.error[0].value
    opened.button(key="adapters_zip").click().run()
    assert not opened.exception


def test_another_format_is_written_as_it_was_read_or_as_pefts(page, tmp_path):
    rng = np.random.default_rng(0)
    names = [f"diffusion_model.double_blocks.{n}.img_attn.qkv" for n in range(3)]
    shapes = {".lora_A.weight": (4, 10), ".lora_B.weight": (12, 4), ".alpha": ()}
    tensors = {
        f"{name}{end}": NewTensor("F64", shape, np.asarray(rng.normal(size=shape)).tobytes)
        for name in names
        for end, shape in shapes.items()
    }
    write_tensors(tmp_path / "flux.safetensors", tensors)
    page.run()
    page.text_input(key="adapters_path").set_value(str(tmp_path / "flux.safetensors")).run()
    show(page, "Shrink it")
    page.selectbox(key="adapters_target").set_value("rank").run()
    for form, ending in (("same", "flux.safetensors"), ("peft", WEIGHTS)):
        page.selectbox(key="adapters_form").set_value(form).run()
        out = next(widget for widget in page.text_input if widget.key.startswith("adapters_out"))
        out.set_value(str(tmp_path / form))
        page.button(key="adapters_write").click().run()
        assert not page.exception and not page.error
        assert "Measured on the file" in text(page) and "File " in page.success[-1].value
        assert (tmp_path / form / ending).is_file()
        assert sum(matrix.rank for matrix in open_adapter(tmp_path / form).matrices) == 6


def test_what_the_rule_would_move_comes_with_its_caveat(opened):
    show(opened, "Where rank would move")
    opened.number_input(key="adapters_budget").set_value(1).run()
    assert not opened.exception
    assert "One event with b = 1 would take a direction from" in text(opened)
    assert "only shows where training ended" in text(opened)


def test_two_adapters_are_compared_and_strangers_are_told_so(opened, tmp_path):
    show(opened, "Against another")
    opened.text_input(key="adapters_other_path").set_value(str(make(tmp_path / "other", seed=1))).run()
    assert not opened.exception
    assert "3 matrices are alive in both" in text(opened)
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    tensors = {f"x.lora_{part}.weight": NewTensor("F32", (2, 2), np.eye(2, dtype="<f4").tobytes) for part in "AB"}
    write_tensors(stranger / WEIGHTS, tensors)
    (stranger / CONFIG).write_text('{"peft_type": "LORA", "r": 2, "lora_alpha": 2}')
    opened.text_input(key="adapters_other_path").set_value(str(stranger)).run()
    assert not opened.exception
    assert "no matrix of the same name and shape" in opened.warning[0].value


def test_a_folder_of_checkpoints_offers_a_choice(page, tmp_path):
    for number in (200, 1000):
        make(tmp_path / "run" / f"checkpoint-{number}", seed=number)
    page.run()
    page.text_input(key="adapters_path").set_value(str(tmp_path / "run")).run()
    choice = page.selectbox(key=f"adapters_choice_{tmp_path / 'run'}")
    assert choice.label == "2 adapters in this folder"
    assert choice.options == ["checkpoint-200", "checkpoint-1000"]
    assert "**checkpoint-200.**" in text(page)
    choice.set_value("checkpoint-1000").run()
    assert not page.exception and not page.error
    assert "**checkpoint-1000.**" in text(page)
    assert page.query_params["adapter"] == str(tmp_path / "run")


def test_a_file_of_another_format_opens_by_path(page, tmp_path):
    tensors = {}
    for part, shape in (("down", (2, 8)), ("up", (6, 2))):
        data = np.ones(shape, "<f4")
        tensors[f"lora_unet_mid_block_attn1_to_q.lora_{part}.weight"] = NewTensor("F32", shape, data.tobytes)
    write_tensors(tmp_path / "style.safetensors", tensors)
    page.run()
    page.text_input(key="adapters_path").set_value(str(tmp_path / "style.safetensors")).run()
    assert not page.exception
    assert "LoRA: 1 matrix, r = 2" in text(page).replace("\\", "")
    assert "no alpha in the file" in text(page)


def upload(name, content):
    return SimpleNamespace(name=name, size=len(content), file_id=name, getbuffer=lambda: memoryview(content))


def zipped(files) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def kept(files, monkeypatch):
    from adapters import uploads

    monkeypatch.setattr(uploads.st, "session_state", {})
    place = uploads.keep_upload(files)
    folder = place if place.is_dir() else place.parent
    return place, {
        file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()
    }


def test_uploads_keep_their_names_and_lead_nowhere_else(tmp_path, monkeypatch):
    folder = make(tmp_path / "mine")
    weights, config = (folder / WEIGHTS).read_bytes(), (folder / CONFIG).read_bytes()
    whole = {WEIGHTS: weights, CONFIG: config}
    outside = {f"../../up/{WEIGHTS}": weights, f"..\\up\\{CONFIG}": config, "/etc/evil": b"x"}
    for files, expected in (
        ([upload("adapter.zip", zipped(outside))], whole),
        (
            [upload("a.safetensors", weights), upload("adapter_config (1).json", config)],
            {"a.safetensors": weights, CONFIG: config},
        ),
        (
            [upload(WEIGHTS, weights), upload(CONFIG, config), upload("tokenizer.json", b"{}")],
            {**whole, "tokenizer.json": b"{}"},
        ),
        (
            [upload("a.zip", zipped(whole)), upload("...zip", zipped(whole))],
            {f"{place}/{name}": content for place in ("a", "zip 2") for name, content in whole.items()},
        ),
    ):
        assert kept(files, monkeypatch)[1] == expected


@pytest.mark.parametrize(("names", "says"), [
    (["jokes.zip"], "jokes"),
    (["style.v2.safetensors"], "style.v2"),
    (["lora.gguf"], "lora"),
    ([CONFIG, WEIGHTS], "adapter_model"),
    ([CONFIG, "faq-00002-of-00002.safetensors", "faq-00001-of-00002.safetensors"], "faq"),
])  # fmt: skip
def test_an_upload_is_called_what_its_files_are(names, says):
    from adapters.uploads import upload_name

    assert upload_name([upload(name, b"") for name in names]) == says


def test_two_uploads_have_names_of_their_own(page, tmp_path):
    page.run()
    for place, name in enumerate(("faq", "jokes")):
        folder = make(tmp_path / name, seed=place)
        content = zipped({part: (folder / part).read_bytes() for part in (WEIGHTS, CONFIG)})
        page.file_uploader[place].set_value([(f"{name}.zip", content, "application/zip")]).run()
        if not place:
            assert "**faq.**" in text(page)
            show(page, "Against another")
    assert not page.exception and not page.error
    assert re.search(r"of jokes is [\d.]+ times that of faq", text(page))


def test_parts_of_an_adapter_are_one_adapter_in_any_order(tmp_path, monkeypatch):
    """A browser may send the files in any order; a part must never be read as the whole."""
    tensors = TensorFile(make(tmp_path / "mine") / WEIGHTS)
    names, files = list(tensors.tensors), {CONFIG: (tmp_path / "mine" / CONFIG).read_bytes()}
    where = {name: f"adapter_model-0000{1 + place % 2}-of-00002.safetensors" for place, name in enumerate(names)}
    for part in set(where.values()):
        own = {
            n: NewTensor(t.dtype, t.shape, partial(tensors.raw, n))
            for n, t in tensors.tensors.items()
            if where[n] == part
        }
        write_tensors(tmp_path / part, own)
        files[part] = (tmp_path / part).read_bytes()
    index = {"adapter_model.safetensors.index.json": json.dumps({"weight_map": where}).encode()}
    whole = {matrix.name for matrix in open_adapter(tmp_path / "mine").matrices}
    for held in (files, files | index):
        for order in (list(held), list(held)[::-1]):
            place, _ = kept([upload(name, held[name]) for name in order], monkeypatch)
            assert {matrix.name for matrix in open_adapter(place).matrices} == whole
        place, _ = kept([upload(name, held[name]) for name in held if "00001" not in name], monkeypatch)
        with pytest.raises(AdapterError, match="00001-of-00002"):
            open_adapter(place)


@pytest.mark.parametrize("name", ["style.safetensors", "lora.gguf", "adapter.safetensors"])
def test_a_file_that_stands_alone_is_opened_without_a_configuration(name, monkeypatch):
    path, _ = kept([upload(name, b"x" * 10)], monkeypatch)
    assert path.is_file() and path.suffix == Path(name).suffix
    both, _ = kept([upload("a.safetensors", b"x"), upload("c.json", b"{}")], monkeypatch)
    assert both.is_dir()


ONE = upload("one.zip", zipped({WEIGHTS: (7).to_bytes(8, "little") + b"{} "}))


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ([upload("a.zip", b"no zip")], "cannot be unpacked"),
        ([ONE, upload(CONFIG, b"{}")], "not both"),
        ([ONE, upload("a.safetensors", b"x")], "not both"),
        ([upload("a.zip", zipped({"readme.txt": b"1"}))], "No weights in a.zip"),
        ([upload(CONFIG, b"{}")], "No weights among adapter_config.json"),
        (
            [upload(WEIGHTS, b"1"), upload(CONFIG, b"{}"), upload("adapter_config (1).json", b"{}")],
            "upload one of them",
        ),
        ([upload(WEIGHTS, b"1"), upload("a.json", b"{}"), upload("b.json", b"{}")], "a.json and b.json"),
        ([upload(WEIGHTS, b"1"), upload(WEIGHTS, b"2")], "Two files are named"),
        ([SimpleNamespace(name="a.safetensors", size=10**12, file_id="a", getbuffer=None)], "can be uploaded"),
    ],
)
def test_uploads_that_are_no_adapter_are_explained(files, says, monkeypatch):
    with pytest.raises(AdapterError, match=says):
        kept(files, monkeypatch)


def test_a_zip_that_unpacks_to_too_much_is_refused_before_it_is_unpacked(monkeypatch):
    from adapters import uploads

    monkeypatch.setattr(uploads, "MAX_BYTES", 1000)
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(WEIGHTS, b"\0" * 100_000)
    with pytest.raises(AdapterError, match="unpacks to more than"):
        kept([upload("b.zip", bomb.getvalue())], monkeypatch)


def test_no_page_promises_an_upload_that_the_server_refuses():
    from adapters import uploads
    from compare import board
    from runs import import_source

    with (APP / ".streamlit" / "config.toml").open("rb") as file:
        allowed = tomllib.load(file)["server"]["maxUploadSize"]
    assert allowed == max(place.MAX_MIB for place in (uploads, board, import_source))


def test_bundled_adapters_and_those_of_own_runs_open_with_one_click(page, roots, make_run):
    from adapters.examples import bundled_adapters, own_adapters

    bundled = bundled_adapters()
    own_run = make_run(roots[1] / "mine")
    assert own_adapters() == {}
    for folder in (roots[0] / "adapters" / "example", own_run / "adapter"):
        shutil.copytree(EXAMPLE, folder)
    assert bundled == {} and list(bundled_adapters()) == ["example"] and list(own_adapters()) == ["mine"]
    for path in (*bundled_adapters().values(), *own_adapters().values()):
        page.session_state["adapters_path"] = ""
        page.run()
        next(button for button in page.button if button.key == f"adapters_open_{path}").click().run()
        assert not page.exception
        assert "36 matrices" in text(page)
    assert "**mine.**" in text(page)


def test_findings_stand_on_top_and_the_usual_beside(page, tmp_path):
    folder = make(tmp_path / "a", lora_alpha=0)
    page.run()
    page.text_input(key="adapters_path").set_value(str(folder)).run()
    assert not page.exception
    assert "alpha = 0 in all 3 matrices" in text(page) and f"{len(CHECKS)} checks, 1 finding: 1 wrong." in text(page)
    page.text_input(key="adapters_path").set_value(str(make(tmp_path / "b"))).run()
    show(page, "What is usual")
    assert "never that it is bad" in text(page)
    assert "entropy" in page.dataframe[0].value["quantity"].tolist()


def test_several_adapters_are_compared_and_merged(opened, tmp_path):
    others = [make(tmp_path / "second", seed=1), make(tmp_path / "third", base_model_name_or_path="other/base")]
    show(opened, "Several, and merge")
    opened.text_area(key="adapters_many_paths").set_value("\n".join(map(str, others))).run()
    assert not opened.exception
    assert len(opened.dataframe[-1].value) == 3
    assert "mine and third have the same ΔW in all 3 matrices" in text(opened)
    opened.button(key="adapters_merge").click().run()
    assert not opened.exception and not opened.error
    assert "Error of what was written: 0.00%." in text(opened)
    opened.text_area(key="adapters_many_paths").set_value(str(tmp_path / "nobody")).run()
    assert "cannot be opened" in opened.error[0].value


def test_all_of_one_base_model_are_one_click_and_the_others_another(page, tmp_path):
    for name, base in (("a", "acme/x"), ("b", "acme/x"), ("c", "acme/y"), ("d", "acme/x")):
        make(tmp_path / "all" / name, seed=ord(name), base_model_name_or_path=base)
    page.run()
    page.text_input(key="adapters_path").set_value(str(tmp_path / "all")).run()
    show(page, "Several, and merge")
    assert page.button(key="adapters_many_all").label == "All for acme/x"
    page.button(key="adapters_many_all").click().run()
    assert not page.exception and page.multiselect(key="adapters_many_known").value == ["b", "d"]
    assert r"Left out\: c \(for acme/y\)." in text(page) and "The base models differ" not in text(page)
    page.button(key="adapters_many_rest").click().run()
    assert not page.exception and page.multiselect(key="adapters_many_known").value == ["b", "d", "c"]
    assert "Left out" not in text(page) and "The base models differ" in text(page)


def test_a_report_is_one_file_that_says_what_the_page_says(tmp_path):
    from analysis.adapters import analyse_adapter
    from analysis.adapters.doctor import examine
    from analysis.report.adapter import adapter_html

    spectra = analyse_adapter(open_adapter(make(tmp_path / "a")))
    html = adapter_html(spectra, examine(spectra), "<mine>", "runs/<a> · 2026-01-02")
    assert "runs/&lt;a&gt; · 2026-01-02 · alpha = 8 · s = 2 · F64 · " in html and "Not in this file" in html
    dead = analyse_adapter(open_adapter(make(tmp_path / "dead", lora_alpha=0)))
    assert '<p class="finding wrong">' in adapter_html(dead, examine(dead), "dead") and "finding wrong" not in html
    assert "&lt;mine&gt;" in html and "<script" not in html and "http" not in html
    for name in NAMES:
        assert name in html
    assert html.count("<figure>") == len(NAMES) and "Error against size" in html
    assert "‖ΔW‖ by layer and module type" in html
    beside = Finding("neighbours", "look", "ΔW is 65 times as large.", "Compare.", 65.0)
    html = adapter_html(spectra, [], "mine", beside=beside)
    assert "ΔW is 65 times as large." in html and "And 1 beside the other adapters" in html


def test_checkpoints_become_a_run_with_one_click(page, roots, tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr("adapters.checkpoints.explore", shown.append)
    for number in (200, 1000):
        make(tmp_path / "trained" / f"checkpoint-{number}", seed=number)
    page.run()
    page.text_input(key="adapters_path").set_value(str(tmp_path / "trained")).run()
    assert "2 checkpoints of one training, steps 200 to 1000." in text(page)
    page.button(key="adapters_checkpoints").click().run()
    assert not page.exception and not page.error
    (key,) = shown
    assert load_run(roots[1] / key.removeprefix("runs/")).steps.tolist() == [200, 1000]


def test_ten_in_a_zip_are_one_table_and_a_choice(page, tmp_path):
    good, dead = make(tmp_path / "all" / "good"), make(tmp_path / "all" / "dead", seed=1, lora_alpha=0)
    shutil.copytree(good, tmp_path / "all" / "twin")
    (make(tmp_path / "all" / "torn") / WEIGHTS).write_bytes(b"broken")
    files = {str(file.relative_to(tmp_path)): file.read_bytes() for file in sorted(dead.parent.rglob("*.*"))}
    page.run()
    page.file_uploader[0].set_value([("four.zip", zipped(files), "application/zip")]).run()
    assert not page.exception and page.selectbox[0].options == ["dead", "good", "torn", "twin"]
    rows = page.dataframe[0].value.set_index("adapter")
    assert list(rows.index) == ["torn", "▸ dead", "good", "twin"]
    assert rows.loc["twin", "same ΔW as"] == "good" and not rows.loc["good", "same ΔW as"]
    assert rows.loc["▸ dead", "finding"] == "alpha = 0" and rows.loc["torn", "finding"] == "told below, in full"
    (told,) = (box for box in page.expander if box.label == "2 findings in 2 of 4, in full")
    assert "is cut short" in told.markdown[0].value and "whatever was trained" in told.markdown[1].value
    page.selectbox[0].set_value("good").run()
    assert not page.exception and not page.error
    assert "**good.**" in text(page)
    # The frame in the table is that of what is open, whichever way it was opened.
    table = f"adapters_triage_{page.dataframe[0].proto.id.partition('adapters_triage_')[2]}"
    assert page.session_state[table]["selection"]["cells"] == [(2, "adapter")]
    show(page, "Several, and merge")
    page.multiselect(key="adapters_many_known").set_value(["twin"]).run()
    assert not page.exception and not page.error
    assert list(page.dataframe[-1].value["second"]) == ["twin"]
    # What is opened last is shown.
    page.text_input(key="adapters_path").set_value(str(make(tmp_path / "later"))).run()
    assert "**later.**" in text(page) and not page.exception


def test_a_zip_on_the_server_with_several_offers_the_same_choice(page, tmp_path):
    files = {f"{name}/{part}": (make(tmp_path / name) / part).read_bytes() for name in "ab" for part in (WEIGHTS,)}
    files |= {f"../{name}/{CONFIG}": (tmp_path / name / CONFIG).read_bytes() for name in "ab"}
    (tmp_path / "two.zip").write_bytes(zipped(files))
    page.run()
    page.text_input(key="adapters_path").set_value(str(tmp_path / "two.zip")).run()
    assert not page.exception and not page.error
    assert page.selectbox[0].options == ["a", "b"] and "**a.**" in text(page)
    assert page.selectbox[0].label == "2 adapters in this zip"
    # Among the recent it goes by the name of the zip, not of what was chosen in it.
    page.text_input(key="adapters_path").set_value("").run()
    assert any(button.label == "two.zip" for button in page.button)


@pytest.mark.parametrize("names, how, says", [
    (["faq", "my jokes/r8.safetensors"], "linear", "faq-my-jokes-r8-linear"),
    (["a", "b", "c", "d"], "ties", "a-and-3-others-ties"),
])  # fmt: skip
def test_files_are_named_after_what_they_hold(names, how, says):
    from adapters.zips import merged_name, smaller_name

    assert merged_name(names, how) == says
    assert smaller_name("jokes", {"q": 8, "k": 8, "v": 0}, 114_000) == "jokes-r8"
    assert smaller_name("jokes.safetensors", {"q": 8, "k": 4}, 114_400, "F16") == "jokes-114kB-f16"


def test_one_change_in_other_factors_is_the_same(tmp_path):
    from analysis.adapters import analyse_adapter, compress_adapter
    from analysis.adapters.triage import ratio_of, triage

    one = analyse_adapter(open_adapter(make(tmp_path / "one")))
    compress_adapter(one, dict.fromkeys(NAMES, 4), tmp_path / "again", dtype="F32")
    compress_adapter(one, dict.fromkeys(NAMES, 3), tmp_path / "less")
    again, less = (analyse_adapter(open_adapter(tmp_path / name)) for name in ("again", "less"))
    zero = analyse_adapter(open_adapter(make(tmp_path / "zero", lora_alpha=0)))
    assert ratio_of(one, again) == 1 and ratio_of(one, less) is None and ratio_of(zero, zero) is None
    strong = analyse_adapter(open_adapter(make(tmp_path / "strong", lora_alpha=-20)))
    assert ratio_of(one, strong) == pytest.approx(-2.5) and ratio_of(strong, one) == pytest.approx(-0.4)
    told = triage({name: tmp_path / name for name in ("less", "one", "again", "strong")})
    assert {row.name: row.same_as for row in told} == {"less": "", "one": "", "again": "one", "strong": "−2.5 × one"}


def test_padding_goes_with_one_click_and_the_type_counts_in_every_size(page, tmp_path):
    from analysis.adapters import analyse_adapter, compress_adapter
    from analysis.adapters.sizes import size_now

    plain = analyse_adapter(open_adapter(make(tmp_path / "plain")))
    tensors = {}
    for name in NAMES:
        B, A = plain.adapter.factors(name)
        for part, data in (("A", np.pad(A, ((0, 4), (0, 0)))), ("B", np.pad(B, ((0, 0), (0, 4))))):
            key = f"base_model.model.{name}.lora_{part}.weight"
            tensors[key] = NewTensor("F64", data.shape, np.ascontiguousarray(data).tobytes)
    (tmp_path / "padded").mkdir()
    write_tensors(tmp_path / "padded" / WEIGHTS, tensors)
    (tmp_path / "padded" / CONFIG).write_text(json.dumps({"peft_type": "LORA", "r": 8, "lora_alpha": 16}))
    page.run()
    page.text_input(key="adapters_path").set_value(str(tmp_path / "padded")).run()
    assert "total rank 24 → 12" in text(page)
    page.button(key="adapters_unpad_unused").click().run()
    assert not page.exception
    assert "padded-r4.zip is ready" in text(page) and "Total rank 24 → 12" in text(page)
    show(page, "Shrink it")
    assert page.slider[0].value == 1.0 and "Total rank 24 → 12" in text(page)
    page.slider[0].set_value(0.5).run()
    page.button(key="adapters_padding").click().run()
    assert not page.exception and page.slider[0].value == 1.0 and "Total rank 24 → 12" in text(page)
    out = tmp_path / "half"
    page.selectbox(key=f"adapters_dtype_{tmp_path / 'padded'}").set_value("F16").run()
    assert not page.exception
    compress_adapter(analyse_adapter(open_adapter(tmp_path / "padded")), dict.fromkeys(NAMES, 4), out, dtype="F16")
    assert f"→ {size_now(open_adapter(out)).total:,} bytes" in text(page) and "F64 → F16" in text(page)
    page.selectbox(key="adapters_target").set_value("bytes").run()
    assert not page.exception and page.slider[0].value <= size_now(open_adapter(out)).total
    budget = page.slider[0].set_value(page.slider[0].value - 8).run().slider[0].value
    page.selectbox(key=f"adapters_dtype_{tmp_path / 'padded'}").set_value("F32").run()
    assert not page.exception and page.slider[0].value == budget
    page.text_input(key="adapters_path").set_value(str(tmp_path / "plain")).run()
    assert "the same type" in text(page)


def test_the_same_ranks_in_half_the_bits_are_one_click(page):
    page.run()
    page.text_input(key="adapters_path").set_value(str(EXAMPLE)).run()
    show(page, "Shrink it")
    page.selectbox(key="adapters_target").set_value("bytes").run()
    assert "F16 at the ranks it has takes" in text(page)
    page.button(key="adapters_same_ranks").click().run()
    assert not page.exception and "F32 → F16" in text(page) and "100.00% of the energy stays" in text(page)
    assert page.slider[0].value == sum(matrix.rank for matrix in open_any(EXAMPLE).matrices)
    assert "at the ranks it has takes" not in text(page)
    show(page, "Where rank would move")


def test_the_first_view_shows_the_finding(page, tmp_path):
    from analysis.adapters.files import TensorFile

    folder = make(tmp_path / "half")
    file = TensorFile(folder / WEIGHTS)
    tensors = {name: NewTensor("F64", file.read(name).shape, file.read(name).tobytes) for name in file.tensors}
    dead = f"base_model.model.{NAMES[1]}.lora_B.weight"
    tensors[dead] = NewTensor("F64", (12, 4), np.zeros((12, 4)).tobytes)
    shutil.rmtree(folder)
    folder.mkdir()
    write_tensors(folder / WEIGHTS, tensors)
    (folder / CONFIG).write_text(json.dumps({"peft_type": "LORA", "r": 4, "lora_alpha": 8, "task_type": "CAUSAL_LM"}))
    page.run()
    page.text_input(key="adapters_path").set_value(str(folder)).run()
    assert not page.exception
    assert page.selectbox(key="adapters_matrix").value == NAMES[1]
    assert page.selectbox(key="adapters_colour").value == "norm"
    assert "Opened at what was found" in text(page)
    assert "task CAUSAL" in text(page) and "alpha = 8 · s = 2 · F64 ·" in text(page)
    page.selectbox(key="adapters_matrix").set_value(NAMES[2]).run()
    assert page.selectbox(key="adapters_matrix").value == NAMES[2] and "Opened at" not in text(page)


def test_one_of_several_is_in_the_address(page, tmp_path):
    for name in ("one", "two"):
        make(tmp_path / name)
    page.query_params["adapter"], page.query_params["choice"] = str(tmp_path), "two"
    page.run()
    assert "**two.**" in text(page) and page.query_params["choice"] == "two"
    page.selectbox(key=f"adapters_choice_{tmp_path}").set_value("one").run()
    assert "**one.**" in text(page) and page.query_params["choice"] == "one"


def test_a_second_adapter_is_picked_or_named_beside_the_first(page, tmp_path):
    for seed, name in enumerate(("one", "two", "three")):
        make(tmp_path / name, seed=seed)
    page.run()
    page.text_input(key="adapters_path").set_value(str(tmp_path)).run()
    page.selectbox(key=f"adapters_choice_{tmp_path}").set_value("one").run()
    show(page, "Against another")
    page.selectbox(key="adapters_other_known").set_value("two").run()
    assert not page.exception and not page.error and "3 matrices are alive in both" in text(page)
    assert page.text_input(key="adapters_other_path").value == str(tmp_path / "two")
    page.text_input(key="adapters_other_path").set_value("three").run()
    assert not page.exception and not page.error and "3 matrices are alive in both" in text(page)


def test_what_speaks_against_a_merge_is_told_before_it_is_made(page, tmp_path):
    from analysis.adapters.files import TensorFile

    first, large = make(tmp_path / "first"), make(tmp_path / "large", seed=1, lora_alpha=80)
    broken = make(tmp_path / "broken", seed=2)
    file = TensorFile(broken / WEIGHTS)
    arrays = {name: file.read(name) for name in file.tensors}
    next(iter(arrays.values()))[0, 0] = np.nan
    shutil.rmtree(broken)
    broken.mkdir()
    write_tensors(broken / WEIGHTS, {name: NewTensor("F64", own.shape, own.tobytes) for name, own in arrays.items()})
    (broken / CONFIG).write_text(json.dumps({"peft_type": "LORA", "r": 4, "lora_alpha": 8}))
    page.run()
    page.text_input(key="adapters_path").set_value(str(first)).run()
    show(page, "Several, and merge")
    page.text_area(key="adapters_many_paths").set_value(str(large)).run()
    assert not page.exception and "it drowns the rest" in text(page) and "doctor" not in text(page)
    assert not page.button(key="adapters_merge").disabled
    page.text_area(key="adapters_many_paths").set_value(f"{large}\n{broken}").run()
    assert not page.exception and page.button(key="adapters_merge").disabled
    assert "broken holds NaN or infinity, and so would the merged adapter" in text(page)


def test_another_target_begins_at_what_was_chosen(opened):
    show(opened, "Shrink it")
    opened.slider[0].set_value(0.8).run()
    told = next(block.value for block in opened.markdown if "Total rank" in block.value)
    for target in ("rank", "parameters", "bytes"):
        opened.selectbox(key="adapters_target").set_value(target).run()
        assert not opened.exception and not opened.error
        assert next(block.value for block in opened.markdown if "Total rank" in block.value) == told


def test_an_adapter_with_nan_is_not_said_to_be_shrinkable(page, tmp_path):
    from analysis.adapters import analyse_adapter
    from analysis.report.adapter import adapter_html

    folder = make(tmp_path / "bad")
    weights = folder / WEIGHTS
    content = bytearray(weights.read_bytes())
    content[-8:] = np.array([np.inf]).tobytes()
    weights.write_bytes(content)
    page.run()
    page.text_input(key="adapters_path").set_value(str(folder)).run()
    assert "in 1 of their 88 numbers" in text(page)
    show(page, "Shrink it")
    assert "no ranks are suggested" in text(page) and "Total rank" not in text(page)
    assert "no errors are stated" in adapter_html(analyse_adapter(open_adapter(folder)), [], "bad")

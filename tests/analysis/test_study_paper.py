"""Figures for print, and a study in one file."""

from __future__ import annotations

import importlib.util
import io
import json
import re
import shutil
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import pyarrow.parquet as pq
import pytest

from analysis.figures import FIGURES
from analysis.study import compare_study, group_table, load_study, plain_groups, study_groups
from analysis.study import paper as printing
from analysis.study.__main__ import main
from analysis.study.export import write_archive
from analysis.study.paper import COLUMNS, figures_tex, paper_figure, write_figures
from analysis.study.pictures import Picture, study_pictures
from flexlora.errors import FlexLoRAError

SAMPLE = Path(__file__).resolve().parents[2] / "sample_runs" / "studies" / "four_ways"


@pytest.fixture(scope="module")
def study():
    return load_study(SAMPLE)


@pytest.fixture(scope="module")
def pictures(study):
    return study_pictures(study, compare_study(study), study_groups(study))


@pytest.mark.parametrize("width", COLUMNS)
def test_print_is_as_wide_as_the_column_on_white_in_letters_that_can_be_read(width, pictures):
    for picture in pictures:
        before = json.loads(picture.figure.to_json())
        found = paper_figure(picture.figure, width)
        assert json.loads(picture.figure.to_json()) == before
        assert found.layout.width == round(COLUMNS[width] * 96)
        assert (found.layout.paper_bgcolor, found.layout.title.text) == ("#ffffff", None)
        sizes = [float(size) for size in re.findall(r'"(?:size|tickfont_size)":\s*([\d.]+)', json.dumps(_fonts(found)))]
        # 6 points at least.
        assert sizes and min(sizes) >= 6 * 96 / 72


def _fonts(figure):
    plain = figure.to_plotly_json()

    def walk(node):
        if isinstance(node, dict):
            for key, value in node.items():
                if "font" in key and isinstance(value, dict) and "size" in value:
                    yield value
                yield from walk(value)
        elif isinstance(node, list | tuple):
            for value in node:
                yield from walk(value)

    return list(walk({"layout": {k: v for k, v in plain["layout"].items() if k != "template"}, "data": plain["data"]}))


def test_numbers_leave_cells_that_are_too_narrow_for_them(pictures):
    maps = next(picture for picture in pictures if picture.name == "final-rank-mean").figure
    kept = {width: {t.texttemplate for t in paper_figure(maps, width).data} for width in COLUMNS}
    assert kept == {"single": {""}, "double": {"%{text}"}}


def test_svg_and_pdf_are_drawn_at_column_width_and_are_the_same_again(pictures, tmp_path):
    some = [picture for picture in pictures if picture.name == "forest"]
    paths = write_figures(some, tmp_path / "a")
    assert [path.name for path in paths] == [
        *("forest-single.svg", "forest-single.pdf", "forest-double.svg", "forest-double.pdf", "figures.tex")
    ]
    for width, inches in COLUMNS.items():
        root = ElementTree.fromstring((tmp_path / "a" / f"forest-{width}.svg").read_text(encoding="utf-8"))
        assert float(root.attrib["width"]) == round(inches * 96)
        box = re.search(rb"/MediaBox \[0 0 ([\d.]+)", (tmp_path / "a" / f"forest-{width}.pdf").read_bytes())
        assert float(box.group(1)) == pytest.approx(inches * 72, abs=1)
    write_figures(some, tmp_path / "b")
    for path in paths:
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_a_caption_is_latex(tmp_path):
    told = figures_tex([Picture("a", FIGURES["forest"]([]), "95 % of ± 2 & _x_.")])
    assert r"\includegraphics{a-single.pdf}" in told
    assert r"95 \% of $\pm$ 2 \& \_x\_." in told


def test_a_missing_exporter_is_one_line_that_says_what_to_install(monkeypatch, capsys, tmp_path):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "kaleido" else found(name))
    assert main([str(copy_of(tmp_path)), "--figures", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "pip install 'flexlora-lab[paper]'" in error and "camera" in error
    assert not (tmp_path / "out").exists()


def test_a_missing_browser_is_one_line_too(monkeypatch, pictures, tmp_path):
    import kaleido
    from choreographer.errors import ChromeNotFoundError

    class Without:
        def __init__(self, **options):
            raise ChromeNotFoundError

    monkeypatch.setattr(kaleido, "Kaleido", Without)
    with pytest.raises(FlexLoRAError, match=r"No browser draws the figures: .* needs Chrome or Chromium"):
        write_figures(pictures[:1], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.fixture
def few(monkeypatch, pictures):
    """Two pictures in place of all: what they show is for other tests."""
    monkeypatch.setattr("analysis.study.pictures.study_pictures", lambda *given: pictures[:2])


# --- one file ---------------------------------------------------------------------------------------------------------


def copy_of(tmp_path) -> Path:
    return Path(shutil.copytree(SAMPLE, tmp_path / "copy"))


def test_the_zip_of_a_study_holds_all_of_it_and_is_the_same_again(few, tmp_path, capsys):
    folder = copy_of(tmp_path)
    assert main([str(folder), "--zip", str(tmp_path / "a.zip"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["zip"] == str(tmp_path / "a.zip")
    assert main([str(folder), "--zip", str(tmp_path / "b.zip")]) == 0
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        names = archive.namelist()
        for name in ("table.csv", "study.yaml", "choices.json", "comparison.tex", "runs/digits-lora-s0/run.json"):
            assert archive.read(name) == (folder / name).read_bytes()
        assert pq.read_table(io.BytesIO(archive.read("table.parquet"))).num_rows == 32
        assert archive.read("claims.md").decode().count("\n- On digits") == 3
        assert json.loads(archive.read("figures/forest.json"))["data"]
    assert sum(name.startswith("runs/") for name in names) == 32
    assert len(set(names)) == len(names)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "b.zip", "copy"]


def test_plain_runs_make_a_zip_as_well(few, study, tmp_path):
    runs = {f"{g.label} {seed}": run for g in study_groups(study)[:2] for seed, run in g.runs.items()}
    groups, notices = plain_groups(runs)
    assert notices == []
    names = write_archive(tmp_path / "runs.zip", group_table(groups), groups)
    assert "study.yaml" not in names and "comparison.md" in names
    with zipfile.ZipFile(tmp_path / "runs.zip") as archive:
        assert archive.read("table.csv").count(b"\n") == 17


def test_a_zip_that_cannot_be_written_is_one_line_and_leaves_nothing(study, tmp_path):
    with pytest.raises(FlexLoRAError, match="cannot be written"):
        write_archive(tmp_path / "no" / "a.zip", study)
    assert list(tmp_path.iterdir()) == []


def test_without_the_exporter_nothing_is_said_to_be_missing_but_what_is(monkeypatch):
    assert printing.exporter_missing() == ""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "kaleido" in printing.exporter_missing()

"""What a study says: pairs, corrections and verdicts, as CSV, Markdown and LaTeX."""

from __future__ import annotations

import csv
import json
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from analysis.figures import FIGURES
from analysis.statistics import compare_pairs, detectable_effect, holm
from analysis.study import caption, claims, compare_study, comparison_rows, latex_table, load_study, markdown_table
from analysis.study.__main__ import main
from analysis.study.compare import pairs_needed
from flexlora.errors import FlexLoRAError
from flexlora.study.__main__ import main as make
from flexlora.study.plan import plan_study
from flexlora.study.spec import read_study

SEEDS = 12
RNG = np.random.default_rng(0)
NOISE = {(name, seed): RNG.normal(0, 0.004) for name in ("lora", "dylora", "mlae") for seed in range(SEEDS)}
EFFECT = {"lora": 0.0, "dylora": -0.03, "mlae": 0.0}


def accuracy(run) -> float:
    """What the written log of a run says: seeds differ much, variants by their effect, and a little noise."""
    return 0.6 + run.seed / 100 + EFFECT[run.job.method] + NOISE[run.job.method, run.seed]


@pytest.fixture(scope="module")
def make_study(tmp_path_factory, forge_run):
    """A function that writes the logs of a study by hand and lets the command tabulate them; returns its folder."""

    def made(how=accuracy, words=(), lost=(), **changes) -> Path:
        place = tmp_path_factory.mktemp("study")
        told = {
            "name": "three_ways",
            "tasks": ["digits"],
            "methods": ["lora", "dylora", {"method": "mlae", "name": "MLAE_50%"}],
            "seeds": SEEDS,
            "settings": {"steps": 4},
            "equal": "final_rank",
            "margin": 0.01,
        }
        path = place / "study.yaml"
        path.write_text(yaml.safe_dump({**told, **changes}), encoding="utf-8")
        out = place / "out"
        out.mkdir()
        (out / "study.yaml").write_text("", encoding="utf-8")
        for run in plan_study(read_study(path)).runs():
            value = how(run)
            metrics = {"accuracy": value, "loss": 1.0 - value}
            splits = ("validation", "test") if run.job.loop.evaluate_test else ("validation",)
            ended = {"reason": "failed", "message": "Non-finite loss"} if (run.job.method, run.seed) in lost else {}
            ranks = (5, 5) if words and run.job.method == "mlae" else (4, 4)
            forge_run(run, out / "runs", metrics=dict.fromkeys(splits, metrics), ranks=ranks, **ended)
        assert make([str(path), "--out", str(out), "--resume", *words]) == 0
        return out

    return made


@pytest.fixture(scope="module")
def folder(make_study):
    return make_study()


def test_variants_are_paired_by_seed_and_judged(folder):
    found = {one.variant: one for one in compare_study(load_study(folder))}
    assert (found["lora"].pairs, found["lora"].verdict, found["lora"].n) == (None, "", SEEDS)
    for name, method in (("dylora", "dylora"), ("MLAE_50%", "mlae")):
        expected = [EFFECT[method] + NOISE[method, seed] - NOISE["lora", seed] for seed in range(SEEDS)]
        assert found[name].pairs.mean == pytest.approx(np.mean(expected))
        assert found[name].pairs.p == pytest.approx(compare_pairs(expected).p)
    adjusted = holm({name: found[name].pairs.p for name in ("dylora", "MLAE_50%")})
    assert {name: found[name].adjusted_p for name in adjusted} == adjusted
    assert (found["dylora"].verdict, found["MLAE_50%"].verdict) == ("worse", "no difference")
    # Seeds differ by .01 each: only pairs see the effect.
    assert found["dylora"].high - found["dylora"].low > 3 * (found["dylora"].pairs.high - found["dylora"].pairs.low)


def test_no_difference_depends_on_the_margin(make_study):
    study = load_study(make_study(margin=1e-6))
    assert {one.verdict for one in compare_study(study)} == {"", "worse", "not told apart"}
    assert {one.verdict for one in compare_study(study, margin=0.5)} == {"", "worse", "no difference"}


def test_of_a_loss_less_is_better(make_study):
    found = {one.variant: one for one in compare_study(load_study(make_study(metric="loss")))}
    assert found["dylora"].pairs.mean > 0
    assert found["dylora"].verdict == "worse"


def test_each_group_has_its_own_reference_and_holm_counts_them_all(make_study):
    study = load_study(make_study(axes={"batch_size": [4, 8]}, within=["batch_size"], reference="dylora"))
    found = compare_study(study)
    assert [(one.cell, one.variant) for one in found] == [
        (f"batch_size {size}", name) for size in (4, 8) for name in ("lora", "dylora", "MLAE_50%")
    ]
    assert {one.reference for one in found} == {"dylora"}
    p_values = sorted(one.pairs.p for one in found if one.pairs)
    assert len(p_values) == 4
    assert min(one.adjusted_p for one in found if one.pairs) == pytest.approx(4 * p_values[0])


def test_a_run_that_diverged_takes_its_pair_with_it_and_is_told(make_study):
    study = load_study(make_study(lost={("lora", 3), ("mlae", 5)}))
    found = {one.variant: one for one in compare_study(study)}
    assert (found["lora"].n, found["lora"].missing) == (SEEDS - 1, 1)
    assert found["dylora"].pairs.n == SEEDS - 1
    assert found["MLAE_50%"].pairs.n == SEEDS - 2
    assert "2 runs diverged" in caption(study, list(found.values()))


def test_a_single_seed_gives_numbers_and_no_claim(make_study):
    study = load_study(make_study(seeds=1))
    found = compare_study(study)
    assert {one.verdict for one in found} == {"", "not told apart"}
    text = markdown_table(found)
    assert "nan" not in text
    assert "With 1 pair no p" in caption(study, found)


@pytest.mark.parametrize("seeds", [2, 6])
def test_pairs_that_cannot_tell_anything_apart_detect_nothing(make_study, seeds):
    found = compare_study(load_study(make_study(seeds=seeds)))
    compared = [one for one in found if one.pairs]
    assert {(one.needed, one.too_few, math.isnan(one.pairs.detectable)) for one in compared} == {(7, True, True)}
    rows = [line for line in markdown_table(found).splitlines() if "not told apart" in line]
    assert rows and all(" | – | " in row for row in rows)
    said = [one.text for one in claims(load_study(make_study(seeds=seeds)), found) if one.verdict == "not told apart"]
    assert said and all(f"; {seeds} pairs cannot tell anything apart" in text for text in said)
    assert not any("would have been found" in text for text in said)
    figure = FIGURES["forest"](found)
    assert "detectable with 80 % power" not in {trace.name for trace in figure.data}
    low, high = figure.layout.xaxis.range
    ends = [end for one in compared for end in (0.0, one.pairs.low, one.pairs.high)]
    # Room at both sides, and no more: nothing but intervals is in view.
    assert high - low < 1.3 * np.ptp(ends)


def test_no_detectable_difference_is_larger_than_the_metric_can_differ_by(make_study):
    def wild(run) -> float:
        return float((run.seed + (run.job.method == "dylora")) % 2)

    wide = load_study(make_study(how=wild, seeds=8, methods=["lora", "dylora"]))
    (one,) = [one for one in compare_study(wide) if one.pairs]
    differences = [1.0, -1.0] * 4
    assert detectable_effect(differences) > 1.0 and not one.too_few
    assert math.isnan(one.pairs.detectable)
    assert "would have been found" not in claims(wide, [one])[0].text
    loss = load_study(make_study(how=wild, seeds=8, methods=["lora", "dylora"], metric="loss"))
    (one,) = [one for one in compare_study(loss) if one.pairs]
    assert one.pairs.detectable == pytest.approx(detectable_effect(differences))


def test_validation_stands_in_where_test_was_not_read(make_study):
    study = load_study(make_study(settings={"steps": 4, "evaluate_test": False}))
    found = compare_study(study)
    assert {one.metric for one in found} == {"validation_accuracy"}
    assert "the test split was not read" in caption(study, found)


def test_an_unequal_budget_is_told_under_the_table(make_study):
    study = load_study(make_study(words=("--allow-unequal",)))
    found = compare_study(study)
    told = caption(study, found)
    assert "MLAE_50% has 10 total rank in the end, 25 % above the 8 of lora" in told
    assert "Equal in" not in told
    assert {one.verdict for one in found} == {""}
    assert markdown_table(found).count("| nothing claimed |") == 2


@pytest.mark.parametrize(("comparisons", "pairs"), [(1, 6), (2, 7), (3, 7), (10, 9), (50, 11)])
def test_how_many_pairs_a_table_needs(comparisons, pairs):
    assert pairs_needed(comparisons) == pairs
    assert comparisons * 2.0 ** (1 - pairs) <= 0.05 < comparisons * 2.0 ** (2 - pairs)


# --- as text ----------------------------------------------------------------------------------------------------------


def test_the_command_writes_csv_markdown_and_latex(folder, capsys):
    assert main([str(folder), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [row["verdict"] for row in report["comparisons"]] == [None, "worse", "no difference"]
    with Path(report["csv"]).open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["mean"]) for row in rows] == [row["mean"] for row in report["comparisons"]]
    assert rows[0]["difference"] == ""
    text = Path(report["md"]).read_text(encoding="utf-8")
    assert main([str(folder)]) == 0
    assert capsys.readouterr().out == text
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in lines}) == 1
    assert len(lines) == 2 + 3


def test_latex_is_escaped_and_balanced(folder):
    study = load_study(folder)
    found = compare_study(study)
    text = latex_table(found, caption(study, found))
    assert r"MLAE\_50\%" in text
    assert not re.search(r"(?<!\\)[%_#]", text)
    assert text.count(r"\begin{") == text.count(r"\end{") == 2
    assert all(rule in text for rule in (r"\toprule", r"\midrule", r"\bottomrule"))
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {line.count("&") - line.count(r"\&") for line in rows} == {9}
    assert text.isascii()
    assert "``No difference''" in text and '"' not in text
    assert r"\label{tab:comparison}" in text


def test_numbers_are_rounded_to_what_the_interval_bears(folder):
    found = compare_study(load_study(folder))
    (line,) = [line for line in markdown_table(found).splitlines() if line.startswith("| dylora")]
    shown = line.split("|")[4].strip()
    told = re.fullmatch(r"([+−]\d\.\d+) \[([+−]\d\.\d+), ([+−]\d\.\d+)\]", shown)
    assert told is not None
    one = next(one for one in found if one.variant == "dylora")
    for text, value in zip(told.groups(), (one.pairs.mean, one.pairs.low, one.pairs.high), strict=True):
        digits = len(text.partition(".")[2])
        assert float(text.replace("−", "-")) == pytest.approx(value, abs=0.5 * 10**-digits)
    rows = comparison_rows(found)
    assert not any(isinstance(value, float) and math.isnan(value) for row in rows for value in row.values())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *[("groups", []), ("margin", "x"), ("margin", -1), ("margin", float("nan")), ("seeds", None), ("tuned", 5)],
        *[("name", None), ("equal", 3), ("groups.reference", "zzz"), ("groups.lower_is_better", "x")],
        *[("groups.variants", None), ("groups.variants", ["q"]), ("groups.variants", []), ("groups.metric", 4)],
    ],
)
def test_a_summary_of_the_wrong_content_is_told_in_one_line(folder, key, value, tmp_path, capsys):
    shutil.copytree(folder, tmp_path / "study")
    summary = json.loads((tmp_path / "study" / "study.json").read_text())
    place = summary["groups"][0] if "." in key else summary
    place[key.rpartition(".")[2]] = value
    (tmp_path / "study" / "study.json").write_text(json.dumps(summary))
    assert main([str(tmp_path / "study")]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert key.rpartition(".")[2] in line and "damaged" in line


@pytest.mark.parametrize("damage", ["nothing", "study.json", "table.parquet", "keys"])
def test_what_is_no_study_is_told_in_one_line(folder, damage, tmp_path, capsys):
    if damage != "nothing":
        for name in ("study.json", "table.parquet"):
            (tmp_path / name).write_bytes((folder / name).read_bytes())
        if damage == "keys":
            (tmp_path / "study.json").write_text("{}", encoding="utf-8")
        else:
            (tmp_path / damage).write_bytes(b"PAR1 broken {")
    before = sorted(path.name for path in tmp_path.iterdir())
    assert main([str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    with pytest.raises(FlexLoRAError):
        load_study(tmp_path)


@pytest.mark.parametrize("margin", ["0", "-1", "inf", "nan", "x"])
def test_a_margin_is_a_number_above_zero(folder, margin, capsys):
    assert main([str(folder), "--margin", margin]) == 2
    assert "margin" in capsys.readouterr().err


def test_learning_rates_that_differ_are_told_with_the_terms_of_the_comparison(folder):
    study = load_study(folder)
    for row in study.rows:
        row["learning_rate"] = 0.01
    assert "earning rates differ" not in caption(study, compare_study(study))
    changed = study.rows[0]["variant"]
    for row in study.rows:
        row["learning_rate"] = 0.002 if row["variant"] == changed else 0.01
    study.summary["tuned"] = None
    told = caption(study, compare_study(study))
    assert "Not tuned: " in told and "learning rates differ: " in told and f"{changed} 0.002" in told

"""What a direction is worth, by brute force, and the commands that make tables of it and of RankBench."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from flexlora.errors import FlexLoRAError
from flexlora.job import build_job
from flexlora.session import Session
from flexlora.worth import worth_of_directions

ROOT = Path(__file__).resolve().parents[2]
SMALL = {
    "width": 6,
    "layers": 2,
    "true_rank": 2,
    "initial_rank": 2,
    "batch_size": 32,
    "interval": 2,
    "noise": 0,
    "save_adapter": False,
    "eval_interval": 1000,
}


def command(name: str):
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def session():
    found = Session(build_job("planted", steps=60, settings={**SMALL, "initial_budget": 0, "scenario": "1,1,6,1,1,1"}))
    for step in range(1, 61):
        found.train_step(step)
        found.finish_step()
    found.model.eval()
    return found


def parts_of(session: Session) -> list[torch.Tensor]:
    return [
        part.detach().clone()
        for matrix in session.adapter.matrices.values()
        for part in (matrix.Pt, matrix.lam, matrix.Q, matrix.base.get_parameter("weight"))
    ]


def test_taking_and_giving_measure_the_loss_and_leave_everything_as_it_was(session):
    before = parts_of(session)
    learn = [session.trained.batch(np.arange(64 * k, 64 * (k + 1))) for k in range(2)]
    judge = [session.data.validation.batch(np.arange(256))]
    found = worth_of_directions(session.adapter, session.trained.loss, learn, judge)
    assert all(torch.equal(one, other) for one, other in zip(before, parts_of(session), strict=True))
    with torch.no_grad():
        assert found.loss == pytest.approx(float(session.trained.loss(judge[0])), abs=1e-7)
        name, matrix = next(iter(session.adapter.matrices.items()))
        slot = matrix.slots[int(matrix.lam[matrix.slots].abs().argmin())]
        kept = float(matrix.lam[slot])
        matrix.lam[slot] = 0.0
        expected = float(session.trained.loss(judge[0])) - found.loss
        assert found.taken[name] == pytest.approx(expected, abs=1e-6) and abs(expected) > 1e-4
        matrix.lam[slot] = kept
    assert set(found.taken) == set(found.given) == set(session.adapter.matrices)
    # Side by side is the same as one after the other, also where the loss is not told by the logits.
    alone = worth_of_directions(session.adapter, session.trained.loss, learn, judge, most_rows=1)
    twice = worth_of_directions(session.adapter, lambda batch: 2 * session.trained.loss(batch), learn, judge)
    for name in found.given:
        assert alone.taken[name] == pytest.approx(found.taken[name], abs=1e-6)
        assert alone.given[name] == pytest.approx(found.given[name], abs=1e-6)
        assert twice.given[name] == pytest.approx(2 * found.given[name], abs=2e-6)
    # The one matrix that lacks four directions is where one more helps most, and by more than nothing.
    best = max(found.given, key=lambda key: found.given[key])
    assert best == list(session.adapter.matrices)[2] and found.given[best] > 0


def test_the_oracle_command_scores_every_measure_that_gives_scores(session):
    oracle = command("oracle")
    job = session.job
    _, fresh = next(oracle.train(job, [20]))
    scores = oracle.scores_at(fresh, 20)
    assert {
        "spectral_entropy",
        "sensitivity",
        "random",
        "inverted",
        "true_spectral_entropy",
        "smoothed_sensitivity",
    } <= set(scores)
    assert "oracle" not in scores and "still" not in scores
    worth = oracle.worth_at(fresh, 20, 2)
    assert all(math.isfinite(value) for value in [*worth.taken.values(), *worth.given.values()])
    values = {key: float(place) for place, key in enumerate(worth.given)}
    assert oracle.spearman(values, values) == pytest.approx(1)
    assert oracle.spearman(values, {key: -value for key, value in values.items()}) == pytest.approx(-1)
    assert math.isnan(oracle.spearman(dict.fromkeys(values, 1.0), values))
    assert math.isnan(oracle.spearman({**dict.fromkeys(values), next(iter(values)): 1.0}, values))
    text = oracle.table({"m": {"taken": [0.5, 0.7, 0.6], "given": [math.nan] * 3}})
    assert "| m | +0.60 (" in text and "undefined | 3 |" in text


def test_the_table_of_rankbench_compares_pairs_and_goes_between_its_marks(tmp_path):
    rankbench = command("rankbench")
    rng = np.random.default_rng(0)
    base = 0.01 * np.exp(rng.normal(size=12) / 4)

    def runs(factor: float, distance: float) -> list:
        return [rankbench.Measured(loss * factor, distance, math.nan, math.nan, 0, 72) for loss in base]

    found = {"uniform": runs(1, 0.3), "true_ranks": runs(0.5, 0.0), "bad": runs(1.1, 0.4)}
    lines = rankbench.table(found).splitlines()
    assert [line.split("`")[1] for line in lines[2:]] == ["true_ranks", "uniform", "bad"]
    cells = [cell.strip() for cell in lines[2].split("|")]
    assert cells[3] == "0.00" and cells[4].startswith("-50.0 % (") and cells[7] == "0.000"
    assert [cell.strip() for cell in lines[4].split("|")][3] == "1.20"
    document = tmp_path / "doc.md"
    document.write_text("a\n<!-- table -->\nold\n<!-- /table -->\nb\n", encoding="utf-8")
    rankbench.write("new", document)
    assert document.read_text(encoding="utf-8") == "a\n<!-- table -->\nnew\n<!-- /table -->\nb\n"
    (tmp_path / "bare.md").write_text("nothing", encoding="utf-8")
    with pytest.raises(FlexLoRAError, match="has no place for the table"):
        rankbench.write("new", tmp_path / "bare.md")
    assert all(mark in rankbench.DOC.read_text(encoding="utf-8") for mark in rankbench.MARKS)


def test_rankbench_makes_its_table_from_start_to_end_and_repeats_nothing(tmp_path, capsys):
    rankbench = command("rankbench")
    small = {"width": 6, "layers": 2, "true_rank": 2, "rank": 2, "batch_size": 4, "interval": 2, "steps": 10}
    words = [word for key, value in small.items() for word in ("--set", f"{key}={value}")]
    rows = ["oracle", "permuted_across", "gram_schmidt", "prune_only", "method adalora", "big_then_cut"]
    given = ["--seeds", "2", "--scenarios", "disagree", "--jobs", "0", "--out", str(tmp_path / "out"), *words]
    document = tmp_path / "new" / "doc.md"
    assert rankbench.main([*given, "--rows", *rows, "--doc", str(document)]) == 0, capsys.readouterr().err
    text = document.read_text(encoding="utf-8")
    assert "### `disagree`, 2 seeds" in text and "9 rows × 2 seeds a scenario, 18 runs" in text
    assert {line.split("`")[1] for line in text.splitlines() if line.startswith("| `")} == {
        *rows, "uniform", "true_ranks", "spectral_entropy"
    }  # fmt: skip
    line = next(line for line in text.splitlines() if line.startswith("| `oracle`"))
    assert " % (" in line and "| 1.00 |" in line and line.endswith("| 12 |")
    assert next(line for line in text.splitlines() if line.startswith("| `big_then_cut`")).endswith("| 12 |")
    folders = [*(tmp_path / "out" / "disagree" / "runs").iterdir(), *(tmp_path / "out").glob("*-later/runs/*")]
    stamps = {folder: (folder / "run.json").stat().st_mtime_ns for folder in folders}
    assert len(stamps) == 18
    assert rankbench.main([*given, "--rows", *rows, "--doc", str(document)]) == 0
    assert stamps == {folder: (folder / "run.json").stat().st_mtime_ns for folder in folders}
    assert document.read_text(encoding="utf-8") == text


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--set", "steps"], "is not KEY=VALUE"),
        (["--set", "stepps=3"], "unknown option 'stepps'. Did you mean steps"),
        (["--set", "learning_rate=fast"], "learning_rate='fast' is not a finite number"),
        (["--set", "scenario=agree"], "scenario is what the rows and --scenarios say"),
        (["--seeds", "0"], "whole number of at least 1"),
    ],
)
def test_bad_options_of_rankbench_are_one_line(words, told, tmp_path, capsys):
    given = ["--out", str(tmp_path / "out"), "--doc", str(tmp_path / "doc.md"), "--jobs", "0", *words]
    assert command("rankbench").main(given) == 2
    err = capsys.readouterr().err
    assert told in err and err.startswith("error: ") and len(err.splitlines()) == 1
    assert not list(tmp_path.iterdir())

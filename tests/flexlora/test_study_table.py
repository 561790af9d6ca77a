"""From logs to a table: what is chosen, what is not equal, what is refused. The logs are written by hand."""

from __future__ import annotations

import csv
import itertools
import json
import math
import signal
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
import yaml

from flexlora import budgets
from flexlora.run_log import read_run
from flexlora.study.__main__ import main
from flexlora.study.outcome import Outcome
from flexlora.study.plan import plan_study
from flexlora.study.spec import COLUMNS, read_study

PLAIN = {
    "name": "plain",
    "tasks": ["digits"],
    "methods": ["lora", "sora"],
    "seeds": 3,
    "settings": {"steps": 4, "rank": 4},
    "equal": "final_rank",
}
OUTPUTS = ("table.csv", "table.parquet", "costs.csv", "study.json")


@pytest.fixture
def study(tmp_path, monkeypatch, forge_run, capsys):
    return Harness(tmp_path, monkeypatch, forge_run, capsys)


class Harness:
    """A study whose runs are written by ``how(run)`` → arguments of ``forge_run`` instead of being trained."""

    def __init__(self, place, monkeypatch, forge_run, capsys):
        self.out, self.path, self.made = place / "out", place / "study.yaml", []
        self._forge, self._capsys = forge_run, capsys
        self.how = lambda run: {"metrics": measured(0.5 + run.seed / 100)}
        self.write()
        monkeypatch.setattr("flexlora.study.runner.run_here", self._pool)

    def write(self, **changes):
        self.path.write_text(yaml.safe_dump({**PLAIN, **changes}), encoding="utf-8")
        return plan_study(read_study(self.path))

    def __call__(self, *words):
        """Run the command; return (status, what --json printed)."""
        status = main([str(self.path), "--out", str(self.out), "--json", *words])
        out, err = self._capsys.readouterr()
        assert "Traceback" not in err
        self.err = err
        return status, json.loads(out.strip().splitlines()[-1])

    def rows(self):
        return pq.read_table(self.out / "table.parquet").to_pylist()

    def outputs(self):
        return [name for name in OUTPUTS if (self.out / name).exists()]

    def _pool(self, groups, root, progress, stopping, jobs):
        outcomes = {}
        for run in itertools.chain.from_iterable(groups):
            told = self.how(run)
            # As a worker does it: the test split is read only where it is asked for.
            if not run.job.loop.evaluate_test:
                told["metrics"].pop("test", None)
            self.made.append((run, (self.out / "choices.json").exists()))
            self._forge(run, root, **told)
            reason = told.get("reason", "completed")
            outcomes[run.name] = Outcome("diverged" if reason == "failed" else reason, told.get("message", ""))
        return outcomes


def measured(value, **more):
    return {split: {"accuracy": value, "loss": 1 - value, **more} for split in ("validation", "test")}


def test_the_table_has_a_row_a_run_and_costs_stand_elsewhere(study):
    study.how = lambda run: {"metrics": measured(0.5 + run.seed / 100), "end_ranks": (5, 3)}
    status, told = study()
    assert (status, told["runs"], told["skipped"], told["diverged"]) == (0, 6, 0, 0)
    rows = study.rows()
    assert [(row["variant"], row["seed"]) for row in rows] == [(v, s) for s in range(3) for v in ("lora", "sora")]
    for row in rows:
        assert row["test_accuracy"] == 0.5 + row["seed"] / 100
        assert set(COLUMNS) <= set(row)
        assert (row["final_rank"], row["pruned"], row["extended"], row["budget_share"]) == (8, 1, 1, 1.0)
        # A direction of 5 × 5 costs 11 parameters, one of 20 × 20 costs 41; the event is after step 2.
        assert row["final_parameters"] == 5 * 11 + 3 * 41
        assert row["parameter_steps"] == 2 * (4 * 11 + 4 * 41) + 2 * (5 * 11 + 3 * 41)
    with (study.out / "table.csv").open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [float(line["test_loss"]) for line in lines] == [row["test_loss"] for row in rows]
    assert not {"wall_s", "train_s"} & set(lines[0])
    with (study.out / "costs.csv").open(encoding="utf-8") as file:
        costs = list(csv.DictReader(file))
    assert [float(cost["train_s"]) for cost in costs] == pytest.approx([0.04] * 6)


def test_axes_are_columns_whatever_their_values(study):
    study.write(
        methods=["lora", {"method": "sora", "axes": {"sparsity_weight": [0, 0.5]}}],
        axes={
            "target_modules": [["q_proj"], None],
            "size": {"a": {}, "b": {"batch_size": 3}},
            "max_grad_norm": [1, 2.5],
        },
        seeds=1,
    )
    assert study()[0] == 0
    rows = study.rows()
    assert len(rows) == 3 * 8
    assert {row["target_modules"] for row in rows} == {"q_proj", None}
    assert {row["size"] for row in rows} == {"a", "b"}
    assert {row["max_grad_norm"] for row in rows} == {1.0, 2.5}
    assert {row["sparsity_weight"] for row in rows if row["method"] == "sora"} == {0.0, 0.5}
    assert {row["sparsity_weight"] for row in rows if row["method"] == "lora"} == {None}


# --- equal budgets, from the logs ----------------------------------------------------------------------------------


def test_an_unequal_comparison_is_refused_with_by_how_much_and_leaves_no_table(study):
    study.how = lambda run: {
        "metrics": measured(0.5), "end_ranks": (4, 4 - run.seed) if run.job.method == "sora" else None
    }  # fmt: skip
    status, told = study()
    assert status == 2
    assert told["error"].startswith(
        "Not an equal comparison: sora has 6 total rank in the end, 25 % below the 8 of lora (digits, seed 2). "
        "equal: final_rank allows 0 %."
    )
    assert study.outputs() == []
    assert study("--resume")[0] == 2
    assert len(study.made) == 6
    status, told = study("--resume", "--allow-unequal")
    assert (status, told["equal"]["held"], told["skipped"]) == (0, False, 6)
    assert {row["note"] for row in study.rows()} == {told["equal"]["note"]}
    assert "25 % below the 8 of lora" in told["equal"]["note"]
    assert {row["seed"]: row["budget_share"] for row in study.rows() if row["variant"] == "sora"} == {
        0: 1.0, 1: 7 / 8, 2: 6 / 8
    }  # fmt: skip
    # A later refusal takes away the table that was allowed before.
    assert study("--resume")[0] == 2
    assert study.outputs() == []


@pytest.mark.parametrize(
    ("equal", "words"),
    [
        ("final_rank", ""),
        ({"unit": "final_parameters", "tolerance": 0.2}, ""),
        ("final_parameters", "178 active parameters in the end, 14.4 % below the 208 of lora"),
        ("parameter_steps", "772 parameters × steps, 7.21 % below the 832 of lora"),
        ("none", ""),
    ],
)
def test_each_unit_is_measured(study, equal, words):
    study.write(equal=equal, seeds=1)
    study.how = lambda run: {"metrics": measured(0.5), "end_ranks": (5, 3) if run.job.method == "sora" else None}
    status, told = study()
    assert status == (2 if words else 0)
    assert words in told.get("error", "")
    if equal == "none":
        assert {row["note"] for row in study.rows()} == {"Nothing is held equal between the variants."}


def test_time_is_the_median_over_seeds(study):
    study.write(equal="time")
    slow = {0: 0.1, 1: 0.01, 2: 0.01}
    study.how = lambda run: {
        "metrics": measured(0.5), "step_s": slow[run.seed] if run.job.method == "sora" else 0.01
    }  # fmt: skip
    assert study()[0] == 0
    study.write(equal="time", methods=["lora", "dylora"])
    study.how = lambda run: {"metrics": measured(0.5), "step_s": 0.02 if run.job.method == "dylora" else 0.01}
    study.out = study.out.with_name("other")
    status, told = study()
    assert status == 2
    assert "dylora has 0.08 seconds of training, 100 % above the 0.04 of lora (digits)" in told["error"]


def test_variants_are_compared_within_their_cell_only(study):
    study.write(axes={"rank": [2, 4]}, within=["rank"], settings={"steps": 4})
    study.how = lambda run: {"metrics": measured(0.5), "ranks": (run.variant.axes["rank"],) * 2}
    assert study()[0] == 0
    assert [group["cell"] for group in json.loads((study.out / "study.json").read_text())["groups"]] == [
        "rank 2", "rank 4"
    ]  # fmt: skip


# --- how runs end ----------------------------------------------------------------------------------------------------


def test_a_run_that_diverged_is_a_result_without_metrics(study):
    broken = {"reason": "failed", "message": "Non-finite loss or gradient at step 3"}
    study.how = lambda run: {"metrics": measured(0.5), **(broken if (run.job.method, run.seed) == ("sora", 1) else {})}
    status, told = study()
    assert (status, told["diverged"]) == (0, 1)
    assert "sora · digits, seed 1 diverged: Non-finite loss" in study.err
    lost = next(row for row in study.rows() if row["state"] == "diverged")
    assert (lost["test_accuracy"], lost["validation_loss"], lost["budget_share"]) == (None, None, None)
    study("--resume")
    assert len(study.made) == 6


def test_the_loop_says_so_in_the_words_that_the_study_looks_for(tmp_path):
    from flexlora.job import build_job
    from flexlora.study.outcome import find_outcome
    from flexlora.study.worker import perform

    job = build_job("digits", "lora", steps=8, settings={"learning_rate": 1e30, "target_modules": "q_proj"})
    (outcome,) = perform([job], [tmp_path / "run"])
    assert outcome.state == "diverged"
    assert find_outcome(tmp_path / "run", job) == outcome


def test_a_metric_that_is_not_measured_is_told_with_those_that_are(study):
    study.write(metric="f1")
    status, told = study()
    assert status == 2
    assert "there is no metric 'f1'. Choose one of: accuracy, loss" in told["error"]
    assert study.outputs() == []


def test_seeds_are_added_without_making_the_others_again(study):
    study()
    first = study.rows()
    study.write(seeds=5)
    status, told = study("--resume")
    assert (status, told["runs"], told["skipped"], len(study.made)) == (0, 10, 6, 10)
    assert [row for row in study.rows() if row["seed"] < 3] == first


def test_a_log_that_cannot_be_read_is_never_overwritten(study):
    study()
    header = next((study.out / "runs").iterdir()) / "run.json"
    kept = json.loads(header.read_text(encoding="utf-8"))
    newer, foreign = ({**kept, "header": kept["header"] | own} for own in ({"schema": 99}, {"config": {"colour": 1}}))
    for content in (json.dumps(newer), "{", json.dumps(foreign)):
        header.write_text(content, encoding="utf-8")
        status, told = study("--resume")
        assert status == 2
        assert "Remove it to make the run anew" in told["error"]
        assert header.read_text(encoding="utf-8") == content
    assert len(study.made) == 6


def test_a_folder_that_is_no_study_or_is_held_is_left_alone(study):
    study.out.mkdir()
    (study.out / "thesis.txt").write_text("mine")
    assert study()[0] == 2
    assert [path.name for path in study.out.iterdir()] == ["thesis.txt"]
    study.out = study.out.with_name("other")
    study()
    lock = str(study.out / ".lock")
    holder = f"import fcntl, time; f = open({lock!r}, 'w'); fcntl.flock(f, 2); print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", holder], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        status, told = study("--resume")
        process.send_signal(signal.SIGKILL)
    assert status == 2
    assert "is being worked on by another runner" in told["error"]
    assert study("--resume")[0] == 0


def test_a_table_is_whole_or_not_there_whenever_the_writer_is_killed(tmp_path):
    code = (
        "import sys, pathlib\nfrom flexlora.study.files import replace_file\npath = pathlib.Path(sys.argv[1])\n"
        "for n in range(10**6):\n replace_file(path, bytes([65 + n % 26]) * 400_000)\n print(flush=True)"
    )
    path = tmp_path / "table.csv"
    for delay in (0.0, 0.003, 0.007):
        with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            time.sleep(delay)
            process.kill()
        content = path.read_bytes()
        assert len(content) == 400_000
        assert len(set(content)) == 1


# --- the search ------------------------------------------------------------------------------------------------------


TUNE = {"trials": 3, "learning_rate": [1e-3, 2e-3, 4e-3], "seeds": [90, 91]}
BEST = {"lora": 2e-3, "sora": 4e-3}


def tuned(run):
    rate = run.job.loop.learning_rate
    good = 0.9 - abs(math.log2(rate / BEST[run.job.method])) / 10
    return {"metrics": measured(good + (run.seed % 2) / 100)}


def test_the_choice_is_made_on_validation_frozen_and_only_then_is_test_read(study):
    study.write(tune=TUNE)
    study.how = tuned
    status, told = study()
    assert (status, told["trials"], told["runs"]) == (0, 12, 6)
    assert told["edges"] == ["sora · digits"]
    kept = json.loads((study.out / "choices.json").read_text(encoding="utf-8"))
    assert {row["variant"]: row["chosen"]["learning_rate"] for row in kept["variants"]} == BEST
    assert [len(row["validation"]) for row in kept["variants"]] == [3, 3]
    assert {row["learning_rate"] for row in study.rows() if row["variant"] == "lora"} == {2e-3}
    trials = [(run, frozen) for run, frozen in study.made if run.seed >= 90]
    runs = [(run, frozen) for run, frozen in study.made if run.seed < 90]
    assert {frozen for _, frozen in trials} == {False}
    assert {frozen for _, frozen in runs} == {True}
    for run, _ in trials:
        log = read_run(study.out / "trials" / run.name)
        assert {record["split"] for record in log.evals} == {"validation"}
    assert study.made.index(runs[0]) == len(trials)


def test_a_frozen_choice_is_kept_though_the_trials_are_gone_and_no_other_search_takes_its_place(study):
    study.write(tune=TUNE)
    study.how = tuned
    study()
    table = (study.out / "table.csv").read_bytes()
    for folder in (study.out / "trials").iterdir():
        for path in folder.iterdir():
            path.unlink()
    (study.out / "table.csv").unlink()
    assert study("--resume")[0] == 0
    assert (study.out / "table.csv").read_bytes() == table
    for change in (
        {"seeds": [92]},
        {"learning_rate": [1e-3, 2e-3, 8e-3]},
        {"knobs": {"sora": {"sparsity_weight": [0.1]}}},
    ):
        study.write(tune={**TUNE, **change})
        status, told = study("--resume")
        assert status == 2
        assert "frozen for another search" in told["error"]
    study.write(tune=TUNE)
    path = study.out / "choices.json"
    kept = json.loads(path.read_text(encoding="utf-8"))
    kept["variants"][0]["chosen"] = {"learning_rate": 0.5}
    path.write_text(json.dumps(kept), encoding="utf-8")
    assert "names a choice that was not tried" in study("--resume")[1]["error"]
    path.write_text("{", encoding="utf-8")
    assert "is damaged" in study("--resume")[1]["error"]


@pytest.mark.parametrize("name", ["scalars.arrows", "spectra.arrows"])
def test_of_a_log_that_is_not_whole_no_table_is_made_and_the_one_before_stays(name, study):
    assert study()[0] == 0
    table = (study.out / "table.csv").read_bytes()
    damaged = next((study.out / "runs").iterdir()) / name
    damaged.write_bytes(damaged.read_bytes()[: damaged.stat().st_size // 2])
    status, told = study("--resume")
    assert status == 2 and "is not whole" in told["error"] and damaged.parent.name in told["error"]
    assert (study.out / "table.csv").read_bytes() == table


def test_trials_that_diverge_are_not_chosen_and_one_seed_that_does_is_enough(study):
    study.write(tune=TUNE)

    def how(run):
        bad = (run.job.loop.learning_rate, run.seed) == (2e-3, 91)
        return {**tuned(run), **({"reason": "failed", "message": "Non-finite"} if bad else {})}

    study.how = how
    assert study()[0] == 0
    kept = json.loads((study.out / "choices.json").read_text(encoding="utf-8"))["variants"][0]
    assert (kept["variant"], kept["validation"][1], kept["chosen"]["learning_rate"]) == ("lora", None, 1e-3)
    study.out = study.out.with_name("none")
    study.how = lambda run: {"metrics": measured(0.1), "reason": "failed", "message": "Non-finite"}
    assert "every trial diverged" in study()[1]["error"]
    assert not (study.out / "choices.json").exists()


def test_of_a_loss_the_smallest_is_chosen(study):
    study.write(tune=TUNE, metric="loss")
    study.how = tuned
    assert study()[0] == 0
    kept = json.loads((study.out / "choices.json").read_text(encoding="utf-8"))
    assert {row["variant"]: row["chosen"]["learning_rate"] for row in kept["variants"]} == BEST


# --- budgets of a log ------------------------------------------------------------------------------------------------


def test_thinned_spectra_give_the_same_parameter_steps(tmp_path, forge_run, study):
    run = study.write().runs()[0]
    forge_run(run, tmp_path, end_ranks=(6, 2))
    log = read_run(tmp_path / run.name)
    whole = budgets.parameter_steps(log)
    kept = [0, 2, 4]

    thin = SimpleNamespace(
        header=log.header,
        steps=log.steps,
        events=log.events,
        spectra_steps=log.spectra_steps[kept],
        ranks=log.ranks[kept],
    )
    assert budgets.parameter_steps(thin) == whole
    assert budgets.final_parameters(thin) == budgets.final_parameters(log)


def test_a_last_event_counts_though_no_record_follows(tmp_path, forge_run, study):
    run = study.write().runs()[0]
    forge_run(run, tmp_path, end_ranks=(6, 2))
    log = read_run(tmp_path / run.name)

    cut = SimpleNamespace(
        header=log.header, steps=log.steps, events=log.events, spectra_steps=log.spectra_steps[:3], ranks=log.ranks[:3]
    )
    assert budgets.final_ranks(cut).tolist() == [6, 2]
    assert budgets.parameter_steps(cut) == budgets.parameter_steps(log)
    nothing = replace(log, events=[])
    assert budgets.final_ranks(nothing).tolist() == [6, 2]

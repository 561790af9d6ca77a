"""What is computed from a log: arrays, metrics, sentences, the payload, figures."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from payload_bytes import decode

from analysis import metrics
from analysis.directions import direction_stays
from analysis.figures import FIGURES
from analysis.payload import UNDEFINED, pack_matrix, pack_run, planned_budget
from analysis.runs import load_run
from flexlora.importance import spectral_entropy
from flexlora.methods import METHODS
from flexlora.ragged import ragged_entropy
from flexlora.run_log import RunWriter
from flexlora.spectra import true_singular_values

NAMES = ["layer.0.query", "layer.0.value", "layer.1.query"]
MATRICES = [
    {"name": name, "layer": int(name[6]), "module_type": name[8:], "in_features": 6, "out_features": 4 + 4 * index}
    for index, name in enumerate(NAMES)
]
HEADER = {
    "method": "flexlora",
    "preset": "paper",
    "task": "test",
    "config": {"initial_rank": 3, "alpha": 6.0, "total_steps": 20, "warmup_steps": 0, "final_steps": 5, "interval": 5},
    "matrices": MATRICES,
}
values = st.floats(min_value=-1e300, max_value=1e300, allow_subnormal=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three matrices; at 5 query 0 → query 1, at 10 the same direction goes back, at 15 (the last record) once more."""
    path = tmp_path_factory.mktemp("analysis") / "run"
    generator = np.random.default_rng(0)
    ranks = [3, 3, 3]
    moves = {5: (0, 2, 2, 3), 10: (2, 3, 0, 2), 15: (0, 1, 2, 3)}
    with RunWriter(path, HEADER) as writer:
        for step in range(16):
            lam = [np.zeros(rank) if step == 0 else generator.normal(size=rank) * step for rank in ranks]
            if step:
                writer.step(step, task_loss=1 / step, regularizer=0.5, loss=1.0, learning_rate=1e-3, budget=1)
            writer.spectrum(step, lam, [2 * np.sort(abs(v))[::-1] for v in lam] if step % 5 == 0 else None)
            if step in moves:
                source, slot, target, new = moves[step]
                scores = {name: spectral_entropy(v.astype(np.float32)) for name, v in zip(NAMES, lam, strict=True)}
                writer.event(
                    step,
                    1,
                    {"spectral_entropy": scores},
                    "spectral_entropy",
                    prune=[{"matrix": NAMES[source], "slot": slot, "singular_value": 0.25, "rules": []}],
                    extend=[{"matrix": NAMES[target], "slot": new, "rules": []}],
                )
                ranks[source] -= 1
                ranks[target] += 1
        writer.eval(15, "validation", {"accuracy": 0.75}, samples=4)
    return path


@pytest.fixture(scope="module")
def run(folder):
    return load_run(folder)


@pytest.fixture
def empty(tmp_path):
    RunWriter(tmp_path / "empty", HEADER).close()
    return load_run(tmp_path / "empty")


@given(st.lists(st.lists(values, max_size=6), max_size=8))
@settings(deadline=None, derandomize=True)
def test_many_spectra_are_scored_as_one(spectra):
    flat = np.array([value for spectrum in spectra for value in spectrum], np.float64)
    offsets = np.concatenate([[0], np.cumsum([len(spectrum) for spectrum in spectra])]).astype(int)
    entropy, energy = ragged_entropy(flat, offsets)
    for spectrum, found, total in zip(spectra, entropy, energy, strict=True):
        expected = spectral_entropy(spectrum)
        assert np.isnan(found) if expected is None else found == pytest.approx(expected, abs=1e-12)
        if max(map(abs, spectrum), default=0) > 1e155:
            assert total == np.inf
        elif max(map(abs, spectrum), default=0) < 1e150:
            assert total == pytest.approx(sum(value * value for value in spectrum), rel=1e-12, abs=1e-300)


def test_a_spectrum_that_is_not_finite_is_undefined_and_harms_no_other():
    entropy, energy = ragged_entropy(np.array([1.0, np.nan, 2.0, np.inf, 3.0]), np.array([0, 0, 2, 3, 4, 5]))
    assert entropy.tolist() == pytest.approx([np.nan, np.nan, 1.0, np.nan, 1.0], nan_ok=True)
    assert energy.tolist() == pytest.approx([0.0, np.nan, 4.0, np.nan, 9.0], nan_ok=True)


@pytest.mark.parametrize("block", [1, 2, 5, 1000])
def test_the_size_of_a_block_changes_nothing(monkeypatch, block):
    generator = np.random.default_rng(2)
    lengths = generator.integers(0, 7, 60)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    flat = generator.normal(size=offsets[-1])
    whole = ragged_entropy(flat, offsets)
    monkeypatch.setattr("flexlora.ragged.BLOCK", block)
    for found, expected in zip(ragged_entropy(flat, offsets), whole, strict=True):
        assert np.array_equal(found, expected, equal_nan=True)


def test_a_run_has_the_promised_arrays(run):
    assert run.steps.tolist() == list(range(16))
    assert run.ranks.shape == run.entropy.shape == run.energy.shape == (16, 3)
    assert run.matrices[2].name == NAMES[2]
    assert np.isnan(run.entropy[0]).all()
    assert not run.energy[0].any()
    for step in (1, 6, 15):
        found = run.singular_values(step)
        assert list(found) == NAMES
        for column, name in enumerate(NAMES):
            assert run.entropy[step, column] == pytest.approx(spectral_entropy(found[name]), abs=1e-12)
            assert run.energy[step, column] == pytest.approx(float(np.square(found[name].astype(float)).sum()))
    assert run.singular_values(99)[NAMES[0]].tolist() == run.singular_values(15)[NAMES[0]].tolist()
    with pytest.raises(ValueError, match="before the first"):
        run.singular_values(-1)
    steps, accuracy = run.metrics["validation/accuracy"]
    assert (steps.tolist(), accuracy.tolist()) == ([15], [0.75])
    assert run.metrics["total_rank"][1].tolist() == [9] * 16


def test_true_values_are_those_of_the_latest_record_that_has_them(run):
    step, found = run.true_singular_values(13)
    assert step == 10
    own = run.singular_values(10)
    for name in NAMES:
        assert found[name] == pytest.approx(2 * np.sort(np.abs(own[name]))[::-1])
    steps, entropy = run.true_entropy
    assert steps.tolist() == [0, 5, 10, 15]
    assert entropy[1:] == pytest.approx(run.entropy[[5, 10, 15]], abs=1e-6)
    assert metrics.spectrum_gap(run)[1:] == pytest.approx(0, abs=1e-6)
    assert np.isnan(metrics.spectrum_gap(run)[0])


def test_moves_are_counted_gross_net_and_undone(run):
    assert metrics.gross_moves(run) == 3
    assert metrics.final_ranks(run).tolist() == [2, 3, 4]
    assert metrics.net_moves(run) == 1
    assert metrics.net_share(run) == pytest.approx(1 / 9)
    # The prune at 10 removes the direction added at 5; the one at 15 removes slot 1, there from the start.
    assert metrics.churn(run) == pytest.approx(1 / 3)
    assert metrics.total_rank(run).tolist() == [9] * 16
    assert metrics.active_parameters(run)[0] == 3 * (11 + 15 + 19)
    assert metrics.active_parameters(run)[6] == 2 * 11 + 3 * 15 + 4 * 19


def test_the_sentence_is_computed_from_the_event(run):
    score = run.events[0]["importance"]["spectral_entropy"]
    assert metrics.describe_event(run, 5) == (
        "Event 1 of 3, step 5: 1 direction moved. "
        f"Layer 0 query 3 → 2 (spectral entropy {score[NAMES[0]]:.2f}, lowest); "
        f"layer 1 query 3 → 4 (spectral entropy {score[NAMES[2]]:.2f}, highest). Total rank 9."
    )
    # At 10 one direction stands elsewhere than at the start; at 5 and 15 none does.
    assert metrics.instructive_event(run) == 10
    with pytest.raises(ValueError, match="no event"):
        metrics.describe_event(run, 6)
    assert "3 directions moved, 1 net (11% of all rank)" in metrics.describe_run(run)


def test_one_sided_and_idle_events_are_described(tmp_path):
    scores = {"spectral_entropy": dict.fromkeys(NAMES)}
    with RunWriter(tmp_path / "run", HEADER) as writer:
        for step in (1, 2, 3):
            writer.spectrum(step, [[1.0, 0.5]] * 3)
            grown = [{"matrix": NAMES[1], "slot": 2, "rules": ["grown"]}] if step == 2 else []
            writer.event(step, 0 if step == 1 else 4, scores, "spectral_entropy", extend=grown, rules=["tie"])
    run = load_run(tmp_path / "run")
    assert metrics.describe_event(run, 1).endswith("nothing moved (b(t) is 0). Total rank stays 6.")
    assert "0 pruned, 1 extended" in metrics.describe_event(run, 2)
    assert "undefined" in metrics.describe_event(run, 2)
    assert "rule grown" in metrics.describe_event(run, 2)
    assert "nothing moved (rules: tie)" in metrics.describe_event(run, 3)
    assert np.isnan(metrics.churn(run))


def test_the_payload_holds_the_run(run):
    header, arrays = decode(pack_run(run))
    assert arrays["steps"].tolist() == run.steps.tolist()
    assert ranks_of(arrays, 16, 3).tolist() == run.ranks.tolist()
    assert arrays["scores"].reshape(3, 3)[1] == pytest.approx(
        list(run.events[1]["importance"]["spectral_entropy"].values())
    )
    assert arrays["moveMatrix"].tolist() == [0, 2, 2, 0, 0, 2]
    coded = arrays["entropy"].reshape(16, 3)
    assert (coded[0] == UNDEFINED).all()
    assert coded[1:] / (UNDEFINED - 1) == pytest.approx(run.entropy[1:], abs=1e-5)
    assert np.array_equal(arrays["lam"], run.log.values)
    assert np.array_equal(arrays["sigma"], run.log.true_values)
    assert arrays["trueRecords"].tolist() == [0, 5, 10, 15]
    assert arrays["peak"] == pytest.approx([max(np.abs(run.spectra_of(name).values)) for name in NAMES])
    assert arrays["truePeak"] == pytest.approx([max(run.spectra_of(name).true_values) for name in NAMES])
    assert [event["step"] for event in header["events"]] == [5, 10, 15]
    assert header["park"] == metrics.instructive_event(run)
    assert f"Event 2 of 3, {header['sentences'][1]}" == metrics.describe_event(run, 10)
    assert header["matrices"]["name"] == NAMES


def ranks_of(arrays, records, matrices, name="ranks"):
    """Whole numbers as sent: all of them, or those that differ from the record before."""
    if name in arrays:
        return arrays[name].reshape(records, matrices)
    rows = np.zeros((records, matrices), int)
    for place, value in zip(arrays[f"{name}At"].tolist(), arrays[f"{name}To"].tolist(), strict=True):
        rows[place // matrices :, place % matrices] = value
    return rows


def test_a_thinned_payload_keeps_every_event_and_says_how_much_is_drawn(run):
    header, arrays = decode(pack_run(run, max_bytes=600))
    drawn = arrays["steps"].tolist()
    assert len(drawn) < 16
    assert {0, 5, 6, 10, 11, 15} <= set(drawn)
    assert f"{len(drawn)} of 16 spectrum records" in header["run"]["notices"][-1]
    assert header["points"]["records"] == [len(drawn), 16]
    assert header["onDemand"]
    assert "lam" not in arrays
    assert ranks_of(arrays, len(drawn), 3).tolist() == run.ranks[drawn].tolist()
    payload = pack_run(run, max_bytes=600)
    for name in NAMES:
        parcel, own = decode(pack_matrix(run, name, payload))
        assert parcel["matrix"] == name
        assert own["steps"].tolist() == drawn
        parts = np.split(own["lam"], np.cumsum(own["counts"])[:-1])
        assert [part.tolist() for part in parts] == [run.singular_values(step)[name].tolist() for step in drawn]


def test_the_planned_budget_is_the_recorded_one_then_the_schedule(run, tmp_path):
    planned = planned_budget(run)
    assert planned["steps"] == list(range(1, 21))
    assert planned["values"][:15] == [1] * 15
    with RunWriter(tmp_path / "run", HEADER) as writer:
        writer.note("edited", step=1, key="schedule", old="paper", new="constant")
        writer.note("edited", step=1, key="initial_budget", old=12, new=7)
    assert planned_budget(load_run(tmp_path / "run"))["values"] == [7] * 14 + [0] * 6


def test_an_empty_run_crashes_nothing(empty):
    header, arrays = decode(pack_run(empty))
    assert len(arrays["steps"]) == 0
    assert header["park"] == 0
    assert metrics.net_share(empty) == 0
    assert metrics.describe_run(empty)
    FIGURES["spectra_over_time"](empty, NAMES[0])
    FIGURES["total_rank"]({"empty": empty})


def test_each_stay_of_a_direction_is_one_line(run):
    lines = direction_stays(run, 0)
    assert [(slot, steps[0], steps[-1]) for slot, steps, *_ in lines] == [
        (0, 0, 15),
        (1, 0, 15),
        (2, 0, 5),
        (2, 11, 15),
    ]
    for slot, steps, found, _ in lines[:1]:
        assert found.tolist() == [pytest.approx(run.singular_values(int(step))[NAMES[0]][slot]) for step in steps]


def test_the_spectra_figure_shows_lines_true_values_and_moves(run):
    figure = FIGURES["spectra_over_time"](run, NAMES[0])
    named = {trace.name: trace for trace in figure.data}
    assert list(named["pruned"].x) == [5, 15]
    assert list(named["pruned"].y) == [0.25, 0.25]
    assert list(named["extended"].x) == [10]
    own = run.singular_values(5)[NAMES[0]]
    at_five = [y for x, y in zip(named["σ(ΔW) / s"].x, named["σ(ΔW) / s"].y, strict=True) if x == 5]
    assert at_five == pytest.approx(np.sort(np.abs(own))[::-1])
    assert "step" in figure.layout.xaxis.title.text
    with pytest.raises(ValueError, match="unknown matrix"):
        FIGURES["spectra_over_time"](run, "nothing")


def test_true_singular_values_feed_the_same_unit(run):
    P, Q = np.eye(4)[:, :2], np.eye(6)[:2]
    assert true_singular_values(P, np.array([1.0, -3.0]), Q, 2.0) == pytest.approx([6.0, 2.0])


REAL_RUN = re.compile(r"[a-z0-9]+-(flexlora|lora|adalora)-seed[012]")


def test_every_sample_run_opens_and_draws():
    from pathlib import Path

    from flexlora.run_log import find_runs

    found = find_runs(Path(__file__).resolve().parents[2] / "sample_runs")
    expected = {"words-flexlora-paper", "words-flexlora-reference", "words-lora", "digits-flexlora-paper"}
    expected |= {f"digits-{method}" for method in METHODS if method != "flexlora"}
    real = {folder.name for folder in found if REAL_RUN.fullmatch(folder.name)}
    assert expected | real == {folder.name for folder in found}
    assert {name.split("-")[0] for name in real} == {"sst2", "trec", "stsb", "arc", "mnist"}
    # Seeds 1 and 2 are the same kind of log as seed 0; test_docs_real_models.py reads them all.
    for folder in (folder for folder in found if not folder.name.endswith(("-seed1", "-seed2"))):
        run = load_run(folder)
        assert (run.state, run.notices) == ("finished", [])
        assert sum(path.stat().st_size for path in folder.rglob("*")) < 1_500_000
        assert f"--out sample_runs/{folder.name}" in run.header["command"]
        header, _ = decode(pack_run(run))
        assert header["run"]["notices"] == []
        FIGURES["spectra_over_time"](run, run.matrices[0].name)
        FIGURES["total_rank"]({folder.name: run})


def test_the_bundled_paper_run_moves_rank_refuses_nothing_and_its_lambda_is_a_spectrum():
    from pathlib import Path

    run = load_run(Path(__file__).resolve().parents[2] / "sample_runs" / "words-flexlora-paper")
    assert metrics.net_share(run) >= 0.15
    assert metrics.spectrum_gap(run)[-1] <= metrics.GAP_LIMIT
    assert not [event for event in run.events if "at_max_rank" in event["refused"].values()]


def test_what_holds_arrays_is_shown_in_a_line(run, folder):
    for record in (run, run.log, run.log.spectra.digest):
        shown = repr(record)
        assert shown.startswith(f"{type(record).__name__}(") and len(shown) < 900 and "\n" not in shown
    assert f"ranks=<int64 {run.ranks.shape}>" in repr(run) and f"events=<list of {len(run.events)}>" in repr(run)
    assert f"folder={str(folder)!r}" in repr(run) and f"state={run.state!r}" in repr(run)

"""Gates beside λ: what is off or used in part of the steps, and logs that know nothing of it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from analysis import metrics
from analysis.runs import load_run
from flexlora.importance import spectral_entropy
from flexlora.run_log import RunLogError, RunWriter, read_run, writer
from flexlora.run_log import format as log_format

MATRICES = [
    {"name": f"layer.{index}.query", "layer": index, "module_type": "query", "in_features": 8, "out_features": 6}
    for index in range(2)
]
LAM = [np.array([3.0, -2.0, 1.0]), np.array([4.0, 0.5])]
SIGMA = [np.array([3.0, 2.0, 1.0]), np.array([4.0, 0.5])]


@pytest.fixture
def run(tmp_path):
    with RunWriter(tmp_path / "run", {"config": {}, "matrices": MATRICES}) as writer:
        writer.spectrum(0, LAM, SIGMA)
        writer.spectrum(1, LAM, SIGMA, [[1, 1, 1], [1, 1]])
        writer.spectrum(2, LAM, SIGMA, [[1, 0, 0.25], [0, 0]])
        writer.step(1, task_loss=1.0, penalty=0.25, target_rank=4.5)
        writer.step(2, task_loss=1.0)
    return load_run(tmp_path / "run")


def test_rank_counts_what_is_on_and_stored_what_has_a_value(run):
    assert run.notices == []
    assert run.ranks.tolist() == [[3, 2], [3, 2], [2, 0]]
    assert run.stored.tolist() == [[3, 2]] * 3
    assert run.expected_ranks.tolist() == [[3, 2], [3, 2], [1.25, 0]]
    assert [gate.tolist() for gate in run.gates(2).values()] == [[1, 0, 0.25], [0, 0]]
    assert [gate.tolist() for gate in run.gates(0).values()] == [[1, 1, 1], [1, 1]]
    assert [own.tolist() for own in run.singular_values(2).values()] == [[3, 1], []]
    assert run.singular_values(1)["layer.0.query"].tolist() == [3, -2, 1]


def test_entropy_and_energy_are_of_what_is_on(run):
    assert run.entropy[2, 0] == pytest.approx(spectral_entropy([3.0, 1.0]))
    assert run.energy[2].tolist() == [10.0, 0.0]
    assert np.isnan(run.entropy[2, 1])
    # The true spectrum has the rank's number of values, or log r would be another one.
    assert run.true_entropy[1][2, 0] == pytest.approx(spectral_entropy([3.0, 2.0]))


def test_scalars_that_only_some_methods_have(run):
    assert run.log.steps["penalty"].tolist()[0] == 0.25
    assert run.log.steps["target_rank"].tolist()[0] == 4.5
    assert np.isnan(run.log.steps["penalty"][1]) and np.isnan(run.log.steps["target_rank"][1])
    assert run.metrics["penalty"][0].tolist() == [1, 2]


def test_a_run_without_gates_has_none(tmp_path):
    with RunWriter(tmp_path / "run", {"config": {}, "matrices": MATRICES}) as writer:
        writer.spectrum(0, LAM)
    run = load_run(tmp_path / "run")
    assert run.log.gates is None and run.gates(0) is None
    assert run.ranks is run.stored
    assert run.expected_ranks.tolist() == [[3.0, 2.0]]


def test_gates_that_make_no_sense_are_refused(tmp_path):
    with RunWriter(tmp_path / "run", {"config": {}, "matrices": MATRICES}) as writer:
        with pytest.raises(ValueError, match="as many gates as λ"):
            writer.spectrum(0, LAM, None, [[1, 1], [1, 1]])
        for bad in (-0.1, 1.5, float("nan")):
            with pytest.raises(ValueError, match="a probability"):
                writer.spectrum(0, LAM, None, [[1, 1, bad], [1, 1]])
        writer.spectrum(0, LAM)
    assert read_run(tmp_path / "run").ranks.tolist() == [[3, 2]]


def test_a_log_without_the_optional_columns_opens(tmp_path, monkeypatch):
    old = {
        name: pa.schema([field for field in schema if field.name not in log_format.OPTIONAL])
        for name, schema in log_format.SCHEMAS.items()
    }
    with monkeypatch.context() as patch:
        for name, make in writer.BATCHES.items():
            patch.setitem(writer.BATCHES, name, lambda rows, make=make, name=name: make(rows).select(old[name].names))
        patch.setattr("flexlora.run_log.writer.SCHEMAS", old)
        with RunWriter(tmp_path / "run", {"config": {}, "matrices": MATRICES}) as log:
            log.step(1, task_loss=1.0)
            log.spectrum(1, LAM, SIGMA)
    with pa.OSFile(str(tmp_path / "run" / "spectra.arrows")) as file:
        assert "gates" not in pa.ipc.open_stream(file).schema.names
    log = read_run(tmp_path / "run")
    assert log.notices == [] and log.gates is None
    assert log.ranks.tolist() == [[3, 2]] and np.isnan(log.steps["penalty"]).all()
    # It is resumed by a version that writes them.
    with RunWriter(tmp_path / "run", {}, resume_from=1) as log:
        log.step(2, task_loss=1.0, penalty=0.5)
        log.spectrum(2, LAM, None, [[1, 1, 0], [1, 1]])
    log = read_run(tmp_path / "run")
    assert log.ranks.tolist() == [[3, 2], [2, 2]] and log.steps["penalty"].tolist()[1] == 0.5


def test_forged_gates_are_a_clear_error(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "flexlora.run_log.writer.beside",
        lambda arrays, counts, what: None if arrays is None else np.concatenate(arrays).astype(np.float32),
    )
    with RunWriter(tmp_path / "run", {"config": {}, "matrices": MATRICES}) as writer:
        writer.spectrum(0, LAM, None, [np.ones(2), np.ones(1)])
    with pytest.raises(RunLogError, match="3 gates for a total rank of 5"):
        read_run(tmp_path / "run")


def test_soft_moves_are_told_as_what_they_are(tmp_path):
    name = MATRICES[0]["name"]
    off = [{"matrix": name, "slot": slot, "singular_value": 0.1, "score": 2e-7, "rules": ["masked"]} for slot in (1, 2)]
    back = [{"matrix": name, "slot": 1, "score": 0.5, "rules": ["revived"]}]
    with RunWriter(tmp_path / "run", {"config": {}, "matrices": MATRICES, "method": "adalora"}) as writer:
        writer.spectrum(1, LAM, None, [[1, 1, 1], [1, 1]])
        writer.event(1, 2, {}, "component_share", prune=off, rules=["masked"], scores={}, target_rank=3)
        writer.spectrum(2, LAM, None, [[1, 0, 0], [1, 1]])
        writer.event(2, 0, {}, "component_share", extend=back, rules=["revived"], scores={}, target_rank=3)
        writer.spectrum(3, LAM, None, [[1, 1, 0], [1, 1]])
        writer.event(3, 0, {}, "component_share", scores={}, target_rank=4)
    run = load_run(tmp_path / "run")
    first, second, third = (metrics.describe_event(run, step) for step in (1, 2, 3))
    assert "2 switched off. Layer 0 query 3 → 1 (component share 2.0e-07, lowest). Total rank 3." in first
    assert "1 came back. Layer 0 query 1 → 2 (component share 0.50, highest). Total rank 4." in second
    assert "nothing moved (total rank is at its target)" in third
    assert "total rank 5 → 4: 2 directions taken, 1 given" in metrics.describe_run(run)
    assert metrics.net_moves(run) == 1.0 and metrics.gross_moves(run) == 2

"""Runs whose directions may be off or used in part of the steps: the player's bytes, and the figures."""

from __future__ import annotations

import numpy as np
import pytest
from payload_bytes import decode

from analysis.directions import direction_stays
from analysis.figures import FIGURES
from analysis.payload import coded_gates, pack_matrix, pack_run, planned_budget
from analysis.runs import load_run
from flexlora.methods import METHODS
from flexlora.run_log import RunWriter

NAMES = ["layer.0.query", "layer.1.query"]
MATRICES = [{"name": name, "layer": index, "module_type": "query"} for index, name in enumerate(NAMES)]
STEPS = 12
OFF, BACK = 4, 8


def write(folder, *, gated=True, method="adalora", **config):
    """Matrix 0: slot 1 goes off at step OFF and comes back at step BACK; matrix 1: slot 0 is used in 0.1 % of steps."""
    gates = [np.ones(3), np.array([0.001, 1.0])]
    with RunWriter(folder, {"matrices": MATRICES, "method": method, "config": config}) as writer:
        for step in range(1, STEPS + 1):
            extra = {"penalty": 0.5, "target_rank": 4} if gated else {}
            writer.step(step, task_loss=1.0, **extra)
            lam = [np.array([0.3, 0.2, 0.1]) * step, np.array([0.5, 0.4])]
            writer.spectrum(step, lam, lam, [own.copy() for own in gates] if gated else None)
            if gated and step in (OFF, BACK):
                move = {"matrix": NAMES[0], "slot": 1, "rules": ["masked" if step == OFF else "revived"]}
                key = "prune" if step == OFF else "extend"
                writer.event(step, 1, {"score": {}}, "score", **{key: [move]}, scores={NAMES[0]: [1.0, 2.0, 3.0]})
                gates[0][1] = float(step == BACK)
        writer.end("completed")
    return load_run(folder)


def test_gates_ranks_and_offsets_arrive_as_logged(tmp_path):
    run = write(tmp_path / "run")
    header, arrays = decode(pack_run(run))
    assert rows_of(arrays, "stored").tolist() == run.stored.tolist()
    assert np.array_equal(arrays["lam"], run.log.values)
    assert len(arrays["sigma"]) == len(run.log.true_values)
    assert rows_of(arrays, "ranks").tolist() == run.ranks.tolist()
    assert arrays["used"] == pytest.approx(run.expected_ranks.sum(axis=1))
    assert header["gates"] == {"off": True, "partial": True}
    assert run.ranks[OFF].tolist() == [2, 2]
    assert arrays["gates"].dtype == np.uint8
    assert np.array_equal(arrays["gates"] > 0, run.log.gates > 0)
    assert arrays["gates"] / 255 == pytest.approx(run.log.gates, abs=0.004)
    assert arrays["penalty"].tolist() == [0.5] * STEPS
    assert arrays["targetRank"].tolist() == [4.0] * STEPS
    assert "planSteps" not in arrays
    assert not any("scores" in event for event in header["events"])


def test_a_run_without_gates_ships_none_of_it(tmp_path):
    _, arrays = decode(pack_run(write(tmp_path / "run", gated=False)))
    assert {"gates", "penalty", "targetRank", "stored", "storedAt", "used"}.isdisjoint(arrays)


def rows_of(arrays, name):
    """Whole numbers as sent: all of them, or those that differ from the record before."""
    count = len(arrays["steps"])
    if name in arrays:
        return arrays[name].reshape(count, 2)
    rows = np.zeros((count, 2), int)
    for place, value in zip(arrays[f"{name}At"].tolist(), arrays[f"{name}To"].tolist(), strict=True):
        rows[place // 2 :, place % 2] = value
    return rows


def test_a_thinned_payload_and_its_parcels_keep_gates_beside_their_values(tmp_path):
    run = write(tmp_path / "run")
    payload = pack_run(run, max_bytes=500)
    _, arrays = decode(payload)
    assert len(arrays["steps"]) < STEPS
    rows = np.searchsorted(run.steps, arrays["steps"])
    assert rows_of(arrays, "stored").tolist() == run.stored[rows].tolist()
    assert rows_of(arrays, "ranks").tolist() == run.ranks[rows].tolist()
    for place, (name, gates) in enumerate(zip(NAMES, ([255, 0, 255], [1, 255]), strict=True)):
        _, own = decode(pack_matrix(run, name, payload))
        assert len(own["gates"]) == len(own["lam"]) == own["counts"].sum()
        start = int(own["counts"][: own["steps"].tolist().index(OFF + 1)].sum())
        assert own["gates"][start : start + run.stored[0, place]].tolist() == gates


@pytest.mark.parametrize("gate", [1e-30, 0.001, 0.5, 0.999, 1.0])
def test_a_gate_above_zero_stays_above_zero(gate):
    (code,) = coded_gates(np.array([gate], np.float32))
    assert code > 0
    assert abs(code / 255 - gate) <= 1 / 255
    assert coded_gates(np.zeros(1)).tolist() == [0]


@pytest.mark.parametrize("method", ["lora", "adalora", "dylora", "of another version"])
def test_a_method_without_a_budget_of_moves_has_no_planned_one(tmp_path, method):
    config = {"total_steps": 40, "initial_rank": 4}
    assert planned_budget(write(tmp_path / "run", gated=False, method=method, **config)) is None


@pytest.mark.parametrize("method", [name for name in METHODS if hasattr(METHODS[name].config_class, "budget")])
def test_a_method_with_a_budget_of_moves_has_its_own_planned_one(tmp_path, method):
    config = METHODS[method].config(None, {"total_steps": 40, "initial_rank": 4, "initial_budget": 6})
    planned = planned_budget(write(tmp_path / "run", gated=False, method=method, **config.to_dict()))
    assert planned is not None
    assert planned["values"] == [config.budget(step) for step in range(1, 41)]
    assert max(planned["values"]) > 0


def test_a_direction_that_is_off_stays_in_its_slot_and_is_drawn_apart(tmp_path):
    run = write(tmp_path / "run")
    assert [(slot, len(steps)) for slot, steps, _, _ in direction_stays(run, 0)] == [(0, STEPS), (1, STEPS), (2, STEPS)]
    traces = {trace.name: trace for trace in FIGURES["spectra_over_time"](run, NAMES[0]).data}
    off = np.isfinite(np.array(traces["off, may revive"].y, float))
    assert np.array(traces["off, may revive"].x)[off].tolist() == list(range(OFF + 1, BACK + 1))
    own = np.isnan(np.array(traces["slot 1"].y, float))
    assert np.array(traces["slot 1"].x)[own].tolist() == list(range(OFF + 1, BACK + 1))
    assert {"switched off", "back on"} <= set(traces)


def test_total_rank_draws_a_mean_only_where_it_differs(tmp_path):
    runs = {"soft": write(tmp_path / "soft"), "hard": write(tmp_path / "hard", gated=False)}
    traces = FIGURES["total_rank"](runs).data
    lines = {trace.name: trace for trace in traces}
    assert set(lines) == {"soft", "soft: used a step", "hard"}
    assert list(lines["soft"].y) == runs["soft"].ranks.sum(axis=1).tolist()
    assert list(lines["soft: used a step"].y) == pytest.approx(runs["soft"].expected_ranks.sum(axis=1))
    assert lines["soft"].line.dash != lines["hard"].line.dash or lines["soft"].marker != lines["hard"].marker

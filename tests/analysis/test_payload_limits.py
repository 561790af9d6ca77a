"""The payload of runs that are long, diverged, damaged or strange."""

from __future__ import annotations

import numpy as np
import pytest
from payload_bytes import decode

from analysis import metrics
from analysis.figures import FIGURES
from analysis.payload import MAX_CURVE, MAX_PLANNED, pack_run, planned_budget
from analysis.runs import load_run
from flexlora.run_log import RunWriter

NAMES = ["layer.0.query", "layer.1.query"]
MATRICES = [{"name": name, "layer": index, "module_type": "query"} for index, name in enumerate(NAMES)]


def write(folder, config=None, steps=range(1, 201), events=(), scale=1.0, **header):
    with RunWriter(folder, {"matrices": MATRICES, "config": config or {}, **header}) as writer:
        for step in steps:
            writer.step(step, task_loss=scale, budget=1)
            lam = [scale * np.ones(4), scale * np.ones(2)]
            writer.spectrum(step, lam, lam)
            if step in events:
                writer.event(step, 0, {}, "spectral_entropy")
    return load_run(folder)


def test_a_thinned_payload_keeps_to_its_size_and_keeps_the_records_around_each_event(tmp_path):
    run = write(tmp_path / "run", events=(50, 120))
    limit = len(pack_run(run, max_bytes=0)) + 2500
    payload = pack_run(run, max_bytes=limit)
    assert limit - 2500 < len(payload) <= limit
    drawn = decode(payload)[1]["steps"].tolist()
    assert 20 < len(drawn) < 200
    assert {1, 49, 50, 51, 119, 120, 121, 200} <= set(drawn)
    assert any("of 200 spectrum records are drawn" in notice for notice in decode(payload)[0]["run"]["notices"])


def test_numbers_beyond_float32_are_drawn_as_infinite(tmp_path):
    run = write(tmp_path / "run", steps=range(1, 4), scale=1e30)
    assert run.entropy[:, 0].tolist() == [1.0] * 3
    assert run.energy[0, 0] == pytest.approx(4e60)
    decode(pack_run(run))[0]
    FIGURES["spectra_over_time"](run, NAMES[0])


def test_the_curve_of_a_very_long_run_is_thinned_but_has_its_events(tmp_path):
    config = {"total_steps": MAX_PLANNED, "schedule": "constant", "initial_budget": 3}
    config |= {"warmup_steps": 10, "final_steps": 10, "interval": 10}
    run = write(tmp_path / "run", config, steps=(1, 777), events=(777,))
    curve = planned_budget(run)
    assert curve is not None
    assert 777 in curve["steps"]
    assert len(curve["steps"]) == len(curve["values"]) <= MAX_CURVE + 1
    assert (curve["steps"][-1], curve["values"][-2:]) == (MAX_PLANNED, [3, 0])


def test_a_forged_length_fills_no_memory(tmp_path):
    config = {"total_steps": 10**12, "warmup_steps": 0, "final_steps": 1, "interval": 1}
    run = write(tmp_path / "run", config, steps=(1, 2))
    assert "planSteps" not in decode(pack_run(run))[1]


@pytest.mark.parametrize("config", [{"total_steps": "many"}, {"alpha": "x", "initial_rank": 0}, {"schedule": "none"}])
def test_a_configuration_from_elsewhere_hinders_no_picture(tmp_path, config):
    run = write(tmp_path / "run", config, steps=range(1, 4), events=(2,))
    header, arrays = decode(pack_run(run))
    assert ("planSteps" in arrays, header["run"]["scale"], run.total_steps) == (False, None, 3)
    FIGURES["spectra_over_time"](run, NAMES[0])
    FIGURES["total_rank"]({"run": run})
    assert metrics.describe_run(run)


def test_an_edit_that_this_version_cannot_follow_hides_the_plan_only(tmp_path):
    with RunWriter(tmp_path / "run", {"matrices": MATRICES, "config": {"total_steps": 40}}) as writer:
        writer.note("edited", step=1)
    assert planned_budget(load_run(tmp_path / "run")) is None


def test_evaluations_without_a_number_are_no_metric(tmp_path):
    with RunWriter(tmp_path / "run", {"matrices": MATRICES, "config": {}}) as writer:
        writer.eval(1, "test", {"accuracy": float("nan")})
        writer.eval(1, "validation", {"accuracy": 0.5})
    run = load_run(tmp_path / "run")
    assert [name for name in run.metrics if "/" in name] == ["validation/accuracy"]
    assert "validation accuracy 0.500" in metrics.describe_run(run)

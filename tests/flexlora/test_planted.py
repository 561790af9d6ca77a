"""Task ``planted``: the generator, the truth, the numbers of its specification, the draws, the scores."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from analysis.runs import load_run
from flexlora.allocation import cut_to, largest_first, least_energy_first, share_out
from flexlora.config import FlexLoRAConfig
from flexlora.counter import STREAMS, Counter, bits, key_of, mix, normal_rows, normals, permutation, uniforms
from flexlora.decision import tie_order
from flexlora.errors import FlexLoRAError
from flexlora.job import Job, build_job
from flexlora.loop import run_job
from flexlora.planted import Planted, PlantedSize, distance, oracle_ranks, relative_loss, way
from flexlora.planted.network import forward, orthonormal
from flexlora.planted.scenario import AMPLITUDE, SCENARIOS
from flexlora.session import Session
from flexlora.train import main

DOC = (Path(__file__).resolve().parents[2] / "docs" / "planted.md").read_text(encoding="utf-8")
SMALL = {"width": 6, "layers": 2, "true_rank": 2, "initial_rank": 2, "batch_size": 16, "save_adapter": False}


@pytest.fixture(scope="module")
def vectors():
    return json.loads(re.findall(r"```json\n(.*?)```", DOC, re.DOTALL)[-1])


def test_the_generator_gives_the_documented_numbers(vectors):
    assert mix(np.array([1, 0xDEADBEEF], np.uint32)).tolist() == vectors["mix of 1, 3735928559"]
    keys = [key_of(0, "weights"), key_of(7, "directions", 50, 3)]
    assert keys == vectors["key of (0, weights, 0, 0) and (7, directions, 50, 3)"]
    assert bits(keys[0], np.arange(3)).tolist() == vectors["first three integers of (0, weights, 0, 0)"]
    found = uniforms(keys[0], np.arange(2)), normals(keys[0], np.arange(2)).ravel()
    assert found[0] == pytest.approx(vectors["first two uniforms of (0, weights, 0, 0)"], rel=1e-15)
    assert found[1] == pytest.approx(vectors["first four normals of (0, weights, 0, 0)"], rel=1e-9)
    assert permutation(key_of(0, "ties", 10), 6).tolist() == vectors["order of 6 by (0, ties, 10, 0)"]
    for stream, number in STREAMS.items():
        assert f"| `{stream}` | {number} |" in DOC


def test_the_generator_agrees_with_whole_number_arithmetic():
    def slow_mix(x: int) -> int:
        x ^= x >> 16
        x = x * 0x7FEB352D % 2**32
        x ^= x >> 15
        x = x * 0x846CA68B % 2**32
        return x ^ x >> 16

    key = 0
    for word in (2**40 + 5, STREAMS["noise"], 1, 0):
        key = slow_mix((key ^ word % 2**32) + 0x9E3779B9 & 0xFFFFFFFF)
    assert key == key_of(2**40 + 5, "noise", 1)
    other = slow_mix((key + 0x9E3779B9) % 2**32)
    for index in (0, 1, 77, 2**32 - 1):
        assert int(bits(key, [index])[0]) == slow_mix(slow_mix((index + key) % 2**32) ^ other)


def test_numbers_can_be_drawn_in_any_order_and_are_independent():
    key = key_of(3, "inputs")
    rows = np.array([9, 2, 700])
    assert np.array_equal(normal_rows(key, rows, 5), normal_rows(key, np.arange(701), 5)[rows])
    counter = Counter(3, "inputs")
    assert np.array_equal(np.concatenate([counter.normal(5), counter.normal(6)]), [
        *normals(key, np.arange(3)).ravel()[:5], *normals(key, np.arange(3, 6)).ravel()
    ])  # fmt: skip
    drawn = np.array(
        [normals(key_of(seed, "noise", step), np.arange(500)).ravel() for seed in (0, 1) for step in (0, 1, 2)]
    )
    assert abs(drawn.mean()) < 4 / math.sqrt(drawn.size) and abs(drawn.std() - 1) < 4 / math.sqrt(2 * drawn.size)
    seen = np.corrcoef(drawn)[~np.eye(6, dtype=bool)]
    assert abs(seen).max() < 5 / math.sqrt(1000)
    assert abs(np.corrcoef(drawn[0, :-1], drawn[0, 1:])[0, 1]) < 5 / math.sqrt(1000)
    counts = np.bincount((uniforms(key, np.arange(64_000)) * 64).astype(int), minlength=64)
    assert ((counts - 1000) ** 2 / 1000).sum() < 63 + 5 * math.sqrt(126)


def test_network_truth_and_data_are_the_documented_ones(vectors):
    planted = Planted("agree", 0)
    assert list(planted.truth.ranks) == vectors["true ranks of agree, seed 0"]
    rows = {split: planted.rows(split, np.array([row])) for split, row in (("train", 0), ("test", 5))}
    found = {
        "W0 of matrix 0, row 0": planted.weights[0],
        "update of matrix 1, row 0": planted.updates[1],
        "inputs of training row 0": rows["train"][0],
        "targets of training row 0": rows["train"][1],
        "targets of test row 5": rows["test"][1],
    }
    for name, array in found.items():
        assert array[0, :3] == pytest.approx(vectors[f"{name}, first three"], rel=1e-9), name


@pytest.mark.parametrize("scenario", [*SCENARIOS, ",".join(["1", "3:0.5", "6:2"] * 2)])
def test_the_truth_has_the_ranks_and_energies_it_says(scenario):
    planted = Planted(scenario, 4, PlantedSize(width=6, layers=2, true_rank=3))
    for place, update in enumerate(planted.updates):
        values = np.linalg.svd(update, compute_uv=False)
        sizes = planted.truth.sizes(place)
        assert len(sizes) == planted.truth.ranks[place]
        assert values[: len(sizes)] == pytest.approx(sizes, rel=1e-9)
        assert not len(values) > len(sizes) or values[len(sizes) :].max() < 1e-12
    if scenario in SCENARIOS:
        assert sum(planted.truth.ranks) == 3 * 6


def test_scenarios_are_what_their_names_say():
    def energies(scenario: str) -> tuple[np.ndarray, np.ndarray]:
        truth = Planted(scenario, 0).truth
        return np.array(truth.ranks), np.array([np.square(truth.sizes(m)).sum() for m in range(18)])

    for scenario, sign in (("agree", 1), ("disagree", -1)):
        ranks, energy = energies(scenario)
        order = np.argsort(ranks, kind="stable")
        change = np.diff(energy[order])[np.diff(ranks[order]) > 0]
        assert (sign * change > 0).all()
    ranks, energy = energies("spike")
    crucial = ranks == ranks.max()
    assert energy[crucial].min() > 20 * energy[~crucial].max()
    ranks, energy = energies("uniform")
    assert set(ranks) == {4} and np.ptp(energy) == 0
    assert AMPLITUDE == 1
    dealt = {Planted("agree", seed).truth.ranks for seed in range(8)}
    assert len(dealt) == 8, "the seed draws which matrix needs rank"


def test_orthonormal_rows_span_what_they_spanned():
    rows = normal_rows(key_of(1, "left"), np.arange(7), 7) + 5.0
    found = orthonormal(rows)
    assert np.allclose(found @ found.T, np.eye(7), atol=1e-12)
    assert np.allclose(found[:3].T @ found[:3] @ rows[:3].T, rows[:3].T)


def test_shares_are_exact_and_within_their_limits():
    assert share_out([1, 1, 2], 8, [9, 9, 9]) == [2, 2, 4]
    assert share_out([1, 1, 1], 4, [9, 9, 9]) == [2, 1, 1]
    assert share_out([0, 0, 5], 9, [4, 4, 4]) == [3, 2, 4]
    rng = np.random.default_rng(0)
    for _ in range(300):
        count = int(rng.integers(1, 9))
        top = rng.integers(1, 7, count)
        total = int(rng.integers(count, top.sum() + 1))
        ranks = np.array(share_out(rng.random(count) ** 4 + 1e-9, total, top.tolist()))
        assert ranks.sum() == total and (ranks >= 1).all() and (ranks <= top).all()
    for weights in ([math.nan, 1], [-1, 2], [0, 0]):
        with pytest.raises(FlexLoRAError, match="finite"):
            share_out(weights, 4, [9, 9])
    with pytest.raises(FlexLoRAError, match="2 to 6"):
        share_out([1, 1], 7, [3, 3])


def test_the_largest_of_all_matrices_together_get_the_budget():
    values = {"a": [9, 1], "b": [5, 4, 3], "c": [8, 8, 8]}
    assert largest_first(values, 6, dict.fromkeys(values, 3)) == {"a": 1, "b": 2, "c": 3}
    assert largest_first(values, 9, dict.fromkeys(values, 3)) == {"a": 3, "b": 3, "c": 3}
    order = least_energy_first({"a": [2, -1], "b": [1, 3]}, {"a": 1, "b": 1})
    assert order == [("a", 1), ("b", 0), ("a", 0), ("b", 1)]
    assert [cut_to(order, {"a": 1, "b": 1}, budget) for budget in (9, 4, 3, 0)] == [0, 0, 1, 4]
    assert cut_to(order, {"a": 2, "b": 3}, 7) == 2
    assert least_energy_first({"a": [2], "b": [3]}, {"a": 1, "b": 9}) == [("b", 0), ("a", 0)]


def test_the_oracle_gives_the_true_ranks_within_their_budget_and_the_largest_below_it():
    truth = Planted("agree", 1).truth
    assert oracle_ranks(truth, 72, 24) == list(truth.ranks)
    fewer = oracle_ranks(truth, 40, 24)
    assert sum(fewer) == 40 and all(1 <= r <= t for r, t in zip(fewer, truth.ranks, strict=True))
    assert sum(oracle_ranks(truth, 100, 24)) == 100
    with pytest.raises(FlexLoRAError):
        oracle_ranks(truth, 17, 24)


def test_scores_follow_the_moves():
    true = {"a": 1, "b": 3, "c": 2}
    assert distance([2, 2, 2], [1, 3, 2]) == pytest.approx(1 / 6)
    moves = [
        {"step": 5, "prune": [{"matrix": "c"}], "extend": [{"matrix": "b"}]},
        {"step": 9, "prune": [{"matrix": "a"}], "extend": [{"matrix": "c"}]},
    ]
    found = way({"a": 2, "b": 2, "c": 2}, moves, true)
    assert (found.first, found.last, found.halfway_step, found.changes) == (pytest.approx(1 / 6), 0, 9, 4)
    assert found.towards == 3 / 4
    still = way({"a": 2, "b": 2, "c": 2}, [], true)
    assert still.halfway_step is None and math.isnan(still.towards)
    assert relative_loss(0.3, 0.5, 0.1) == pytest.approx(0.5) and math.isnan(relative_loss(1, 2, 2))


def test_the_first_sixty_steps_are_the_documented_ones(vectors):
    job = build_job("planted", "flexlora")
    session = Session(job)
    names = list(session.adapter.matrices)
    first, second = list(session.adapter.matrices.values())[:2]
    assert first.Pt.dtype == torch.float64
    assert first.Pt.detach()[0, :3].tolist() == pytest.approx(vectors["p of matrix 0, slot 0, first three"], rel=1e-9)
    assert second.Q.detach()[3, -3:].tolist() == pytest.approx(vectors["q of matrix 1, slot 3, last three"], rel=1e-9)
    results, event = {}, None
    for step in range(1, 61):
        results[step] = session.train_step(step)
        if session.is_event(step):
            event = event or session.event(step)
        session.finish_step()
    for told, steps in (("1, 2, 20, 50", (1, 2, 20, 50)), ("51, 52, 60", (51, 52, 60))):
        losses = [results[step].task_loss for step in steps]
        assert losses == pytest.approx(vectors[f"task loss of steps {told}"], rel=1e-6)
    values = [results[step].regularizer for step in (1, 2, 20, 50)]
    assert values == pytest.approx(vectors["regulariser of steps 1, 2, 20, 50"], rel=1e-6)
    order = [names.index(name) for name in tie_order(names, 50, job.config)]
    assert order == vectors["order of all matrices that settles ties at step 50"]
    for half, told in (("prune", "pruned"), ("extend", "extended")):
        assert [names.index(move["matrix"]) for move in getattr(event, half)] == vectors[f"matrices {told} at step 50"]
    assert [move["slot"] for move in event.prune] == vectors["slots pruned at step 50"]


def test_the_task_computes_what_its_core_computes():
    session = Session(build_job("planted", "lora", seed=3, settings=SMALL))
    planted = Planted("agree", 3, PlantedSize(6, 2, 2, 0.05))
    rows = session.data.rows(len(session.data.train), 16, 4, 3)
    assert rows.tolist() == list(range(48, 64))
    batch = session.trained.batch(rows)
    inputs, labels = planted.rows("train", rows)
    assert np.array_equal(batch["inputs"].numpy(), inputs) and np.array_equal(batch["labels"].numpy(), labels)
    scattered = session.trained.batch(rows[::-1].copy())
    assert np.allclose(scattered["inputs"].flip(0), batch["inputs"], rtol=0, atol=0)
    with torch.no_grad():
        found = session.model(**batch)
    outputs = forward(planted.weights, inputs)
    assert np.allclose(found.outputs, outputs, atol=1e-12)
    assert float(found.loss) == pytest.approx(np.square(outputs - labels).mean())
    test = planted.rows("test", np.arange(2048))
    assert session.trained.evaluate(session.data.test)["loss"] == pytest.approx(
        np.square(forward(planted.weights, test[0]) - test[1]).mean()
    )


def test_a_run_logs_its_truth_and_the_distance_to_it_and_resumes_from_its_header(tmp_path):
    job = build_job("planted", "flexlora", steps=40, settings={**SMALL, "eval_interval": 10})
    summary = run_job(job, tmp_path / "run")
    run = load_run(tmp_path / "run")
    truth = run.header["data"]["true_ranks"]
    assert list(truth.values()) == list(Planted("agree", 0, PlantedSize(6, 2, 2)).truth.ranks)
    last = dict(zip(truth, run.ranks[-1].tolist(), strict=True))
    found = way(dict(zip(truth, run.ranks[0].tolist(), strict=True)), run.events, truth)
    assert run.events and found.last == distance(list(last.values()), list(truth.values()))
    assert summary["test_distance"] == found.last
    assert run.metrics["validation/distance"][1][0] == found.first
    assert [m.module_type for m in run.matrices[:3]] == ["mix", "up", "down"]
    assert Job.from_dict(json.loads(json.dumps(run.config))) == job
    again = run_job(job, tmp_path / "again")
    assert again["test_loss"] == summary["test_loss"]
    assert np.array_equal(load_run(tmp_path / "again").log.values, run.log.values)


@pytest.mark.parametrize("method", ["adalora", "l1ra", "salora", "autolora", "sora", "dylora", "mlae", "elalora"])
def test_every_method_plays_it_with_the_counter_and_never_with_torch(method, monkeypatch):
    job = build_job("planted", method, steps=12, settings=SMALL)
    assert job.config.draws == "counter"
    real = torch.Generator

    def forbidden(*_: object) -> torch.Generator:
        raise AssertionError("a torch generator in a planted run")

    monkeypatch.setattr(torch, "Generator", forbidden)
    session = Session(job)
    for step in (1, 2):
        session.train_step(step)
        session.finish_step()
    assert all(p.dtype == torch.float64 for p in session.adapter.parameters())
    monkeypatch.setattr(torch, "Generator", real)


def test_other_tasks_draw_as_they_did():
    assert build_job("digits").config.draws == "torch"
    config = FlexLoRAConfig(total_steps=100, seed=5)
    names = list("abcdefgh")
    expected = [names[i] for i in np.random.default_rng([5, 20]).permutation(8)]
    assert tie_order(names, 20, config) == expected
    assert tie_order(names, 20, config.replace(draws="counter")) != expected


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"scenario": "agre"}, "Unknown scenario 'agre'. Choose one of: agree, disagree, spike, uniform"),
        ({"scenario": "1,2"}, "has 2 ranks; the network has 18"),
        ({"scenario": ",".join(["1"] * 17 + ["99"])}, "a rank is from 1 to 24"),
        ({"scenario": ",".join(["1"] * 17 + ["x"])}, "'x' is not RANK or RANK:ENERGY"),
        ({"true_rank": 99}, "true_rank=99 must be from 1 to 24"),
        ({"profile": "round"}, "Unknown profile 'round'"),
        ({"control": "head_only"}, "neither a head nor pretraining"),
        ({"noise": "-1"}, "noise=-1.0 must be at least 0"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(settings, told, tmp_path, capsys):
    words = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    assert main(["--task", "planted", "--out", str(tmp_path / "run"), *words]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert len(lines) == 1 and told in lines[0]
    assert not (tmp_path / "run").exists()


def test_what_is_planted_is_for_no_other_task():
    with pytest.raises(FlexLoRAError, match="scenario is for task planted"):
        build_job("digits", settings={"scenario": "agree"})

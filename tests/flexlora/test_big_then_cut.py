"""Train big, then cut: what goes, at which budget, and what stays."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from analysis import metrics
from analysis.runs import load_run
from analysis.why import why_cards
from flexlora.errors import FlexLoRAError
from flexlora.job import build_job
from flexlora.loop import run_job
from flexlora.methods.configs import BigThenCutConfig
from flexlora.observation import component_norms
from flexlora.policies import POLICIES
from flexlora.session import Session

SMALL = {"width": 6, "layers": 2, "true_rank": 2, "batch_size": 16, "save_adapter": False, "target_rank": 2}


def session_at_cut(**settings) -> tuple[Session, int]:
    job = build_job("planted", "big_then_cut", steps=20, settings={**SMALL, **settings})
    session = Session(job)
    cut = job.config.cut_step
    for step in range(1, cut + 1):
        session.train_step(step)
        assert session.is_event(step) == (step == cut)
        if step < cut:
            session.finish_step()
    return session, cut


def test_rank_and_factor_follow_from_each_other():
    def ranks(**settings) -> tuple[int, int, int]:
        config = build_job("planted", "big_then_cut", settings=settings).config
        return config.initial_rank, config.target_rank, config.cut_step

    assert ranks() == (8, 4, 200)
    assert ranks(factor=4, cut_share=0.3) == (16, 4, 120)
    assert ranks(initial_rank=6, cut_share=1) == (6, 4, 400), "the task's rank is what is left"
    alone = BigThenCutConfig(initial_rank=6, factor=3, total_steps=10)
    assert (alone.target_rank, alone.cut_step, alone.replace(factor=2).initial_rank) == (2, 5, 6)
    assert ranks(target_rank=3, initial_rank=5) == (5, 3, 200)
    with pytest.raises(FlexLoRAError, match=r"target_rank=4 is above initial_rank=2"):
        ranks(target_rank=4, initial_rank=2)
    with pytest.raises(FlexLoRAError, match=r"cut_share=1\.5 must be below"):
        ranks(cut_share=1.5)
    assert POLICIES["big_then_cut"].method == "big_then_cut"


def test_the_globally_smallest_go_and_the_others_stay_as_they_are():
    session, cut = session_at_cut()
    matrices = session.adapter.matrices
    norms = {name: component_norms(matrix) for name, matrix in matrices.items()}
    before = {name: matrix.lam.detach().clone() for name, matrix in matrices.items()}
    slots = {name: list(matrix.slots) for name, matrix in matrices.items()}
    event = session.event(cut)
    everything = np.sort(np.concatenate(list(norms.values())))
    assert sum(session.adapter.ranks().values()) == 12 == len(everything) // 2
    assert event.threshold == everything[11] and len(event.prune) == event.budget == 12
    for name, matrix in matrices.items():
        kept = [slot for slot, norm in zip(slots[name], norms[name], strict=True) if norm > event.threshold]
        assert matrix.slots == kept
        assert torch.equal(matrix.lam.detach()[kept], before[name][kept])
        moments = session.optimizer.state[matrix.lam]["exp_avg"]
        assert (moments[kept] != 0).all() and (moments[[s for s in slots[name] if s not in kept]] == 0).all()
    assert [move["score"] for move in event.prune] == sorted(move["score"] for move in event.prune)


def test_a_cut_by_singular_values_is_the_best_approximation_of_its_ranks():
    session, cut = session_at_cut(cut_by="true_singular_values")
    matrices = session.adapter.matrices
    whole = {name: matrix.delta_weight().numpy() for name, matrix in matrices.items()}
    values = {name: np.linalg.svd(delta, compute_uv=False) for name, delta in whole.items()}
    event = session.event(cut)
    ranks = session.adapter.ranks()
    assert sum(ranks.values()) == 12 and event.rules == ["rotated"]
    largest = np.sort(np.concatenate([v[:4] for v in values.values()]))[-12:]
    assert np.sort(np.concatenate([values[n][:r] for n, r in ranks.items()])) == pytest.approx(largest)
    for name, matrix in matrices.items():
        lost = np.linalg.norm(whole[name] - matrix.delta_weight().numpy())
        assert lost == pytest.approx(np.sqrt(np.square(values[name][ranks[name] :]).sum()), abs=1e-9)
        P, lam, Q = (part.numpy() for part in matrix.directions())
        assert lam * matrix.scale == pytest.approx(values[name][: ranks[name]])
        assert np.allclose(P.T @ P, np.eye(ranks[name])) and np.allclose(Q @ Q.T, np.eye(ranks[name]))
    session.finish_step()
    session.train_step(cut + 1)


def test_a_budget_of_parameters_is_kept_and_weighs_energy_by_price():
    session, cut = session_at_cut(budget_unit="parameters")
    prices = {name: m.in_features + m.out_features for name, m in session.adapter.matrices.items()}
    norms = {name: component_norms(matrix) for name, matrix in session.adapter.matrices.items()}
    event = session.event(cut)
    spent = sum(rank * prices[name] for name, rank in session.adapter.ranks().items())
    assert 2 * sum(prices.values()) - max(prices.values()) < spent <= 2 * sum(prices.values())
    scores = {name: own / np.sqrt(prices[name]) for name, own in norms.items()}
    kept = [score for name, own in scores.items() for score in own if score > event.threshold]
    assert len(kept) == sum(session.adapter.ranks().values())
    assert event.measure == "component_norm_per_root_parameter"


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_the_log_tells_the_cut(share, tmp_path):
    job = build_job("planted", "big_then_cut", steps=20, settings={**SMALL, "cut_share": share})
    summary = run_job(job, tmp_path / "run")
    run = load_run(tmp_path / "run")
    assert summary["total_rank"] == 12 == metrics.final_ranks(run).sum() and run.ranks[0].sum() == 24
    assert [event["step"] for event in run.events] == [round(share * 20)]
    cards = why_cards(run, 0)
    assert {card["verdict"] for card in cards} <= {"pruned", "stayed"}
    threshold = run.events[0]["threshold"]
    for card in cards:
        line = next(line for line in card["lines"] if line["key"] == "threshold")
        assert line["value"] == threshold and "pruned, once" in line["text"]
    assert run.log.steps["target_rank"][0] == 24

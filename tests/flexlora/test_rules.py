"""Each method's rule as a policy: the method's own decision, and what is smoothed over steps for it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from analysis.runs import load_run
from flexlora.checkpoint import load_checkpoint, save_checkpoint
from flexlora.choices import at_zero, pool_ends
from flexlora.job import build_job
from flexlora.methods.configs import ElaLoRAConfig
from flexlora.policies import decided, find_policy
from flexlora.rank_targets import keep_best
from flexlora.session import Session
from flexlora.smoothing import SmoothedSensitivity
from flexlora.study.worker import perform

SMALL = {
    "width": 6, "layers": 2, "true_rank": 2, "initial_rank": 2, "batch_size": 16, "interval": 2, "save_adapter": False,
    "eval_interval": 100,
}  # fmt: skip


def test_a_rule_moves_what_its_method_would_on_the_same_observations():
    rng, compared = np.random.default_rng(3), []
    for _ in range(20):
        own = {name: rng.random(rng.integers(1, 5)) for name in "abcdef"}
        limits = dict.fromkeys(own, 6)
        ranks = {name: len(values) for name, values in own.items()}
        total, budget = sum(ranks.values()), int(rng.integers(1, 4))

        def moved(key: str, array: str, own, limits=limits, ranks=ranks, budget=budget) -> tuple:
            _, plan = decided(find_policy(key), {array: own, "limits": limits}, ranks, budget, limits)
            assert plan is not None
            return plan.prune, plan.extend

        masks, _ = keep_best(list(own.values()), total - budget)
        gone = {name: int((~mask).sum()) for name, mask in zip(own, masks, strict=True)}
        for key, array in (("adalora_rule", "smoothed_sensitivities"), ("dora_dynamic_rule", "smoothed_shares")):
            prune, extend = moved(key, array, own)
            # A policy never takes the last direction; where AdaLoRA's order would, the next one goes.
            if all(gone[name] < ranks[name] for name in own):
                compared.append(key)
                assert {name: prune.count(name) for name in own} == gone
            highest = max(own, key=lambda name: own[name].max())
            assert extend[0] == highest and len(prune) == len(extend) <= budget
        slots = {name: list(range(len(values))) for name, values in own.items()}
        taken, given = pool_ends(own, slots, limits, ElaLoRAConfig(total_steps=9).pool, budget)
        pooled = ([entry[1] for entry in taken], [entry[1] for entry in given])
        assert moved("elalora_rule", "smoothed_sensitivities", own) == tuple(map(tuple, pooled))
        # Where as many λ are at zero as may move, they are what L1RA prunes.
        flat = np.sort(np.concatenate(list(own.values())))
        own = {name: np.where(values < flat[budget], 0.0, values) for name, values in own.items()}
        low, extend = at_zero(own, limits, 1e-10)
        if len(low) == len(extend) == budget:
            compared.append("l1ra_rule")
            prune, given = moved("l1ra_rule", "lambda", own)
            assert (sorted(prune), list(given)) == (sorted(name for name, _ in low), extend)
    assert min(compared.count(key) for key in ("adalora_rule", "dora_dynamic_rule", "l1ra_rule")) >= 5


def test_smoothed_arrays_are_those_of_the_methods_and_survive_a_checkpoint(tmp_path):
    settings = {**SMALL, "policy": "adalora_rule", "interval": 3}
    session = Session(build_job("planted", steps=24, settings=settings))
    own = SmoothedSensitivity(session.adapter, 0.85, 0.85)
    moved = 0
    for step in range(1, 13):
        session.train_step(step)
        own.update()
        found = session.dynamics.allocator.smoothed["smoothed_sensitivities"].scores()
        assert all(np.array_equal(score, found[name]) for name, score in own.scores().items())
        if session.is_event(step):
            event = session.event(step)
            for move in [*event.prune, *event.extend]:
                own.forget(move["matrix"], move["slot"])
            moved += len(event.prune)
        session.finish_step()
    assert moved > 2 and len(found) == 6
    save_checkpoint(session, tmp_path, 12, {})
    other = Session(session.job)
    load_checkpoint(other, tmp_path)
    one, two = (s.dynamics.allocator.smoothed["smoothed_sensitivities"].tensors() for s in (session, other))
    assert one.keys() == two.keys() and all(torch.equal(part, two[name]) for name, part in one.items())


def test_what_is_smoothed_is_the_same_in_a_farm(tmp_path):
    for key in ("adalora_rule", "dora_dynamic_rule"):
        jobs = [build_job("planted", steps=20, seed=seed, settings={**SMALL, "policy": key}) for seed in (0, 1)]
        perform(jobs, [tmp_path / f"{key}-{seed}" for seed in (0, 1)])
        perform(jobs[1:], [tmp_path / f"{key}-alone"])
        farmed, alone = (load_run(tmp_path / f"{key}-{name}") for name in ("1", "alone"))
        assert sum(len(event["prune"]) for event in alone.events) > 3
        assert [event["prune"] for event in farmed.events] == [
            [{**move, "singular_value": pytest.approx(move["singular_value"])} for move in event["prune"]]
            for event in alone.events
        ]

"""Lesson 6: what one run, eight seeds and three controls allow to say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from analysis.lessons.material import PLAIN, RUN, Material
from analysis.lessons.words import ends_of, percent, signed
from analysis.metrics import active_parameters, final_parameters, total_rank
from analysis.runs import Run
from analysis.statistics import compare_pairs, verdict
from analysis.study import Compared, StudyTable


def facts(lab: Material) -> dict[str, Any]:
    """Return the numbers of the lesson."""
    run, plain = lab.run(RUN), lab.run(PLAIN)
    table, compared = lab.study()
    of = {one.variant: one for one in compared}
    flex, random, cut, lora = (of[name] for name in ("FlexLoRA", "random moves", "train big, then cut", "LoRA"))
    seeds = sorted({row["seed"] for row in table.rows})
    accuracy = {
        name: [next(r[flex.metric] for r in table.rows if r["variant"] == name and r["seed"] == seed) for seed in seeds]
        for name in ("LoRA", "FlexLoRA")
    }
    differences = [one - other for one, other in zip(accuracy["FlexLoRA"], accuracy["LoRA"], strict=True)]
    tests, right = _test(run)
    return {
        "run": RUN,
        "plain": PLAIN,
        "last": int(run.steps[-1]),
        "flex_accuracy": _accuracy(run),
        "plain_accuracy": _accuracy(plain),
        "tested": tests,
        "flex_right": right,
        "plain_right": _test(plain)[1],
        "right_bars": [_test(plain)[1] / tests, right / tests],
        "right_labels": ["LoRA", "FlexLoRA"],
        "direction_total": int(total_rank(plain)[-1]),
        "seeds": len(seeds),
        "study_task": flex.task,
        "study_steps": table.rows[0]["steps"],
        "rank_total": int(total_rank(run)[-1]),
        "study_rank": f"{flex.spent['final_rank']:.0f}",
        **_said("flex", flex),
        **_said("random", random),
        **_said("cut", cut),
        **(over := _over_random(table, flex.metric, seeds)),
        "margin": table.summary["margin"],
        "lora_parameters": f"{lora.spent['final_parameters']:,.0f}",
        "flex_parameters": f"{flex.spent['final_parameters']:,.0f}",
        "event_parameters": f"{int(active_parameters(run)[run.record_at(ends_of(run)[0]) + 1]):,}",
        "run_parameters": f"{final_parameters(run):,}",
        "plain_parameters": f"{final_parameters(plain):,}",
        "parameter_bars": [one.spent["final_parameters"] for one in (lora, flex)],
        "run_bars": [final_parameters(one) for one in (plain, run)],
        "run_labels": ["LoRA", "FlexLoRA"],
        "run_top": 1.15 * max(final_parameters(one) for one in (plain, run)),
        "run_more": percent(final_parameters(run) / final_parameters(plain) - 1),
        "half": len(seeds) // 2,
        "wins": sum(difference > 0 for difference in differences),
        "ties": sum(difference == 0 for difference in differences),
        "losses": sum(difference < 0 for difference in differences),
        "seed_points": 100 * (max(differences) - min(differences)),
        "best_seed": signed(max(differences), 3),
        "worst_seed": signed(min(differences), 3),
        "seed_bars": [{"label": f"seed {seed}", "mean": value} for seed, value in zip(seeds, differences, strict=True)],
        "forest": (rows := [_row(one) for one in (flex, random, cut)]),
        "forest_all": [{**row, "label": f"{row['label']} − LoRA"} for row in rows] + [over["over_random_row"]],
        "forest_flex": [_row(flex)],
    }


def _over_random(table: StudyTable, metric: str, seeds: Sequence[int]) -> dict[str, Any]:
    """FlexLoRA minus random moves, seed by seed."""
    by = {(row["variant"], row["seed"]): row[metric] for row in table.rows}
    found = compare_pairs([by["FlexLoRA", seed] - by["random moves", seed] for seed in seeds])
    return {
        "over_random": signed(found.mean, 3),
        "over_random_low": signed(found.low, 3),
        "over_random_high": signed(found.high, 3),
        "over_random_verdict": verdict(found, found.p),
        "over_random_row": {
            "label": "FlexLoRA − random moves", "mean": found.mean, "low": found.low, "high": found.high,
        },
    }  # fmt: skip


def _accuracy(run: Run) -> float:
    return float(run.metrics["test/accuracy"][1][-1])


def _test(run: Run) -> tuple[int, int]:
    """How many examples the last test had, and how many of them were right."""
    samples = int([record for record in run.evals if record["split"] == "test"][-1]["samples"])
    return samples, round(_accuracy(run) * samples)


def _row(one: Compared) -> dict[str, Any]:
    assert one.pairs is not None
    return {"label": one.variant, "mean": one.pairs.mean, "low": one.pairs.low, "high": one.pairs.high}


def _said(name: str, one: Compared) -> dict[str, Any]:
    assert one.pairs is not None
    return {
        f"{name}_difference": signed(one.pairs.mean, 3),
        f"{name}_low": signed(one.pairs.low, 3),
        f"{name}_high": signed(one.pairs.high, 3),
        f"{name}_detectable": f"{one.pairs.detectable:.3f}",
        f"{name}_verdict": one.verdict,
        f"{name}_p": f"{one.adjusted_p:.2f}",
    }

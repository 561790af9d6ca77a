"""``plan_study``: every run of a study as a job, its place and its labels; counted before anything is built."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flexlora.errors import FlexLoRAError
from flexlora.job import Job, build_job
from flexlora.methods import METHODS
from flexlora.study import fields
from flexlora.study.spaces import points
from flexlora.study.spec import Axis, Entry, Study, TaskEntry

MAX_SLUG = 100


@dataclass(frozen=True)
class Variant:
    """One thing that is compared with others, on one task.

    Attributes:
        task: entry of the study.
        entry: its method.
        label: what tells it from the others that it is compared with.
        cell: values of the axes within which is compared, as text; "" without any.
        settings: of all levels together, but those of a seed.
        axes: axis → value.
    """

    task: TaskEntry
    entry: Entry
    label: str
    cell: str
    settings: Mapping[str, Any]
    axes: Mapping[str, Any]

    @property
    def title(self) -> str:
        """How it is named in messages."""
        return " · ".join(part for part in (self.label, self.cell, self.task.name) if part)

    @property
    def group(self) -> tuple[str, str]:
        """Task and cell: variants are compared with those of the same group."""
        return self.task.name, self.cell


@dataclass(frozen=True)
class Planned:
    """One run.

    Attributes:
        name: of its folder.
        variant: what it is a run of.
        seed: its seed.
        job: what to train.
    """

    name: str
    variant: Variant
    seed: int
    job: Job


@dataclass(frozen=True)
class Plan:
    """All that a study makes.

    Attributes:
        study: the file.
        variants: in order: tasks, cells, entries and their axes.
        trials: runs of the search, in order of variant, trial and seed; empty without one.
        chosen: per variant, what each trial sets.
    """

    study: Study
    variants: tuple[Variant, ...]
    trials: tuple[Planned, ...]
    chosen: tuple[tuple[dict[str, Any], ...], ...]

    def runs(self, choices: Sequence[Mapping[str, Any]] | None = None) -> list[Planned]:
        """Return the runs that are compared, seed by seed, so that a study that stops early has whole pairs.

        Args:
            choices: what the search chose for each variant; None = nothing was searched.
        """
        named = _named(self.variants)
        found = []
        for seed in self.study.seeds:
            for place, variant in enumerate(self.variants):
                own = {} if choices is None else choices[place]
                job = _job(self.study, variant, seed, own)
                found.append(Planned(f"{named[place]}-s{seed}", variant, seed, job))
        return found

    def groups(self) -> dict[tuple[str, str], list[Variant]]:
        """Return (task, cell) → its variants, in order."""
        found: dict[tuple[str, str], list[Variant]] = {}
        for variant in self.variants:
            found.setdefault(variant.group, []).append(variant)
        return found

    def reference(self, group: tuple[str, str]) -> Variant:
        """Return the variant against which the others of a group stand."""
        own = self.groups()[group]
        return next((v for v in own if v.label == self.study.reference), own[0])


def plan_study(study: Study) -> Plan:
    """Expand a study and check each job.

    Raises:
        FlexLoRAError: too many runs, two variants that are the same, an option that does not belong to a method, a
            value that cannot work; each names the variant.
    """
    _check_count(study)
    variants = tuple(_variants(study))
    if study.reference is not None:
        labels = dict.fromkeys(variant.label for variant in variants)
        if study.reference not in labels:
            raise FlexLoRAError(f"reference {study.reference!r} is no variant. Variants: {'; '.join(labels)}.")
    chosen = tuple(_trial_settings(study, variant) for variant in variants)
    plan = Plan(study, variants, _trials(study, variants, chosen), chosen)
    # A trial's settings stand for the choice, which is not made yet; what else is wrong with a job shows all the same.
    _refuse_twins(plan.runs([own[0] if own else {} for own in chosen]), study)
    return plan


def _check_count(study: Study) -> None:
    def size(axes: Sequence[Axis]) -> int:
        return math.prod(len(axis.points) for axis in axes)

    variants = len(study.tasks) * size(study.axes) * sum(size(entry.axes) for entry in study.entries)
    tries = study.tuning.trials * len(study.tuning.seeds) if study.tuning else 0
    runs = variants * (len(study.seeds) + tries)
    if runs > study.limit:
        raise FlexLoRAError(
            f"This study has {runs:,} runs ({variants:,} variants × {len(study.seeds):,} seeds"
            f"{f' and {tries:,} trials' if tries else ''}); the limit is {study.limit:,}. Take something out, or raise "
            "it: limit in the file, or --limit."
        )


def _variants(study: Study) -> Iterator[Variant]:
    kept = [axis for axis in study.axes if axis.name in study.within]
    free = [axis for axis in study.axes if axis.name not in study.within]
    for task in study.tasks:
        for fixed in _combinations(kept):
            cell = ", ".join(f"{axis.name} {label}" for axis, label, _ in fixed)
            for entry in study.entries:
                for varied in _combinations([*free, *entry.axes]):
                    settings = {**study.settings, **task.settings, **entry.settings}
                    for axis, label, _ in (*fixed, *varied):
                        settings |= axis.points[label]
                    label = ", ".join([entry.name, *(f"{axis.name} {label}" for axis, label, _ in varied)])
                    axes = {axis.name: value for axis, _, value in (*fixed, *varied)}
                    yield Variant(task, entry, label, cell, settings, axes)


def _combinations(axes: Sequence[Axis]) -> Iterator[tuple[tuple[Axis, str, Any], ...]]:
    return itertools.product(
        *[[(axis, label, value) for label, value in zip(axis.points, axis.values, strict=True)] for axis in axes]
    )


def _trial_settings(study: Study, variant: Variant) -> tuple[dict[str, Any], ...]:
    if study.tuning is None:
        return ()
    method = variant.entry.method
    option, space = study.tuning.knobs.get(method, (None, None))
    for tuned in ("learning_rate", option):
        if tuned in variant.settings:
            raise FlexLoRAError(f"{variant.title} sets {tuned}, which is tuned: leave it out, or do not tune it.")
    found = []
    for rate, knob in points(study.tuning.rates[method], space, study.tuning.trials):
        found.append({"learning_rate": rate} | ({} if option is None else {option: knob}))
    twin = next((one for one, other in itertools.combinations(found, 2) if one == other), None)
    if twin is not None:
        raise FlexLoRAError(
            f"{study.tuning.trials} trials of {variant.title} would try {twin} twice. Give learning_rate as a range, "
            "or as many values as trials."
        )
    return tuple(found)


def _trials(
    study: Study, variants: Sequence[Variant], chosen: Sequence[Sequence[Mapping[str, Any]]]
) -> tuple[Planned, ...]:
    if study.tuning is None:
        return ()
    # What a choice rests on must not have seen the test split.
    blind = {"evaluate_test": False, "save_adapter": False}
    named = _named(variants)
    found = []
    for place, variant in enumerate(variants):
        for number, own in enumerate(chosen[place]):
            for seed in study.tuning.seeds:
                job = _job(study, variant, seed, {**own, **blind}, seeded=False)
                found.append(Planned(f"{named[place]}-t{number:02}-s{seed}", variant, seed, job))
    return tuple(found)


def _job(study: Study, variant: Variant, seed: int, own: Mapping[str, Any], *, seeded: bool = True) -> Job:
    settings = {**variant.settings, **own, **(variant.entry.by_seed.get(seed, {}) if seeded else {})}
    method = METHODS[variant.entry.method]
    steps, preset, rank = (settings.pop(key, None) for key in fields.OWN_SETTINGS[1:] + fields.OWN_SETTINGS[:1])
    if rank is not None:
        # What counts is the rank in the end; a method that only prunes starts above it.
        settings["target_rank" if "target_rank" in method.options else "initial_rank"] = rank
    try:
        if steps is not None:
            fields.whole(steps, "steps", 1)
        return build_job(variant.task.task, method.name, preset, steps, seed, settings)
    except FlexLoRAError as error:
        raise FlexLoRAError(f"{variant.title}: {error}") from error


def _refuse_twins(runs: Sequence[Planned], study: Study) -> None:
    seen: dict[str, Variant] = {}
    for run in runs:
        # What a trial would set is no part of what makes two variants differ: both would be tuned alike.
        content = json.dumps(run.job.to_dict(), sort_keys=True)
        other = seen.setdefault(content, run.variant)
        if other is not run.variant:
            raise FlexLoRAError(
                f"{run.variant.title} and {other.title} are the same run in every option. Take one of them out."
            )


def _named(variants: Sequence[Variant]) -> list[str]:
    """Return a folder name for each variant: readable, and different where labels differ in signs only."""
    plain = [_slug(variant) for variant in variants]
    return [
        name if plain.count(name) == 1 and len(name) <= MAX_SLUG else f"{name[:MAX_SLUG]}-{_digest(variant)}"
        for name, variant in zip(plain, variants, strict=True)
    ]


def _slug(variant: Variant) -> str:
    text = "-".join(part for part in (variant.task.name, variant.cell, variant.label) if part)
    return re.sub(r"[^A-Za-z0-9.]+", "-", text.lower()).strip("-.") or "run"


def _digest(variant: Variant) -> str:
    return hashlib.sha256("\0".join((*variant.group, variant.label)).encode()).hexdigest()[:8]

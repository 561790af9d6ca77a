"""TensorBoard event files of AdaLoRA.

Producer: ``RankAllocator.mask_to_target_rank`` and ``_maybe_tb_writter_log`` in loralib/loralib/adalora.py of
github.com/QingruZhang/AdaLoRA, through ``SummaryWriter.add_scalar``. At every logging interval at which directions are
masked: ``Ranknum/<parameter>.lora_E``, the directions of a matrix *after* the masking; ``Budget/total_rank``,
``Budget/mask_threshold``, ``Budget/sum_param``; ``train/orth_regu_loss``. The Hugging Face Trainer adds ``train/loss``,
``train/learning_rate``, ``eval/...`` and ``test/...``. λ is not logged.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from analysis.importers.errors import LogImportError
from analysis.importers.event_file import FILE_MARK, begins_like_events, event_files, scalars_of
from analysis.importers.history import MAX_RANK, MAX_STEP, RankHistory
from analysis.outside import listed, shown

Series: TypeAlias = dict[str, list[tuple[int, float]]]

RANK = "Ranknum/"
SEAL = "Budget/total_rank"
"""Written after the ranks of all matrices: a step that has it is whole, wherever the file was cut."""
BUDGET = ("total_rank", "mask_threshold", "sum_param")
SCALARS = {"train/loss": "loss", "train/learning_rate": "learning_rate", "train/orth_regu_loss": "regularizer"}
"""Tag → field of ``RunWriter.step``. ``train/loss`` is the mean since the Trainer last logged, regulariser included."""
SPLITS = ("eval", "test")
_SPEED = ("runtime", "_per_second", "epoch", "mem_", "preparation_time")
FORMAT = f"AdaLoRA's RankAllocator writes the tags {RANK}<matrix>.lora_E when it is given a tb_writter."


def is_adalora_log(path: Path) -> bool:
    """Tell whether a file holds TensorBoard events, by name or content; a folder, whether such a file is below it."""
    if path.is_dir():
        return bool(event_files(path))
    return FILE_MARK in path.name or begins_like_events(path)


def read_adalora_log(path: Path) -> RankHistory:
    """Read the event files of one AdaLoRA run: a file, or the folder that holds those of one run, perhaps in one below.

    Where steps of a tag go back, training was resumed or begun anew: earlier values from that step on are void, as in
    TensorBoard. A record cut at the end of a file is left out. Both are told.

    Raises:
        LogImportError: no event file, more than one run, or no ranks in it.
    """
    files = event_files(path) if path.is_dir() else [path]
    folders = sorted({file.parent.relative_to(path).as_posix() for file in files}) if path.is_dir() else []
    if len(folders) > 1:
        raise LogImportError(f"{path} holds event files in {listed(folders)}. Give the folder of one run.")
    notices: list[str] = []
    series, void = _collect(files, notices)
    tags = [tag for tag in series if tag.startswith(RANK) and len(tag) > len(RANK)]
    if not tags:
        raise LogImportError(f"{path.name} has the tags {listed(list(series)) or 'none'}. {FORMAT}")
    if any(void.get(tag) for tag in tags):
        notices.append(
            f"Steps of {tags[0]} go back: resumed or begun anew, so {max(void[tag] for tag in tags)} earlier values of "
            "a tag are left out."
        )
    steps, ranks = _ranks(series, tags, notices)
    _tell_the_rest(series, notices)
    return RankHistory(
        "adalora",
        files,
        [tag.removeprefix(RANK) for tag in tags],
        steps,
        ranks,
        complete=False,
        scalars=_scalars(series),
        evals=_evals(series),
        notes=_budgets(series, dict(zip(steps.tolist(), ranks.sum(axis=1).tolist(), strict=True)), notices),
        notices=notices,
    )


def _collect(files: list[Path], notices: list[str]) -> tuple[Series, dict[str, int]]:
    """Return tag → (step, value), ascending, and tag → how many values were void."""
    series: Series = defaultdict(list)
    void: dict[str, int] = defaultdict(int)
    for file in files:
        for step, tag, value in scalars_of(file, notices):
            if not 0 <= step <= MAX_STEP:
                raise LogImportError(f"{file.name} has step {step} at {shown(tag)}; 0 to {MAX_STEP} are possible.")
            own = series[tag]
            while own and own[-1][0] >= step:
                own.pop()
                void[tag] += 1
            own.append((step, value))
    return series, void


def _ranks(series: Series, tags: list[str], notices: list[str]) -> tuple[np.ndarray, np.ndarray]:
    found: dict[int, dict[str, int]] = defaultdict(dict)
    for tag in tags:
        for step, value in series[tag]:
            # Not `value > MAX_RANK`: NaN must be refused too.
            if not 0 <= value <= MAX_RANK or value != int(value):
                raise LogImportError(
                    f"{shown(tag)} is {value} at step {step}; a rank is a whole number, 0 to {MAX_RANK}."
                )
            found[step][tag] = int(value)
    sealed = {step for step, _ in series.get(SEAL, ())}
    if not sealed:
        notices.append(f"{SEAL} was not logged: whether every matrix was is unknown.")
    whole = sorted(s for s, own in found.items() if len(own) == len(tags) and (s in sealed or not sealed))
    if not whole:
        raise LogImportError(f"No step has a rank for each of the {len(tags)} matrices and {SEAL}. {FORMAT}")
    part = sorted(set(found) - set(whole))
    if part:
        notices.append(
            f"{len(part)} steps lack the rank of some matrix or {SEAL} and are left out, the first is step {part[0]}."
        )
    table = np.array([[found[step][tag] for tag in tags] for step in whole], np.int64)
    return np.array(whole, np.int64), table


def _scalars(series: Series) -> dict[int, dict[str, float]]:
    found: dict[int, dict[str, float]] = defaultdict(dict)
    for tag, name in SCALARS.items():
        for step, value in series.get(tag, ()):
            found[step][name] = value
    return dict(found)


def _evals(series: Series) -> list[tuple[int, str, dict[str, float]]]:
    found: dict[tuple[int, str], dict[str, float]] = defaultdict(dict)
    for tag, points in series.items():
        if _is_metric(tag):
            split, _, metric = tag.partition("/")
            for step, value in points:
                found[step, split][metric] = value
    return [(step, split, metrics) for (step, split), metrics in sorted(found.items())]


def _budgets(series: Series, totals: dict[int, int], notices: list[str]) -> list[dict[str, Any]]:
    """Return a note for each masking that was logged, with what it reports of itself."""
    found: dict[int, dict[str, Any]] = defaultdict(dict)
    for name in BUDGET:
        for step, value in series.get(f"Budget/{name}", ()):
            found[step][name] = value
    wrong = [s for s, own in found.items() if s in totals and own.get("total_rank", totals[s]) != totals[s]]
    if wrong:
        notices.append(
            f"Budget/total_rank is not the sum of the ranks at {len(wrong)} steps, the first is step {min(wrong)}: "
            "the ranks are kept."
        )
    return [{"kind": "masked", "step": step, **own} for step, own in sorted(found.items())]


def _is_metric(tag: str) -> bool:
    split, _, metric = tag.partition("/")
    return split in SPLITS and bool(metric) and not any(word in metric for word in _SPEED)


def _tell_the_rest(series: Series, notices: list[str]) -> None:
    known = {*SCALARS, *(f"Budget/{name}" for name in BUDGET)}
    rest = [tag for tag in series if tag not in known and not tag.startswith(RANK) and not _is_metric(tag)]
    if rest:
        notices.append(f"{len(rest)} other tags are left out: {listed(rest)}.")

"""A run that the app's playground trained in the browser (app/playground/record.js).

The file tells what a training was through; its truth, names and settings follow from its configuration, and scores from
its λ, as in a run that ``flexlora.train`` makes of the same settings.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from dataclasses import fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from analysis.importers.errors import Imported, LogImportError
from analysis.importers.history import fingerprint
from analysis.importers.mapping import FIELDS, Row, matrix_table
from analysis.outside import new_folder, shown
from flexlora.config import FlexLoRAConfig
from flexlora.edits import apply_edit
from flexlora.errors import FlexLoRAError
from flexlora.importance import IMPORTANCES, SCORED_BY_LAMBDA, score_all
from flexlora.job import Job, build_job, command_line
from flexlora.matrix_names import describe_matrix
from flexlora.planted import Planted, PlantedSize
from flexlora.planted.info import HELD_OUT, model_name, task_info
from flexlora.policies import find_policy, started
from flexlora.run_log import RunWriter

KIND = "playground"
VERSION = 1
START = b'{"flexlora_playground":'
MAX_BYTES = 1 << 28
MAX_STEPS, MAX_WEIGHTS = 100_000, 20_000_000
"""What a browser could have trained; a file may claim more, and would cost the memory of it."""
_FAULTS = (KeyError, IndexError, TypeError, ValueError, OverflowError, AttributeError)
_REMEDY = "Save it in the playground anew."


def is_playground(path: Path) -> bool:
    """Tell whether a file begins like one that the playground saves."""
    if path.is_dir():
        return False
    with path.open("rb") as file:
        return file.read(len(START)) == START


def playground_rows(path: Path) -> list[Row]:
    """Return the matrices of the run as rows of a mapping.

    Raises:
        LogImportError: no run of the playground.
    """
    return _Told(path).rows


def import_playground(path: Path, out: Path, mapping: Iterable[Mapping[str, Any]] | None) -> Imported:
    """Turn a file of the playground into a run folder.

    Raises:
        LogImportError: no run of the playground, one that contradicts itself, a mapping, or ``out`` is taken.
    """
    told = _Told(path)
    if mapping is not None and [dict(row) for row in mapping] != told.rows:
        raise LogImportError("A run of the playground knows its matrices: leave the mapping out.")
    with new_folder(out, LogImportError) as folder:
        try:
            told.write(folder, Path(out).name)
        except _FAULTS as error:
            raise LogImportError(f"{path.name} is damaged: {shown(str(error))}. {_REMEDY}") from error
    return Imported(Path(out), KIND, len(told.rows), told.done + 1, ())


class _Told:
    """The content of a file, checked as far as it is asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if (size := path.stat().st_size) > MAX_BYTES:
            raise LogImportError(f"{path.name} has {size >> 20} MiB; at most {MAX_BYTES >> 20} MiB are read.")
        try:
            self.content = json.loads(path.read_bytes())
            version, settings = self.content["flexlora_playground"], dict(self.content["settings"])
            self.done = int(self.content["done"])
        except (*_FAULTS, RecursionError) as error:
            raise LogImportError(f"{path.name} is no whole run of the playground: {error}. {_REMEDY}") from error
        if version != VERSION:
            raise LogImportError(f"{path.name} has version {shown(version)}; this Lab reads version {VERSION}.")
        try:
            _check_size(settings)
            self.job = job_of(settings)
            self.planted = _planted(self.job)
        except (FlexLoRAError, *_FAULTS) as error:
            raise LogImportError(f"{path.name} has settings that cannot be: {error}") from error
        if not 0 <= self.done <= self.job.steps:
            raise LogImportError(f"{path.name} tells of {self.done} steps of {self.job.steps}. {_REMEDY}")

    @cached_property
    def rows(self) -> list[Row]:
        found = []
        for name, (out, inside) in zip(self.planted.size.names, self.planted.size.shapes, strict=True):
            layer, kind = describe_matrix(name)
            values = (name, name, layer, kind, inside, out)
            found.append(dict(zip(FIELDS, values, strict=True)))
        return found

    def write(self, folder: Path, name: str) -> None:
        """Write the run folder."""
        job, names = self.job, self.planted.size.names
        config = job.config
        assert isinstance(config, FlexLoRAConfig)
        start = self._start(config)
        ranks = self._array("ranks", np.uint8, (self.done + 1, len(names))).astype(np.int64)
        self._follow(ranks, start["ranks"] if start else dict.fromkeys(names, config.initial_rank))
        total = ranks.sum(axis=1)
        spectra = np.split(self._array("values", np.float32, (int(total.sum()),)), np.cumsum(total)[:-1])
        scalars = {key: self._array(key, kind, (self.done,)) for key, kind in _SCALARS.items()}
        true = {
            int(record): self._decoded("true_values", text, np.float32) for record, text in self._list("true_values")
        }
        by_step = {key: self._by_step(key) for key in ("events", "evaluations", "edits")}
        with RunWriter(folder, self._header(name, start), flush_interval_s=60.0, flush_events=False) as writer:
            for step in range(self.done + 1):
                parts = np.cumsum(ranks[step])[:-1]
                own = dict(zip(names, np.split(spectra[step], parts), strict=True))
                sigma = dict(zip(names, np.split(true[step], parts), strict=True)) if step in true else None
                if step == 0 and start:
                    writer.note("initial_ranks", step=0, **start)
                if step:
                    _write_step(writer, step, scalars, config.regularization_weight)
                writer.spectrum(step, list(own.values()), None if sigma is None else list(sigma.values()))
                for event in by_step["events"].get(step, ()):
                    writer.event(**_event(event, own, sigma, config))
                for found in by_step["evaluations"].get(step, ()):
                    metrics = {"loss": float(found["loss"]), "distance": float(found["distance"])}
                    writer.eval(step, found["split"], metrics, samples=HELD_OUT[found["split"]])
                for edit in by_step["edits"].get(step, ()):
                    config = _edited(writer, step, config, edit["changes"])
            finished = self.done == job.steps
            writer.end("completed" if finished else "stopped", None if finished else "Saved before its last step.")

    def _header(self, name: str, start: Mapping[str, Any] | None) -> dict[str, Any]:
        job = self.job
        return {
            "name": name,
            "method": job.method,
            "preset": job.config.preset,
            "task": job.task,
            "config": job.to_dict(),
            "model": model_name(self.planted),
            "data": task_info(self.planted, getattr(job.loop, "scenario", None) or "agree"),
            "matrices": matrix_table(self.rows),
            "seed": job.config.seed,
            "command": command_line(job, Path("runs") / name),
            "device": "browser",
            "source": {"kind": KIND, "files": [fingerprint(self.path)]},
            **({"initial_ranks": start} if start else {}),
        }

    def _start(self, config: FlexLoRAConfig) -> dict[str, Any] | None:
        """Return what a policy gives before training, as a log tells it; None = initial_rank each."""
        policy = None if config.policy is None else find_policy(config.policy)
        if policy is None or policy.kind != "start":
            return None
        names, width = self.planted.size.names, self.planted.size.width
        limits = dict.fromkeys(names, min(width, config.max_rank or width))
        arrays = {"limits": limits, "truth": dict(zip(names, self.planted.truth.ranks, strict=True))}
        ranks, scores = started(policy, arrays, config.initial_rank * len(names), limits)
        return {"policy": policy.key, "ranks": ranks, "scores": scores, "batches": 0}

    def _follow(self, ranks: np.ndarray, first: Mapping[str, int]) -> None:
        """See that the ranks of every record are those of the one before it, with the moves of the event between."""
        now, names = dict(first), self.planted.size.names
        events = self._by_step("events")
        for step in range(self.done + 1):
            if ranks[step].tolist() != list(now.values()):
                raise ValueError(f"ranks at step {step} are not those that the moves before it leave")
            for event in events.get(step, ()):
                for half, change in (("prune", -1), ("extend", 1)):
                    for move in event[half]:
                        if move["matrix"] not in names:
                            raise ValueError(f"no matrix {move['matrix']}")
                        now[move["matrix"]] += change

    def _by_step(self, key: str) -> dict[int, list[dict[str, Any]]]:
        found: dict[int, list[dict[str, Any]]] = {}
        for item in self._list(key):
            found.setdefault(int(item["step"]), []).append(item)
        return found

    def _list(self, key: str) -> list[Any]:
        if not isinstance(self.content.get(key), list):
            raise ValueError(f"{key} is no list")
        return self.content[key]

    def _array(self, key: str, kind: type, shape: tuple[int, ...]) -> np.ndarray:
        found = self._decoded(key, self.content.get(key), kind)
        if found.size != np.prod(shape):
            raise ValueError(f"{key} has {found.size} numbers, not {int(np.prod(shape))}")
        return found.reshape(shape)

    def _decoded(self, key: str, text: Any, kind: type) -> np.ndarray:
        try:
            return np.frombuffer(base64.b64decode(text, validate=True), np.dtype(kind).newbyteorder("<"))
        except (binascii.Error, TypeError) as error:
            raise ValueError(f"{key} is no base64 of numbers: {error}") from error


_SCALARS = {"losses": np.float64, "regularizers": np.float64, "rates": np.float64, "budgets": np.int32}


def job_of(settings: Mapping[str, Any]) -> Job:
    """Return the job with the playground's settings, which have the names of the configuration.

    Raises:
        FlexLoRAError: a setting that is not known or cannot be.
    """
    own = {key: value for key, value in settings.items() if value is not None}
    steps, seed, preset = int(own.pop("steps")), int(own.pop("seed", 0)), own.pop("preset", None)
    own["points"] = tuple(map(tuple, own.get("points", ())))
    return build_job("planted", "flexlora", preset, steps, seed, own)


def _check_size(settings: Mapping[str, Any]) -> None:
    steps, width = int(settings["steps"]), int(settings.get("width") or PlantedSize.width)
    layers = int(settings.get("layers") or PlantedSize.layers)
    if steps > MAX_STEPS:
        raise FlexLoRAError(f"{steps:,} steps; at most {MAX_STEPS:,} are read.")
    if 5 * width * width * layers > MAX_WEIGHTS:
        raise FlexLoRAError(
            f"a network of width {width:,} and {layers:,} layers has more than {MAX_WEIGHTS:,} weights."
        )


def _planted(job: Job) -> Planted:
    loop = job.loop
    size = PlantedSize(**{key: getattr(loop, key) for key in ("width", "layers", "true_rank", "noise")})
    return Planted(loop.scenario or "agree", job.config.seed, size, loop.profile)


def _write_step(writer: RunWriter, step: int, scalars: Mapping[str, np.ndarray], weight: float) -> None:
    loss, regularizer, rate, budget = (float(own[step - 1]) for own in scalars.values())
    whole = loss + weight * regularizer
    writer.step(step, loss, regularizer, whole, learning_rate=rate, budget=int(budget))


def _event(
    told: Mapping[str, Any], own: Mapping[str, Any], sigma: Mapping[str, Any] | None, config: FlexLoRAConfig
) -> dict[str, Any]:
    """Return an event as ``RunWriter.event`` takes it."""
    names, measure = list(own), str(told["measure"])
    importance = score_all(own, SCORED_BY_LAMBDA, config.epsilon)
    importance["sensitivity"] = dict(zip(names, told["sensitivities"], strict=True))
    if sigma is not None:
        importance |= score_all(sigma, ("true_spectral_entropy",))
    given = dict(zip(names, told["importances"], strict=True))
    importance = {key: importance[key] for key in IMPORTANCES if key in importance} | (
        {} if measure in importance else {measure: given}
    )
    decided = dict(zip(names, told["decided"], strict=True))
    adaptive = told.get("adaptive")
    return {
        "step": int(told["step"]),
        "budget": int(told["budget"]),
        "measure": measure,
        "importance": importance,
        "decided": {name: value for name, value in decided.items() if value != given[name]},
        "prune": told["prune"],
        "extend": told["extend"],
        "refused": dict(told["refused"]),
        "rules": told["rules"],
        **({} if adaptive is None else {"adaptive": {key: adaptive[key] for key in adaptive if key != "budget"}}),
    }


def _edited(writer: RunWriter, step: int, config: FlexLoRAConfig, changes: Mapping[str, Any]) -> FlexLoRAConfig:
    edited = apply_edit(config, changes)
    assert isinstance(edited, FlexLoRAConfig)
    before, after = config.to_dict(), edited.to_dict()
    changed = [item.name for item in fields(edited) if before[item.name] != after[item.name]]
    old, new = ({key: own[key] for key in changed} for own in (before, after))
    writer.note("edited", step=step, old=old, new=new)
    return edited

"""``run_job``: train one job, write its log, obey its controls."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError

from flexlora.adapter_config import AdapterConfig
from flexlora.checkpoint import load_checkpoint, remove_checkpoint, save_checkpoint
from flexlora.controls import Controls
from flexlora.edits import Edits, apply_edit, logged_edits
from flexlora.errors import FlexLoRAError
from flexlora.job import Job, command_line
from flexlora.policies import find_policy
from flexlora.run_header import matrix_table, versions
from flexlora.run_log import RunLogError, RunWriter, disk, glance_run, refuse_beside_writer
from flexlora.session import Session, StepResult, TrainingFailed
from flexlora.tally import Tally, count_moves

CHECKPOINT = "checkpoint"
ADAPTER = "adapter"
FLUSH_INTERVAL_S = 0.4
"""Live views promise two updates a second; the log must reach the disk faster than that."""
FARM_FLUSH_INTERVAL_S = 5.0
"""Many logs at once would keep the disk busy, and nobody watches them all."""
TRUE_SPECTRUM_INTERVAL_S = 0.5

Progress = Callable[[int, StepResult], None]


def run_job(
    job: Job,
    folder: str | Path,
    *,
    controls: Controls | None = None,
    resume: bool = False,
    parent: str | None = None,
    progress: Progress | None = None,
    edits: Edits | None = None,
    report: Callable[[str], object] | None = None,
) -> dict[str, Any]:
    """Train a job to its end (or until told to stop) and leave a complete run log in ``folder``.

    Args:
        job: what to train.
        folder: run folder; must not hold a run unless ``resume``.
        controls: mailbox for pause, step, stop and live edits; None means run to the end.
        resume: go on from the last whole checkpoint in ``folder`` (from step 0 without one), live edits included.
        parent: name of the run whose configuration this one was edited from.
        progress: called after each step.
        edits: live edits made by a script; those before the step of the checkpoint are in it already.
        report: told in one line each from where a resumed run goes on, and what is odd about checkpoint and data.

    Returns:
        A summary of the whole run: run, state, steps, moved directions, last metrics, wall_s. Seconds are those of all
        starts together, without what was trained after the checkpoint that a later start went on from.

    Raises:
        FlexLoRAError: bad input, or training that cannot go on (the log says why and stays readable).
        RunLogError: the folder cannot be written.
    """
    with opened_run(job, folder, controls=controls, resume=resume, parent=parent, edits=edits, report=report) as run:
        return run.train(progress)


@contextlib.contextmanager
def opened_run(
    job: Job,
    folder: str | Path,
    *,
    controls: Controls | None = None,
    resume: bool = False,
    parent: str | None = None,
    edits: Edits | None = None,
    report: Callable[[str], object] | None = None,
    session: Session | None = None,
    lanes: int = 1,
) -> Iterator[Run]:
    """Build the session of a job, or put it back where its run stood, and open its log; see ``run_job``.

    ``session``: that of the job, where it is built already; ``lanes``: how many runs share this one's steps, see
    ``flexlora.farm``.
    """
    folder, tell = Path(folder), report or (lambda line: None)
    script, logged, start, resume_from = dict(edits or {}), {}, 0, None
    tally, told, damaged = {}, "", []
    if resume:
        refuse_beside_writer(folder)
        logged = logged_edits(glance_run(folder).notes)
    session = session or Session(job)
    for line in session.data.info.get("notices", ()):
        tell(f"data: {line}")
    if resume:
        start, tally, told, damaged = load_checkpoint(session, folder / CHECKPOINT)
        tell(told)
        # From step 0 everything is made anew, the record of step 0 too.
        resume_from = start or -1
        # Edits that were accepted hold, also those whose checkpoint was never written.
        script = {**{step: new for step, new in logged.items() if step > resume_from}, **script}
        if start in logged:
            session.dynamics.config = apply_edit(session.dynamics.config, logged[start])
    script = {step: changes for step, changes in script.items() if step >= start}
    header = _header(session, folder, parent, lanes)
    eager = lanes == 1
    interval = FLUSH_INTERVAL_S if eager else FARM_FLUSH_INTERVAL_S
    with RunWriter(folder, header, resume_from=resume_from, flush_interval_s=interval, flush_events=eager) as writer:
        if damaged:
            writer.note("checkpoint_damaged", step=start, message=told)
        # The log has been rewound behind them: a later start must not find them readable again.
        for path in damaged:
            disk.remove(path)
        yield Run(session, folder, writer, controls or Controls(), start, script, Tally.kept(tally), lanes)


@dataclass
class Run:
    """One pass of the loop over an open log.

    ``train`` is the whole of it. A farm makes the steps itself and calls ``begin``, ``record`` after each step, and
    ``finish``; what goes wrong in them is for ``failed``. Its runs log their share of the seconds.
    """

    session: Session
    folder: Path
    writer: RunWriter
    controls: Controls
    step: int
    script: Edits
    tally: Tally
    lanes: int = 1
    began: float = field(default_factory=time.monotonic)
    saved: float = field(default_factory=time.monotonic)
    true_spectrum_at: float = 0.0

    def train(self, progress: Progress | None) -> dict[str, Any]:
        """Make every step that is left, or those until a stop; return the summary of the run."""
        try:
            self.begin()
            while not self.completed and self._may_go_on():
                began = time.perf_counter()
                result = self.session.train_step(self.step + 1)
                self.record(result, time.perf_counter() - began, self.session.memory_bytes())
                self.session.finish_step()
                self.between_steps()
                if progress is not None:
                    progress(self.step, result)
            return self.finish()
        except RunLogError:
            raise
        except BaseException as error:
            self.failed(error)
            raise

    @property
    def completed(self) -> bool:
        """True once the last step is made."""
        return self.step >= self.session.job.steps

    def begin(self) -> None:
        """Log what stands before the first step; nothing in a run that goes on."""
        if self.step == 0:
            # An edit before the first step, in a run that was stopped there: its note belongs to what is made anew.
            self._note_edit(self.session.job.config, self.session.dynamics.config)
            if (start := self.session.trained.start) is not None:
                self.writer.note("initial_ranks", step=0, **start.record())
            self._spectrum(0, complete=True)
            self._evaluate("validation", self.session.job.loop.eval_samples)

    def failed(self, error: BaseException) -> None:
        """Let the log say so, whatever happened: a reader must not mistake it for a run that is still alive."""
        reason = str(error) if isinstance(error, FlexLoRAError) else f"{type(error).__name__}: {error}"
        # An interrupt that comes once the end is written changes nothing about it.
        if not self.writer.closed:
            self.writer.end("failed", message=reason, **self._cost())

    def _may_go_on(self) -> bool:
        """Apply edits and wait while paused; False once a stop was asked for."""
        waited = False

        def pausing() -> None:
            nonlocal waited
            waited = True
            self.writer.note("paused", step=self.step)
            self._save_checkpoint()

        if self.step in self.script:
            self._edit(self.script.pop(self.step))
        while True:
            for changes in self.controls.edits():
                self._edit(changes)
            if self.controls.stopping:
                return False
            if not self.controls.paused:
                if waited:
                    self.writer.note("resumed", step=self.step)
                return True
            self.controls.wait(None if waited else pausing)

    def record(self, result: StepResult, step_s: float, memory: int, own: list[np.ndarray] | None = None) -> None:
        """Log the step that was just made, and let the event follow that is due; gradients are still there.

        Args:
            result: of the step.
            step_s: its seconds; of a farm's step, this run's share.
            memory: bytes in use.
            own: λ of each matrix, where it is known already.
        """
        step = self.step + 1
        event = self.session.is_event(step)
        self.tally.peak_memory_bytes = max(self.tally.peak_memory_bytes, memory)
        weight = self.session.adapter.config.orthogonality[1]
        self.writer.step(
            step,
            task_loss=result.task_loss,
            regularizer=result.regularizer,
            loss=result.task_loss + weight * result.regularizer + (result.penalty or 0.0),
            penalty=result.penalty,
            learning_rate=result.learning_rate,
            budget=self.session.dynamics.budget(step),
            target_rank=self.session.dynamics.target_rank(step),
            samples_per_s=self.session.trained.samples_per_step / step_s,
            step_s=step_s,
            memory_bytes=memory,
        )
        self._spectrum(step, complete=event or step == self.session.job.steps, own=own)
        self.step = step
        most = self.tally.state_bytes
        if event or not most:
            # Before the event: a method may keep less once it has decided.
            found = self.session.dynamics.state_bytes()
            most |= {key: max(value, most.get(key, 0)) for key, value in found.items()}
        if event:
            done = self.session.event(step)
            self.tally.add(done)
            self.writer.event(**done.record())

    def between_steps(self) -> None:
        """Evaluate and keep a checkpoint where due, and tell whoever steers."""
        step, job = self.step, self.session.job
        last = self.completed
        if not last and step % (job.loop.eval_interval or job.steps) == 0:
            self._evaluate("validation", job.loop.eval_samples)
        if not last and time.monotonic() - self.saved >= job.loop.checkpoint_interval_s:
            self._save_checkpoint()
        self.controls.finished_step(self.session.is_event(step))

    def _spectrum(self, step: int, *, complete: bool, own: list[np.ndarray] | None = None) -> None:
        due = time.monotonic() - self.true_spectrum_at >= TRUE_SPECTRUM_INTERVAL_S * self.lanes
        if not complete and step % self.session.job.loop.spectrum_interval:
            return
        true = None
        if complete or due:
            true = list(self.session.dynamics.spectra.at(step).values())
            self.true_spectrum_at = time.monotonic()
        if own is None:
            own = list(self.session.adapter.singular_values().values())
        self.writer.spectrum(step, own, true, self.session.dynamics.gates())

    def _evaluate(self, split: str, samples: int | None, more: Mapping[str, float] | None = None) -> None:
        began = time.perf_counter()
        data = getattr(self.session.data, split)
        metrics = {**self.session.trained.evaluate(data, samples), **(more or {})}
        self.tally.metrics[split] = metrics
        count = min(samples or len(data), len(data))
        self.writer.eval(self.step, split, metrics, samples=count, wall_s=time.perf_counter() - began)

    def _edit(self, changes: Mapping[str, Any]) -> None:
        config = self.session.dynamics.config
        try:
            edited = apply_edit(config, changes)
        except FlexLoRAError as error:
            self.writer.note("edit_refused", step=self.step, values=dict(changes), message=str(error))
            self.writer.flush()
            return
        self.session.dynamics.config = edited
        if self._note_edit(config, edited):
            # Otherwise a run that dies now would resume without the edit.
            self._save_checkpoint()

    def _note_edit(self, config: AdapterConfig, edited: AdapterConfig) -> bool:
        """Log what an edit changed; False when it changed nothing, as when a resumed run has it already."""
        before, after = config.to_dict(), edited.to_dict()
        # What follows from an edited option counts as edited too: a reader has to know what was in force.
        changed = [item.name for item in fields(edited) if before[item.name] != after[item.name]]
        if not changed:
            return False
        self.writer.note(
            "edited",
            step=self.step,
            old={key: before[key] for key in changed},
            new={key: after[key] for key in changed},
        )
        self.writer.flush()
        return True

    def finish(self) -> dict[str, Any]:
        """Evaluate and save, or keep a checkpoint of what is not done; end the log; return a summary."""
        if completed := self.completed:
            self.session.dynamics.finish()
            self._evaluate("validation", None)
            if self.session.job.loop.evaluate_test:
                self._evaluate("test", None, self.session.dynamics.evaluations("test"))
            if self.session.job.loop.save_adapter:
                self._written("adapter", lambda: self.session.adapter.save(self.folder / ADAPTER))
        else:
            self._save_checkpoint()
        state = "completed" if completed else "stopped"
        self.writer.end(state, state_bytes=self.tally.state_bytes or None, **self._cost())
        if completed:
            # Only now: a run that dies before its end is written goes on from it.
            remove_checkpoint(self.folder / CHECKPOINT)
        return {
            "run": str(self.folder),
            "state": state,
            "steps": self.step,
            "total_steps": self.session.job.steps,
            "moved": count_moves(self.tally.pruned, self.tally.extended),
            "pruned": self.tally.pruned,
            "extended": self.tally.extended,
            "total_rank": sum(self.session.adapter.ranks().values()),
            **{
                f"{split}_{name}": value for split, found in self.tally.metrics.items() for name, value in found.items()
            },
            **self._cost(),
        }

    def _cost(self) -> dict[str, Any]:
        return {"wall_s": self._wall_s(), "peak_memory_bytes": self.tally.peak_memory_bytes or None}

    def _wall_s(self) -> float:
        return self.tally.wall_s + (time.monotonic() - self.began) / self.lanes

    def _save_checkpoint(self) -> None:
        tally = {**asdict(self.tally), "wall_s": self._wall_s()}
        folder = self.folder / CHECKPOINT
        self.writer.checkpoint(
            lambda: self._written("checkpoint", lambda: save_checkpoint(self.session, folder, self.step, tally))
        )
        self.saved = time.monotonic()

    def _written(self, what: str, write: Callable[[], object]) -> None:
        try:
            write()
        except (OSError, SafetensorError) as error:
            raise TrainingFailed(
                f"The {what} of step {self.step} could not be written to {self.folder}: {error}. "
                "The log up to here is intact; free some space and resume."
            ) from error


def _header(session: Session, folder: Path, parent: str | None, lanes: int) -> dict[str, Any]:
    job = session.job
    return {
        "name": folder.name,
        "method": job.method,
        "preset": job.config.preset,
        "task": job.task,
        "config": job.to_dict(),
        "model": session.data.model_name,
        "data": session.data.info,
        "matrices": matrix_table(session.adapter),
        "seed": job.config.seed,
        "versions": versions(),
        "command": command_line(job, folder),
        "device": str(session.device),
        "parent": parent,
        **({} if lanes == 1 else {"farm": {"lanes": lanes}}),
        **({} if session.trained.start is None else {"initial_ranks": session.trained.start.record()}),
        **_policy_file(job.config),
    }


def _policy_file(config: AdapterConfig) -> dict[str, Any]:
    """Say which file a policy came from, where it is not one of the package."""
    policy = getattr(config, "policy", None)
    found = None if policy is None else find_policy(policy)
    return {} if found is None or found.file is None else {"policy_file": {"path": found.file, "sha256": found.sha256}}

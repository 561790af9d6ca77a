"""``Farm``: sessions that make each training step together."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from flexlora.farm.passes import Passes
from flexlora.farm.storage import CannotShare, Storage
from flexlora.methods import METHODS
from flexlora.session import Session, StepResult, TrainingFailed


class Farm:
    """Steps of several sessions at once; each remains a session of its own in everything else.

    The draws are those of the ordinary loop, and so are the decisions up to rounding: products over several lanes are
    summed in another order, and attention is computed without fused kernels.

    Attributes:
        sessions: one a lane; those whose step failed leave.
    """

    def __init__(self, sessions: Sequence[Session]) -> None:
        """Take the sessions as they stand: new, or restored from checkpoints of the same step.

        Raises:
            CannotShare: their method does not allow it.
        """
        for session in sessions:
            if not METHODS[session.job.method].farms or not session.trained.adapts:
                raise CannotShare(f"Runs of method {session.job.method} cannot share their steps.")
        if len({session.adapter.config.orthogonality[0] for session in sessions}) > 1:
            raise CannotShare("Runs with different forms of the regulariser cannot share their steps.")
        self.sessions = list(sessions)
        self._storage: Storage | None = None

    def check(self, tolerance: float = 1e-3) -> None:
        """Compute the first batch's losses together and each on its own.

        Raises:
            CannotShare: the model cannot be run for several lanes at once, or gives another loss then.
        """
        batches = [session.data.train.batch(session.rows(1)) for session in self.sessions]
        try:
            together = self._passes().losses(batches).tolist()
        except (RuntimeError, TypeError, ValueError) as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            raise CannotShare(f"The model cannot be run for several runs at once: {error}") from error
        for session, batch, found in zip(self.sessions, batches, together, strict=True):
            with torch.no_grad():
                session.model.train()
                own = float(session.trained.loss({key: part.to(session.device) for key, part in batch.items()}))
            if not math.isclose(own, found, rel_tol=tolerance, abs_tol=tolerance):
                raise CannotShare(f"The model gives {found:.6g} with others and {own:.6g} alone.")

    def train_step(self, step: int) -> list[StepResult | TrainingFailed]:
        """Make optimizer step number ``step`` in every session, as ``Session.train_step`` does.

        Returns:
            One a session, in their order as they were before; one that failed is no longer among ``sessions``.
        """
        sessions = self.sessions
        passes = self._passes()
        rates = [session.set_learning_rate(step) for session in sessions]
        # The first session's model runs for all.
        sessions[0].model.train()
        for session in sessions:
            session.dynamics.before_step(step)
        batches = [session.data.train.batch(session.rows(step)) for session in sessions]
        losses = passes.losses(batches)
        storage = passes.storage
        norms = torch.linalg.vector_norm(storage.gradients, dim=1)
        limits = norms.new_tensor([session.job.loop.max_grad_norm for session in sessions])
        storage.gradients *= (limits / (norms + 1e-6)).clamp(max=1.0).unsqueeze(1)
        regularizers = passes.regularize()
        # One copy: on an accelerator each would be a synchronisation.
        told = torch.stack([losses.double(), norms.double(), regularizers.double()]).cpu().numpy().T.tolist()
        sound = [math.isfinite(loss) and math.isfinite(norm) for loss, norm, _ in told]
        storage.step(np.array(sound))
        found = []
        for session, rate, (loss, norm, regularizer), good in zip(sessions, rates, told, sound, strict=True):
            if good:
                session.dynamics.after_step(step)
                found.append(StepResult(loss, regularizer, None, rate))
            else:
                found.append(session.not_finite(step, loss, norm))
                self.leave(session)
        return found

    def leave(self, session: Session) -> None:
        """Let a session go; its parameters stay as they are."""
        self.sessions = [other for other in self.sessions if other is not session]
        self._storage = None

    def singular_values(self) -> list[list[np.ndarray]]:
        """Return λ of the active directions of each session, one array a matrix; one copy for all."""
        flat = torch.stack([session.adapter.flat_weights() for session in self.sessions]).float().cpu().numpy()
        return [
            list(session.adapter.split_weights(own).values()) for session, own in zip(self.sessions, flat, strict=True)
        ]

    def _passes(self) -> Passes:
        if self._storage is None or not self._storage.whole():
            self._storage = Storage(self.sessions)
            self._made = Passes(self._storage)
        return self._made

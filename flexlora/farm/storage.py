"""``Storage``: the trained parameters of several sessions side by side in one tensor, and their optimizer's step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from flexlora.errors import FlexLoRAError
from flexlora.optimizer_state import correction, replace_parameters
from flexlora.session import Session


class CannotShare(FlexLoRAError):
    """These runs must each make their own steps."""


MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class Leaf:
    """One trained parameter of all lanes.

    Attributes:
        name: in the model.
        shape: of one lane's.
        start: its first column in the storage.
        stop: behind its last.
        row: its first row: a direction's part of P, λ or Q is a row, and so is each parameter of the head.
        rows: number of its rows.
    """

    name: str
    shape: torch.Size
    start: int
    stop: int
    row: int
    rows: int


class Storage:
    """Lanes of trained values, (lanes, columns), of which the parameters of every session are views.

    A session's events, edits and checkpoints work on the views as on tensors of its own. The step of the optimizer is
    AdamW's for all lanes at once, each row with its own age, see ``flexlora.optimizer_state.YoungDirections``.

    Attributes:
        sessions: one a lane.
        leaves: the parameters, in the order of their columns.
        values, gradients, first, second: (lanes, columns); the moments are Adam's.
        counts: steps that Adam has made with each leaf, (lanes, leaves) float32.
        born: the count when each row began, (lanes, rows) float64; NaN for a row as old as its leaf.
        masks: matrix → 1.0 for an active slot, (lanes, capacity).
    """

    def __init__(self, sessions: Sequence[Session]) -> None:
        """Move the sessions' parameters, moments and ages into the storage.

        Raises:
            CannotShare: their parameters differ in number, kind or shape.
        """
        self.sessions = list(sessions)
        _level(self.sessions)
        self._lanes = [_trained(session) for session in self.sessions]
        self.leaves = _leaves(self._lanes)
        columns, rows = self.leaves[-1].stop, self.leaves[-1].row + self.leaves[-1].rows
        some = next(iter(self._lanes[0].values()))
        shape = (len(self.sessions), columns)
        self.values, self.gradients, self.first, self.second = (some.new_zeros(shape).detach() for _ in range(4))
        # Where the ordinary optimizer has them: its fused kernels count on the parameters' device.
        self.counts = torch.zeros((len(self.sessions), len(self.leaves)), device=some.device)
        self.born = torch.full((len(self.sessions), rows), math.nan, dtype=torch.float64, device=some.device)
        self.masks: dict[str, Tensor] = {}
        self._gather()
        of = {id(p): place for place, g in enumerate(sessions[0].optimizer.param_groups) for p in g["params"]}
        self._group_of = torch.tensor([of[id(self._lanes[0][leaf.name])] for leaf in self.leaves]).to(some.device)
        self._leaf_of = _spread([leaf.rows for leaf in self.leaves]).to(some.device)
        self._row_of = _spread([leaf.shape.numel() // leaf.rows for leaf in self.leaves for _ in range(leaf.rows)]).to(
            some.device
        )
        self._room = {name: matrix.capacity for name, matrix in sessions[0].adapter.matrices.items()}

    def whole(self) -> bool:
        """False once a session has tensors of its own again: its storage grew, or its optimizer forgot its moments."""
        return all(
            session.optimizer.state and all(m.capacity == self._room[name] for name, m in matrices.items())
            for session in self.sessions
            for matrices in (session.adapter.matrices,)
        )

    def parts(self, values: Tensor) -> dict[str, Tensor]:
        """Return name → (lanes, *shape) of values (lanes, columns), differentiable."""
        pieces = values.split([leaf.stop - leaf.start for leaf in self.leaves], dim=1)
        return {leaf.name: part.view(-1, *leaf.shape) for leaf, part in zip(self.leaves, pieces, strict=True)}

    @torch.no_grad()
    def step(self, sound: np.ndarray) -> None:
        """Make AdamW's step with ``gradients`` at the rates that the sessions' optimizers hold now.

        Lanes that are not ``sound`` (lanes,) keep their values; their moments are lost.
        """
        if not sound.all():
            kept = torch.from_numpy(np.flatnonzero(~sound)).to(self.values.device)
            before = self.values[kept]
            self._step()
            self.values[kept] = before
        else:
            self._step()

    def _step(self) -> None:
        group = self.sessions[0].optimizer.param_groups[0]
        (beta1, beta2), eps = group["betas"], group["eps"]
        self.counts += 1
        counts = self.counts.double()[:, self._leaf_of]
        rates, decays = self._learning_rates()
        shares = correction(counts - self.born, beta1, beta2) / correction(counts, beta1, beta2)
        sizes = rates[:, self._leaf_of] / (1.0 - beta1**counts) * shares.nan_to_num(nan=1.0)
        roots = torch.sqrt(1.0 - beta2**counts)
        kept = (1.0 - rates * decays)[:, self._leaf_of]
        sizes, roots, kept = (part.to(self.values.dtype)[:, self._row_of] for part in (sizes, roots, kept))
        self.first.lerp_(self.gradients, 1.0 - beta1)
        self.second.mul_(beta2).addcmul_(self.gradients, self.gradients, value=1.0 - beta2)
        self.values.mul_(kept).sub_(self.first.div((self.second.sqrt() / roots).add_(eps)).mul_(sizes))

    def _learning_rates(self) -> tuple[Tensor, Tensor]:
        """Return rate and weight decay of each leaf, (lanes, leaves) float64."""
        own = [[(g["lr"], g["weight_decay"]) for g in session.optimizer.param_groups] for session in self.sessions]
        found = torch.tensor(own, dtype=torch.float64).to(self.values.device, non_blocking=True)[:, self._group_of]
        return found[..., 0], found[..., 1]

    @torch.no_grad()
    def _gather(self) -> None:
        """Copy what every session has, and leave it views of the copies."""
        for lane, (session, own) in enumerate(zip(self.sessions, self._lanes, strict=True)):
            young = session.dynamics.young
            for place, leaf in enumerate(self.leaves):
                parameter, state = own[leaf.name], session.optimizer.state.get(own[leaf.name], {})
                value, gradient, *moments = (
                    whole[lane, leaf.start : leaf.stop].view(leaf.shape)
                    for whole in (self.values, self.gradients, self.first, self.second)
                )
                for key, moment in zip(MOMENTS, moments, strict=True):
                    if key in state:
                        moment.copy_(state[key])
                if "step" in state:
                    self.counts[lane, place] = float(state["step"])
                value.copy_(parameter)
                parameter.data, parameter.grad = value, gradient
                session.optimizer.state[parameter] = {
                    "step": self.counts[lane, place],
                    **dict(zip(MOMENTS, moments, strict=True)),
                }
                if young is not None and leaf.rows > 1:
                    born = self.born[lane, leaf.row : leaf.row + leaf.rows]
                    if parameter in young.born:
                        born.copy_(young.born[parameter])
                    young.born[parameter] = born
        for name in self.sessions[0].adapter.matrices:
            own = [session.adapter.matrices[name] for session in self.sessions]
            self.masks[name] = torch.stack([matrix.mask for matrix in own])
            for lane, matrix in enumerate(own):
                matrix.mask = self.masks[name][lane]


def _trained(session: Session) -> dict[str, nn.Parameter]:
    """Return name → parameter that the optimizer trains."""
    ids = {id(parameter) for group in session.optimizer.param_groups for parameter in group["params"]}
    found = {name: parameter for name, parameter in session.model.named_parameters() if id(parameter) in ids}
    if len(found) < len(ids):
        raise CannotShare("A method with parameters of its own beside the model's cannot share its steps.")
    return found


def _leaves(lanes: Sequence[dict[str, nn.Parameter]]) -> list[Leaf]:
    shapes = [{name: parameter.shape for name, parameter in own.items()} for own in lanes]
    kinds = {parameter.dtype for own in lanes for parameter in own.values()}
    if len(kinds) > 1 or any(own != shapes[0] for own in shapes):
        raise CannotShare("The parameters of these runs differ in shape or type: they cannot share their steps.")
    leaves, column, row = [], 0, 0
    for name, shape in shapes[0].items():
        rows = shape[0] if name.rpartition(".")[2] in ("Pt", "lam", "Q") and len(shape) else 1
        leaves.append(Leaf(name, shape, column, column + shape.numel(), row, rows))
        column, row = leaves[-1].stop, row + rows
    return leaves


def _spread(counts: Sequence[int]) -> Tensor:
    """Return 0, 0, ..., 1, 1, ...: place i as often as counts[i] says."""
    return torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))


def _level(sessions: Sequence[Session]) -> None:
    """Grow the storage of each matrix to the most that any session has."""
    for name in sessions[0].adapter.matrices:
        own = [session.adapter.matrices[name] for session in sessions]
        most = max(matrix.capacity for matrix in own)
        for session, matrix in zip(sessions, own, strict=True):
            while matrix.capacity < most:
                replaced = matrix.grow()
                replace_parameters(session.optimizer, replaced)
                if (young := session.dynamics.young) is not None:
                    young.replace(replaced)

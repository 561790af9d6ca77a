"""``Folding``: what layers multiply by, Q̃ = s · diag(λ) Q and P in the type they compute in, made for all at once.

For each layer alone it would be six small kernels forward and eight backward; for all together it is a few for each
width. What is made serves one pass: until every matrix was asked for, the backward pass went through it, an optimizer
made a step or something was written. A write that torch does not count, as into ``.data`` or by a kernel of another
library, is thus missed only where a matrix sat out the whole pass before it.
"""

# torch's own optimizers are built on the _foreach functions; it does not declare them.
# pyright: reportPrivateImportUsage=false
from __future__ import annotations

import operator
import weakref
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from flexlora.frozen_layers import frozen_linear, is_distributed

if TYPE_CHECKING:
    from flexlora.linear import FlexLoRALinear

CAST_TOGETHER = 1 << 28
"""Most bytes of frozen weights cast at once: layer by layer, activation checkpointing lets go of each again."""

_STEPS = [0]


def _count_step(*_: object) -> None:
    _STEPS[0] += 1


# Some optimizers write by kernels of their own, which torch does not count as writes.
register_optimizer_step_post_hook(_count_step)


class _Scaled(torch.autograd.Function):
    """Q̃ᵀ of several matrices of one width, from their λ, gates and Q.

    What the backward pass needs are parameters, and they are kept as they are: tensors handed to autograd to keep would
    be counted by activation checkpointing, which makes them again at another moment than that of the first pass.
    """

    @staticmethod
    def forward(
        ctx: Any, fold: weakref.ref[_Fold], scales: Sequence[float], dtype: torch.dtype, *parts: Tensor | None
    ) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        ctx.fold, ctx.scales, ctx.parts = fold, scales, parts
        ctx.versions = _versions(parts)
        lam, gates, rows = _thirds(parts)
        flat = torch.cat(list(rows))
        weights = _scaled(lam, gates, scales).unsqueeze(1)
        made = torch.mul(flat, weights, out=flat.new_empty(flat.shape, dtype=dtype))
        return tuple(part.t() for part in made.split([len(part) for part in rows]))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Any, ...]:
        _spend(ctx.fold)
        count = len(ctx.scales)
        used = [place for place, gradient in enumerate(gradients) if gradient is not None]
        if not used:
            return (None,) * (3 + 3 * count)
        now = _versions(ctx.parts)
        if any(ctx.versions[place::count] != now[place::count] for place in used):
            raise RuntimeError("P, λ, Q or a gate was written to between the forward and the backward pass.")
        lam, gates, rows = ([own[place] for place in used] for own in _thirds(ctx.parts))
        scales, sizes = [ctx.scales[place] for place in used], [len(part) for part in rows]
        flat = torch.cat([gradient.t() for gradient in gradients if gradient is not None])
        needed = ctx.needs_input_grad[3:]
        found: list[Tensor | None] = [None for _ in range(3 * count)]
        if any(needed[place] or needed[count + place] for place in used):
            along = _times((flat * torch.cat(rows)).sum(1), scales, sizes).split(sizes)
            for place, part, own, gate in zip(used, along, lam, gates, strict=True):
                if needed[place]:
                    found[place] = part if gate is None else part * gate
                if needed[count + place]:
                    found[count + place] = part * own
        if any(needed[2 * count + place] for place in used):
            by_row = flat * _scaled(lam, gates, scales).unsqueeze(1)
            for place, part in zip(used, by_row.split(sizes), strict=True):
                found[2 * count + place] = part if needed[2 * count + place] else None
        return None, None, None, *found


class _Cast(torch.autograd.Function):
    """Several factors of one width in another type."""

    @staticmethod
    def forward(ctx: Any, fold: weakref.ref[_Fold], dtype: torch.dtype, *rows: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        ctx.fold, ctx.dtype, ctx.sizes = fold, rows[0].dtype, [len(part) for part in rows]
        return torch.cat(rows).to(dtype).split(ctx.sizes)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Any, ...]:
        _spend(ctx.fold)
        used = [place for place, gradient in enumerate(gradients) if gradient is not None]
        if not used:
            return (None,) * (2 + len(gradients))
        flat = torch.cat([gradient for gradient in gradients if gradient is not None]).to(ctx.dtype)
        found: list[Tensor | None] = [None] * len(gradients)
        for place, part in zip(used, flat.split([ctx.sizes[place] for place in used]), strict=True):
            found[place] = part
        return None, None, *found


def _spend(fold: weakref.ref[_Fold]) -> None:
    # Not held by the graph: what it holds is held by its own results, and nobody would ever free them.
    if (found := fold()) is not None:
        found.spend()


def _versions(parts: Sequence[Tensor | None]) -> list[int]:
    return [-1 if part is None or part.is_inference() else part._version for part in parts]


def _thirds(parts: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any], Sequence[Any]]:
    count = len(parts) // 3
    return parts[:count], parts[count : 2 * count], parts[2 * count :]


def _scaled(lam: Sequence[Tensor], gates: Sequence[Tensor | None], scales: Sequence[float]) -> Tensor:
    """Return s · λ as it acts of all, one after another."""
    acting = [own if gate is None else own * gate for own, gate in zip(lam, gates, strict=True)]
    return _times(torch.cat(acting), scales, [len(part) for part in acting])


def _in_backward() -> bool:
    return torch._C._current_graph_task_id() != -1


def _alone(matrix: FlexLoRALinear, dtype: torch.dtype) -> tuple[Tensor, Tensor, None]:
    q = ((matrix.scale * matrix.weights()).unsqueeze(1) * matrix.Q).to(dtype)
    return q.t(), matrix.Pt.to(dtype), None


def _times(flat: Tensor, scales: Sequence[float], sizes: Sequence[int]) -> Tensor:
    """Return values of matrices, one after another, times the scale of each."""
    if len(set(scales)) == 1:
        return scales[0] * flat
    return torch.cat([scale * part for scale, part in zip(scales, flat.split(list(sizes)), strict=True)])


def _casts(matrices: Sequence[FlexLoRALinear], dtype: torch.dtype) -> dict[FlexLoRALinear, Cast]:
    """Return frozen weights and biases in another type, cast in one call, unless that takes too much memory at once."""
    frozen = {matrix: found for matrix in matrices if (found := frozen_linear(matrix.base)) is not None}
    other = {matrix: found for matrix, found in frozen.items() if found[0].dtype != dtype}
    if not other or sum(weight.numel() for weight, _ in other.values()) * dtype.itemsize > CAST_TOGETHER:
        return {}
    parts = [part for found in other.values() for part in found if part is not None]
    made = [torch.empty_like(part, dtype=dtype, requires_grad=False) for part in parts]
    with torch.no_grad():
        torch._foreach_copy_(made, [part.detach() for part in parts])
    ready = iter(made)
    return {
        matrix: Cast(next(ready), None if bias is None else next(ready), (weight, bias), weight._version)
        for matrix, (weight, bias) in other.items()
    }


class Cast(NamedTuple):
    """Frozen weight and bias in another type, and what they were cast from."""

    weight: Tensor
    bias: Tensor | None
    parts: tuple[Tensor, Tensor | None]
    version: int

    def holds(self, weight: Tensor, bias: Tensor | None) -> bool:
        """True while these are the tensors that were cast, and nothing was written to the weight since."""
        return self.parts[0] is weight and self.parts[1] is bias and weight._version == self.version


class Made(NamedTuple):
    """The factors of one matrix, and what they were made of."""

    q: Tensor
    p: Tensor
    parts: tuple[Tensor, Tensor, Tensor]
    versions: tuple[int, int, int] | None
    gate: Tensor | None
    gate_version: int
    cast: Cast | None

    def holds(self, matrix: FlexLoRALinear) -> bool:
        """True while nothing was written to P, λ, Q and the gate since, and none of them was replaced."""
        if self.versions is None:
            return False
        (up, lam, down), now = self.parts, matrix._parameters
        return (
            (up._version, lam._version, down._version) == self.versions
            and now["Pt"] is up
            and now["lam"] is lam
            and now["Q"] is down
            and matrix.gate is self.gate
            and (self.gate is None or self.gate._version == self.gate_version)
        )


class _Fold:
    """The factors of many matrices, ready to be taken."""

    def __init__(self) -> None:
        self.ready: dict[FlexLoRALinear, Made] = {}
        self.untaken: set[FlexLoRALinear] = set()
        self.last: FlexLoRALinear | None = None
        self.steps = _STEPS[0]

    @property
    def in_use(self) -> bool:
        """True until all matrices were taken, as long as no optimizer has made a step."""
        return bool(self.untaken) and self.steps == _STEPS[0]

    def spend(self) -> None:
        """Called by the backward pass: what it went through once it cannot go through again."""
        self.ready.clear()
        self.untaken.clear()


class _Group(NamedTuple):
    """Matrices of which one factor has the same width, type and device; and these factors."""

    matrices: list[FlexLoRALinear]
    rows: list[nn.Parameter]
    scales: list[float]


class Folding:
    """Makes the factors of all matrices of an adapter together."""

    def __init__(self, matrices: Iterable[FlexLoRALinear]) -> None:
        self._matrices = list(matrices)
        self._folds: dict[tuple[torch.dtype, bool, bool], _Fold] = {}
        self._stored: list[nn.Parameter | None] = []
        self._groups: tuple[list[_Group], list[_Group]] = [], []
        self._forward_in = -1

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what was made: it belongs to a pass, and copies of a model share none."""
        return {"_matrices": self._matrices, "_folds": {}, "_stored": [], "_groups": ([], []), "_forward_in": -1}

    def take(self, matrix: FlexLoRALinear, dtype: torch.dtype) -> tuple[Tensor, Tensor, Cast | None]:
        """Return Q̃ᵀ (in, capacity) and Pᵀ (capacity, out) of a matrix, and its base, in the type that it computes in.

        The base is None where its weights are of that type, or too large to be cast for all matrices at once.

        They are differentiable where gradients are switched on, and made anew, for all matrices, when a new pass begins
        (see above) or this one was written to since.
        """
        grad = torch.is_grad_enabled()
        if grad and self._forward_in != _STEPS[0] and is_distributed() and _in_backward():
            # Reentrant checkpointing: each layer has a backward pass of its own, and data parallelism counts on a
            # parameter being in one of them.
            return _alone(matrix, dtype)
        key = dtype, grad, torch.is_inference_mode_enabled()
        fold = self._folds.setdefault(key, _Fold())
        # Asked for again at once, it is called by itself, as a check of its gradient does.
        made = fold.ready.get(matrix) if fold.in_use and fold.last is not matrix else None
        if made is None or not made.holds(matrix):
            self._folds[key] = fold = self._fold(dtype)
            made = fold.ready[matrix]
        elif not grad and matrix not in fold.untaken:
            # Used twice within a pass. Without a backward pass nothing tells such a pass from the next one.
            return _alone(matrix, dtype)
        fold.last = matrix
        fold.untaken.discard(matrix)
        if not fold.untaken:
            fold.ready.clear()
        return made.q, made.p, made.cast

    def _fold(self, dtype: torch.dtype) -> _Fold:
        fold = _Fold()
        if torch.is_grad_enabled() and not _in_backward():
            self._forward_in = _STEPS[0]
        down, up = self._gathered()
        q: dict[FlexLoRALinear, Tensor] = {}
        p: dict[FlexLoRALinear, Tensor] = {}
        with torch.autocast(self._matrices[0].lam.device.type, enabled=False):
            for own in down:
                lam, gates = [matrix.lam for matrix in own.matrices], [matrix.gate for matrix in own.matrices]
                made = _Scaled.apply(weakref.ref(fold), own.scales, dtype, *lam, *gates, *own.rows)
                q.update(zip(own.matrices, made, strict=True))  # pyright: ignore[reportArgumentType]
            for own in up:
                made = own.rows if own.rows[0].dtype == dtype else _Cast.apply(weakref.ref(fold), dtype, *own.rows)
                p.update(zip(own.matrices, made, strict=True))  # pyright: ignore[reportArgumentType]
        casts = _casts(self._matrices, dtype)
        for matrix in self._matrices:
            parts = matrix.Pt, matrix.lam, matrix.Q
            gate, versions, gate_version = matrix.gate, None, 0
            # Tensors made in inference mode count no writes.
            if not parts[1].is_inference() and (gate is None or not gate.is_inference()):
                versions = parts[0]._version, parts[1]._version, parts[2]._version
                gate_version = 0 if gate is None else gate._version
            fold.untaken.add(matrix)
            fold.ready[matrix] = Made(q[matrix], p[matrix], parts, versions, gate, gate_version, casts.get(matrix))
        return fold

    def _gathered(self) -> tuple[list[_Group], list[_Group]]:
        """Return the groups of Q and of P, gathered anew only when storage was replaced."""
        stored = [matrix._parameters[key] for matrix in self._matrices for key in ("Pt", "lam", "Q")]
        if len(stored) != len(self._stored) or any(map(operator.is_not, stored, self._stored)):
            self._stored = stored
            self._groups = self._by_width("Q"), self._by_width("Pt")
        return self._groups

    def _by_width(self, key: str) -> list[_Group]:
        groups: dict[tuple[Any, ...], _Group] = {}
        for matrix in self._matrices:
            # Not get_parameter: functional_call puts plain tensors there.
            rows = getattr(matrix, key)
            own = groups.setdefault((rows.device, rows.dtype, rows.shape[1]), _Group([], [], []))
            own.matrices.append(matrix)
            own.rows.append(rows)
            own.scales.append(matrix.scale)
        return list(groups.values())

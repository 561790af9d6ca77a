"""``GraphedStep``: a whole training step replayed as a CUDA graph, events between the replays."""

# torch's own optimizers are built on the _foreach functions; it does not declare them.
# pyright: reportPrivateImportUsage=false
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from flexlora.adapter import Adapter
from flexlora.errors import FlexLoRAError
from flexlora.optimizer_state import YoungDirections

WARM_UP = 3
"""Steps made as ever before the first capture: libraries choose their kernels and the optimizer makes its state."""
MOST_SHAPES = 8
"""Shapes of batches that each get a graph; further ones are stepped as ever."""

Batch = Mapping[str, Tensor]


class _Capture:
    """One graph, its inputs and what it leaves."""

    def __init__(self, batch: Batch) -> None:
        self.graph = torch.cuda.CUDAGraph()
        self.inputs = {name: part.clone() for name, part in batch.items()}
        self.gradients: list[tuple[nn.Parameter, Tensor]] = []
        self.loss: Tensor
        self.regularizer: Tensor


class GraphedStep:
    """Makes training steps that cost the host one launch.

    Forward and backward pass, clipping, regulariser and ``optimizer.step()`` are captured once for each shape of batch
    and then replayed. An event moves directions inside storage that stays where it is, so it needs no new capture;
    only storage that grows does. Call ``RankAllocator.step(t)`` between the replays, as ever.

    Learning rates may change at every step: they are read from the optimizer's groups and lie on the device.

    Attributes:
        captures: graphs captured so far.
        recaptures: those of them that followed storage that grew.
        told: why the last step was made without a graph; None where it was replayed.
        norm: norm of the task's gradient before clipping, of the last step, a scalar on the device.
        regularizer: unweighted value of the regulariser of the last step, likewise.
    """

    def __init__(
        self,
        model: nn.Module,
        adapter: Adapter,
        optimizer: Optimizer,
        *,
        clip: float | None = 1.0,
        autocast: torch.dtype | None = None,
        young: YoungDirections | None = None,
        loss: Callable[[Any], Tensor] = lambda output: output.loss,
    ) -> None:
        """Prepare.

        Args:
            model: adapted, on a CUDA device; called with the batch as keywords.
            adapter: its adapter.
            optimizer: over ``adapter.trainable_parameters()``; one that can be captured, such as AdamW.
            clip: largest norm of the task's gradient, None = it is not clipped.
            autocast: type for autocast, None = off.
            young: ages of new directions, ``RankAllocator.moves.young``, where a method adds any.
            loss: of what the model returns.

        Raises:
            FlexLoRAError: no CUDA device, or an optimizer that cannot be captured.
        """
        device = next(iter(adapter.matrices.values())).lam.device
        if device.type != "cuda":
            raise FlexLoRAError(f"A step is replayed as a graph on a CUDA device only; this model is on {device}.")
        if any("capturable" not in group for group in optimizer.param_groups):
            raise FlexLoRAError(
                f"{type(optimizer).__name__} cannot be captured in a CUDA graph. Use torch's Adam or AdamW."
            )
        self.model, self.adapter, self.optimizer = model, adapter, optimizer
        self.clip, self.autocast, self.device = clip, autocast, device
        self.captures = self.recaptures = 0
        self.told: str | None = None
        self.norm = self.regularizer = torch.zeros((), device=device)
        self._young, self._loss = young, loss
        self._graphs: dict[tuple[Any, ...], _Capture] = {}
        self._refused: dict[tuple[Any, ...], str] = {}
        self._pool = torch.cuda.graph_pool_handle()
        self._made = 0
        self._stream = torch.cuda.Stream(device)
        for group in optimizer.param_groups:
            group["capturable"] = True
        self._rates = [torch.tensor(float(group["lr"]), device=device) for group in optimizer.param_groups]
        self._storage = self._parts()

    def __call__(self, batch: Batch) -> Tensor:
        """Make one step; return its loss, a scalar on the device that the next step overwrites.

        The gradients stay until the next step, for an event that scores them.
        """
        if any(one is not other for one, other in zip(self._parts(), self._storage, strict=True)):
            self._let_go()
        key = tuple((name, part.shape, part.dtype) for name, part in batch.items())
        found = self._graphs.get(key)
        self.told = None if found is not None else self._reason(key)
        if found is None and self.told is None:
            found = self._captured(key, batch)
        if found is None:
            self._made += 1
            return self._apart(batch)
        for name, part in batch.items():
            found.inputs[name].copy_(part, non_blocking=True)
        for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
            rate.fill_(group["lr"])
        found.graph.replay()
        for parameter, gradient in found.gradients:
            parameter.grad = gradient
        self.regularizer = found.regularizer
        return found.loss

    def _reason(self, key: tuple[Any, ...]) -> str | None:
        if self._made < WARM_UP:
            return "the first steps warm up"
        if len(self._graphs) >= MOST_SHAPES:
            return f"batches have more than {MOST_SHAPES} shapes: pad them to fewer"
        return self._refused.get(key)

    def _captured(self, key: tuple[Any, ...], batch: Batch) -> _Capture | None:
        """Return a new graph; None, with the reason told, where the step does what no graph can hold."""
        try:
            self._graphs[key] = found = self._capture(batch)
        except RuntimeError as error:
            self.told = self._refused[key] = f"it cannot be captured: {str(error).strip().splitlines()[-1]}"
            # What the attempt left lies in memory that no graph fills.
            self.optimizer.zero_grad(set_to_none=True)
            return None
        return found

    def _parts(self) -> list[nn.Parameter]:
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]

    def _let_go(self) -> None:
        self.recaptures += len(self._graphs)
        self._graphs.clear()
        self._refused.clear()
        self._storage = self._parts()
        self._made = WARM_UP - 1

    def _apart(self, batch: Batch) -> Tensor:
        """Make a step on a stream of its own, as a capture wants it."""
        self._stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self._stream):
            loss = self._step(batch)
        torch.cuda.current_stream(self.device).wait_stream(self._stream)
        return loss

    def _step(self, batch: Batch) -> Tensor:
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, self.autocast, enabled=self.autocast is not None):
            loss = self._loss(self.model(**batch))
        loss.backward()
        if self.clip is not None:
            self.norm = nn.utils.clip_grad_norm_(self.adapter.trainable_parameters(), self.clip)
        self.regularizer = self.adapter.add_regularization_gradient()
        self.optimizer.step()
        return loss.detach()

    def _capture(self, batch: Batch) -> _Capture:
        made = _Capture(batch)
        if self._young is not None:
            self._young.watch(self.adapter.parameters())
        before = [group["lr"] for group in self.optimizer.param_groups]
        try:
            for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
                group["lr"] = rate
            # What was made for the last pass belongs to another stream.
            self.optimizer.zero_grad(set_to_none=True)
            with torch.cuda.graph(made.graph, pool=self._pool, stream=self._stream):
                made.loss = self._step(made.inputs)
        finally:
            for group, rate in zip(self.optimizer.param_groups, before, strict=True):
                group["lr"] = rate
        made.regularizer = self.regularizer
        made.gradients = [(part, part.grad) for part in self._parts() if part.grad is not None]
        self.captures += 1
        return made

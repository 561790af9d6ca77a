"""A training step replayed as a CUDA graph: one launch for thousands, with events between the replays.

An event moves directions inside storage that stays where it is, so nothing is captured anew; only growing storage is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from flexlora.adapter import Adapter
from flexlora.allocator import RankAllocator
from flexlora.errors import FlexLoRAError

WARM_UP = 3
"""Steps made as ever before the first capture: libraries choose their kernels and the optimizer makes its state."""
WARMS_UP = "the first steps warm up"
"""What is told of them: it passes by itself."""
MOST_SHAPES = 8
"""Shapes of batches that each get a graph; further ones run as ever."""

Batch = Mapping[str, Tensor]


class _Capture:
    """One graph, its inputs and what it leaves."""

    def __init__(self, batch: Batch) -> None:
        self.graph = torch.cuda.CUDAGraph()
        self.inputs = {name: part.clone() for name, part in batch.items()}
        self.gradients: list[tuple[nn.Parameter, Tensor]] = []
        self.results: tuple[Tensor, ...] = ()


class Replays:
    """Runs a function of a batch: captured once for each shape of batch, then replayed.

    Attributes:
        captures: graphs captured so far.
        recaptures: those of them that followed parameters that were replaced, as by storage that grew.
        told: why the last call ran as ever; None where it was replayed.
    """

    def __init__(
        self,
        run: Callable[[Batch], tuple[Tensor, ...]],
        parameters: Callable[[], list[nn.Parameter]],
        device: torch.device,
    ) -> None:
        """Prepare.

        Args:
            run: f(batch) → tensors on the device; leaves gradients, which it must not find any of at its start.
            parameters: returns those that get gradients; asked at every call.
            device: of all of them.

        Raises:
            FlexLoRAError: no CUDA device.
        """
        if device.type != "cuda":
            raise FlexLoRAError(f"A step is replayed as a graph on a CUDA device only; this model is on {device}.")
        self.captures = self.recaptures = 0
        self.told: str | None = None
        self._run, self._parameters, self._device = run, parameters, device
        self._graphs: dict[tuple[Any, ...], _Capture] = {}
        self._refused: dict[tuple[Any, ...], str] = {}
        self._pool = torch.cuda.graph_pool_handle()
        self._stream = torch.cuda.Stream(device)
        self._made = 0
        self._stored = parameters()

    def __call__(self, batch: Batch) -> tuple[Tensor, ...]:
        """Run on a batch; return the results, which the next call overwrites, and leave the gradients."""
        stored = self._parameters()
        if len(stored) != len(self._stored) or any(map(_differ, stored, self._stored)):
            self._begin_anew(stored)
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
        found.graph.replay()
        for parameter, gradient in found.gradients:
            parameter.grad = gradient
        return found.results

    def _reason(self, key: tuple[Any, ...]) -> str | None:
        if self._made < WARM_UP:
            return WARMS_UP
        if key not in self._refused and len(self._graphs) >= MOST_SHAPES:
            return f"batches have more than {MOST_SHAPES} shapes: pad them to fewer"
        return self._refused.get(key)

    def _begin_anew(self, stored: list[nn.Parameter]) -> None:
        self.recaptures += len(self._graphs)
        self._graphs.clear()
        self._refused.clear()
        self._stored, self._made = stored, WARM_UP - 1

    def _apart(self, batch: Batch) -> tuple[Tensor, ...]:
        """Run on a stream of its own, as a capture wants it."""
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            results = self._run(batch)
        current.wait_stream(self._stream)
        return results

    def _captured(self, key: tuple[Any, ...], batch: Batch) -> _Capture | None:
        """Return a new graph; None, with the reason told, where the function does what no graph can hold."""
        made = _Capture(batch)
        self._forget_gradients()
        try:
            with torch.cuda.graph(made.graph, pool=self._pool, stream=self._stream):
                made.results = self._run(made.inputs)
        except RuntimeError as error:
            self.told = self._refused[key] = f"it cannot be captured: {str(error).strip().splitlines()[-1]}"
            # What the attempt left lies in memory that no graph fills.
            self._forget_gradients()
            return None
        made.gradients = [(part, part.grad) for part in self._stored if part.grad is not None]
        self._graphs[key] = made
        self.captures += 1
        return made

    def _forget_gradients(self) -> None:
        for parameter in self._stored:
            parameter.grad = None


class GraphedStep:
    """Makes whole training steps: forward and backward pass, clipping, regulariser and ``optimizer.step()``.

        step = GraphedStep(model, adapter, optimizer, allocator=allocator, autocast=torch.bfloat16)
        for t, batch in enumerate(batches, start=1):
            loss = step(batch)
            allocator.step(t)

    Learning rates may change at every step: they are read from the optimizer's groups and lie on the device.

    Attributes:
        captures, recaptures, told: as of ``Replays``.
        norm: of the task's gradient before clipping, of the last step, a scalar on the device.
        regularizer: unweighted value of the regulariser of the last step, likewise.
    """

    def __init__(
        self,
        model: nn.Module,
        adapter: Adapter,
        optimizer: Optimizer,
        *,
        allocator: RankAllocator | None = None,
        clip: float | None = 1.0,
        autocast: torch.dtype | None = None,
        loss: Callable[[Any], Tensor] = lambda output: output.loss,
    ) -> None:
        """Prepare.

        Args:
            model: adapted, on a CUDA device; called with the batch as keywords.
            adapter: its adapter.
            optimizer: over ``adapter.trainable_parameters()``; one that can be captured, such as AdamW.
            allocator: what moves rank, where anything does.
            clip: largest norm of the task's gradient, None = it is not clipped.
            autocast: type for autocast, None = off.
            loss: of what the model returns.

        Raises:
            FlexLoRAError: no CUDA device, or an optimizer that cannot be captured.
        """
        device = next(iter(adapter.matrices.values())).lam.device
        if any("capturable" not in group for group in optimizer.param_groups):
            raise FlexLoRAError(
                f"{type(optimizer).__name__} cannot be captured in a CUDA graph. Use torch's Adam or AdamW."
            )
        self._model, self._adapter, self._optimizer, self._allocator = model, adapter, optimizer, allocator
        self._replays = Replays(self._step, self._parameters, device)
        self.norm = self.regularizer = torch.zeros((), device=device)
        self._clip, self._autocast, self._device, self._loss = clip, autocast, device, loss
        for group in optimizer.param_groups:
            group["capturable"] = True
        self._rates = [torch.tensor(float(group["lr"]), device=device) for group in optimizer.param_groups]

    def __call__(self, batch: Batch) -> Tensor:
        """Make one step; return its loss, a scalar on the device that the next step overwrites.

        The gradients stay until the next step, for an event that scores them.
        """
        groups = self._optimizer.param_groups
        given = [group["lr"] for group in groups]
        for group, rate, own in zip(groups, self._rates, given, strict=True):
            rate.fill_(own)
            group["lr"] = rate
        if self._allocator is not None and self._optimizer.state:
            # From the start, so that what a step does never changes.
            self._allocator.moves.young.watch(self._adapter.parameters())
        try:
            loss, self.norm, self.regularizer = self._replays(batch)
        finally:
            for group, own in zip(groups, given, strict=True):
                group["lr"] = own
        return loss

    @property
    def captures(self) -> int:
        """Graphs captured so far."""
        return self._replays.captures

    @property
    def recaptures(self) -> int:
        """Those of them that followed storage that grew."""
        return self._replays.recaptures

    @property
    def told(self) -> str | None:
        """Why the last step was made without a graph; None where it was replayed."""
        return self._replays.told

    def _parameters(self) -> list[nn.Parameter]:
        return [parameter for group in self._optimizer.param_groups for parameter in group["params"]]

    def _step(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        self._optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self._device.type, self._autocast, enabled=self._autocast is not None):
            loss = self._loss(self._model(**batch))
        loss.backward()
        norm = torch.zeros((), device=self._device)
        if self._clip is not None:
            norm = nn.utils.clip_grad_norm_(self._adapter.trainable_parameters(), self._clip)
        regularizer = self._adapter.add_regularization_gradient()
        self._optimizer.step()
        return loss.detach(), norm, regularizer


def _differ(one: nn.Parameter, other: nn.Parameter) -> bool:
    return one is not other

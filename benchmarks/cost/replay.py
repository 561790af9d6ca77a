"""A peer's whole optimizer step, captured once and replayed as a CUDA graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from cost.peers import Contestant

WARM_UP = 3


class Replay:
    """Forward, backward, clipping and AdamW of a contestant as one graph; its events stay outside.

    The batch is copied into the tensors that the graph reads; gradients, parameters and moments stay where they were at
    capture. Warm-up steps are real steps: they train.

    Attributes:
        captures: graphs captured, always 1.
        loss: of the last step.

    Raises:
        RuntimeError: something in the step cannot be captured, with CUDA's reason.
    """

    captures = 1

    def __init__(self, contestant: Contestant) -> None:
        self.batch = {key: value.clone() for key, value in contestant.batch.items()}
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                contestant.optimizer.zero_grad(set_to_none=True)
                self._step(contestant)
        torch.cuda.current_stream().wait_stream(stream)
        contestant.optimizer.zero_grad(set_to_none=True)
        torch.cuda.synchronize()
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.loss = self._step(contestant)

    def __call__(self, batch: dict[str, Tensor]) -> Tensor:
        """Replay the step on a batch of the same shape; return the loss, overwritten by the next call."""
        for key, value in batch.items():
            self.batch[key].copy_(value, non_blocking=True)
        self.graph.replay()
        return self.loss

    def _step(self, contestant: Contestant) -> Tensor:
        with contestant.forward():
            loss = contestant.model(**self.batch).loss
        loss.backward()
        contestant.update()
        return loss.detach()

"""``KeptElsewhere``: an optimizer that trains copies of the parameters that a model computes with."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from torch.optim import Optimizer

from flexlora.optimizer_state import YoungDirections


class KeptElsewhere(Optimizer):
    """What an event asks of such an optimizer, beside groups and state by the model's own parameters.

    Outside of ``whole`` its state of a parameter is what belongs to the tensor as a whole, such as Adam's count.
    """

    def whole(self) -> AbstractContextManager[None]:
        """Let parameters, their state and λ's gradients be those that are trained, whole; write back what is changed.

        Every process enters; a second entry inside does nothing.
        """
        raise NotImplementedError

    def young_directions(self) -> YoungDirections:
        """Return what corrects the movement of new directions where the copies lie."""
        raise NotImplementedError


def whole(optimizer: Optimizer) -> AbstractContextManager[None]:
    """Return ``optimizer.whole()``; of other optimizers a context that does nothing."""
    return optimizer.whole() if isinstance(optimizer, KeptElsewhere) else nullcontext()


def young_directions(optimizer: Optimizer) -> YoungDirections:
    """Return what corrects the movement of new directions of an optimizer."""
    return optimizer.young_directions() if isinstance(optimizer, KeptElsewhere) else YoungDirections(optimizer)

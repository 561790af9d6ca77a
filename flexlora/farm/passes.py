"""One forward and backward pass for all lanes, and the regulariser's gradient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from flexlora.farm.storage import CannotShare, Storage
from flexlora.regularization import REGULARIZERS, factor_gradients
from flexlora.session import Session

IGNORED = {"labels": -100}
"""Value of a padded place, where it is not 0."""


class Passes:
    """Losses and gradients of all lanes from one call of the first session's model.

    A frozen tensor that is the same in every session is kept once, whichever others of them there were; the others are
    stacked. Attention runs as plain products: the fused kernels cannot be batched over lanes everywhere.
    """

    def __init__(self, storage: Storage) -> None:
        sessions = storage.sessions
        for name, module in sessions[0].model.named_modules():
            if isinstance(module, nn.Dropout) and module.p > 0:
                raise CannotShare(f"{name} drops values at random: such a run cannot share its steps.")
        self._causal = any(getattr(module, "is_causal", False) is True for module in sessions[0].model.modules())
        self.storage = storage
        self._model = sessions[0].model
        self._frozen, frozen_dims = _frozen(sessions, {leaf.name for leaf in storage.leaves})
        self._dims = {**dict.fromkeys((leaf.name for leaf in storage.leaves), 0), **frozen_dims}
        self._factors = _factors(storage)

    def losses(self, batches: Sequence[Mapping[str, Tensor]]) -> Tensor:
        """Return the loss of each lane, (lanes,), and leave its gradient in the storage.

        Args:
            batches: of each lane, as ``Split.batch`` returns them.
        """
        device = self.storage.values.device
        batch = {name: part.to(device) for name, part in together(batches, causal=self._causal).items()}
        leaf = self.storage.values.detach().requires_grad_()
        trained = self.storage.sessions[0].trained

        def one(parameters: dict[str, Tensor], own: dict[str, Tensor]) -> Tensor:
            with trained.precision():
                return functional_call(self._model, parameters, (), own).loss

        with sdpa_kernel(SDPBackend.MATH):
            found = vmap(one, in_dims=(self._dims, 0))(self.storage.parts(leaf) | self._frozen, batch)
            (gradients,) = torch.autograd.grad(found.sum(), leaf)
        self.storage.gradients.copy_(gradients)
        return found.detach()

    @torch.no_grad()
    def regularize(self) -> Tensor:
        """Add each lane's weighted regulariser to its gradients; return the unweighted values, (lanes,)."""
        lanes, count = len(self.storage.sessions), len(self.storage.masks)
        configs = [session.adapter.config.orthogonality for session in self.storage.sessions]
        form = configs[0][0]
        weights = self.storage.values.new_tensor([weight for _, weight in configs])
        values, gradients = self.storage.parts(self.storage.values), self.storage.parts(self.storage.gradients)
        total = self.storage.values.new_zeros(lanes)
        for names, masks in self._factors:
            stacked = torch.cat([values[name] for name in names])
            weight = weights.repeat(len(names)).view(-1, 1, 1)
            squares, own = factor_gradients(stacked, torch.cat(masks), weight, form, count)
            by_lane = squares.view(len(names), lanes).unbind(1)
            total += torch.stack([REGULARIZERS[form](lane, count) for lane in by_lane])
            for name, part in zip(names, own.chunk(len(names)), strict=True):
                gradients[name] += part
        return total


def together(batches: Sequence[Mapping[str, Tensor]], *, causal: bool) -> dict[str, Tensor]:
    """Return the lanes' batches as one, name → (lanes, batch, ...).

    Text is padded to the longest lane and its mask spelt out as (lanes, batch, 1, tokens, tokens), True = seen: a mask
    whose form depends on its values cannot be batched over lanes.
    """
    found = {}
    for name in batches[0]:
        own = [batch[name] for batch in batches]
        if own[0].dim() > 1 and "attention_mask" in batches[0]:
            most = max(part.shape[1] for part in own)
            own = [F.pad(part, (0, most - part.shape[1]), value=IGNORED.get(name, 0)) for part in own]
        found[name] = torch.stack(own)
    if (mask := found.get("attention_mask")) is not None:
        tokens = mask.shape[-1]
        seen = mask.bool()[:, :, None, None, :].expand(*mask.shape[:2], 1, tokens, tokens)
        found["attention_mask"] = seen & torch.ones(tokens, tokens, dtype=torch.bool).tril() if causal else seen
    return found


def _frozen(sessions: Sequence[Session], trained: set[str]) -> tuple[dict[str, Tensor], dict[str, int | None]]:
    found: dict[str, Tensor] = {}
    dims: dict[str, int | None] = {}
    adapters = [set(map(id, session.adapter.named_parameters().values())) for session in sessions]
    models = [dict(session.model.named_parameters()) for session in sessions]
    for name, first in models[0].items():
        if name in trained:
            continue
        own = [model[name] for model in models]
        if id(first) not in adapters[0] and all(
            part.data_ptr() == first.data_ptr() or torch.equal(part, first) for part in own
        ):
            found[name], dims[name] = first.detach(), None
            for part in own:
                part.data = first.data
        else:
            found[name], dims[name] = torch.stack([part.detach() for part in own]), 0
    return found, dims


def _factors(storage: Storage) -> list[tuple[list[str], list[Tensor]]]:
    """Return names of P and Q of one shape, and the masks that belong to them."""
    groups: dict[torch.Size, tuple[list[str], list[Tensor]]] = {}
    for leaf in storage.leaves:
        matrix, _, kind = leaf.name.rpartition(".")
        if kind in ("Pt", "Q") and matrix in storage.masks:
            names, masks = groups.setdefault(leaf.shape, ([], []))
            names.append(leaf.name)
            masks.append(storage.masks[matrix])
    return list(groups.values())

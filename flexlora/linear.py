"""One adapted weight matrix: a frozen linear layer plus ``s · P diag(λ) Q`` kept in slots."""

# torch's own optimizers are built on the _foreach functions; it does not declare them.
# pyright: reportPrivateImportUsage=false
from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from flexlora.effective_weight import EffectiveWeight
from flexlora.errors import FlexLoRAError
from flexlora.folding import Folding
from flexlora.frozen_layers import computes_in, frozen_linear, is_distributed, is_traced, is_transposed


def linear_shape(module: nn.Module) -> tuple[int, int] | None:
    """Return ``(in_features, out_features)`` of a linear layer, or None for any other module.

    GPT-2's ``Conv1D`` stores its weight transposed, as (in, out). Layers of quantisation libraries (AWQ, GPTQ, HQQ and
    others) are known by their name and their two numbers: whatever maps x to y can be adapted.
    """
    if isinstance(module, nn.Linear):
        return None if isinstance(module, nn.LazyLinear) else (module.in_features, module.out_features)
    if type(module).__name__ == "Conv1D" and isinstance(getattr(module, "nf", None), int):
        weight = module.get_parameter("weight")
        return weight.shape[0], weight.shape[1]
    if "Linear" not in type(module).__name__ or any(isinstance(child, nn.Linear) for child in module.children()):
        return None
    for keys in (("in_features", "out_features"), ("infeatures", "outfeatures")):
        shape = tuple(getattr(module, key, None) for key in keys)
        if all(isinstance(size, int) and size > 0 for size in shape):
            return shape  # pyright: ignore[reportReturnType]
    return None


def gives_rows(module: nn.Module) -> bool:
    """False for a layer that looks linear and gives something else than a row for each row, such as a router's tuple.

    Asked only of kinds with a ``forward`` of their own; what cannot be tried is believed. So is what holds packed
    weights: a trial may change them, as bitsandbytes orders them anew for inference on a CPU.
    """
    kind, shape, held = type(module), linear_shape(module), stored(module)
    plain = kind.forward is nn.Linear.forward or is_transposed(module)
    if shape is None or plain or not held.is_floating_point():
        return True
    x = torch.zeros(2, shape[0], device=held.device, dtype=held.dtype)
    training = module.training
    try:
        with torch.no_grad():
            # Without hooks: they may count, or fetch weights.
            y = kind.forward(module.eval(), x)
    except Exception:
        return True
    finally:
        module.train(training)
    return isinstance(y, Tensor) and y.shape == (2, shape[1])


def check_weight(name: str, module: nn.Module) -> None:
    """Raise ``FlexLoRAError`` when the weight of a linear layer was never loaded."""
    if any(tensor.device.type == "meta" for tensor in (*module.parameters(), *module.buffers())):
        raise FlexLoRAError(
            f"{name} has no values: it is on the meta device. Load the weights first, for example by from_pretrained "
            "without device_map, or by model.to_empty and load_state_dict."
        )


def stored(module: nn.Module) -> Tensor:
    """Return the tensor that holds a linear layer's weight, packed or not: its type and device are the layer's."""
    weight = getattr(module, "weight", None)
    if isinstance(weight, Tensor):
        return weight
    return next(iter((*module.parameters(), *module.buffers())), torch.empty(0))


def check_rank(name: str, rank: int, shape: tuple[int, int]) -> None:
    """Raise ``FlexLoRAError`` when a matrix of ``shape`` (in, out) cannot have this initial rank."""
    if not 1 <= rank <= min(shape):
        raise FlexLoRAError(
            f"initial_rank={rank} does not fit {name}, which is {shape[1]} × {shape[0]}: its rank can be 1 to "
            f"{min(shape)}. Lower initial_rank or leave this matrix out of target_modules."
        )


def write_rows(filled: Sequence[tuple[list[Tensor], Tensor, float, Tensor]]) -> None:
    """Write directions of matrices of one type into rows that ``claim`` returned: (rows, p, λ, q) of each."""
    kind, device = filled[0][0][0].dtype, filled[0][0][0].device
    parts: list[Tensor] = []
    for _, p, lam, q in filled:
        parts += [p.to(kind), q.to(kind), torch.tensor([lam, 1.0], dtype=kind, device=p.device)]
    # One copy for all: to an accelerator each costs more than what it carries.
    rows = [row for own, *_ in filled for row in own]
    values = torch.cat(parts).to(device).split([row.numel() for row in rows])
    torch._foreach_copy_(rows, list(values))


class FlexLoRALinear(nn.Module):
    """``y = W0 x + s · P diag(λ) Q x`` with room for more directions than are active.

    Equation 3 of FlexLoRA (ICLR 2026), https://openreview.net/forum?id=tqnkbdYWWm. Each of the ``capacity`` slots
    holds one direction or is empty. An empty slot is zero in P, λ and Q, so it adds exactly nothing and receives
    exactly no gradient: no mask is needed in the forward pass, and filling a slot with λ = 0 leaves the output
    bit for bit as it was. The scale s is fixed for ever: one that follows the rank would rescale ΔW at each event.

    Attributes:
        base: the frozen layer: ``nn.Linear``, ``Conv1D`` or any other that maps (..., in) to (..., out).
        Pt: ``P`` transposed, (capacity, out_features), one row a slot.
        lam: signed singular values as trained, (capacity,).
        Q: (capacity, in_features), one row a slot.
        mask: 1.0 for an active slot, 0.0 for an empty one, (capacity,).
        gate: None, or (capacity,) factors on λ: how far each direction is open. A method sets it before a training
            step, and leaves what evaluation should use.
        bounds: slot numbers at which the storage grew; each block keeps its own products, see ``forward``.
        folding: makes what ``forward`` multiplies by, for all matrices of an adapter together.
    """

    mask: Tensor

    def __init__(self, base: nn.Module, *, name: str, rank: int, capacity: int, scale: float) -> None:
        super().__init__()
        shape = linear_shape(base)
        if shape is None:
            raise FlexLoRAError(f"{name} is a {type(base).__name__}; only linear layers can be adapted.")
        self.in_features, self.out_features = shape
        check_rank(name, rank, shape)
        self.name = name
        self.scale = float(scale)
        self.base = base
        weight = stored(base)
        capacity = min(max(capacity, rank), *shape)
        # At least fp32 whatever the base: λ moves by less than a bf16 step near 1.
        least = weight.dtype if weight.is_floating_point() else torch.float32
        kind = {"device": weight.device, "dtype": torch.promote_types(torch.float32, least)}
        self.Pt = nn.Parameter(torch.zeros(capacity, self.out_features, **kind))
        self.lam = nn.Parameter(torch.zeros(capacity, **kind))
        self.Q = nn.Parameter(torch.zeros(capacity, self.in_features, **kind))
        # In the state dictionary: it says which slots are active, so that any framework's checkpoint holds the ranks.
        self.register_buffer("mask", torch.zeros(capacity, **kind))
        self.gate: Tensor | None = None
        self.slots: list[int] = []
        self.bounds: list[int] = [0, capacity]
        self.folding = Folding([self])

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy or a pickle holds: a gate that a step has computed, as a value."""
        return {**self.__dict__, "gate": None if self.gate is None else self.gate.detach()}

    @property
    def capacity(self) -> int:
        """Number of slots, active or empty."""
        return self.lam.shape[0]

    @property
    def rank(self) -> int:
        """Number of active directions."""
        return len(self.slots)

    def weights(self) -> Tensor:
        """Return λ as it acts, (capacity,): times the gate where there is one."""
        return self.lam if self.gate is None else self.lam * self.gate

    @property
    def weight(self) -> EffectiveWeight:
        """What a model gets that reads the layer's weight: W0 + ΔW, made only where it is computed with."""
        return EffectiveWeight(self)

    @property
    def bias(self) -> Tensor | None:
        """The bias of the frozen layer."""
        return getattr(self.base, "bias", None)

    def frozen_weight(self) -> Tensor:
        """Return W0 as the base stores it; packed where the base is quantised."""
        return stored(self.base)

    def directions(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return detached P (out, r), λ as it acts (r,) and Q (r, in) of the active directions, in slot order."""
        return self.Pt.detach()[self.slots].T, self.weights().detach()[self.slots], self.Q.detach()[self.slots]

    def delta_weight(self, dtype: torch.dtype = torch.float64) -> Tensor:
        """Return ``s · P diag(λ) Q``, (out_features, in_features).

        Summed over all slots, so that pruning leaves bit for bit the product with that λ set to zero.
        """
        Pt, lam, Q = (part.detach().to(dtype) for part in (self.Pt, self.weights(), self.Q))
        return self.scale * (Pt.T * lam) @ Q

    @torch.no_grad()
    def fill(self, slot: int, p: Tensor, lam: float, q: Tensor) -> None:
        """Put a direction into an empty slot: p (out_features,), λ, q (in_features,)."""
        write_rows([(self.claim(slot), p, lam, q)])

    def claim(self, slot: int) -> list[Tensor]:
        """Count an empty slot among the active; return its rows of P, Q, λ and mask, which are yet to be written."""
        if slot in self.slots:
            raise ValueError(f"slot {slot} of {self.name} is in use")
        self.slots = sorted([*self.slots, slot])
        return [self.Pt[slot], self.Q[slot], self.lam[slot : slot + 1], self.mask[slot : slot + 1]]

    @torch.no_grad()
    def empty(self, slot: int) -> None:
        """Remove the direction in ``slot``; ΔW changes by exactly ``−s · λ · p qᵀ``."""
        torch._foreach_zero_(self.release(slot))

    def release(self, slot: int) -> list[Tensor]:
        """Count a slot among the empty ones; return its rows of P, Q, λ and mask, which are yet to be zeroed."""
        self.slots.remove(slot)
        return [part[slot] for part in (self.Pt, self.Q, self.lam, self.mask)]

    @torch.no_grad()
    def clear_empty(self) -> None:
        """Zero what empty slots hold of P, λ and Q: nothing, unless somebody wrote there."""
        empty = [slot for slot in range(self.capacity) if slot not in self.slots]
        for part in (self.Pt, self.lam, self.Q) if empty else ():
            part[empty] = 0.0

    def free_slot(self) -> int | None:
        """Return the lowest empty slot, or None when the storage is full."""
        return next((slot for slot in range(self.capacity) if slot not in self.slots), None)

    @torch.no_grad()
    def grow(self) -> dict[nn.Parameter, nn.Parameter]:
        """Double the storage, at most to min(in, out); return old → new parameters for the optimizer.

        New parameters rather than resized data: a graph that still holds the old tensors stays valid.
        """
        capacity = min(2 * self.capacity, self.in_features, self.out_features)
        replaced = {}
        for key in ("Pt", "lam", "Q"):
            old = self.get_parameter(key)
            new = old.new_zeros(capacity, *old.shape[1:])
            new[: old.shape[0]] = old
            parameter = nn.Parameter(new, requires_grad=old.requires_grad)
            setattr(self, key, parameter)
            replaced[old] = parameter
        mask = self.mask.new_zeros(capacity)
        mask[self.slots] = 1.0
        self.mask = mask
        self.bounds.append(capacity)
        return replaced

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in_features) to (..., out_features).

        s·λ goes into Q, for all matrices at once (see ``Folding``), and the products of low rank are added in place, in
        the epilogue of their multiplication: no pass of its own runs over the (tokens, out) output. Storage that has
        grown is multiplied block by block: each product then has the shape it had before, and an empty block adds exact
        zeros.
        """
        if is_traced() or "_is_replica" in self.__dict__:
            # Ranks are not looked at: compiled code would be made anew for each.
            return self._written_out(x)
        if not self.slots and not is_distributed():
            # Without a product, x needs no gradient of this layer: below the lowest rank, the backward pass ends.
            return self.base(x)
        frozen = frozen_linear(self.base)
        if frozen is None:
            y = self.base(x)
            return self._added(y, x, *self.folding.take(self, y.dtype)[:2])
        weight, bias = frozen
        dtype = computes_in(x, weight)
        q, p, cast = self.folding.take(self, dtype)
        if weight.dtype != dtype:
            if cast is not None and cast.holds(weight, bias):
                weight, bias = cast.weight, cast.bias
            else:
                weight, bias = weight.to(dtype), None if bias is None else bias.to(dtype)
        if x.dtype != dtype:
            x = x.to(dtype)
        if not is_transposed(self.base):
            weight = weight.t()
        rows = x.reshape(-1, self.in_features)
        y = torch.mm(rows, weight) if bias is None else torch.addmm(bias, rows, weight)
        # A view of its own: gradients of x are then summed in the order of plain operations, bit for bit.
        inputs = x.reshape(-1, self.in_features)
        for start, stop in pairwise(self.bounds):
            one = stop - start == len(p)
            y.addmm_(torch.mm(inputs, q if one else q[:, start:stop]), p if one else p[start:stop])
        return y.view(*x.shape[:-1], self.out_features)

    def added(self, y: Tensor, x: Tensor) -> Tensor:
        """Return y (..., out) + s · P diag(λ) Q x of x (..., in): where adapters of one layer add up."""
        if is_traced():
            return self._written_out(x, y)
        return self._added(y, x, *self.folding.take(self, y.dtype)[:2]) if self.slots else y

    def _written_out(self, x: Tensor, base: Tensor | None = None) -> Tensor:
        """Return what ``forward`` does, in plain operations: for what looks through them, or runs them on batches."""
        y = self.base(x) if base is None else base
        q = ((self.scale * self.weights()).unsqueeze(1) * self.Q).to(y.dtype)
        return self._added(y, x, q.t(), self.Pt.to(y.dtype))

    def _added(self, base: Tensor, x: Tensor, q: Tensor, p: Tensor) -> Tensor:
        """Return the output of the base plus the products of all blocks of slots: Q̃ (in, slots), P (slots, out)."""
        inputs = x.reshape(-1, self.in_features).to(base.dtype)
        y = base.reshape(-1, self.out_features)
        for start, stop in pairwise(self.bounds):
            y = torch.addmm(y, torch.mm(inputs, q[:, start:stop]), p[start:stop])
        return y.reshape(base.shape)

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *others: Any, **more: Any) -> None:
        """Take over storage of another capacity, as a checkpoint from before or after an event may hold.

        Storage that grew is grown here too, with new parameters: build the optimizer after loading, or load into an
        adapter that has at least the checkpoint's capacity. A smaller one is padded with empty slots.

        Raises:
            FlexLoRAError: the capacity cannot be reached by growing.
        """
        found = {key: state_dict[prefix + key] for key in ("Pt", "lam", "Q", "mask") if prefix + key in state_dict}
        wanted = max((tensor.shape[0] for tensor in found.values() if tensor.dim()), default=self.capacity)
        while self.capacity < wanted and self.capacity < min(self.in_features, self.out_features):
            self.grow()
        if wanted > self.capacity:
            raise FlexLoRAError(
                f"{self.name} has room for {self.capacity} directions, the checkpoint holds {wanted}: it was made for "
                "another model."
            )
        padded = dict(state_dict)
        for key, tensor in found.items():
            if tensor.dim() > 0 and tensor.shape[0] < self.capacity:
                rest = tensor.new_zeros(self.capacity - tensor.shape[0], *tensor.shape[1:])
                padded[prefix + key] = torch.cat([tensor, rest])
        super()._load_from_state_dict(padded, prefix, *others, **more)
        if "mask" in found:
            # Weights that were averaged over steps (EMA) may hold more directions than the mask beside them says.
            active = (self.mask != 0) | (self.lam.detach() != 0)
            self.mask.copy_(active)
            self.slots = [slot for slot, on in enumerate(active.tolist()) if on]

    def extra_repr(self) -> str:
        """Shown by ``print(model)``."""
        return f"{self.in_features} → {self.out_features}, rank={self.rank}, capacity={self.capacity}"

"""``attach``: put P diag(λ) Q beside every targeted weight matrix of a model."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from flexlora.adapter_config import AdapterConfig
from flexlora.beside import buffers_of
from flexlora.config import FlexLoRAConfig
from flexlora.errors import FlexLoRAError, FlexLoRAWarning
from flexlora.folding import Folding
from flexlora.initializers import Generator, direction_generator, gaussian
from flexlora.linear import FlexLoRALinear, check_rank, check_weight, linear_shape
from flexlora.regularization import Stacks, add_orthogonality_gradient, orthogonality, orthogonality_gradients
from flexlora.targets import find_targets, plain_name, tell_new_embeddings, trained_whole


class Adapter:
    """The adapted matrices of one model, by the names they had before ``attach``.

    Attributes:
        model: the adapted model, changed in place.
        config: the configuration it was attached with.
        matrices: name → ``FlexLoRALinear``, in module order.
        buffers_before: name → buffer as it was before training, see ``flexlora.beside``.
        merged: whether ``merge`` has put the plain layers back.
    """

    def __init__(self, model: nn.Module, config: AdapterConfig, matrices: dict[str, FlexLoRALinear]) -> None:
        self.model = model
        self.config = config
        self.matrices = matrices
        self._stacks = Stacks(matrices.values())
        folding = Folding(matrices.values())
        for matrix in matrices.values():
            matrix.folding = folding
        self.buffers_before = {plain_name(name): value.detach().clone() for name, value in buffers_of(model).items()}
        self.merged = self._told = False
        for matrix in matrices.values():
            for parameter in matrix_parameters(matrix):
                parameter.requires_grad_(True)

    def parameters(self) -> list[nn.Parameter]:
        """Return the adapter's own parameters that are trained (P, λ, Q of each matrix), without the head."""
        found = (parameter for matrix in self.matrices.values() for parameter in matrix_parameters(matrix))
        return [parameter for parameter in found if parameter.requires_grad]

    def named_parameters(self) -> dict[str, nn.Parameter]:
        """Return a stable name for P (transposed), λ and Q of each matrix."""
        return {
            f"{name}.{key}": parameter
            for name, matrix in self.matrices.items()
            for key, parameter in zip(("Pt", "lam", "Q"), matrix_parameters(matrix), strict=True)
        }

    @property
    def head(self) -> list[str]:
        """Names of the parameters outside the adapter that are trained now: what is unfrozen later counts, too."""
        own = {id(part) for matrix in self.matrices.values() for part in matrix.parameters(recurse=False)}
        named = self.model.named_parameters()
        return [name for name, parameter in named if parameter.requires_grad and id(parameter) not in own]

    def head_parameters(self) -> list[nn.Parameter]:
        """Return the trained parameters outside the adapter."""
        return [self.model.get_parameter(name) for name in self.head]

    def trainable_parameters(self) -> list[nn.Parameter]:
        """Return everything an optimizer should train: the adapter and the head.

        Raises:
            FlexLoRAError: all is frozen, as by ``model.requires_grad_(False)`` after ``attach``, and there is no head.
        """
        found = [*self.parameters(), *self.head_parameters()]
        if not found and not self.merged:
            raise FlexLoRAError(
                "P, λ and Q do not require gradients, so there is nothing to train: freeze before attach, or call "
                "requires_grad_(True) on them."
            )
        return found

    def regularization(self) -> Tensor:
        """Return the unweighted orthogonality regulariser, a differentiable fp32 scalar."""
        return orthogonality(self._stacks, self.config.orthogonality[0])

    def add_regularization_gradient(self) -> Tensor:
        """Add the weighted regulariser's gradient to ``.grad``; return its unweighted value, an fp32 scalar.

        Call it once an optimizer step, after clipping. With weight 0 no gradient is touched.
        """
        form, weight = self.config.orthogonality
        if not weight:
            with torch.no_grad():
                return self.regularization()
        return add_orthogonality_gradient(self._stacks, weight, form)

    def regularization_gradients(self) -> tuple[Tensor, dict[Tensor, Tensor]]:
        """Return the unweighted regulariser and the gradient of the weighted one by each P and Q; none with weight 0.

        In at least fp32, for optimizers that train copies of wider type than what the model computes with.
        """
        form, weight = self.config.orthogonality
        if not weight:
            with torch.no_grad():
                return self.regularization(), {}
        value, parameters, gradients = orthogonality_gradients(self._stacks, weight, form, wide=True)
        return value, dict(zip(parameters, gradients, strict=True))

    def singular_values(self) -> dict[str, np.ndarray]:
        """Return name → λ of the active directions in slot order, as it acts: signed, times its gate, float32."""
        # One copy for all matrices: on an accelerator each would be a synchronisation.
        return self.split_weights(self.flat_weights().float().cpu().numpy())

    def flat_weights(self) -> Tensor:
        """Return λ as it acts of all slots of all matrices, one after another, (sum of capacities,); a new tensor.

        Raises:
            FlexLoRAError: the model was moved to the meta device after ``attach``.
        """
        flat = torch.cat([matrix.weights().detach() for matrix in self.matrices.values()])
        if flat.is_meta:
            raise FlexLoRAError(
                "P, λ and Q have no values: the model was moved to the meta device after attach, where they are lost. "
                "Attach anew to a model that is loaded."
            )
        return flat

    def split_weights(self, flat: np.ndarray) -> dict[str, np.ndarray]:
        """Return name → the active entries of ``flat``, an array in the order of ``flat_weights``."""
        found, start = {}, 0
        for name, matrix in self.matrices.items():
            found[name] = flat[start : start + matrix.capacity][matrix.slots]
            start += matrix.capacity
        return found

    def split_empty(self, flat: np.ndarray) -> dict[str, np.ndarray]:
        """Return name → the entries of empty slots of ``flat``, an array in the order of ``flat_weights``."""
        found, start = {}, 0
        for name, matrix in self.matrices.items():
            found[name] = np.delete(flat[start : start + matrix.capacity], matrix.slots)
            start += matrix.capacity
        return found

    def clear_empty(self, flat: np.ndarray | None = None) -> list[str]:
        """Zero empty slots that somebody wrote to; return the names of their matrices.

        Args:
            flat: λ of all slots in the order of ``flat_weights``; None = it is fetched.
        """
        flat = self.flat_weights().float().cpu().numpy() if flat is None else flat
        moved = [name for name, values in self.split_empty(flat).items() if values.any()]
        for name in moved:
            self.matrices[name].clear_empty()
        if moved and not self._told:
            self._told = True
            warnings.warn(
                f"Empty slots of {moved[0]} held values and were cleared: something beside the optimizer, such as "
                "weights that are averaged or put back, moves directions that are gone.",
                FlexLoRAWarning,
                stacklevel=3,
            )
        return moved

    def reserve(self, rank: int) -> None:
        """Grow the storage of every matrix to at least ``rank`` slots, or as many as the matrix can use.

        For training that cannot follow new parameters, such as several processes. Call it before the optimizer is
        built.
        """
        for matrix in self.matrices.values():
            while matrix.capacity < min(rank, matrix.in_features, matrix.out_features):
                matrix.grow()

    def ranks(self) -> dict[str, int]:
        """Return name → number of active directions."""
        return {name: matrix.rank for name, matrix in self.matrices.items()}

    def limits(self) -> dict[str, int]:
        """Return name → the highest rank that the matrix may have: its smaller side."""
        return {name: min(matrix.in_features, matrix.out_features) for name, matrix in self.matrices.items()}

    def merge(self, *, dtype: torch.dtype | None = None, dequantize: bool = False) -> nn.Module:
        """Add ΔW to each frozen weight, put the plain layers back and return the model; a second call changes nothing.

        Args:
            dtype: type of the merged weights, such as ``torch.float32``; None = their own, to which ΔW is rounded.
            dequantize: turn layers whose weights are packed into plain ones; their rounding errors stay in them.

        A weight that another layer shares is copied first, so that the other one stays as it was.

        Raises:
            FlexLoRAError: packed weights, and ``dequantize`` is False.
        """
        from flexlora.merging import merge

        return merge(self, dtype, dequantize=dequantize)

    def save(self, folder: str | Path) -> Path:
        """Write the adapter and the head, compacted to the exact ranks, as safetensors; return the folder."""
        from flexlora.adapter_files import save_adapter

        return save_adapter(self, Path(folder))

    def export_peft(self, folder: str | Path) -> Path:
        """Write a PEFT LoRA adapter that computes the same ΔW; return the folder.

        lora_A = diag(λ) Q, lora_B = P, ``rank_pattern`` r_k and ``alpha_pattern`` alpha · r_k / initial_rank, so that
        PEFT's alpha / r is the fixed scale for every matrix.
        """
        from flexlora.adapter_files import export_peft

        return export_peft(self, Path(folder))

    def push_to_hub(self, repository: str, **options: Any) -> str:
        """Upload what ``export_peft`` writes, with a model card; options are those of ``flexlora.hub.push_to_hub``."""
        from flexlora.hub import push_to_hub

        return push_to_hub(self, repository, **options)


def attach(model: nn.Module, config: FlexLoRAConfig, *, spare_slots: int | None = None) -> Adapter:
    """Adapt a model in place: freeze it, add P diag(λ) Q to each target, keep the head trainable.

    The output does not change: λ = 0 everywhere.

    Args:
        model: any model of linear layers: ``nn.Linear``, GPT-2's ``Conv1D``, layers of quantised weights.
        config: ``target_modules`` t matches a module named n when n == t, n ends with "." + t, or t is a regular
            expression for all of n; None means every linear layer outside the head.
        spare_slots: empty slots that each matrix starts with; None = as many as initial_rank, so that storage hardly
            ever grows. Each holds parameters and moments: 0 takes no more memory than LoRA. Storage that is full
            doubles, with new parameters: lists of parameters, compiled models and graphs made before know nothing of
            them.

    Returns:
        The adapter; ``matrices`` are named as in ``model.named_modules()`` before the call.

    Raises:
        FlexLoRAError: nothing matches, a rank that does not fit, a model that is adapted already, or weights that are
            not loaded.
    """
    if spare_slots is not None and spare_slots < 0:
        raise FlexLoRAError(f"spare_slots={spare_slots} must be at least 0.")
    config = FlexLoRAConfig.of(config)
    spare = config.initial_rank if spare_slots is None else spare_slots
    capacity = config.initial_rank + (0 if config.max_rank == config.initial_rank else spare)
    return attach_directions(model, config, gaussian_start(config.initial_rank, config.initial_std), capacity)


def gaussian_start(rank: int, std: float | None) -> Callable[[FlexLoRALinear, Generator], None]:
    """Return what fills ``rank`` slots with λ = 0 and Gaussian P, Q; std None = 1/√dim."""

    def draw(matrix: FlexLoRALinear, generator: Generator) -> None:
        for slot in range(rank):
            p = gaussian(matrix.out_features, std, generator)
            matrix.fill(slot, p, 0.0, gaussian(matrix.in_features, std, generator))

    return draw


def attach_directions(
    model: nn.Module,
    config: AdapterConfig,
    draw: Callable[[FlexLoRALinear, Generator], None],
    capacity: int | None = None,
) -> Adapter:
    """Adapt a model in place, with first directions of any kind and the settings of any method; see ``attach``.

    ``draw`` fills the slots of one matrix from a generator that belongs to it. Each matrix has ``capacity`` slots, None
    = initial_rank.
    """
    targets = find_targets(model, **AdapterConfig.of(config).selection)
    for name, module in targets.items():
        check_weight(name, module)
        check_rank(name, config.initial_rank, linear_shape(module) or (0, 0))
    whole = {id(parameter) for parameter in trained_whole(model, config.modules_to_save)}
    tell_new_embeddings(model, whole)
    for parameter in model.parameters():
        # Packed weights can have no gradient.
        if id(parameter) in whole or parameter.requires_grad:
            parameter.requires_grad_(id(parameter) in whole)
    places, matrices = places_of(model), {}
    for index, (name, module) in enumerate(targets.items()):
        rank = config.initial_rank
        matrix = FlexLoRALinear(module, name=name, rank=rank, capacity=capacity or rank, scale=config.scale)
        for part in matrix_parameters(matrix):
            part.requires_grad_(False)
        draw(matrix, direction_generator(config.seed, 0, index, config.draws))
        for parent, child in places[id(module)]:
            setattr(parent, child, matrix)
        matrices[name] = matrix
    return Adapter(model, config, matrices)


def matrix_parameters(matrix: FlexLoRALinear) -> tuple[nn.Parameter, nn.Parameter, nn.Parameter]:
    """Return P (transposed), λ and Q of one matrix."""
    return matrix.Pt, matrix.lam, matrix.Q


def places_of(model: nn.Module) -> dict[int, list[tuple[nn.Module, str]]]:
    """Return id of a module → every parent and name it is reached by: one layer may stand in several places."""
    found: dict[int, list[tuple[nn.Module, str]]] = {}
    for parent in model.modules():
        # Not named_children, which leaves out a second name in one parent.
        for name, child in parent._modules.items():
            if child is not None:
                found.setdefault(id(child), []).append((parent, name))
    return found

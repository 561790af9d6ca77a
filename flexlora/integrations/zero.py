"""``ZeroOptimizer``: what DeepSpeed's ZeRO 1 and 2 train in flat partitions, as FlexLoRA moves and corrects it."""

# torch's own optimizers are built on the _foreach functions; it does not declare them.
# pyright: reportPrivateImportUsage=false
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import Optimizer

from flexlora.adapter import Adapter
from flexlora.errors import FlexLoRAError
from flexlora.integrations.zero_layout import Piece, layout, part_of, within
from flexlora.kept_elsewhere import KeptElsewhere
from flexlora.optimizer_state import YoungDirections

INSTEAD = "use bf16 or fp32 with ZeRO 1 or 2 and no offload, FSDP2 (docs/gpus.md), or plain data parallelism"


class ZeroOptimizer(KeptElsewhere):
    """Stands for a ZeRO optimizer of stage 1 or 2 where FlexLoRA asks for an optimizer.

    ZeRO trains fp32 copies of all parameters in flat partitions, one a process. Storage that was reserved never grows,
    so an event only writes values: it sees copies and moments whole, and every process takes back its part. The
    regulariser's gradient joins in each step after clipping, as elsewhere, and new directions are corrected for their
    age where they lie.

        adapter.reserve(max_rank)
        optimizer = torch.optim.AdamW(adapter.trainable_parameters(), lr=1e-4, weight_decay=0.0)
        engine, optimizer, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=config)
        zero = ZeroOptimizer(adapter, optimizer)
        recorder = Recorder(adapter, zero, settings, "runs/mine")
        ...
        engine.backward(loss)
        engine.step()
        recorder.step(step, loss, zero.regularizer)

    Where what lies is found out through ``deepspeed.utils.safe_set_full_fp32_param``. ``detach()`` ends it.

    Attributes:
        zero: what ``deepspeed.initialize`` returned as the optimizer; accelerate's wrapper around it is taken off.
    """

    def __init__(self, adapter: Adapter, zero: Any) -> None:
        """Find out which process trains which values, and join in its steps from now on.

        Raises:
            FlexLoRAError: it is no ZeRO optimizer of stage 1 or 2, one that is not followed, or does not train the
                adapter; or the adapter's storage may still grow.
        """
        if type(zero).__name__ == "DeepSpeedOptimizerWrapper":
            # What accelerate's prepare returns: its own step does nothing, the engine's backward makes the steps.
            zero = zero.optimizer
        check_zero(zero)
        _check_room(adapter)
        self.adapter, self.zero = adapter, zero
        self._parameters = adapter.parameters()
        self._flats: list[Tensor] = [group["params"][0] for group in self._inner.param_groups]
        self._groups = {id(flat): place for place, flat in enumerate(self._flats)}
        self._pieces, self._group_of = layout(self._parameters, self._flats)
        self._check_layout()
        self._group_by = dict(zip(self._parameters, self._group_of, strict=True))
        groups = [{**_settings(group), "params": []} for group in self._inner.param_groups]
        for parameter, group in self._group_by.items():
            groups[group]["params"].append(parameter)
        self._regularizer: Tensor | None = None
        self._gradients: dict[Tensor, Tensor] = {}
        self._lam = {id(matrix.lam) for matrix in adapter.matrices.values()}
        self._of_lam: dict[Piece, Tensor] = {}
        self._whole: dict[nn.Parameter, dict[str, Any]] | None = None
        super().__init__(groups, self._inner.defaults)
        self.state: Any = _State(self)
        self._hook = self._inner.register_step_pre_hook(lambda *_: self._join_in())

    @property
    def _inner(self) -> Optimizer:
        """Return the optimizer of torch's kind that steps over the partitions."""
        return self.zero.optimizer

    @property
    def regularizer(self) -> Tensor:
        """Return the unweighted regulariser that the last step was made with, an fp32 scalar."""
        if self._regularizer is None or self._skipped:
            with torch.no_grad():
                return self.adapter.regularization_gradients()[0]
        return self._regularizer

    @property
    def _skipped(self) -> bool:
        return bool(getattr(self.zero, "overflow", False))

    def decayed(self) -> bool:
        """Tell whether weight decay pulls at P, λ or Q."""
        decays = [group.get("weight_decay") for group in self._inner.param_groups]
        return any(decays[group] for group in self._group_of)

    def detach(self) -> None:
        """Join in no further step."""
        self._hook.remove()

    def step(self, closure: Any = None) -> NoReturn:
        """Refuse: the engine makes the steps.

        Raises:
            FlexLoRAError: always.
        """
        raise FlexLoRAError("DeepSpeed makes the steps: call engine.step().")

    def register_step_pre_hook(self, hook: Callable[..., Any]) -> Any:
        """Call ``hook`` before each step over partitions, with all of them or one after another."""
        return self._inner.register_step_pre_hook(hook)

    def register_step_post_hook(self, hook: Callable[..., Any]) -> Any:
        """Call ``hook`` after each step over partitions."""
        return self._inner.register_step_post_hook(hook)

    def young_directions(self) -> YoungDirections:
        """Return what corrects the movement of new directions in the partitions."""
        return _YoungPieces(self)

    def pieces(self, parameters: Mapping[nn.Parameter, Any]) -> list[tuple[nn.Parameter, Piece, Tensor]]:
        """Return what this process trains of those of the parameters whose partition steps now, as views of it."""
        now = {self._groups[id(group["params"][0])] for group in self._inner.param_groups}
        found = [(self._parameters[piece.parameter], piece) for piece in self._pieces if piece.group in now]
        return [
            (parameter, piece, part_of(self._flats, piece)) for parameter, piece in found if parameter in parameters
        ]

    @torch.no_grad()
    def _join_in(self) -> None:
        """Add the regulariser's gradient to that of the partitions which step now; keep what scores need."""
        now = {self._groups[id(group["params"][0])] for group in self._inner.param_groups}
        if 0 in now:
            # What the model computes with is still that of before the step, in every process.
            self._regularizer, self._gradients = self.adapter.regularization_gradients()
            self._of_lam = {}
            self._refresh()
        gradients = [flat.grad for flat in self._flats]
        own, added = [], []
        for piece in self._pieces:
            if piece.group not in now or gradients[piece.group] is None:
                continue
            parameter, part = self._parameters[piece.parameter], part_of(gradients, piece)
            if id(parameter) in self._lam:
                self._of_lam[piece] = part.clone()
            elif parameter in self._gradients:
                own.append(part)
                added.append(within(self._gradients[parameter], piece).to(part.dtype))
        if own:
            torch._foreach_add_(own, added)
        if len(self._flats) - 1 in now:
            self._gradients = {}

    def _check_layout(self) -> None:
        """Refuse where places that DeepSpeed tells are not those where the values lie.

        Raises:
            FlexLoRAError: likewise in every process.
        """
        masters = self._gather(self._flats)
        if not all(
            torch.equal(parameter.detach(), own.to(parameter.dtype))
            for parameter, own in zip(self._parameters, masters, strict=True)
        ):
            raise FlexLoRAError(
                "The partitions do not hold what the model computes with, at the places that DeepSpeed tells. With "
                "round_robin_gradients DeepSpeed 0.19 tells wrong ones: leave it out. Load weights before "
                "deepspeed.initialize, or through the engine."
            )

    def _refresh(self) -> None:
        """Take over learning rates and the like, which schedules set in the groups that step."""
        for group in self._inner.param_groups:
            self.param_groups[self._groups[id(group["params"][0])]].update(_settings(group))

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Let P, λ and Q be the fp32 copies, whole, and the state theirs; every process takes back its part."""
        if self._whole is not None:
            yield
            return
        state = self._state_by_group()
        keys = sorted({key for own in state for key, value in own.items() if _by_value(value)})
        masters = self._gather(self._flats)
        kept = {key: self._gather([own.get(key) for own in state]) for key in keys}
        gradients = self._gathered_lam_gradients()
        computed = [(parameter, parameter.data, parameter.grad) for parameter in self._parameters]
        self._whole = {}
        try:
            for place, parameter in enumerate(self._parameters):
                own = state[self._group_of[place]]
                self._whole[parameter] = {key: kept[key][place] if key in kept else own[key] for key in own}
                parameter.grad = None
                parameter.data = masters[place]
                parameter.grad = gradients.get(place)
            yield
        finally:
            self._whole = None
            for parameter, data, gradient in computed:
                trained = parameter.data
                parameter.grad = None
                parameter.data = data.copy_(trained)
                parameter.grad = gradient
            self._scatter(masters, self._flats)
            for key, values in kept.items():
                # Empty where the state was let go of meanwhile.
                self._scatter(values, [own.get(key) for own in self._state_by_group()])

    def _state_by_group(self) -> list[dict[str, Any]]:
        """Return what the inner optimizer keeps of each partition.

        Raises:
            FlexLoRAError: something that has no value of its own for each trained one.
        """
        found = [dict(self._inner.state.get(flat, {})) for flat in self._flats]
        for flat, own in zip(self._flats, found, strict=True):
            for key, value in own.items():
                if _by_value(value) and value.shape != flat.shape:
                    raise FlexLoRAError(
                        f"{type(self._inner).__name__} keeps {key!r} {tuple(value.shape)} of a partition of "
                        f"{len(flat)} values, which cannot follow a direction that comes or goes. Use AdamW."
                    )
        return found

    def _reset(self) -> None:
        """Let the inner optimizer forget: Adam's state is zero at its beginning, and ZeRO holds on to its tensors."""
        for own in self._state_by_group():
            if own.keys() - {"exp_avg", "exp_avg_sq", "max_exp_avg_sq", "step"}:
                raise FlexLoRAError(
                    f"optimizer_at_event='reset' under ZeRO knows Adam's state alone, not that of "
                    f"{type(self._inner).__name__}. Use 'keep'."
                )
        for flat in self._flats:
            for key, value in self._inner.state[flat].items():
                if isinstance(value, Tensor):
                    value.zero_()
                else:
                    self._inner.state[flat][key] = 0
        for own in (self._whole or {}).values():
            for value in own.values():
                if isinstance(value, Tensor):
                    value.zero_()

    def _gather(self, flats: Sequence[Tensor | None]) -> list[Tensor]:
        """Return values of all parameters, whole, from those that lie in partitions like ``flats``; None = zeros."""
        sizes = [parameter.numel() for parameter in self._parameters]
        like = self._flats[0]
        everything = torch.zeros(sum(sizes), dtype=torch.float32, device=like.device)
        values = [part.view(p.shape) for part, p in zip(everything.split(sizes), self._parameters, strict=True)]
        held = [piece for piece in self._pieces if flats[piece.group] is not None]
        if held:
            torch._foreach_copy_(
                [within(values[piece.parameter], piece) for piece in held], [part_of(flats, piece) for piece in held]
            )
        # Each value is one process's, and zero in the others.
        dist.all_reduce(everything)
        return values

    def _scatter(self, values: Sequence[Tensor], flats: Sequence[Tensor | None]) -> None:
        held = [piece for piece in self._pieces if flats[piece.group] is not None]
        if held:
            torch._foreach_copy_(
                [part_of(flats, piece) for piece in held], [within(values[piece.parameter], piece) for piece in held]
            )

    def _gathered_lam_gradients(self) -> dict[int, Tensor]:
        """Return place of each λ → its clipped gradient in the last step; NaN of a step that was left out for NaN."""
        places = [place for place, parameter in enumerate(self._parameters) if id(parameter) in self._lam]
        if not places or self._regularizer is None:
            return {}
        sizes = [self._parameters[place].numel() for place in places]
        flat = torch.zeros(sum(sizes), dtype=torch.float32, device=self._flats[0].device)
        found = dict(zip(places, flat.split(sizes), strict=True))
        for piece, gradient in self._of_lam.items():
            within(found[piece.parameter], piece).copy_(gradient)
        dist.all_reduce(flat)
        if self._skipped:
            flat.fill_(torch.nan)
        return found


class _State(MutableMapping[Any, Any]):
    """State by the model's parameters: that of ``whole`` inside of it, outside only what is of a tensor as a whole."""

    def __init__(self, owner: ZeroOptimizer) -> None:
        self._owner = owner

    def __getitem__(self, parameter: Any) -> dict[str, Any]:
        owner = self._owner
        if owner._whole is not None:
            return owner._whole[parameter]
        own = owner._inner.state.get(owner._flats[owner._group_by[parameter]], {})
        found = {key: value for key, value in own.items() if not _by_value(value)}
        if not found:
            raise KeyError(parameter)
        return found

    def __setitem__(self, parameter: Any, value: Any) -> None:
        raise FlexLoRAError("Under ZeRO storage cannot grow: call adapter.reserve(max_rank) before the optimizer.")

    def __delitem__(self, parameter: Any) -> None:
        raise FlexLoRAError("Under ZeRO storage cannot grow: call adapter.reserve(max_rank) before the optimizer.")

    def __iter__(self) -> Iterator[Any]:
        return (parameter for parameter in self._owner._parameters if self.get(parameter))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def clear(self) -> None:
        self._owner._reset()


class _YoungPieces(YoungDirections):
    """Corrects the movement of new directions in what one process trains of them."""

    def __init__(self, optimizer: ZeroOptimizer) -> None:
        super().__init__(optimizer)
        self._zero = optimizer
        self._pieces: list[tuple[nn.Parameter, Piece, Tensor]] = []
        self._before: list[Tensor] = []

    @torch.no_grad()
    def _keep(self) -> None:
        self._pieces = self._zero.pieces(self.born) if self.born else []
        values = [values for *_, values in self._pieces]
        self._before = list(torch._foreach_mul(values, 1.0)) if values else []

    @torch.no_grad()
    def _move(self) -> None:
        before = {piece: value for (_, piece, _), value in zip(self._pieces, self._before, strict=True)}
        pieces, self._pieces, self._before = self._pieces, [], []
        for place in {piece.group for _, piece, _ in pieces}:
            own = [found for found in pieces if found[1].group == place]
            shares = self.shares(self._zero.param_groups[place], [parameter for parameter, *_ in own], torch.float32)
            if not shares:
                continue
            moved = [before[piece] for _, piece, _ in own]
            values = [values for *_, values in own]
            weights = [within(shares[parameter], piece) for parameter, piece, _ in own]
            torch._foreach_lerp_(moved, values, weights)
            torch._foreach_copy_(values, moved)


def check_zero(zero: Any) -> None:
    """Refuse what is no ZeRO optimizer that can be followed.

    Raises:
        FlexLoRAError: which kind it is, and what to use.
    """
    name = type(zero).__name__
    if "stage3" in name.lower():
        raise FlexLoRAError(f"ZeRO 3 cuts up the parameters themselves: {INSTEAD}.")
    if not name.startswith(("DeepSpeedZeroOptimizer", "BF16_Optimizer")):
        raise FlexLoRAError(
            "ZeroOptimizer takes the second value of deepspeed.initialize, or what accelerate's prepare makes of an "
            f"optimizer, with ZeRO stage 1 or 2, not {name}."
        )
    if getattr(zero, "cpu_offload", False):
        raise FlexLoRAError(f"ZeRO's offload keeps what is trained on another device: {INSTEAD}.")
    if getattr(zero, "dtype", None) == torch.float16 or getattr(zero, "torch_autocast_gradscaler", None) is not None:
        raise FlexLoRAError(f"fp16 under ZeRO skips steps, which no event can follow: {INSTEAD}.")


def _check_room(adapter: Adapter) -> None:
    highest = getattr(adapter.config, "max_rank", None)
    if highest is None:
        wide = 2 * adapter.config.initial_rank
        raise FlexLoRAError(
            f"ZeRO cannot follow storage that grows: set max_rank, for example FlexLoRAConfig(max_rank={wide})."
        )
    limits = adapter.limits()
    if any(matrix.capacity < min(highest, limits[name]) for name, matrix in adapter.matrices.items()):
        raise FlexLoRAError(
            f"ZeRO cannot follow storage that grows: call adapter.reserve({highest}) before the optimizer is built."
        )


def _settings(group: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in group.items() if key != "params"}


def _by_value(value: object) -> bool:
    """True for what has a number for each that is trained, unlike a count of steps."""
    return isinstance(value, Tensor) and value.numel() > 1

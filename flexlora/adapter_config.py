"""``AdapterConfig``: what the configurations of all methods share, checked and frozen. Torch-free."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, fields
from typing import TYPE_CHECKING, Any, Self

from flexlora.errors import FlexLoRAError
from flexlora.schedules import event_steps
from flexlora.settings import checked, option, unknown_key

AS_PRESET: Any = type("AsPreset", (), {"__repr__": lambda self: "<as the preset>"})()
"""Default of the fields that a preset governs; ``__post_init__`` replaces it, so no attribute ever holds it."""

_ONE_PRESET: Mapping[str, Mapping[str, object]] = {"paper": {}}

PEFT_NAMES = {
    "r", "lora_alpha", "lora_dropout", "task_type", "inference_mode", "bias", "use_rslora", "use_dora", "rank_pattern",
    "init_lora_weights", "alpha_pattern", "peft_type", "trainable_token_indices", "layers_pattern", "method",
}  # fmt: skip
"""Options of ``flexlora.peft.FlexLoRAConfig``, or of PEFT's LoRA, that no configuration here has."""

DRAWS = ("torch", "counter")
FORMS = ("mean_squared", "sum_squared", "mean_norm")


@dataclass(frozen=True, kw_only=True)
class AdapterConfig:
    """Settings that every method has: ΔW = (alpha / initial_rank) · P diag(λ) Q beside each adapted matrix.

    A field that is left out takes its preset's value, or is derived. Reading a field always gives the value in use.

    Raises:
        FlexLoRAError: (a ValueError) any value that cannot work, with what is allowed.
    """

    # Not annotated: dataclasses would list them among the fields.
    presets = _ONE_PRESET
    """Preset → the value of every field that it governs."""
    roots = ("preset", "initial_rank", "total_steps")
    """Fields from which others are derived; ``replace`` keeps what was derived in step with them."""

    preset: str = option("paper", "Starting point.")
    target_modules: tuple[str, ...] | None = option(
        None,
        "Modules to adapt: full names, endings such as query,value, or regular expressions for a whole name; none or "
        "all-linear = every linear layer but the head.",
    )
    exclude_modules: tuple[str, ...] | None = option(
        None, "Modules that target_modules matches and that are not adapted, written likewise."
    )
    layers_to_transform: tuple[int, ...] | None = option(None, "Layers to adapt, by number from 0; none = all.")
    modules_to_save: tuple[str, ...] | None = option(
        None, "Modules trained whole beside the adapter; heads and what no checkpoint brought are found by themselves."
    )
    initial_rank: int = option(8, "Directions of each matrix at the start.", least=1)
    alpha: float = option(None, "ΔW is scaled by alpha / initial_rank for ever; none = 2 · initial_rank.", above=0)
    total_steps: int | None = option(None, "Optimizer steps of the run, T.", least=1)
    seed: int = option(0, "Draws the directions and settles ties.", least=0)
    draws: str = option(
        "torch", "Where random numbers come from; counter = the generator of docs/planted.md.", choices=DRAWS
    )

    def __new__(cls, *given: Any, **options: Any) -> Self:
        """Refuse what the dataclass would refuse, by what is meant."""
        if given:
            raise FlexLoRAError(f"{cls.__name__} takes settings by name, such as initial_rank=8; got {given[0]!r}.")
        strange = [key for key in options if key not in cls.__dataclass_fields__]
        if PEFT_NAMES & set(strange):
            raise FlexLoRAError(
                f"{cls.__name__} has no {', '.join(strange)}. The one for PEFT models has: from flexlora.peft import "
                "FlexLoRAConfig. Here, r is called initial_rank, and lora_alpha alpha."
            )
        if strange:
            raise FlexLoRAError(unknown_key(strange[0], cls.__dataclass_fields__))
        return super().__new__(cls)

    def __post_init__(self) -> None:
        items: Mapping[str, Field[Any]] = self.__dataclass_fields__
        self._set("preset", checked(items["preset"], self.preset))
        if self.preset not in self.presets:
            raise FlexLoRAError(f"Unknown preset {self.preset!r}. Choose one of: {', '.join(self.presets)}.")
        for name, value in self.presets[self.preset].items():
            if getattr(self, name) is AS_PRESET:
                self._set(name, value)
        self._derive_rank()
        if self.alpha is None:
            self._set("alpha", 2 * checked(items["initial_rank"], self.initial_rank))
        for name, item in items.items():
            self._set(name, checked(item, getattr(self, name)))
        self._check()
        if self.total_steps is not None:
            self._derive(self.total_steps)

    @property
    def scale(self) -> float:
        """Factor s of ΔW = s · P diag(λ) Q: alpha / initial_rank."""
        return self.alpha / self.initial_rank

    @property
    def orthogonality(self) -> tuple[str, float]:
        """Form and weight γ of the orthogonality regulariser; weight 0 for a method that has none."""
        return "mean_squared", 0.0

    def is_event(self, t: int) -> bool:
        """True when rank may change after optimizer step t; never for a method that moves no rank."""
        return False

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            # What PEFT and TRL ask a configuration first; nobody else does.
            if name in ("base_model_name_or_path", "peft_type"):
                raise FlexLoRAError(
                    f"This {type(self).__name__} is for attach, not for PEFT: there, from flexlora.peft import "
                    "FlexLoRAConfig, with r and lora_alpha in place of initial_rank and alpha."
                )
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def selection(self) -> dict[str, Any]:
        """Which modules are adapted and which are trained whole, as ``find_targets`` takes it."""
        keys = ("target_modules", "exclude_modules", "layers_to_transform", "modules_to_save")
        return {key: getattr(self, key) for key in keys} | {"least_side": self.initial_rank}

    def to_dict(self) -> dict[str, Any]:
        """Return every field as plain JSON values."""
        return {item.name: _plain(getattr(self, item.name)) for item in fields(self)}

    @classmethod
    def of(cls, config: Any) -> Self:
        """Return the configuration as it is.

        Raises:
            FlexLoRAError: it is none of this kind, as PEFT's of the same name.
        """
        if isinstance(config, cls):
            return config
        if hasattr(config, "peft_type"):
            raise FlexLoRAError(
                f"This {type(config).__name__} is for PEFT: get_peft_model(model, config). Here, from flexlora import "
                "FlexLoRAConfig, with initial_rank and alpha in place of r and lora_alpha."
            )
        raise FlexLoRAError(f"A {cls.__name__} is needed, not a {type(config).__name__}.")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Rebuild a configuration from ``to_dict``.

        Raises:
            FlexLoRAError: a key that this version does not know, or a bad value.
        """
        known = cls.__dataclass_fields__
        for key in values:
            if key not in known:
                raise FlexLoRAError(unknown_key(key, known))
        return cls(**values)

    def replace(self, **changes: Any) -> Self:
        """Return a checked copy with some fields changed.

        A field that holds just what the preset and the roots imply goes on following them; every other field keeps its
        value.

        Raises:
            FlexLoRAError: an unknown field or a bad value.
        """
        roots = {key: getattr(self, key) for key in self.roots}
        implied = type(self)(**roots)
        own = {key: value for key, value in vars(self).items() if value != getattr(implied, key)}
        return self.from_dict({**roots, **own, **changes})

    def _derive_rank(self) -> None:
        """Fill in ranks that follow from each other, before anything is checked."""

    def _check(self) -> None:
        """Raise ``FlexLoRAError`` when values do not fit together."""

    def _derive(self, total: int) -> None:
        """Fill in what follows from the number of steps."""

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)


@dataclass(frozen=True, kw_only=True)
class OrthogonalConfig(AdapterConfig):
    """For methods that keep P and Q near-orthonormal, so that λ is near the singular values of ΔW."""

    regularizer: str = option(
        "mean_squared",
        "Form of the orthogonality term: mean or sum over matrices of the squared norm, or mean of the norm.",
        choices=FORMS,
    )
    regularization_weight: float = option(0.1, "γ: weight of the orthogonality term in the loss.", least=0)

    @property
    def orthogonality(self) -> tuple[str, float]:
        """Form and weight γ of the orthogonality regulariser."""
        return self.regularizer, self.regularization_weight


@dataclass(frozen=True, kw_only=True)
class EventConfig(AdapterConfig):
    """For methods that decide at events in a window: t = warmup_steps + k · interval, t < total_steps − final_steps.

    Once total_steps T is known, warmup_steps = int(0.1 T), final_steps = int(0.3 T) and interval = max(1, T // 40)
    unless given.
    """

    window_shares = (0.1, 0.3)
    """Shares of the run before and after the window, unless given."""

    warmup_steps: int | None = option(None, "No event up to this step; none = int(0.1 · T).", live=True, least=0)
    final_steps: int | None = option(None, "No event in the last steps; none = int(0.3 · T).", live=True, least=0)
    interval: int | None = option(None, "Steps between events; none = max(1, T // 40).", live=True, least=1)

    def event_steps(self) -> tuple[int, ...]:
        """Return the steps at which rank may move."""
        warmup, interval, total, final = self.window()
        return event_steps(warmup_steps=warmup, interval=interval, total_steps=total, final_steps=final)

    def is_event(self, t: int) -> bool:
        """True when rank may move after optimizer step t."""
        warmup, interval, _, _ = self.window()
        return warmup < t < self.window_end and (t - warmup) % interval == 0

    def window(self) -> tuple[int, int, int, int]:
        """Return warmup_steps, interval, total_steps and final_steps.

        Raises:
            FlexLoRAError: total_steps is not known.
        """
        if self.total_steps is None or self.warmup_steps is None or self.interval is None or self.final_steps is None:
            kind = type(self).__name__
            raise FlexLoRAError(f"total_steps is needed to know when events happen: {kind}(total_steps=...).")
        return self.warmup_steps, self.interval, self.total_steps, self.final_steps

    @property
    def window_end(self) -> int:
        """T − t_final, the step before which every event of the window lies; errors are those of ``window``."""
        _, _, total, final = self.window()
        return total - final

    def _scheduled(self, schedule: Callable[..., int], t: int, **options: Any) -> int:
        warmup, _, total, final = self.window()
        return schedule(t, warmup_steps=warmup, total_steps=total, final_steps=final, **options)

    def _moves(self) -> bool:
        return True

    def _has_room(self) -> bool:
        return bool(self.event_steps())

    def _derive(self, total: int) -> None:
        start, end = self.window_shares
        derived = {"warmup_steps": int(start * total), "final_steps": int(end * total), "interval": max(1, total // 40)}
        for name, value in derived.items():
            if getattr(self, name) is None:
                self._set(name, value)
        # In a single step no setting makes room, so there is nothing to advise.
        if total == 1 or not self._moves() or self._has_room():
            return
        asked = ", ".join(f"{name}={getattr(self, name)}" for name in derived)
        fits = ", ".join(f"{name}={value}" for name, value in derived.items())
        raise FlexLoRAError(
            f"No room for an event in {total} steps with {asked}: events are at warmup_steps + k · interval, "
            f"before total_steps - final_steps. These fit: {fits}."
        )


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, tuple) else value

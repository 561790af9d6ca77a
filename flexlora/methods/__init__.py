"""The methods that share one adapter, loop and log. Torch-free: what a page needs to offer and check them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from flexlora.config import PRESETS, FlexLoRAConfig
from flexlora.errors import FlexLoRAError

if TYPE_CHECKING:
    from torch import nn

    from flexlora.adapter import Adapter


@dataclass(frozen=True)
class Method:
    """One way to spend rank.

    Attributes:
        name: key in ``METHODS``.
        title: as shown to people.
        summary: one sentence: what moves, by what score.
        presets: names that ``--preset`` accepts; the first is the default.
        options: configuration fields that belong to the method.
        fixed: configuration values that the method implies.
        allocates: True when rank moves while training.
    """

    name: str
    title: str
    summary: str
    presets: tuple[str, ...]
    options: tuple[str, ...]
    fixed: Mapping[str, Any]
    allocates: bool

    def config(self, preset: str | None, settings: Mapping[str, Any]) -> FlexLoRAConfig:
        """Build the configuration.

        Raises:
            FlexLoRAError: a preset or an option that does not belong to the method, or a bad value.
        """
        preset = self.presets[0] if preset is None else preset
        if preset not in self.presets:
            allowed = ", ".join(self.presets)
            raise FlexLoRAError(f"Unknown preset {preset!r} for method {self.name}. Choose one of: {allowed}.")
        foreign = [key for key in settings if key not in self.options]
        if foreign:
            raise FlexLoRAError(
                f"{', '.join(foreign)} does not belong to method {self.name}. "
                f"Its options are: {', '.join(self.options)}."
            )
        return FlexLoRAConfig(preset=preset, **{**self.fixed, **settings})

    def attach(self, model: nn.Module, config: FlexLoRAConfig) -> Adapter:
        """Adapt the model (imports torch)."""
        return import_module(f"flexlora.methods.{self.name}").attach(model, config)


def _fields() -> tuple[str, ...]:
    return tuple(key for key in FlexLoRAConfig.__dataclass_fields__ if key != "preset")


METHODS: dict[str, Method] = {
    "flexlora": Method(
        name="flexlora",
        title="FlexLoRA",
        summary="Moves directions from the matrices with the lowest spectral entropy to those with the highest.",
        presets=tuple(PRESETS),
        options=_fields(),
        fixed={},
        allocates=True,
    ),
    "lora": Method(
        name="lora",
        title="LoRA",
        summary="The same rank for every matrix, for ever: λ is 1 and frozen, P starts at zero.",
        presets=("paper",),
        options=("target_modules", "initial_rank", "alpha", "total_steps", "seed"),
        fixed={"initial_budget": 0, "regularization_weight": 0.0},
        allocates=False,
    ),
}
"""Method name → ``Method``; its torch half lives in ``flexlora/methods/<name>.py``."""

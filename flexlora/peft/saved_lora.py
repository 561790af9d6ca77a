"""``SavedLora``: the configuration of the LoRA that PEFT is loading, whose scale its weights do not tell."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import Any

from peft import LoraConfig, PeftConfig, PeftModel
from peft.utils.other import get_pattern_key

from flexlora.errors import FlexLoRAError
from flexlora.integrations.training_loop import owner, stack

NOT_PLAIN = ("use_dora", "lora_bias")
"""Options of ``LoraConfig`` under which a LoRA computes more than scale · B A."""


@dataclass(frozen=True)
class SavedLora:
    """What ``adapter_config.json`` says beside the weights."""

    config: LoraConfig

    def scale(self, name: str, rank: int) -> float:
        """Return by what PEFT scales B A of a matrix, by its name and rank."""
        alphas = self.config.alpha_pattern or {}
        alpha = alphas.get(get_pattern_key(list(alphas), name), self.config.lora_alpha)
        return alpha / (math.sqrt(rank) if self.config.use_rslora else rank)


def being_loaded() -> SavedLora | None:
    """Return the LoRA that ``PeftModel.load_adapter`` is loading; None where a state dictionary was handed over.

    PEFT hands the tuner the weights alone, and where a configuration was given, as by ``from_pretrained(config=)``, it
    does not read the saved one: which folder it is, only the call that loads it knows.

    Raises:
        FlexLoRAError: the folder holds no LoRA, or one that computes something else.
    """
    for frame in stack(sys._getframe(1)):
        if frame.f_code is PeftModel.load_adapter.__code__ and isinstance(owner(frame), PeftModel):
            return _read(frame.f_locals["model_id"], frame.f_locals.get("hf_hub_download_kwargs") or {})
    return None


def _read(place: Any, download: dict[str, Any]) -> SavedLora:
    try:
        config = PeftConfig.from_pretrained(place, **download)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise FlexLoRAError(
            f"{place} holds weights and no adapter_config.json that could be read, so their scale is not known: "
            f"{' '.join(str(error).split())}"
        ) from error
    if not isinstance(config, LoraConfig):
        raise FlexLoRAError(f"{place} holds a {type(config).__name__}; FlexLoRAConfig goes on from a LoRA only.")
    asked = [key for key in NOT_PLAIN if getattr(config, key, False)]
    if asked:
        raise FlexLoRAError(f"{place} is a LoRA with {asked[0]}=True, which P diag(λ) Q cannot hold: only plain ones.")
    return SavedLora(config)

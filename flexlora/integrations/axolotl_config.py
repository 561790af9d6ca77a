"""Axolotl's words for a LoRA as ours: what means the same, what is said in the block ``flexlora:``, what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flexlora.config import FlexLoRAConfig
from flexlora.errors import FlexLoRAError

_SAME = {
    "lora_r": "initial_rank",
    "lora_alpha": "alpha",
    "lora_target_modules": "target_modules",
    "lora_modules_to_save": "modules_to_save",
    "peft_layers_to_transform": "layers_to_transform",
}
"""Axolotl's word → ours."""
_REFUSED = (
    "lora_dropout", "lora_rank_pattern", "lora_alpha_pattern", "lora_target_parameters", "lora_mlp_kernel",
    "lora_qkv_kernel", "lora_o_kernel", "lora_embedding_kernel", "loraplus_lr_ratio", "peft_use_dora",
    "peft_use_rslora", "peft_layers_pattern", "peft_layer_replication", "peft_init_lora_weights",
    "peft_trainable_token_indices", "relora", "load_in_8bit", "load_in_4bit", "gptq",
)  # fmt: skip
"""Settings of its LoRA that mean nothing here; without a word they would be lost."""


def check_block(block: Mapping[str, Any]) -> None:
    """Raise ``FlexLoRAError`` for a field of the block that does not exist, or whose value cannot work."""
    FlexLoRAConfig.from_dict(_own(block))


def config_of(cfg: Mapping[str, Any]) -> FlexLoRAConfig:
    """Return our configuration of one of Axolotl's.

    Raises:
        FlexLoRAError: a setting that means nothing here, or one that is said twice.
    """
    lost = [key for key in _REFUSED if cfg.get(key)]
    if lost:
        raise FlexLoRAError(f"adapter: flexlora has no {', '.join(lost)}: take it out of the configuration.")
    own = _own(cfg.get("flexlora") or {})
    told = {ours: cfg.get(theirs) for theirs, ours in _SAME.items() if cfg.get(theirs) is not None}
    if cfg.get("lora_target_linear"):
        told["target_modules"] = "all-linear"
    if isinstance(told.get("target_modules"), str):
        told["target_modules"] = (told["target_modules"],)
    if cfg.get("seed") is not None and "seed" not in own:
        told["seed"] = cfg["seed"]
    if twice := sorted(set(told) & set(own)):
        raise FlexLoRAError(
            f"{', '.join(twice)} stands in the block flexlora: and in Axolotl's own words. Say it once."
        )
    return FlexLoRAConfig.from_dict({**told, **own})


def _own(block: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in block.items() if key != "folder"}

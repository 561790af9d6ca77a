"""Keys of PEFT's configurations: those that are known, and what is not known is not believed to be harmless."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from analysis.adapters.files import AdapterError
from analysis.outside import shown

_ANY = {
    "task_type", "peft_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision", "inference_mode",
    "r", "target_modules", "exclude_modules", "modules_to_save", "layers_to_transform", "layers_pattern",
    "rank_pattern", "alpha_pattern", "runtime_config",
}  # fmt: skip
"""Of every tuner: which layers, at which rank."""

_LORA = {
    # How large ΔW is.
    "lora_alpha", "use_rslora", "fan_in_fan_out",
    # Read with the factors.
    "kasa_config", "use_bdlora", "use_qalora", "qalora_group_size", "target_parameters", "layer_replication",
    # Told beside them.
    "use_dora", "bias", "lora_bias", "trainable_token_indices", "alora_invocation_tokens", "arrow_config",
    "monteclora_config", "init_lora_weights",
    # Of the way there: training, or the start that init_lora_weights names.
    "lora_dropout", "loftq_config", "eva_config", "corda_config", "lora_ga_config", "velora_config",
    "ensure_weight_tying", "megatron_config", "megatron_core",
}  # fmt: skip
_ADALORA = {
    "target_r", "init_r", "tinit", "tfinal", "deltaT", "beta1", "beta2", "orth_reg_weight", "total_step",
}  # fmt: skip
_LYCORIS = {"alpha", "rank_dropout", "module_dropout", "init_weights", "use_effective_conv2d"}

KNOWN_KEYS: dict[str, frozenset[str]] = {
    "LORA": frozenset(_ANY | _LORA),
    "ADALORA": frozenset(_ANY | _LORA | _ADALORA),
    "LOHA": frozenset(_ANY | _LYCORIS),
    "LOKR": frozenset(_ANY | _LYCORIS | {"decompose_both", "decompose_factor", "rank_dropout_scale"}),
}
"""``peft_type`` → keys of its configuration that this version knows."""


def check_keys(kind: str, config: Mapping[str, Any]) -> None:
    """Refuse a configuration that switches something on which this version does not know.

    A key that is not known is let through where it is off (null, false, empty), and where it only tunes something that
    is: ``xyz_group_size`` beside ``use_xyz: false``.

    Raises:
        AdapterError: names the key.
    """
    strange = [key for key in config if key not in KNOWN_KEYS[kind] and config[key] not in (None, False, "", "none")]
    for key in strange:
        value = config[key]
        if value in ([], {}) or _tunes_what_is_off(key, value, config):
            continue
        raise AdapterError(
            f"This adapter uses {key}={shown(value)}, which this version does not know: read without it, its numbers "
            f"would be wrong. If the key has nothing to do with ΔW, take it out of a copy of the configuration."
        )


def _tunes_what_is_off(key: str, value: Any, config: Mapping[str, Any]) -> bool:
    """True for a number or a word whose first part names a switch of the same configuration that is off."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return False
    stem = key.split("_")[0]
    switches = [name for name in (f"use_{stem}", f"{stem}_config") if name in config]
    return bool(switches) and all(not config[name] for name in switches)

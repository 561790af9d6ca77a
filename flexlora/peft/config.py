"""``FlexLoRAConfig`` as PEFT takes it: PEFT's names for what both have, and every option of the method."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from peft import LoraConfig, PeftConfig

from flexlora.adapter_config import AdapterConfig
from flexlora.errors import FlexLoRAError
from flexlora.methods import find_method
from flexlora.peft.peft_type import peft_type
from flexlora.peft.words import RENAMED, in_peft_words
from flexlora.settings import did_you_mean

REFUSED = {
    "autolora": "it learns ranks on held-out examples that it draws itself, and here the data are yours",
}
"""Method → why it cannot work through PEFT."""

PEFT_ADDS = ("classifier", "score", "qa_outputs")
"""Modules that PEFT adds to ``modules_to_save`` for some task types, whether a model has them or not."""

NOT_HERE: Mapping[str, tuple[tuple[Any, ...], str]] = {
    "bias": (("none",), "biases stay frozen"),
    "lora_dropout": ((0, None), "no dropout runs before P diag(λ) Q"),
    "use_rslora": ((False,), "the scale is lora_alpha / r for ever: set lora_alpha"),
    "use_dora": ((False,), "weights are not decomposed; dora_dynamic is another method"),
    "init_lora_weights": ((True,), "each method has a start of its own"),
    "layers_pattern": ((None,), "layers are numbered by the first number in a module's name"),
    "rank_pattern": ((None, {}), "every matrix starts at r, and the method moves it from there"),
    "alpha_pattern": ((None, {}), "the scale is the same for every matrix"),
    "target_parameters": ((None,), "only layers are adapted, no bare parameters"),
    "layer_replication": ((None,), "replicated layers would share one adapter"),
    "fan_in_fan_out": ((False, True), "how a layer stores its weight is seen from the layer"),
}
"""Option of ``LoraConfig`` → values that mean nothing is asked for, and why any other is refused."""


@dataclass(init=False)
class FlexLoRAConfig(PeftConfig):
    """What ``get_peft_model`` and ``SFTTrainer(peft_config=)`` need to adapt a model by a method that moves rank.

    Args:
        r: directions of each matrix at the start; None = the method's own default, 8 for FlexLoRA.
        lora_alpha: ΔW is scaled by lora_alpha / r for ever; None = 2 · r, where PEFT's LoRA has 8 whatever r.
        target_modules: names, endings of names, or one regular expression; None or all-linear = every linear layer
            outside the head.
        exclude_modules: what target_modules matches and is not adapted.
        layers_to_transform: layers to adapt, by number from 0; None = all.
        modules_to_save: modules trained whole; heads, and what no checkpoint brought, are found by themselves.
        total_steps: optimizer steps of the run; None = those of the Trainer.
        seed: draws the directions and settles ties.
        method: a key of ``flexlora.methods.METHODS``.
        preset: starting point of the method's options; None = its first.
        task_type: PEFT's, such as SEQ_CLS or CAUSAL_LM.
        trainable_token_indices: PEFT's: rows of the embedding that are trained.
        inference_mode: PEFT's: True = nothing is trained.
        **options: further options of the method, such as interval or initial_budget, and those of ``LoraConfig`` that
            ask for nothing, such as bias="none".

    Raises:
        FlexLoRAError: any option that the method does not have, or a value that cannot work.
    """

    r: int | None = None
    lora_alpha: float | None = None
    target_modules: Any = None
    exclude_modules: Any = None
    layers_to_transform: Any = None
    modules_to_save: list[str] | None = None
    total_steps: int | None = None
    seed: int = 0
    method: str = "flexlora"
    preset: str | None = None
    trainable_token_indices: Any = None
    settings: dict[str, Any] = field(default_factory=dict)

    def __init__(
        self,
        *,
        r: int | None = None,
        lora_alpha: float | None = None,
        target_modules: str | Collection[str] | None = None,
        exclude_modules: str | Collection[str] | None = None,
        layers_to_transform: int | Collection[int] | None = None,
        modules_to_save: Collection[str] | None = None,
        total_steps: int | None = None,
        seed: int = 0,
        method: str = "flexlora",
        preset: str | None = None,
        task_type: Any = None,
        trainable_token_indices: Any = None,
        inference_mode: bool = False,
        base_model_name_or_path: str | None = None,
        revision: str | None = None,
        **options: Any,
    ) -> None:
        self.peft_type = peft_type()
        self.task_type, self.inference_mode = task_type, inference_mode
        self.auto_mapping = self.peft_version = None
        self.base_model_name_or_path, self.revision = base_model_name_or_path, revision
        self.r, self.lora_alpha, self.total_steps, self.seed = r, lora_alpha, total_steps, seed
        self.target_modules, self.exclude_modules = target_modules, exclude_modules
        self.layers_to_transform = layers_to_transform
        self.modules_to_save = None if modules_to_save is None else list(modules_to_save)
        self.trainable_token_indices = trainable_token_indices
        self.method, self.preset, self.settings = method, preset, _own_options(options, method)
        self._lora: LoraConfig | None = None
        self._found: tuple[str, ...] = ()
        super().__post_init__()
        if method in REFUSED:
            raise FlexLoRAError(f"method={method!r} cannot work through PEFT: {REFUSED[method]}. Use flexlora.train.")
        own = self.own()
        self.r, self.lora_alpha = own.initial_rank, own.alpha

    def own(self, module_names: Collection[str] | None = None) -> AdapterConfig:
        """Return the configuration of the method; with the names of a model's modules, without what only PEFT names.

        Raises:
            FlexLoRAError: any value that cannot work.
        """
        whole = [name for name in self.modules_to_save or () if name not in self._found]
        if module_names is not None:
            ends = {name.rpartition(".")[2] for name in module_names}
            whole = [name for name in whole if name not in PEFT_ADDS or name in ends]
        given = {
            "initial_rank": self.r,
            "alpha": self.lora_alpha,
            "target_modules": _entries(self.target_modules),
            "exclude_modules": _entries(self.exclude_modules),
            "layers_to_transform": _entries(self.layers_to_transform),
            "modules_to_save": _entries(whole or None),
            "total_steps": self.total_steps,
            "seed": self.seed,
        }
        given = {key: value for key, value in given.items() if value is not None} | self.settings
        with in_peft_words():
            return find_method(self.method).config(self.preset, given)

    def add_whole(self, names: Collection[str]) -> None:
        """Have PEFT train, wrap and save these modules of the model too; another model has others."""
        asked = [name for name in self.modules_to_save or () if name not in self._found]
        self._found = tuple(names)
        # Its own entries stay, which PEFT looks for again.
        self.modules_to_save = list(dict.fromkeys([*asked, *names])) or None

    def keep_lora(self, lora: LoraConfig) -> None:
        """Keep the plain LoRA that the weights read out last belong to: ``save_pretrained`` writes it."""
        self._lora = lora

    def save_pretrained(self, save_directory: str, **kwargs: Any) -> None:
        """Write ``adapter_config.json`` of the plain LoRA that ``PeftModel.save_pretrained`` has just written.

        Raises:
            FlexLoRAError: nothing was written: ranks belong to a model.
        """
        if self._lora is None:
            raise FlexLoRAError("The ranks belong to a model: save it by model.save_pretrained(folder).")
        for key in ("base_model_name_or_path", "revision", "task_type", "inference_mode"):
            setattr(self._lora, key, getattr(self, key))
        self._lora.save_pretrained(save_directory, **kwargs)


def _own_options(options: Mapping[str, Any], method: str) -> dict[str, Any]:
    """Return the method's own options, without those of LoRA that ask for nothing."""
    found, own = {}, find_method(method).options
    known = [*(RENAMED.get(key, key) for key in own), *FlexLoRAConfig.__dataclass_fields__]
    for key, value in options.items():
        if key == "spare_slots":
            raise FlexLoRAError(
                "spare_slots is an argument of attach. Through PEFT, for storage that never grows, as averaged weights "
                "(EMA) want: set max_rank, and call model.base_model.adapter.reserve(max_rank) before the optimizer."
            )
        if key not in (*own, *RENAMED, *NOT_HERE):
            raise FlexLoRAError(
                f"{key} does not belong to method {method}.{did_you_mean(key, [*known, *NOT_HERE])} Its options are: "
                f"{', '.join(known[: len(own)])}."
            )
        if key in RENAMED:
            raise FlexLoRAError(f"{key} is called {RENAMED[key]} here, as in PEFT.")
        if key not in NOT_HERE:
            found[key] = value
        elif not any(value == neutral and type(value) in (type(neutral), int, float) for neutral in NOT_HERE[key][0]):
            raise FlexLoRAError(f"{key}={value!r} does not apply: {NOT_HERE[key][1]}. Leave it out.")
    return found


def _entries(given: Any) -> tuple[Any, ...] | None:
    """Return one entry or several, in an order that does not change from run to run."""
    if given is None:
        return None
    if isinstance(given, str):
        return (given.lower() if given.lower() == "all-linear" else given,)
    return tuple(sorted(given)) if isinstance(given, Collection) else (given,)

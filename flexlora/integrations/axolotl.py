"""``FlexLoRAPlugin``: FlexLoRA as an adapter of Axolotl, named in its configuration; what it saves is a plain LoRA."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from axolotl.integrations.base import AdapterCapabilities, BasePlugin  # pyright: ignore[reportMissingImports]
from peft import PeftConfig, PeftModel
from pydantic import BaseModel, Field, field_validator

from flexlora.adapter import Adapter, attach
from flexlora.errors import FlexLoRAError
from flexlora.integrations.axolotl_config import check_block, config_of
from flexlora.integrations.trainer import FlexLoRACallback

ADAPTER = "flexlora"
"""What ``adapter:`` says in a configuration that wants this plug-in."""
FOLDER = "run_log"
"""Where in ``output_dir`` the run log lies, unless ``flexlora.folder`` says otherwise."""


class FlexLoRAArgs(BaseModel):
    """What the plug-in adds to Axolotl's configuration.

    Attributes:
        flexlora: fields of ``FlexLoRAConfig``, and ``folder`` for the run log.
    """

    flexlora: dict[str, Any] = Field(default_factory=dict)

    @field_validator("flexlora")
    @classmethod
    def _check(cls, value: dict[str, Any]) -> dict[str, Any]:
        check_block(value)
        return value


class FlexLoRAPlugin(BasePlugin):
    """FlexLoRA under ``axolotl train``, at ``adapter: flexlora``.

    Its LoRA words (``lora_r``, ``lora_alpha``, ``lora_target_modules`` or ``lora_target_linear``,
    ``lora_modules_to_save``, ``peft_layers_to_transform``) mean the same here, and the block ``flexlora:`` holds the
    other fields of ``FlexLoRAConfig``. ``output_dir`` gets a plain PEFT LoRA, which is used with ``adapter: lora``.

    Attributes:
        callback: trains and logs; None until a model was loaded for training.
    """

    def __init__(self) -> None:
        super().__init__()
        self.callback: FlexLoRACallback | None = None

    def get_input_args(self) -> str:
        """Return where Axolotl finds what this adds to its configuration."""
        return f"{__name__}.{FlexLoRAArgs.__name__}"

    def get_adapter_capabilities(self) -> list[AdapterCapabilities]:
        """Return the one adapter, which this loads itself."""
        return [AdapterCapabilities(name=ADAPTER)]

    def load_adapter(
        self, model: Any, cfg: Any, inference: bool = False, config_only: bool = False
    ) -> tuple[Any, PeftConfig | None] | None:
        """Attach to a model that is to be trained, or load the LoRA that training left.

        Returns:
            The model, and None: there is no configuration of PEFT while it trains; None for another adapter.

        Raises:
            FlexLoRAError: what ``attach`` refuses, or settings that mean nothing here.
        """
        if cfg.adapter != ADAPTER:
            return None
        if config_only:
            raise FlexLoRAError(
                f"rl: {cfg.rl} wants a PEFT configuration in place of a model: use adapter: lora there."
            )
        if cfg.lora_model_dir or inference:
            return self._trained(model, cfg)
        adapter = attach(model, config_of(cfg))
        folder = (cfg.flexlora or {}).get("folder") or Path(cfg.output_dir) / FOLDER
        self.callback = FlexLoRACallback(adapter, None, folder)
        model._post_training = lambda whole, _name: _save_as_lora(whole, adapter)
        return model, None

    def add_callbacks_pre_trainer(self, cfg: Any, model: Any) -> list[Any]:
        """Return what moves rank and writes the log.

        Raises:
            FlexLoRAError: the model is one that was trained already.
        """
        if cfg.adapter != ADAPTER:
            return []
        if self.callback is None:
            raise FlexLoRAError(
                "lora_model_dir holds a plain LoRA, whose ranks are final: leave it out to train with adapter: "
                "flexlora, or go on from a checkpoint (resume_from_checkpoint)."
            )
        return [self.callback]

    def post_train_unload(self, cfg: Any) -> None:
        """Let go of the model."""
        if self.callback is not None:
            self.callback.close()
            self.callback = None

    def _trained(self, model: Any, cfg: Any) -> tuple[Any, PeftConfig]:
        folder = cfg.lora_model_dir or cfg.output_dir
        self.callback = None
        loaded = PeftModel.from_pretrained(model, str(folder))
        return loaded, loaded.peft_config["default"]


def _save_as_lora(model: Any, adapter: Adapter) -> None:
    """Have what saves the model after training, but no checkpoint before, write PEFT's LoRA."""
    model.save_pretrained = lambda folder, **_: adapter.export_peft(folder)

"""FlexLoRA in PEFT's own words: for ``peft.get_peft_model``, ``trl.SFTTrainer(peft_config=)`` and their like.

    from flexlora.peft import FlexLoRACallback, FlexLoRAConfig

    model = peft.get_peft_model(model, FlexLoRAConfig(r=8, total_steps=1000))

Importing it tells PEFT of the method; see ``flexlora.peft.peft_type``. docs/peft.md says what of PEFT applies.
"""

from __future__ import annotations

from flexlora.peft.callback import FlexLoRACallback
from flexlora.peft.config import FlexLoRAConfig
from flexlora.peft.model import FlexLoRAModel
from flexlora.peft.peft_type import register

__all__ = ["FlexLoRACallback", "FlexLoRAConfig", "FlexLoRAModel"]

register(FlexLoRAConfig, FlexLoRAModel)

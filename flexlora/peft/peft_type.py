"""The one place where PEFT is changed: ``PeftType`` gets the member ``FLEXLORA``, and PEFT's registry the method.

``peft.utils.register_peft_method`` takes methods from outside, but only under a name that the enumeration ``PeftType``
has, and an enumeration cannot be subclassed once it has members. So one member is added, as ``enum`` itself would have
made it. Nothing that exists is replaced, and what we save names ``LORA``: no file needs the new member to be read.
"""

from __future__ import annotations

from peft import PeftConfig, PeftType
from peft.tuners.tuners_utils import BaseTuner
from peft.utils import register_peft_method

NAME = "FLEXLORA"
PREFIX = "flexlora_"
"""Begins the names of the attributes in which layers keep their adapters."""


def peft_type() -> PeftType:
    """Return ``PeftType.FLEXLORA``, made on the first call."""
    if NAME in PeftType.__members__:
        return PeftType[NAME]
    member = str.__new__(PeftType, NAME)
    member._name_ = member._value_ = NAME
    member.__objclass__ = PeftType  # pyright: ignore[reportAttributeAccessIssue]
    member._sort_order_ = len(PeftType)  # pyright: ignore[reportAttributeAccessIssue]
    # EnumType refuses new attributes of members that it knows, so the attribute comes first.
    type.__setattr__(PeftType, NAME, member)
    PeftType._member_names_.append(NAME)
    PeftType._member_map_[NAME] = member
    PeftType._value2member_map_[NAME] = member
    return member


def register(config_class: type[PeftConfig], model_class: type[BaseTuner]) -> None:
    """Tell PEFT of the method; a second call changes nothing."""
    from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING

    if peft_type() not in PEFT_TYPE_TO_TUNER_MAPPING:
        register_peft_method(name=NAME.lower(), config_cls=config_class, model_cls=model_class, prefix=PREFIX)

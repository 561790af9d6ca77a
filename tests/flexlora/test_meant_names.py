"""A name that does not exist is answered with the one that is meant."""

from __future__ import annotations

import copy
import pickle

import pytest

from flexlora import FlexLoRAConfig, attach
from flexlora.errors import FlexLoRAError
from flexlora.methods import METHODS
from flexlora.peft import FlexLoRAConfig as PeftConfig
from flexlora.settings import ALSO_CALLED, did_you_mean
from tests.flexlora.architectures import ARCHITECTURES


@pytest.mark.parametrize("name", list(METHODS))
def test_a_configuration_of_the_other_kind_is_named_before_anything_else(name):
    make = METHODS[name].config_class
    for options in ({"r": 8}, {"r": 8, "lora_alpha": 16}, {"seed": 1, "task_type": "CAUSAL_LM"}, {"bias": "none"}):
        with pytest.raises(FlexLoRAError, match=r"from flexlora\.peft import FlexLoRAConfig") as error:
            make(**options)
        assert "\n" not in str(error.value)
    with pytest.raises(FlexLoRAError, match=r"Unknown setting 'total_step'. Did you mean total_steps\?"):
        make(total_step=8)
    with pytest.raises(FlexLoRAError, match="by name, such as initial_rank=8; got 8"):
        make(8)
    config = make(initial_rank=4, total_steps=40)
    assert copy.deepcopy(config) == config == pickle.loads(pickle.dumps(config)) == config.replace()


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("rank", "Did you mean r or max_rank?"),
        ("lora_r", "Did you mean r or max_rank?"),
        ("target_r", "Did you mean target_rank?"),
        ("deltaT", "Did you mean interval?"),
        ("lora_droput", "Did you mean lora_dropout?"),
        ("importanc", "Did you mean importance?"),
    ],
)
def test_what_peft_takes_is_suggested_once(key, says):
    method = "adalora" if key in ("target_r", "deltaT") else "flexlora"
    with pytest.raises(FlexLoRAError) as error:
        PeftConfig(method=method, **{key: 4})
    assert says in str(error.value)


def test_spare_slots_have_a_counterpart_through_peft():
    with pytest.raises(FlexLoRAError, match=r"set max_rank, and call .*reserve\(max_rank\)"):
        PeftConfig(spare_slots=4)


def test_nothing_is_suggested_where_nothing_is_near():
    with pytest.raises(FlexLoRAError) as error:
        PeftConfig(lr=1e-3)
    assert "Did you mean" not in str(error.value) and "its options are" in str(error.value).lower()
    assert did_you_mean("interva", ["interval", "interval", "r"]) == " Did you mean interval?"
    names = {name for config in METHODS.values() for name in config.config_class.__dataclass_fields__}
    meant = {name for own in ALSO_CALLED.values() for name in own}
    assert meant <= names | {"r", "learning_rate"} and not ALSO_CALLED.keys() & (names - {"r"})


@pytest.mark.parametrize(
    "target", ["gate_up_proj", "experts", r".*\.experts\..*", r".*mlp\.experts", r".*experts.*\.w1"]
)
def test_fused_experts_are_told(target):
    with pytest.raises(FlexLoRAError, match=r"experts\.gate_up_proj \(.*×.*experts fused into one") as error:
        attach(ARCHITECTURES["MixtralForCausalLM"].build(), FlexLoRAConfig(target_modules=(target,), initial_rank=2))
    assert "q_proj" in str(error.value)

"""The plug-in for Axolotl: its words read as ours, and its own loader, trainer and saving where it is installed."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from flexlora.errors import FlexLoRAError
from flexlora.integrations.axolotl_config import check_block, config_of

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("axolotl_run.py")
PACKAGES = ("axolotl", "addict", "bitsandbytes", "trl")
needs_axolotl = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in PACKAGES), reason="Axolotl is not installed"
)


def test_its_words_for_a_lora_mean_the_same_here():
    config = config_of(
        {
            "adapter": "flexlora", "lora_r": 4, "lora_alpha": 16, "lora_target_modules": ["q_proj", "v_proj"],
            "lora_modules_to_save": ["lm_head"], "peft_layers_to_transform": [0, 2], "seed": 3, "lora_dropout": 0.0,
            "flexlora": {"initial_budget": 2, "schedule": "cubic", "folder": "runs/mine"},
        }
    )  # fmt: skip
    assert (config.initial_rank, config.alpha, config.seed) == (4, 16, 3)
    assert config.target_modules == ("q_proj", "v_proj") and config.modules_to_save == ("lm_head",)
    assert config.layers_to_transform == (0, 2) and config.total_steps is None
    assert (config.initial_budget, config.schedule) == (2, "cubic")


@pytest.mark.parametrize("words", [{"lora_target_linear": True}, {"lora_target_modules": "all-linear"}])
def test_all_linear_layers_are_one_word(words):
    assert config_of(words).target_modules == ("all-linear",)


def test_a_configuration_that_says_nothing_is_the_default():
    from flexlora import FlexLoRAConfig

    assert config_of({"flexlora": None, "lora_r": None}) == FlexLoRAConfig()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"lora_dropout": 0.1, "peft_use_dora": True}, "lora_dropout, peft_use_dora"),
        ({"load_in_4bit": True}, "load_in_4bit"),
        ({"lora_r": 4, "flexlora": {"initial_rank": 8}}, "initial_rank stands in the block"),
        ({"flexlora": {"initial_budgt": 8}}, "Did you mean initial_budget"),
        ({"lora_r": 0}, "at least 1"),
    ],
)
def test_what_means_nothing_here_is_refused_in_one_line(words, told):
    with pytest.raises(FlexLoRAError, match=told) as raised:
        config_of(words)
    assert "\n" not in str(raised.value)


def test_a_block_is_checked_before_a_model_is_loaded():
    check_block({"folder": "runs/mine", "preset": "reference"})
    with pytest.raises(FlexLoRAError, match="Unknown preset"):
        check_block({"preset": "papr"})


def python(*arguments: object) -> subprocess.CompletedProcess[str]:
    kept = {"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)]), "AXOLOTL_DO_NOT_TRACK": "1"}
    command = [sys.executable, "-W", "ignore", *map(str, arguments)]
    environment = {**os.environ, **kept, "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A folder with base, data and out, as Axolotl's train leaves it."""
    folder = tmp_path_factory.mktemp("axolotl")
    if python("-c", "import axolotl.train, axolotl.core.builders").returncode:
        pytest.skip("Axolotl's own requirements are not installed")
    done = python(SCRIPT, folder, folder / "out")
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@needs_axolotl
def test_axolotl_trains_and_leaves_a_plain_lora_with_the_same_outputs(trained):
    from peft import PeftModel
    from transformers import LlamaForCausalLM

    from analysis.runs import load_run

    out = trained / "out"
    seen = json.loads((out / "seen.json").read_text())
    run = load_run(out / "run_log")
    assert run.state == "finished" and len(run.events) > 3
    assert {path.name for path in out.glob("*.safetensors")} == {"adapter_model.safetensors"}
    told = json.loads((out / "adapter_config.json").read_text())
    assert told["peft_type"] == "LORA" and set(told["rank_pattern"].values()) > {4}
    base = LlamaForCausalLM.from_pretrained(trained / "base")
    with torch.no_grad():
        logits = PeftModel.from_pretrained(base, out).eval()(torch.arange(4, 20).reshape(2, 8)).logits
    assert np.allclose(logits.numpy(), seen["logits"], atol=1e-5)
    steps, losses = run.metrics["task_loss"]
    trainers = [seen["losses"][str(step)] for step in steps]
    assert np.allclose(losses, trainers, atol=2e-3)


@needs_axolotl
def test_axolotl_goes_on_from_its_checkpoint_to_the_same_end(trained, tmp_path):
    from safetensors.torch import load_file

    out = tmp_path / "out"
    shutil.copytree(trained / "out", out, ignore=shutil.ignore_patterns("adapter*", "checkpoint-20"))
    done = python(SCRIPT, trained, out, out / "checkpoint-10")
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (load_file(folder / "adapter_model.safetensors") for folder in (trained / "out", out))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


@needs_axolotl
def test_axolotl_loads_what_it_trained(trained):
    code = """
import sys
from axolotl.loaders.adapter import load_adapter
from axolotl.integrations.base import PluginManager
from axolotl.utils.dict import DictDefault
from transformers import LlamaForCausalLM
PluginManager.get_instance().register("flexlora.integrations.axolotl.FlexLoRAPlugin")
base, out = sys.argv[1:]
cfg = DictDefault(adapter="flexlora", lora_model_dir=out)
model, config = load_adapter(LlamaForCausalLM.from_pretrained(base), cfg, "flexlora")
print(len({module.r["default"] for module in model.modules() if hasattr(module, "lora_A")}), config.peft_type.value)
"""
    done = python("-c", code, trained / "base", trained / "out")
    assert done.returncode == 0, done.stderr[-3000:]
    ranks, kind = done.stdout.split()[-2:]
    assert int(ranks) > 1 and kind == "LORA"


@needs_axolotl
def test_the_plugin_is_what_axolotl_asks_for():
    code = """
from axolotl.integrations.base import BasePlugin, PluginManager
from axolotl.utils.dict import DictDefault
from flexlora.errors import FlexLoRAError
name = "flexlora.integrations.axolotl.FlexLoRAPlugin"
manager = PluginManager.get_instance()
manager.register(name)
assert isinstance(manager.plugins[name], BasePlugin) and manager.supports_adapter("flexlora")
assert manager.get_input_args() == ["flexlora.integrations.axolotl.FlexLoRAArgs"]
assert manager.load_adapter(None, DictDefault(adapter="other")) is None
assert manager.add_callbacks_pre_trainer(DictDefault(adapter="lora"), None) == []
cfg = DictDefault(adapter="flexlora", rl="dpo")
refused = {
    "adapter: lora there": lambda: manager.load_adapter(None, cfg, config_only=True),
    "ranks are final": lambda: manager.add_callbacks_pre_trainer(cfg, None),
}
for told, call in refused.items():
    try:
        call()
    except FlexLoRAError as error:
        assert told in str(error)
    else:
        raise AssertionError(told)
"""
    done = python("-c", code)
    assert done.returncode == 0, done.stderr[-3000:]


def test_the_configuration_in_the_docs_is_read():
    text = (ROOT / "docs" / "axolotl.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    told = yaml.safe_load(block)
    assert told["plugins"] == ["flexlora.integrations.axolotl.FlexLoRAPlugin"] and told["adapter"] == "flexlora"
    assert config_of(told).initial_rank == told["lora_r"]

"""What of the base model is unfrozen after ``get_peft_model`` is saved, loaded and resumed with the adapter."""

from __future__ import annotations

import warnings

import peft
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from flexlora.errors import FlexLoRAError, FlexLoRAWarning
from flexlora.peft import FlexLoRAConfig
from flexlora.peft.layer import FlexLoRALayer
from tests.flexlora.test_peft_trainer import WINDOW, same, trained

pytestmark = pytest.mark.filterwarnings("ignore:.*of the base model itself.*")
IDS = torch.arange(3, 19).reshape(2, 8)


def config(**more):
    return FlexLoRAConfig(**{"task_type": "SEQ_CLS", "r": 4, **WINDOW, **more})


def logits(model):
    with torch.no_grad():
        return model.eval()(input_ids=IDS).logits


def loose(model):
    """Names of the base model's parameters that are frozen at first."""
    apart = ("flexlora_directions", "modules_to_save", "original_module")
    return [name for name, _ in model.named_parameters() if not any(part in name for part in apart)]


def unfreeze(model, names):
    for name in names:
        model.get_parameter(name).requires_grad_(True)


@given(st.randoms(use_true_random=False))
@settings(max_examples=8)
def test_whatever_is_unfrozen_and_moves_is_in_the_file(make_bert, tmp_path_factory, chance):
    folder = tmp_path_factory.mktemp("adapter")
    model = peft.get_peft_model(make_bert(), config())
    names = [name for name in loose(model) if chance.random() < 0.2] or loose(model)[:1]
    unfreeze(model, names)
    layers = [module for module in model.modules() if isinstance(module, FlexLoRALayer)]
    with torch.no_grad():
        for part in model.parameters():
            part.add_(torch.randn_like(part), alpha=0.05 if part.requires_grad else 0.0)
        for layer in chance.sample(layers, 3):
            matrix = layer.matrix("default")
            for slot in list(matrix.slots):
                matrix.empty(slot)
        for layer in layers:
            layer.matrix("default").clear_empty()
    model.save_pretrained(folder)
    expected = logits(model)
    assert not torch.allclose(expected, logits(make_bert()), atol=1e-4)
    again = peft.PeftModel.from_pretrained(make_bert(), folder)
    torch.testing.assert_close(logits(again), expected, rtol=1e-4, atol=1e-5)
    more = peft.PeftModel.from_pretrained(make_bert(), folder, config=config())
    torch.testing.assert_close(logits(more), expected, rtol=1e-4, atol=1e-5)


def test_what_is_frozen_again_before_saving_is_saved_all_the_same_and_told_once(make_bert, tmp_path):
    model = peft.get_peft_model(make_bert(), config(total_steps=10))
    unfreeze(model, ["base_model.model.bert.embeddings.LayerNorm.weight"])
    optimizer = torch.optim.SGD([part for part in model.parameters() if part.requires_grad], lr=0.1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", FlexLoRAWarning)
        model.base_model.bind(optimizer)
        model(input_ids=IDS, labels=torch.tensor([0, 1])).loss.backward()
        optimizer.step()
        model.base_model.update_and_allocate(1)
        model.requires_grad_(False)
        model.save_pretrained(tmp_path)
        model.save_pretrained(tmp_path)
    told = [str(each.message) for each in caught if "base model itself" in str(each.message)]
    assert len(told) == 1 and told[0].startswith("bert.embeddings.LayerNorm.weight of the base model itself is trained")
    again = peft.PeftModel.from_pretrained(make_bert(), tmp_path)
    torch.testing.assert_close(logits(again), logits(model), rtol=1e-4, atol=1e-5)


def test_nothing_more_is_saved_where_nothing_was_unfrozen(make_bert, tmp_path):
    model = peft.get_peft_model(make_bert(), config())
    model.save_pretrained(tmp_path)
    names = load_file(tmp_path / "adapter_model.safetensors")
    assert all(".lora_" in name or "classifier" in name for name in names)


@pytest.mark.parametrize("method", ["flexlora", "adalora"])
def test_resuming_goes_on_bit_for_bit_or_is_refused(method, make_bert, tmp_path):
    def run(names=("embeddings.LayerNorm", "query.base_layer.bias"), **more):
        model = peft.get_peft_model(make_bert(dropout=0.1), config(method=method))
        unfreeze(model, [name for name in loose(model) if any(part in name for part in names)])
        callback, _ = trained(model, "bert", tmp_path, save_strategy="steps", save_steps=12, **more)
        return model, callback.adapter

    straight, adapter = run()
    checkpoint = str(tmp_path / "out" / "checkpoint-12")
    resumed, again = run(resume=checkpoint)
    same(again, adapter)
    moved = dict(resumed.named_parameters())
    assert all(torch.equal(part, moved[name]) for name, part in straight.named_parameters())
    with pytest.raises(FlexLoRAError, match="unfreeze the same parameters"):
        run(names=["attention.output.LayerNorm"], resume=checkpoint)

"""What stands beside a pretrained model in somebody's own module is trained whole, saved and read back."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
import transformers as tf
from torch import nn

from flexlora import FlexLoRAConfig, attach
from flexlora.adapter_files import load_adapter
from flexlora.errors import FlexLoRAWarning

BERT = {
    "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 64, "vocab_size": 64,
}  # fmt: skip
WHISPER = {
    "vocab_size": 64, "d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "classifier_proj_size": 16,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1,
}  # fmt: skip
CONFIG = FlexLoRAConfig(initial_rank=2, total_steps=20)


def bert():
    torch.manual_seed(0)
    return tf.BertModel(tf.BertConfig(**BERT), add_pooling_layer=False)


class Around(nn.Module):
    def __init__(self, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)


class Named(tf.BertPreTrainedModel):
    def __init__(self):
        super().__init__(tf.BertConfig(**BERT))
        self.bert, self.fc, self.log_vars = bert(), nn.Linear(32, 3), nn.Parameter(torch.zeros(3))
        self.post_init()


class Renamed(tf.BertPreTrainedModel):
    def __init__(self):
        super().__init__(tf.BertConfig(**BERT))
        self.backbone, self.out = bert(), nn.Linear(32, 3)
        self.post_init()


def value_head():
    model = tf.LlamaForCausalLM(tf.LlamaConfig(**BERT, num_key_value_heads=2))
    return Around(pretrained_model=model, v_head=nn.Sequential(nn.Dropout(), nn.Linear(32, 1)))


OWN = {
    "one layer": (lambda: Around(encoder=bert(), fc=nn.Linear(32, 2)), {"fc.weight", "fc.bias"}),
    "in a list": (lambda: nn.Sequential(bert(), nn.Linear(32, 2)), {"1.weight", "1.bias"}),
    "inside another": (
        lambda: Around(net=Around(model=bert(), linear2=nn.Linear(32, 2))),
        {"net.linear2.weight", "net.linear2.bias"},
    ),
    "a value head narrower than the rank": (value_head, {"v_head.1.weight", "v_head.1.bias"}),
    "transitions": (
        lambda: Around(bert=bert(), emissions=nn.Linear(32, 5), transitions=nn.Parameter(torch.zeros(5, 5))),
        {"emissions.weight", "emissions.bias", "transitions"},
    ),
    "two towers": (
        lambda: Around(a=bert(), b=bert(), match=nn.Bilinear(32, 32, 1), temperature=nn.Parameter(torch.ones(()))),
        {"match.weight", "match.bias", "temperature"},
    ),
    "a class with a body": (Named, {"fc.weight", "fc.bias", "log_vars"}),
    "a class with a body of another name": (Renamed, {"out.weight", "out.bias"}),
    "whisper": (
        lambda: tf.WhisperForAudioClassification(tf.WhisperConfig(**WHISPER)),
        {"projector.weight", "projector.bias", "classifier.weight", "classifier.bias"},
    ),
}


@pytest.mark.parametrize("name", OWN)
def test_what_is_around_a_pretrained_model_is_its_head(name, tmp_path):
    make, head = OWN[name]
    model = make()
    base = copy.deepcopy(model)
    adapter = attach(model, CONFIG)
    assert set(adapter.head) == head and adapter.matrices
    with torch.no_grad():
        for parameter in adapter.head_parameters():
            parameter += 0.1
    again = load_adapter(base, adapter.save(tmp_path))
    for mine, other in zip(adapter.head_parameters(), again.head_parameters(), strict=True):
        assert torch.equal(mine, other)


def test_what_came_together_is_no_head():
    vision = {key: value for key, value in BERT.items() if key != "vocab_size"} | {"image_size": 16, "patch_size": 8}
    clip = attach(tf.CLIPModel(tf.CLIPConfig(text_config=BERT, vision_config=vision)), CONFIG)
    assert not clip.head and "text_projection" in clip.matrices
    pair = tf.EncoderDecoderModel(
        encoder=bert(), decoder=tf.BertLMHeadModel(tf.BertConfig(**BERT, is_decoder=True, add_cross_attention=True))
    )
    assert not attach(pair, CONFIG).head


def test_a_large_model_around_a_small_pretrained_one_is_adapted():
    model = Around(encoder=bert(), decoder=nn.Sequential(*(nn.Linear(128, 128) for _ in range(4))))
    adapter = attach(model, CONFIG)
    assert not adapter.head and "decoder.0" in adapter.matrices


def test_output_embeddings_that_no_checkpoint_brought_are_told(tmp_path):
    llama = tf.LlamaConfig(**BERT, num_key_value_heads=2)
    tf.LlamaForCausalLM(llama).save_pretrained(tmp_path / "whole")
    tf.LlamaModel(llama).save_pretrained(tmp_path / "base")
    load = tf.LlamaForCausalLM.from_pretrained
    resized, headless = load(tmp_path / "whole"), load(tmp_path / "base")
    resized.resize_token_embeddings(70)
    for model in (resized, headless):
        with pytest.warns(FlexLoRAWarning, match=r"lm_head\.weight did not come .*\['embed_tokens', 'lm_head'\]"):
            attach(model, CONFIG)
    trained = load(tmp_path / "whole")
    trained.resize_token_embeddings(70)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        attach(load(tmp_path / "whole"), CONFIG)
        attach(trained, CONFIG.replace(modules_to_save=("embed_tokens", "lm_head")))

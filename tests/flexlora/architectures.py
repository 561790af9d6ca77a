"""Architectures of transformers in small, from configuration: what docs/support.md promises something about."""

# A row an architecture, however long.
# ruff: noqa: E501
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
import transformers as tf

VOCABULARY = 64
IDS = {"input_ids": torch.arange(3, 19).reshape(2, 8)}
PIXELS = {"pixel_values": torch.linspace(-1, 1, 2 * 3 * 32 * 32).reshape(2, 3, 32, 32)}
SOUND = {"input_values": torch.linspace(-1, 1, 2 * 400).reshape(2, 400).sin()}
FEATURES = {
    "input_features": torch.linspace(-1, 1, 2 * 8 * 40).reshape(2, 8, 40),
    "decoder_input_ids": IDS["input_ids"],
}

PLAIN = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64,
    "vocab_size": VOCABULARY, "max_position_embeddings": 40,
}  # fmt: skip
DECODER = PLAIN | {"num_key_value_heads": 2, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "head_dim": 8}
BART = {
    "vocab_size": VOCABULARY, "d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "max_position_embeddings": 40,
}  # fmt: skip
T5 = {"vocab_size": VOCABULARY, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4}
VISION = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64, "image_size": 32,
    "patch_size": 16,
}  # fmt: skip
SPEECH = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64, "vocab_size": 32,
    "conv_dim": (16, 16), "conv_kernel": (10, 3), "conv_stride": (5, 2), "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4, "apply_spec_augment": False,
}  # fmt: skip
ENDED = {"input_ids": torch.cat([IDS["input_ids"][:, :-1], torch.full((2, 1), 2)], 1)}
BOTH = IDS | {"decoder_input_ids": IDS["input_ids"]}


@dataclass(frozen=True)
class Architecture:
    """One architecture in small.

    Attributes:
        kind: the heading it stands under.
        model: class of transformers.
        settings: of its configuration.
        batch: what it is called with.
        config: class of its configuration; None = the model's own.
        warns: words of a warning that ``attach`` gives, where it does.
        small: whether it has layers smaller than rank 2, which are left out and told.
        peft: why PEFT does not load what is exported, where it does not.
        bf16: why it does not compute under autocast, where it does not.
    """

    kind: str
    model: str
    settings: dict[str, Any] = field(repr=False)
    batch: dict[str, torch.Tensor] = field(default_factory=lambda: IDS, repr=False)
    config: str | None = None
    warns: str | None = None
    small: bool = False
    peft: str | None = None
    bf16: str | None = None

    def build(self) -> Any:
        """Return a new model in evaluation mode, the same each time."""
        torch.manual_seed(0)
        kind = getattr(tf, self.model)
        own = kind.config_class if self.config is None else getattr(tf, self.config)
        return kind(own(**self.settings)).eval()


def _encoder(name: str, **more: Any) -> Architecture:
    return Architecture("encoder", f"{name}ForSequenceClassification", PLAIN | more)


def _decoder(name: str, **more: Any) -> Architecture:
    return Architecture("decoder", f"{name}ForCausalLM", DECODER | more)


_ENCODERS = (
    _encoder("Bert"),
    _encoder("Roberta"),
    _encoder("XLMRoberta"),
    _encoder("Camembert"),
    _encoder("Electra", embedding_size=32),
    _encoder("Albert", embedding_size=16),
    _encoder("MPNet"),
    _encoder("RoFormer", embedding_size=32),
    _encoder("ModernBert", global_attn_every_n_layers=2, pad_token_id=0, cls_token_id=1, sep_token_id=2),
    Architecture("encoder", "DebertaForSequenceClassification", PLAIN | {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]}, bf16="transformers fills a mask with more than bf16 holds"),
    _encoder("DebertaV2", relative_attention=True, pos_att_type=["c2p", "p2c"], share_att_key=True),
    _encoder("MobileBert", embedding_size=32, intra_bottleneck_size=32, true_hidden_size=32),
    _encoder("Longformer", attention_window=[4, 4]),
    _encoder("BigBird", attention_type="original_full"),
    _encoder("Nystromformer", num_landmarks=4, segment_means_seq_len=8),
    _encoder("ConvBert", embedding_size=32, num_groups=1),
    Architecture("encoder", "DistilBertForSequenceClassification", {"vocab_size": VOCABULARY, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64}),
    Architecture("encoder", "XLNetForSequenceClassification", {"vocab_size": VOCABULARY, "d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 64}, warns="in no linear layer"),
    Architecture("encoder", "BertForMaskedLM", PLAIN),
    Architecture("encoder", "BertForTokenClassification", PLAIN),
    Architecture("encoder", "BertForQuestionAnswering", PLAIN),
)  # fmt: skip
_DECODERS = (
    Architecture("decoder", "GPT2LMHeadModel", {"vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 40}),
    Architecture("decoder", "GPTNeoForCausalLM", {"vocab_size": VOCABULARY, "hidden_size": 32, "num_layers": 2, "num_heads": 4, "attention_types": [[["global"], 2]], "max_position_embeddings": 40}),
    Architecture("decoder", "GPTJForCausalLM", {"vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 2, "n_head": 4, "rotary_dim": 8, "n_positions": 40}),
    Architecture("decoder", "BloomForCausalLM", {"vocab_size": VOCABULARY, "hidden_size": 32, "n_layer": 2, "n_head": 4}),
    Architecture("decoder", "MptForCausalLM", {"vocab_size": VOCABULARY, "d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 40}),
    Architecture("decoder", "OPTForCausalLM", {"vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "ffn_dim": 64, "word_embed_proj_dim": 32, "max_position_embeddings": 40}),
    _decoder("GPTNeoX"),
    _decoder("Llama"),
    Architecture("decoder", "LlamaForSequenceClassification", DECODER),
    _decoder("Mistral"),
    _decoder("Qwen2"),
    _decoder("Qwen3"),
    _decoder("Gemma"),
    _decoder("Gemma2"),
    _decoder("Phi"),
    _decoder("Phi3"),
    Architecture("decoder", "FalconForCausalLM", PLAIN | {"multi_query": False, "ffn_hidden_size": 64}),
    _decoder("StableLm"),
    _decoder("Olmo2"),
    _decoder("Cohere"),
    _decoder("Starcoder2"),
    _decoder("Granite"),
    _decoder("SmolLM3"),
    Architecture("decoder", "MambaForCausalLM", {"vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 8}, peft="PEFT adapts no `out_proj` of Mamba"),
    Architecture("decoder", "MixtralForCausalLM", DECODER | {"num_local_experts": 4}, warns="in no linear layer"),
    Architecture("decoder", "PhimoeForCausalLM", DECODER | {"num_local_experts": 4}, warns="in no linear layer"),
    Architecture("decoder", "Llama4ForCausalLM", DECODER | {"num_local_experts": 4, "intermediate_size_mlp": 64}, config="Llama4TextConfig", warns="in no linear layer"),
    Architecture("decoder", "Qwen2MoeForCausalLM", DECODER | {"num_experts": 4, "moe_intermediate_size": 32, "shared_expert_intermediate_size": 32, "num_experts_per_tok": 2}, warns="in no linear layer", small=True),
)  # fmt: skip
_BOTH = (
    Architecture("encoder and decoder", "T5ForConditionalGeneration", T5, BOTH),
    Architecture("encoder and decoder", "T5ForSequenceClassification", T5 | {"pad_token_id": 0, "eos_token_id": 2, "decoder_start_token_id": 0}, ENDED),
    Architecture("encoder and decoder", "MT5ForConditionalGeneration", T5, BOTH),
    Architecture("encoder and decoder", "BartForConditionalGeneration", BART, BOTH),
    Architecture("encoder and decoder", "MBartForConditionalGeneration", BART, BOTH),
    Architecture("encoder and decoder", "PegasusForConditionalGeneration", BART, BOTH),
    Architecture("encoder and decoder", "MarianMTModel", BART | {"pad_token_id": 0}, BOTH),
    Architecture("encoder and decoder", "WhisperForConditionalGeneration", BART | {"num_mel_bins": 8, "max_source_positions": 20, "max_target_positions": 40, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}, FEATURES),
)  # fmt: skip
_SENSES = (
    Architecture("vision", "ViTForImageClassification", VISION, PIXELS),
    Architecture("vision", "DeiTForImageClassification", VISION, PIXELS),
    Architecture("vision", "BeitForImageClassification", VISION, PIXELS),
    Architecture("vision", "Dinov2ForImageClassification", VISION, PIXELS),
    Architecture("vision", "SwinForImageClassification", {"image_size": 32, "patch_size": 4, "embed_dim": 16, "depths": [1, 1], "num_heads": [2, 2], "window_size": 4}, PIXELS),
    Architecture("vision", "SegformerForImageClassification", {"hidden_sizes": [16, 32], "num_encoder_blocks": 2, "depths": [1, 1], "sr_ratios": [2, 1], "num_attention_heads": [2, 2], "mlp_ratios": [2, 2], "patch_sizes": [7, 3], "strides": [4, 2]}, PIXELS, warns="in no linear layer"),
    Architecture("vision", "CLIPForImageClassification", {"vision_config": VISION, "text_config": PLAIN, "projection_dim": 16}, PIXELS),
    Architecture("vision", "SiglipForImageClassification", {"vision_config": VISION, "text_config": PLAIN}, PIXELS),
    Architecture("sound", "Wav2Vec2ForSequenceClassification", SPEECH, SOUND),
    Architecture("sound", "Wav2Vec2ForCTC", SPEECH, SOUND),
    Architecture("sound", "HubertForSequenceClassification", SPEECH, SOUND),
    Architecture("sound", "WavLMForSequenceClassification", SPEECH, SOUND),
)  # fmt: skip

ARCHITECTURES: dict[str, Architecture] = {one.model: one for one in (*_ENCODERS, *_DECODERS, *_BOTH, *_SENSES)}
"""Class of transformers → its architecture in small."""


def logits(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return what a model computes: its logits, one tensor where they are two."""
    found = model(**batch)
    if "logits" in found:
        return found.logits
    return torch.stack([found.start_logits, found.end_logits])

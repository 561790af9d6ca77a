"""Names of kohya's files, ``lora_unet_down_blocks_1_attentions_0``, as the dotted names of the modules they mean."""

from __future__ import annotations

COMPONENTS: dict[str, str] = {
    "lora_unet_": "unet",
    "lora_te_": "text_encoder",
    "lora_te1_": "text_encoder",
    "lora_te2_": "text_encoder_2",
    "lora_te3_": "text_encoder_3",
    "lora_prior_te_": "text_encoder",
    "lora_prior_unet_": "prior",
    "lora_transformer_": "transformer",
    "lycoris_": "",
    "lora_": "",
}
"""How a flat name begins → the part of the pipeline that it is of."""

DOTTED: dict[str, str] = {
    "unet.": "unet",
    "text_encoder.": "text_encoder",
    "text_encoder_2.": "text_encoder_2",
    "text_encoder_3.": "text_encoder_3",
    "text_encoders.": "text_encoders",
    "transformer.": "transformer",
    "transformer_2.": "transformer_2",
    "diffusion_model.": "",
    "model.diffusion_model.": "",
    "base_model.model.": "",
}
"""How a dotted name begins → the part of the pipeline that it is of."""

_WORDS = """
down_blocks up_blocks mid_block input_blocks output_blocks middle_block double_blocks single_blocks transformer_blocks
single_transformer_blocks joint_blocks temporal_transformer_blocks context_block x_block refiner_blocks noise_refiner
context_refiner token_refiner individual_token_refiner to_q to_k to_v to_out to_qkv to_add_out add_q_proj add_k_proj
add_v_proj q_proj k_proj v_proj o_proj out_proj in_proj qkv_proj proj_in proj_out proj_mlp k_img v_img norm_k_img
self_attn cross_attn img_attn txt_attn img_mlp txt_mlp img_mod txt_mod img_in txt_in time_in vector_in guidance_in
final_layer time_emb_proj time_embedding time_embed time_text_embed time_guidance_embed label_emb linear_1 linear_2
add_embedding conv_in conv_out conv_shortcut emb_layers in_layers out_layers skip_connection text_model vision_model
text_projection position_embedding token_embedding layer_norm1 layer_norm2 ff_context adaLN_modulation norm1_context
guidance_embedder text_embedder timestep_embedder context_embedder x_embedder t_embedder y_embedder cap_embedder
p_embedder gate_proj up_proj down_proj feed_forward final_linear norm_out linear_fc1 linear_fc2 wi_0 wi_1 q_linear
k_linear v_linear kv_linear kv_proj output_proj text_proj y_proj img_emb time_projection text_embedding
patch_embedding patch_embed pos_embed caption_projection adaln_modulation_self_attn adaln_modulation_cross_attn
adaln_modulation_mlp double_stream_blocks single_stream_blocks double_stream_modulation_img
double_stream_modulation_txt single_stream_modulation joint_transformer_blocks distilled_guidance_layer in_layer
out_layer conv_inverted conv_depth conv_point embed_tokens lm_head gate_up_proj query_key_value dense_h_to_4h
dense_4h_to_h c_attn c_fc c_proj shared_experts time_embedder pooled_embedder linear_proj audio_attn1 audio_attn2
audio_ff audio_to_video_attn video_to_audio_attn to_q_t to_k_t to_v_t to_out_t ff_i ff_t
"""
"""Words of several parts that stand in names of modules."""
_JOINED = {tuple(word.split("_")): word for word in _WORDS.split()}
_LONGEST = max(map(len, _JOINED))


def component_of(stored: str) -> tuple[str, str]:
    """Return which part of a pipeline a module is of ("" = nothing is said) and its dotted name within it."""
    for start, component in sorted(COMPONENTS.items(), key=lambda item: -len(item[0])):
        if stored.startswith(start) and "." not in stored.removeprefix(start).split("_lora")[0]:
            return component, dotted(stored.removeprefix(start))
    for start, component in sorted(DOTTED.items(), key=lambda item: -len(item[0])):
        if stored.startswith(start):
            return component, stored.removeprefix(start)
    return "", stored


def dotted(flat: str) -> str:
    """Return ``down_blocks.1.attentions.0`` of ``down_blocks_1_attentions_0``: words that belong together are known."""
    words, found, place = flat.split("_"), [], 0
    while place < len(words):
        length = next(
            (n for n in range(min(_LONGEST, len(words) - place), 1, -1) if tuple(words[place : place + n]) in _JOINED),
            1,
        )
        found.append("_".join(words[place : place + length]))
        place += length
    return ".".join(word for word in found if word)

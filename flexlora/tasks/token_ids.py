"""Tokenizers that fit their model: there at all, with a token to pad with, within the model's vocabulary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from flexlora.errors import FlexLoRAError
from flexlora.tasks.data import Split
from flexlora.tasks.models import load_processor
from flexlora.tasks.source import SourceOptions

SAMPLE = 100
"""Texts that show whether a tokenizer knows their language."""
_POSITIONS = ("position_embeddings", "embed_positions", "wpe")


def load_tokenizer(source: SourceOptions, texts: Sequence[str]) -> Any:
    """Return the tokenizer of the model.

    Args:
        source: says which model.
        texts: training texts; of the first the tokenizer has to know a token at least.

    Raises:
        FlexLoRAError: there is none, or one that knows nothing (transformers makes an empty one without files).
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = load_processor(AutoTokenizer, source)
    except FlexLoRAError as error:
        if "tokenizer" not in str(error):
            raise
        raise FlexLoRAError(f"{error} Are the model's tokenizer files (tokenizer.json) beside config.json?") from error
    special = set(tokenizer.all_special_ids)
    sample = list(texts[:SAMPLE])
    try:
        found = tokenizer(sample, add_special_tokens=False, truncation=True, max_length=source.max_tokens)
    except Exception as error:  # the tokenizers library raises nothing more exact
        raise FlexLoRAError(f"The tokenizer of model={source.model} takes no text: {error}.") from error
    used = {token for ids in found.input_ids for token in ids} - special
    # "▁" and "Ġ" stand for a space: an empty tokenizer can have these.
    if not any(str(tokenizer.convert_ids_to_tokens(token)).strip("▁Ġ ") for token in used):
        raise FlexLoRAError(
            f"model={source.model} has no tokenizer that knows these texts: each of their tokens is unknown to the "
            f"{type(tokenizer).__name__} of {len(tokenizer)} entries. Put the model's tokenizer files (tokenizer.json, "
            "or its vocabulary) beside config.json."
        )
    return tokenizer


def ensure_padding(tokenizer: Any, source: SourceOptions) -> list[str]:
    """Make a tokenizer pad; return a line where it does so with a token that is not for that.

    Raises:
        FlexLoRAError: it has no such token either.
    """
    if tokenizer.pad_token_id is not None:
        return []
    if tokenizer.eos_token_id is None:
        raise FlexLoRAError(
            f"The tokenizer of model={source.model} has no token to pad with: neither pad_token nor eos_token. Set "
            "pad_token in its tokenizer_config.json."
        )
    tokenizer.pad_token = tokenizer.eos_token
    return [f"The tokenizer has no pad token: texts are padded with {tokenizer.eos_token}."]


def check_fit(model: nn.Module, splits: Mapping[str, Split], source: SourceOptions) -> None:
    """Refuse tokens that the model has no row for, and texts that are longer than its positions.

    Raises:
        FlexLoRAError: with the numbers of both.
    """
    embedding = getattr(model, "get_input_embeddings", lambda: None)()
    most = max(int(split.inputs["input_ids"].max()) for split in splits.values())
    if isinstance(embedding, nn.Embedding) and most >= embedding.num_embeddings:
        raise FlexLoRAError(
            f"The tokenizer of model={source.model} gives token {most}, and the model has {embedding.num_embeddings}: "
            "they do not belong together."
        )
    width = max(split.inputs["input_ids"].shape[1] for split in splits.values())
    for name, module in model.named_modules():
        if name.rpartition(".")[2] in _POSITIONS and isinstance(module, nn.Embedding):
            # RoBERTa counts from behind the padding token, BART from 2.
            first = int(getattr(module, "offset", 0)) or (module.padding_idx or -1) + 1
            if width > module.num_embeddings - first:
                raise FlexLoRAError(
                    f"max_tokens={source.max_tokens}: a text has {width} tokens, and model={source.model} has "
                    f"{module.num_embeddings - first} positions. Set max_tokens to that at most."
                )

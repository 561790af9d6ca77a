"""Property tests draw the same examples each time, and have no time limit on a busy machine."""

from __future__ import annotations

import pytest
from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=60)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def make_tokenizer():
    """A factory of tokenizers whose 60 words are numbers, for who insists on one."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    def make():
        words = Tokenizer(models.WordLevel({str(number): number for number in range(60)}, unk_token="0"))
        words.pre_tokenizer = pre_tokenizers.Whitespace()
        return PreTrainedTokenizerFast(tokenizer_object=words, unk_token="0", pad_token="1", eos_token="2")

    return make

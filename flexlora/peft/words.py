"""``in_peft_words``: what the method says of its options, by the names that PEFT has for them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from flexlora.errors import FlexLoRAError

RENAMED = {"initial_rank": "r", "alpha": "lora_alpha"}
"""Our name → PEFT's, of what ``flexlora.peft.FlexLoRAConfig`` calls as PEFT does."""

_OURS = re.compile(rf"\b({'|'.join(RENAMED)})\b")


def peft_words(text: str) -> str:
    """Return a message with PEFT's names for options."""
    return _OURS.sub(lambda found: RENAMED[found[1]], text)


@contextmanager
def in_peft_words() -> Iterator[None]:
    """Let the errors of the block name options as PEFT does."""
    try:
        yield
    except FlexLoRAError as error:
        error.args = tuple(peft_words(part) if isinstance(part, str) else part for part in error.args)
        raise

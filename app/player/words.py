"""``explained``: a text whose words open what they mean, on pages that show no run."""

from __future__ import annotations

from streamlit.components.v2 import component

from analysis.glossary import plain_terms, words
from assets import loader

_mount = component("flexlora_words", js=loader("player/source/words.js"))


def explained(text: str, key: str) -> None:
    """Draw a paragraph; ``key`` is Streamlit's."""
    _mount(key=key, data={"text": text, "words": words(), "terms": plain_terms()})

"""A card that is there keeps every line, and our section in it is written anew each time."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from flexlora.card_file import BEGIN, END, with_own
from flexlora.errors import FlexLoRAError

OWN = {"library_name": "peft", "tags": ["flexlora", "lora", "peft"], "base_model": "org/base"}
THEIRS = """---
language: no
library_name: transformers
license: mit   # theirs
{tags}model-index:
- name: x
  results: [{{metrics: [{{type: f1, value: 0.10}}]}}]
pipeline_tag: text-generation
---

# Model Card for my-sft

This model was trained with TRL.
"""


def parted(text):
    start, front, body = text.split("---\n", 2)
    assert start == ""
    return front, body


@given(
    st.lists(st.sampled_from(["sft", "trl", "lora", "flexlora", "no", "4bit"]), unique=True, max_size=4),
    st.sampled_from(["block", "flow", "indented", "missing"]),
    st.sampled_from([None, "mit", "apache-2.0"]),
    st.text(st.sampled_from("ab# \n-|"), max_size=30),
)
def test_every_line_of_theirs_stays(tmp_path_factory, tags, form, license, words):
    path = tmp_path_factory.mktemp("card") / "README.md"
    spelt = {
        "block": "tags:\n" + "".join(f'- "{tag}"\n' for tag in tags),
        "indented": "tags:\n" + "".join(f'  - "{tag}"\n' for tag in tags),
        "flow": "tags: [" + ", ".join(f'"{tag}"' for tag in tags) + "]\n",
        "missing": "",
    }[form]
    before = THEIRS.format(tags=spelt) + words
    path.write_text(before)
    own = OWN | ({"license": license} if license else {})
    path.write_text(with_own(path, own, "Ours", "## Ranks\n\nFirst."))
    front, body = parted(path.read_text())
    matter = yaml.safe_load(front)
    theirs = [] if form == "missing" else tags
    assert matter["tags"] == [*theirs, *(tag for tag in OWN["tags"] if tag not in theirs)]
    assert matter["license"] == (license or "mit") and matter["library_name"] == "transformers"
    assert matter["base_model"] == "org/base"
    kept = [line for line in parted(before)[0].splitlines() if not line.strip().startswith(("tags", "-", "license"))]
    assert set(kept) <= set(front.splitlines())
    assert body.startswith(parted(before)[1].rstrip()) and "# Ours" not in body
    more = f"{path.read_text()}\nMine, below.\n"
    path.write_text(more)
    again = with_own(path, own, "Ours", "## Ranks\n\nSecond.")
    assert again == more.replace("First.", "Second.")


def test_a_new_card_has_a_title_and_is_stable(tmp_path):
    path = tmp_path / "README.md"
    path.write_text(with_own(path, OWN, "Ours", "Words."))
    front, body = parted(path.read_text())
    assert yaml.safe_load(front) == OWN and body == f"\n# Ours\n\n{BEGIN}\n\nWords.\n\n{END}\n"
    assert with_own(path, OWN, "Another", "Words.") == path.read_text()


def test_a_card_without_front_matter_gets_some(tmp_path):
    path = tmp_path / "README.md"
    for before in ("# Title\n", "", "---\n---\n# Title\n"):
        path.write_text(before)
        front, body = parted(with_own(path, OWN, "Ours", "Words."))
        assert yaml.safe_load(front) == OWN and before.removeprefix("---\n---\n").rstrip() in body


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("---\na: [\n---\n", "front matter"),
        ("---\n- a\n---\n", "no mapping"),
        (f"{BEGIN}\nx", "Remove both lines"),
        (f"{END}\n{BEGIN}\n", "Remove both lines"),
        (f"{BEGIN}\n{END}\n{BEGIN}\n{END}\n", "Remove both lines"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(tmp_path, text, told):
    path = tmp_path / "README.md"
    path.write_text(text)
    with pytest.raises(FlexLoRAError, match=told) as error:
        with_own(path, OWN, "Ours", "Words.")
    assert "\n" not in str(error.value) and path.read_text() == text

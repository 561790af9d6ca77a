"""Of several adapters those of one base model are taken, and of each other one knows why it is not."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.adapters import open_adapter
from analysis.adapters.bases import UNLIKE, UNNAMED, of_one_base, told_left

NAMES = ("layers.0.q_proj", "layers.1.q_proj")


@pytest.fixture
def write(tmp_path, write_adapter):
    """f(name, base, names) → an adapter of random factors, opened."""

    def made(name, base, names=NAMES):
        rng = np.random.default_rng(len(name))
        factors = {key: (rng.normal(size=(12, 2)), rng.normal(size=(2, 10))) for key in names}
        named = {"base_model_name_or_path": base} if base else {}
        return open_adapter(write_adapter(tmp_path / name, factors, r=2, lora_alpha=2, **named))

    return made


@pytest.mark.parametrize(
    ("own", "base", "left"),
    [
        ("acme/a", "acme/a", {"b1": "for acme/b", "b2": "for acme/b", "none": UNNAMED, "else": UNLIKE}),
        ("acme/b", "acme/b", {"a": "for acme/a", "none": UNNAMED, "else": UNLIKE}),
        # Spelled as a path, or in other letters, it is the same base.
        ("ACME/b/", "ACME/b/", {"a": "for acme/a", "none": UNNAMED, "else": UNLIKE}),
        # Most of the others decide, and one that names none may be for any.
        (None, "acme/b", {"a": "for acme/a", "else": UNLIKE}),
    ],
)
def test_all_are_of_one_base_model(write, own, base, left):
    bases = {"a": "acme/a", "b1": "acme/b", "b2": "acme/b", "none": None}
    others = {name: write(name, value) for name, value in bases.items()} | {
        "else": write("else", None, ("other.proj",))
    }
    found = of_one_base(write("opened", own), others)
    assert (found.base, found.left) == (base, left)
    assert found.taken == [name for name in others if name not in left]


def test_those_left_out_for_one_reason_are_told_together():
    left = {"b1": "for acme/b", "none": UNNAMED, "b2": "for acme/b"}
    assert told_left(left) == f"b1, b2 (for acme/b); none ({UNNAMED})"

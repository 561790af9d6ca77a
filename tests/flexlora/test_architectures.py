"""Every architecture of docs/support.md: adapted, trained, moved, saved, exported and merged."""

from __future__ import annotations

import warnings

import pytest
import torch
from peft import PeftModel

from flexlora import FlexLoRAConfig, RankAllocator, attach
from flexlora.adapter_files import load_adapter
from flexlora.errors import FlexLoRAWarning
from tests.flexlora.architectures import ARCHITECTURES, logits

SETTINGS = FlexLoRAConfig(
    initial_rank=2, total_steps=6, warmup_steps=1, final_steps=1, interval=1, initial_budget=2, schedule="constant"
)
FIRST = next(iter(ARCHITECTURES))


def adapted(one, **changes):
    """Return an adapter on a new model; a warning that was announced is expected, any other is an error."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", FlexLoRAWarning)
        adapter = attach(one.build(), SETTINGS.replace(**changes))
    told = [str(warning.message) for warning in said if issubclass(warning.category, FlexLoRAWarning)]
    expected = [words for words in (one.warns, "too small" if one.small else None) if words]
    assert len(told) == len(expected) and all(any(words in line for line in told) for words in expected), told
    return adapter


def lives(gradient):
    return gradient is not None and bool((gradient != 0).any())


def trained(one):
    """Return an adapter after six steps with an event in most of them, and what it computes."""
    adapter = adapted(one)
    optimizer = torch.optim.AdamW(adapter.trainable_parameters(), lr=1e-2)
    allocator = RankAllocator(adapter, optimizer, SETTINGS)
    first, used = None, set()
    for t in range(1, 7):
        loss = (logits(adapter.model, one.batch) - 1).square().mean()
        first = loss.item() if first is None else first
        loss.backward()
        # Some models have layers that this kind of batch does not reach, such as those of global attention.
        used |= {name for name, matrix in adapter.matrices.items() if lives(matrix.lam.grad)}
        adapter.add_regularization_gradient()
        optimizer.step()
        allocator.step(t)
        optimizer.zero_grad()
    with torch.no_grad():
        found = logits(adapter.model, one.batch)
    assert (found - 1).square().mean() < first
    assert used and all(bool((adapter.matrices[name].lam != 0).any()) for name in used)
    return adapter, found


def close(found, expected):
    """Assert equal up to rounding in another order, on the scale of the outputs."""
    size = float(expected.abs().max())
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=2e-4 * max(1.0, size))


@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_an_architecture_is_adapted_trained_moved_saved_exported_and_merged(name, tmp_path):
    one = ARCHITECTURES[name]
    with torch.no_grad():
        before = logits(one.build(), one.batch)
        start = adapted(one)
        # Weights that a model multiplies by itself go another way than a layer that is called.
        torch.testing.assert_close(logits(start.model, one.batch), before, rtol=1e-5, atol=1e-6)
    adapter, expected = trained(one)
    assert sum(adapter.ranks().values()) == sum(start.ranks().values())
    adapter.save(tmp_path / "own")
    adapter.export_peft(tmp_path / "peft")
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        again = load_adapter(one.build(), tmp_path / "own")
        assert torch.equal(logits(again.model, one.batch), expected)
        if one.peft:
            with pytest.raises(ValueError, match="incompatible"):
                PeftModel.from_pretrained(one.build(), tmp_path / "peft")
        else:
            close(logits(PeftModel.from_pretrained(one.build(), tmp_path / "peft"), one.batch), expected)
        close(logits(adapter.merge(), one.batch), expected)


@pytest.mark.parametrize("name", [name for name, one in ARCHITECTURES.items() if not one.bf16])
def test_an_architecture_computes_in_bf16(name):
    one = ARCHITECTURES[name]
    adapter = adapted(one)
    with torch.autocast("cpu", torch.bfloat16):
        loss = logits(adapter.model, one.batch).float().square().mean()
    loss.backward()
    assert all(torch.isfinite(part.grad).all() for part in adapter.parameters() if part.grad is not None)
    assert any(bool(matrix.lam.grad.abs().sum() > 0) for matrix in adapter.matrices.values())


def test_there_are_enough():
    assert len(ARCHITECTURES) >= 40 and FIRST in ARCHITECTURES

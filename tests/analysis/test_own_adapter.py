"""An adapter as the Lab saves it becomes one of PEFT with the same ΔW."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from analysis.adapters import AdapterError, open_adapter
from analysis.adapters.own import is_own, peft_files


def own_adapter(folder, ranks, alpha=6.0, initial=4):
    rng = np.random.default_rng(0)
    folder.mkdir()
    tensors = {"head.bias": np.zeros(2, np.float32)}
    for name, rank in ranks.items():
        shapes = {"P": (7, rank), "singular_values": (rank,), "Q": (rank, 5)}
        tensors |= {f"{name}.{part}": rng.normal(size=shape).astype(np.float32) for part, shape in shapes.items()}
    save_file(tensors, folder / "adapter.safetensors")
    (folder / "adapter.json").write_text(json.dumps({"config": {"alpha": alpha, "initial_rank": initial}}))
    return tensors


def test_the_update_stays_whatever_the_ranks(tmp_path):
    ranks = {"layers.0.q": 4, "layers.1.q": 1, "layers.2.q": 0}
    tensors = own_adapter(tmp_path / "own", ranks)
    assert is_own(tmp_path / "own")
    peft = tmp_path / "peft"
    peft.mkdir()
    for name, content in peft_files(tmp_path / "own").items():
        (peft / name).write_bytes(content)
    adapter = open_adapter(peft)
    assert {matrix.name: matrix.rank for matrix in adapter.matrices} == {"layers.0.q": 4, "layers.1.q": 1}
    for matrix in adapter.matrices:
        P, lam, Q = (tensors[f"{matrix.name}.{part}"] for part in ("P", "singular_values", "Q"))
        B, A = adapter.factors(matrix.name)
        np.testing.assert_allclose(matrix.scale * B @ A, 6.0 / 4 * P @ np.diag(lam) @ Q, rtol=1e-6)
    assert not is_own(peft)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda folder: (folder / "adapter.json").unlink(), "scale is unknown"),
        (lambda folder: (folder / "adapter.json").write_text("[]"), "scale is unknown"),
        (lambda folder: (folder / "adapter.safetensors").write_bytes(b"broken"), "is cut short"),
        (
            lambda folder: save_file({"a.singular_values": np.ones(2, np.float32)}, folder / "adapter.safetensors"),
            "not complete",
        ),
        (lambda folder: save_file({"head.bias": np.ones(2, np.float32)}, folder / "adapter.safetensors"), "rank 0"),
    ],
)
def test_what_is_broken_is_said_in_one_line(tmp_path, spoil, says):
    own_adapter(tmp_path / "own", {"a": 2})
    spoil(tmp_path / "own")
    with pytest.raises(AdapterError, match=says) as caught:
        peft_files(tmp_path / "own")
    assert "\n" not in str(caught.value)

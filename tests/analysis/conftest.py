"""Small adapters made with numpy, and small runs: plain ones, and those at the edge of what a log may hold."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from analysis.adapters.files import CONFIG, WEIGHTS, NewTensor, write_tensors
from analysis.runs import Run, load_run
from flexlora.run_log import RunWriter

PREFIX = "base_model.model."


def _spectrum(values, out_features=12, in_features=10, seed=0) -> tuple[np.ndarray, np.ndarray]:
    """B and A of a matrix with exactly these singular values."""
    rng = np.random.default_rng(seed)
    U = np.linalg.qr(rng.normal(size=(out_features, len(values))))[0]
    V = np.linalg.qr(rng.normal(size=(in_features, len(values))))[0]
    return U * np.asarray(values), V.T


def _write_arrays(folder: Path, arrays: Mapping[str, np.ndarray], **config) -> Path:
    folder.mkdir(parents=True)
    tensors = {}
    for name, array in arrays.items():
        data = np.asarray(array, "<f8")
        tensors[name] = NewTensor("F64", data.shape, data.tobytes)
    write_tensors(folder / WEIGHTS, tensors)
    settings = {"peft_type": "LORA", "r": 4, "lora_alpha": 4, "target_modules": ["query", "value"], **config}
    (folder / CONFIG).write_text(json.dumps(settings))
    return folder


def _write_adapter(folder: Path, matrices: Mapping[str, tuple[np.ndarray, np.ndarray]], **config) -> Path:
    """Write name → (B, A) as a LoRA adapter with s = 1 at rank 4, unless ``config`` says otherwise."""
    arrays = {}
    for name, (B, A) in matrices.items():
        arrays |= {f"{PREFIX}{name}.lora_A.weight": A, f"{PREFIX}{name}.lora_B.weight": B}
    return _write_arrays(folder, arrays, **config)


@pytest.fixture
def spectrum():
    return _spectrum


@pytest.fixture
def write_arrays():
    """f(folder, tensor name → array, **config) → folder."""
    return _write_arrays


@pytest.fixture
def write_adapter():
    """f(folder, matrix → (B, A), **config) → folder."""
    return _write_adapter


@pytest.fixture(scope="session")
def adapter_writer():
    """``write_adapter`` for tests whose examples outlive a fixture of one test."""
    return _write_adapter


def _matrix(name: str, layer: int | None, kind: str, size: int = 8) -> dict:
    return {"name": name, "layer": layer, "module_type": kind, "in_features": size, "out_features": size}


def _write_plain(folder: Path, *, ended: bool = True, matrices: list[dict] | None = None) -> None:
    """Six records of two or more matrices; slot 0 of the first moves to the second at step 2, and back at step 4."""
    rows = matrices or [_matrix("m.0.query", 0, "query"), _matrix("m.1.value", 1, "value")]
    slots = [{0, 1, 2} for _ in rows]
    with RunWriter(folder, {"matrices": rows, "method": "flexlora", "config": {"total_steps": 6}}) as writer:
        for step in range(6):
            lam = [np.linspace(0.1, 0.4, len(own)) * step for own in slots]
            writer.spectrum(step, lam, lam if step % 2 == 0 else None)
            if step:
                writer.step(step, task_loss=1.0 / step, regularizer=0.2, loss=1.0 / step + 0.02)
            if step in (2, 4):
                taken, given = (0, 1) if step == 2 else (1, 0)
                gone, came = (0, 3) if step == 2 else (3, 0)
                slots[taken].remove(gone)
                slots[given].add(came)
                scored = {"spectral_entropy": {row["name"]: 0.1 * i for i, row in enumerate(rows, 1)}}
                moves = [
                    [{"matrix": rows[i]["name"], "slot": slot, "rules": []}]
                    for i, slot in ((taken, gone), (given, came))
                ]
                writer.event(step, 1, scored, "spectral_entropy", *moves)
        if ended:
            writer.end("completed")


def _write_soft(folder: Path) -> None:
    """Slot 1 of the first matrix goes off at step 2 and comes back at step 4; the second is used in part."""
    rows = [_matrix("m.0.query", 0, "query"), _matrix("m.1.query", 1, "query")]
    gates = [np.ones(3), np.array([0.25, 1.0])]
    with RunWriter(folder, {"matrices": rows, "method": "adalora", "config": {}}) as writer:
        for step in range(6):
            writer.spectrum(
                step, [np.array([0.3, -0.2, 0.1]), np.array([0.5, 0.4])], None, [own.copy() for own in gates]
            )
            writer.step(step + 1, task_loss=1.0, penalty=-0.1)
            if step in (2, 4):
                gates[0][1] = float(step == 4)
                move = {"matrix": rows[0]["name"], "slot": 1, "rules": ["masked" if step == 2 else "revived"]}
                scores = {rows[0]["name"]: [3.0, 1.0, None], rows[1]["name"]: [1.5, 0.5]}
                half = {"prune" if step == 2 else "extend": [move]}
                writer.event(step, 1, {"score": {}}, "score", **half, scores=scores, threshold=1.0)
        writer.end("completed")


def _write_unknown(folder: Path) -> None:
    """An imported log: ranks only, no sizes, no events."""
    rows = [{"name": f"m.{i}.query", "layer": i, "module_type": "query"} for i in range(3)]
    with RunWriter(folder, {"matrices": rows, "singular_values": "unknown", "config": {}}) as writer:
        for step, ranks in enumerate(([2, 2, 2], [3, 1, 2], [4, 0, 2])):
            writer.spectrum(step, [np.full(rank, np.nan) for rank in ranks])
        writer.end("stopped")


EDGE_RUNS = {
    "plain": _write_plain,
    "live": lambda folder: _write_plain(folder, ended=False),
    "soft": _write_soft,
    "unknown": _write_unknown,
    "shared": lambda folder: _write_plain(
        folder,
        matrices=[_matrix("a.0.query", 0, "query"), _matrix("b.0.query", 0, "query"), _matrix("head", None, "head", 5)],
    ),
    "empty": lambda folder: RunWriter(folder, {"matrices": [_matrix("m.0.query", 0, "query")], "config": {}}).close(),
    "one record": lambda folder: _write_one(folder),
}


def _write_one(folder: Path) -> None:
    with RunWriter(folder, {"matrices": [_matrix("m.0.query", 0, "query")], "config": {}}) as writer:
        writer.spectrum(0, [np.zeros(2)])


@pytest.fixture(scope="session")
def edge_runs(tmp_path_factory) -> dict[str, Run]:
    """Label → run: plain, live, soft (gates), unknown (ranks only), shared (two matrices in one cell), empty, ..."""
    root = tmp_path_factory.mktemp("edge")
    found = {}
    for label, write in EDGE_RUNS.items():
        write(root / label)
        found[label] = load_run(root / label)
    return found


@pytest.fixture(scope="session")
def sample_runs() -> dict[str, Run]:
    """Name → run: one each that moves directions, switches them, and leaves them."""
    root = Path(__file__).resolve().parents[2] / "sample_runs"
    return {name: load_run(root / name) for name in ("words-flexlora-paper", "digits-adalora", "digits-lora")}

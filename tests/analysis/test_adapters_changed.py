"""Whatever is changed in a valid file of any format: it is read, or refused in one line."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.adapters import AdapterError, adapter_report, analyse_adapter, compare_adapters, open_adapter
from analysis.adapters.files import CONFIG, WEIGHTS, NewTensor, write_tensors

RNG = np.random.default_rng(3)
Q, E = "base_model.model.m.0.q", "base_model.model.m.0.experts"


def pair(name: str, A: tuple[int, ...] = (2, 8), B: tuple[int, ...] = (6, 2)) -> dict[str, np.ndarray]:
    return {f"{name}.lora_A.weight": RNG.normal(size=A), f"{name}.lora_B.weight": RNG.normal(size=B)}


def parts(name: str, **shapes: tuple[int, ...]) -> dict[str, np.ndarray]:
    return {f"{name}.{part}": RNG.normal(size=shape) for part, shape in shapes.items()}


LORA = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q"]}
VALID: list[tuple[dict[str, Any] | None, dict[str, np.ndarray]]] = [
    (LORA, pair(Q) | pair(f"{Q}2", (2, 3, 3, 3), (6, 2, 1, 1)) | parts(Q, lora_magnitude_vector=(6,))),
    (LORA | {"kasa_config": {"beta": 1}}, pair(Q) | parts(Q, lora_diag=(2,))),
    (LORA | {"use_bdlora": {"target_modules_bd_a": ["q"], "nblocks": 2}}, pair(Q, (2, 4))),
    (LORA | {"use_qalora": True, "qalora_group_size": 4, "base_model_name_or_path": "gptq"}, pair(Q, (2, 4))),
    (LORA | {"target_parameters": ["experts.up"]}, pair(E, (6, 4), (8, 6))),
    (LORA, parts(Q, lora_embedding_A=(2, 9), lora_embedding_B=(5, 2))),
    ({"peft_type": "ADALORA", "init_r": 2}, parts(Q, lora_A=(2, 8), lora_B=(6, 2), lora_E=(2, 1))),
    ({"peft_type": "LOHA", "r": 2}, parts(Q, hada_w1_a=(6, 2), hada_w1_b=(2, 8), hada_w2_a=(6, 2), hada_w2_b=(2, 8))),
    ({"peft_type": "LOKR", "r": 2}, parts(Q, lokr_w1=(2, 3), lokr_w2_a=(6, 2), lokr_w2_b=(2, 8))),
    (None, {"lora_unet_a.lora_down.weight": RNG.normal(size=(2, 8)), "lora_unet_a.lora_up.weight": np.ones((6, 2))}),
    (None, pair("unet.a")),
    ({"lora_parameters": {"rank": 2, "scale": 2.0}}, parts("m.q", lora_a=(8, 2), lora_b=(2, 6))),
    ({"lora_parameters": {"rank": 2}}, parts("m.q", lora_a=(6, 8), lora_b=(3, 5, 2))),
]
VALUES = [None, True, False, 0, -1, 1e40, "x", [], {}, [1], {"a": 1}, float("nan"), {"q": 3}, {"q": "x"}, 10**30]
KEYS = ["alpha_pattern", "rank_pattern", "use_rslora", "target_parameters", "use_bdlora", "kasa_config", "alpha", "r"]


def changed(config: dict[str, Any] | None, arrays: dict[str, np.ndarray], draw: random.Random) -> None:
    """Change one thing in place."""
    name = draw.choice(sorted(arrays))
    kind = draw.randrange(6)
    if kind == 0 and len(arrays) > 1:
        del arrays[name]
    elif kind == 1:
        arrays[name] = RNG.normal(size=[draw.choice([0, 1, 2, 3, 6, 8]) for _ in range(draw.randrange(5))])
    elif kind == 2:
        others = [f"{name}.x", name.replace("q", "v"), name.replace("lora_A", "lora_Z"), f"{name.split('.')[0]}.alpha"]
        arrays[draw.choice(others)] = arrays[name]
    elif kind == 3:
        arrays[name] = arrays[name] * draw.choice([0.0, np.nan, 1e30, np.inf, 1e-30])
    elif kind == 4:
        arrays[name] = arrays[name].T
    elif config is not None:
        config[draw.choice([*config, *KEYS])] = draw.choice(VALUES)


def written(folder: Path, config: dict[str, Any] | None, arrays: dict[str, np.ndarray]) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    with np.errstate(over="ignore"):
        stored = {name: np.ascontiguousarray(array, "<f4").reshape(array.shape) for name, array in arrays.items()}
    write_tensors(folder / WEIGHTS, {name: NewTensor("F32", a.shape, a.tobytes) for name, a in stored.items()})
    if config is None:
        return folder / WEIGHTS
    (folder / CONFIG).write_text(json.dumps(config))
    return folder


def hold(path: Path) -> None:
    """Open, analyse, report and compare; σ are those of the product of the factors."""
    adapter = open_adapter(path)
    spectra = analyse_adapter(adapter)
    adapter_report(spectra)
    assert len({(m.block, m.layer, m.module_type) for m in adapter.matrices}) == len(adapter.matrices)
    for matrix, values in spectra.rows():
        B, A = adapter.factors(matrix.name)
        assert (B.shape, A.shape) == ((matrix.out_features, matrix.rank), (matrix.rank, matrix.in_features))
        if np.isfinite(values).all() and np.isfinite(B).all() and np.isfinite(A).all():
            dense = np.linalg.svd(matrix.scale * B @ A, compute_uv=False)[: matrix.rank]
            np.testing.assert_allclose(values, dense, atol=1e-6 * max(dense.max(initial=0.0), 1e-300))
    compare_adapters(adapter, adapter)


@pytest.mark.parametrize("number", range(len(VALID)))
def test_what_is_valid_is_read(number, tmp_path):
    hold(written(tmp_path / "a", *VALID[number]))


@pytest.mark.parametrize("number", range(len(VALID)))
def test_whatever_is_changed_is_read_or_refused_in_one_line(number, tmp_path):
    draw, read = random.Random(number), 0
    for _ in range(25):
        config, arrays = VALID[number]
        config, arrays = json.loads(json.dumps(config)), dict(arrays)
        for _ in range(draw.randrange(1, 4)):
            changed(config, arrays, draw)
        path = written(tmp_path / "a", config, arrays)
        try:
            hold(path)
            read += 1
        except AdapterError as error:
            assert str(error) and len(str(error).splitlines()) == 1
    assert read < 25

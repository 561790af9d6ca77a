"""docs/run-log.md names what is written, and its lines open the files."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from flexlora.run_log import RunWriter, read_run

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "run-log.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
MATRICES = [
    {"name": f"layer.{index}.query", "layer": index, "module_type": "query", "in_features": 8, "out_features": 6}
    for index in range(2)
]
ARROWS = ("scalars.arrows", "spectra.arrows")


def write_steps(writer: RunWriter, first: int, last: int) -> None:
    for step in range(first, last + 1):
        writer.step(step, task_loss=1.0)
        writer.spectrum(step, [np.ones(2), np.ones(3)], [np.ones(2), np.ones(3)] if step % 2 else None)


@pytest.fixture
def folder(tmp_path):
    with RunWriter(tmp_path / "run", {"config": {}, "matrices": MATRICES}) as writer:
        write_steps(writer, 1, 6)
        moves = [{"matrix": MATRICES[0]["name"], "slot": 0, "singular_value": 0.5, "rules": []}]
        writer.event(6, 2, {"spectral_entropy": {}}, "spectral_entropy", prune=moves)
        writer.note("edited", step=6, old={"initial_budget": 8}, new={"initial_budget": 4})
        writer.eval(6, "test", {"accuracy": 0.5}, samples=10, wall_s=0.1)
        writer.end("completed", wall_s=1.5, peak_memory_bytes=1)
    return tmp_path / "run"


def test_every_file_opens_in_the_one_line_that_is_shown(folder, monkeypatch):
    monkeypatch.chdir(folder)
    lines = next(block for block in BLOCKS if "read_json" in block).splitlines()
    events, scalars, spectra = (eval(line, {"pandas": pd, "pyarrow": pa}) for line in lines)
    assert events["record"].tolist() == ["event", "note", "eval", "end"]
    assert scalars["step"].tolist() == spectra["step"].tolist() == list(range(1, 7))
    assert spectra["ranks"][0].tolist() == [2, 3]
    assert len(pd.read_json(folder / "crc.jsonl", lines=True)) > 4


def test_a_resumed_run_opens_stream_by_stream_as_is_shown(folder):
    for start in (4, 6):
        with RunWriter(folder, {}, resume_from=start) as writer:
            write_steps(writer, start + 1, 8)
    names = {"pyarrow": pa}
    exec(next(block for block in BLOCKS if "def tables" in block), names)
    for name in ARROWS:
        assert pa.ipc.open_stream(folder / name).read_pandas()["step"].tolist() == [1, 2, 3, 4, 5, 6]
        found = [table["step"].to_pylist() for table in names["tables"](str(folder / name))]
        assert found == [[1, 2, 3, 4, 5, 6], [5, 6, 7, 8], [7, 8]]
    log = read_run(folder)
    assert log.spectra_steps.tolist() == list(range(1, 9))
    assert not log.notices


def test_every_field_that_is_written_is_named(folder):
    documents = [read_run(folder).header, MATRICES[0], json.loads((folder / "heartbeat.json").read_text())]
    for name in ("events.jsonl", "crc.jsonl"):
        documents += [json.loads(line) for line in (folder / name).read_text().splitlines()]
    documents += [move for document in documents for move in document.get("prune", [])]
    documents += [dict.fromkeys(pa.ipc.open_stream(folder / name).schema.names) for name in ARROWS]
    fields = {field for document in documents for field in document}
    assert len(fields) > 40
    assert [field for field in sorted(fields) if f"`{field}`" not in TEXT] == []


def test_every_file_that_is_written_is_named(folder):
    assert [path.name for path in folder.iterdir() if f"`{path.name}`" not in TEXT] == []

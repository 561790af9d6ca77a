"""A large log stays on disk: what it says is the same, and its cache is believed only while it fits its log."""

from __future__ import annotations

import os
from dataclasses import fields

import numpy as np
import pytest

from analysis.runs import load_run
from flexlora.run_log import RunLogError, RunWriter, read_run, reader, spectra
from flexlora.run_log.cache import CACHE
from flexlora.run_log.digest import Digest

MATRICES = [{"name": f"layer.{m}.query", "layer": m, "module_type": "query"} for m in range(3)]
STEPS = 30
ALL_OF_A_LOG = ("spectra_steps", "ranks", "stored", "values", "offsets", "true_values", "true_index", "gates")


@pytest.fixture
def large(monkeypatch):
    """Every log counts as large, and is read a few records at a time."""
    monkeypatch.setattr(reader, "RESIDENT_BYTES", 0)
    monkeypatch.setattr(spectra, "BLOCK_BYTES", 1)
    monkeypatch.setattr(spectra, "_GROWING", {})


def write(folder, *, gated=False, steps=range(1, STEPS + 1), end=True, resume_from=None):
    generator = np.random.default_rng(1)
    with RunWriter(folder, {"matrices": MATRICES, "config": {}}, resume_from=resume_from) as writer:
        for step in steps:
            lam = [generator.normal(size=size) for size in (4, 1 + step % 3, 2)]
            gates = None
            if gated and step > 10:
                gates = [generator.integers(0, 3, len(values)) / 2 for values in lam]
            writer.spectrum(step, lam, lam if step % 7 == 0 else None, gates)
            if step % 4 == 0:
                writer.flush()
        if end:
            writer.end("completed")
    return folder


def assert_equal(found, expected):
    for name in ALL_OF_A_LOG:
        own, other = getattr(found, name), getattr(expected, name)
        assert (own is None) == (other is None), name
        assert own is None or (own.dtype == other.dtype and np.array_equal(own, other)), name
    for field in fields(Digest):
        own, other = getattr(found.spectra.digest, field.name), getattr(expected.spectra.digest, field.name)
        assert np.array_equal(own, other, equal_nan=True) if isinstance(own, np.ndarray) else own == other, field.name


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("cached", [False, True])
def test_a_log_on_disk_says_what_one_in_memory_says(tmp_path, monkeypatch, gated, cached):
    folder = write(tmp_path / "run", gated=gated)
    eager = load_run(folder)
    assert type(eager.log.spectra) is spectra.Spectra
    monkeypatch.setattr(reader, "RESIDENT_BYTES", 0)
    monkeypatch.setattr(spectra, "BLOCK_BYTES", 1)
    monkeypatch.setattr(spectra, "_GROWING", {})
    lazy = load_run(folder)
    if cached:
        assert (folder / CACHE).is_file()
        monkeypatch.setattr(spectra.StoredSpectra, "read_through", None)
        lazy = load_run(folder)
    assert type(lazy.log.spectra) is spectra.StoredSpectra
    assert_equal(lazy.log, eager.log)
    for step in (1, 11, STEPS):
        for method in ("singular_values", "gates"):
            own, other = getattr(lazy, method)(step), getattr(eager, method)(step)
            assert (own is None) == (other is None)
            assert own is None or {k: v.tolist() for k, v in own.items()} == {k: v.tolist() for k, v in other.items()}
    assert lazy.true_singular_values(20)[0] == eager.true_singular_values(20)[0] == 14
    for matrix in lazy.matrices:
        for own, other in zip(lazy.spectra_of(matrix.name), eager.spectra_of(matrix.name), strict=True):
            assert own is other is None or np.array_equal(own, other)


def test_the_writer_leaves_the_cache_of_a_large_run_and_none_of_a_small_one(tmp_path, monkeypatch):
    assert not (write(tmp_path / "small") / CACHE).exists()
    monkeypatch.setattr(reader, "RESIDENT_BYTES", 0)
    folder = write(tmp_path / "large")
    assert [path.name for path in (folder / CACHE).parent.iterdir()] == [CACHE.name]


def test_a_run_that_is_still_written_gets_no_cache(tmp_path, large):
    with RunWriter(tmp_path / "run", {"matrices": MATRICES, "config": {}}) as writer:
        writer.spectrum(1, [[1.0]] * 3)
        writer.flush()
        assert read_run(tmp_path / "run").state == "running"
    assert not (tmp_path / "run" / CACHE).exists()


def test_a_run_that_grows_is_read_on_from_where_it_was(tmp_path, large, monkeypatch):
    folder, read, whole = tmp_path / "run", [], spectra.block_of

    def counted(table, matrices):
        read.extend(table["step"].to_pylist())
        return whole(table, matrices)

    with RunWriter(folder, {"matrices": MATRICES, "config": {}}) as writer:
        for step in range(1, 21):
            writer.spectrum(step, [[1.0, step]] * 3)
            if step % 4 == 0:
                writer.flush()
        before = read_run(folder)
        monkeypatch.setattr(spectra, "block_of", counted)
        for step in range(21, 31):
            writer.spectrum(step, [[1.0, step]] * 3)
        writer.flush()
        after = read_run(folder)
        assert read == list(range(21, 31))
    assert np.array_equal(after.spectra.digest.entropy[:20], before.spectra.digest.entropy)
    monkeypatch.setattr(spectra, "_GROWING", {})
    assert_equal(after, read_run(folder))
    # A start that takes steps back makes records void: nothing that was read before may stay.
    write(folder, steps=range(16, 19), resume_from=15, end=False)
    assert read_run(folder).spectra_steps.tolist() == list(range(1, 19))


def test_a_damaged_cache_is_ignored_wherever_it_is_damaged(tmp_path, large, monkeypatch):
    folder = write(tmp_path / "run")
    expected = read_run(folder).spectra.digest
    content = (folder / CACHE).read_bytes()
    changed = [
        content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :] for place in range(0, len(content), 97)
    ]
    cut = [content[:length] for length in range(0, len(content), 191)]
    for bad in [*changed, *cut, content + b"\0"]:
        monkeypatch.setattr(spectra, "_GROWING", {})
        (folder / CACHE).write_bytes(bad)
        found = read_run(folder)
        assert np.array_equal(found.spectra.digest.entropy, expected.entropy)
        assert found.notices == []
        assert (folder / CACHE).read_bytes() == content


def test_a_cache_of_another_log_is_ignored(tmp_path, large, monkeypatch):
    folder = write(tmp_path / "run")
    stale = (folder / CACHE).read_bytes()
    write(folder, steps=range(21, 26), resume_from=20)
    (folder / CACHE).write_bytes(stale)
    monkeypatch.setattr(spectra, "_GROWING", {})
    assert read_run(folder).spectra_steps.tolist() == list(range(1, 26))


def test_a_changed_byte_is_noticed_though_the_cache_knows_better(tmp_path, large, monkeypatch):
    folder = write(tmp_path / "run")
    assert len(read_run(folder).spectra_steps) == STEPS
    content = bytearray((folder / "spectra.arrows").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "spectra.arrows").write_bytes(content)
    found = read_run(folder)
    assert len(found.spectra_steps) < STEPS
    assert any("damaged" in notice for notice in found.notices)


def test_a_folder_that_cannot_be_written_opens_all_the_same(tmp_path, large):
    folder = write(tmp_path / "run")
    for path in (folder / CACHE).parent.iterdir():
        path.unlink()
    (folder / CACHE).parent.rmdir()
    # A file in the way stops even those to whom every folder is writable.
    (folder / "cache").write_text("")
    found = read_run(folder)
    assert (len(found.spectra_steps), found.notices) == (STEPS, [])
    assert (folder / "cache").read_text() == ""


def test_a_log_that_is_cut_after_it_was_opened_is_an_error_and_no_wrong_number(tmp_path, large):
    folder = write(tmp_path / "run")
    run = load_run(folder)
    os.truncate(folder / "spectra.arrows", 1000)
    for action in (
        lambda: run.singular_values(STEPS),
        lambda: run.spectra_of(MATRICES[0]["name"]),
        lambda: run.log.values,
    ):
        with pytest.raises(RunLogError, match="Open the run again"):
            action()
    assert len(run.entropy) == STEPS


def test_the_first_batch_may_be_lost(tmp_path):
    folder = write(tmp_path / "run")
    content = bytearray((folder / "spectra.arrows").read_bytes())
    content[600] ^= 1
    (folder / "spectra.arrows").write_bytes(content)
    found = read_run(folder)
    assert found.spectra_steps.tolist() == list(range(5, STEPS + 1))
    assert any("damaged: records of steps 1 to 4" in notice for notice in found.notices)

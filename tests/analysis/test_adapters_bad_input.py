"""What is no adapter, or a broken one, gets one clear line and takes no memory."""

from __future__ import annotations

import json
import pickle
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.adapters import (
    AdapterError,
    analyse_adapter,
    compare_adapters,
    compress_adapter,
    describe_adapter,
    open_adapter,
    suggest_ranks,
)
from analysis.adapters.dtypes import DTYPES, rounded
from analysis.adapters.files import CONFIG, WEIGHTS, NewTensor, TensorFile, write_tensors
from analysis.adapters.triage import triage
from analysis.outside import new_folder

NAME = "encoder.layer.0.attention.self.query"
KEY = f"base_model.model.{NAME}"


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    return {f"{KEY}.lora_A.weight": rng.normal(size=(4, 10)), f"{KEY}.lora_B.weight": rng.normal(size=(12, 4))}


@pytest.fixture
def folder(tmp_path, write_arrays, arrays):
    return write_arrays(tmp_path / "a", arrays)


def refused(path) -> str:
    with pytest.raises(AdapterError) as caught:
        analyse_adapter(open_adapter(path))
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_a_pickle_is_not_opened_and_the_line_says_how_to_convert_it(tmp_path):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("unpickled",))

    folder = tmp_path / "old"
    folder.mkdir()
    (folder / "adapter_model.bin").write_bytes(pickle.dumps(Trap()))
    (folder / CONFIG).write_text("{}")
    for path in (folder, folder / "adapter_model.bin"):
        assert "torch.load('adapter_model.bin', weights_only=True, map_location='cpu')" in refused(path)


def test_a_file_cut_anywhere_is_refused(folder):
    whole = (folder / WEIGHTS).read_bytes()
    for cut in range(0, len(whole), 7):
        (folder / WEIGHTS).write_bytes(whole[:cut])
        told = refused(folder)
        assert "Download" in told
        if cut >= 8 + int.from_bytes(whole[:8], "little"):
            assert f"cut short: {cut:,} of {len(whole):,} bytes" in told


def test_a_header_that_claims_eight_gigabytes_takes_no_memory(folder):
    (folder / WEIGHTS).write_bytes((8 << 30).to_bytes(8, "little") + b"{" * 1000)
    tracemalloc.start()
    assert "no complete safetensors file" in refused(folder)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 << 20


@pytest.mark.parametrize(
    "header",
    [
        b"not json at all",
        b"[1, 2]",
        b'{"x": {"dtype": "F32", "shape": [1000000, 1000000], "data_offsets": [0, 4000000000000]}}',
        b'{"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}',
        b'{"x": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}',
        b'{"x": {"dtype": "Q7", "shape": [1], "data_offsets": [0, 4]}}',
        b'{"x": 3}',
    ],
)
def test_a_header_that_lies_is_refused(folder, header):
    (folder / WEIGHTS).write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 4)
    assert any(words in refused(folder) for words in ("no complete safetensors file", "is cut short", "is damaged"))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_named_and_left_out(tmp_path, write_arrays, arrays, value):
    other = {name.replace("query", "value"): array.copy() for name, array in arrays.items()}
    arrays[f"{KEY}.lora_B.weight"][3, 2] = value
    spectra = analyse_adapter(open_adapter(write_arrays(tmp_path / "nan", {**arrays, **other})))
    assert [row["state"] for row in spectra.table()] == ["not finite", "live"]
    assert "1 of 2 matrices holds NaN or infinity" in spectra.notices[0]
    assert "live" not in " ".join(describe_adapter(spectra))
    ranks = suggest_ranks(spectra, "rank", 5).ranks
    assert ranks == {NAME: 4, NAME.replace("query", "value"): 1}
    with pytest.raises(AdapterError, match="cannot be compressed"):
        compress_adapter(spectra, ranks, tmp_path / "small")
    assert not (tmp_path / "small").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"lora_A": np.ones((3, 10))}, "lora_A has shape [3, 10] and lora_B [12, 4]"),
        ({"lora_A": None}, "has no lora_A in this file"),
        ({"lora_B": None}, "has no lora_B in this file"),
        ({"lora_A": np.ones(10)}, "must be (r, in) and (out, r)"),
        ({"lora_E": np.ones((3, 1))}, "lora_E has shape [3, 1], not [4, 1]"),
        ({"lora_A.default": np.ones((4, 10))}, "several adapters: (unnamed), default"),
    ],
)
def test_factors_that_do_not_fit_are_named(tmp_path, write_arrays, arrays, change, says):
    for part, array in change.items():
        arrays.pop(f"{KEY}.{part}.weight", None)
        if array is not None:
            arrays[f"{KEY}.{part}" + (".weight" if part != "lora_E" else "")] = array
    assert says in refused(write_arrays(tmp_path / "bad", arrays))


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"peft_type": "PROMPT_TUNING"}, "'PROMPT_TUNING': it trains what is put before the input"),
        ({"peft_type": "IA3"}, "ΔW = diag(l) W0 is a function of the base weights"),
        ({"peft_type": None}, "peft_type None"),
        ({"lora_alpha": "sixteen"}, "lora_alpha='sixteen'; a number within"),
        ({"lora_alpha": float("nan")}, "lora_alpha=nan; a number within"),
        ({"alpha_pattern": {"[": 3}}, "'[' is no regular expression"),
        ({"rank_pattern": [1, 2]}, "rank_pattern is list; a mapping"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_explained(tmp_path, write_arrays, arrays, config, says):
    assert says in refused(write_arrays(tmp_path / "bad", arrays, **config))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"[1]", "holds list, not the settings"),
        (b"{", "cannot be read as JSON"),
        (b"\xff\xfe\x00", "begins with a byte order mark"),
        (b"[" * 100_000, "cannot be read as JSON"),
        (b" " * (17 << 20), "has 17 MiB; at most 16 MiB are read"),
    ],
)
def test_a_configuration_file_that_is_none_is_refused(folder, content, says):
    (folder / CONFIG).write_bytes(content)
    assert says in refused(folder)


def test_what_is_missing_is_said(tmp_path, folder):
    assert "does not exist" in refused(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "it holds nothing" in refused(tmp_path / "empty")
    (folder / CONFIG).unlink()
    assert "so the scale alpha / r is unknown" in refused(folder)
    alone = analyse_adapter(open_adapter(folder / WEIGHTS))
    assert "taken as 1" in alone.notices[0]
    with pytest.raises(AdapterError, match="scale is unknown"):
        compress_adapter(alone, {NAME: 2}, tmp_path / "small")
    (tmp_path / "a.txt").write_text("hello")
    assert "is no safetensors file" in refused(tmp_path / "a.txt")
    (folder / WEIGHTS).rename(folder / "adapter.safetensors")
    assert "as the Lab saves it. Write it for PEFT first" in refused(folder)
    (folder / "adapter.safetensors").unlink()
    (folder / WEIGHTS).mkdir()
    (folder / CONFIG).write_text("{}")
    assert "is not a file" in refused(folder)


def test_a_link_out_of_the_folder_is_not_followed(tmp_path, folder):
    away = tmp_path / "elsewhere.safetensors"
    (folder / WEIGHTS).rename(away)
    (folder / WEIGHTS).symlink_to(away)
    assert "is a link that leads out of" in refused(folder)
    away.unlink()
    assert "a link to a file that does not exist" in refused(folder)


def test_a_configuration_link_out_of_the_folder_is_not_followed(tmp_path, folder):
    (folder / CONFIG).rename(tmp_path / "secret.json")
    (folder / CONFIG).symlink_to(tmp_path / "secret.json")
    assert "is a link that leads out of" in refused(folder)


def test_the_blobs_of_a_hub_snapshot_are_its_own(tmp_path, folder):
    root = tmp_path / "models--someone--something"
    snapshot = root / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    (root / "blobs").mkdir()
    for number, name in enumerate((WEIGHTS, CONFIG)):
        (folder / name).rename(root / "blobs" / str(number))
        (snapshot / name).symlink_to(f"../../blobs/{number}")
    assert open_adapter(snapshot).matrices[0].name == NAME


def test_numbers_of_another_type_are_refused(folder):
    data = np.ones((4, 10), np.int8)
    other = TensorFile(folder / WEIGHTS)
    raw = other.raw(f"{KEY}.lora_B.weight")
    tensors = {
        f"{KEY}.lora_A.weight": NewTensor("I8", data.shape, data.tobytes),
        f"{KEY}.lora_B.weight": NewTensor("F64", (12, 4), lambda: raw),
    }
    write_tensors(folder / WEIGHTS, tensors)
    assert "holds I8 numbers" in refused(folder)


def test_a_file_without_factors_is_refused(tmp_path, write_arrays):
    assert "It is no LoRA adapter" in refused(write_arrays(tmp_path / "model", {"encoder.weight": np.ones((3, 3))}))
    copy = {f"{KEY}.modules_to_save.lora_{part}.weight": np.ones((4, 4)) for part in "AB"}
    assert "only: a copy kept by PEFT" in refused(write_arrays(tmp_path / "copy", copy))


def test_a_rank_that_differs_from_the_configuration_is_told(tmp_path, write_arrays, arrays):
    adapter = open_adapter(write_arrays(tmp_path / "a", arrays, r=8))
    assert "has rank 4 in the file but 8 in the configuration" in adapter.notices[0]


@pytest.mark.parametrize("ranks", [{}, {NAME: 5}, {NAME: -1}])
def test_ranks_that_do_not_fit_are_refused_before_anything_is_written(folder, tmp_path, ranks):
    spectra = analyse_adapter(open_adapter(folder))
    with pytest.raises(AdapterError, match="it can keep 0 to 4"):
        compress_adapter(spectra, ranks, tmp_path / "small")
    assert not (tmp_path / "small").exists()


def test_numbers_too_large_for_half_precision_leave_nothing_behind(tmp_path, write_arrays, arrays):
    big = {name: array * 1e8 for name, array in arrays.items()}
    spectra = analyse_adapter(open_adapter(write_arrays(tmp_path / "big", big)))
    with pytest.raises(AdapterError, match="too large for F16"):
        compress_adapter(spectra, {NAME: 2}, tmp_path / "small", dtype="F16")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["big"]
    assert json.loads((tmp_path / "big" / CONFIG).read_text())["r"] == 4


@pytest.mark.parametrize("alpha", [10**400, 1e31, -1e300, "x" * 10_000, True, None])
def test_a_scale_that_cannot_be_computed_is_refused_in_a_short_line(tmp_path, write_arrays, arrays, alpha):
    folder = write_arrays(tmp_path / "a", arrays)
    (folder / CONFIG).write_text(json.dumps({"peft_type": "LORA", "r": 4, "lora_alpha": alpha}))
    message = refused(folder)
    assert "lora_alpha=" in message and "number" in message and len(message) < 250


@pytest.mark.parametrize("initial", [0, -1e-5])
def test_adalora_needs_a_rank_to_divide_by(tmp_path, write_arrays, arrays, initial):
    folder = write_arrays(tmp_path / "a", arrays)
    (folder / CONFIG).write_text(json.dumps({"peft_type": "ADALORA", "init_r": initial, "lora_alpha": 8}))
    assert "above 0" in refused(folder)


@pytest.mark.parametrize("pattern", ["a{99999999999}", "(" * 20_000 + ")" * 20_000, "(", "[z-a]"])
def test_a_pattern_that_is_none_is_refused_in_a_short_line(tmp_path, write_arrays, arrays, pattern):
    folder = write_arrays(tmp_path / "a", arrays)
    settings = {"peft_type": "LORA", "r": 4, "lora_alpha": 4, "rank_pattern": {pattern: 3}}
    (folder / CONFIG).write_text(json.dumps(settings))
    message = refused(folder)
    assert "no regular expression" in message and len(message) < 300


def test_a_pattern_built_to_take_for_ever_is_given_up(tmp_path, write_arrays, arrays, monkeypatch):
    monkeypatch.setattr("analysis.adapters.patterns.PATTERN_SECONDS", 0.05)
    slow = {f"base_model.model.{'ab' * 40}.{key.split('query.')[1]}": array for key, array in arrays.items()}
    folder = write_arrays(tmp_path / "a", slow)
    settings = {"peft_type": "LORA", "r": 4, "lora_alpha": 4, "rank_pattern": {"(?:a|ab|b)+(?:a|ab|b)+[cd]": 3}}
    (folder / CONFIG).write_text(json.dumps(settings))
    assert "too long" in refused(folder)


def test_numbers_beyond_what_can_be_squared_are_told_as_not_finite(tmp_path, write_arrays, arrays):
    spectra = analyse_adapter(open_adapter(write_arrays(tmp_path / "a", {k: v * 1e200 for k, v in arrays.items()})))
    assert spectra.broken == [NAME]


def test_very_small_factors_have_a_similarity(tmp_path, write_arrays, arrays):
    adapter = open_adapter(write_arrays(tmp_path / "a", {k: v * 1e-90 for k, v in arrays.items()}))
    assert compare_adapters(adapter, adapter).overlaps[0].similarity == pytest.approx(1.0)


@pytest.mark.parametrize("shapes", [((4, 0), (12, 4)), ((4, 10), (0, 4))])
def test_a_matrix_without_inputs_or_outputs_is_refused(tmp_path, write_arrays, shapes):
    arrays = {f"{KEY}.lora_A.weight": np.ones(shapes[0]), f"{KEY}.lora_B.weight": np.ones(shapes[1])}
    assert "above 0" in refused(write_arrays(tmp_path / "a", arrays))


@pytest.mark.parametrize("path", ["x" * 5000, "no\nwhere"])
def test_a_path_that_cannot_be_is_one_short_line(path):
    assert len(refused(path)) < 250


def test_names_with_line_breaks_are_refused(tmp_path, write_arrays, arrays):
    assert "printable" in refused(write_arrays(tmp_path / "a", {**arrays, "a\nb": np.ones(2)}))


def test_a_source_that_vanishes_is_blamed_and_not_the_output(tmp_path, write_adapter, spectrum):
    folder = write_adapter(tmp_path / "mine", {"a.query": spectrum([3, 2, 1])})
    spectra = analyse_adapter(open_adapter(folder))
    (folder / WEIGHTS).unlink()
    with pytest.raises(AdapterError, match=f"{WEIGHTS} can no longer be read"):
        compress_adapter(spectra, {"a.query": 2}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_another_by_now_is_not_read_by_half(tmp_path, write_adapter, spectrum):
    """Its factors would be cut at the ranks of the old ones, and the error told would be of neither."""
    folder = write_adapter(tmp_path / "mine", {"a.query": spectrum([3, 2, 1])})
    spectra = analyse_adapter(open_adapter(folder))
    write_adapter(tmp_path / "new", {"a.query": spectrum([9, 9, 9], seed=4)})
    (tmp_path / "new" / WEIGHTS).replace(folder / WEIGHTS)
    with pytest.raises(AdapterError, match="has changed since it was opened"):
        compress_adapter(spectra, {"a.query": 2}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_another_fills_meanwhile_is_left_to_it(tmp_path):
    meanwhile = pytest.raises(AdapterError, match="was filled by something else meanwhile")
    with meanwhile, new_folder(tmp_path / "out", AdapterError) as made:
        (made / "ours").write_text("1")
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "theirs").write_text("2")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["theirs"]


@pytest.mark.parametrize("dtype", list(DTYPES))
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=64), min_size=1, max_size=6))
def test_what_is_rounded_is_finite_or_refused(dtype, numbers):
    array = np.asarray(numbers)
    try:
        found = rounded(array, dtype)
    except AdapterError as error:
        assert "too large" in str(error)
        assert np.abs(array).max() > 6e4
    else:
        assert np.isfinite(found).all()


def test_no_direction_has_any_scale_and_leaves_the_others_alone(tmp_path, write_adapter, spectrum):
    matrices = {"a.query": spectrum([3, 2, 1]), "b.query": (np.zeros((12, 0)), np.zeros((0, 10)))}
    adapter = open_adapter(write_adapter(tmp_path / "mine", matrices, rank_pattern={"b.query": 0}))
    assert adapter.find("b.query").scale == 1 and adapter.find("b.query").rank == 0
    compress_adapter(analyse_adapter(adapter), {"a.query": 3, "b.query": 0}, tmp_path / "out")
    assert [matrix.name for matrix in open_adapter(tmp_path / "out").matrices] == ["a.query"]


def test_a_table_of_several_names_an_adapter_as_its_row_does(tmp_path, write_adapter, spectrum):
    folder = write_adapter(tmp_path / "kept-somewhere" / "a", {"a.query": spectrum([3, 2, 1])})
    (folder / CONFIG).unlink()
    (row,) = triage({"the first": folder})
    assert row.brief.startswith(f"the first has no {CONFIG}") and str(tmp_path) not in row.brief


def test_more_folders_than_are_looked_into_are_refused_and_never_counted_by_half(tmp_path, write_adapter, monkeypatch):
    for number in range(3):
        write_adapter(tmp_path / "many" / str(number), {"a.query": (np.ones((4, 1)), np.ones((1, 5)))}, r=1)
    assert "many holds 3 adapters" in refused(tmp_path / "many")
    monkeypatch.setattr("analysis.adapters.places.MOST_LOOKED", 2)
    assert "more than 2 folders below it" in refused(tmp_path / "many")
    write_adapter(tmp_path / "own", {"a.query": (np.ones((4, 1)), np.ones((1, 5)))}, r=1)
    for number in range(3):
        (tmp_path / "own" / str(number)).mkdir()
    assert open_adapter(tmp_path / "own").matrices

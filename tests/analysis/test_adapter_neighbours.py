"""Several adapters for one base model: the one whose ΔW is far larger is found beside the others."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.adapters import analyse_adapter, open_adapter
from analysis.adapters.__main__ import main
from analysis.adapters.doctor.neighbours import FEWEST, LARGER, neighbour_sizes, whole_size
from analysis.adapters.files import WEIGHTS, NewTensor, TensorFile, write_tensors
from analysis.adapters.triage import CLOSED, FINE, triage

NAMES = ("layers.0.q_proj", "layers.1.q_proj", "layers.1.v_proj", "layers.2.v_proj")


@pytest.fixture
def write(tmp_path, write_adapter):
    """f(name, size, names, base) → folder of an adapter of random factors."""

    def made(name, size=0.01, names=NAMES, base="acme/llama"):
        rng = np.random.default_rng(sum(map(ord, name)))
        factors = {key: (size * rng.normal(size=(12, 2)), rng.normal(size=(2, 10))) for key in names}
        return write_adapter(tmp_path / name, factors, r=2, lora_alpha=2, base_model_name_or_path=base)

    return made


def found(*folders):
    return neighbour_sizes({folder.name: analyse_adapter(open_adapter(folder)) for folder in folders})


@pytest.mark.parametrize("times", [0.3, 3, 30, 300])
def test_an_adapter_is_found_when_it_is_far_larger_than_its_neighbours(write, times):
    told = found(*(write(f"n{i}") for i in range(FEWEST)), write("large", 0.01 * times))
    assert set(told) == ({"large"} if times > LARGER else set())
    if told:
        assert times / 2 < told["large"].number < times * 2 and "3 others for acme/llama" in told["large"].text


def test_the_command_tells_it_beside_others(write, capsys):
    few, large = [str(write(f"n{i}")) for i in range(FEWEST)], str(write("large", 0.3))
    assert main([large, "--compare", *few]) == 0
    told = capsys.readouterr().out
    assert "large: Look: ΔW is " in told and "3 others for acme/llama" in told and "is told by --compare" not in told
    assert main([large, "--compare", *few[1:]]) == 0
    told = capsys.readouterr().out
    assert "others for acme/llama" not in told and "is told by --compare with 3 or more" in told


def test_s_is_named_where_it_cannot_be_the_cause(write):
    few = [write(f"n{i}") for i in range(FEWEST)]
    assert "s = alpha / r is that of the others (1)" in found(*few, write("large", 0.3))["large"].advice
    config = few[0] / "adapter_config.json"
    config.write_text(config.read_text().replace('"lora_alpha": 2', '"lora_alpha": 3'))
    assert "is that of 2 of them (1)" in found(*few, write("larger", 0.3))["larger"].advice
    own = write("other", 0.3) / "adapter_config.json"
    own.write_text(own.read_text().replace('"lora_alpha": 2', '"lora_alpha": 4'))
    assert "(2) is not that of most" in found(*few, own.parent)["other"].advice


def test_of_one_level_the_one_with_more_matrices_concerned_comes_first(write):
    one = write("one", 0.01)
    few, many = write("few", 0.2, NAMES), write("many", 0.2, NAMES)
    for folder, parts in ((few, 1), (many, 3)):
        file = TensorFile(folder / WEIGHTS)
        arrays = {name: file.read(name) for name in file.tensors}
        for name in [name for name in arrays if "lora_B" in name][parts:]:
            arrays[name] = 0.01 * arrays[name]
        (folder / WEIGHTS).unlink()
        write_tensors(folder / WEIGHTS, {k: NewTensor("F64", v.shape, v.tobytes) for k, v in arrays.items()})
    rows = triage({folder.name: folder for folder in (one, few, many)})
    assert [row.name for row in rows] == ["many", "few", "one"]
    assert rows[0].verdict == rows[1].verdict == "look" and rows[0].share > rows[1].share > rows[2].share == 0


def test_size_does_not_count_matrices(write):
    # One matrix of the same size is no smaller an adapter, and one of a larger size is found beside whole ones.
    own = whole_size(analyse_adapter(open_adapter(write("one", names=NAMES[:1]))))
    assert own == pytest.approx(whole_size(analyse_adapter(open_adapter(write("all")))), rel=0.6)
    assert set(found(*(write(f"n{i}") for i in range(FEWEST)), write("few", 0.3, NAMES[:1]))) == {"few"}


def test_too_few_neighbours_and_those_of_other_models_say_nothing(write):
    few = [write(f"n{i}") for i in range(FEWEST - 1)]
    assert found(*few, write("large", 3)) == {}
    assert found(*few, write("other", base="acme/else"), write("larger", 3)) == {}


def test_the_table_has_it_with_the_norm_and_the_worst_first(write, tmp_path):
    folders = [write(f"n{i}") for i in range(FEWEST)] + [write("large", 0.3)]
    broken = tmp_path / "closed"
    broken.mkdir()
    rows = triage({folder.name: folder for folder in [*folders, broken]})
    assert rows[0].verdict == CLOSED and rows[0].norm is None
    assert rows[1].name == "large" and rows[1].beside.check == "neighbours"
    assert {row.verdict for row in rows[2:]} == {FINE} and all(row.beside is None for row in rows[2:])
    for row in rows[1:]:
        spectra = analyse_adapter(open_adapter(tmp_path / row.name))
        assert row.norm == pytest.approx(np.sqrt(sum(np.square(v).sum() for v in spectra.singular_values.values())))

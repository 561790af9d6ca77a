"""``python -m analysis.adapters`` as a user meets it, and the sentences and tables it prints."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from analysis.adapters import (
    AdapterError,
    analyse_adapter,
    describe_adapter,
    describe_moves,
    flexlora_moves,
    open_adapter,
    suggest_ranks,
)
from analysis.adapters.__main__ import main
from analysis.adapters.tables import TABLE_FILES, adapter_report


@pytest.fixture
def folder(tmp_path, spectrum, write_adapter):
    return write_adapter(
        tmp_path / "mine",
        {
            "encoder.layer.0.attention.self.query": spectrum([8, 4, 0.1, 0.01]),
            "encoder.layer.0.attention.self.value": spectrum([3, 3, 3, 3], seed=1),
            "encoder.layer.1.attention.self.query": spectrum([0, 0, 0, 0], seed=2),
        },
    )


def test_the_sentences_say_what_the_spectra_hold(folder):
    text = " ".join(describe_adapter(analyse_adapter(open_adapter(folder))))
    assert "3 matrices, r = 4, 12 directions, 264 parameters" in text
    assert "1 of 3 matrices is dead" in text
    assert "1 of 2 matrices keep 99% of their energy in 3 of 4 directions" in text
    assert "6 of 8 directions (75%) hold it" in text
    assert "entropy runs from 0.36 (layer 0 query) to 1.00 (layer 0 value)" in text


def test_an_adapter_without_spare_rank_is_said_to_have_none(tmp_path, spectrum, write_adapter):
    matrices = {"a.query": spectrum([5, 5, 5, 5]), "b.query": spectrum([9, 9, 9, 0.1], seed=1)}
    folder = write_adapter(tmp_path / "full", {**matrices, "c.query": spectrum([1, 1, 1, 1], seed=2)})
    text = " ".join(describe_adapter(analyse_adapter(open_adapter(folder))))
    assert (
        "Hardly a direction is spare at 99% of every matrix's energy: it takes 11 of 12 directions (92%); 90%" in text
    )


def test_ranks_that_differ_are_told_over_all(tmp_path, spectrum, write_adapter):
    matrices = {"a.query": spectrum([5, 5, 5]), "b.query": spectrum([9, 0.1]), "c.query": spectrum([2], seed=3)}
    text = " ".join(describe_adapter(analyse_adapter(open_adapter(write_adapter(tmp_path / "mixed", matrices)))))
    assert "r = 1 to 3" in text
    assert "5 of 6 directions (83%) hold 99% of every matrix's energy; 2 of 3 matrices need all of theirs." in text


def test_the_command_prints_sentences_and_a_row_a_matrix(folder, capsys):
    assert main([str(folder)]) == 0
    out = capsys.readouterr().out
    rows = [line.split() for line in out.splitlines() if line.startswith("encoder")]
    assert [row[1] for row in rows] == ["4", "4", "4"]
    assert [row[-1] for row in rows] == ["live", "live", "dead"]
    assert rows[2][3] == "–"


def test_the_command_prints_one_json_object_without_nan(folder, tmp_path, capsys):
    out = tmp_path / "small"
    assert main([str(folder), "--json", "--rank", "6", "--out", str(out), "--moves", "1"]) == 0
    report = json.loads(capsys.readouterr().out, parse_constant=lambda name: pytest.fail(name))
    assert report["suggestion"]["total_rank"] == 6
    assert report["suggestion"]["ranks"]["encoder.layer.1.attention.self.query"] == 1
    assert report["moves"]["prune"] == ["encoder.layer.0.attention.self.query"]
    errors = {error["matrix"]: error["frobenius"] for error in report["suggestion"]["matrix_errors"]}
    dropped = (
        [4, 0.1, 0.01] if report["suggestion"]["ranks"]["encoder.layer.0.attention.self.query"] == 1 else [0.1, 0.01]
    )
    assert errors["encoder.layer.0.attention.self.query"] == pytest.approx(np.linalg.norm(dropped), abs=1e-5)
    written = analyse_adapter(open_adapter(out))
    assert sum(matrix.rank for matrix in written.adapter.matrices) == 6


def test_a_comparison_and_a_map_from_the_command(folder, tmp_path, capsys):
    places = tmp_path / "map.json"
    places.write_text(json.dumps({"encoder.layer.0.attention.self.query": [7, "special"]}))
    assert main([str(folder), "--compare", str(folder), "--map", str(places), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["matrices"][0]["layer"], report["matrices"][0]["module_type"]) == (7, "special")
    overlaps = report["comparison"]["overlaps"]
    assert [overlap["similarity"] for overlap in overlaps] == [pytest.approx(1), pytest.approx(1), None]
    assert main([str(folder), "--compare", str(folder)]) == 0
    assert "cosine +1.000" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--rank", "2"], "every matrix keeps at least one direction"),
        (["--energy", "1.5"], "must be above 0 and at most 1"),
        (["--rank", "many"], "invalid int value"),
        (["--rank", "5", "--energy", "0.9"], "not allowed with argument"),
        (["--by", "luck"], "invalid choice"),
        (["--out", "there"], "--out needs a target"),
        (["--table", "there.xls"], "must end with one of"),
        (["--map", "nowhere.json"], "cannot be used as a map"),
        (["--compare", "nowhere"], "does not exist"),
        (["--moves", "-1"], "must be at least 0"),
        (["--weights", "1", "2"], "--weights is of a merge"),
        (["--how", "ties", "--compare", "mine"], "--how is of a merge"),
        (["--merge", "mine", "--out", "new", "--density", "0.5"], "needs --how ties or --how dare"),
        (["--drop"], "--drop needs a target"),
        (["--dtype", "F16"], "--dtype needs a target"),
        (["--as", "lora"], "--as needs a target"),
        (["--by", "uniform"], "--by needs a target"),
        (["--rank", "6", "--out", "   "], "is no name of a folder"),
        (["--rank", "6", "--out", "new", "--table", "no/t.csv"], "there is no folder no"),
        (["--table", "mine/adapter_config.json"], "exists already"),
        (["--table", "mine/adapter_model.safetensors"], "must end with"),
    ],
)
def test_bad_input_is_one_line_and_status_two(folder, arguments, says, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([str(folder), *arguments, "--json"]) == 2
    out, err = capsys.readouterr()
    assert says in err
    assert len(err.strip().splitlines()) == 1
    assert says in json.loads(out)["error"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine"]


def test_the_command_runs_as_a_module_and_writes_only_json_to_its_output(folder):
    command = [sys.executable, "-m", "analysis.adapters", str(folder), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["total_rank"] == 12


def test_a_folder_with_something_in_it_is_not_overwritten(folder, capsys):
    before = sorted(path.read_bytes() for path in folder.iterdir())
    assert main([str(folder), "--rank", "6", "--out", str(folder)]) == 2
    assert "not empty" in capsys.readouterr().err
    assert sorted(path.read_bytes() for path in folder.iterdir()) == before


def test_tables_hold_the_same_rows_in_every_format(folder, tmp_path):
    spectra = analyse_adapter(open_adapter(folder))
    rows = adapter_report(spectra)["matrices"]
    csv = pd.read_csv(io.BytesIO(TABLE_FILES["csv"](spectra)))
    parquet = pd.read_parquet(io.BytesIO(TABLE_FILES["parquet"](spectra)))
    assert json.loads(TABLE_FILES["json"](spectra))["matrices"] == rows
    for table in (csv, parquet):
        assert table["matrix"].tolist() == [row["matrix"] for row in rows]
        assert table["rank_99"].tolist() == [row["rank_99"] for row in rows]
        assert table["entropy"].isna().tolist() == [False, False, True]
    assert parquet["singular_values"][0].tolist() == pytest.approx([8, 4, 0.1, 0.01])
    assert [float(value) for value in csv["singular_values"][1].split()] == pytest.approx([3, 3, 3, 3])
    assert main([str(folder), "--table", str(tmp_path / "t.parquet")]) == 0
    assert (tmp_path / "t.parquet").read_bytes()[:4] == b"PAR1"


def test_a_table_replaces_nothing_and_may_lie_in_what_is_written(folder, tmp_path, capsys):
    mine = tmp_path / "notes.csv"
    mine.write_text("precious")
    (tmp_path / "link.csv").symlink_to(tmp_path / "nowhere.csv")
    for name in ("notes.csv", "link.csv"):
        assert main([str(folder), "--table", str(tmp_path / name)]) == 2
    assert mine.read_text() == "precious" and not (tmp_path / "nowhere.csv").exists()
    new = tmp_path / "new"
    assert main([str(folder), "--rank", "6", "--out", str(new), "--table", str(new / "t.json")]) == 0
    assert json.loads((new / "t.json").read_text())["total_rank"] == 12
    assert open_adapter(new).matrices


@pytest.mark.parametrize("content", ["[1]", '{"a": 1}', '{"a": [0]}', '{"a": ["0", "q"]}', '{"a": [true, "q"]}', "{"])
def test_a_map_that_is_none_is_told_without_words_of_python(folder, tmp_path, capsys, content):
    (tmp_path / "map.json").write_text(content)
    assert main([str(folder), "--map", str(tmp_path / "map.json")]) == 2
    told = capsys.readouterr().err
    assert "cannot be used as a map" in told and not any(word in told for word in ("unpack", "iterable", "object is"))


def test_the_rule_takes_from_the_lowest_entropy_and_gives_to_the_highest(folder):
    spectra = analyse_adapter(open_adapter(folder))
    moves = flexlora_moves(spectra, 1)
    assert moves.prune == ("encoder.layer.0.attention.self.query",)
    assert moves.extend == ("encoder.layer.0.attention.self.value",)
    assert describe_moves(spectra, moves).endswith(
        "would take a direction from layer 0 query and give one to layer 0 value."
    )


def test_a_mapping_of_an_unknown_matrix_is_refused(folder):
    with pytest.raises(AdapterError, match="no matrix 'nobody'"):
        open_adapter(folder).mapped({"nobody": (0, "query")})


def test_dead_directions_go_first_whatever_the_importance(folder):
    spectra = analyse_adapter(open_adapter(folder))
    for by in ("least_error", "spectral_entropy", "nuclear_norm", "random"):
        assert suggest_ranks(spectra, "rank", 9, by).energy_kept == 1.0

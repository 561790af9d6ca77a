"""The doctor finds every planted defect, names its number and matrices, and finds nothing in healthy adapters."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from analysis.adapters import analyse_adapter, open_adapter
from analysis.adapters.__main__ import main
from analysis.adapters.atlas import ENOUGH, KINDS, entry_size, load_atlas, of_adapter
from analysis.adapters.atlas.beside import LABELS, OF_ANY_RANK, beside_atlas, conclusion
from analysis.adapters.doctor import CHECKS, LEVELS, THRESHOLDS, examine, examine_together, verdict
from analysis.adapters.doctor.finding import named
from analysis.adapters.doctor.pairs import COSINE
from analysis.adapters.doctor.shape import ONE_LAYER, SPIKE
from analysis.adapters.doctor.size import DROWNS, LARGE
from analysis.adapters.files import CONFIG, WEIGHTS
from analysis.adapters.own import open_any, peft_files
from analysis.adapters.suggestion import without_spare

SAMPLES = sorted((Path(__file__).parents[2] / "sample_runs" / "adapters").iterdir())
HEALTHY = SAMPLES[-1]


class Patient:
    """A healthy adapter in memory, to be spoilt and written."""

    def __init__(self, folder: Path) -> None:
        self.folder, files = folder, peft_files(HEALTHY)
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_bytes(content)
        self.arrays = load_file(folder / WEIGHTS)
        self.config = json.loads(files[CONFIG])

    def factor(self, part: str) -> list[str]:
        return [name for name in self.arrays if f"lora_{part}" in name]

    def scaled(self, factor: float, *names: str) -> None:
        for name in names:
            self.arrays[name] = self.arrays[name] * np.float32(factor)

    def opened(self):
        save_file({name: np.ascontiguousarray(array) for name, array in self.arrays.items()}, self.folder / WEIGHTS)
        (self.folder / CONFIG).write_text(json.dumps(self.config))
        return open_adapter(self.folder)


def dead(patient: Patient) -> None:
    patient.scaled(0, *patient.factor("B"))


def dead_in_two(patient: Patient) -> None:
    patient.scaled(0, *patient.factor("B")[:2])


def lost_A(patient: Patient) -> None:
    patient.scaled(0, *patient.factor("A")[:2])


def alpha_zero(patient: Patient) -> None:
    patient.config |= {"lora_alpha": 0, "alpha_pattern": {}}


def no_head(patient: Patient) -> None:
    patient.config["task_type"] = "SEQ_CLS"


def spike(patient: Patient) -> None:
    adapter = patient.opened()
    middle = np.median([values[0] for values in analyse_adapter(adapter).singular_values.values()])
    A, B = patient.factor("A")[3], patient.factor("B")[3]
    (out, _), (_, inputs) = patient.arrays[B].shape, patient.arrays[A].shape
    patient.arrays[B][:, 0] = 13 * middle / adapter.matrices[0].scale / np.sqrt(out)
    patient.arrays[A][0] = 1 / np.sqrt(inputs)


def padded(patient: Patient) -> None:
    for A, B in zip(patient.factor("A"), patient.factor("B"), strict=True):
        a, b = patient.arrays[A], patient.arrays[B]
        patient.arrays[A] = np.vstack([a, np.ones_like(a)])
        patient.arrays[B] = np.hstack([b, np.zeros_like(b)])
    for key in ("rank_pattern", "alpha_pattern"):
        patient.config[key] = {name: 2 * value for name, value in patient.config[key].items()}


def noise(patient: Patient) -> None:
    rng = np.random.default_rng(0)
    for name, array in patient.arrays.items():
        patient.arrays[name] = 0.1 * rng.normal(size=array.shape).astype(np.float32)


def faint(patient: Patient) -> None:
    rng = np.random.default_rng(0)
    for A, B in zip(patient.factor("A"), patient.factor("B"), strict=True):
        a, b = patient.arrays[A], patient.arrays[B]
        patient.arrays[A] = np.vstack([a, 1e-2 * rng.normal(size=a.shape)]).astype(np.float32)
        patient.arrays[B] = np.hstack([b, 1e-5 * rng.normal(size=b.shape)]).astype(np.float32)
    for key in ("rank_pattern", "alpha_pattern"):
        patient.config[key] = {name: 2 * value for name, value in patient.config[key].items()}


def blown_up(patient: Patient) -> None:
    patient.scaled(300, *patient.factor("B"))


def as_large_as_weights(patient: Patient) -> None:
    patient.scaled(20, *patient.factor("B"))


def one_layer(patient: Patient) -> None:
    patient.scaled(
        1e-3, *[name for name in patient.factor("B") if ".layer.2." not in name and ".layers.2." not in name]
    )


def underflow(patient: Patient) -> None:
    for name in patient.factor("B"):
        patient.arrays[name] = (patient.arrays[name] * 1e-6 / np.abs(patient.arrays[name]).max()).astype(np.float16)


def overflow(patient: Patient) -> None:
    patient.scaled(1e7, *patient.factor("B"))
    patient.scaled(1e-7, *patient.factor("A"))


def scale(patient: Patient) -> None:
    patient.config |= {"use_rslora": False, "alpha_pattern": {}, "lora_alpha": 1024}
    patient.scaled(1 / 64, *patient.factor("B"))


def not_finite(patient: Patient) -> None:
    patient.arrays[patient.factor("A")[0]][0, 0] = np.nan


def negative(patient: Patient) -> None:
    patient.config |= {"alpha_pattern": {key: -value for key, value in patient.config["alpha_pattern"].items()}}
    patient.config["lora_alpha"] *= -1


def copied(patient: Patient) -> None:
    layer = next(key for key in (".layer.2.", ".layers.2.") if any(key in name for name in patient.arrays))
    for name in [name for name in patient.arrays if layer in name]:
        patient.arrays[name.replace(layer, layer.replace("2", "3"))] = patient.arrays[name]


def gap(patient: Patient) -> None:
    patient.arrays = {name: array for name, array in patient.arrays.items() if ".3." not in name}
    patient.config["target_modules"] = ["query", "value", "dense"]


DEFECTS = {
    dead: ("dead", "wrong", "B = 0 in all 36 matrices"),
    dead_in_two: ("dead", "look", "B = 0 in 2 of 36 matrices (layer"),
    lost_A: ("dead", "look", "A = 0 in 2 of 36 matrices (layer"),
    alpha_zero: ("alpha_zero", "wrong", "alpha = 0 in all 36 matrices"),
    no_head: ("no_head", "wrong", "task_type is SEQ_CLS, and the file holds no tensor of a head"),
    spike: ("spike", "look", "rank-1 spike in 1 of 36 matrices"),
    padded: ("unused", "look", "288 of 576 directions are never used"),
    faint: ("faint", "look", "directions are nearly unused, in all 36 matrices"),
    blown_up: ("size", "wrong", "ΔW drowns the weights in all 36 matrices"),
    as_large_as_weights: ("size", "look", "ΔW is as large as the weights or larger in"),
    noise: ("noisy_tail", "note", "The smaller half of the directions holds"),
    one_layer: ("one_layer", "look", "100% of the energy lies in layer 2, one of 6 places"),
    underflow: ("underflow", "look", "Stored in F16"),
    overflow: ("overflow", "look", "become infinity"),
    scale: ("scale", "look", "s = 128 in all 36 matrices"),
    not_finite: ("not_finite", "wrong", "NaN or infinity in 1 of 36 matrices"),
    negative: ("negative", "look", "is below 0 in all 36 matrices"),
    copied: ("copied", "look", "ΔW is that of another matrix, number by number, in 6 of 36 matrices"),
    gap: ("gap", "look", "The file holds no matrix of layer 3 of "),
}


@pytest.mark.parametrize("plant", DEFECTS, ids=lambda plant: plant.__name__)
def test_a_planted_defect_is_the_one_that_is_found(plant, tmp_path):
    patient = Patient(tmp_path / "a")
    plant(patient)
    key, level, says = DEFECTS[plant]
    (finding,) = examine(analyse_adapter(patient.opened()))
    assert (finding.check, finding.level) == (key, level)
    assert says in finding.text and finding.advice.endswith(".")
    assert "\n" not in finding.text + finding.advice
    names = {matrix.name for matrix in patient.opened().matrices}
    assert set(finding.matrices) <= names


def test_every_check_has_a_planted_defect_a_threshold_and_a_reason():
    assert {key for key, *_ in DEFECTS.values()} == set(CHECKS)
    for key, check in CHECKS.items():
        assert check.key == key and check.threshold and check.evidence
    assert set(THRESHOLDS) == {"same_delta", "scaled", "sum", "interference", "shared_start"}


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_healthy_adapters_have_no_finding(path, tmp_path):
    assert examine(analyse_adapter(open_any(path))) == []


def test_a_healthy_adapter_with_a_head_is_not_told_that_it_has_none(tmp_path):
    patient = Patient(tmp_path / "a")
    no_head(patient)
    patient.arrays["base_model.model.classifier.weight"] = np.ones((2, 4), np.float32)
    assert examine(analyse_adapter(patient.opened())) == []


def test_a_head_that_the_configuration_names_was_lost_by_the_saving(tmp_path):
    patient = Patient(tmp_path / "a")
    no_head(patient)
    (finding,) = examine(analyse_adapter(patient.opened()))
    assert "modules_to_save is empty" in finding.advice
    patient.config["modules_to_save"] = ["classifier", "score"]
    (finding,) = examine(analyse_adapter(patient.opened()))
    assert "names classifier and score" in finding.advice and "lost when the file was saved" in finding.advice


def test_a_scale_that_the_factors_cancel_is_to_be_left_alone(tmp_path):
    patient = Patient(tmp_path / "a")
    for part in "AB":
        patient.scaled(1e-4, *patient.factor(part))
    scaled = {key: 1e8 * value for key, value in patient.config["alpha_pattern"].items()}
    patient.config |= {"lora_alpha": 1e8 * patient.config["lora_alpha"], "alpha_pattern": scaled}
    (finding,) = examine(analyse_adapter(patient.opened()))
    assert finding.check == "scale" and "ΔW is of usual size" in finding.text and "F16" not in finding.text
    assert "Leave alpha as it is" in finding.advice and "Compare lora_alpha" not in finding.advice
    patient.arrays = {name: array.astype(np.float16) for name, array in patient.arrays.items()}
    told = {finding.check: finding.text for finding in examine(analyse_adapter(patient.opened()))}
    assert "F16 has rounded off up to" in told["scale"]


@pytest.mark.parametrize(
    ("layers", "found"),
    [
        ({"q": range(1, 12)}, 1),
        ({"q": range(12), "v": [*range(5), *range(7, 12)]}, 2),
        # Every fourth layer is of another kind; most are.
        ({"q": [n for n in range(16) if n % 4 != 3]}, 0),
        ({"q": range(3, 16, 4)}, 0),
        ({"q": range(16), "v": range(4, 16)}, 0),
        ({"q": [0, 2]}, 0),
    ],
)
@pytest.mark.parametrize("told", [{}, {"layers_to_transform": [0]}, {"target_modules": "m.0.q|m.1.q"}])
def test_layers_are_missing_only_where_a_model_would_have_them(tmp_path, write_arrays, layers, found, told):
    rng, start = np.random.default_rng(0), "base_model.model.m.layers"
    arrays = {
        f"{start}.{n}.{kind}.lora_{part}.weight": rng.normal(size=shape) * 0.01
        for kind, own in layers.items()
        for n in own
        for part, shape in (("A", (2, 6)), ("B", (5, 2)))
    }
    config = {"r": 2, "lora_alpha": 2, "target_modules": ["q", "v"]} | told
    gaps = [one for one in examine(analyse_adapter(open_adapter(write_arrays(tmp_path / "a", arrays, **config))))
            if one.check == "gap"]  # fmt: skip
    assert [gap.number for gap in gaps] == ([found] if found and not told else [])


def test_one_layer_of_several_stacks_is_named_with_its_stack(tmp_path, write_arrays):
    rng, arrays = np.random.default_rng(0), {}
    for stack in ("double_blocks", "single_blocks"):
        for n in range(3):
            start = f"base_model.model.{stack}.{n}.{'qkv' if stack[0] == 'd' else 'linear1'}"
            arrays[f"{start}.lora_A.weight"] = 0.01 * rng.normal(size=(2, 6))
            arrays[f"{start}.lora_B.weight"] = (1 if (stack[0], n) == ("s", 1) else 0.01) * rng.normal(size=(5, 2))
    found = examine(analyse_adapter(open_adapter(write_arrays(tmp_path / "a", arrays, r=2, lora_alpha=2))))
    (one,) = (finding for finding in found if finding.check == "one_layer")
    assert "lies in single_blocks.1, one of 6 places" in one.text
    assert one.matrices == ("single_blocks.1.linear1",)


def test_checks_that_need_a_configuration_are_not_counted_without_one(tmp_path):
    patient = Patient(tmp_path / "a")
    alpha_zero(patient)
    whole = patient.opened()
    assert verdict([], whole) == f"Nothing found by {len(CHECKS)} checks."
    (patient.folder / CONFIG).unlink()
    alone = open_any(patient.folder / WEIGHTS)
    said = verdict(examine(analyse_adapter(alone)), alone)
    assert f"Nothing found by {len(CHECKS) - 5} checks. 5 more need adapter_config.json" in said
    assert all(label in said for label in ("No head saved", "alpha = 0", "Unusual scale"))


def test_many_matrices_are_told_by_type_and_layers_and_options_by_the_command_alone(tmp_path, capsys):
    patient = Patient(tmp_path / "a")
    adapter = patient.opened()
    kinds = sorted({matrix.module_type for matrix in adapter.matrices})
    names = [matrix.name for matrix in adapter.matrices if matrix.module_type in kinds[:2]]
    assert named(adapter, names) == f"in 12 of 36 matrices ({kinds[0]} and {kinds[1]} of layers 0 to 5)"
    broken = [matrix.name for matrix in adapter.matrices if matrix.layer in (0, 1, 2, 3, 5) and matrix.name in names]
    assert named(adapter, broken).endswith("of layers 0 to 3 and 5)")
    scattered = [matrix.name for matrix in adapter.matrices if matrix.layer in (0, 2, 3, 5)]
    assert named(adapter, scattered).endswith(", …)")
    padded(patient)
    (finding,) = examine(analyse_adapter(patient.opened()))
    assert "--" not in finding.text + finding.advice
    assert main([str(patient.folder)]) == 0
    assert "float32 could hold. (--error 1e-06 --out NEW_FOLDER)" in capsys.readouterr().out


@pytest.mark.parametrize("plant", [padded, faint, dead_in_two])
def test_what_is_advised_for_spare_directions_mends_the_finding(plant, tmp_path, capsys):
    patient = Patient(tmp_path / "a")
    plant(patient)
    spectra = analyse_adapter(patient.opened())
    (finding,) = examine(spectra)
    assert main([str(patient.folder), *finding.flags.replace("NEW_FOLDER", str(tmp_path / "b")).split()]) == 0
    capsys.readouterr()
    mended = analyse_adapter(open_adapter(tmp_path / "b"))
    assert examine(mended) == []
    lost = without_spare(spectra, float(finding.flags.split()[1]))
    assert lost.total_rank == sum(matrix.rank for matrix in mended.adapter.matrices)
    assert lost.error <= float(finding.flags.split()[1]) and without_spare(mended, 1e-6) is None


def test_numbers_outside_the_usual_are_marked_and_counted(tmp_path):
    patient = Patient(tmp_path / "a")
    noise(patient)
    spectra = analyse_adapter(patient.opened())
    rows = {row.quantity: row for row in beside_atlas(spectra)}
    assert rows["entropy"].side == 1 and rows["top_share"].side == -1
    outside = sum(row.side != 0 for row in rows.values())
    told = conclusion(spectra, list(rows.values()))
    assert f"{outside} of {len(rows)} numbers lie outside" in told and "entropy above" in told
    assert "Whether that is a defect this cannot tell" in told
    usual = [row._replace(value=(row.low + row.high) / 2) for row in rows.values()]
    assert f"all {len(rows)} numbers lie where the middle 90 % of theirs do" in conclusion(spectra, usual)


def test_spectra_stand_beside_a_large_enough_group_of_near_rank_only(tmp_path):
    patient = Patient(tmp_path / "a")
    for number, name in enumerate(patient.arrays):
        own = np.random.default_rng(number // 2).normal(size=(32, 8)).astype(np.float32)
        held = own if "lora_A" in name else own.T
        patient.arrays[name] = held @ patient.arrays[name] if "lora_A" in name else patient.arrays[name] @ held
    for key in ("rank_pattern", "alpha_pattern"):
        patient.config[key] = {name: 4 * value for name, value in patient.config[key].items()}
    spectra = analyse_adapter(patient.opened())
    rows = beside_atlas(spectra)
    assert {row.quantity for row in rows} == set(OF_ANY_RANK)
    assert "Spectra are left out: of ranks near 32 the sample has fewer than 4 adapters." in conclusion(spectra, rows)
    assert load_atlas().large_enough(32) is None and load_atlas().large_enough(8).adapters >= ENOUGH


def test_what_cannot_differ_is_not_held_beside_anything(tmp_path):
    patient = Patient(tmp_path / "a")
    first = sorted(patient.arrays)[:2]
    patient.arrays = {name: patient.arrays[name] for name in first}
    found = {row.quantity for row in beside_atlas(analyse_adapter(patient.opened()))}
    assert "entry" in found and not found & {"layer_concentration", "matrix_concentration", "spike"}


@settings(max_examples=10, deadline=None)
@given(st.floats(1e-3, 1e3))
def test_the_size_of_a_change_is_that_of_its_entries_and_scales_with_it(factor):
    rng = np.random.default_rng(0)
    B, A = factor * rng.normal(size=(12, 3)), rng.normal(size=(3, 10))
    values = np.linalg.svd(B @ A, compute_uv=False)
    assert entry_size(values, 12, 10) == pytest.approx(np.sqrt(np.square(B @ A).mean()))


def test_a_scale_of_rslora_is_told_beside_that_of_the_plain_rule(tmp_path):
    patient = Patient(tmp_path / "a")
    patient.config |= {"use_rslora": True, "alpha_pattern": {}, "lora_alpha": 64}
    for name in patient.factor("B"):
        patient.arrays[name] = patient.arrays[name] / 16
    (finding,) = examine(analyse_adapter(patient.opened()))
    assert finding.check == "scale" and "use_rslora divides alpha by √r: by r, s would be" in finding.text


def test_interference_and_a_shared_start_are_found_between_two(tmp_path):
    first, second, third = (Patient(tmp_path / name) for name in ("a", "b", "c"))
    rng = np.random.default_rng(0)
    second.scaled(-1, *second.factor("B"))
    second.scaled(1.1, *second.factor("B")[:3])
    for name in third.factor("B"):
        third.arrays[name] = rng.normal(size=third.arrays[name].shape).astype(np.float32)
    _, findings = examine_together([first.opened(), second.opened()])
    assert [finding.check for finding in findings] == ["interference", "shared_start"]
    assert "work against each other: the cosine of their ΔW is -1.00" in findings[0].text
    _, findings = examine_together([first.opened(), third.opened()])
    assert [finding.check for finding in findings] == ["shared_start"]
    for name in third.factor("A"):
        third.arrays[name] = rng.normal(size=third.arrays[name].shape).astype(np.float32)
    _, findings = examine_together([first.opened(), third.opened()])
    assert findings == []


def test_the_command_tells_findings_and_the_usual(tmp_path, capsys):
    patient = Patient(tmp_path / "a")
    dead_in_two(patient)
    patient.opened()
    assert main([str(patient.folder)]) == 0
    out = capsys.readouterr().out
    assert f"{len(CHECKS)} checks, 1 finding: 1 to look at." in out
    assert "Look: B = 0 in 2 of 36 matrices" in out and "never that it is bad" in out
    assert main([str(patient.folder), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["findings"][0]["check"] == "dead" and report["findings"][0]["threshold"]
    assert {row["quantity"] for row in report["usual"]} == set(LABELS)


class TestAtlas:
    def test_every_group_has_every_quantity_at_ascending_levels(self):
        atlas = load_atlas()
        assert {"real", "shuffled", "random"} <= {group.kind for group in atlas.groups} <= set(KINDS)
        assert atlas.levels[0] == 0 and atlas.levels[-1] == 100
        assert {group.kind for group in atlas.pooled} >= {"real", "shuffled"}
        for group in (*atlas.groups, *atlas.pooled):
            for values in [*group.of_a_matrix.values(), *group.of_an_adapter.values()]:
                assert len(values) == len(atlas.levels) and (np.diff(values) >= 0).all()

    def test_a_quantile_is_found_again_as_its_percentile(self):
        atlas = load_atlas()
        for level in (5, 25, 50, 90):
            value = atlas.quantile("entropy", 8, level)
            assert atlas.percentile("entropy", value, 8) == pytest.approx(level, abs=1e-6)
        assert atlas.percentile("entropy", 2.0, 8) == 100 and atlas.percentile("entropy", -1.0, 8) == 0

    def test_training_leaves_other_spectra_than_gaussian_factors(self):
        # What the check of a noisy tail rests on: the groups lie apart.
        for rank in (4, 8, 16):
            low = load_atlas().quantile("tail_share", rank, 5, "random")
            assert load_atlas().quantile("tail_share", rank, 75) < low

    def test_no_adapter_of_the_atlas_comes_near_the_thresholds(self):
        atlas = load_atlas()
        trained = [group for group in atlas.groups if group.kind in ("real", "shuffled")]
        assert max(group.of_an_adapter["spike"][-1] for group in trained) < SPIKE / 2
        assert max(group.of_an_adapter["layer_concentration"][-1] for group in trained) / 6 < ONE_LAYER / 1.5
        assert max(group.of_a_matrix["entry"][-1] for group in trained) < LARGE / 1.5
        assert max(group.of_a_matrix["entry"][-1] for group in atlas.groups if group.kind == "failed") < LARGE
        heaviest = max(sizes[-1] for sizes in atlas.weights.values())
        assert heaviest < LARGE and 10 * heaviest < DROWNS
        assert max(abs(value) for kind in ("real", "shuffled") for value in atlas.cosines[kind]) < COSINE

    def test_the_file_is_small_and_says_what_was_trained(self):
        assert (Path(load_atlas.__wrapped__.__globals__["FILE"])).stat().st_size < 200_000
        real = [run for run in load_atlas().runs if run["kind"] == "real"]
        assert len(real) >= 4 and all(run["accuracy"] > run["majority"] for run in real)

    def test_beside_gives_the_middle_matrix(self):
        spectra = analyse_adapter(open_any(HEALTHY))
        found = {row.quantity: row for row in beside_atlas(spectra)}
        entropies = [row["entropy"] for row in spectra.table()]
        assert found["entropy"].value == pytest.approx(np.median(entropies))
        assert found["layer_concentration"].value == pytest.approx(
            of_adapter([m.layer for m in spectra.adapter.matrices], list(spectra.singular_values.values()))[
                "layer_concentration"
            ]
        )


def test_levels_are_in_order():
    assert LEVELS == ("wrong", "look", "note")

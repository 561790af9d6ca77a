"""One formula, one language: what a picture's CSV holds in the browser is its table of ``analysis.tables``."""

from __future__ import annotations

import csv
import io
import json
import math
import shutil
import subprocess
from pathlib import Path

import pytest

from analysis.entropy_scale import ENTROPY_SCALES
from analysis.metrics import first_matrix
from analysis.order import SORTS, by_similarity
from analysis.payload import pack_matrix, pack_run, pack_spectra
from analysis.quantities import QUANTITIES
from analysis.runs import Run, load_run
from analysis.tables import VIEWS, Moment, write_csv_bytes
from analysis.why import why_card
from player import CHOICES

PLAYER = Path(__file__).resolve().parents[2] / "app" / "player"
SCRIPT = Path(__file__).with_name("player_tables.mjs")
SAMPLES = PLAYER.parents[1] / "sample_runs"
NODE = shutil.which("node")
CODED = {"entropy": 1e-5, "true_entropy": 1e-5, "entropy_gap": 2e-5, "gate": 0.002}
"""Columns that are sent in fewer bits → how far they may be off; the others come in single precision at least."""

pytestmark = pytest.mark.skipif(NODE is None, reason="node runs the player's modules here; it is not installed")


def moments(run: Run) -> list[tuple[str, str, Moment]]:
    """Every view of every place, at the first and last record, at an event and between events, in its variants."""
    moved = [event["step"] for event in run.events if event["prune"] or event["extend"]]
    ends, event = run.steps[[0, -1]].tolist(), moved[len(moved) // 2 : len(moved) // 2 + 1]
    between = [step for step in run.steps.tolist() if event and step > event[0]][:1]
    steps = list(dict.fromkeys([*ends, *event, *between]))
    names = [run.matrices[0].name, run.matrices[-1].name, *(first_matrix(run, step) for step in event)]
    found = [
        (place, key, Moment(step, name, colour="rank"))
        for place, views in VIEWS.items()
        for key in views
        for step in (steps if place != "band" else steps[-1:])
        for name in (dict.fromkeys(names) if key in ("spectrum", "why", "directions", "energy_shares") else names[:1])
    ]
    found += [("map", "map", Moment(step, names[0], stages=True)) for step in event]
    coloured = [("map", "map"), ("map", "pair"), ("map", "events"), ("band", "strip"), ("band", "layers")]
    for colour in QUANTITIES:
        found += [
            (*view, Moment(steps[-1], names[0], since, colour)) for view in coloured for since in (None, steps[-1])
        ]
    found += [
        ("band", key, Moment(steps[-1], names[0], None, "entropy", entropy_scale=scale))
        for scale in ENTROPY_SCALES
        for key in ("strip", "layers")
    ]
    return found + [("band", "strip", Moment(steps[-1], names[0], None, "energy", sort)) for sort in SORTS]


def shown(folder: Path, run: Run, other: Run, wanted: list[tuple[str, str, Moment]], *, player=PLAYER, limit=None):
    """What node makes of it: the keys of the scripts, and one CSV text a moment, None where the view is not offered."""
    payload = pack_run(run) if limit is None else pack_run(run, limit)
    files = {"run": payload, "other": pack_run(other)}
    parcels = [f"m{m}" for m in range(len(run.matrices))] if limit is not None else []
    files |= {name: pack_matrix(run, run.matrices[m].name, payload) for m, name in enumerate(parcels)}
    frames = {f"s{at.step}": at.step for _, key, at in wanted if key == "spectra" and limit is not None}
    files |= {name: pack_spectra(run, step) for name, step in frames.items()}
    for name, data in files.items():
        (folder / name).write_bytes(data)
    scenes = []
    for place, key, at in wanted:
        card = why_card(run, at.step, at.matrix) if key == "why" else None
        scenes.append({"place": place, "key": key, "card": card, **at._replace(other=None)._asdict()})
    request = {
        "player": str(player),
        "payload": str(folder / "run"),
        "other": str(folder / "other"),
        "parcels": [str(folder / name) for name in parcels],
        "frames": {step: str(folder / name) for name, step in frames.items()},
        "order": by_similarity(run).tolist(),
        "scenes": scenes,
    }
    done = subprocess.run([NODE, SCRIPT], input=json.dumps(request), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def difference(view: tuple[str, str, Moment], found: str, expected: str) -> str | None:
    """The first cell that differs, in words."""
    own, wanted = (list(csv.reader(io.StringIO(text, newline=""))) for text in (found, expected))
    if own[0] != wanted[0] or len(own) != len(wanted):
        return f"{view}: {len(own)} rows of {own[0]}, expected {len(wanted)} of {wanted[0]}"
    _, key, at = view
    drawn = "entropy" if key == "entropies" or (key, at.colour) == ("strip", "rank") else QUANTITIES[at.colour].column
    wide = key in ("entropies", "strip", "layers", "pair")
    tolerances = {name: CODED.get(name, 2 * CODED.get(drawn, 0.0) if wide else 0.0) for name in wanted[0]}
    for row, other in zip(own[1:], wanted[1:], strict=True):
        for name, cell, told in zip(wanted[0], row, other, strict=True):
            if cell != told and not near(cell, told, tolerances[name]):
                return f"{view}, {name} at {dict(zip(wanted[0], other, strict=True))}: {cell!r}"
    return None


def near(cell: str, told: str, tolerance: float) -> bool:
    try:
        return math.isclose(float(cell), float(told), rel_tol=3e-7, abs_tol=max(tolerance, 1e-30))
    except ValueError:
        return False


def differences(run: Run, other: Run, wanted: list[tuple[str, str, Moment]], tables: list[str | None]) -> list[str]:
    told = []
    for (place, key, at), table in zip(wanted, tables, strict=True):
        if table is None:
            assert key in ("stages", "events"), f"{key} is not offered"
            assert not any(event["prune"] or event["extend"] for event in run.events)
            continue
        expected = write_csv_bytes(VIEWS[place][key](run, at._replace(other=other))).decode()
        told += [found] if (found := difference((place, key, at), table, expected)) else []
    return told


RUNS = ("words-flexlora-paper", "words-flexlora-reference", "digits-adalora", "digits-salora", "digits-lora")


@pytest.fixture(scope="module")
def runs():
    return {name: load_run(SAMPLES / name) for name in RUNS}


@pytest.mark.parametrize("name", RUNS)
def test_every_picture_has_the_table_of_the_analysis(name, runs, tmp_path):
    run, other = runs[name], runs["digits-lora" if name == "digits-adalora" else "digits-adalora"]
    wanted = moments(run)
    assert differences(run, other, wanted, shown(tmp_path, run, other, wanted)["tables"]) == []


@pytest.mark.parametrize("soft", [False, True])
def test_spectra_that_come_one_matrix_at_a_time_make_the_same_tables(soft, make_run, make_soft_run, tmp_path):
    run = load_run((make_soft_run if soft else make_run)(tmp_path / "log"))
    wanted, limit = moments(run), len(pack_run(run)) - 1000
    found = shown(tmp_path, run, run, wanted, limit=limit)["tables"]
    assert differences(run, run, wanted, found) == []


def test_views_colours_orders_and_stages_have_the_same_keys_in_both_languages(runs, tmp_path):
    run = runs["digits-lora"]
    assert {name: tuple(keys) for name, keys in shown(tmp_path, run, run, [])["choices"].items()} == CHOICES


FAULTS = {
    "spectra": ("views/spectra_map.js", "(Math.abs(b.value) || 0) -", "(b.value || 0) -"),
    "rank_time": ("views/lines.js", "model.rank(t, m),", "model.stored(0, m),"),
    "map": ("model/model.js", "this.ranks[t * this.M + m] - this.ranks", "this.ranks[t * this.M + m] + this.ranks"),
    "stages": ("views/stage_map.js", "rank - (prune.get(m) ?? 0)", "rank - (extend.get(m) ?? 0)"),
    "events": ("views/event_maps.js", "chosen[nearest] = current;", ""),
    "pair": ("views/pinned.js", "m) - colourValue(theirs", "m) + colourValue(theirs"),
    "spectrum": ("views/spectrum.js", "value / model.scale", "value * model.scale"),
    "why": ("views/why_card.js", "score, place, of]", "score, of, place]"),
    "directions": ("model/direction_lines.js", "value / model.scale])", "value * model.scale])"),
    "strip": ("pen/colour.js", "model[colour](t, m)", "model[colour](t, m) ** 2"),
    "layers": ("views/layer_means.js", "sum / defined", "sum / members.length"),
    "trajectories": ("views/lines.js", "model.rank(t, m),", "model.stored(0, m),"),
    "entropies": ("model/model.js", "code / 65534", "code / 65535.5"),
    "share_type": ("views/rank_share.js", "rank / total :", "rank / (total + 1) :"),
    "share_layer": ("views/rank_share.js", "t * model.header.groups[by].length", "0 * model.header.groups[by].length"),
    "energy_shares": ("model/model.js", "value ** 2", "Math.abs(value)"),
    "curves": ("views/curves_table.js", "model.moved(t)[key]", "model.moved(0)[key]"),
}
"""View → a fault in its script: file, what stands there, what takes its place."""


@pytest.mark.parametrize("key", [key for views in VIEWS.values() for key in views])
def test_a_wrong_formula_in_a_view_is_found(key, runs, tmp_path):
    file, right, wrong = FAULTS[key]
    run, other = runs["words-flexlora-paper"], load_run(SAMPLES / "words-flexlora-reference")
    player = shutil.copytree(PLAYER, tmp_path / "player")
    text = (player / file).read_text(encoding="utf-8")
    assert right in text
    (player / file).write_text(text.replace(right, wrong), encoding="utf-8")
    wanted = [own for own in moments(run) if own[1] == key]
    assert differences(run, other, wanted, shown(tmp_path, run, other, wanted, player=player)["tables"])

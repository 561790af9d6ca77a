"""What the browser makes of a payload, beside the run it was made from; app/player/model/*.js in a real Chromium."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from analysis.payload import pack_matrix, pack_run
from analysis.runs import load_run
from analysis.stages import event_stages

READ = """
async ([payload, parcels]) => {
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const { Model, openPayload } = EXPORTS;
  const model = new Model(openPayload(bytes(payload)));
  const before = model.matrices.map((_, m) => model.hasSpectrum(m));
  const taken = parcels.map((parcel) => model.spectra.accept(openPayload(bytes(parcel))));
  const plain = (value) => (value === null || Number.isFinite(value) ? value : String(value));
  const cells = (read) => Array.from({ length: model.T }, (_, t) => model.matrices.map((_, m) => read(t, m)));
  return {
    before, taken, onDemand: model.spectra.onDemand, rough: model.roughEnergy, gates: model.gates,
    steps: [...model.steps], points: model.header.points, curve: [...(model.budgetCurve()?.values ?? [])],
    ranks: cells((t, m) => model.rank(t, m)),
    stored: cells((t, m) => model.stored(t, m)),
    entropy: cells((t, m) => plain(model.entropy(t, m))),
    energy: cells((t, m) => plain(model.energy(t, m))),
    trueEntropy: cells((t, m) => plain(model.trueEntropy(t, m))),
    gap: cells((t, m) => plain(model.gap(t, m))),
    lam: cells((t, m) => [...model.singularValues(t, m)]),
    gate: cells((t, m) => [...model.singularValues(t, m)].map((_, i) => model.gate(t, m, i))),
    sigma: cells((t, m) => {
      const truth = model.trueSingularValues(t, m);
      return truth && [truth.step, truth.rank, [...truth.values]];
    }),
    expected: model.expectedTotal && [...model.expectedTotal],
    peak: [...model.peak],
    truePeak: [...model.truePeak],
    events: model.events,
  };
}
"""


@pytest.fixture(scope="module")
def read(browser, modules):
    """f(payload, parcels) → what the model says."""
    page = browser.new_page()
    script = READ.replace("EXPORTS", modules("player/model/model.js", "player/model/container.js"))

    def go(payload, parcels=()):
        encoded = [base64.b64encode(data).decode() for data in (payload, *parcels)]
        return page.evaluate(script, [encoded[0], encoded[1:]])

    yield go
    page.close()


@pytest.fixture(scope="module")
def runs(tmp_path_factory, make_run, make_soft_run):
    root = tmp_path_factory.mktemp("decoded")
    return {"hard": load_run(make_run(root / "hard")), "soft": load_run(make_soft_run(root / "soft"))}


@pytest.mark.parametrize("name", ["hard", "soft"])
@pytest.mark.parametrize("spectra", [True, False])
def test_the_browser_finds_every_number_of_the_run(read, runs, name, spectra):
    run = runs[name]
    payload = pack_run(run) if spectra else pack_run(run, max_bytes=len(pack_run(run)) - 1000)
    parcels = () if spectra else [pack_matrix(run, matrix.name, payload) for matrix in run.matrices]
    seen = read(payload, parcels)
    names = [matrix.name for matrix in run.matrices]
    assert seen["before"] == [spectra] * len(names)
    assert seen["taken"] == [True] * len(parcels)
    assert (seen["onDemand"], seen["rough"]) == (not spectra, False)
    assert seen["steps"] == run.steps.tolist()
    assert seen["ranks"] == run.ranks.tolist()
    assert seen["stored"] == run.stored.tolist()
    assert np.array(seen["entropy"], float) == pytest.approx(run.entropy, abs=1 / 65534, nan_ok=True)
    assert np.array(seen["energy"], float) == pytest.approx(run.energy, rel=1e-6)
    known = run.log.spectra.digest
    assert seen["peak"] == pytest.approx(known.peak)
    assert seen["truePeak"] == pytest.approx(known.true_peak)
    for t, step in enumerate(run.steps.tolist()):
        record = run.log.spectra.record(t)
        own = np.split(record.values, np.cumsum(record.stored[0])[:-1])
        assert seen["lam"][t] == [part.tolist() for part in own]
        if known.gated:
            gates = np.array([gate for matrix in seen["gate"][t] for gate in matrix])
            assert gates == pytest.approx(record.all_gates, abs=1 / 255)
        truth = run.true_singular_values(step)
        row = int(np.searchsorted(run.true_entropy[0], step, side="right")) - 1
        if truth is None:
            assert seen["sigma"][t] == [None] * len(names)
            continue
        found = {matrix: values for matrix, (_, _, values) in zip(names, seen["sigma"][t], strict=True)}
        assert found == {matrix: values.tolist() for matrix, values in truth[1].items()}
        assert {step for step, _, _ in seen["sigma"][t]} == {truth[0]}
        assert np.array(seen["trueEntropy"][t], float) == pytest.approx(run.true_entropy[1][row], abs=2e-5)
        gap = np.abs(run.entropy[run.record_at(truth[0])] - run.true_entropy[1][row])
        assert np.array(seen["gap"][t], float) == pytest.approx(gap, abs=4e-5)
    assert seen["expected"] == (pytest.approx(run.expected_ranks.sum(axis=1)) if known.gated else None)


@pytest.mark.parametrize("name", ["hard", "soft"])
def test_events_have_their_names_moves_and_the_scores_that_decided(read, runs, name):
    run = runs[name]
    for event, seen in zip(run.events, read(pack_run(run))["events"], strict=True):
        assert seen["step"] == event["step"]
        stages = event_stages(run, event)
        assert np.array(seen["scores"], float) == pytest.approx(stages.score, nan_ok=True)
        assert np.array(seen["order"], float) == pytest.approx(stages.order, nan_ok=True)
        for key in ("prune", "extend"):
            assert [move["matrix"] for move in seen[key]] == [move["matrix"] for move in event[key]]
            assert [move["slot"] for move in seen[key]] == [move["slot"] for move in event[key]]
            assert [move["rules"] for move in seen[key]] == [move["rules"] for move in event[key]]
            values = [move.get("singular_value") for move in seen[key]]
            assert values == pytest.approx([move.get("singular_value") for move in event[key]])


def test_without_its_parcel_a_spectrum_is_empty_and_the_rest_is_there(read, runs):
    run = runs["hard"]
    payload = pack_run(run, max_bytes=len(pack_run(run)) - 1000)
    seen = read(payload, [pack_matrix(run, run.matrices[2].name, payload)])
    assert seen["before"] == [False] * 6
    assert [bool(values) for values in seen["lam"][5]] == [m == 2 for m in range(6)]
    assert [bool(truth) for truth in seen["sigma"][5]] == [m == 2 for m in range(6)]
    assert np.array(seen["energy"], float) == pytest.approx(run.energy, rel=1e-6)


def test_a_parcel_of_another_run_is_refused(read, runs):
    run, other = runs["hard"], runs["soft"]
    payload = pack_run(run, max_bytes=len(pack_run(run)) - 1000)
    parcel = pack_matrix(other, other.matrices[0].name, pack_run(other))
    assert read(payload, [parcel])["taken"] == [False]
    assert read(pack_run(run), [parcel])["taken"] == [False]


def test_each_step_to_fewer_bytes_is_read_back(read, runs):
    run = runs["hard"]
    layouts = set()
    for limit in range(len(pack_run(run)) + 4000, 4000, -500):
        seen = read(pack_run(run, max_bytes=limit))
        rows = np.searchsorted(run.steps, seen["steps"])
        layouts.add((seen["onDemand"], seen["rough"], len(rows) < len(run.steps)))
        assert seen["ranks"] == run.ranks[rows].tolist()
        assert seen["stored"] == run.stored[rows].tolist()
        assert seen["points"]["records"] == [len(rows), len(run.steps)]
        spread = run.energy.max() / run.energy.min()
        assert np.array(seen["energy"], float) == pytest.approx(run.energy[rows], rel=np.log(spread) / 253)
        assert {event["step"] for event in seen["events"]} <= set(seen["steps"])
        assert seen["events"][0]["scores"] == pytest.approx(event_stages(run, run.events[0]).score, rel=1e-4)
        gaps = np.abs(run.entropy - run.true_entropy[1])
        assert np.nanmin(np.abs(gaps - np.array(seen["gap"], float)[-1]), axis=0).max() < 4e-5
    assert layouts == {
        (False, False, False),
        (True, False, False),
        (True, True, False),
        (True, True, True),
    }

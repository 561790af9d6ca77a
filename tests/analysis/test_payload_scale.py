"""The payload at full scale, made in memory, and the codes and selections that keep it small."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from payload_bytes import decode

from analysis.payload import MAX_BYTES, pack_matrix, pack_run
from analysis.payload.codes import coded_logarithm
from analysis.payload.run import MAX_SCALARS
from analysis.runs import Matrix, Run
from analysis.thinning import around, extremes
from flexlora.run_log import RunLog
from flexlora.run_log.digest import Block
from flexlora.run_log.spectra import Spectra

M, T, RANK = 560, 2000, 4
numbers = st.floats(min_value=0, max_value=1e30, allow_subnormal=False)


@pytest.fixture(scope="module")
def large():
    """560 × 2,000 with 140 events that move 40 directions each; true singular values at each event."""
    generator = np.random.default_rng(0)
    names = [f"model.layers.{m // 7}.self_attn.type_{m % 7}" for m in range(M)]
    events, stored = [], np.full((T, M), RANK)
    for number in range(140):
        step = 200 + 10 * number
        drawn = generator.random(M)
        givers, takers = np.argsort(drawn)[:40], np.argsort(drawn)[-40:]
        stored[step:, givers] = np.maximum(stored[step:, givers] - 1, 1)
        stored[step:, takers] += 1
        scores = dict(zip(names, drawn.tolist(), strict=True))
        moves = [[{"matrix": names[m], "slot": 1, "rules": []} for m in side.tolist()] for side in (givers, takers)]
        event = {"step": step, "budget": 40, "measure": "spectral_entropy", "importance": {"spectral_entropy": scores}}
        events.append({**event, "prune": moves[0], "extend": moves[1], "refused": {}, "rules": []})
    steps = np.arange(1, T + 1)
    has_true = np.isin(steps, [event["step"] for event in events])
    values = generator.lognormal(size=int(stored.sum())).astype(np.float32)
    true = generator.lognormal(size=int(stored[has_true].sum())).astype(np.float32)
    block = Block(steps, stored, values, has_true, true, np.zeros(T, bool), np.empty(0, np.float32))
    scalars = {name: generator.random(T) for name in ("task_loss", "regularizer", "budget")}
    scalars |= {"step": steps, "penalty": np.full(T, np.nan), "target_rank": np.full(T, np.nan)}
    header = {"config": {}, "matrices": [{"name": name} for name in names]}
    log = RunLog(Path("none"), header, scalars, Spectra(block, M), events, [], [], None, "finished", [])
    return Run(log, [Matrix(name, m // 7, f"type_{m % 7}", 4096, 4096) for m, name in enumerate(names)])


def test_the_whole_of_560_matrices_and_2000_records_crosses_in_4_mb_without_leaving_out_a_record(large):
    payload = pack_run(large)
    header, arrays = decode(payload)
    assert 3_500_000 < len(payload) <= MAX_BYTES == 4_000_000
    assert header["onDemand"]
    assert header["points"] == {"records": [T, T], "scalars": [T, T]}
    assert header["run"]["notices"] == []
    ranks = np.zeros(M, int)
    for t, row in enumerate(
        np.split(np.arange(len(arrays["ranksAt"])), np.searchsorted(arrays["ranksAt"], np.arange(1, T) * M))
    ):
        ranks[arrays["ranksAt"][row] - t * M] = arrays["ranksTo"][row]
        assert np.array_equal(ranks, large.ranks[t])
    entropy = arrays["entropy"].reshape(T, M) / 65534
    assert np.abs(entropy - large.entropy).max() < 1e-5
    low, high = header["energyScale"]
    energy = low * (high / low) ** ((arrays["energy"].reshape(T, M) - 1.0) / 253)
    assert np.abs(np.log(energy / large.energy)).max() <= np.log(high / low) / 253 / 2 + 1e-9
    scores = arrays["scores"].reshape(140, M)
    first = np.array(list(large.events[0]["importance"]["spectral_entropy"].values()))
    low, high = header["scoresScale"]
    assert low * (high / low) ** ((scores[0] - 1.0) / 65533) == pytest.approx(first, rel=1e-3)
    assert (arrays["order"].reshape(140, M)[0] - 2 == np.argsort(np.argsort(first))).all()
    assert arrays["moveCounts"].tolist() == [40] * 280
    scored = arrays.get("trueScored", np.arange(140))
    assert len(scored) > 60
    true = large.true_entropy[1][scored]
    assert np.abs(arrays["trueEntropy"].reshape(-1, M) / 65534 - true).max() < 1e-5


def test_the_parcel_of_a_matrix_holds_it_in_every_record(large):
    payload = pack_run(large)
    parcel = pack_matrix(large, large.matrices[7].name, payload)
    _, arrays = decode(parcel)
    assert len(parcel) < 600_000
    assert arrays["counts"].tolist() == large.stored[:, 7].tolist()
    parts = np.split(arrays["lam"], np.cumsum(arrays["counts"])[:-1])
    for t in range(0, T, 97):
        assert parts[t].tolist() == large.singular_values(t + 1)[large.matrices[7].name].tolist()
    truths = np.split(arrays["sigma"], np.cumsum(large.stored[large.log.spectra.digest.has_true, 7])[:-1])
    assert [part.tolist() for part in truths[::30]] == [
        large.true_singular_values(event["step"])[1][large.matrices[7].name].tolist() for event in large.events[::30]
    ]
    with pytest.raises(ValueError, match="unknown matrix"):
        pack_matrix(large, "nothing", payload)


@given(st.lists(st.one_of(numbers, st.just(float("nan")), st.just(float("inf"))), min_size=1, max_size=40))
@settings(deadline=None, derandomize=True)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_logarithmic_code_is_right_to_half_a_step_and_keeps_zero_and_undefined_apart(dtype, values):
    found = np.array(values)
    codes, (low, high) = coded_logarithm(found, dtype)
    last = np.iinfo(dtype).max
    assert ((codes == 0) == (found == 0)).all()
    assert ((codes == last) == ~np.isfinite(found)).all()
    own = (codes > 0) & (codes < last)
    step = (np.log(high) - np.log(low)) / (last - 2)
    decoded = np.log(low) + (codes[own] - 1.0) * step
    assert (np.abs(decoded - np.log(found[own])) <= step / 2 + 1e-9).all()


@given(st.data())
@settings(deadline=None, derandomize=True, max_examples=40)
def test_extremes_of_every_stretch_and_what_is_kept_are_among_the_points(data):
    total = data.draw(st.integers(1, 300))
    count = data.draw(st.integers(8, 120))
    series = [
        np.array(
            data.draw(st.lists(st.one_of(st.floats(-9, 9), st.just(float("nan"))), min_size=total, max_size=total))
        )
    ]
    kept = np.array(sorted(data.draw(st.sets(st.integers(0, total - 1), max_size=4))), np.int64)
    places = extremes(series, kept, count)
    assert places.tolist() == sorted(set(places.tolist()))
    assert set(kept.tolist()) <= set(places.tolist())
    assert len(places) <= max(count, total if total <= count else 0, len(kept) + 2)
    defined = series[0][np.isfinite(series[0])]
    if len(defined):
        drawn = series[0][places]
        assert (np.nanmin(drawn), np.nanmax(drawn)) == (defined.min(), defined.max())


def test_neighbours_of_events_are_kept():
    steps = np.array([0, 2, 4, 6, 8, 10])
    assert around(steps, [4, 10]).tolist() == [0, 1, 2, 3, 4, 5]
    assert around(steps, []).tolist() == [0, 5]


def test_the_losses_of_a_long_run_are_drawn_by_their_extremes_and_events_stay(large):
    total = 50_000
    generator = np.random.default_rng(1)
    loss = generator.random(total)
    loss[33_333], loss[20_001] = 9.0, -9.0
    nothing = np.full(total, np.nan)
    scalars = {"step": np.arange(1, total + 1), "task_loss": loss, "regularizer": loss, "budget": nothing}
    log = RunLog(
        Path("none"),
        large.header,
        {**scalars, "penalty": nothing, "target_rank": nothing},
        large.log.spectra,
        large.events,
        [],
        [],
        None,
        "finished",
        [],
    )
    header, arrays = decode(pack_run(Run(log, large.matrices)))
    shown = arrays["lossSteps"].tolist()
    assert header["points"]["scalars"] == [len(shown), total]
    assert len(shown) <= MAX_SCALARS
    assert {1, total, 33_334, 20_002} <= set(shown)
    assert {event["step"] + near for event in large.events for near in (-1, 0, 1)} <= set(shown)
    assert np.array_equal(arrays["taskLoss"], loss[np.array(shown) - 1].astype(np.float32))
    assert any("of 50000 steps' losses are drawn" in notice for notice in header["run"]["notices"])

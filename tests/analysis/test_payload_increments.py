"""A reader that was sent what was new, again and again, has what a reader has who asks for the whole run now."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from payload_bytes import decode

from analysis.payload import increment, pack_run, run_since
from analysis.payload.container import Rows, pack, read_arrays
from analysis.runs import load_run
from flexlora.run_log import RunWriter

NAMES = ["layer.0.query", "layer.0.value", "layer.1.query"]
MATRICES = [{"name": name, "layer": int(name[6]), "module_type": name[8:]} for name in NAMES]


def joined(before, news):
    """As container.js joins them."""
    header, arrays = news
    if before is None or "from" not in header:
        return news
    told = {name: value for name, value in header.items() if name not in ("from", "lists", "arrays")}
    both = {**before[0], **told}
    for name in header["lists"]:
        both[name] = [*before[0][name], *told[name]]
    kept = dict(before[1])
    for name, _, _, by in header["arrays"]:
        kept[name] = arrays[name] if by is None else np.concatenate([before[1][name], arrays[name]])
    return both, kept


def same(found, payload):
    header, arrays = decode(payload)
    leave_out = ("lists", "arrays")
    assert {k: v for k, v in found[0].items() if k not in leave_out} == {
        k: v for k, v in header.items() if k not in leave_out
    }
    assert {k: v.dtype for k, v in found[1].items()} == {k: v.dtype for k, v in arrays.items()}
    assert {k: v.tobytes() for k, v in found[1].items()} == {k: v.tobytes() for k, v in arrays.items()}


def write(writer: RunWriter, steps: range, seed: int, gated: bool = False):
    """A run whose every number is of its seed and step: made again, it is the same."""
    for step in steps:
        generator = np.random.default_rng((seed, step))
        writer.step(step, task_loss=float(generator.random()), regularizer=0.1, budget=step % 3)
        ranks = [2 + (step // 4 + m) % 3 for m in range(3)]
        lam = [generator.normal(size=rank) for rank in ranks]
        gates = [generator.random(rank).round(1) for rank in ranks] if gated else None
        writer.spectrum(step, lam, [np.abs(values) for values in lam] if step % 4 == 0 else None, gates)
        if step % 4 == 0:
            scores = {"spectral_entropy": dict(zip(NAMES, generator.random(3).tolist(), strict=True))}
            give = [{"matrix": NAMES[step % 3], "slot": step, "singular_value": 0.5, "rules": ["tie"]}]
            take = [{"matrix": NAMES[(step + 1) % 3], "slot": step, "rules": [], "seen": step}]
            writer.event(step, 1, scores, "spectral_entropy", prune=give, extend=take)
        if step % 5 == 0:
            writer.eval(step, "test", {"accuracy": float(generator.random())})
        if step % 7 == 0:
            writer.note("paused", step=step)
    writer.flush()


ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("go on"), st.integers(1, 9)),
        st.tuples(st.just("look"), st.just(0)),
        st.tuples(st.just("resume"), st.integers(0, 12)),
        st.tuples(st.just("resume otherwise"), st.integers(0, 12)),
    ),
    min_size=2,
    max_size=14,
)


@pytest.mark.parametrize("limit", [10**7, 6000, 3000], ids=["all", "on demand", "thinned"])
@settings(max_examples=25)
@given(acts=ACTS, gated=st.booleans())
def test_what_is_new_behind_what_was_there_is_the_whole_run(tmp_path_factory, limit, acts, gated):
    folder, step, seed, held = tmp_path_factory.mktemp("runs") / "run", 0, 0, None
    header = {"matrices": MATRICES, "config": {"total_steps": 60}, "method": "flexlora"}
    writer = RunWriter(folder, header)
    for act, amount in [*acts, ("look", 0)]:
        if act == "go on":
            write(writer, range(step + 1, step + 1 + amount), seed, gated)
            step += amount
        elif act == "look":
            payload = pack_run(load_run(folder), limit)
            news = increment(payload, held[0]["state"] if held else "")
            held = held if news is None else joined(held, decode(news))
            same(held, payload)
        else:
            writer.close()
            step = max(0, step - amount)
            seed += act == "resume otherwise"
            writer = RunWriter(folder, header, resume_from=step)
    writer.close()


@pytest.fixture(scope="module")
def paper():
    run = load_run(Path(__file__).resolve().parents[2] / "sample_runs" / "digits-flexlora-paper")
    return run, pack_run(run)


def test_what_is_after_a_step_is_sent_and_nothing_before_it(paper):
    run, payload = paper
    whole = read_arrays(payload)
    for step in (0, 1, 40, int(run.steps[-1]) - 1):
        header, arrays = decode(run_since(run, payload, step))
        assert arrays["steps"].tolist() == [own for own in run.steps.tolist() if own > step]
        assert [event["step"] for event in header.get("events", [])] == [
            event["step"] for event in run.events if event["step"] > step
        ]
        records = int((run.steps > step).sum())
        for name in ("lam", "sigma", "entropy", "taskLoss"):
            assert arrays[name].tobytes() == whole[name][len(whole[name]) - len(arrays[name]) :].tobytes()
        assert len(arrays["lam"]) == run.stored[len(run.steps) - records :].sum()
    header, arrays = decode(run_since(run, payload, int(run.steps[-1])))
    assert not {"steps", "lam", "taskLoss", "moveMatrix"} & set(arrays) and "events" not in header


def test_records_cost_what_they_hold_and_little_more(tmp_path):
    """Of a run that goes on as it did, what is new takes at most twice the bytes of its rows."""
    matrices = [{"name": f"layer.{m}.query", "layer": m, "module_type": "query"} for m in range(36)]
    held, spent, needed = None, 0, 0
    with RunWriter(tmp_path / "run", {"matrices": matrices, "config": {"total_steps": 300}}) as writer:
        for step in range(1, 61):
            generator = np.random.default_rng(step)
            writer.step(step, task_loss=float(generator.random()), regularizer=0.1, budget=0)
            writer.spectrum(step, [generator.normal(size=8) for _ in matrices])
            if step % 4:
                continue
            writer.flush()
            payload = pack_run(load_run(tmp_path / "run"))
            news = increment(payload, held[0]["state"] if held else "")
            header, arrays = decode(news)
            if "from" in header:
                spent += len(news)
                needed += sum(arrays[name].nbytes for name, _, _, by in header["arrays"] if by)
            held = joined(held, (header, arrays))
            assert increment(payload, held[0]["state"]) is None
    assert 0 < spent < 1.5 * needed


@pytest.mark.parametrize("state", ["", "x", "=", "AAAA", "é", "A" * 400, "'; --"])
def test_a_state_that_is_none_gets_everything(paper, state):
    assert increment(paper[1], state) is paper[1]


def test_rows_by_the_same_thing_must_be_equally_many():
    with pytest.raises(ValueError, match="3 rows by record beside 2"):
        pack({"words": Rows("record", ["a", "b"])}, {"numbers": Rows("record", np.zeros((3, 2), np.float32))})


@settings(max_examples=40)
@given(cuts=st.lists(st.integers(0, 12), min_size=1, max_size=5).map(sorted), changes=st.booleans())
def test_any_rows_and_whole_items_arrive(cuts, changes):
    held = None
    for count, again in itertools.product([*cuts, 12], (0, 1)):
        numbers = np.arange(3 * count, dtype=np.float32).reshape(count, 3)
        sum_ = float(numbers.sum()) if changes else 0.0
        payload = pack(
            {"words": Rows("record", [f"λ{i}" for i in range(count)]), "sum": sum_, "none": None},
            {"numbers": Rows("record", numbers), "last": numbers[-1:].ravel(), "flat": Rows("other", numbers.ravel())},
        )
        news = increment(payload, held[0]["state"] if held else "")
        assert (news is None) <= bool(held)
        assert not again or news is None
        held = held if news is None else joined(held, decode(news))
        same(held, payload)

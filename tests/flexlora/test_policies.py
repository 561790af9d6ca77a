"""Policies: what each does, what it may see, files from outside, and what bad ones say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from analysis.runs import load_run
from analysis.what_if import logged_decisions, own_settings, replay
from analysis.why import why_cards
from flexlora.errors import FlexLoRAError
from flexlora.importance import IMPORTANCES
from flexlora.job import build_job
from flexlora.loop import run_job
from flexlora.planted import way
from flexlora.policies import BUILT_IN, KINDS, POLICIES, Policy, decided, find_policy, load_policy, started
from flexlora.policies.policy import seen
from flexlora.session import Session
from flexlora.train import final_ranks, main

DOC = (Path(__file__).resolve().parents[2] / "docs" / "rankbench.md").read_text(encoding="utf-8")
RECIPE = re.findall(r"```python\n(.*?)```", DOC, re.DOTALL)[0]
SMALL = {
    "width": 6,
    "layers": 2,
    "true_rank": 2,
    "initial_rank": 2,
    "batch_size": 16,
    "interval": 2,
    "save_adapter": False,
    "eval_interval": 100,
}
RANKS = {"a": 2, "b": 3, "c": 1}
LIMITS = dict.fromkeys(RANKS, 4)


def small_run(folder: Path, policy: str | None, steps: int = 30, **settings):
    chosen = {} if policy is None else {"policy": policy}
    run_job(build_job("planted", steps=steps, settings={**SMALL, **chosen, **settings}), folder)
    return load_run(folder)


def policy_of(kind: str, function, *reads: str) -> Policy:
    return Policy("mine", "mine", kind, reads, function)


@pytest.fixture
def forget_files():
    yield
    for key in set(POLICIES) - BUILT_IN:
        del POLICIES[key]


def test_the_registry_has_the_promised_keys_and_is_torch_free():
    promised = "uniform random inverted spectral_entropy eva gora gradient_variance big_then_cut oracle"
    assert {*promised.split(), *IMPORTANCES} <= set(POLICIES)
    for key, policy in POLICIES.items():
        assert policy.key == key and policy.label and (f"`{key}`" in DOC or key in IMPORTANCES), key
    for arrays in KINDS.values():
        assert all(f"`{name}`" in DOC for name in arrays)
    code = "import sys, flexlora.policies; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_policy_sees_what_it_declared_and_cannot_change_it():
    arrays = {"lambda": {"a": np.ones(2)}, "ages": {"a": 3}}
    observed = seen(policy_of("decide", print, "lambda"), arrays)
    assert set(observed) == {"lambda"}
    with pytest.raises(ValueError, match="read-only"):
        observed["lambda"]["a"][0] = 5.0
    with pytest.raises(TypeError):
        observed["lambda"]["a"] = None
    assert arrays["lambda"]["a"].flags.writeable
    nosy = policy_of("decide", lambda observed, ranks, budget: observed["ages"], "lambda")
    with pytest.raises(FlexLoRAError, match=r"KeyError.*it reads lambda: declare it in reads"):
        decided(nosy, arrays, RANKS, 1, LIMITS)
    with pytest.raises(FlexLoRAError, match="a start policy cannot see"):
        policy_of("start", print, "lambda")


class Unspeakable:
    def __repr__(self):
        raise ValueError("no")


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"a": float("nan")}, "returned nan for a; None means"),
        ({"z": 1.0}, "names 'z', which is no matrix here. The first is a."),
        ({"a": "x"}, "returned 'x' for a, which is no number"),
        (3, "returned 3; decide returns matrix → score, or a pair"),
        ((["a", "b"], ["b", "a"]), "prunes 2 and extends 2; the budget of this event is 1"),
        ((["a"], []), "prunes 1 and extends 0; with direction both"),
        ((["c"], ["a"]), "takes c from rank 1 to 0; it can have 1 to 4"),
        ((["a"], ["q"]), "names 'q', which is no matrix here"),
        ((None, None), "returned None where a list of matrix names is meant"),
        ((1, 2), "returned 1 where a list"),
        (([["a"]], [["b"]]), "returned [['a']] where a list"),
        ({"a": 10**400}, "which is no number"),
        ({1: 1.0}, "names 1, which is no matrix here"),
        (Unspeakable(), "returned a Unspeakable; decide returns"),
    ],
)
def test_what_breaks_the_rules_of_an_event_is_one_line(answer, told):
    with pytest.raises(FlexLoRAError) as caught:
        decided(policy_of("decide", lambda *_: answer), {}, RANKS, 1, LIMITS)
    assert told in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"a": 2, "b": 2}, "gives no rank to c and 0 more"),
        ({"a": 2, "b": 2, "c": 3}, "gives 7 directions; the budget is 6"),
        ({"a": 5, "b": 1, "c": 0}, "gives a rank 5; it can have 0 to 4"),
        ({"a": 1.5, "b": 2.5, "c": 2}, "gives a rank 1.5"),
        ({"a": float("inf"), "b": 1, "c": 1}, "returned inf for a, which is no rank"),
        ({"a": 10**400, "b": 1, "c": 1}, "which is no number"),
        ([2, 2, 2], "start returns matrix → rank"),
    ],
)
def test_what_breaks_the_rules_of_a_start_is_one_line(answer, told):
    with pytest.raises(FlexLoRAError) as caught:
        started(policy_of("start", lambda *_: answer), {}, 6, LIMITS)
    assert told in str(caught.value) and "\n" not in str(caught.value)


def test_answers_become_moves_and_ranks():
    scores, plan = decided(policy_of("decide", lambda *_: {"a": 1, "c": None}), {}, RANKS, 2, LIMITS)
    assert scores == {"a": 1.0, "b": None, "c": None} and plan is None
    scores, plan = decided(policy_of("decide", lambda *_: (["b", "b"], ["a", "c"])), {}, RANKS, 2, LIMITS)
    assert scores == {"a": 1.0, "b": -2.0, "c": 1.0}
    assert plan is not None and (plan.prune, plan.extend) == (("b", "b"), ("a", "c"))
    assert started(policy_of("start", lambda *_: RANKS), {}, 6, LIMITS) == (RANKS, {})
    assert started(policy_of("start", lambda *_: (RANKS, {"a": 2})), {}, 6, LIMITS) == (RANKS, {"a": 2.0})


def test_starts_follow_their_formulas():
    names = ["x.0.up", "x.1.up", "x.0.mix"]
    limits = dict.fromkeys(names, 9)
    arrays = {
        "limits": limits,
        "prices": {"x.0.up": 4, "x.1.up": 4, "x.0.mix": 16},
        "weights": {name: np.full((2, 2), 2.0) for name in names},
        "gradients": {"x.0.up": np.full((2, 2), -1.0), "x.1.up": np.full((2, 2), 3.0), "x.0.mix": np.full((2, 2), 4.0)},
        "squared_gradients": {name: np.full((2, 2), value) for name, value in zip(names, (1.0, 2.0, 3.0), strict=True)},
        "activation_variances": dict(zip(names, map(np.array, ([9.0, 1], [4.0, 3, 3], [5.0, 4, 1])), strict=True)),
        "given_ranks": {"x.0.up": 1, "x.1.up": 5, "x.0.mix": 3},
        "module_types": {"x.0.up": "up", "x.1.up": "up", "x.0.mix": "mix"},
        "chance": {"x.0.up": 0.1, "x.1.up": 0.5, "x.0.mix": 0.3},
        "truth": {"x.0.up": 2, "x.1.up": 3, "x.0.mix": 4},
    }  # fmt: skip

    def ranks(key: str, budget: int) -> list[int]:
        return list(started(find_policy(key), arrays, budget, limits)[0].values())

    assert ranks("uniform", 7) == [3, 2, 2]
    # |W ⊙ G| / √price = 1, 3, 2 as shares of 12 directions; at least half of the mean.
    assert ranks("gora", 12) == [2, 6, 4]
    assert ranks("gradient_variance", 6) == [1, 2, 3]
    # Second shares .1, .3, .4, third 0, .3, .1; at most twice the mean of 2.
    assert ranks("eva", 6) == [1, 3, 2]
    assert ranks("true_ranks", 9) == [2, 3, 4] and ranks("from_scratch", 9) == [1, 5, 3]
    assert ranks("permuted_within", 9) == [5, 1, 3]
    assert ranks("permuted_across", 9) == [5, 1, 3]


@pytest.mark.parametrize("key", ["eva", "gora", "gradient_variance", "uniform", "true_ranks"])
def test_ranks_before_training_are_exact_explained_and_kept(key, tmp_path):
    run = small_run(tmp_path / "run", key, steps=6, initial_rank=3)
    ranks = dict(zip([m.name for m in run.matrices], run.ranks[0].tolist(), strict=True))
    assert sum(ranks.values()) == 3 * 6 and not run.events and (run.ranks == run.ranks[0]).all()
    note = next(note for note in run.notes if note["kind"] == "initial_ranks")
    assert note["ranks"] == run.header["initial_ranks"]["ranks"] == ranks and note["policy"] == key
    assert (set(note["scores"]) == set(ranks)) == (key != "uniform")
    assert note["batches"] == (8 if key in ("eva", "gora", "gradient_variance") else 0)
    if key == "true_ranks":
        assert np.argmax(list(ranks.values())) == np.argmax(list(run.header["data"]["true_ranks"].values()))


def test_looking_before_training_changes_nothing_else(tmp_path):
    plain = small_run(tmp_path / "plain", None, steps=6, initial_budget=0)
    looked = small_run(tmp_path / "looked", "gradient_variance", steps=6)
    given = ",".join(map(str, looked.ranks[0].tolist()))
    again = small_run(tmp_path / "again", "from_scratch", steps=6, initial_ranks=given)
    assert np.array_equal(again.log.values, looked.log.values)
    assert looked.log.steps["task_loss"][0] == plain.log.steps["task_loss"][0]


def test_the_gradients_that_a_start_sees_are_those_of_the_loss():
    from flexlora.observation import observe_before

    session = Session(build_job("planted", settings=SMALL))
    data = session.data
    from flexlora.tasks import load_task

    fresh = load_task("planted", 0, "none", session.job.loop)
    targets = {name: module for name, module in fresh.model.named_modules() if name in session.adapter.matrices}
    batch = data.train.batch(np.arange(16))
    arrays = observe_before(
        session.job.config, targets, ("gradients", "squared_gradients", "activation_variances", "weights"),
        [lambda: fresh.model(**batch).loss] * 2, {}, None, None,
    )  # fmt: skip
    fresh.model(**batch).loss.backward()
    for name, module in targets.items():
        expected = module.weight.grad.numpy()
        assert np.allclose(arrays["gradients"][name], expected) and np.allclose(
            arrays["squared_gradients"][name], expected**2
        )
        assert np.array_equal(arrays["weights"][name], module.weight.detach().numpy())
    first = next(iter(targets))
    variances = np.linalg.eigvalsh(np.cov(batch["inputs"].numpy().T, bias=True))[::-1]
    assert np.allclose(arrays["activation_variances"][first], variances)


def test_the_oracle_recovers_the_planted_truth_and_random_and_inverted_do_not(tmp_path):
    found = {}
    for key in ("oracle", "random", "inverted", "still"):
        for seed in (0, 1):
            job = build_job("planted", steps=40, seed=seed, settings={**SMALL, "layers": 3, "policy": key})
            run_job(job, tmp_path / f"{key}-{seed}")
            run = load_run(tmp_path / f"{key}-{seed}")
            truth = run.header["data"]["true_ranks"]
            first = dict(zip(truth, run.ranks[0].tolist(), strict=True))
            found[key, seed] = way(first, run.events, truth)
    for seed in (0, 1):
        assert found["oracle", seed].last == 0 and found["oracle", seed].towards == 1
        assert found["oracle", seed].halfway_step is not None and found["oracle", seed].first > 0.2
        for key in ("random", "inverted"):
            assert found[key, seed].changes > 8 and found[key, seed].last > found["oracle", seed].first / 2, key
        assert found["still", seed].changes == 0


def test_a_run_under_a_policy_is_explained_and_replayed_from_its_log(tmp_path):
    for key in ("random", "oracle"):
        run = small_run(tmp_path / key, key)
        assert {event["measure"] for event in run.events} == {key}
        moved = [event for event in run.events if event["prune"]]
        assert moved
        for number, event in enumerate(run.events):
            cards = why_cards(run, number)
            assert {card["verdict"] for card in cards} <= {"pruned", "extended", "stayed", "refused", "undefined"}
            assert all(key in card["headline"] for card in cards if card["verdict"] == "pruned")
            assert event["importance"][key].keys() == {matrix.name for matrix in run.matrices}
        replayed, logged = replay(run, own_settings(run)), logged_decisions(run)
        assert np.array_equal(replayed.prune, logged.prune) and np.array_equal(replayed.extend, logged.extend)


def test_a_measure_as_a_policy_is_that_measure(tmp_path):
    by_policy = small_run(tmp_path / "policy", "nuclear_norm")
    by_option = small_run(tmp_path / "option", None, importance="nuclear_norm")
    assert by_policy.config == by_option.config
    assert np.array_equal(by_policy.log.values, by_option.log.values)


def test_random_moves_come_from_the_generator_and_not_from_lambda():
    from flexlora.observation import chance

    job = build_job("planted", settings={**SMALL, "policy": "random"})
    names = list("abcdef")
    one, two = chance(job.config, 4, names), chance(job.config, 6, names)
    assert one == chance(job.config, 4, names) and one != two
    other = chance(build_job("digits", settings={"policy": "random"}).config, 4, names)
    assert other != one and all(0 < value < 1 for value in [*other.values(), *one.values()])


def test_the_recipe_of_the_documentation_runs(tmp_path, capsys, forget_files):
    file = tmp_path / "smallest.py"
    file.write_text(RECIPE, encoding="utf-8")
    assert len(RECIPE.splitlines()) <= 20
    words = [word for key, value in SMALL.items() for word in ("--set", f"{key}={str(value).lower()}")]
    arguments = ["--task", "planted", "--steps", "30", "--policy", str(file), "--out", str(tmp_path / "run"), *words]
    assert main(arguments) == 0, capsys.readouterr().err
    run = load_run(tmp_path / "run")
    assert {event["measure"] for event in run.events} == {"smallest"} and any(event["prune"] for event in run.events)
    assert run.header["policy_file"]["path"] == str(file) and len(run.header["policy_file"]["sha256"]) == 64
    assert f"--policy {file}" in run.header["command"]
    for event in run.events:
        scores = event["importance"]["smallest"]
        least = min(
            (name for name in scores if run.ranks[run.record_at(event["step"])][run.place_of(name)] > 1), key=scores.get
        )
        assert not event["prune"] or event["prune"][0]["matrix"] == least
    # A log never makes this program run a file.
    del POLICIES["smallest"]
    with pytest.raises(FlexLoRAError, match=r"Unknown policy 'smallest'.*also to resume"):
        Session(build_job("planted", settings=SMALL).from_dict(run.config))
    assert len(why_cards(load_run(tmp_path / "run"), 0)) == 6


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("def decide(observed, ranks, budget):\n    raise RuntimeError('no\\nidea')", "failed: RuntimeError: no idea"),
        ("def decide(observed, ranks, budget):\n    return dict.fromkeys(ranks, float('nan'))", "returned nan for"),
        ("def decide(observed, ranks, budget):\n    return [], list(ranks)[:1]", "with direction both"),
        ("def decide(observed, ranks, budget):\n    return {'nobody': 1}", "names 'nobody', which is no matrix"),
        ("def start(observed, budget):\n    return {}", "gives no rank to layers.0.mix and 5 more"),
        ("reads = ('lambda',)\ndef start(observed, budget):\n    return {}", "reads 'lambda', which a start policy"),
        ("def decide(observed, ranks, budget):\n    raise SystemExit(0)", "failed: SystemExit: 0"),
        ("import sys\nsys.exit(0)", "failed: SystemExit: 0"),
        ("reads = 5\ndef start(observed, budget):\n    return {}", "reads is 5; it is a list of names"),
        ("reads = [['lambda']]\ndef start(observed, budget):\n    return {}", "it is a list of names"),
        ("import nothing_of_this_name", "failed: ModuleNotFoundError"),
        ("x = (", "failed: SyntaxError"),
        ("x = 1", "it has neither"),
        (None, "cannot be read: No such file"),
    ],
)
def test_a_bad_policy_file_is_one_clear_line_and_nothing_is_half_written(source, told, tmp_path, capsys, forget_files):
    file = tmp_path / "bad.py"
    if source is not None:
        file.write_text(source, encoding="utf-8")
    words = [word for key, value in SMALL.items() for word in ("--set", f"{key}={str(value).lower()}")]
    arguments = ["--task", "planted", "--steps", "8", "--policy", str(file), "--out", str(tmp_path / "run"), *words]
    assert main(arguments) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert len(lines) == 1 and told in lines[0], lines
    if source is not None and "def decide" in source:
        # It failed at its first event: the log up to there is whole, and says why it ended.
        run = load_run(tmp_path / "run")
        assert run.state == "failed" and told in run.end["message"] and not run.events and not run.notices
        assert (run.ranks == run.ranks[0]).all()
    else:
        assert not (tmp_path / "run").exists()


def test_names_that_are_taken_or_unknown_are_refused(tmp_path, capsys):
    taken = tmp_path / "oracle.py"
    taken.write_text("def start(observed, budget):\n    return {}", encoding="utf-8")
    with pytest.raises(FlexLoRAError, match="called like the policy oracle of this package"):
        load_policy(taken)
    assert main(["--task", "planted", "--policy", "oracel"]) == 2
    assert "Unknown policy 'oracel'. Did you mean oracle?" in capsys.readouterr().err
    # A page's settings are keys, never files.
    with pytest.raises(FlexLoRAError, match="Unknown policy"):
        build_job("planted", settings={"policy": str(taken)})
    with pytest.raises(FlexLoRAError, match="needs initial_budget=0, not 3"):
        build_job("planted", settings={"policy": "eva", "initial_budget": 3})
    with pytest.raises(FlexLoRAError, match="--method big_then_cut"):
        build_job("planted", settings={"policy": "big_then_cut"})
    with pytest.raises(FlexLoRAError, match="which only task planted knows"):
        Session(build_job("digits", settings={"policy": "true_ranks"}))
    with pytest.raises(FlexLoRAError, match="needs ranks to start from: give initial_ranks"):
        Session(build_job("planted", settings={**SMALL, "policy": "from_scratch"}))


def test_final_ranks_of_a_run_start_another(tmp_path, capsys):
    first = small_run(tmp_path / "first", "oracle")
    last = final_ranks(tmp_path / "first")
    assert sum(last) == 12 and last != first.ranks[0].tolist()
    words = [word for key, value in SMALL.items() for word in ("--set", f"{key}={str(value).lower()}")]
    out = tmp_path / "second"
    arguments = ["--task", "planted", "--steps", "4", "--policy", "from_scratch", "--out", str(out), *words]
    assert main([*arguments, "--set", f"initial_ranks={tmp_path / 'first'}"]) == 0, capsys.readouterr().err
    second = load_run(out)
    assert second.ranks[0].tolist() == last and second.config["initial_ranks"] == last
    with pytest.raises(FlexLoRAError, match="has 2 numbers; this model has 6 matrices"):
        Session(build_job("planted", settings={**SMALL, "initial_ranks": "1,2"}))
    with pytest.raises(FlexLoRAError, match=r"gives layers\.0\.mix rank 9; it can have 0 to 6"):
        Session(build_job("planted", settings={**SMALL, "initial_ranks": "9,1,1,1,1,1"}))

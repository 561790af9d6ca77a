"""PEFT's method comparison: its files as documented, what single runs can tell, and our runs in its layout."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from analysis.figures import FIGURES
from analysis.importers import LogImportError, import_log, propose_mapping
from analysis.leaderboard.__main__ import main
from analysis.leaderboard.compare import describe_board, rank_results, runs_needed
from analysis.leaderboard.export import result_of
from analysis.leaderboard.figure import pareto
from analysis.leaderboard.read import read_results
from analysis.leaderboard.reruns import group_reruns
from analysis.runs import load_run
from flexlora.errors import FlexLoRAError

SAMPLE = Path(__file__).parents[2] / "sample_runs" / "digits-flexlora-paper"


def content(experiment="lora/rank32", accuracy=0.48, *, day=1, memory=2e10, pattern=None, status="success", **config):
    """A result file as ``method_comparison/MetaMathQA/README.md`` describes it, shortened to what is read."""
    peft = {"peft_type": "LORA", "r": 32, "lora_alpha": 64, "target_modules": ["v_proj", "q_proj"], **config}
    metrics = [
        {"step": 250, "valid accuracy": 0.34, "train loss": 0.98, "train samples": 1000},
        {"step": 500, "valid accuracy": 0.44, "train loss": 0.72, "train samples": 2000},
        {"step": 500, "test accuracy": accuracy, "train loss": 0.72, "train total tokens": 4198051},
    ]
    return {
        "run_info": {
            "created_at": f"2025-06-{day:02}T19:15:35+00:00",
            "total_time": 1993.5,
            "experiment_name": experiment,
            "train_config": {
                "model_id": "meta-llama/Llama-3.2-3B", "batch_size": 4, "max_steps": 500, "seed": 0,
                "optimizer_type": "AdamW", "optimizer_kwargs": {"lr": 1e-4}, "lr_scheduler": "cosine",
            },
            "peft_config": {**peft, "rank_pattern": pattern or {}},
        },
        "train_info": {
            "cuda_memory_max": memory, "train_time": 1796.2, "file_size": 36715216, "num_trainable_params": 9175040,
            "status": status, "metrics": metrics,
        },
        "meta_info": {"package_info": {"peft-version": "0.15.2"}},
    }  # fmt: skip


def written(folder: Path, *contents) -> Path:
    for number, found in enumerate(contents):
        (folder / str(number)).mkdir(parents=True)
        (folder / str(number) / "result.json").write_text(json.dumps(found), encoding="utf-8")
    return folder


PATTERN = {
    f"model.layers.{layer}.self_attn.{kind}.lora_E": [place < 8 - 3 * layer - (kind == "q_proj") for place in range(10)]
    for layer in range(2)
    for kind in ("q_proj", "v_proj")
}


def test_a_result_is_read_whichever_version_wrote_it(tmp_path):
    new = content("b/two", 0.5, day=2)
    new["train_info"]["accelerator_memory_max"] = new["train_info"].pop("cuda_memory_max")
    found, notices = read_results([written(tmp_path, content("a/one", 0.4, memory=1e10), new)])
    assert notices == []
    assert [(result.experiment, result.score) for result in found] == [("a/one", 0.4), ("b/two", 0.5)]
    assert [result.costs["memory_bytes"] for result in found] == [1e10, 2e10]
    assert found[0].costs["parameters"] == 9175040
    assert (found[0].seed, found[0].total_rank) == (0, None)


def test_what_is_no_result_is_told_and_left_out(tmp_path):
    broken = [
        {"run_info": 3},
        {"peft_type": "LORA"},
        content(status="failed"),
        [],
        {**content(day=3), "train_info": {"status": "success"}},
    ]
    folder = written(tmp_path, content(), content(), content(day=2), *broken)
    (folder / "cut.json").write_text('{"run_info": ', encoding="utf-8")
    (folder / "deep.json").write_text("[" * 100_000, encoding="utf-8")
    found, notices = read_results([folder])
    # The same run in two folders is one run.
    assert len(found) == 2
    # What is JSON of another kind is told in one line: a checkout holds a configuration beside each experiment.
    assert len(notices) == 3 + 2 + 1
    assert notices[-1] == "result.json and 1 more: no result, for there is no run_info and train_info."
    assert all("\n" not in notice for notice in notices)
    for missing in (tmp_path / "nothing", written(tmp_path / "empty")):
        missing.mkdir(exist_ok=True) if missing.name == "empty" else None
        with pytest.raises(FlexLoRAError):
            read_results([missing])


def table(seed: int, truth: dict[str, float], runs: int, spread: float):
    rng = np.random.default_rng(seed)
    return [
        content(name, mean + rng.normal(0, spread), day=1 + run)
        for name, mean in truth.items()
        for run in range(runs)
    ]  # fmt: skip


def test_the_spread_of_reruns_is_pooled_and_says_what_can_be_told_apart(tmp_path):
    truth = {f"lora/{place}": 0.4 + place / 1000 for place in range(40)}
    results, _ = read_results([written(tmp_path, *table(0, truth, 3, 0.0115))])
    board = rank_results(results)
    assert (board.runs, board.freedom, len(board.standings)) == (120, 80, 40)
    assert board.spread == pytest.approx(0.0115, abs=0.002)
    # (1.96 + .84) · √2 · .0115, a little more for 80 degrees of freedom.
    assert board.detectable == pytest.approx(2.83 * math.sqrt(2) * board.spread, rel=0.01)
    assert sum(not own.told_apart for own in board.standings) > 15
    assert [own.mean for own in board.standings] == sorted((own.mean for own in board.standings), reverse=True)
    assert runs_needed(0.005, 0.0115) == pytest.approx(83, abs=2)
    inside = [abs(own.mean - truth[own.experiment]) <= own.half for own in board.standings]
    assert sum(inside) >= 35


def test_without_reruns_nothing_is_claimed(tmp_path):
    results, _ = read_results([written(tmp_path, content("a", 0.1), content("b", 0.9))])
    board = rank_results(results)
    assert math.isnan(board.spread)
    assert not any(own.told_apart or own.surely_behind for own in board.standings)
    assert all(math.isnan(own.half) for own in board.standings)


def test_the_front_and_who_is_surely_behind_it(tmp_path):
    runs = [
        content(name, accuracy + shift, day=day, memory=memory)
        for name, accuracy, memory in (
            ("best", 0.5, 3e10),
            ("cheap", 0.4, 1e10),
            ("dear", 0.4, 4e10),
            ("near", 0.499, 3.1e10),
        )
        for day, shift in ((1, -0.005), (2, 0.005))
    ]
    results, _ = read_results([written(tmp_path, *runs)])
    board = rank_results(results)
    assert {own.experiment: (own.front, own.surely_behind) for own in board.standings} == {
        "best": (True, False), "cheap": (True, False), "dear": (False, True), "near": (False, False)
    }  # fmt: skip
    figure = pareto(board)
    assert [trace.name for trace in figure.data] == [
        "front, by the means",
        "on the front",
        "not told apart from it",
        "surely behind",
    ]
    assert list(figure.data[3].text) == ["dear, n = 2"]
    assert all(half > 0 for trace in figure.data[1:] for half in trace.error_y.array)


def test_another_setting_is_another_configuration_and_a_later_default_is_not(tmp_path):
    changed = content(day=2)
    changed["run_info"]["train_config"]["optimizer_kwargs"]["lr"] = 2e-4
    results, _ = read_results([written(tmp_path, content(), changed, content(day=3, new_key=False))])
    assert {name: len(own) for name, own in group_reruns(results).items()} == {
        "lora/rank32 (optimizer_kwargs.lr 0.0001)": 2,
        "lora/rank32 (optimizer_kwargs.lr 0.0002)": 1,
    }


def test_adalora_s_rank_pattern_is_a_rank_map_without_weights(tmp_path):
    folder = written(tmp_path / "in", content("adalora/r32", 0.37, peft_type="ADALORA", init_r=10, pattern=PATTERN))
    path = folder / "0" / "result.json"
    rows = propose_mapping(path)
    assert [(row["layer"], row["module_type"]) for row in rows] == [
        (0, "query"),
        (0, "value"),
        (1, "query"),
        (1, "value"),
    ]
    done = import_log(path, tmp_path / "run")
    assert (done.kind, done.matrices, done.records) == ("peft_result", 4, 2)
    run = load_run(tmp_path / "run")
    assert run.ranks.tolist() == [[10] * 4, [7, 8, 4, 5]]
    assert run.steps.tolist() == [1, 500]
    assert run.matrices[0].name == "model.layers.0.self_attn.q_proj"
    assert run.metrics["validation/accuracy"][1].tolist() == [0.34, 0.44]
    assert run.metrics["test/accuracy"][1].tolist() == [0.37]
    assert run.metrics["task_loss"][1].tolist() == [0.98, 0.72]
    assert np.isnan(run.entropy).all()
    results, _ = read_results([folder])
    assert results[0].total_rank == 24


def test_adalora_s_schedule_says_when_its_ranks_were_those_of_the_start_and_of_the_end(tmp_path):
    schedule = {"tinit": 40, "tfinal": 100, "total_step": 500}
    for number, (change, steps) in enumerate(
        (
            ({}, [1, 41, 401, 500]),
            ({"total_step": 900}, [1, 500]),
            ({"tinit": 450}, [1, 500]),
            ({"tfinal": 0}, [1, 500]),
        )
    ):
        found = content("adalora/r32", peft_type="ADALORA", pattern=PATTERN, **(schedule | change))
        path = written(tmp_path / f"in{number}", found) / "0" / "result.json"
        import_log(path, tmp_path / f"run{number}")
        run = load_run(tmp_path / f"run{number}")
        assert run.steps.tolist() == steps
        assert (run.ranks[: len(steps) // 2] == 10).all()
        assert (run.ranks[len(steps) // 2 :] == [7, 8, 4, 5]).all()


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"pattern": {"q_proj": 4}}, "has no mask of each matrix"),
        ({"pattern": {}}, "has no mask of each matrix"),
        ({"pattern": {"a": [True, 3]}}, "no list of true and false"),
        ({"pattern": {"a\n": [True]}}, "no printable name"),
    ],
)
def test_what_is_no_rank_map_is_refused_and_leaves_nothing(tmp_path, config, says):
    path = written(tmp_path / "in", content(**config)) / "0" / "result.json"
    with pytest.raises(LogImportError, match=says):
        import_log(path, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_our_runs_in_their_layout_are_read_as_theirs(tmp_path, capsys):
    assert main(["--ours", str(SAMPLE), "--export", str(tmp_path / "out"), "--json"]) == 0
    (name,) = json.loads(capsys.readouterr().out)["written"]
    found = json.loads(Path(name).read_text(encoding="utf-8"))
    assert found == json.loads(json.dumps(result_of(load_run(SAMPLE))))
    run = load_run(SAMPLE)
    last = found["train_info"]["metrics"][-1]
    assert last["test accuracy"] == run.metrics["test/accuracy"][1][-1]
    pattern = found["run_info"]["peft_config"]["rank_pattern"]
    assert sum(pattern.values()) == run.ranks[-1].sum()
    # Everything that their table takes as a number is one.
    for key in (
        "accelerator_memory_reserved_avg",
        "accelerator_memory_max",
        "accelerator_memory_reserved_99th",
        "file_size",
    ):
        assert isinstance(found["train_info"][key], int)
    assert all(isinstance(last[key], int) for key in ("train samples", "train total tokens"))
    assert found["run_info"]["total_time"] > found["train_info"]["train_time"] > 0
    results, notices = read_results([tmp_path / "out"])
    assert (len(results), notices, results[0].peft_type) == (1, [], "LORA")


def test_the_command_tells_the_table_and_refuses_in_one_line(tmp_path, capsys):
    folder = written(tmp_path / "in", *table(1, {"a": 0.3, "b": 0.5}, 3, 0.01))
    assert main([str(folder), "--figure", str(tmp_path / "f.html"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [row["experiment"] for row in report["rows"]] == ["b", "a"]
    assert report["rows"][0]["adjusted_p"] is None
    assert (tmp_path / "f.html").stat().st_size > 10_000
    assert main([str(folder)]) == 0
    assert "two single runs tell" in capsys.readouterr().out
    for words, says in (
        ([str(tmp_path / "none")], "is not there"),
        ([str(folder), "--cost", "beauty"], "Choose one of: memory_bytes"),
        (["--ours", str(SAMPLE)], "give both or none"),
        ([], "Give result files"),
        (["--ours", str(SAMPLE), str(SAMPLE), "--export", str(tmp_path / "x")], "the same method, task"),
    ):
        assert main(words) == 2
        err = capsys.readouterr().err
        assert says in err
        assert err.count("\n") == 1
    assert not (tmp_path / "x").exists()


def image_result(experiment="lora/flux2-klein-default", similarity=0.697, *, drift=0.262, day=1):
    """A result of image-gen, whose log may hold NaN, shortened to what is read."""
    found = content(experiment, day=day)
    found["train_info"]["metrics"] = [
        {"step": 100, "valid dino_similarity": 0.72, "train loss": 0.77, "train samples": 200},
        {"step": 500, "test dino_similarity": similarity, "drift": drift, "train loss": 0.73},
    ]
    return found


def rl_result(experiment="dora/grpo-r8", passed=0.922):
    """A result of RLMath: the test stands beside the log."""
    found = content(experiment)
    found["train_info"] = {"status": "success", "train_time": 667.7, "metrics": [{"reward": 0.5, "step": 100}]}
    return found | {"rl_eval_info": {"test_pass_at_1": passed, "reward_mean": 0.5, "num_eval_samples": 500}}


def test_each_task_has_its_measure_and_two_are_never_on_one_board(tmp_path):
    images = [image_result(), image_result("full-finetuning/flux2", 0.577, drift=math.nan, day=2)]
    folder = written(tmp_path / "all", *images, content(day=3), content(day=4), content(day=5), rl_result())
    found, notices = read_results([folder])
    assert {(result.measure, result.score) for result in found} == {("accuracy", 0.48)}
    assert notices == [
        "2 tested by dino_similarity, not by accuracy, left out: give them alone.",
        "1 tested by pass_at_1, not by accuracy, left out: give them alone.",
    ]
    board = rank_results(read_results([written(tmp_path / "images", *images)])[0])
    assert (board.measure, [own.mean for own in board.standings]) == ("dino_similarity", [0.697, 0.577])
    assert pareto(board).layout.yaxis.title.text == "test dino similarity"
    (only,), _ = read_results([written(tmp_path / "rl", rl_result())])
    assert (only.measure, only.score, only.costs) == ("pass_at_1", 0.922, {"train_s": 667.7})


def test_a_test_that_is_no_number_is_no_result(tmp_path):
    found, notices = read_results([written(tmp_path, content(accuracy=math.nan), content(day=2))])
    assert (len(found), notices) == (1, ["result.json has no test result, left out."])


def test_one_run_in_two_versions_is_one_and_another_seed_at_the_same_moment_is_not(tmp_path):
    newer, other = content(), content(accuracy=0.47)
    newer["train_info"]["accelerator_memory_max"] = newer["train_info"].pop("cuda_memory_max")
    newer["run_info"] |= {"error_msg": "", "peft_worktree_is_dirty": True}
    other["run_info"]["train_config"]["seed"] = 1
    found, notices = read_results([written(tmp_path / "a", content(), newer, other)])
    assert ([(result.seed, result.score) for result in found], notices) == ([(0, 0.48), (1, 0.47)], [])
    found, notices = read_results([written(tmp_path / "b", content(), content(accuracy=0.5))])
    assert [result.score for result in found] == [0.48]
    assert "with another result, left out" in notices[0]


def test_reruns_agree_in_what_both_tell(tmp_path):
    first, later, changed = content(), content(day=2, peft_version="0.21.0", qalora_group_size=16), content(day=3)
    later["run_info"]["train_config"] |= {"use_gc": False, "batch_size_eval": 9}
    later["run_info"]["peft_config"]["target_modules"] = ["q_proj", "v_proj"]
    changed["run_info"]["train_config"]["optimizer_kwargs"]["weight_decay"] = 0.1
    again = content(day=4)
    again["run_info"]["train_config"]["optimizer_kwargs"]["weight_decay"] = 0.2
    results, _ = read_results([written(tmp_path, first, later, changed, again)])
    assert [len(own) for own in group_reruns(results).values()] == [3, 1]
    # AdaLoRA's masks are where training ended, not what was chosen.
    masks = [content("ada", day=day, pattern={"a.lora_E": [True, day == 1]}) for day in (1, 2)]
    results, _ = read_results([written(tmp_path / "masks", *masks)])
    assert [len(own) for own in group_reruns(results).values()] == [2]
    ranks = [content("osf", day=day, pattern={"q_proj": 2944 + day}) for day in (1, 2)]
    results, _ = read_results([written(tmp_path / "ranks", *ranks)])
    assert list(group_reruns(results)) == ["osf (rank_pattern.q_proj 2945)", "osf (rank_pattern.q_proj 2946)"]


def test_what_the_numbers_do_not_say_is_said(tmp_path):
    runs = [content(name, 0.4 + day / 1000, day=day) for name in ("a", "b") for day in (1, 2)]
    runs[1]["train_info"]["train_time"] *= 2
    results, _ = read_results([written(tmp_path / "one", *runs)])
    told = " ".join(describe_board(rank_results(results, cost="train_s")))
    assert "what another seed changes is not in this spread" in told
    assert "by up to a factor of 2." in told
    assert "factor" not in " ".join(describe_board(rank_results(results)))
    runs[3]["run_info"]["train_config"]["seed"] = 1
    runs[0]["train_info"]["file_size"] = 99_999_999
    results, _ = read_results([written(tmp_path / "two", *runs)])
    assert "another seed" not in " ".join(describe_board(rank_results(results)))
    # The size that stands where an adapter could not be saved is none.
    assert ["file_bytes" in result.costs for result in results] == [False, True, True, True]


def test_the_map_of_56_matrices_of_64_directions_has_numbers_that_fit_beside_its_bar(tmp_path):
    masks = {
        f"model.layers.{layer}.self_attn.{kind}.lora_E": [place % 29 >= layer for place in range(64)]
        for layer in range(28)
        for kind in ("q_proj", "v_proj")
    }
    path = written(tmp_path / "in", content(peft_type="ADALORA", pattern=masks)) / "0" / "result.json"
    import_log(path, tmp_path / "run")
    layout = FIGURES["rank_map"](load_run(tmp_path / "run"), 500).layout
    bar = layout.coloraxis
    assert (bar.cmax - bar.cmin) / bar.colorbar.dtick <= (layout.height - 150) / 16

"""Policies in a study: of the package by key, and from a file beside the study file."""

from __future__ import annotations

import hashlib
import json

import pytest
import yaml

from flexlora.errors import FlexLoRAError
from flexlora.policies import BUILT_IN, POLICIES
from flexlora.run_log import read_header, read_run
from flexlora.study.__main__ import main
from flexlora.study.files import POLICY_FILES
from flexlora.study.plan import plan_study
from flexlora.study.policy_files import keep_policies
from flexlora.study.spec import parse_study, read_study
from flexlora.study.worker import perform

RULE = """label = "widest"
reads = ("lambda",)
def decide(observed, ranks, budget):
    return {name: float(abs(own).sum()) for name, own in observed["lambda"].items()}
"""
STUDY = {
    "tasks": ["planted"],
    "methods": [{"name": "uniform", "policy": "uniform"}, {"policy": "./rules/widest.py"}],
    "seeds": 2,
    "settings": {
        "steps": 8, "width": 6, "layers": 2, "true_rank": 2, "rank": 2, "batch_size": 8, "interval": 2,
        "save_adapter": False, "eval_interval": 100, "log_measures": "lambda",
    },
    "equal": "final_rank",
    "metric": "loss",
}  # fmt: skip


@pytest.fixture(autouse=True)
def forget_files():
    yield
    for key in set(POLICIES) - BUILT_IN:
        del POLICIES[key]


@pytest.fixture
def study(tmp_path):
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "widest.py").write_text(RULE, encoding="utf-8")
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(STUDY), encoding="utf-8")
    return path


def changed(path, text: str) -> None:
    (path.parent / "rules" / "widest.py").write_text(text, encoding="utf-8")


def kept_run(study, out):
    """The first run under the file's rule, with the study's copies in place."""
    plan = plan_study(read_study(study))
    out.mkdir(exist_ok=True)
    keep_policies(out, plan.study.entries)
    run = next(run for run in plan.runs() if run.job.config.policy == "widest")
    return run.job, out / "runs" / run.name


def test_a_study_file_names_a_policy_by_key_or_file(study):
    found = plan_study(read_study(study))
    assert [(run.variant.label, run.job.config.policy) for run in found.runs()[:2]] == [
        ("uniform", "uniform"), ("widest", "widest")
    ]  # fmt: skip
    assert found.runs()[0].job.config.initial_budget == 0


def test_workers_load_the_copy_in_the_folder_and_the_header_says_which(study, tmp_path, capsys):
    out = tmp_path / "out"
    assert main([str(study), "--out", str(out), "--jobs", "1"]) == 0, capsys.readouterr().err
    copy = out / POLICY_FILES / "widest.py"
    assert copy.read_text(encoding="utf-8") == RULE
    logs = {folder.name: read_run(folder) for folder in (out / "runs").iterdir()}
    assert len(logs) == 4
    for name, log in logs.items():
        told = log.header.get("policy_file")
        assert (told is not None) == ("widest" in name)
        if told:
            assert told == {"path": str(copy), "sha256": hashlib.sha256(RULE.encode()).hexdigest()}
            assert any(event["prune"] for event in log.events) and log.events[0]["measure"] == "widest"
    # Another text: what is whole is not mixed with it.
    changed(study, RULE + "# better\n")
    assert main([str(study), "--out", str(out), "--resume"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert any("widest.py has changed since this study was made last" in line for line in lines)
    assert "was made by widest.py as it was before. Put that text back" in lines[-1]
    changed(study, RULE)
    assert main([str(study), "--out", str(out), "--resume", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["skipped"] == 4


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ("1 / 0", "Policy widest failed: ZeroDivisionError: division by zero"),
        ("dict.fromkeys(ranks, float('nan'))", "Policy widest returned nan for"),
        ("([next(iter(ranks))], [])", "with direction both as many come as go"),
    ],
)
def test_a_policy_that_breaks_the_rules_stops_with_its_line_and_is_made_anew_once_mended(study, tmp_path, answer, told):
    changed(study, f"def decide(observed, ranks, budget):\n    return {answer}\n")
    job, folder = kept_run(study, tmp_path / "out")
    (outcome,) = perform([job], [folder])
    assert outcome.state == "refused" and told in outcome.message and "\n" not in outcome.message
    changed(study, RULE)
    job, folder = kept_run(study, tmp_path / "out")
    assert perform([job], [folder])[0].state == "completed"
    assert read_header(folder)[0]["policy_file"]["sha256"] == hashlib.sha256(RULE.encode()).hexdigest()


def refused(*methods, folder=None) -> str:
    with pytest.raises(FlexLoRAError) as caught:
        parse_study({**STUDY, "methods": list(methods)}, "study.yaml", folder=folder)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_what_is_wrong_with_a_policy_is_one_line(study, tmp_path):
    assert "only a study file on disk may name one" in refused({"policy": "./rules/widest.py"})
    assert "cannot be read: No such file" in refused({"policy": "gone.py"}, folder=tmp_path)
    assert "Unknown policy 'orackle'. Did you mean oracle?" in refused({"policy": "orackle"})
    assert "policy eva of eva runs with method flexlora, not lora" in refused({"policy": "eva", "method": "lora"})
    assert "eva has policy twice" in refused({"policy": "eva", "settings": {"policy": "gora"}})
    (tmp_path / "widest.py").write_text(RULE, encoding="utf-8")
    two = {"name": "a", "policy": "widest.py"}, {"name": "b", "policy": "rules/widest.py"}
    assert "have one name. Rename one of them" in refused(*two, folder=tmp_path)

"""Policy files of a study: copied into its folder, where every worker of every machine finds them.

A run says by which text it was made (``policy_file`` in its header); runs of two texts are never in one table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flexlora.job import Job
from flexlora.policies import BUILT_IN, POLICIES, load_policy
from flexlora.policies.files import read_policy
from flexlora.study.files import POLICY_FILES, replace_file
from flexlora.study.spec import Entry


def keep_policies(out: Path, entries: Sequence[Entry]) -> list[str]:
    """Copy the policy files of a study into its folder; return a sentence for each that is another than the last time.

    Raises:
        FlexLoRAError: a file that is gone or fails since the study file was read.
    """
    told = []
    for file in dict.fromkeys(entry.policy_file for entry in entries if entry.policy_file is not None):
        policy = read_policy(file)
        content = file.read_bytes()
        # By its key, by which a worker looks for it.
        copy = out / POLICY_FILES / f"{policy.key}.py"
        if copy.exists() and copy.read_bytes() != content:
            told.append(f"{file} has changed since this study was made last: what is not finished begins anew with it.")
        copy.parent.mkdir(exist_ok=True)
        replace_file(copy, content)
        load_policy(copy)
    return told


def load_kept(job: Job, folder: Path) -> None:
    """Load the policy of a run in ``folder`` from the study's copy, where there is one.

    Raises:
        FlexLoRAError: the file cannot be run.
    """
    key = getattr(job.config, "policy", None)
    if key is not None and key not in BUILT_IN:
        copy = folder.parent.parent / POLICY_FILES / f"{key}.py"
        if copy.exists():
            load_policy(copy)


def made_by_another(header: Mapping[str, Any], job: Job) -> bool:
    """True when a run was made by another text of the job's policy file than the one that is loaded."""
    policy = POLICIES.get(getattr(job.config, "policy", None) or "")
    if policy is None or policy.file is None:
        return False
    return (header.get("policy_file") or {}).get("sha256") != policy.sha256

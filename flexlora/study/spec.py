"""``read_study``: a study file as checked values. docs/studies.md says what each key means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from flexlora.errors import FlexLoRAError
from flexlora.methods import METHODS, find_method
from flexlora.policies import Policy, load_policy
from flexlora.study import fields
from flexlora.study.files import POLICY_FILES
from flexlora.study.plain_yaml import read_plain_yaml
from flexlora.study.spaces import Space, read_space
from flexlora.tasks import find_task

UNITS = ("final_rank", "final_parameters", "parameter_steps", "time", "none")
"""What may be held equal between the variants of a comparison."""
TOLERANCES = {"final_rank": 0.0, "final_parameters": 0.02, "parameter_steps": 0.02, "time": 0.1, "none": 0.0}
OWN_METRICS = {"planted": "loss"}
"""Task → its metric, where that is not the accuracy and the study names none."""
LIMIT = 2000
"""Runs of a study that names no other limit."""
MOST_SEED = 10**15
COLUMNS = (
    "run", "task", "cell", "variant", "method", "preset", "seed", "steps", "learning_rate", "state", "final_rank",
    "final_parameters", "parameter_steps", "pruned", "extended", "budget_share", "note",
)  # fmt: skip
"""Columns that every table has; an axis of the user's own cannot have their names."""
KEYS = (
    "name", "about", "tasks", "methods", "seeds", "settings", "axes", "within", "tune", "equal", "reference", "metric",
    "margin", "limit",
)  # fmt: skip
ENTRY_KEYS = ("name", "method", "policy", "preset", "settings", "axes", "by_seed")


@dataclass(frozen=True)
class Axis:
    """One thing that is varied.

    Attributes:
        name: an option, or a name of the user's own.
        points: label → settings.
        values: of the column in the table, one a point: the option's value, or the label.
    """

    name: str
    points: dict[str, dict[str, Any]]
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Entry:
    """One method, or one way to use it, as the file names it.

    ``policy_file`` is the file of its policy, where that is not one of the package.
    """

    name: str
    method: str
    settings: dict[str, Any]
    axes: tuple[Axis, ...] = ()
    by_seed: Mapping[int, dict[str, Any]] = field(default_factory=dict)
    policy_file: Path | None = None


@dataclass(frozen=True)
class TaskEntry:
    """One task, or one data set of a task; ``metric`` None = the study's."""

    name: str
    task: str
    settings: dict[str, Any]
    metric: str | None = None


@dataclass(frozen=True)
class Equal:
    """What is held equal, and by how much it may differ, as a share of the reference's."""

    unit: str
    tolerance: float


@dataclass(frozen=True)
class Tuning:
    """How each variant's learning rate, and one knob of its own, are chosen on validation.

    Attributes:
        trials: of every variant.
        seeds: of the trials; none of them is a seed of the study.
        rates: method → learning rates.
        knobs: method → (option, its values).
    """

    trials: int
    seeds: tuple[int, ...]
    rates: dict[str, Space]
    knobs: dict[str, tuple[str, Space]]


@dataclass(frozen=True)
class Study:
    """A study file, checked as far as it can be without building jobs.

    Attributes:
        within: axes whose values are never compared with each other.
        reference: variant against which the others stand; None = the first.
        metric: by which rates are chosen and variants compared.
        margin: a difference smaller than this would not matter; None = none is stated.
        limit: runs at most.
    """

    name: str
    about: str
    tasks: tuple[TaskEntry, ...]
    entries: tuple[Entry, ...]
    seeds: tuple[int, ...] | range
    settings: dict[str, Any]
    axes: tuple[Axis, ...]
    within: tuple[str, ...]
    tuning: Tuning | None
    equal: Equal
    reference: str | None
    metric: str
    margin: float | None
    limit: int


def read_study(path: str | Path) -> Study:
    """Read a study file.

    Raises:
        FlexLoRAError: it cannot be read, or says something that cannot be done; the message is one line.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise FlexLoRAError(f"{path} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise FlexLoRAError(f"{path} is no text file in UTF-8.") from error
    return parse_study(read_plain_yaml(text, path.name), path.name, path.stem, path.parent)


def read_study_text(text: str, where: str, name: str = "study") -> Study:
    """Check the text of a study file that may come from a stranger: it names no policy file, which would be run.

    Args:
        text: YAML.
        where: what to call it in errors.
        name: of the study when the text gives none.

    Raises:
        FlexLoRAError: as ``read_study``.
    """
    return parse_study(read_plain_yaml(text, where), where, name)


def parse_study(content: Any, where: str, name: str = "study", folder: Path | None = None) -> Study:
    """Check the content of a study file.

    Args:
        content: plain data.
        where: what to call the file in errors.
        name: of the study when the file gives none.
        folder: of the study file, from which policy files are named; None = it may name none, so nothing is run.

    Raises:
        FlexLoRAError: anything unknown or impossible, naming what is allowed.
    """
    told = fields.mapping(content, where, KEYS, required=("tasks", "methods", "seeds", "equal"))
    axes = _axes(told.get("axes"), f"{where}: axes")
    listed = fields.entries(told["methods"], f"{where}: methods")
    entries = tuple(_entry(item, f"{where}: methods", folder) for item in listed)
    _check_policy_files(entries, where)
    fields.no_repeats([entry.name for entry in entries], f"{where}: methods")
    tasks = tuple(_task(item, f"{where}: tasks") for item in fields.entries(told["tasks"], f"{where}: tasks"))
    fields.no_repeats([task.name for task in tasks], f"{where}: tasks")
    seeds = _seeds(told["seeds"], f"{where}: seeds")
    within = tuple(fields.entries(told["within"], f"{where}: within")) if "within" in told else ()
    for axis in within:
        if axis not in [known.name for known in axes]:
            listed = ", ".join(known.name for known in axes) or "there are none"
            raise FlexLoRAError(f"{where}: within names {axis!r}, which is no axis of axes: {listed}.")
    for entry in entries:
        fields.no_repeats([axis.name for axis in (*axes, *entry.axes)], f"{where}: the axes of {entry.name}")
        strange = [seed for seed in seeds if seed not in entry.by_seed] if entry.by_seed else []
        if strange:
            raise FlexLoRAError(f"{where}: by_seed of {entry.name} lacks seed {strange[0]}.")
    methods = {entry.method for entry in entries}
    if "metric" not in told:
        tasks = tuple(replace(task, metric=task.metric or OWN_METRICS.get(task.task)) for task in tasks)
    return Study(
        name=fields.text(told.get("name", name), f"{where}: name"),
        about=str(told.get("about", "")),
        tasks=tasks,
        entries=entries,
        seeds=seeds,
        settings=fields.settings(told.get("settings"), f"{where}: settings"),
        axes=axes,
        within=within,
        tuning=_tuning(told["tune"], f"{where}: tune", methods, seeds) if told.get("tune") is not None else None,
        equal=_equal(told["equal"], f"{where}: equal"),
        reference=fields.text(told["reference"], f"{where}: reference") if "reference" in told else None,
        metric=fields.text(told.get("metric", "accuracy"), f"{where}: metric"),
        margin=fields.number(told["margin"], f"{where}: margin", above=0) if "margin" in told else None,
        limit=fields.whole(told.get("limit", LIMIT), f"{where}: limit", 1),
    )


def lower_is_better(metric: str) -> bool:
    """True for a metric that should be small, such as ``loss`` or ``distance``."""
    return metric.rpartition("_")[2] in ("loss", "error", "distance", "perplexity")


def _entry(item: Any, where: str, folder: Path | None) -> Entry:
    if isinstance(item, str):
        return Entry(item, find_method(item).name, {})
    needed = () if isinstance(item, Mapping) and "policy" in item else ("method",)
    told = fields.mapping(item, where, ENTRY_KEYS, required=needed)
    policy, file = None, None
    if "policy" in told:
        policy, file = _policy(fields.text(told["policy"], f"{where}: policy"), where, folder)
    method = find_method(fields.text(told.get("method", policy.method if policy else ""), f"{where}: method")).name
    name = fields.text(told.get("name", policy.key if policy else method), f"{where}: name")
    own = fields.settings(told.get("settings"), f"{where}: settings of {name}")
    if policy is not None:
        if policy.method != method:
            raise FlexLoRAError(
                f"{where}: policy {policy.key} of {name} runs with method {policy.method}, not {method}."
            )
        if "policy" in own:
            raise FlexLoRAError(f"{where}: {name} has policy twice, in settings too.")
        own |= {"policy": policy.key} if policy.settings else {}
    if "preset" in told:
        own = {"preset": told["preset"], **own}
    by_seed = told.get("by_seed") or {}
    if not isinstance(by_seed, Mapping):
        raise FlexLoRAError(f"{where}: by_seed of {name} must be a mapping of seeds to settings.")
    seeded = {
        fields.whole(seed, f"{where}: a seed of by_seed of {name}", 0): fields.settings(value, f"{where}: {name}")
        for seed, value in by_seed.items()
    }
    return Entry(name, method, own, _axes(told.get("axes"), f"{where}: axes of {name}"), seeded, file)


def _policy(text: str, where: str, folder: Path | None) -> tuple[Policy, Path | None]:
    """Return the policy of a key or of a file, which is run."""
    if not text.endswith(".py"):
        return load_policy(text), None
    if folder is None:
        raise FlexLoRAError(f"{where}: policy {text} is a file; only a study file on disk may name one.")
    # A study's own folder has copies.
    kept = folder / POLICY_FILES / Path(text).name
    file = kept if kept.exists() and not (folder / text).exists() else folder / text
    return load_policy(file), file


def _check_policy_files(entries: Sequence[Entry], where: str) -> None:
    files: dict[str, Path] = {}
    for entry in entries:
        if entry.policy_file is not None:
            other = files.setdefault(entry.policy_file.stem, entry.policy_file)
            if other.resolve() != entry.policy_file.resolve():
                raise FlexLoRAError(f"{where}: {other} and {entry.policy_file} have one name. Rename one of them.")


def _task(item: Any, where: str) -> TaskEntry:
    if isinstance(item, str):
        return TaskEntry(item, find_task(item).name, {})
    told = fields.mapping(item, where, ("name", "task", "settings", "metric"), required=("task",))
    task = find_task(fields.text(told["task"], f"{where}: task")).name
    name = fields.text(told.get("name", task), f"{where}: name")
    metric = fields.text(told["metric"], f"{where}: metric of {name}") if "metric" in told else None
    return TaskEntry(name, task, fields.settings(told.get("settings"), f"{where}: settings of {name}"), metric)


def _axes(value: Any, where: str) -> tuple[Axis, ...]:
    if value is None:
        return ()
    if not isinstance(value, Mapping):
        raise FlexLoRAError(f"{where} is {fields.shown(value)}; it must be a mapping such as {{rank: [2, 4, 8]}}.")
    return tuple(_axis(name, points, where) for name, points in value.items())


def _axis(name: Any, points: Any, where: str) -> Axis:
    name = fields.text(name, f"{where}: the name of an axis")
    if isinstance(points, Mapping):
        if name in COLUMNS or name.startswith(("validation_", "test_")):
            raise FlexLoRAError(f"{where}: {name} is a column of the table already. Give the axis another name.")
        own = {fields.text(label, f"{where}: a label of {name}"): item for label, item in points.items()}
        if not own:
            raise FlexLoRAError(f"{where}: {name} has no value.")
        named = {label: fields.settings(item, f"{where}: {label} of {name}") for label, item in own.items()}
        return Axis(name, named, tuple(named))
    if name not in fields.setting_names():
        raise fields.unknown_axis(name)
    values = fields.entries(points, f"{where}: {name}")
    if any(isinstance(value, Mapping) for value in values):
        raise FlexLoRAError(f"{where}: a value of {name} is a mapping; an option takes one value.")
    labels = [label_of(value) for value in values]
    fields.no_repeats(labels, f"{where}: {name}")
    return Axis(name, {label: {name: value} for label, value in zip(labels, values, strict=True)}, tuple(values))


def label_of(value: Any) -> str:
    """Return a setting's value as it stands in a label: 0.002, none, query,value."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    return ",".join(map(label_of, value)) if isinstance(value, list) else str(value)


def _seeds(value: Any, where: str) -> tuple[int, ...] | range:
    if isinstance(value, int):
        return range(_seed(value, where, 1))
    if isinstance(value, Mapping):
        told = fields.mapping(value, where, ("first", "count"), required=("first", "count"))
        first = _seed(told["first"], f"{where}: first", 0)
        return range(first, first + _seed(told["count"], f"{where}: count", 1))
    if not isinstance(value, list) or not value:
        raise FlexLoRAError(f"{where} is {fields.shown(value)}; give a number, a list, or {{first: 100, count: 24}}.")
    found = [_seed(seed, f"{where}: one of them", 0) for seed in value]
    fields.no_repeats(found, where)
    return tuple(found)


def _seed(value: Any, where: str, least: int) -> int:
    if fields.whole(value, where, least) > MOST_SEED:
        raise FlexLoRAError(f"{where} is {fields.shown(value)}; it must be at most {MOST_SEED:,}.")
    return value


def _equal(value: Any, where: str) -> Equal:
    told = {"unit": value} if isinstance(value, str) else value
    told = fields.mapping(told, where, ("unit", "tolerance"), required=("unit",))
    if told["unit"] not in UNITS:
        raise FlexLoRAError(f"{where} is {fields.shown(told['unit'])}. Choose one of: {', '.join(UNITS)}.")
    tolerance = told.get("tolerance", TOLERANCES[told["unit"]])
    return Equal(told["unit"], fields.number(tolerance, f"{where}: tolerance", least=0))


def _tuning(value: Any, where: str, methods: set[str], seeds: tuple[int, ...] | range) -> Tuning:
    told = fields.mapping(value, where, ("trials", "seeds", "learning_rate", "knobs"), required=("learning_rate",))
    rates = told["learning_rate"]
    per_method = isinstance(rates, Mapping) and not {"low", "high"} & set(rates)
    if per_method:
        fields.mapping(rates, f"{where}: learning_rate", METHODS, required=sorted(methods))
    spaces = {
        method: read_space(rates[method] if per_method else rates, f"{where}: learning_rate", scale="log")
        for method in methods
    }
    lists = {len(space.values) for space in spaces.values() if space.values}
    if "trials" not in told and (len(lists) != 1 or any(not space.values for space in spaces.values())):
        raise FlexLoRAError(f"{where} has no trials: how many of every variant. Lists of equal length would tell.")
    trials = fields.whole(told["trials"], f"{where}: trials", 1) if "trials" in told else lists.pop()
    own = _seeds(told["seeds"], f"{where}: seeds") if "seeds" in told else (_unused(seeds),)
    shared = sorted(set(own) & set(seeds)) if len(own) * len(seeds) < 10**9 else []
    if shared:
        raise FlexLoRAError(
            f"{where}: seed {shared[0]} is one of the study's: a choice made with it would favour itself."
        )
    return Tuning(trials, tuple(own), spaces, _knobs(told.get("knobs"), f"{where}: knobs", methods))


def _unused(seeds: tuple[int, ...] | range) -> int:
    return max(1000, max(seeds) + 1)


def _knobs(value: Any, where: str, methods: set[str]) -> dict[str, tuple[str, Space]]:
    if value is None:
        return {}
    found = {}
    for method, knob in fields.mapping(value, where, METHODS).items():
        allowed = [name for name in METHODS[method].options if name not in ("seed", "total_steps")]
        told = fields.mapping(knob, f"{where}: {method}", allowed)
        if method not in methods:
            raise FlexLoRAError(f"{where} names {method}, which is no method of this study: {', '.join(methods)}.")
        if len(told) != 1:
            raise FlexLoRAError(f"{where}: {method} has {len(told)} knobs; every method may have one.")
        ((name, space),) = told.items()
        found[method] = (name, read_space(space, f"{where}: {name} of {method}", scale="linear"))
    return found

"""``write_model_card``: a README for a PEFT adapter, of its files and of the run log. Torch-free; works offline."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from safetensors import SafetensorError, safe_open

from flexlora.budgets import final_ranks
from flexlora.card_file import with_own
from flexlora.errors import FlexLoRAError
from flexlora.matrix_names import describe_matrix, module_type_order
from flexlora.methods import METHODS
from flexlora.run_log import RunLog, disk, read_run
from flexlora.tally import describe_moves

CARD, PICTURE = "README.md", "rank_map.svg"
SHOWN = (
    "initial_rank",
    "alpha",
    "importance",
    "schedule",
    "initial_budget",
    "learning_rate",
    "batch_size",
    "precision",
)
"""Settings that the card names, where the log has them."""

WIDTH, HEIGHT, LEFT, TOP = 74, 22, 60, 26
"""Pixels of a cell of the picture, and of what stands beside and above the cells."""


@dataclass(frozen=True)
class RankMap:
    """Ranks by layer and type of matrix.

    Attributes:
        layers: in order, None for matrices outside of any layer.
        types: in the order in which data flows.
        cells: (layer, type) → rank of each matrix there.
    """

    layers: list[int | None]
    types: list[str]
    cells: Mapping[tuple[int | None, str], list[int]]

    @classmethod
    def of(cls, ranks: Mapping[str, int]) -> RankMap:
        """Sort matrices, name → rank, into the map."""
        cells: dict[tuple[int | None, str], list[int]] = {}
        for name, rank in ranks.items():
            cells.setdefault(describe_matrix(name), []).append(rank)
        layers = sorted({layer for layer, _ in cells}, key=lambda layer: (layer is None, layer or 0))
        return cls(layers, module_type_order(kind for _, kind in cells), cells)

    def table(self) -> str:
        """Return a Markdown table: a row a layer, a column a type."""
        rows = [["layer", *self.types]]
        for layer in self.layers:
            rows.append(["–" if layer is None else str(layer), *(self.shown(layer, kind) for kind in self.types)])
        return _table(rows)

    def shown(self, layer: int | None, kind: str) -> str:
        """Return the text of a cell; several matrices of one kind in one layer are told one by one."""
        return " / ".join(map(str, self.cells.get((layer, kind), [])))

    def picture(self) -> str:
        """Return the map as SVG: the darker a cell, the higher its (mean) rank."""
        highest = max((_mean(own) for own in self.cells.values()), default=0) or 1
        parts = [_text(LEFT + WIDTH * place + WIDTH / 2, TOP - 9, kind) for place, kind in enumerate(self.types)]
        for row, layer in enumerate(self.layers):
            y = TOP + HEIGHT * row
            parts.append(_text(LEFT - 8, y + 15, "–" if layer is None else str(layer), anchor="end"))
            for column, kind in enumerate(self.types):
                own = self.cells.get((layer, kind))
                if own is None:
                    continue
                x, share = LEFT + WIDTH * column, _mean(own) / highest
                # From near white to the dark end of one blue: read in print and by the colour-blind, too.
                colour = "#" + "".join(f"{round(low + share * (high - low)):02x}" for low, high in _ENDS)
                parts.append(f'<rect x="{x}" y="{y}" width="{WIDTH - 2}" height="{HEIGHT - 2}" fill="{colour}"/>')
                ink = "#ffffff" if share > 0.6 else "#1b1b1b"
                parts.append(_text(x + WIDTH / 2 - 1, y + 15, self.shown(layer, kind), fill=ink))
        width, height = LEFT + WIDTH * len(self.types) + 6, TOP + HEIGHT * len(self.layers) + 6
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}" role="img" font-family="sans-serif" font-size="11">'
            f"<title>Rank of each matrix by layer and type</title>{''.join(parts)}</svg>\n"
        )


_ENDS = ((239, 8), (243, 48), (255, 107))


def write_model_card(
    folder: str | Path,
    run: str | Path | None = None,
    *,
    controls: Iterable[str | Path] = (),
    license: str | None = None,
    name: str | None = None,
) -> Path:
    """Write ``README.md`` and ``rank_map.svg`` into the folder of a PEFT adapter; return the card's path.

    Only what files say is in it: what is not known is left out. Of a card that is there, such as TRL's, every line
    stays as it is; between two marks it gets a section of ours, which is written anew each time.

    Args:
        folder: holds ``adapter_config.json`` and ``adapter_model.safetensors``.
        run: the run folder that the adapter is of; None = nothing is said of its training.
        controls: run folders of what it should be compared with, such as random moves or plain LoRA.
        license: as the hub spells it, such as ``apache-2.0``.
        name: title; None = the folder's name.

    Raises:
        FlexLoRAError: the folder holds no PEFT adapter, the run is of other matrices, or the card that is there has
            front matter or marks that cannot be read.
        RunLogError: a run cannot be read.
    """
    folder = Path(folder)
    config, ranks = read_adapter(folder)
    log = None if run is None else read_run(run)
    if log is not None:
        ranks = _with_log(folder, ranks, log)
    others = [read_run(control) for control in controls]
    rank_map = RankMap.of(ranks)
    parts = [
        _introduction(log),
        _ranks(ranks, rank_map, log),
        "" if log is None else _results(log, others, ranks),
        "" if log is None else _training(log),
        _use(config),
    ]
    path = folder / CARD
    section = "\n".join(part for part in parts if part)
    text = with_own(path, _front_matter(config, license), name or folder.resolve().name, section)
    disk.put_bytes(folder / PICTURE, rank_map.picture().encode())
    disk.put_bytes(path, text.encode())
    return path


def read_adapter(folder: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """Return the configuration of a PEFT LoRA, and name → rank of each matrix.

    Raises:
        FlexLoRAError: the folder holds none.
    """
    try:
        config = json.loads((folder / "adapter_config.json").read_bytes())
        with safe_open(folder / "adapter_model.safetensors", framework="numpy") as file:
            shapes = {key: file.get_slice(key).get_shape() for key in file.keys()}  # noqa: SIM118  (not a dict)
    except (OSError, ValueError, SafetensorError) as error:
        raise FlexLoRAError(f"{folder} holds no PEFT adapter: {' '.join(str(error).split())}") from error
    ending = ".lora_A.weight"
    return config, {
        key.removeprefix("base_model.model.").removesuffix(ending): shape[0]
        for key, shape in shapes.items()
        if key.endswith(ending)
    }


def _with_log(folder: Path, ranks: Mapping[str, int], log: RunLog) -> dict[str, int]:
    """Return the ranks in the log's order, with the matrices that have none left and so are in no adapter."""
    names = [row["name"] for row in log.header["matrices"]]
    if not set(ranks) <= set(names):
        raise FlexLoRAError(f"{log.folder} is no run of the adapter in {folder}: its matrices have other names.")
    return {name: ranks.get(name, 0) for name in names}


def _front_matter(config: Mapping[str, Any], license: str | None) -> dict[str, Any]:
    base = str(config.get("base_model_name_or_path") or "")
    known: dict[str, Any] = {"library_name": "peft", "tags": ["flexlora", "lora", "peft"]}
    if re.fullmatch(r"[\w.-]+(/[\w.-]+)?", base) and not Path(base).exists():
        # The hub refuses a card whose base model is a path.
        known["base_model"] = base
    if license:
        known["license"] = license
    return known


def _introduction(log: RunLog | None) -> str:
    method = METHODS.get(str(log.header.get("method"))) if log is not None else None
    text = "A LoRA adapter whose matrices have ranks of their own. PEFT loads it without further packages.\n"
    if method is not None:
        text += f"\n{method.title}: {method.summary} ([paper]({method.url}))\n"
    return text


def _ranks(ranks: Mapping[str, int], rank_map: RankMap, log: RunLog | None) -> str:
    text = f"## Ranks\n\nTotal rank {sum(ranks.values())} in {len(ranks)} matrices"
    if log is not None and len(log.spectra_steps) and log.spectra_steps[0] == 0:
        text += f"; it began with {int(log.ranks[0].sum())}"
    text += ".\n"
    best = None if log is None else _best(log)
    if best is not None and list(ranks.values()) == best["ranks"]:
        text += (
            f"\nThe best step was loaded at the end, {best['best_step']}; training went on to step {best['step']}.\n"
        )
    elif not _of_run(ranks, log):
        text += "\nThe run ended with other ranks: the adapter was resized since, or is of another step.\n"
    return f"{text}\n![Rank of each matrix by layer and type]({PICTURE})\n\n{rank_map.table()}"


def _best(log: RunLog) -> Mapping[str, Any] | None:
    """Return the note of the step whose adapter was loaded when training ended; None = the last one stayed."""
    notes = [note for note in log.notes if {"best_step", "ranks", "step"} <= note.keys()]
    last = int(log.steps["step"][-1]) if len(log.steps["step"]) else 0
    return notes[-1] if notes and notes[-1]["step"] >= last else None


def _left_ranks(log: RunLog) -> list[int]:
    """Return the ranks of the adapter that training left."""
    best = _best(log)
    return final_ranks(log).tolist() if best is None else list(best["ranks"])


def _of_run(ranks: Mapping[str, int], log: RunLog | None) -> bool:
    """True where an adapter has the ranks that the run left, or there is no run."""
    return log is None or list(ranks.values()) == _left_ranks(log)


def _results(log: RunLog, others: Sequence[RunLog], ranks: Mapping[str, int]) -> str:
    """Return what was measured last on each split, of the run and of its controls."""
    rows = [row for one in (log, *others) for row in _measured(one)]
    if not rows:
        return ""
    metrics = list(dict.fromkeys(key for _, values in rows for key in values))
    told = "" if not others else " Controls, trained beside it, are below it."
    if not _of_run(ranks, log):
        told = f" They are the run's: this adapter has other ranks, and nobody evaluated it.{told}"
    elif _best(log) is not None:
        told = f" They are those of the step that was loaded as the best.{told}"
    head = ["run", "what", "total rank", "split", "step", "samples", *metrics]
    return f"## Results\n\nThe last evaluation of each split.{told}\n\n" + _table(
        [head, *([*own, *(_number(values.get(key)) for key in metrics)] for own, values in rows)]
    )


def _measured(log: RunLog) -> list[tuple[list[str], Mapping[str, float]]]:
    best = _best(log)
    kept = [record for record in log.evals if best is None or record["step"] == best["best_step"]]
    last = {record["split"]: record for record in kept}
    config = log.header.get("config", {})
    method = METHODS.get(str(log.header.get("method")))
    control = config.get("control")
    what = method.title if method is not None else str(log.header.get("method") or "–")
    if control not in (None, "none"):
        what = f"{what}, control {control}"
    if config.get("policy"):
        what = f"{what}, policy {config['policy']}"
    rank = str(sum(_left_ranks(log))) if len(log.spectra_steps) else "–"
    return [
        (
            [log.folder.resolve().name, what, rank, split, str(record["step"]), str(record.get("samples") or "–")],
            record["metrics"],
        )
        for split, record in last.items()
    ]


def _training(log: RunLog) -> str:
    header, config = log.header, log.header.get("config", {})
    pruned, extended = (sum(len(event[key]) for event in log.events) for key in ("prune", "extend"))
    steps = int(log.steps["step"][-1]) if len(log.steps["step"]) else 0
    total = config.get("total_steps")
    facts = {
        "task": header.get("task"),
        "model": header.get("model"),
        "state of the run": log.state,
        "steps": f"{steps} of {total}" if total else steps,
        "events": f"{len(log.events)}, {describe_moves(pruned, extended)}",
        "seed": header.get("seed"),
        "device": header.get("device"),
        **{key.replace("_", " "): config.get(key) for key in SHOWN},
        **(header.get("versions") or {}),
    }
    rows = [[key, str(value)] for key, value in facts.items() if value is not None]
    text = "## Training\n\n" + _table([["what", "value"], *rows])
    command = header.get("command")
    return text + (f"\n```\n{command}\n```\n" if command else "")


def _use(config: Mapping[str, Any]) -> str:
    base = config.get("base_model_name_or_path")
    of = f"  # {base}" if base else ""
    return (
        "## Use\n\n```python\nfrom peft import PeftModel\n\n"
        f'model = PeftModel.from_pretrained(base_model, "this/repository"){of}\n```\n'
    )


def _table(rows: Sequence[Sequence[str]]) -> str:
    head, *rest = [[cell.replace("|", r"\|").replace("\n", " ") for cell in row] for row in rows]
    lines = [head, ["---"] * len(head), *rest]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _mean(values: Sequence[int]) -> float:
    return sum(values) / len(values)


def _text(x: float, y: float, text: str, *, anchor: str = "middle", fill: str = "#555555") -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" fill="{fill}">{escape(text)}</text>'

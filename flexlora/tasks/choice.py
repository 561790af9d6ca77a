"""``choice``: name the right answer with a causal language model (the instruction layout of LLM-Adapters)."""

from __future__ import annotations

from itertools import takewhile
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from flexlora.errors import FlexLoRAError
from flexlora.tasks.data import Split, TaskData, answered, task_data
from flexlora.tasks.models import describe_source, load_model, load_processor
from flexlora.tasks.source import SourceOptions
from flexlora.tasks.tables import read_splits
from flexlora.tasks.text import with_defaults

COLUMNS = ("instruction", "output", "answer")
FORMAT = "Answer format:"
PROMPT = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Response:\n"
)
IGNORED = -100
"""Label of a token that is not learned: all of the instruction."""


def load(seed: int, control: str, source: SourceOptions) -> TaskData:
    """Build the task; see ``flexlora.tasks.load_task``."""
    source = with_defaults(source, "choice")
    tables = read_splits(source, lambda table: _checked(table, source))
    tokenizer = load_processor(AutoTokenizer, source)
    splits = {name: _encoded(table, tokenizer, source) for name, table in tables.items()}
    options = _options(str(tables["train"]["instruction"].iloc[0]))
    return task_data(
        load_model(AutoModelForCausalLM, source, seed, control),
        splits,
        str(source.model),
        tuple(options),
        evaluate_choices,
        control=control,
        source=describe_source(source),
    )


@torch.no_grad()
def evaluate_choices(
    model: nn.Module, split: Split, *, batch_size: int = 16, max_samples: int | None = None
) -> dict[str, float]:
    """Return accuracy and loss: the answer is the option whose first own token is the most likely.

    All options of a question begin alike ("the correct answer is answer"), so the token after that decides.
    """
    correct, loss, count = 0, 0.0, 0
    for rows, target, logits in answered(model, split, batch_size, max_samples):
        places = split.answers["position"][rows].to(logits.device) - 1
        chosen = logits[torch.arange(len(rows), device=logits.device), places].float()
        options = split.answers["options"][rows].to(logits.device)
        scores = chosen.gather(1, options.clamp_min(0)).masked_fill(options < 0, -torch.inf)
        correct += int((scores.argmax(dim=1).cpu() == split.answers["label"][rows]).sum())
        mine = F.cross_entropy(logits[:, :-1].float().flatten(0, 1), target[:, 1:].flatten(), ignore_index=IGNORED)
        loss += float(mine) * len(rows)
        count += len(rows)
    return {"accuracy": correct / count, "loss": loss / count}


def _checked(table: pd.DataFrame, source: SourceOptions) -> pd.DataFrame:
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise FlexLoRAError(
            f"data={source.data} has columns {', '.join(map(str, table.columns))}; {', '.join(missing)} missing. The "
            "layout is instruction, input, output, answer."
        )
    return table.loc[table["answer"].astype(str).str.strip() != ""].copy()


def _options(instruction: str) -> list[str]:
    line = instruction.rpartition(FORMAT)[2].strip().splitlines()
    return [option.strip() for option in line[0].split("/")] if line and FORMAT in instruction else []


def _encoded(table: pd.DataFrame, tokenizer: Any, source: SourceOptions) -> Split:
    rows = []
    for instruction, output, answer in zip(table["instruction"], table["output"], table["answer"], strict=True):
        options = _options(instruction)
        if answer not in options or not output.endswith(answer):
            raise FlexLoRAError(
                f"data={source.data}: the answer {answer!r} is not among {options or 'no options'}, or the output does "
                f"not end with it. An instruction ends with a line such as {FORMAT} answer1/answer2."
            )
        rows.append(_row(instruction, output, answer, options, tokenizer))
    kept = [row for row in rows if len(row["ids"]) <= (source.max_tokens or len(row["ids"]))]
    if not kept:
        raise FlexLoRAError(f"Every question is longer than max_tokens={source.max_tokens}. Raise it.")
    return _stacked(kept, tokenizer)


def _row(instruction: str, output: str, answer: str, options: list[str], tokenizer: Any) -> dict[str, Any]:
    prompt = tokenizer(PROMPT.format(instruction=instruction)).input_ids
    stem = output.removesuffix(answer)
    endings = [tokenizer(stem + option, add_special_tokens=False).input_ids for option in options]
    shared = len(list(takewhile(lambda tokens: len(set(tokens)) == 1, zip(*endings, strict=False))))
    firsts = [ending[shared] if len(ending) > shared else -1 for ending in endings]
    if len(set(firsts)) < len(firsts) or -1 in firsts:
        raise FlexLoRAError(f"The tokenizer does not tell the options {', '.join(options)} apart by one token.")
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    ids = [*prompt, *endings[options.index(answer)], *end]
    labels = [*(IGNORED for _ in prompt), *ids[len(prompt) :]]
    return {
        "ids": ids,
        "labels": labels,
        "position": len(prompt) + shared,
        "options": firsts,
        "label": options.index(answer),
    }


def _stacked(rows: list[dict[str, Any]], tokenizer: Any) -> Split:
    longest, most = max(len(row["ids"]) for row in rows), max(len(row["options"]) for row in rows)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0

    def padded(key: str, fill: int, width: int) -> torch.Tensor:
        return torch.tensor([row[key] + [fill] * (width - len(row[key])) for row in rows])

    lengths = torch.tensor([len(row["ids"]) for row in rows])
    mask = (torch.arange(longest) < lengths[:, None]).long()
    answers = {
        "options": padded("options", -1, most),
        "position": torch.tensor([row["position"] for row in rows]),
        "label": torch.tensor([row["label"] for row in rows]),
    }
    inputs = {"input_ids": padded("ids", pad, longest), "attention_mask": mask}
    return Split(inputs, padded("labels", IGNORED, longest), answers)

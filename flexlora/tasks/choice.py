"""``choice``: name the right answer with a causal language model (the instruction layout of LLM-Adapters)."""

from __future__ import annotations

from collections import Counter
from itertools import takewhile
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn
from transformers import AutoModelForCausalLM

from flexlora.errors import FlexLoRAError
from flexlora.tasks.columns import Roles, checked_roles, named_columns, told_names
from flexlora.tasks.data import Split, TaskData, answered, task_data
from flexlora.tasks.labelled import labelled_tables
from flexlora.tasks.labels import Labels, read_texts, told_balance
from flexlora.tasks.models import describe_source, load_model
from flexlora.tasks.rows import PLACE, Rows, refuse, shown
from flexlora.tasks.source import SourceOptions
from flexlora.tasks.tables import read_rows, split_rows
from flexlora.tasks.text import with_defaults
from flexlora.tasks.token_ids import check_fit, load_tokenizer

COLUMNS = ("instruction", "output", "answer")
INPUT = "input"
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
    found, told = labelled_tables(
        read_rows(source), source, _roles, COLUMNS[:2], known=COLUMNS[2:], read_label=_read_answers
    )
    tables = split_rows(found, source)
    told += told_balance(tables["train"]["label"].tolist(), "answer")
    tokenizer = load_tokenizer(source, tables["train"]["instruction"].tolist())
    splits = {}
    for name, table in tables.items():
        splits[name], long = _encoded(table, tokenizer, source)
        if long:
            told.append(
                f"{name}: {long} of {len(table)} questions left out: longer than max_tokens={source.max_tokens}."
            )
    options = _options(str(tables["train"]["instruction"].iloc[0]))
    model = load_model(AutoModelForCausalLM, source, seed, control)
    check_fit(model, splits, source)
    return task_data(
        model,
        splits,
        str(source.model),
        tuple(options),
        evaluate_choices,
        notices=told,
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


def _roles(rows: Rows, source: SourceOptions) -> Roles:
    """Return the columns by their names, or by their order in ``columns=``: instruction, output, answer."""
    named = named_columns(source)
    names = list(COLUMNS)
    if named is not None and not set(COLUMNS) <= set(named):
        if len(named) != len(COLUMNS):
            raise FlexLoRAError(
                f"columns={','.join(source.columns or ())} names {len(named)} columns. Name three: instruction, output "
                "and answer, in this order; in a file without a header line - leaves a column out."
            )
        names = named
    missing = [name for name in names if name not in rows.names]
    if missing:
        raise FlexLoRAError(
            f"data={source.data} has columns {told_names(rows)}; {', '.join(missing)} missing ({rows.files}). The "
            "layout is instruction, input, output, answer. Name others in this order: "
            "columns=INSTRUCTION,OUTPUT,ANSWER."
        )
    if INPUT in rows.names:
        held = next((place for place, text in enumerate(read_texts(rows, INPUT, source)) if text), None)
        if held is not None:
            refuse(
                source, rows.places[held], INPUT, "holds text, which no prompt has room for. Put it into instruction."
            )
    return checked_roles(rows, Roles((names[0], names[1]), names[2]), source)


def _read_answers(rows: Rows, column: str, source: SourceOptions, signed: bool | None) -> Labels:
    # An option may be called -1 or None: only nothing is no answer.
    answers = [None if answer is None else answer.strip() for answer in read_texts(rows, column, source)]
    return Labels(answers, Counter({"empty": count} if (count := answers.count(None)) else {}), bool(signed))


def _options(instruction: str) -> list[str]:
    line = instruction.rpartition(FORMAT)[2].strip().splitlines()
    return [option.strip() for option in line[0].split("/")] if line and FORMAT in instruction else []


def _encoded(table: pd.DataFrame, tokenizer: Any, source: SourceOptions) -> tuple[Split, int]:
    """Return the split, and how many of its questions were left out because they are too long."""
    rows = []
    columns = (table[name] for name in (*COLUMNS[:2], "label", PLACE))
    for instruction, output, answer, place in zip(*columns, strict=True):
        options = _options(instruction)
        output = output.rstrip()
        if answer not in options or not output.endswith(answer):
            raise FlexLoRAError(
                f"data={source.data}: {place}: the answer {answer!r} is not among {options or 'no options'}, or the "
                f"output {shown(output)} does not end with it. An instruction ends with a line such as {FORMAT} "
                "answer1/answer2."
            )
        rows.append(_row(instruction, output, answer, options, tokenizer))
    kept = [row for row in rows if len(row["ids"]) <= (source.max_tokens or len(row["ids"]))]
    if not kept:
        raise FlexLoRAError(f"Every question is longer than max_tokens={source.max_tokens}. Raise it.")
    return _stacked(kept, tokenizer), len(rows) - len(kept)


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

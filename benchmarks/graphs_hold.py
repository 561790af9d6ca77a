"""Are steps replayed as CUDA graphs the steps of the ordinary loop? Random settings, one CUDA device.

    python benchmarks/graphs_hold.py [--rounds 20] [--seed 0]

Each round draws a small BERT, batches of one to three lengths, an interval, a budget, spare slots, a learning rate that
falls, and trains it twice from the same start: by the ordinary loop and by ``GraphedStep``; every fourth round by the
stock Trainer and by ``GraphedTrainer``. Everything in fp32 without TF32 and without dropout. Reported are the largest
difference of a loss, events that moved something else, and how often a graph was captured, and captured again.
"""

from __future__ import annotations

import argparse
import copy
import random
import tempfile
from pathlib import Path
from typing import Any

import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

from flexlora import FlexLoRAConfig, RankAllocator, attach
from flexlora.graphs import GraphedStep
from flexlora.integrations import FlexLoRACallback, GraphedTrainer
from flexlora.run_log import read_run

STEPS = 40
EXACT = 1e-4
"""Largest difference of two losses: kernels may be chosen anew, and a learning rate on the device is a float32."""


def drawn_model(draw: random.Random) -> BertForSequenceClassification:
    """Return a small BERT whose attention knows no masks, which a capture would make anew."""
    torch.manual_seed(draw.randrange(1 << 30))
    config = BertConfig(
        vocab_size=100, hidden_size=64, num_hidden_layers=draw.choice([1, 2, 3]), num_attention_heads=4,
        intermediate_size=128, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, num_labels=2,
        problem_type="single_label_classification",
    )  # fmt: skip
    return BertForSequenceClassification(config).cuda().train()


def batches(draw: random.Random) -> list[dict[str, torch.Tensor]]:
    """Return the batches of all steps."""
    lengths = draw.sample([8, 16, 24], draw.choice([1, 1, 3]))
    found = []
    for _ in range(STEPS):
        ids = torch.tensor([[draw.randrange(100) for _ in range(length)] for length in [draw.choice(lengths)] * 8])
        found.append({"input_ids": ids.cuda(), "labels": (ids[:, 0] % 2).cuda()})
    return found


def run(model: Any, data: list[Any], settings: dict[str, Any], spare: int | None, *, graph: bool) -> tuple[Any, ...]:
    """Train; return losses, what each event moved, and graphs captured, captured again."""
    config = FlexLoRAConfig(total_steps=STEPS, warmup_steps=0, final_steps=0, schedule="constant", **settings)
    adapter = attach(model, config, spare_slots=spare)
    optimizer = torch.optim.AdamW(adapter.trainable_parameters(), lr=5e-3, fused=True)
    falling = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: 1.0 - t / (2 * STEPS))
    allocator = RankAllocator(adapter, optimizer, config)
    step = GraphedStep(model, adapter, optimizer, allocator=allocator) if graph else None
    losses, moved = [], []
    for t, batch in enumerate(data, start=1):
        if step is not None:
            loss = step(batch)
        else:
            optimizer.zero_grad()
            loss = model(**batch).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(adapter.trainable_parameters(), 1.0)
            adapter.add_regularization_gradient()
            optimizer.step()
        losses.append(loss.item())
        event = allocator.step(t)
        moved.append(None if event is None else (event.prune, event.extend))
        falling.step()
    return losses, moved, (step.captures, step.recaptures, step.told) if step is not None else None


class Rows(torch.utils.data.Dataset):
    """A fixed set of sentences."""

    def __len__(self) -> int:
        return 64

    def __getitem__(self, index: int) -> dict[str, Any]:
        ids = torch.randint(3, 100, (16,), generator=torch.Generator().manual_seed(index))
        return {"input_ids": ids, "labels": int(ids[0]) % 2}


def run_trainer(kind: type[Trainer], model: Any, folder: Path) -> tuple[Any, ...]:
    """Train by a Trainer; return losses, ranks of each event, and graphs captured."""
    callback = FlexLoRACallback(model, FlexLoRAConfig(initial_rank=4, initial_budget=3, interval=5), folder / "run")
    arguments = TrainingArguments(
        str(folder / "out"), max_steps=STEPS, per_device_train_batch_size=8, learning_rate=5e-3, report_to=[], seed=1,
        disable_tqdm=True, save_strategy="no", tf32=False,
    )  # fmt: skip
    trainer = kind(model=model, args=arguments, train_dataset=Rows(), callbacks=[callback])
    trainer.train()
    log = read_run(folder / "run")
    replays = getattr(trainer, "replays", None)
    moved = [(event["prune"], event["extend"]) for event in log.events]
    names = [tuple([move["matrix"] for move in half] for half in event) for event in moved]
    captured = None if replays is None else (replays.captures, replays.recaptures, replays.told)
    return log.steps["task_loss"].tolist(), names, captured


def main() -> None:
    """Run the rounds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.use_deterministic_algorithms(True, warn_only=True)
    worst, others = 0.0, 0
    for number in range(options.rounds):
        draw = random.Random(f"{options.seed} {number}")
        model = drawn_model(draw)
        pair = copy.deepcopy(model), model
        if number % 4 == 3:
            with tempfile.TemporaryDirectory() as folder:
                kinds = ((Trainer, "a"), (GraphedTrainer, "b"))
                found = [run_trainer(kind, own, Path(folder) / name) for own, (kind, name) in zip(pair, kinds)]  # noqa: B905
        else:
            settings = {
                "initial_rank": draw.choice([2, 4]), "interval": draw.choice([3, 7]),
                "initial_budget": draw.choice([1, 4]), "seed": number,
            }  # fmt: skip
            data, spare = batches(draw), draw.choice([None, 0, 2])
            found = [run(own, data, settings, spare, graph=graph) for own, graph in zip(pair, (False, True))]  # noqa: B905
        (losses, moved, _), (replayed, again, captured) = found
        apart = max(abs(one - other) for one, other in zip(losses, replayed, strict=True))
        worst, others = max(worst, apart), others + (moved != again)
        events = sum(move is not None for move in moved)
        told = f"{events} events {'the same' if moved == again else 'OTHER'}; captured {captured}"
        print(f"round {number}: losses differ by {apart:.1e}, {told}", flush=True)
    print(f"{options.rounds} rounds: losses differ by {worst:.1e} at most, {others} rounds moved something else")
    raise SystemExit(worst > EXACT or others > 0)


if __name__ == "__main__":
    main()

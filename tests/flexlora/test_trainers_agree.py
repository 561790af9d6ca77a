"""Whoever makes the steps: the same seed and the same data give the same λ and the same events, also when resumed."""

from __future__ import annotations

import random
from functools import partial

import accelerate
import pytest
import torch
import transformers as tf
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerCallback, TrainingArguments, default_data_collator

from flexlora import FlexLoRAConfig, RankAllocator, attach
from flexlora.integrations import FlexLoRACallback, GraphedTrainer, Recorder

STEPS, BATCH = 18, 4


def settings(draw):
    return FlexLoRAConfig(
        initial_rank=draw.randint(2, 4), total_steps=STEPS, warmup_steps=2, final_steps=3, interval=draw.randint(1, 4),
        initial_budget=draw.randint(1, 4), schedule="constant", seed=draw.randrange(100),
        importance=draw.choice(["spectral_entropy", "nuclear_norm"]),
    )  # fmt: skip


def model():
    torch.manual_seed(0)
    config = tf.BertConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, vocab_size=64,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    return tf.BertForSequenceClassification(config)


def rows():
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(3, 60, (BATCH * STEPS, 8), generator=generator)
    return [{"input_ids": own, "labels": int(own[0] % 2)} for own in ids]


def batches():
    return DataLoader(rows(), batch_size=BATCH, collate_fn=default_data_collator)


def seen(adapter, moves):
    return {name: values.tolist() for name, values in adapter.singular_values().items()}, moves


def told(event):
    return event.step, [move["matrix"] for move in event.prune], [move["matrix"] for move in event.extend]


def own_loop(config, kind="plain"):
    """A loop of one's own: with the allocator alone, with ``Recorder``, or with what accelerate prepares."""
    adapter = attach(model(), config)
    optimizer = torch.optim.AdamW(adapter.trainable_parameters(), lr=1e-2, weight_decay=0.0)
    net, loader = adapter.model, batches()
    recorder, allocator = None, None
    if kind == "accelerate":
        accelerator = accelerate.Accelerator(cpu=True)
        net, optimizer, loader = accelerator.prepare(net, optimizer, loader)
    if kind == "plain":
        allocator = RankAllocator(adapter, optimizer, config)
    else:
        recorder = Recorder(adapter, optimizer, config, None)
        allocator = recorder.allocator
    moves = []
    for step, batch in enumerate(loader, 1):
        loss = net(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(adapter.trainable_parameters(), 1.0)
        regularizer = adapter.add_regularization_gradient()
        optimizer.step()
        if recorder is None:
            allocator.step(step)
        else:
            recorder.step(step, loss, regularizer)
        if config.is_event(step):
            moves.append(told(allocator.last))
        optimizer.zero_grad()
    if recorder is not None:
        recorder.close()
    return seen(adapter, moves)


class Watch(TrainerCallback):
    def __init__(self, callback):
        self.callback, self.moves = callback, []

    def on_step_end(self, args, state, control, **more):
        if self.callback.config.is_event(state.global_step):
            self.moves.append(told(self.callback.recorder.allocator.last))


def trainer(config, folder, kind=Trainer, stop_at=None, ready=True):
    """The stock Trainer, or one of ours; ``stop_at`` = interrupted there and resumed from its checkpoint."""

    class InOrder(kind):
        def get_train_dataloader(self):
            return self.accelerator.prepare(batches())

    args = TrainingArguments(
        str(folder / "out"), max_steps=STEPS, per_device_train_batch_size=BATCH, learning_rate=1e-2,
        optim="adamw_torch", lr_scheduler_type="constant", weight_decay=0.0, max_grad_norm=1.0, use_cpu=True,
        report_to=[], disable_tqdm=True, save_strategy="steps" if stop_at else "no", save_steps=stop_at or 500,
        logging_strategy="no", remove_unused_columns=False,
    )  # fmt: skip

    class Stop(TrainerCallback):
        def on_save(self, args, state, control, **more):
            control.should_training_stop = True

    moves = []
    for resume in (None, str(folder / "out" / f"checkpoint-{stop_at}")) if stop_at else (None,):
        own = model()
        adapted = attach(own, config) if ready else own
        callback = FlexLoRACallback(adapted) if ready else FlexLoRACallback(own, config)
        watch = Watch(callback)
        callbacks = [callback, watch, *([Stop()] if stop_at and not resume else [])]
        InOrder(model=own, args=args, train_dataset=rows(), callbacks=callbacks).train(resume_from_checkpoint=resume)
        moves += watch.moves
    return seen(callback.adapter, moves)


WAYS = {
    "Recorder": lambda config, folder: own_loop(config, "recorder"),
    "accelerate": lambda config, folder: own_loop(config, "accelerate"),
    "Trainer": trainer,
    "Trainer, model given to the callback": partial(trainer, ready=False),
    "GraphedTrainer without a GPU": partial(trainer, kind=GraphedTrainer),
    "Trainer, resumed": partial(trainer, stop_at=7),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.filterwarnings("ignore::flexlora.errors.FlexLoRAWarning", "ignore::UserWarning")
def test_the_same_seed_and_data_give_the_same_values_and_events(way, tmp_path):
    config = settings(random.Random())
    expected = own_loop(config)
    assert len(expected[1]) == len(config.event_steps()) and any(prune for _, prune, _ in expected[1])
    assert WAYS[way](config, tmp_path) == expected, config

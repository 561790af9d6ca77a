"""A tiny data set and arguments for the stock Trainer."""

from __future__ import annotations

import torch
from transformers import TrainingArguments

STEPS = 24
WINDOW = {"warmup_steps": 2, "final_steps": 4, "interval": 3}
SETTINGS = {"initial_rank": 4, **WINDOW, "initial_budget": 3, "schedule": "constant"}


class Rows(torch.utils.data.Dataset):
    def __init__(self, kind, count=64):
        generator = torch.Generator().manual_seed(3)
        self.rows = []
        for index in range(count):
            label = index % 2
            if kind == "vit":
                pixels = torch.randn(1, 8, 8, generator=generator) + label
                self.rows.append({"pixel_values": pixels, "labels": label})
                continue
            ids = torch.randint(3, 30, (8,), generator=generator) + 25 * label
            self.rows.append({"input_ids": ids, "labels": ids.clone() if kind == "llama" else label})

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return self.rows[index]


def arguments(folder, **more):
    settings = {
        "max_steps": STEPS,
        "per_device_train_batch_size": 4,
        "learning_rate": 5e-3,
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "logging_steps": 5,
        "use_cpu": True,
        "dataloader_pin_memory": False,
        "seed": 1,
    }
    return TrainingArguments(str(folder), **{**settings, **more})

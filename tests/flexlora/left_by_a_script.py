"""A script whose training is left in step 5: folder, door and how it ends are its arguments."""

import sys
from pathlib import Path

import torch
from peft import get_peft_model
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainerCallback, TrainingArguments

from flexlora import FlexLoRAConfig
from flexlora.integrations import FlexLoRACallback
from flexlora.peft import FlexLoRACallback as PeftCallback
from flexlora.peft import FlexLoRAConfig as PeftConfig

place, door, way = sys.argv[1:]
folder = Path(place)


class Leaves(TrainerCallback):
    def on_step_begin(self, args, state, control, **more):
        if state.global_step == 5:
            if way == "exit":
                sys.exit(3)
            raise RuntimeError("boom") if way == "error" else KeyboardInterrupt


torch.manual_seed(0)
model = BertForSequenceClassification(
    BertConfig(vocab_size=20, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
)
if door == "attach":
    callback = FlexLoRACallback(model, FlexLoRAConfig(initial_rank=2), folder / "run")
else:
    model = get_peft_model(model, PeftConfig(task_type="SEQ_CLS", r=2, method=door))
    callback = PeftCallback(folder / "run")
arguments = TrainingArguments(
    str(folder / "out"), max_steps=20, report_to=[], save_strategy="no", use_cpu=True, disable_tqdm=True
)
rows = [{"input_ids": torch.arange(4), "labels": 0}] * 64
Trainer(model, arguments, train_dataset=rows, callbacks=[callback, Leaves()]).train()

"""Scripts whose training is left in step 5: folder, door and how it ends, three arguments each.

Each is a process of its own to its very end; what they import is imported once. Prints with which codes they ended.
"""

import json
import os
import sys
from pathlib import Path

import torch
import torch._dynamo  # by the first optimizer otherwise, in each
from peft import get_peft_model
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainerCallback, TrainingArguments

from flexlora import FlexLoRAConfig
from flexlora.integrations import FlexLoRACallback
from flexlora.peft import FlexLoRACallback as PeftCallback
from flexlora.peft import FlexLoRAConfig as PeftConfig

codes = []
for number in range(1, len(sys.argv), 3):
    place, door, way = sys.argv[number : number + 3]
    child = os.fork()
    if not child:
        break
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
else:
    sys.exit(print(json.dumps(codes)))
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

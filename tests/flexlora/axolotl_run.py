"""A tiny Llama under Axolotl's own ``train`` with the plug-in: ``python axolotl_run.py FOLDER OUT [CHECKPOINT]``."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

SETTINGS = {"initial_budget": 2, "interval": 2, "warmup_steps": 2, "final_steps": 4, "initial_std": 0.1}


def make_base(folder: Path) -> None:
    """A model, a tokenizer of whole words, and 200 lines of them."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(0)
    sizes = {"vocab_size": 60, "hidden_size": 32, "intermediate_size": 64, "max_position_embeddings": 64}
    heads = {"num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1}
    special = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    LlamaForCausalLM(LlamaConfig(**sizes, **heads, **ids)).save_pretrained(folder / "base")
    words = [*special.values(), *(f"w{number}" for number in range(56))]
    found = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="<unk>"))
    found.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=found, **special).save_pretrained(folder / "base")
    draw = random.Random(0)
    lines = [json.dumps({"text": " ".join(f"w{draw.randrange(56)}" for _ in range(16))}) for _ in range(200)]
    (folder / "data.jsonl").write_text("\n".join(lines), encoding="utf-8")


def main(folder: Path, out: Path, checkpoint: str | None) -> None:
    import torch
    from axolotl.cli.config import prepare_plugins
    from axolotl.common.datasets import load_datasets
    from axolotl.train import train
    from axolotl.utils.config import normalize_config, validate_config
    from axolotl.utils.dict import DictDefault

    if not (folder / "base").exists():
        make_base(folder)
    data = {"path": str(folder / "data.jsonl"), "type": "completion", "ds_type": "json"}
    cfg = DictDefault(
        plugins=["flexlora.integrations.axolotl.FlexLoRAPlugin"], adapter="flexlora", flexlora=SETTINGS,
        lora_r=4, lora_alpha=8, lora_target_linear=True, base_model=str(folder / "base"), datasets=[data],
        output_dir=str(out), dataset_prepared_path=str(folder / "prepared"), sequence_len=32, micro_batch_size=2,
        gradient_accumulation_steps=1, max_steps=20, save_steps=10, logging_steps=1, learning_rate=1e-3, seed=7,
        optimizer="adamw_torch", lr_scheduler="constant", bf16=False, fp16=False, tf32=False, use_cpu=True,
        dataset_num_proc=1, dataloader_num_workers=1, dataloader_prefetch_factor=2, resume_from_checkpoint=checkpoint,
    )  # fmt: skip
    prepare_plugins(cfg)
    here = {"bf16": False, "fp8": False, "tf32": False, "n_gpu": 0, "compute_capability": ""}
    cfg = validate_config(cfg, capabilities=here, env_capabilities={"torch_version": torch.__version__.split("+")[0]})
    normalize_config(cfg)
    model, _, trainer = train(cfg, load_datasets(cfg=cfg))
    ids = torch.arange(4, 20).reshape(2, 8)
    with torch.no_grad():
        logits = model.eval()(ids).logits
    losses = {entry["step"]: entry["loss"] for entry in trainer.state.log_history if "loss" in entry}
    (out / "seen.json").write_text(json.dumps({"logits": logits.tolist(), "losses": losses}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else None)

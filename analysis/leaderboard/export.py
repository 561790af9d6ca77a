"""``result_of``: a run log in the layout of PEFT's result files, so that it stands in their table."""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import numpy as np

from analysis.metrics import final_ranks
from analysis.runs import Run
from flexlora import budgets
from flexlora.errors import FlexLoRAError
from flexlora.study.files import json_bytes

FLOAT_BYTES = 4
STATES = {"finished": "success", "failed": "failed"}
PLAIN_LORA = {
    **dict.fromkeys(("task_type", "auto_mapping", "revision", "exclude_modules", "modules_to_save", "fan_in_fan_out")),
    **dict.fromkeys(("layers_to_transform", "layers_pattern", "megatron_config", "trainable_token_indices")),
    **dict.fromkeys(("eva_config", "corda_config", "lora_ga_config", "velora_config", "monteclora_config")),
    **dict.fromkeys(("alora_invocation_tokens", "layer_replication", "target_parameters", "use_bdlora")),
    **dict.fromkeys(("arrow_config", "kasa_config")),
    **dict.fromkeys(
        ("inference_mode", "use_rslora", "use_dora", "use_qalora", "lora_bias", "ensure_weight_tying"), False
    ),
    "lora_dropout": 0.0,
    "bias": "none",
    "init_lora_weights": True,
    "megatron_core": "megatron.core",
    "loftq_config": {},
    "qalora_group_size": 16,
}
"""What PEFT's LoRA configuration has besides ranks, scales and targets, at its defaults; null = not in a run log."""


def result_files(runs: Iterable[Run]) -> dict[str, bytes]:
    """Return file name → content of a result file for each run.

    Raises:
        FlexLoRAError: as ``result_of``, or two runs that their table would take for one.
    """
    contents: dict[str, bytes] = {}
    for run in runs:
        content = result_of(run)
        stem = re.sub(r"[^A-Za-z0-9._-]+", "-", content["run_info"]["experiment_name"].replace("/", "--"))
        name = f"{stem}--seed{content['run_info']['train_config']['seed']}.json"
        if name in contents:
            raise FlexLoRAError(f"{run.folder}: another of the runs has the same method, task, rank, rate and seed.")
        contents[name] = json_bytes(json.loads(json.dumps(content)))
    return contents


def result_of(run: Run) -> dict[str, Any]:
    """Return the content of a result file.

    What their table has and a run log does not is null; counts that their reader turns into whole numbers are 0 where
    nothing was counted: tokens, and accelerator memory of a run on the CPU.

    Raises:
        FlexLoRAError: a log that was imported and names no configuration, or has no test accuracy.
    """
    config, header = run.config, run.header
    if "task" not in config or "learning_rate" not in config:
        raise FlexLoRAError(f"{run.folder} names no configuration: it was not made by this project's loop.")
    if run.state == "finished" and "test/accuracy" not in run.metrics:
        raise FlexLoRAError(f"{run.folder} has no test accuracy, which their table is sorted by.")
    end = run.end or {}
    created = datetime.fromtimestamp(header.get("created_unix_s") or 0, UTC)
    return {
        "run_info": {
            "created_at": created.isoformat(timespec="seconds"),
            "total_time": end.get("wall_s"),
            "experiment_name": experiment_name(run),
            "peft_branch": None,
            "peft_worktree_is_dirty": None,
            "train_config": _train_config(run),
            "peft_config": _peft_config(run),
            "error_msg": str(end.get("message") or "") if run.state == "failed" else "",
        },
        "train_info": _train_info(run),
        "meta_info": {
            "model_info": {"sha": None, "created_at": None},
            "dataset_info": {str(header.get("task")): {"sha": None, "created_at": None}},
            "package_info": _packages(header.get("versions") or {}),
            "system_info": {
                "system": platform.system(),
                "release": None,
                "version": None,
                "machine": platform.machine(),
                "processor": None,
                "accelerator": None if str(header.get("device")) == "cpu" else str(header.get("device")),
            },
            "pytorch_info": None,
        },
    }


def experiment_name(run: Run) -> str:
    """Return ``method/task-preset-rankR``: the same for runs that differ in their seed only."""
    config = run.config
    rank = config.get("target_rank") or config.get("initial_rank")
    return f"{config['method']}/{config['task']}-{config.get('preset')}-rank{rank:g}-lr_{config['learning_rate']:g}"


def _train_config(run: Run) -> dict[str, Any]:
    config = run.config
    return {
        "model_id": config.get("model") or run.header.get("model"),
        "dtype": {"bf16": "bfloat16"}.get(str(config.get("dtype")), "float32"),
        "max_seq_length": config.get("max_tokens"),
        "batch_size": config.get("batch_size"),
        "batch_size_eval": None,
        "max_steps": run.total_steps,
        "eval_steps": config.get("eval_interval"),
        "compile": False,
        "use_gc": False,
        "query_template": None,
        "seed": config.get("seed"),
        "grad_norm_clip": config.get("max_grad_norm"),
        "optimizer_type": "AdamW",
        "optimizer_kwargs": {"lr": config.get("learning_rate"), "weight_decay": config.get("weight_decay")},
        "lr_scheduler": config.get("lr_decay"),
        "use_amp": config.get("precision") == "bf16",
        "autocast_adapter_dtype": None,
        "generation_kwargs": {},
        "attn_implementation": None,
        "init_kv_cache_prefix": None,
    }


def _peft_config(run: Run) -> dict[str, Any]:
    """Return the plain LoRA that the trained adapter exports to."""
    config, ranks = run.config, final_ranks(run).tolist()
    scale = run.scale or 1.0
    pairs = [(matrix.name, rank) for matrix, rank in zip(run.matrices, ranks, strict=True) if rank]
    return {
        **PLAIN_LORA,
        "peft_type": "LORA",
        "peft_version": (run.header.get("versions") or {}).get("peft"),
        "base_model_name_or_path": config.get("model") or run.header.get("model"),
        "r": config.get("initial_rank"),
        "lora_alpha": config.get("alpha"),
        "target_modules": [name for name, _ in pairs],
        "rank_pattern": dict(pairs),
        "alpha_pattern": {name: scale * rank for name, rank in pairs},
        "flexlora": {key: value for key, value in config.items() if key not in ("model", "data")},
    }


def _train_info(run: Run) -> dict[str, Any]:
    steps, config = run.log.steps, run.config
    device = str(run.header.get("device"))
    memory = steps["memory_bytes"][np.isfinite(steps["memory_bytes"])] if device != "cpu" else np.zeros(0)
    parameters = int(run.ranks[0] @ budgets.direction_costs(run.log)) if len(run.steps) else 0
    peak = (run.end or {}).get("peak_memory_bytes") if device != "cpu" else 0
    return {
        "accelerator_memory_reserved_avg": int(memory.mean()) if len(memory) else 0,
        "accelerator_memory_max": int(peak or 0),
        "accelerator_memory_reserved_99th": int(np.percentile(memory, 99)) if len(memory) else 0,
        "train_time": budgets.train_seconds(run.log),
        "file_size": FLOAT_BYTES * budgets.final_parameters(run.log),
        "num_trainable_params": parameters,
        "num_total_params": None,
        "status": STATES.get(run.state, "canceled"),
        "metrics": _metrics(run, int(config.get("batch_size") or 0)),
    }


def _metrics(run: Run, batch: int) -> list[dict[str, Any]]:
    steps = run.log.steps
    times, losses = np.nan_to_num(steps["step_s"]).cumsum(), steps["task_loss"]
    on_cpu = str(run.header.get("device")) == "cpu"

    def common(step: int) -> dict[str, Any]:
        seen = int(np.searchsorted(steps["step"], step, side="right"))
        recent = losses[max(0, seen - 50) : seen]
        recent = recent[np.isfinite(recent)]
        return {
            "train loss": float(recent.mean()) if len(recent) else None,
            "train samples": step * batch,
            "elapsed time": float(times[seen - 1]) if seen else 0.0,
        }

    def since(before: int, step: int) -> dict[str, Any]:
        own = slice(*np.searchsorted(steps["step"], (before, step), side="right"))
        memory = steps["memory_bytes"][own]
        memory = memory[np.isfinite(memory)]
        return {
            "train time": float(np.nan_to_num(steps["step_s"][own]).sum()),
            "tokens / sec": None,
            "mem allocated avg": None,
            "mem reserved avg": float(memory.mean()) if len(memory) and not on_cpu else None,
        }

    found, before = [], 0
    for record in run.evals:
        accuracy = record["metrics"].get("accuracy")
        if accuracy is None:
            continue
        step = int(record["step"])
        if record["split"] == "validation":
            row = {"step": step, "valid accuracy": accuracy, "eval time": record.get("wall_s")}
            found.append({**row, **since(before, step), **common(step)})
            before = step
        elif record["split"] == "test":
            row = {"step": step, "test accuracy": accuracy, **common(step)}
            found.append({**row, "train total tokens": 0, "forgetting": None})
    return found


def _packages(versions: dict[str, Any]) -> dict[str, Any]:
    names = ("transformers", "peft", "datasets", "bitsandbytes", "torch")
    known = {f"{name}-version": versions.get(name) for name in names}
    return {
        **known,
        **{f"{name}-commit-hash": None for name in names},
        "flexlora-version": versions.get("flexlora-lab"),
    }

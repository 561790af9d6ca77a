"""How long one job takes, with everything logged, against a bare PEFT LoRA loop on the same batches.

    python benchmarks/job_speed.py [--task words] [--repeat 3]

Both train the same model on the same batches in the same order with the same thread count, in turn (A B A B), so that
a slow moment of the machine hits both. The job includes logging, events, live evaluations and checkpoints.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from flexlora.job import Job, build_job
from flexlora.loop import run_job
from flexlora.run_log import read_run
from flexlora.tasks import load_task
from flexlora.tasks.data import batch_indices


def time_job(job: Job) -> tuple[float, float]:
    """Return the seconds from the first to the last step and the log's updates a second."""
    stamps: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        run_job(job, Path(folder) / "run", progress=lambda step, result: stamps.append(time.perf_counter()))
        flushes = len(
            [line for line in (Path(folder) / "run" / "crc.jsonl").read_text().splitlines() if "spectra" in line]
        )
        assert read_run(Path(folder) / "run").state == "finished"
    elapsed = stamps[-1] - stamps[0]
    return elapsed, flushes / elapsed


def time_peft(job: Job) -> float:
    """Return the seconds from the first to the last step of a bare loop around PEFT's LoRA."""
    torch.manual_seed(0)
    torch.set_num_threads(job.loop.threads)
    data = load_task(job.task, 0)
    targets = list(job.config.target_modules or ("q_proj", "k_proj", "v_proj", "o_proj", "fc1", "fc2"))
    config = LoraConfig(
        r=job.config.initial_rank,
        lora_alpha=int(job.config.alpha),
        target_modules=targets,
        exclude_modules=r".*pooler.*",
        modules_to_save=["classifier"],
    )
    model = get_peft_model(data.model, config)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3, fused=True)
    model.train()
    stamps = []
    for step in range(1, job.steps + 1):
        batch = data.train.batch(batch_indices(len(data.train), job.loop.batch_size or 1, step, 0))
        loss = model(**batch).loss
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        float(loss.detach())
        optimizer.step()
        optimizer.zero_grad()
        stamps.append(time.perf_counter())
    return stamps[-1] - stamps[0]


def main() -> None:
    """Print one line a task."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", action="append", choices=("words", "digits"))
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    for task in options.task or ("words", "digits"):
        job = build_job(task, "flexlora", seed=0)
        ours, rates, theirs = [], [], []
        for _ in range(options.repeat):
            seconds, rate = time_job(job)
            ours.append(seconds)
            rates.append(rate)
            theirs.append(time_peft(job))
        ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
        print(
            f"{task}: {job.steps} steps, first to last: job {statistics.median(ours):.1f} s "
            f"({statistics.median(rates):.1f} log updates a second), bare PEFT LoRA {statistics.median(theirs):.1f} s, "
            f"ratio {ratio:.2f} (median of {options.repeat})",
            flush=True,
        )


if __name__ == "__main__":
    main()

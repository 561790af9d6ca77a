"""Whether the bias correction of new directions makes a GPU wait, and what it costs a step.

    python benchmarks/young_directions.py [--matrices 224] [--width 2048]

Fused AdamW keeps its step counts on the device. torch is told to refuse every synchronisation during the step.
"""

from __future__ import annotations

import argparse
import time

import torch
from torch import nn

from flexlora import FlexLoRAConfig, attach
from flexlora.initializers import NEW_DIRECTIONS
from flexlora.moves import Moves


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--matrices", type=int, default=224)
    parser.add_argument("--width", type=int, default=2048)
    options = parser.parse_args()
    model = nn.Sequential(*(nn.Linear(options.width, options.width) for _ in range(options.matrices))).cuda()
    adapter = attach(model, FlexLoRAConfig(initial_rank=8, total_steps=1000))
    optimizer = torch.optim.AdamW(adapter.trainable_parameters(), lr=1e-3, fused=True)
    moves = Moves(adapter, optimizer)

    def steps(count: int) -> float:
        for parameter in adapter.trainable_parameters():
            parameter.grad = torch.ones_like(parameter)
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        began = time.perf_counter()
        for _ in range(count):
            optimizer.step()
        torch.cuda.set_sync_debug_mode("default")
        torch.cuda.synchronize()
        return (time.perf_counter() - began) / count * 1e3

    steps(20)
    old = steps(100)
    for name in adapter.matrices:
        moves.extend(name, NEW_DIRECTIONS["zero_impact"], None, 0, 120)
    steps(5)
    print(f"no synchronisation; {old:.2f} ms a step without young directions, {steps(100):.2f} ms with one in each of")
    print(f"{options.matrices} matrices of width {options.width}")
    first = next(iter(adapter.matrices.values()))
    before = first.lam.detach().clone()
    moves.prune(first.name, 8)
    slot = moves.extend(first.name, NEW_DIRECTIONS["zero_impact"], None, 0, 230)["slot"]
    before = first.lam.detach().clone()
    steps(1)
    print(
        f"first step of a new direction: {(first.lam - before)[slot].abs().item() / 1e-3:.4f} learning rates (right: 1)"
    )


if __name__ == "__main__":
    main()

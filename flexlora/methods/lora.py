"""LoRA (Hu et al. 2021) on the same adapter: ΔW = (alpha / r) B A with B = P, A = Q and λ frozen at 1."""

from __future__ import annotations

import torch
from torch import nn

from flexlora.adapter import Adapter, attach_directions
from flexlora.adapter_config import AdapterConfig
from flexlora.initializers import Generator, kaiming_uniform
from flexlora.linear import FlexLoRALinear
from flexlora.methods.dynamics import Dynamics

dynamics = Dynamics


def start(matrix: FlexLoRALinear, generator: Generator) -> None:
    """Fill every slot as LoRA starts: A Kaiming-uniform(a = √5), that is U(−1/√in, 1/√in), B = 0 and λ = 1."""
    rows = kaiming_uniform(matrix.Q.shape, generator)
    for slot in range(matrix.capacity):
        matrix.fill(slot, torch.zeros(matrix.out_features), 1.0, rows[slot])


def attach(model: nn.Module, config: AdapterConfig) -> Adapter:
    """Adapt a model with plain LoRA; the output does not change."""
    adapter = attach_directions(model, config, start)
    for matrix in adapter.matrices.values():
        matrix.lam.requires_grad_(False)
    return adapter

"""LoRA (Hu et al. 2021) on the same adapter: ΔW = (alpha / r) B A with B = P, A = Q and λ frozen at 1."""

from __future__ import annotations

import math

import torch
from torch import nn

from flexlora.adapter import Adapter
from flexlora.adapter import attach as attach_directions
from flexlora.config import FlexLoRAConfig
from flexlora.initializers import direction_generator


def attach(model: nn.Module, config: FlexLoRAConfig) -> Adapter:
    """Adapt a model with plain LoRA: A Kaiming-uniform(a = √5), that is U(−1/√in, 1/√in), and B = 0."""
    adapter = attach_directions(model, config.replace(max_rank=config.initial_rank))
    for index, matrix in enumerate(adapter.matrices.values()):
        bound = 1.0 / math.sqrt(matrix.in_features)
        generator = direction_generator(config.seed, 0, index)
        with torch.no_grad():
            matrix.Q.copy_((torch.rand(matrix.Q.shape, generator=generator) * 2.0 - 1.0) * bound)
            matrix.Pt.zero_()
            matrix.lam.fill_(1.0)
        matrix.lam.requires_grad_(False)
    return adapter

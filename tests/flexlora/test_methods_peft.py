"""LoRA and AdaLoRA against PEFT's own classes: the same seed, data and order."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from peft import AdaLoraConfig, LoraConfig, get_peft_model

from flexlora.job import build_job
from flexlora.methods.adalora import AdaLoRADynamics
from flexlora.session import Session
from flexlora.tasks import load_task
from flexlora.tasks.data import batch_indices

STEPS = 40
SMALL = {"max_grad_norm": 1e9, "target_modules": "q_proj,v_proj,mlp.fc1"}
ROUNDING = 1e-5
"""Relative: fp32 in two orders of summation, spread by 40 steps of training; 3e-7 was seen for LoRA."""


class Peer:
    """PEFT's adapter on a second copy of the model, trained by a plain loop in the order of our own."""

    def __init__(self, session: Session, config: LoraConfig) -> None:
        self.session = session
        model = load_task("digits", session.job.config.seed).model
        self.model = get_peft_model(model, config)
        self.modules = {name: model.get_submodule(name) for name in session.adapter.matrices}
        for name, matrix in session.adapter.matrices.items():
            self.copy(self.modules[name], matrix)
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=0.0, weight_decay=0.0, fused=True)

    @torch.no_grad()
    def copy(self, module, matrix) -> None:
        """Start from the same vectors."""
        if isinstance(module.lora_A, torch.nn.ParameterDict):
            module.lora_A["default"].copy_(matrix.Q)
            module.lora_B["default"].copy_(matrix.Pt.T)
        else:
            module.lora_A["default"].weight.copy_(matrix.Q)
            module.lora_B["default"].weight.copy_(matrix.Pt.T)

    def step(self, step: int) -> float:
        """Make one step up to ``optimizer.step()``; return the loss as PEFT reports it."""
        session = self.session
        rows = batch_indices(len(session.data.train), session.trained.samples_per_step, step, session.job.config.seed)
        for group in self.optimizer.param_groups:
            group["lr"] = session.set_learning_rate(step)
        self.model.train()
        # PeftModel.forward would go past AdaLoRA's, which adds the regulariser (peft issue 432).
        loss = self.model.base_model(**session.trained.batch(rows)).loss
        loss.backward()
        self.optimizer.step()
        return float(loss.detach())


def test_lora_has_the_losses_of_peft():
    session = Session(build_job("digits", "lora", steps=STEPS, settings=SMALL))
    names = list(session.adapter.matrices)
    config = LoraConfig(r=8, lora_alpha=16, target_modules=names, modules_to_save=["classifier"])
    peer = Peer(session, config)
    ours, theirs = [], []
    for step in range(1, STEPS + 1):
        ours.append(session.train_step(step).task_loss)
        session.finish_step()
        theirs.append(peer.step(step))
        peer.optimizer.zero_grad()
    assert ours[0] == pytest.approx(theirs[0], rel=1e-6)
    assert np.allclose(ours, theirs, rtol=ROUNDING)
    assert ours[-1] < 0.7 * ours[0]


def test_adalora_has_the_scores_the_budget_and_the_masks_of_peft():
    weight, warmup, interval, final = 0.05, 8, 4, 10
    settings = {"warmup_steps": warmup, "interval": interval, "final_steps": final, **SMALL}
    # Ours sums both factors of a matrix before it takes the mean, PEFT takes the mean over factors.
    job = build_job("digits", "adalora", steps=STEPS, settings={**settings, "regularization_weight": weight / 2})
    session = Session(job)
    names = list(session.adapter.matrices)
    config = AdaLoraConfig(
        init_r=12, target_r=8, lora_alpha=24, tinit=warmup, tfinal=final, deltaT=interval, total_step=STEPS,
        beta1=0.85, beta2=0.85, orth_reg_weight=weight, target_modules=names, modules_to_save=["classifier"],
    )  # fmt: skip
    peer = Peer(session, config)
    allocator = peer.model.base_model.rankallocator
    events = masked = 0
    for step in range(1, STEPS + 1):
        result = session.train_step(step)
        assert peer.step(step) == pytest.approx(result.task_loss + weight / 2 * result.regularizer, rel=ROUNDING)
        dynamics = session.dynamics
        assert isinstance(dynamics, AdaLoRADynamics)
        budget, _ = allocator.budget_schedule(step)
        pattern = peer.model.peft_config["default"].rank_pattern
        peer.model.base_model.update_and_allocate(step)
        fresh = peer.model.peft_config["default"].rank_pattern
        assert session.is_event(step) == (fresh is not pattern), step
        if session.is_event(step):
            events += 1
            assert dynamics.target_rank(step) == budget
            ours = session.event(step)
            for name in names:
                theirs = fresh[f"{name}.lora_E.default"]
                assert dynamics.on[name].tolist() == theirs, (step, name)
            assert ours.target_rank == budget
            masked = 12 * len(names) - dynamics.total_on()
        _same_scores(dynamics, allocator, step, STEPS - final)
        session.finish_step()
        peer.optimizer.zero_grad()
    assert events == 6
    assert masked == 4 * len(names)
    for name, matrix in session.adapter.matrices.items():
        theirs = peer.modules[name].lora_E["default"].flatten()
        assert torch.allclose(matrix.lam, theirs, rtol=1e-2, atol=1e-4), name
        assert torch.equal(matrix.lam == 0, theirs == 0)


def _same_scores(dynamics: AdaLoRADynamics, allocator, step: int, end: int) -> None:
    if step >= end:
        return
    for name, own in dynamics.scores().items():
        parts = {key: allocator._element_score(f"{name}.lora_{key}.default") for key in "AEB"}
        theirs = parts["E"].flatten() + (parts["A"].mean(dim=1) + parts["B"].mean(dim=0))
        assert np.allclose(own, theirs.numpy(), rtol=0.02, atol=1e-12), (step, name)

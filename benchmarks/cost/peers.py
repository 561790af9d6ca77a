"""Contestants: one way each to train a model's targeted matrices, under one recipe.

AdamW (fused), learning rate 1e-4, no weight decay, gradients clipped at norm 1, an event every
``shape.interval`` steps where a method has events.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from cost.models import build_model, make_batches, share_frozen
from cost.replay import Replay
from cost.shapes import CostError, Shape

CLIP = 1.0
ALPHA = 16
TOTAL_STEPS = 1_000_000
Batch = dict[str, Tensor]
VARIANTS = ("compile", "graph")


@dataclass
class Adapted:
    """A model with its trained parameters, before it has an optimizer.

    Attributes:
        model: what is called.
        parameters: what is trained; the optimizer's groups are read from then on, since a method may replace them.
        allocator: optimizer → f(t), called after every optimizer step t; None for a method without events.
        regularize: called between clipping and the optimizer.
        graphed: (optimizer, autocast's type or None) → f(batch) → loss, the method's own graph of a step; called after
            ``allocator``. None: it is captured as any peer's.
        adapter: flexlora's own.
    """

    model: nn.Module
    parameters: list[nn.Parameter]
    allocator: Callable[[torch.optim.Optimizer], Callable[[int], object]] | None = None
    regularize: Callable[[], object] | None = None
    graphed: Callable[[torch.optim.Optimizer, torch.dtype | None], Callable[[Batch], Tensor]] | None = None
    adapter: Any = None


class HandLoRA(nn.Module):
    """y = W x + s B A x in the plainest code: what a paper's appendix would print."""

    def __init__(self, base: nn.Linear, rank: int) -> None:
        super().__init__()
        self.base, self.scale = base, ALPHA / rank
        place = {"device": base.weight.device, "dtype": torch.float32}
        self.A = nn.Parameter(torch.randn(rank, base.in_features, **place) / math.sqrt(base.in_features))
        self.B = nn.Parameter(torch.zeros(base.out_features, rank, **place))

    def forward(self, x: Tensor) -> Tensor:
        """X (..., in) → (..., out)."""
        return self.base(x) + F.linear(F.linear(x, self.A), self.B) * self.scale


def targets(shape: Shape, model: nn.Module) -> list[tuple[nn.Module, str, nn.Linear]]:
    """Return parent, own name and layer of every matrix to adapt, in module order."""
    found = []
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and re.fullmatch(shape.pattern, name):
            parent, _, leaf = name.rpartition(".")
            found.append((model.get_submodule(parent), leaf, module))
    return found


def hand_lora(shape: Shape, model: nn.Module) -> Adapted:
    """LoRA written by hand."""
    for parent, leaf, module in targets(shape, model):
        setattr(parent, leaf, HandLoRA(module, shape.rank))
    return Adapted(model, _trained(model))


def floor(shape: Shape, model: nn.Module) -> Adapted:
    """No adapters, but the gradient of every output that an adapter would be added to, as each of them needs."""

    def ask(module: nn.Module, inputs: object, output: Tensor) -> None:
        if not output.requires_grad and torch.is_grad_enabled():
            output.requires_grad_(True)

    for _, _, module in targets(shape, model):
        module.register_forward_hook(ask)
    if not _trained(model):
        model.get_submodule("model.norm").weight.requires_grad_(True)
    return Adapted(model, _trained(model))


def peft_lora(shape: Shape, model: nn.Module) -> Adapted:
    """PEFT's LoRA without dropout."""
    import peft

    config = peft.LoraConfig(r=shape.rank, lora_alpha=ALPHA, lora_dropout=0.0, target_modules=shape.pattern)
    return _with_peft(model, config)


def peft_adalora(shape: Shape, model: nn.Module) -> Adapted:
    """PEFT's AdaLoRA: starts at 1.5 r, cuts towards r at events, in the middle of a long run."""
    import peft

    config = peft.AdaLoraConfig(
        init_r=shape.rank * 3 // 2, target_r=shape.rank, tinit=0, tfinal=10, deltaT=shape.interval,
        total_step=TOTAL_STEPS, lora_alpha=ALPHA, lora_dropout=0.0, orth_reg_weight=0.1, target_modules=shape.pattern,
    )  # fmt: skip
    found = _with_peft(model, config)
    # Without a task type PEFT's outer model passes by this one, and its regulariser with it.
    found.model = inner = found.model.get_submodule("base_model")
    found.allocator = lambda optimizer: inner.update_and_allocate  # pyright: ignore[reportAttributeAccessIssue]
    return found


def our_lora(shape: Shape, model: nn.Module) -> Adapted:
    """Flexlora's own LoRA: its layer with λ = 1, no events, no regulariser."""
    from flexlora.methods import METHODS, LoRAConfig

    config = LoRAConfig(target_modules=shape.targets, initial_rank=shape.rank, alpha=ALPHA, total_steps=TOTAL_STEPS)
    adapter = METHODS["lora"].attach(model, config)
    return Adapted(adapter.model, adapter.trainable_parameters(), adapter=adapter)


def flexlora(shape: Shape, model: nn.Module, *, spare_slots: int | None = None) -> Adapted:
    """FlexLoRA: four directions move at every event, regulariser 0.1."""
    from flexlora import FlexLoRAConfig, RankAllocator, attach

    config = FlexLoRAConfig(
        target_modules=shape.targets, initial_rank=shape.rank, alpha=ALPHA, total_steps=TOTAL_STEPS, warmup_steps=0,
        final_steps=0, interval=shape.interval, schedule="constant", initial_budget=4, regularization_weight=0.1,
    )  # fmt: skip
    adapter = attach(model, config, spare_slots=spare_slots)
    made: list[RankAllocator] = []

    def allocator(optimizer: torch.optim.Optimizer) -> Callable[[int], object]:
        made.append(RankAllocator(adapter, optimizer, config))
        return made[-1].step

    def graphed(optimizer: torch.optim.Optimizer, autocast: torch.dtype | None) -> Callable[[Batch], Tensor]:
        from flexlora.graphs import GraphedStep

        return GraphedStep(
            adapter.model, adapter, optimizer, allocator=made[-1] if made else None, clip=CLIP, autocast=autocast
        )

    return Adapted(
        adapter.model,
        adapter.trainable_parameters(),
        allocator=allocator,
        regularize=adapter.add_regularization_gradient,
        graphed=graphed,
        adapter=adapter,
    )


def flexlora_tight(shape: Shape, model: nn.Module) -> Adapted:
    """FlexLoRA that starts without empty slots: the memory of LoRA, and storage that doubles where rank arrives."""
    return flexlora(shape, model, spare_slots=0)


def flexlora_top(shape: Shape, model: nn.Module) -> Adapted:
    """FlexLoRA once all rank has left the lower half of the layers: rank stays so, no more events."""
    found = flexlora(shape, model)
    matrices = list(found.adapter.matrices.values())
    for matrix in matrices[: len(matrices) // 2]:
        for slot in list(matrix.slots):
            matrix.empty(slot)
    found.allocator = None
    return found


PEERS: dict[str, Callable[[Shape, nn.Module], Adapted]] = {
    make.__name__: make
    for make in (peft_lora, hand_lora, our_lora, flexlora, flexlora_tight, flexlora_top, peft_adalora, floor)
}
"""Name → f(shape, frozen model) → what is trained."""

USUAL = tuple(name for name in PEERS if name not in ("flexlora_tight", "flexlora_top"))
"""Who takes part where nobody is named."""


@dataclass
class Contestant:
    """One way to train one shape, ready to take steps.

    Attributes:
        name: its plain name with ``+compile`` or ``+graph``.
        model, optimizer, batches: its own, but for frozen matrices of the base.
        forward: a context for the forward pass.
        allocate: f(t) after optimizer step t, or None.
        regularize: between clipping and the optimizer, or None.
        replay: f(batch) → loss: a whole step without its event, where it is replayed as a graph.
        interval: steps between events.
        checkpointing: whether layers are computed again in the backward pass.
        t: finished optimizer steps.
    """

    name: str
    model: nn.Module
    optimizer: torch.optim.Optimizer
    batches: list[Batch]
    forward: Callable[[], AbstractContextManager[Any]]
    interval: int
    checkpointing: bool
    allocate: Callable[[int], object] | None = None
    regularize: Callable[[], object] | None = None
    replay: Callable[[Batch], Tensor] | None = None
    t: int = field(default=0)

    @property
    def batch(self) -> Batch:
        """The batch of the next step."""
        return self.batches[self.t % len(self.batches)]

    def parameters(self) -> list[nn.Parameter]:
        """What the optimizer trains now."""
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]

    def loss(self) -> Tensor:
        """Run the forward pass."""
        with self.forward():
            return self.model(**self.batch).loss

    def optimize(self) -> Tensor:
        """Take one optimizer step, gradients left in place; return the loss."""
        if self.replay is not None:
            loss = self.replay(self.batch)
        else:
            loss = self.loss()
            loss.backward()
            self.update()
        self.t += 1
        return loss

    def update(self) -> None:
        """Clip, regularise, and step the optimizer."""
        clip_grad_norm_(self.parameters(), CLIP)
        if self.regularize is not None:
            self.regularize()
        self.optimizer.step()

    def is_event(self) -> bool:
        """True when the step that was just taken is that of an event."""
        return self.allocate is not None and self.t % self.interval == 0

    def finish(self) -> None:
        """Let rank move if it is time, and drop the gradients."""
        if self.allocate is not None:
            self.allocate(self.t)
        # A graph writes into the gradients that it was captured with.
        if self.replay is None:
            self.optimizer.zero_grad(set_to_none=True)


def split_name(name: str) -> tuple[str, tuple[str, ...]]:
    """Return the plain name and the variants of ``flexlora+graph``.

    Raises:
        CostError: an unknown name or variant.
    """
    plain, *variants = name.split("+")
    if plain not in PEERS:
        raise CostError(f"there is no contestant {plain!r}; choose from: {', '.join(PEERS)}")
    for variant in variants:
        if variant not in VARIANTS:
            raise CostError(f"there is no variant {variant!r} of {plain}; choose from: {', '.join(VARIANTS)}")
    return plain, tuple(variants)


def build(name: str, shape: Shape, device: torch.device, frozen: dict[str, Tensor] | None = None) -> Contestant:
    """Build one contestant anew.

    Args:
        name: of the contestant, with its variants.
        shape: what it trains.
        device: where.
        frozen: matrices of the base that contestants share, by name; filled by the first. None: it has its own.

    Raises:
        CostError: the variant is not available here, and why.
    """
    plain, variants = split_name(name)
    graph = "graph" in variants
    if graph and device.type != "cuda":
        raise CostError("not available: graphs need a CUDA device")
    if graph and plain.startswith("flexlora") and find_spec("flexlora.graphs") is None:
        raise CostError("not available: this flexlora has no flexlora.graphs")
    torch.manual_seed(0)
    model = build_model(shape, device, static=graph)
    if frozen is not None:
        share_frozen(model, frozen)
    adapted = PEERS[plain](shape, model)
    adapted.model.train()
    how: dict[str, Any] = {"fused": True, "capturable": graph}
    optimizer = torch.optim.AdamW(adapted.parameters, lr=1e-4, weight_decay=0.0, **how)
    amp = shape.autocast and device.type == "cuda"
    contestant = Contestant(
        name=name,
        model=adapted.model,
        optimizer=optimizer,
        batches=make_batches(shape, device),
        forward=(lambda: torch.autocast("cuda", torch.bfloat16)) if amp else nullcontext,
        interval=shape.interval,
        checkpointing=shape.checkpointing,
        allocate=adapted.allocator(optimizer) if adapted.allocator else None,
        regularize=adapted.regularize,
    )
    if "compile" in variants:
        _compile(contestant.model)
    if graph:
        autocast = torch.bfloat16 if amp else None
        contestant.replay = adapted.graphed(optimizer, autocast) if adapted.graphed else Replay(contestant)
    return contestant


def _compile(model: nn.Module) -> None:
    import torch._dynamo

    # All contestants share the code of one kind of model: its graphs count against one limit.
    torch._dynamo.config.cache_size_limit = 64
    model.compile()


def _with_peft(model: nn.Module, config: Any) -> Adapted:
    import peft

    head = _trained(model)
    adapted = peft.get_peft_model(model, config)
    for parameter in head:
        parameter.requires_grad_(True)
    return Adapted(adapted, _trained(adapted))


def _trained(model: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]

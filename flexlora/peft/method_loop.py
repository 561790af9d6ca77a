"""``MethodLoop``: what a method does around training steps, hung on an optimizer that somebody else calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from flexlora.adapter import Adapter
from flexlora.adapter_config import AdapterConfig
from flexlora.errors import FlexLoRAError
from flexlora.event import Event
from flexlora.methods import METHODS
from flexlora.methods.dynamics import Dynamics
from flexlora.optimizer_state import around_steps, innermost

OWN_RATES = {"l1ra": "value_learning_rate", "salora": "gate_learning_rate"}
"""Method → option that holds the learning rate of what it does not train at the common one."""


class MethodLoop:
    """Runs the method of one adapter: ``before_forward`` in each step, ``update`` after each ``optimizer.step()``.

    The regulariser and the method's own term of the loss come in as gradients just before the optimizer's step, so that
    neither a loss nor a trainer needs to know of them.

    Attributes:
        dynamics: the method.
        done: finished optimizer steps.
        events: what was moved, one a finished event.
        regularizer: its unweighted value at the last step; None before.
        penalty: the method's own term of the loss there, weighted; None = it has none.
    """

    def __init__(self, adapter: Adapter, method: str, config: AdapterConfig, optimizer: Optimizer) -> None:
        """Hang on an optimizer.

        Raises:
            FlexLoRAError: it does not train the adapter, or ``total_steps`` is missing.
        """
        if config.total_steps is None:
            raise FlexLoRAError("total_steps is missing: FlexLoRAConfig(total_steps=...), or pass it to bind.")
        self.adapter, self.config = adapter, config
        self.optimizer = innermost(optimizer)
        trained = {id(parameter) for group in self.optimizer.param_groups for parameter in group["params"]}
        if not adapter.parameters():
            raise FlexLoRAError("Nothing of this adapter is trained: inference_mode=False, or is_trainable=True.")
        if not all(id(parameter) in trained for parameter in adapter.parameters()):
            raise FlexLoRAError(
                "The optimizer does not train this adapter: make it from the parameters of the PEFT model that require "
                "gradients, after get_peft_model and set_adapter."
            )
        self.dynamics: Dynamics[Any] = METHODS[method].dynamics(_trained(adapter, config))
        self.dynamics.bind(self.optimizer)
        self.events: list[Event] = []
        self.done = 0
        self.regularizer: Tensor | None = None
        self.penalty: Tensor | None = None
        self._prepared = 0
        self._rate: float | None = getattr(config, OWN_RATES[method]) if method in OWN_RATES else None
        own = list(self.dynamics.parameters().values())
        # Beside the optimizer, whose groups belong to its schedule and to its checkpoints.
        self._own = AdamW(own, lr=self._rate or 0.0, weight_decay=0.0) if own else None
        self._parted: list[tuple[dict[str, Any], list[nn.Parameter]]] = []
        self._end = around_steps(self.optimizer, self._before_optimizer, self._after_optimizer)

    def detach(self) -> None:
        """Let go of the optimizer."""
        self._end()
        if self.dynamics.young is not None:
            self.dynamics.young.detach()

    def before_forward(self) -> None:
        """Set what the next step needs, once for all forward passes of it."""
        if self._prepared <= self.done:
            self._prepared = self.done + 1
            self.dynamics.before_step(self._prepared)

    def update(self, step: int, record: Callable[..., None] | None = None) -> Event | None:
        """Let the method act after ``step`` finished optimizer steps, counted from 1; return its event, if any.

        ``record(step)`` is called before the event, and ``record(step, event)`` after it.

        Call it before ``zero_grad()``: some methods score gradients. After the last step it leaves the adapter as it
        should be saved.
        """
        self.dynamics.after_step(step)
        self.done = step
        if record is not None:
            record(step)
        event = None
        if self.dynamics.is_event(step):
            event = self.dynamics.event(step)
            self.events.append(event)
            if record is not None:
                record(step, event)
        if step == self.config.total_steps:
            self.dynamics.finish()
        return event

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Return what a checkpoint must keep beside P, λ, Q, masks and optimizer: JSON values, and tensors."""
        values, tensors = self.dynamics.state()
        own = {f"parameter.{name}": part.detach() for name, part in self.dynamics.parameters().items()}
        moments = {} if self._own is None else self._own.state
        for place, kept in enumerate(moments.values()):
            own |= {f"moment.{place}.{key}": torch.as_tensor(value) for key, value in kept.items()}
        kept = {"config": self.config.to_dict(), "dynamics": values, "done": self.done}
        masks = getattr(self.dynamics, "on", None)
        if masks is not None:
            kept["on"] = {name: mask.tolist() for name, mask in masks.items()}
        return kept, {**own, **{f"dynamics.{name}": part for name, part in tensors.items()}}

    @torch.no_grad()
    def restore(self, values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Take over what ``state`` returned.

        Raises:
            FlexLoRAError: the state belongs to other settings.
        """
        mine = self.config.to_dict()
        other = [
            f"{key}={value} (now {mine.get(key)})" for key, value in values["config"].items() if mine.get(key) != value
        ]
        if other:
            raise FlexLoRAError(
                f"The checkpoint was made with {', '.join(other)}. Resume with the same FlexLoRAConfig."
            )
        for place, (name, parameter) in enumerate(self.dynamics.parameters().items()):
            parameter.copy_(tensors[f"parameter.{name}"])
            prefix = f"moment.{place}."
            moments = {key.removeprefix(prefix): part for key, part in tensors.items() if key.startswith(prefix)}
            if moments and self._own is not None:
                self._own.state[parameter] = {
                    key: part.clone() if key == "step" else part.to(parameter) for key, part in moments.items()
                }
        own = {name.removeprefix("dynamics."): part for name, part in tensors.items() if name.startswith("dynamics.")}
        self.dynamics.restore(values["dynamics"], own)
        masks = getattr(self.dynamics, "on", {})
        for name, mask in values.get("on", {}).items():
            masks[name][:] = mask
        self.done = self._prepared = values["done"]

    def _before_optimizer(self) -> None:
        self.regularizer = self.adapter.add_regularization_gradient()
        self.penalty = self.dynamics.penalty(self.done + 1)
        if self.penalty is not None:
            self.penalty.backward()
        self._part()

    def _after_optimizer(self) -> None:
        self._join()
        if self._own is not None:
            self._own.step()
            self._own.zero_grad()

    def _part(self) -> None:
        """Let the adapter stand in groups of its own during the step; schedules and checkpoints see those they know.

        P, λ and Q have no weight decay, and λ the rate that the method wants for it.
        """
        self._join()  # a step that raised left them apart
        mine = {id(parameter) for parameter in self.adapter.parameters()}
        values = {id(matrix.lam) for matrix in self.adapter.matrices.values()} if self._apart_rate() else set()
        for group in list(self.optimizer.param_groups):
            params = group["params"]
            own = [parameter for parameter in params if id(parameter) in values]
            free = [p for p in params if id(p) in mine and id(p) not in values] if group.get("weight_decay") else []
            if own or free:
                self._parted.append((group, params))
                gone = {id(parameter) for parameter in (*own, *free)}
                group["params"] = [parameter for parameter in params if id(parameter) not in gone]
                self.optimizer.param_groups.append({**group, "params": free, "weight_decay": 0.0})
                rate = {"lr": self._rate} if own else {}
                self.optimizer.param_groups.append({**group, "params": own, "weight_decay": 0.0, **rate})

    def _join(self) -> None:
        if self._parted:
            del self.optimizer.param_groups[-2 * len(self._parted) :]
        for group, params in self._parted:
            group["params"] = params
        self._parted = []

    def _apart_rate(self) -> bool:
        return self._rate is not None and self._own is None


def _trained(adapter: Adapter, config: AdapterConfig) -> Any:
    """Return what a method asks of ``TrainedModel``, where there are neither a job nor data."""

    def named_parameters() -> dict[str, nn.Parameter]:
        head = zip(adapter.head, adapter.head_parameters(), strict=True)
        return adapter.named_parameters() | {f"head.{name}": parameter for name, parameter in head}

    job = SimpleNamespace(config=config, loop=SimpleNamespace(log_measures="all"))
    return SimpleNamespace(
        adapter=adapter,
        job=job,
        device=next(iter(adapter.matrices.values())).lam.device,
        data=SimpleNamespace(info={}),
        named_parameters=named_parameters,
    )

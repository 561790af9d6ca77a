"""``FlexLoRAModel``: the tuner that ``get_peft_model`` puts around a model."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from peft import PeftConfig
from peft.tuners.tuners_utils import BaseTuner
from peft.utils.other import AuxiliaryTrainingWrapper
from torch import Tensor, nn
from torch.optim import Optimizer

from flexlora.beside import moved_buffers
from flexlora.errors import FlexLoRAError, FlexLoRAWarning
from flexlora.event import Event
from flexlora.linear import FlexLoRALinear
from flexlora.merging import weight_users
from flexlora.methods import METHODS
from flexlora.peft.config import FlexLoRAConfig
from flexlora.peft.held_adapter import HeldAdapter, made
from flexlora.peft.layer import FlexLoRALayer
from flexlora.peft.lora_state import from_lora, to_lora
from flexlora.peft.method_loop import MethodLoop
from flexlora.peft.peft_type import PREFIX
from flexlora.peft.unfrozen import tell_unfrozen, to_held, unfrozen, with_unfrozen
from flexlora.peft.words import in_peft_words
from flexlora.targets import plain_name

PATIENCE = 100
"""Forward passes of training that go by without anyone allocating before it is told."""


class FlexLoRAModel(BaseTuner):
    """Holds the adapters of one model, and moves their ranks in a training loop of one's own.

        model = get_peft_model(model, FlexLoRAConfig(r=8, total_steps=1000))
        optimizer = torch.optim.AdamW(p for p in model.parameters() if p.requires_grad)
        model.base_model.bind(optimizer)
        for step, batch in enumerate(batches, start=1):
            model(**batch).loss.backward()
            optimizer.step()
            model.base_model.update_and_allocate(step)
            optimizer.zero_grad()

    Attributes:
        adapters: adapter name → its matrices.
        tended: True once something allocates: ``update_and_allocate`` or a callback.
        unfrozen: names of the base model's own parameters that were seen to be trained, see ``note_unfrozen``.
    """

    prefix = PREFIX
    tuner_layer_cls = FlexLoRALayer
    target_module_mapping: dict[str, list[str]] = {}  # noqa: RUF012  (PEFT's own declaration)
    uses_shared_state = True

    def __init__(self, model: nn.Module, peft_config: Any, adapter_name: str, **more: Any) -> None:
        self.adapters: dict[str, HeldAdapter] = {}
        self.tended = False
        self._making: dict[str, FlexLoRALinear] = {}
        self._loops: dict[str, MethodLoop] = {}
        self._untended = 0
        self.unfrozen: set[str] = set()
        self._saved_untended = self._saved_moved = False
        super().__init__(model, peft_config, adapter_name, **more)
        self._watch = self.model.register_forward_pre_hook(self._before_forward)

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy or a pickle holds: it is bound to no optimizer."""
        return {**self.__dict__, "_loops": {}}

    @property
    def adapter(self) -> HeldAdapter:
        """The adapter that is active.

        Raises:
            FlexLoRAError: several are, or none.
        """
        names = self.active_adapters
        if len(names) != 1 or names[0] not in self.adapters:
            raise FlexLoRAError(f"One adapter can be trained at a time; active: {', '.join(names) or 'none'}.")
        return self.adapters[names[0]]

    @property
    def config_in_use(self) -> FlexLoRAConfig:
        """The configuration of the active adapter."""
        found = self.peft_config[self.active_adapters[0]]
        assert isinstance(found, FlexLoRAConfig)
        return found

    @property
    def loop(self) -> MethodLoop:
        """The method of the active adapter at work.

        Raises:
            FlexLoRAError: ``bind`` was not called for it.
        """
        loop = self._loops.get(self.active_adapters[0])
        if loop is None:
            raise FlexLoRAError("Which optimizer? Call model.base_model.bind(optimizer) once before training.")
        return loop

    def bind(self, optimizer: Optimizer, total_steps: int | None = None) -> None:
        """Let ranks move with this optimizer, which trains the active adapter.

        Args:
            optimizer: of the parameters that require gradients; wrapped or not.
            total_steps: of the run; None = the configuration's.

        Raises:
            FlexLoRAError: the optimizer does not train the adapter, or nobody knows the number of steps.
        """
        adapter, name = self.adapter, self.active_adapters[0]
        if name in self._loops:
            self._loops.pop(name).detach()
        own = adapter.config if total_steps is None else adapter.config.replace(total_steps=total_steps)
        self.note_unfrozen()
        self._loops[name] = MethodLoop(adapter, self.config_in_use.method, own, optimizer)

    def update_and_allocate(self, global_step: int) -> Event | None:
        """Move ranks if it is time, between ``optimizer.step()`` and ``zero_grad()``, as with PEFT's AdaLoRA.

        Args:
            global_step: finished optimizer steps, from 1.

        Returns:
            The event, if there was one.

        Raises:
            FlexLoRAError: ``bind`` was not called for this adapter.
        """
        self.tended = True
        return self.loop.update(global_step)

    def note_unfrozen(self) -> None:
        """Have what is trained of the base model itself saved, also if it is frozen again later; say so once."""
        before, self.unfrozen = self.unfrozen, self.unfrozen | unfrozen(self.model)
        if self.unfrozen and not before:
            tell_unfrozen(self.unfrozen)

    def release(self) -> None:
        """Let go of every optimizer."""
        for loop in self._loops.values():
            loop.detach()
        self._loops.clear()

    def inject_adapter(self, model: nn.Module, adapter_name: str, *args: Any, **more: Any) -> None:
        """Make an adapter and put its matrices into layers; PEFT calls it for each adapter."""
        config = self.peft_config[adapter_name]
        if not isinstance(config, FlexLoRAConfig):
            raise FlexLoRAError(f"{adapter_name} has a {type(config).__name__}; this model holds FlexLoRA adapters.")
        names = [name for name, _ in model.named_modules()]
        with in_peft_words():
            held, whole = made(model, config.method, config.own(names))
        config.add_whole(whole)
        # PEFT would warn of exclusions that it did not see, and write names over all-linear.
        asked = config.target_modules, config.exclude_modules
        config.target_modules, config.exclude_modules = list(held.matrices), None
        self._making = held.matrices
        try:
            super().inject_adapter(model, adapter_name, *args, **more)
        finally:
            (config.target_modules, config.exclude_modules), self._making = asked, {}
        held.layers = [module for module in model.modules() if isinstance(module, FlexLoRALayer)]
        self.adapters[adapter_name] = held

    def delete_adapter(self, adapter_name: str) -> None:
        """Forget an adapter."""
        super().delete_adapter(adapter_name)
        self.adapters.pop(adapter_name, None)
        loop = self._loops.pop(adapter_name, None)
        if loop is not None:
            loop.detach()

    def _prepare_adapter_config(self, peft_config: PeftConfig, model_config: dict[str, Any]) -> PeftConfig:
        return peft_config

    def _check_target_module_exists(self, peft_config: PeftConfig, key: str) -> bool:  # pyright: ignore
        return plain_name(key) in self._making

    def _create_and_replace(
        self,
        peft_config: PeftConfig,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
        parameter_name: str | None = None,
    ) -> None:
        layer = target
        if not isinstance(layer, FlexLoRALayer):
            layer = FlexLoRALayer(target, self.active_adapter)
            layer.train(target.training)
            setattr(parent, target_name, layer)
        layer.add(adapter_name, self._making[plain_name(current_key)])
        layer.set_adapter(layer.active_adapters)

    def _check_merge_allowed(self) -> None:
        super()._check_merge_allowed()
        shared = weight_users(self.model)
        for module in self.model.modules():
            base = module.base_layer if isinstance(module, FlexLoRALayer) else None
            weight = None if base is None else base._parameters.get("weight")
            if base is not None and weight is not None and shared[id(weight)] > 1:
                # ΔW belongs to this layer, and not to who shares its weight.
                base.weight = nn.Parameter(weight.detach().clone(), requires_grad=False)

    def _unload_and_optionally_merge(self, *args: Any, **more: Any) -> Any:
        found = super()._unload_and_optionally_merge(*args, **more)
        self._watch.remove()
        self.release()
        return found

    @contextmanager
    def _enable_peft_forward_hooks(self, *args: Any, **more: Any) -> Iterator[None]:
        """Send each row of a batch through its own adapter where ``adapter_names`` says so."""
        rows: Sequence[str] | None = more.get("adapter_names")
        if rows is None:
            yield
            return
        if self.training:
            raise FlexLoRAError("adapter_names is for inference: call model.eval(), or train one adapter at a time.")
        unknown = sorted({row for row in rows if row != "__base__"} - self.adapters.keys())
        if unknown:
            raise FlexLoRAError(
                f"adapter_names: there is no {', '.join(unknown)}; there are {', '.join(self.adapters)}."
            )
        layers = [module for module in self.model.modules() if isinstance(module, FlexLoRALayer)]
        whole = [module for module in self.model.modules() if isinstance(module, AuxiliaryTrainingWrapper)]

        def told(module: nn.Module, args: Any, more: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
            return args, {**more, "adapter_names": rows}

        hooks = [module.register_forward_pre_hook(told, with_kwargs=True) for module in whole]
        try:
            for layer in layers:
                layer.rows, layer.beams = rows, more.get("num_beams") or 1
            yield
        finally:
            for layer in layers:
                layer.rows, layer.beams = None, 1
            for hook in hooks:
                hook.remove()

    def _before_forward(self, model: nn.Module, args: Any) -> None:
        if not model.training or not torch.is_grad_enabled():
            return
        loop = self._loops.get(self.active_adapters[0]) if len(self.active_adapters) == 1 else None
        if loop is not None:
            loop.before_forward()
        self._untended += 1
        if self._untended == PATIENCE and not self._loops:
            self._tell_untended(f"{PATIENCE} forward passes of training and no rank can move")

    def _tell_untended(self, what: str) -> None:
        """Warn where nothing has allocated so far, and the method would have."""
        if not self.tended and METHODS[self.config_in_use.method].what_moves != "nothing":
            warnings.warn(
                f"{what}: add callbacks=[flexlora.peft.FlexLoRACallback()] to the Trainer, or call "
                "model.base_model.bind(optimizer) once and model.base_model.update_and_allocate(step) after each "
                "optimizer.step().",
                FlexLoRAWarning,
                stacklevel=3,
            )

    def _before_saving(self) -> None:
        self.note_unfrozen()
        if self._untended and not self._saved_untended:
            self._saved_untended = True
            self._tell_untended("What is saved was trained and no rank could move")
        for adapter in self.adapters.values():
            # What is wrapped by modules_to_save has another name by now, and is saved.
            moved = [name for name in moved_buffers(adapter) if name in adapter.buffers_before]
            if moved and not self._saved_moved:
                self._saved_moved = True
                warnings.warn(
                    f"{moved[0]} has moved in training and PEFT does not save it: what is loaded will compute "
                    f"something else. Add {moved[0].rpartition('.')[0]!r} to modules_to_save.",
                    FlexLoRAWarning,
                    stacklevel=3,
                )

    @classmethod
    def _get_adapter_state_dict(
        cls,
        model: nn.Module,
        config: PeftConfig,
        adapter_name: str,
        state_dict: dict[str, Tensor],
        unwanted_adapter_names: list[str],
    ) -> dict[str, Tensor]:
        assert isinstance(config, FlexLoRAConfig)
        for module in model.modules():
            if isinstance(module, FlexLoRAModel):
                module._before_saving()
        found, names = to_lora(model, config, adapter_name, state_dict), set()
        for place, module in model.named_modules():
            if isinstance(module, FlexLoRAModel):
                inside = f"{place}.model." if place else "model."
                names |= {inside + name for name in module.unfrozen}
        return with_unfrozen(found, state_dict, sorted(names), adapter_name)

    @classmethod
    def _remap_adapter_state_dict_for_load(
        cls, model: nn.Module, config: PeftConfig, adapter_name: str, state_dict: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        assert isinstance(config, FlexLoRAConfig)
        return from_lora(model, config, adapter_name, to_held(model, state_dict))

"""``Replicated``: what FlexLoRA trains stays whole in every process, while FSDP2 shards the frozen base."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from flexlora.adapter import Adapter
from flexlora.errors import FlexLoRAError


class Replicated(nn.Module):
    """Keeps adapter and head equal in all processes: FSDP2 is told to leave them alone.

    An event moves rank between matrices and reads all of them; what it reads and writes is a thousandth of the base. So
    the base is sharded, which is what memory is needed for, and what is trained is averaged as plain data parallelism
    does: once, at the end of each backward pass, before anything clips it.

        replicated = Replicated(adapter)
        ignored = set(replicated.parameters())
        for layer in model.model.layers:
            fully_shard(layer, ignored_params=ignored)
        fully_shard(model, ignored_params=ignored)

    Build it before the optimizer, and after ``adapter.reserve``: storage must not grow any more. ``detach()`` ends it.
    """

    def __init__(self, adapter: Adapter, device: torch.device | str | None = None) -> None:
        """Move what is trained to ``device`` (None = where it is), and start all processes from the first one's values.

        Raises:
            FlexLoRAError: there is no process group.
        """
        super().__init__()
        if not (dist.is_available() and dist.is_initialized()):
            raise FlexLoRAError("Replicated needs several processes: start with torchrun or accelerate launch.")
        if device is not None:
            for matrix in adapter.matrices.values():
                for part in (*matrix.parameters(recurse=False), *matrix.buffers(recurse=False)):
                    part.data = part.data.to(device)
            for parameter in adapter.head_parameters():
                parameter.data = parameter.data.to(device)
        self.trained = nn.ParameterList(adapter.trainable_parameters())
        with torch.no_grad():
            for parameter in self.trained:
                dist.broadcast(parameter, src=0)
        self._waiting = False
        self._hooks: list[Any] = [
            parameter.register_post_accumulate_grad_hook(self._wait) for parameter in self.trained
        ]
        head = set(adapter.head_parameters())
        for module in adapter.model.modules():
            if not head.isdisjoint(module.parameters(recurse=False)):
                self._hooks += own_precision(module)

    def detach(self) -> None:
        """Average no more, and let a head compute as it did."""
        for hook in self._hooks:
            hook.remove()

    def _wait(self, parameter: Tensor) -> None:
        if not self._waiting:
            self._waiting = True
            # At the end of this backward pass, as torch's own data parallelism asks for it.
            torch.autograd.Variable._execution_engine.queue_callback(self._average)  # pyright: ignore

    @torch.no_grad()
    def _average(self) -> None:
        """Average the gradients over processes; a parameter that none of them used keeps none."""
        self._waiting = False
        groups: dict[tuple[torch.dtype, torch.device], list[nn.Parameter]] = defaultdict(list)
        for parameter in self.trained:
            groups[parameter.dtype, parameter.device].append(parameter)
        for own in groups.values():
            flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in own])
            used = flat.new_tensor([p.grad is not None for p in own])
            whole = torch.cat([flat, used])
            dist.all_reduce(whole)
            parts = whole[: len(flat)].div_(dist.get_world_size()).split([p.numel() for p in own])
            # Fetched only where it matters: an accelerator would wait for the host.
            unused = [p.grad is None for p in own]
            counts = whole[len(flat) :].tolist() if any(unused) else unused
            for parameter, part, count in zip(own, parts, counts, strict=True):
                if parameter.grad is not None:
                    parameter.grad.copy_(part.view_as(parameter))
                elif count:
                    parameter.grad = part.view_as(parameter).clone()


def own_precision(module: nn.Module) -> list[Any]:
    """Let a module compute in its parameters' dtype between layers of another; return the handles that end it.

    FSDP2's mixed precision casts what it shards, and what enters that: it has no autocast. A head that it leaves alone
    would be given another dtype than its own. Under autocast nothing is done.
    """
    entered: list[torch.dtype | None] = []

    def before(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        first = next((x for x in inputs if isinstance(x, Tensor) and x.is_floating_point()), None)
        own = next(module.parameters(recurse=False)).dtype
        cast = first is not None and first.dtype != own and not torch.is_autocast_enabled(first.device.type)
        entered.append(first.dtype if first is not None and cast else None)
        if not cast:
            return inputs
        return tuple(x.to(own) if isinstance(x, Tensor) and x.is_floating_point() else x for x in inputs)

    def after(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        dtype = entered.pop() if entered else None
        return output.to(dtype) if dtype is not None and isinstance(output, Tensor) else output

    return [module.register_forward_pre_hook(before), module.register_forward_hook(after, always_call=False)]


def shard_base_only(adapter: Adapter) -> Replicated:
    """Tell accelerate's FSDP2, which the Trainer uses, to shard the frozen base and to leave alone what is trained.

    Call it after ``adapter.reserve`` and before the Trainer prepares the model.

    Raises:
        FlexLoRAError: FSDP of another version, or settings under which parameters are made anew.
    """
    from accelerate.state import AcceleratorState

    state = AcceleratorState()
    plugin = getattr(state, "fsdp_plugin", None)
    if plugin is None or plugin.fsdp_version != 2:
        raise FlexLoRAError(
            "FSDP 1 flattens frozen and trained parameters into one tensor. Use FSDP2: fsdp_config={'fsdp_version': 2}."
        )
    if plugin.cpu_ram_efficient_loading:
        raise FlexLoRAError(
            "cpu_ram_efficient_loading makes every parameter anew, the adapter's too. Set "
            "fsdp_config={'cpu_ram_efficient_loading': False}."
        )
    replicated = Replicated(adapter, device=state.device)
    plugin.ignored_modules = [replicated]
    return replicated

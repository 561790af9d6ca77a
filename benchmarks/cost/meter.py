"""Meters: the time of steps and events, and what does not depend on a busy host: launches, busy time, memory, FLOPs."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from cost.peers import Contestant

GIB = 2**30
LAUNCHES = ("cudaLaunch", "cuLaunch", "cudaGraphLaunch", "cudaMemcpyAsync", "cudaMemsetAsync")
PROFILED_STEPS = 3


@dataclass
class Segment:
    """Consecutive steps of one contestant.

    Attributes:
        step_ms: time of each, its event included.
        event_ms: of each event alone, the device idle before and after.
        loss: of the last step.
        graphs: graphs that were traced or captured meanwhile.
    """

    step_ms: list[float] = field(default_factory=list)
    event_ms: list[float] = field(default_factory=list)
    loss: float = float("nan")
    graphs: int = 0


def run_steps(contestant: Contestant, steps: int, device: torch.device) -> Segment:
    """Take steps and time each: by CUDA events on the stream, on a CPU by the clock."""
    cuda, found, loss = device.type == "cuda", Segment(), None
    before, marks = graphs_made(contestant), [_mark(device)]
    for _ in range(steps):
        loss = contestant.optimize()
        if contestant.is_event():
            found.event_ms.append(timed_ms(contestant.finish, device))
        else:
            contestant.finish()
        marks.append(_mark(device))
    if cuda:
        torch.cuda.synchronize()
    found.step_ms = [_elapsed_ms(first, last) for first, last in pairwise(marks)]
    found.loss = float("nan") if loss is None else float(loss.detach())
    found.graphs = graphs_made(contestant) - before
    return found


def timed_ms(call: Callable[[], object], device: torch.device) -> float:
    """Return the wall time of a call, with the device idle before and after."""
    synchronize(device)
    began = time.perf_counter()
    call()
    synchronize(device)
    return 1e3 * (time.perf_counter() - began)


def graphs_made(contestant: Contestant) -> int:
    """Return how many graphs the compiler has traced in this process, and this contestant has captured, so far."""
    # Whoever compiles imports it; to import it here would cost everybody else seconds.
    dynamo = sys.modules.get("torch._dynamo.utils")
    traced = 0 if dynamo is None else int(dynamo.counters["stats"]["unique_graphs"])
    return traced + getattr(contestant.replay, "captures", 0)


def busy(contestant: Contestant) -> dict[str, float | None]:
    """Return per step: kernels (copies and fills too), host launches, and ms that the GPU was busy; CUDA only.

    Launches are None where the profiler does not tell of the host's calls.
    """
    from torch.profiler import ProfilerActivity, profile

    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        for _ in range(PROFILED_STEPS):
            contestant.optimize()
            contestant.finish()
        torch.cuda.synchronize()
    kernels = launches = nanoseconds = 0
    for event in profiler.profiler.kineto_results.events():  # pyright: ignore[reportOptionalMemberAccess]
        if event.device_type() == torch.autograd.DeviceType.CUDA:  # pyright: ignore[reportPrivateImportUsage]
            # Names that the host gives to stretches of time come back as events of the device.
            if not event.is_user_annotation():
                kernels, nanoseconds = kernels + 1, nanoseconds + event.duration_ns()
        elif event.name().startswith(LAUNCHES):
            launches += 1
    return {
        "kernels": kernels / PROFILED_STEPS,
        "launches": launches / PROFILED_STEPS if launches else None,
        "busy_ms": nanoseconds / PROFILED_STEPS / 1e6,
    }


def alone(make: Callable[[], Contestant], warm: int, device: torch.device) -> dict[str, Any]:
    """Build a contestant with nothing else in memory, and measure what it needs.

    Returns:
        ``parameters``: trained values. ``saved_bytes``: what autograd keeps for the backward pass, see ``saved_bytes``;
        None where that cannot be seen. ``counted_flops``: of one step. On CUDA also ``peak_bytes`` over a whole
        interval with its event, ``held_bytes`` between steps, and ``forward_bytes`` allocated by a forward pass and
        alive after it. Of a graph, peak and held are what its pool has reserved.
    """
    clear(device)
    contestant = make()
    run_steps(contestant, warm, device)
    found: dict[str, Any] = {"parameters": sum(parameter.numel() for parameter in contestant.parameters())}
    if device.type == "cuda":
        found |= _memory(contestant, device)
    found |= {"saved_bytes": None, "counted_flops": None}
    if contestant.replay is None and "+compile" not in contestant.name:
        # What a checkpointed layer keeps, its input, never passes the hooks.
        found["saved_bytes"] = None if contestant.checkpointing else saved_bytes(contestant)
        try:
            found["counted_flops"] = counted_flops(contestant)
        except AssertionError:
            # torch 2.11 cannot count attention whose queries share keys.
            contestant.optimizer.zero_grad(set_to_none=True)
    del contestant
    clear(device)
    return found


def saved_bytes(contestant: Contestant) -> int:
    """Return the bytes that a forward pass saves for the backward pass, the model's parameters and buffers left out.

    A storage that several functions save counts once; casts of weights count, since they are memory too.
    """
    own = {_storage(tensor) for tensor in (*contestant.model.parameters(), *contestant.model.buffers())}
    found: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        key = _storage(tensor)
        if key not in own:
            found[key] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = contestant.loss()
    loss.backward()
    contestant.optimizer.zero_grad(set_to_none=True)
    return sum(found.values())


def counted_flops(contestant: Contestant) -> int:
    """Return the FLOPs of matrix products in one step without its event, as torch's own counter sees them.

    It does not see fused attention on a CPU.
    """
    with FlopCounterMode(display=False) as counter:
        contestant.loss().backward()
        if contestant.regularize is not None:
            contestant.regularize()
    contestant.optimizer.zero_grad(set_to_none=True)
    return counter.get_total_flops()


def clear(device: torch.device) -> None:
    """Free what reference cycles and torch's cache of device memory still hold."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.empty_cache()


def synchronize(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def weight_bytes(model: nn.Module) -> int:
    """Return the bytes of all parameters."""
    return sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())


def _memory(contestant: Contestant, device: torch.device) -> dict[str, int]:
    clear(device)
    graphed = contestant.replay is not None
    held = torch.cuda.memory_reserved() if graphed else torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    run_steps(contestant, contestant.interval + 1, device)
    peak = torch.cuda.max_memory_reserved() if graphed else torch.cuda.max_memory_allocated()
    found = {"held_bytes": held, "peak_bytes": peak}
    if not graphed:
        before = torch.cuda.memory_allocated()
        loss = contestant.loss()
        found["forward_bytes"] = torch.cuda.memory_allocated() - before
        del loss
    return found


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _mark(device: torch.device) -> Any:
    if device.type != "cuda":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def _elapsed_ms(first: Any, last: Any) -> float:
    return first.elapsed_time(last) if hasattr(first, "elapsed_time") else 1e3 * (last - first)

"""Sentences about an adapter, computed from its singular values."""

from __future__ import annotations

import numpy as np

from analysis.adapters.adapter import Adapter, AdapterMatrix
from analysis.adapters.sizes import FileSize, size_now
from analysis.adapters.spectra import AdapterSpectra, is_dead, rank_for_energy
from analysis.adapters.suggestion import Suggestion
from analysis.adapters.targets import SIZES
from flexlora.importance import spectral_entropy
from flexlora.matrix_names import module_type_order, place_label
from flexlora.reallocation import Reallocation

SHARE, FEWER = 0.99, 0.9
ROUNDING = 0.02
"""Below this share of ‖ΔW‖ an error of rounding is not worth a warning: bfloat16 alone makes .003."""
WITHIN = {"rank": "this total rank", "parameters": "this many parameters", "bytes": "these bytes"}
CAVEAT = "A finished adapter only shows where training ended: no measurement here says that moving rank would help."


def in_digits(value: float) -> str:
    """Return a number with three digits or more, without a power of ten up to a million: 4,240 and .0312."""
    return f"{value:,.0f}" if 100 <= abs(value) < 1e6 else f"{value:.3g}"


def describe_adapter(spectra: AdapterSpectra) -> list[str]:
    """Return what there is to see in an adapter, one sentence each, most important first."""
    adapter = spectra.adapter
    rows = [(matrix, values) for matrix, values in spectra.rows() if np.isfinite(values).all()]
    live = [(matrix, values) for matrix, values in rows if not is_dead(values)]
    found = [_what(spectra)]
    dead = len(rows) - len(live)
    if dead and not live:
        return [*found, f"Every matrix is dead: ΔW is exactly 0 ({_why_dead(rows)}), so these matrices change nothing."]
    if dead:
        count = f"{dead} of {len(rows)} {'matrix' if len(rows) == 1 else 'matrices'} {'is' if dead == 1 else 'are'}"
        found.append(f"{count} dead: ΔW is exactly 0 there ({_why_dead(rows)}), their directions are unused.")
    elif live and not spectra.broken:
        found.append("Every ΔW differs from 0: the adapter is live.")
    if live:
        found.append(_wasted(live))
        found.append(_extremes(live))
        if len({matrix.module_type for matrix, _ in live}) > 1:
            found.append(_where(live))
    if adapter.carried:
        many = "1 tensor" if len(adapter.carried) == 1 else f"{len(adapter.carried)} tensors"
        found.append(f"Beside the matrices the file holds {many} (heads, biases, …), first {adapter.carried[0]}.")
    if adapter.skipped:
        reasons = ", ".join(sorted(set(adapter.skipped.values())))
        found.append(f"{len(adapter.skipped)} more left aside: {reasons}.")
    return found


def describe_file(adapter: Adapter) -> str:
    """Return the settings and the size of an adapter's file, in one line."""
    now, config = size_now(adapter), adapter.config or {}
    task, alpha = config.get("task_type"), config.get("lora_alpha")
    scales = sorted({matrix.scale for matrix in adapter.matrices})
    told = f"s = {scales[0]:.3g}" if len(scales) == 1 else f"s = {scales[0]:.3g} to {scales[-1]:.3g}"
    parts = [
        f"task {task}" if isinstance(task, str) and task else "",
        f"alpha = {alpha:g}" if isinstance(alpha, int | float) else "",
        told,
        now.dtypes,
        in_bytes(now.total),
    ]
    return " · ".join(part for part in parts if part)


def _why_dead(rows: list[tuple[AdapterMatrix, np.ndarray]]) -> str:
    """Return why the dead among the matrices change nothing."""
    scales = [matrix.scale for matrix, values in rows if is_dead(values)]
    return "alpha = 0" if not any(scales) else "A or B is 0" if all(scales) else "A, B or alpha is 0"


def describe_suggestion(spectra: AdapterSpectra, suggestion: Suggestion) -> str:
    """Return one sentence about a suggestion."""
    adapter = spectra.adapter
    before = sum(matrix.rank for matrix in adapter.matrices)
    changed = sum(suggestion.ranks[matrix.name] != matrix.rank for matrix in adapter.matrices)
    smallest, largest = min(suggestion.ranks.values()), max(suggestion.ranks.values())
    told = str(smallest) if smallest == largest else f"{smallest} to {largest}"
    return (
        f"Total rank {before:,} → {suggestion.total_rank:,}, parameters {adapter.parameters:,} → "
        f"{suggestion.parameters:,} ({suggestion.parameters / max(1, adapter.parameters):.0%}); "
        f"{suggestion.energy_kept:.2%} of the energy stays. {changed} of {len(adapter.matrices)} "
        f"{'matrix' if len(adapter.matrices) == 1 else 'matrices'} changed; ranks {told}."
    )


def describe_sizes(before: FileSize, after: FileSize) -> str:
    """Return one sentence: bytes and type before and after, and how much of the file is no factor."""
    same = before.dtypes == after.dtypes
    kept = f"the same type ({after.dtypes})" if same else f"{before.dtypes} → {after.dtypes}"
    beside = f"; {in_bytes(after.carried)} of it no factors (heads, biases, alphas)" if after.carried else ""
    share = after.total / max(1, before.total)
    return f"File {in_bytes(before.total)} → {in_bytes(after.total)} ({share:.0%}), {kept}{beside}."


def describe_bound(suggestion: Suggestion) -> str:
    """Return what the choice of ranks guarantees, in one sentence; empty for an order that guarantees nothing."""
    if suggestion.bound is None:
        return ""
    if suggestion.target not in SIZES:
        spare = suggestion.parameters / max(1.0, suggestion.bound) - 1
        own = "it has no more than that" if spare <= 0 else f"this one has {suggestion.parameters:,}, {spare:.2%} more"
        asked = "this error" if suggestion.target == "error" else "this energy"
        return f"No choice of ranks with {asked} has fewer than {suggestion.bound:,.0f} parameters; {own}."
    within = WITHIN[suggestion.target]
    if suggestion.error <= suggestion.bound + 1e-12:
        return f"No choice of ranks within {within} has a smaller error."
    return f"No choice of ranks within {within} has an error below {suggestion.bound:.4%}."


def size_warnings(before: FileSize, after: FileSize, by_spectrum: float, stated: float) -> list[str]:
    """Return what is wrong with a file to be written: larger than the one it comes from, or spoilt by rounding.

    ``by_spectrum`` and ``stated`` are relative errors: without rounding, and as measured in what was written.
    """
    found = []
    # The header is ours, and its few bytes are no reason to worry.
    if after.factors + after.carried > before.factors + before.carried:
        retyped = before.dtypes != after.dtypes
        found.append(
            f"the result takes {in_bytes(after.total)}, more than the input's {in_bytes(before.total)}"
            f"{f' ({before.dtypes} → {after.dtypes})' if retyped else ''}. "
            f"{'Keep the type of the input, or ask' if retyped else 'Ask'} for fewer directions."
        )
    if stated > max(2 * by_spectrum, ROUNDING):
        found.append(f"rounding to {after.dtypes} makes most of the error: {by_spectrum:.2%} without it. Ask for F32.")
    return found


def in_bytes(count: int) -> str:
    """Return bytes with a unit that suits: "9,999 bytes", "12.3 kB", "10.1 MB"."""
    return (
        f"{count:,} bytes" if count < 10_000 else f"{count / 1e3:,.1f} kB" if count < 1e7 else f"{count / 1e6:,.1f} MB"
    )


def describe_moves(spectra: AdapterSpectra, moves: Reallocation) -> str:
    """Return what FlexLoRA's rule would move, in one sentence."""
    if not moves.prune and not moves.extend:
        why = f" (rules: {', '.join(moves.rules)})" if moves.rules else ""
        return f"FlexLoRA's rule would move nothing here{why}."
    label = {matrix.name: adapter_label(matrix) for matrix in spectra.adapter.matrices}
    gives = ", ".join(label[name] for name in moves.prune)
    gets = ", ".join(label[name] for name in moves.extend)
    return f"One event with b = {moves.budget} would take a direction from {gives} and give one to {gets}."


def adapter_label(matrix: AdapterMatrix) -> str:
    """Return a short name: "layer 3 ffn_out"."""
    return f"{matrix.block} {matrix.module_type}" if matrix.block else place_label(matrix.layer, matrix.module_type)


def _what(spectra: AdapterSpectra) -> str:
    adapter = spectra.adapter
    ranks = sorted({matrix.rank for matrix in adapter.matrices})
    told = f"r = {ranks[0]}" if len(ranks) == 1 else f"r = {ranks[0]} to {ranks[-1]}"
    for_model = f" for {adapter.base_model}" if adapter.base_model else ""
    count, directions = len(adapter.matrices), sum(matrix.rank for matrix in adapter.matrices)
    return (
        f"{adapter.label}{for_model}: {count} {'matrix' if count == 1 else 'matrices'}, {told}, "
        f"{directions:,} direction{'' if directions == 1 else 's'}, {adapter.parameters:,} parameters."
    )


def _wasted(live: list[tuple[AdapterMatrix, np.ndarray]]) -> str:
    """Say in how few directions the energy lies: of the middle matrix where all have one rank, else over all."""
    needed = np.array([rank_for_energy(values, SHARE) for _, values in live])
    ranks = np.array([matrix.rank for matrix, _ in live])
    whole = f"{needed.sum():,} of {ranks.sum():,} directions ({needed.sum() / ranks.sum():.0%})"
    if len(set(ranks.tolist())) > 1:
        full = int((needed == ranks).sum())
        return f"{whole} hold {SHARE:.0%} of every matrix's energy; {full} of {len(live)} matrices need all of theirs."
    middle = int(np.ceil(np.median(needed)))
    if middle == ranks[0]:
        fewer = sum(rank_for_energy(values, FEWER) for _, values in live)
        return (
            f"Hardly a direction is spare at {SHARE:.0%} of every matrix's energy: it takes {whole}; {FEWER:.0%} of "
            f"it takes {fewer:,} ({fewer / ranks.sum():.0%})."
        )
    fitting = int((needed <= middle).sum())
    keep, their = ("matrix keeps", "its") if len(live) == 1 else ("matrices keep", "their")
    return (
        f"{fitting} of {len(live)} {keep} {SHARE:.0%} of {their} energy in {middle} of {ranks[0]} directions; "
        f"over all, {whole} hold it."
    )


def _extremes(live: list[tuple[AdapterMatrix, np.ndarray]]) -> str:
    scored = [(spectral_entropy(values), matrix) for matrix, values in live if matrix.rank > 1]
    defined = [(score, matrix) for score, matrix in scored if score is not None]
    norms = [(float(np.linalg.norm(values)), matrix) for matrix, values in live]
    largest = max(norms, key=lambda item: item[0])
    text = f"The largest ΔW is {adapter_label(largest[1])} (‖ΔW‖ = {in_digits(largest[0])})"
    if not defined:
        return f"{text}; entropy needs more than one direction."
    low, high = min(defined, key=lambda item: item[0]), max(defined, key=lambda item: item[0])
    if low[1] is high[1]:
        return f"{text}; its entropy is {low[0]:.2f}."
    return (
        f"{text}; entropy runs from {low[0]:.2f} ({adapter_label(low[1])}) to {high[0]:.2f} ({adapter_label(high[1])})."
    )


def _where(live: list[tuple[AdapterMatrix, np.ndarray]]) -> str:
    energy: dict[str, float] = {}
    for matrix, values in live:
        energy[matrix.module_type] = energy.get(matrix.module_type, 0.0) + float(np.square(values).sum())
    whole = sum(energy.values())
    ordered = sorted(module_type_order(energy), key=lambda kind: -energy[kind])[:3]
    told = ", ".join(f"{kind} {energy[kind] / whole:.0%}" for kind in ordered)
    return f"Energy by module type: {told}{', the others less' if len(energy) > 3 else ''}."

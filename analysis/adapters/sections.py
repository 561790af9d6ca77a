"""The sections of the command's answer: each as a value for JSON, and as lines."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis.adapters.adapter import Adapter
from analysis.adapters.atlas.beside import LABELS, UNUSUAL, beside_atlas, caution, conclusion
from analysis.adapters.comparison import Comparison
from analysis.adapters.compression import compress_adapter, total_error, truncation_errors
from analysis.adapters.doctor import BESIDE_OTHERS, CHECKS, Finding, verdict
from analysis.adapters.many import SIDES, Comparisons
from analysis.adapters.merging import Merge
from analysis.adapters.plans import SAME, planned
from analysis.adapters.relations import describe_comparison, signed
from analysis.adapters.settings import config_snippet
from analysis.adapters.sizes import plan_size, size_at, size_now
from analysis.adapters.spectra import AdapterSpectra
from analysis.adapters.suggestion import Suggestion, suggest_sizes
from analysis.adapters.words import describe_bound, describe_sizes, describe_suggestion, size_warnings
from analysis.command import text_table

Section = tuple[Any, list[str]]


def finding_lines(findings: Sequence[Finding]) -> Section:
    """Return what the doctor found, a line each."""
    rows = [
        {
            **finding._asdict(),
            "threshold": CHECKS[finding.check].threshold
            if finding.check in CHECKS
            else BESIDE_OTHERS.get(finding.check),
            "matrices": list(finding.matrices),
        }
        for finding in findings
    ]
    return rows, [_finding_line(finding) for finding in findings]


def _finding_line(finding: Finding) -> str:
    here = f" ({finding.flags})" if finding.flags else ""
    more = " --json lists the matrices." if "…" in finding.text else ""
    return f"{finding.level.capitalize()}: {finding.text} {finding.advice}{here}{more}"


def doctor_section(findings: Sequence[Finding], adapter: Adapter) -> Section:
    """Return what the doctor found in an adapter, below a verdict."""
    rows, lines = finding_lines(findings)
    return rows, [verdict(findings, adapter), *lines]


def usual_section(spectra: AdapterSpectra) -> Section:
    """Return the adapter's numbers beside the atlas's."""
    beside = beside_atlas(spectra)
    found = [{**one._asdict(), "side": one.side} for one in beside]
    if not found:
        return [], []
    told = [
        {
            **one._asdict(),
            "quantity": LABELS[one.quantity],
            "percentile": f"{one.percentile:.0f} %",
            "usual": UNUSUAL[one.side],
        }
        for one in beside
    ]
    columns = ("quantity", "value", "low", "high", "percentile", "usual")
    return found, [caution(), conclusion(spectra, beside), text_table(told, columns, right=columns[1:5])]


def shrunk_section(
    spectra: AdapterSpectra, suggestion: Suggestion, out: Path | None, dtype: str | None, form: str = SAME
) -> Section:
    """Return a suggestion with its size, error and settings; write it if asked to."""
    snippet = config_snippet(spectra.adapter, suggestion.ranks)
    if out:
        errors = compress_adapter(spectra, suggestion.ranks, out, dtype=dtype, form=form)
    else:
        errors = truncation_errors(spectra, suggestion.ranks)
    whole = total_error(errors, spectra)
    plan = planned(spectra.adapter, suggestion.ranks, dtype, form)
    before, after = size_now(spectra.adapter), plan_size(plan)
    warnings = size_warnings(before, after, suggestion.error, whole["relative"])
    report = {
        **vars(suggestion),
        "error": whole,
        "bytes_before": vars(before),
        "bytes_after": vars(after),
        "warnings": warnings,
        "form": form,
        "notices": list(plan.notices),
        "matrix_errors": [vars(error) for error in errors],
        "lora_config": snippet,
        "written": str(out) if out else None,
    }
    lines = [
        describe_suggestion(spectra, suggestion),
        describe_sizes(before, after),
        f"Error of ΔW: {whole['relative']:.2%} in the Frobenius norm ({whole['frobenius']:.4g}), at most "
        f"{whole['spectral']:.4g} in the spectral norm of a matrix. {describe_bound(suggestion)}".rstrip(),
        *(f"Warning: {line}" for line in warnings),
        *(f"Note: {line}" for line in plan.notices),
        "",
        snippet,
    ]
    return report, lines + ([f"\nWritten to {out}."] if out else [])


def curve_section(spectra: AdapterSpectra, least: int, dtype: str | None, form: str = SAME) -> Section:
    """Return the error at several sizes of the file."""
    rows = [
        {
            "bytes": size_at(spectra.adapter, one.ranks, dtype, form).total,
            "parameters": one.parameters,
            "total_rank": one.total_rank,
            "error": one.error,
            "least_possible": one.bound,
            "energy_kept": one.energy_kept,
        }
        for one in suggest_sizes(spectra, least=least, dtype=dtype, form=form)
    ]
    title = "Error against size, by the singular values, one budget over all matrices:"
    return rows, [title, text_table(rows, list(rows[0]), list(rows[0]))]


def pair_section(comparison: Comparison, first: str, name: str) -> Section:
    """Return the overlap of two adapters, over all matrices and matrix by matrix."""
    rows = [
        {
            **vars(overlap),
            "output_cosines": overlap.output_cosines.tolist(),
            "input_cosines": overlap.input_cosines.tolist(),
        }
        for overlap in comparison.overlaps
    ]
    told = describe_comparison(comparison, first, name)
    lines = [*told, f"Overlap with {name} (0 = orthogonal, 1 = contained; chance in brackets), cosine of both ΔW:"]
    for overlap in comparison.overlaps:
        if overlap.output_overlap is None or overlap.input_overlap is None:
            lines.append(f"  {overlap.matrix}: dead in one of them")
            continue
        lines.append(
            f"  {overlap.matrix}: output {overlap.output_overlap:.3f} ({overlap.output_chance:.3f}), "
            f"input {overlap.input_overlap:.3f} ({overlap.input_chance:.3f}), cosine {signed(overlap.similarity)}"
        )
    for names, which in ((comparison.only_first, "the first"), (comparison.only_second, "the second")):
        if names:
            lines.append(f"Only in {which}: {len(names)}, such as {names[0]}.")
    lines += [f"Note: {line}" for line in comparison.notices]
    whole = {"cosine": comparison.cosine, "start": comparison.start, "sentences": told}
    return {**vars(comparison), **whole, "overlaps": rows}, lines


def many_section(found: Comparisons, findings: Sequence[Finding]) -> Section:
    """Return the overlap of every two adapters, over all matrices and by layer, and what speaks against merging."""
    rows, finding_rows = pair_rows(found), finding_lines(findings)
    columns = ("first", "second", "output", "chance_output", "input", "chance_input", "cosine")
    layers = {side: {str(layer): _plain(values) for layer, values in found.by_layer(side).items()} for side in SIDES}
    report = {
        "names": found.names,
        "pairs": rows,
        "layers": layers,
        "findings": finding_rows[0],
        "notices": found.notices,
    }
    lines = [
        f"Mean overlap over {len(found.matrices)} matrices (0 = orthogonal, 1 = contained), and cosine of ΔW:",
        text_table(rows, columns, right=columns[2:]),
        *finding_rows[1],
        *(f"Note: {line}" for line in found.notices),
    ]
    return report, lines


def pair_rows(found: Comparisons) -> list[dict[str, Any]]:
    """Return one row for every two adapters: overlaps, what chance gives, cosine; None = undefined."""
    means = {}
    for side in SIDES:
        means |= {side: found.overall(side), f"chance_{side}": found.chance(side)}
    means["cosine"] = found.cosines()
    return [
        {
            "first": found.names[i],
            "second": found.names[j],
            **{key: None if np.isnan(own[i, j]) else float(own[i, j]) for key, own in means.items()},
        }
        for i, j in itertools.combinations(range(len(found.names)), 2)
    ]


def merge_section(merge: Merge, out: Path) -> Section:
    """Return what a merge wrote."""
    lines = [
        f"‖ΔW‖_F of the merged adapter: {merge.norm:.4g}; {merge.apart:.4g} if the parts were orthogonal, so less "
        "means that they cancel and more that they add up.",
        f"Error of what was written: {merge.error:.2%}.",
        *(f"Warning: {line}" for line in merge.warnings),
        merge.summary,
        *(f"Note: {line}" for line in merge.notices),
        f"Written to {out}.",
    ]
    return {**vars(merge), "written": str(out)}, lines


def _plain(values: np.ndarray) -> list[list[float | None]]:
    return [[None if np.isnan(value) else float(value) for value in row] for row in values]

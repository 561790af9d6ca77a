"""``adapter_html``: what is known about an adapter as one HTML file, without scripts, server or network."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np

from analysis.adapters import Adapter, AdapterSpectra, adapter_label, describe_adapter, is_dead, suggest_sizes
from analysis.adapters.atlas.beside import LABELS, UNUSUAL, beside_atlas, caution, conclusion
from analysis.adapters.doctor import BESIDE_OTHERS, CHECKS, LOOK, NOTE, WRONG, Finding, in_order, verdict
from analysis.adapters.files import AdapterError
from analysis.adapters.sizes import size_at
from analysis.adapters.words import describe_file, in_digits
from analysis.figures.adapter_sizes import size_curve
from analysis.report.pictures import STYLE as PICTURE_STYLE
from analysis.report.pictures import lines_svg
from analysis.report.tables import html_table
from flexlora.matrix_names import module_type_order

MOST_SPECTRA = 400
"""Matrices whose spectrum is drawn."""
WIDTH, HEIGHT, GAP = 132, 44, 2
_STYLE = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
_OWN_STYLE = """
.spectra { display: grid; grid-template-columns: repeat(auto-fill, minmax(200px, 1fr)); gap: 10px 12px; }
.spectra figure { margin: 0; } .spectra figcaption { font-size: 12px; overflow-wrap: anywhere; }
.finding { margin: 0 0 8px; padding: 6px 10px; border-left: 4px solid; max-width: 900px; }
.finding span { color: var(--st-text-color); } .finding small { display: block; opacity: .75; }
.beside { display: flex; flex-wrap: wrap; gap: 8px 32px; align-items: flex-start; }
.beside > svg { flex: 1 1 460px; min-width: 460px; }
.wrong { border-color: #c92a2a; } .look { border-color: #d9720a; } .note-level { border-color: #1c7ed6; }
.spectra rect { fill: var(--st-primary-color); } .spectra line { stroke: currentColor; opacity: .35; }
"""
_LEFT_OUT = (
    "Not in this file, as they depend on a choice: overlaps with other adapters, merges, and one target to shrink "
    "to. The Adapters page of the Lab has them."
)
_LEVELS = {WRONG: ("wrong", "Wrong"), LOOK: ("look", "To look at"), NOTE: ("note-level", "To know")}


def adapter_html(
    spectra: AdapterSpectra,
    findings: Sequence[Finding],
    name: str,
    where: str = "",
    beside: Finding | None = None,
) -> str:
    """Return the report of an adapter as text; ``findings`` are those of ``analysis.adapters.doctor.examine``.

    ``where`` is what stands below the name beside the file's settings: its path, the day; ``beside`` is what
    was found beside the other adapters of its folder.
    """
    first, *rest = describe_adapter(spectra)
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in spectra.notices)
    sections = [
        ("Findings", _findings(findings, spectra.adapter, beside)),
        ("‖ΔW‖ by layer and module type", _map(spectra)),
        ("Spectra", _spectra(spectra)),
        ("Beside what is usual", _usual(spectra)),
        ("Error against size, one budget over all matrices", _sizes(spectra)),
        ("Matrices", _matrices(spectra)),
    ]
    about = " · ".join(part for part in (where, describe_file(spectra.adapter)) if part)
    body = "".join(f"<section><h2>{escape(title)}</h2>{content}</section>" for title, content in sections if content)
    text = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(name)}: inside an adapter</title>"
        f"<style>{_STYLE}{_OWN_STYLE}{PICTURE_STYLE}</style></head><body><main>"
        f'<h1>{escape(name)}: inside an adapter</h1><p class="about">{escape(about)}</p><p>{escape(first)} '
        f'{escape(" ".join(rest))}</p>{notes}{body}<p class="about">{_LEFT_OUT}</p>'
        "</main></body></html>"
    )
    return text.encode("utf-8", "backslashreplace").decode()


def _findings(findings: Sequence[Finding], adapter: Adapter, beside: Finding | None) -> str:
    told = []
    for finding in in_order([*findings, beside] if beside else findings):
        style, level = _LEVELS[finding.level]
        threshold = CHECKS[finding.check].threshold if finding.check in CHECKS else BESIDE_OTHERS[finding.check]
        when = f"It speaks when: {threshold}."
        told.append(
            f'<p class="finding {style}"><span><b>{level}: {escape(finding.text)}</b> {escape(finding.advice)}'
            f"<small>{escape(when)}</small></span></p>"
        )
    lists = "".join(
        f"<details><summary>{escape(CHECKS[finding.check].label)}: {len(finding.matrices)} matrices</summary>"
        f"<p>{escape(', '.join(finding.matrices))}</p></details>"
        for finding in findings
        if "…" in finding.text and finding.check in CHECKS
    )
    more = " And 1 beside the other adapters of its folder." if beside else ""
    return f"<p>{escape(verdict(findings, adapter))}{more}</p>{''.join(told)}{lists}"


def _sizes(spectra: AdapterSpectra) -> str:
    if spectra.broken:
        return "<p>Matrices that hold NaN or infinity cannot be truncated, so no errors are stated.</p>"
    try:
        found = suggest_sizes(spectra)
    except AdapterError as error:
        return f"<p>{escape(str(error))}</p>"
    rows = [
        (
            size_at(spectra.adapter, one.ranks).total,
            one.parameters,
            one.total_rank,
            f"{one.error:.2%}",
            f"{one.bound:.2%}",
        )
        for one in found
        if one.bound is not None
    ]
    table = html_table(("bytes", "parameters", "total rank", "error of ΔW", "no choice of ranks has less than"), rows)
    picture = lines_svg(size_curve(spectra, {f"total rank {one.total_rank}": one for one in found}))
    return f'<div class="beside">{picture}<div>{table}<p>The marks in the picture are these rows.</p></div></div>'


def _usual(spectra: AdapterSpectra) -> str:
    beside = beside_atlas(spectra)
    rows = [
        (LABELS[row.quantity], row.value, row.low, row.high, f"{row.percentile:.0f} %", UNUSUAL[row.side])
        for row in beside
    ]
    if not rows:
        return ""
    head = ("quantity", "here", "low", "high", "percentile", "beside the sample")
    return f"<p>{escape(caution())} {escape(conclusion(spectra, beside))}</p>{html_table(head, rows)}"


def _map(spectra: AdapterSpectra) -> str:
    """Return a table of ‖ΔW‖, a row a layer, shaded by its share of the largest; empty where no layer is known."""
    placed = [(m, float(np.linalg.norm(values))) for m, values in spectra.rows() if m.layer is not None]
    if not placed:
        return ""
    kinds = module_type_order({matrix.module_type for matrix, _ in placed})
    largest = max((norm for _, norm in placed if np.isfinite(norm)), default=0.0)
    cells: dict[tuple[int, str], list[float]] = {}
    for matrix, norm in placed:
        cells.setdefault((matrix.layer or 0, matrix.module_type), []).append(norm)
    body = ""
    for layer in sorted({layer for layer, _ in cells}):
        row = [float(np.linalg.norm(cells[layer, kind])) if (layer, kind) in cells else None for kind in kinds]
        body += f'<tr><th scope="row">{layer}</th>{"".join(_shaded(norm, largest) for norm in row)}</tr>'
    head = "".join(f'<th scope="col" class="number">{escape(kind)}</th>' for kind in kinds)
    return f'<table><thead><tr><th scope="col">layer</th>{head}</tr></thead><tbody>{body}</tbody></table>'


def _shaded(norm: float | None, largest: float) -> str:
    if norm is None:
        return "<td>–</td>"
    if not np.isfinite(norm):
        return '<td class="number">NaN</td>'
    share = min(1.0, norm / largest) if largest else 0.0
    colour = f"color-mix(in srgb, var(--st-primary-color) {40 * share:.0f}%, transparent)"
    return f'<td class="number" style="background: {colour}">{in_digits(norm)}</td>'


def _spectra(spectra: AdapterSpectra) -> str:
    rows = [(matrix, values) for matrix, values in spectra.rows() if values.size and np.isfinite(values).all()]
    live = [(matrix, values) for matrix, values in rows if not is_dead(values)]
    largest = max((float(values[0]) for _, values in live), default=0.0)
    drawn = "".join(
        f"<figure>{_bars(values, largest)}<figcaption>{escape(adapter_label(matrix))}, σ₁ {in_digits(float(values[0]))}"
        "</figcaption></figure>"
        for matrix, values in live[:MOST_SPECTRA]
    )
    more = f"<p>and {len(live) - MOST_SPECTRA} more</p>" if len(live) > MOST_SPECTRA else ""
    dead = len(rows) - len(live)
    none = f"<p>{dead} dead, without a spectrum: ΔW is 0. The table of matrices names them.</p>" if dead else ""
    told = "<p>The bars show σ beside the matrix's own σ₁; the line below is σ₁ beside the largest of all.</p>"
    return (f'{told}<div class="spectra">{drawn}</div>{more}' if drawn else "") + none


def _bars(values: np.ndarray, largest: float) -> str:
    """Draw σ as bars, the first as high as the picture, and below them σ₁ as a share of the largest."""
    step = WIDTH / len(values)
    heights = values / values[0] * HEIGHT
    bars = "".join(
        f'<rect x="{place * step:.1f}" y="{HEIGHT - height:.1f}" width="{max(0.5, step - min(GAP, step / 3)):.1f}" '
        f'height="{height:.1f}"/>'
        for place, height in enumerate(heights)
    )
    told = ", ".join(f"{value:.3g}" for value in values[:8])
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT + 6}" role="img" aria-label="σ: {told}">{bars}'
        f'<line x1="0" x2="{WIDTH}" y1="{HEIGHT}" y2="{HEIGHT}"/>'
        f'<rect x="0" y="{HEIGHT + 3}" width="{values[0] / largest * WIDTH:.1f}" height="3"/></svg>'
    )


def _matrices(spectra: AdapterSpectra) -> str:
    keys = ("matrix", "rank", "rank_99", "entropy", "effective_rank", "stable_rank", "norm", "state")
    return html_table(keys, [tuple(row[key] for key in keys) for row in spectra.table()])

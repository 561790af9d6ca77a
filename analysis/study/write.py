"""Comparisons as text: rows for CSV, Markdown, LaTeX (booktabs), and a caption that states the terms."""

from __future__ import annotations

import csv
import io
import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from analysis.statistics import CONFIDENCE
from analysis.study.compare import Compared, StudyTable

UNKNOWN = "–"
NOTHING = "nothing claimed"
HEADS = ("variant", "n", "{metric}", "difference to {reference}", "{p}", "detectable", "verdict")
UNIT_NAMES = {
    "final_rank": "total rank in the end",
    "final_parameters": "active parameters in the end",
    "parameter_steps": "parameters × steps",
    "time": "time",
}
_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
        "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "–": "--", "−": "$-$", "±": r"$\pm$", "×": r"$\times$",
        "λ": r"$\lambda$", "γ": r"$\gamma$", "·": r"$\cdot$", "≤": r"$\leq$", "σ": r"$\sigma$",
    }
)  # fmt: skip


def comparison_rows(found: Sequence[Compared]) -> list[dict[str, Any]]:
    """Return one flat row a variant, unrounded; None for what is not known."""
    rows = []
    for one in found:
        pairs = one.pairs
        row = {
            "task": one.task, "cell": one.cell, "variant": one.variant, "reference": one.reference,
            "metric": one.metric, "n": one.n, "missing": one.missing, "mean": one.mean, "low": one.low,
            "high": one.high, "pairs": pairs.n if pairs else None, "difference": pairs.mean if pairs else None,
            "difference_low": pairs.low if pairs else None, "difference_high": pairs.high if pairs else None,
            "p": pairs.p if pairs else None, "p_holm": one.adjusted_p,
            "detectable": pairs.detectable if pairs else None, "p_equivalent": one.equivalent_p,
            "verdict": one.verdict or None, "moved": one.moved, **one.spent,
        }  # fmt: skip
        rows.append(
            {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in row.items()}
        )
    return rows


def comparison_csv(found: Sequence[Compared]) -> str:
    """Return ``comparison_rows`` as CSV."""
    rows, text = comparison_rows(found), io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def markdown_table(found: Sequence[Compared]) -> str:
    """Return one Markdown table a group, with its heading."""
    parts = []
    for heading, heads, rows in _tables(found):
        lines = [f"### {heading}", "", _line(heads), "|" + "---|" * len(heads)]
        parts.append("\n".join([*lines, *map(_line, rows)]))
    return "\n\n".join(parts)


def latex_table(found: Sequence[Compared], told: str, label: str = "comparison") -> str:
    """Return a LaTeX table environment, called ``tab:`` and its label; it needs the package booktabs."""
    tables = _tables(found)
    width = len(tables[0][1])
    lines = [r"\begin{table}", r"\centering\small", rf"\begin{{tabular}}{{l{'r' * (width - 2)}l}}", r"\toprule"]
    for place, (heading, heads, rows) in enumerate(tables):
        lines += [r"\midrule"] * bool(place)
        if len(tables) > 1:
            lines.append(rf"\multicolumn{{{width}}}{{l}}{{\textit{{{latex_escaped(heading)}}}}} \\")
        lines += [_latex_line(heads), r"\midrule", *map(_latex_line, rows)]
    named = [rf"\caption{{{latex_escaped(told)}}}", latex_label("tab", label)]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", *named, r"\end{table}"])


def caption(study: StudyTable, found: Sequence[Compared], margin: float | None = None) -> str:
    """Return the terms of the comparison in a few sentences: what is paired, what is equal, what the numbers are."""
    margin = study.summary["margin"] if margin is None else margin
    equal, seeds = study.summary["equal"], study.summary["seeds"]
    compared = [one for one in found if one.pairs is not None]
    over = f" after Holm over {len(compared)} comparisons" if len(compared) > 1 else ""
    parts = [
        f"{study.summary['name']}: {len(seeds)} seeds, paired by seed; in brackets 95 % BCa bootstrap intervals; p of "
        f"the two-sided sign-flip test{over}; detectable: the smallest true "
        "difference found with 80 % power."
    ]
    unit = UNIT_NAMES.get(equal["unit"], equal["unit"])
    parts.append(equal["note"] or f"Equal in {unit} within {100 * equal['tolerance']:g} %, measured from the logs.")
    tuned = study.summary.get("tuned")
    if tuned:
        parts.append(
            f"Tuned on validation with {tuned['trials']} trials a variant; test was read once, after the choice."
        )
        if tuned["edges"]:
            parts.append(f"At an end of the learning rates tried: {'; '.join(tuned['edges'])}.")
    if rates := _rates(study):
        parts.append(f"{'' if tuned else 'Not tuned: '}{rates}")
    if margin:
        parts.append(f'"No difference" is claimed within ± {margin:g} (two one-sided tests).')
    lost = Counter(row["state"] for row in study.rows)
    if lost["diverged"]:
        parts.append(
            f"{lost['diverged']} runs diverged and are left out with their pairs: means of what is left flatter."
        )
    if lost["stopped"]:
        parts.append(f"{lost['stopped']} runs did not come to their end and are left out with their pairs.")
    if any(one.metric.startswith("validation") for one in found):
        parts.append("On the validation split: the test split was not read.")
    fewest = min((one.pairs.n for one in compared if one.pairs and one.too_few), default=0)
    if fewest:
        parts.append(
            f"With {fewest} pair{'s' * (fewest != 1)} no p can fall to {1 - CONFIDENCE:.2g}: to claim a difference "
            f"takes {compared[0].needed} at least."
        )
    return " ".join(parts)


def _rates(study: StudyTable) -> str:
    """Return the learning rates of the variants, where they are not one for all that are compared; else nothing."""
    parts = []
    for group in study.summary["groups"]:
        own: dict[str, list[float]] = {}
        for row in study.rows:
            if (row["task"], row["cell"]) == (group["task"], group["cell"]) and row.get("learning_rate") is not None:
                seen = own.setdefault(row["variant"], [])
                if row["learning_rate"] not in seen:
                    seen.append(row["learning_rate"])
        if len({tuple(seen) for seen in own.values()}) > 1:
            where = f"on {group['task']}{' at ' + group['cell'] if group['cell'] else ''}, "
            told = ", ".join(f"{name} {' and '.join(f'{rate:.2g}' for rate in seen)}" for name, seen in own.items())
            parts.append(f"{where if len(study.summary['groups']) > 1 else ''}learning rates differ: {told}.")
    text = " ".join(parts)
    return text[:1].upper() + text[1:] if study.summary.get("tuned") else text


def _tables(found: Sequence[Compared]) -> list[tuple[str, list[str], list[list[str]]]]:
    """Return (heading, heads, rows) of each group; a budget that differs within a group gets a column."""
    groups: dict[tuple[str, str], list[Compared]] = {}
    for one in found:
        groups.setdefault((one.task, one.cell), []).append(one)
    p = "p (Holm)" if sum(one.pairs is not None for one in found) > 1 else "p"
    tables = []
    for (task, cell), own in groups.items():
        first = own[0]
        words = {"metric": first.metric.replace("_", " "), "reference": first.reference, "p": p}
        heads = [head.format(**words) for head in HEADS]
        heads[-1:-1] = ["total rank", "parameters", "moves"]
        digits = digits_of([one for one in found if one.metric == first.metric])
        tables.append((" · ".join(filter(None, (task, cell))), heads, [_cells(one, digits) for one in own]))
    return tables


def _cells(one: Compared, digits: int) -> list[str]:
    cells = [one.variant, str(one.n), _ranged(one.mean, one.low, one.high, digits, "")]
    if one.pairs is None:
        cells += ["", "", ""]
    else:
        pairs = one.pairs
        cells.append(_ranged(pairs.mean, pairs.low, pairs.high, digits, "+"))
        cells += [number_text(one.adjusted_p, 3), number_text(pairs.detectable, digits)]
    ranks, parameters = one.spent["final_rank"], one.spent["final_parameters"]
    return [
        *cells,
        number_text(ranks, 0),
        number_text(parameters, 0),
        number_text(one.moved, 0),
        one.verdict or NOTHING * bool(one.pairs),
    ]


def _ranged(value: float, low: float, high: float, digits: int, sign: str) -> str:
    if math.isnan(value):
        return UNKNOWN
    told = number_text(value, digits, sign)
    return told if math.isnan(low) else f"{told} [{number_text(low, digits, sign)}, {number_text(high, digits, sign)}]"


def digits_of(found: Sequence[Compared]) -> int:
    """Return the decimals that show two digits of the narrowest interval, 2 to 6."""
    widths = [one.pairs.high - one.pairs.low for one in found if one.pairs is not None]
    known = [width / 2 for width in widths if width > 0]
    return min(6, max(2, 1 - math.floor(math.log10(min(known))))) if known else 4


def number_text(value: float, digits: int, sign: str = "") -> str:
    """Return a number as a table says it, – for NaN; ``sign`` is ``+`` where both signs are told."""
    if math.isnan(value):
        return UNKNOWN
    told = f"{value:{sign},.{digits}f}"
    # What rounds to zero has no sign.
    return told.replace("-", "−") if float(told.replace(",", "")) else f"{0:.{digits}f}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def _latex_line(cells: Sequence[str]) -> str:
    return " & ".join(map(latex_escaped, cells)) + r" \\"


def latex_escaped(text: str) -> str:
    """Return a text with the signs that LaTeX reads as commands written out, and its quotes as LaTeX has them."""
    return re.sub(r'"([^"]*)"', r"``\1''", text.translate(_LATEX))


def latex_label(kind: str, name: str) -> str:
    r"""Return ``\label{kind:name}``, the name in letters, digits and hyphens."""
    return rf"\label{{{kind}:{re.sub('[^a-z0-9]+', '-', name.lower()).strip('-')}}}"

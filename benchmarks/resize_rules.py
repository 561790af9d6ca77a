"""Error at equal size: one budget over all matrices, beside the rules that other tools apply layer by layer.

    python benchmarks/resize_rules.py [MORE_ADAPTERS ...]

Each rule is written here from its formula; σ are those of one ΔW, descending, and a rule says how many of them stay:

- ``sv_ratio`` (kohya-ss/sd-scripts): those above σ₁ / t.
- ``sv_cumulative`` (the same): the first k with Σσ ≥ t of the whole.
- ``sv_fro`` (the same): the first k with √Σσ² ≥ t of the whole.
- ``sv_knee`` (KJNodes): up to the point of (i, σᵢ) farthest below the line between its ends. It has no setting.
- ``energy`` (PEFT's ``convert_to_lora`` with a float as rank): the first k with Σσ² ≥ t of the whole.

``sv_fro`` and ``energy`` are one rule with two names for its setting. sd-scripts keeps at most r − 1 directions of a
matrix; here a rule may also keep all, which only helps it. The setting t of a rule is searched for the largest result
of at most a share of the parameters; one budget over all matrices then gets what that rule took, and no more. Numbers
have one type, so that equal parameters are equal bytes of factors. A cell is: error of the rule / error of one budget
(share of the parameters that both took). The script fails where a rule has less error.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from analysis.adapters import (
    AdapterSpectra,
    analyse_adapter,
    suggest_ranks,
    total_error,
    truncation_errors,
)
from analysis.adapters.files import CONFIG, WEIGHTS, NewTensor, write_tensors
from analysis.adapters.own import open_any

SHARES = (0.75, 0.5, 0.25)
SAMPLES = Path(__file__).parents[1] / "sample_runs" / "adapters"
Rule = Callable[[np.ndarray, float], int]
"""f(σ descending, t in [0, 1]: 1 keeps most) → directions that stay."""


def first_reaching(values: np.ndarray, share: float) -> int:
    """Return the smallest k whose first k values sum to at least a share of all."""
    held = np.cumsum(values)
    return int(np.searchsorted(held, share * held[-1] * (1 - 1e-12))) + 1


def knee(values: np.ndarray) -> int:
    """Return the place, from 1, farthest below the straight line between the first and the last value."""
    if len(values) < 3 or values[0] == values[-1]:
        return len(values)
    x = np.linspace(0, 1, len(values))
    y = (values - values[-1]) / (values[0] - values[-1])
    return int(np.argmax(1 - x - y)) + 1


RULES: dict[str, Rule] = {
    # t = 1 − 1 / ratio would do as well: any monotone setting finds the same results.
    "sv_ratio": lambda values, t: int((values > (1 - t) * values[0]).sum()),
    "sv_cumulative": first_reaching,
    "sv_fro, energy": lambda values, t: first_reaching(np.square(values), t),
    "sv_knee": lambda values, t: knee(values),
}


def ranks_by(spectra: AdapterSpectra, rule: Rule, t: float) -> dict[str, int]:
    """Return matrix → rank by a rule; one direction of a dead matrix."""
    return {
        matrix.name: max(1, min(rule(values, t), len(values))) if values[0] > 0 else 1
        for matrix, values in spectra.rows()
    }


def parameters(spectra: AdapterSpectra, ranks: dict[str, int]) -> int:
    """Return Σ rank · (in + out)."""
    return sum(ranks[matrix.name] * matrix.cost for matrix in spectra.adapter.matrices)


def largest_within(spectra: AdapterSpectra, rule: Rule, limit: float) -> dict[str, int] | None:
    """Return the largest result of a rule within a number of parameters; None where even its smallest is larger."""
    low, high = 0.0, 1.0
    if parameters(spectra, ranks_by(spectra, rule, low)) > limit:
        return None
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if parameters(spectra, ranks_by(spectra, rule, middle)) <= limit else (low, middle)
    return ranks_by(spectra, rule, low)


def error(spectra: AdapterSpectra, ranks: dict[str, int]) -> float:
    """Return ‖ΔW − ΔW'‖_F / ‖ΔW‖_F over all matrices."""
    return total_error(truncation_errors(spectra, ranks), spectra)["relative"]


def random_adapter(folder: Path, seed: int = 0) -> Path:
    """Write Gaussian factors of 24 matrices of three shapes and of unlike norms."""
    rng, tensors = np.random.default_rng(seed), {}
    for layer in range(8):
        for name, (width, height) in {"q_proj": (96, 96), "up_proj": (96, 384), "down_proj": (384, 96)}.items():
            for part, shape in (("A", (16, width)), ("B", (height, 16))):
                array = (rng.normal(size=shape) * rng.uniform(0.2, 2)).astype("<f4")
                key = f"base_model.model.layers.{layer}.{name}.lora_{part}.weight"
                tensors[key] = NewTensor("F32", shape, array.tobytes)
    folder.mkdir()
    write_tensors(folder / WEIGHTS, tensors)
    (folder / CONFIG).write_text(json.dumps({"peft_type": "LORA", "r": 16, "lora_alpha": 16}))
    return folder


def cell(spectra: AdapterSpectra, name: str, limit: float) -> str:
    """Return what a rule and one budget lose within a number of parameters."""
    ranks = largest_within(spectra, RULES[name], limit)
    if ranks is None:
        return "cannot"
    taken, theirs = parameters(spectra, ranks), error(spectra, ranks)
    ours = error(spectra, suggest_ranks(spectra, "parameters", taken).ranks)
    if ours > theirs + 1e-9:
        raise SystemExit(f"{name} at {taken} parameters: {theirs} is less than ours, {ours}")
    return f"{theirs:.2%} / {ours:.2%} ({taken / spectra.adapter.parameters:.1%})"


def main() -> None:
    """Print a Markdown table an adapter."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("adapters", nargs="*", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        own = [path for path in sorted(SAMPLES.iterdir()) if path.is_dir()]
        for path in [*own, *options.adapters, random_adapter(Path(made) / "random")]:
            spectra = analyse_adapter(open_any(path))
            sizes = f"{len(spectra.adapter.matrices)} matrices, {spectra.adapter.parameters:,} parameters"
            head = " | ".join(f"≤ {share:.0%}" for share in SHARES)
            sys.stdout.write(f"\n{path.name}: {sizes}\n\n| rule | {head} |\n|{'---|' * (len(SHARES) + 1)}\n")
            whole = spectra.adapter.parameters
            for name in RULES:
                shares = SHARES if name != "sv_knee" else (1.0,)
                cells = [cell(spectra, name, share * whole) for share in shares]
                sys.stdout.write(f"| {name} | {' | '.join(cells + [''] * (len(SHARES) - len(cells)))} |\n")


if __name__ == "__main__":
    main()

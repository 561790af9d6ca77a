"""Spectra and places that are unlike what training usually leaves."""

from __future__ import annotations

import numpy as np

from analysis.adapters.adapter import AdapterMatrix
from analysis.adapters.atlas import load_atlas
from analysis.adapters.atlas.quantities import shares
from analysis.adapters.doctor.finding import LOOK, NOTE, Check, Examined, Finding

SPIKE = 10.0
"""σ₁ of a matrix as a multiple of the middle one's."""
SPIKE_SHARE = 0.9
"""Share of the matrix's energy in σ₁."""
ONE_LAYER = 0.9
"""Share of the energy in one layer."""
FEWEST = 4
"""Layers, or matrices, below which nothing is unusual."""


def spiked(examined: Examined) -> dict[str, float]:
    """Return matrix → its σ₁ as a multiple of the middle matrix's, of the rank-1 spikes."""
    tops = {matrix.name: float(values[0]) for matrix, values in examined.live}
    if len(tops) < FEWEST:
        return {}
    middle = float(np.median(list(tops.values())))
    return {
        matrix.name: tops[matrix.name] / middle
        for matrix, values in examined.live
        if tops[matrix.name] > SPIKE * middle and len(values) > 1 and shares(values)[0] > SPIKE_SHARE
    }


def _spike(examined: Examined) -> Finding | None:
    spikes = spiked(examined)
    if not spikes:
        return None
    found, ratio = list(spikes), max(spikes.values())
    return Finding(
        "spike",
        LOOK,
        f"A rank-1 spike {examined.named(found)}: its σ is {ratio:.0f} times the middle matrix's.",
        "Where adapters are stacked, one direction drowns the rest: scale it down, or train at a lower rate.",
        ratio,
        tuple(found),
    )


def layer_path(matrix: AdapterMatrix) -> str:
    """Return where the layer of a matrix stands, as ``model.layers.3``; empty outside the layers.

    Its number alone where the name does not hold it, as where a map gives the place.
    """
    words, number = matrix.name.split("."), str(matrix.layer)
    if matrix.layer is None or number not in words:
        return "" if matrix.layer is None else number
    return ".".join(words[: words.index(number) + 1])


def _one_layer(examined: Examined) -> Finding | None:
    place = {matrix.name: layer_path(matrix) for matrix in examined.adapter.matrices}
    energies = dict.fromkeys(place.values(), 0.0)
    for matrix, values in examined.live:
        energies[place[matrix.name]] += float(np.square(values).sum())
    whole = sum(energies.values())
    if len(energies) < FEWEST or not whole:
        return None
    path = max(energies, key=lambda key: energies[key])
    share = energies[path] / whole
    if share <= ONE_LAYER:
        return None
    own = tuple(name for name, one in place.items() if one == path)
    stacks = {one.rpartition(".")[0] for one in energies if one}
    number = path.rpartition(".")[2]
    told = "outside the layers" if not path else f"in {path}" if len(stacks) > 1 else f"in layer {number}"
    return Finding(
        "one_layer",
        LOOK,
        f"{share:.0%} of the energy lies {told}, one of {len(energies)} places.",
        "The others hardly change the model: leaving them out makes the file smaller. If that is not intended, look at "
        "which layers had a gradient.",
        share,
        own,
        "--energy 0.999 --drop --out NEW_FOLDER",
    )


def _noisy_tail(examined: Examined) -> Finding | None:
    atlas, found = load_atlas(), {}
    for matrix, values in examined.live:
        if len(values) < FEWEST:
            continue
        tail = float(shares(values)[(len(values) + 1) // 2 :].sum())
        if tail >= atlas.quantile("tail_share", len(values), 5, "random"):
            found[matrix.name] = tail
    if len(found) * 2 <= len(examined.live):
        return None
    middle = float(np.median(list(found.values())))
    return Finding(
        "noisy_tail",
        NOTE,
        f"The smaller half of the directions holds {middle:.0%} of the energy {examined.named(tuple(found))}, as in "
        "factors that were never trained.",
        "Of the Lab's sample of trained adapters hardly any look so: compare validation and training loss before "
        "trusting the small directions.",
        middle,
        tuple(found),
    )


SHAPE = (
    Check(
        "spike",
        "Rank-1 spikes",
        f"σ₁ above {SPIKE:g} times the middle matrix's, and more than {SPIKE_SHARE:.0%} of that matrix's energy in it",
        "the atlas's trained adapters stay below: see their largest σ₁ as a multiple of the middle one's",
        _spike,
    ),
    Check(
        "one_layer",
        "Everything in one layer",
        f"more than {ONE_LAYER:.0%} of Σσ² in one of {FEWEST} layers or more",
        "no adapter of the atlas comes near it",
        _one_layer,
    ),
    Check(
        "noisy_tail",
        "A tail like noise",
        "in more than half of the matrices the smaller half of the directions holds as much as in random factors",
        "that is the 5 % quantile of the atlas's untrained factors at the nearest rank",
        _noisy_tail,
    ),
)

"""``open_adapter``: from a path to an adapter, in whichever format it is stored."""

from __future__ import annotations

from pathlib import Path

from analysis.adapters.adapter import Adapter, AdapterMatrix
from analysis.adapters.files import AdapterError
from analysis.adapters.formats.products import LOW_RANK
from analysis.adapters.formats.record import Entry, Opened
from analysis.adapters.formats.table import read_contents
from analysis.adapters.places import find_adapter
from flexlora.matrix_places import natural_order, place_matrices


def open_adapter(path: str | Path) -> Adapter:
    """Open an adapter in any of ``FORMATS``: a folder, a file, a zip, or ``owner/name`` of the hub (as text).

    No weights are read yet.

    Raises:
        SeveralAdapters: a folder that holds more than one.
        AdapterError: what is there is no such adapter, in one line that says what to do.
    """
    found = find_adapter(path)
    key, contents = read_contents(Opened(found.store, found.config))
    entries = sorted(contents.entries, key=lambda entry: natural_order(entry.name))
    if not entries:
        reasons = ", ".join(sorted(set(contents.skipped.values())))
        raise AdapterError(f"No weight is adapted here, only: {reasons}. There is nothing to analyse.")
    places = place_matrices([entry.name for entry in entries])
    matrices = [
        AdapterMatrix(
            entry.name,
            places[entry.name].layer,
            places[entry.name].module_type,
            entry.product.shape[1],
            entry.product.shape[0],
            entry.product.rank,
            entry.scale,
            places[entry.name].block,
            entry.layer_kind,
            entry.kernel,
            entry.product.parameters,
        )
        for entry in entries
    ]
    return Adapter(
        found.name,
        key,
        found.config,
        contents.kind,
        contents.label,
        matrices,
        contents.carried,
        contents.skipped,
        [*contents.notices, *_notices(entries), *_beside(found.beside)],
        found.store,
        {entry.name: entry for entry in entries},
    )


def _notices(entries: list[Entry]) -> list[str]:
    """Return what is to know of ranks, one line a kind and not one a matrix."""
    found = []
    unlike = [e for e in entries if e.asked_rank is not None and e.asked_rank != e.product.directions]
    if unlike:
        first = unlike[0]
        more = f", and {len(unlike) - 1} more" if len(unlike) > 1 else ""
        found.append(
            f"{first.name} has rank {first.product.directions} in the file but {first.asked_rank} in the configuration"
            f"{more}; the file's is used."
        )
    wide = [e for e in entries if e.product.directions > e.product.rank and LOW_RANK in e.product.form]
    if wide:
        first = wide[0]
        more = f", and {len(wide) - 1} more" if len(wide) > 1 else ""
        found.append(
            f"{first.name} is stored at r = {first.product.directions}, but {first.product.shape[0]} × "
            f"{first.product.shape[1]} has at most {first.product.rank} directions{more}: rank is counted as that."
        )
    return found


def _beside(names: list[str]) -> list[str]:
    if not names:
        return []
    told = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    return [f"Folders below hold adapters of their own, which are not opened here: {told}."]

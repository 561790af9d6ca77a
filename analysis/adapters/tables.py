"""An analysed adapter as files and as one JSON object."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from analysis.adapters.spectra import AdapterSpectra
from analysis.adapters.words import describe_adapter

if TYPE_CHECKING:
    import pandas as pd


def frame(spectra: AdapterSpectra) -> pd.DataFrame:
    """Return the table, one row a matrix, undefined as missing; ``singular_values`` last, a list each."""
    # A table as text or JSON needs no pandas.
    import pandas as pd

    rows = spectra.table()
    table = pd.DataFrame(rows).astype({"layer": "Int64"})
    return table.assign(singular_values=[spectra.singular_values[row["matrix"]].tolist() for row in rows])


def _csv(spectra: AdapterSpectra) -> bytes:
    table = frame(spectra)
    table["singular_values"] = [" ".join(f"{value:.9g}" for value in values) for values in table["singular_values"]]
    return table.to_csv(index=False).encode()


def _parquet(spectra: AdapterSpectra) -> bytes:
    buffer = io.BytesIO()
    frame(spectra).to_parquet(buffer, index=False)
    return buffer.getvalue()


def _json(spectra: AdapterSpectra) -> bytes:
    return json.dumps(adapter_report(spectra), indent=1).encode()


TABLE_FILES: dict[str, Callable[[AdapterSpectra], bytes]] = {"csv": _csv, "parquet": _parquet, "json": _json}
"""File ending → f(spectra) → content of the file."""


def adapter_report(spectra: AdapterSpectra) -> dict[str, Any]:
    """Return all that is known about an adapter, as plain JSON values: no NaN, undefined is null."""
    adapter = spectra.adapter
    finite = spectra.finite()
    rows = [
        {**row, "singular_values": finite[row["matrix"]].tolist() if row["matrix"] in finite else None}
        for row in spectra.table()
    ]
    return {
        "adapter": adapter.name,
        "kind": adapter.kind,
        "base_model": (adapter.config or {}).get("base_model_name_or_path"),
        "total_rank": sum(matrix.rank for matrix in adapter.matrices),
        "parameters": adapter.parameters,
        "matrices": rows,
        "carried": adapter.carried,
        "skipped": adapter.skipped,
        "sentences": describe_adapter(spectra),
        "notices": spectra.notices,
    }

"""An analysed adapter as files and as one JSON object."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from analysis.adapters.spectra import AdapterSpectra
from analysis.adapters.words import describe_adapter
from analysis.tables.columns import write_csv_bytes, write_parquet_bytes


def _table(spectra: AdapterSpectra, listed: Callable[[list[float]], Any]) -> pa.Table:
    """Return one row a matrix, undefined as null; ``singular_values`` last, as ``listed`` makes them."""
    values = [listed(values.tolist()) for _, values in spectra.rows()]
    return pa.Table.from_pylist(spectra.table()).append_column("singular_values", pa.array(values))


def _csv(spectra: AdapterSpectra) -> bytes:
    return write_csv_bytes(_table(spectra, lambda values: " ".join(f"{value:.9g}" for value in values)))


def _json(spectra: AdapterSpectra) -> bytes:
    return json.dumps(adapter_report(spectra), indent=1).encode()


def _parquet(spectra: AdapterSpectra) -> bytes:
    return write_parquet_bytes(_table(spectra, list))


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
        "format": adapter.format,
        "kind": adapter.kind,
        "base_model": adapter.base_model,
        "total_rank": sum(matrix.rank for matrix in adapter.matrices),
        "parameters": adapter.parameters,
        "matrices": rows,
        "carried": adapter.carried,
        "skipped": adapter.skipped,
        "sentences": describe_adapter(spectra),
        "notices": spectra.notices,
    }

"""An adapter as one file to share."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import streamlit as st

from adapters.findings import findings_of
from adapters.source import Source, mapped
from adapters.triage import found_beside
from analysis.report.adapter import adapter_html
from widgets import download


def offer_report(source: Source) -> None:
    """Offer what is known about an adapter as one HTML file; it is made when it is asked for."""
    spectra = mapped(source)
    findings = findings_of(source.spectra)
    beside = found_beside(source)
    label, today = source.label, date.today().isoformat()
    typed = Path(st.session_state.get("adapters_path", ""), source.choice)
    # The whole path is the server's own, and the file is to be shared.
    where = today if source.uploaded else f"{'/'.join(typed.parts[-2:])} · {today}"
    download(
        "Report",
        lambda: adapter_html(spectra, findings, label, where, beside).encode(),
        f"{label}.html",
        "adapters_report",
        mime="text/html",
        help="One HTML file: findings, sizes, spectra, numbers and error against size. It needs no server.",
    )

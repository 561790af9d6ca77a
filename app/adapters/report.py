"""An adapter as one file to share."""

from __future__ import annotations

from adapters.findings import findings_of
from adapters.source import Source, mapped
from analysis.report.adapter import adapter_html
from widgets import download


def offer_report(source: Source) -> None:
    """Offer what is known about an adapter as one HTML file; it is made when it is asked for."""
    spectra = mapped(source)
    findings = findings_of(source.spectra)
    label = source.label
    download(
        "Report",
        lambda: adapter_html(spectra, findings, label).encode(),
        f"{label}.html",
        "adapters_report",
        mime="text/html",
        help="One HTML file: findings, numbers, spectra and error against size. It needs no server and no network.",
    )

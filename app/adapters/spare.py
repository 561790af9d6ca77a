"""What an adapter carries without need: how much smaller it is without, as a zip with one click."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import streamlit as st

from adapters.source import Source
from adapters.zips import smaller_name, zipped
from analysis.adapters import (
    SAME,
    AdapterError,
    AdapterSpectra,
    Suggestion,
    compress_adapter,
    describe_suggestion,
    forms_of,
    size_at,
    size_now,
    total_error,
)
from analysis.adapters.doctor.nothing import HARDLY, NO_LOSS
from analysis.adapters.suggestion import without_spare
from runs.store import plain
from widgets import act, download, progress

LOSSES = {"unused": NO_LOSS, "dead": NO_LOSS, "faint": HARDLY, "one_layer": HARDLY}
"""Check whose finding is mended by leaving directions out → error of ΔW, as a share, that this may cost."""
KEPT = "adapters_spare"


class Spare(NamedTuple):
    """An adapter without what it does not need, as a zip: of which adapter and finding, and what to say of it."""

    spectra: AdapterSpectra
    check: str
    file: str
    content: bytes
    told: str


def offer_spare(source: Source, check: str) -> None:
    """Offer a smaller adapter below a finding, and draw what was made; nothing where it cannot be written."""
    spectra = source.spectra
    if check not in LOSSES or forms_of(spectra.adapter)[SAME]:
        return
    found = _found(spectra, LOSSES[check])
    if found is None:
        return
    before, after = size_now(spectra.adapter).total, size_at(spectra.adapter, found.ranks).total
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(
            f"Without them: total rank {sum(m.rank for m in spectra.adapter.matrices):,} → {found.total_rank:,}, file "
            f"{before / 1e3:,.1f} → {after / 1e3:,.1f} kB ({after / before:.0%}), error of ΔW {_share(found.error)}."
        )
        act("Make a zip without them", f"adapters_unpad_{check}", ":material/compress:", _make, source, check, found)
    made: Spare | None = st.session_state.get(KEPT)
    if made is not None and made.spectra is spectra and made.check == check:
        st.success(plain(made.told), icon=":material/check:")
        download(f"Download {made.file}", made.content, made.file, f"adapters_spare_{check}", mime="application/zip")


def _found(spectra: AdapterSpectra, loss: float) -> Suggestion | None:
    """Return what would stay, found once for as long as the adapter is open."""
    kept: dict[Any, Any] = st.session_state.setdefault("adapters_without", {})
    if kept.get("of") is not spectra:
        kept.clear()
        kept["of"] = spectra
    if loss not in kept:
        kept[loss] = without_spare(spectra, loss)
    found: Suggestion | None = kept[loss]
    return found


def _make(source: Source, check: str, found: Suggestion) -> None:
    spectra = source.spectra
    file = f"{smaller_name(source.label, found.ranks, size_at(spectra.adapter, found.ranks).total)}.zip"
    try:
        with tempfile.TemporaryDirectory() as made, progress("Truncating") as count:
            folder = Path(made) / "adapter"
            errors = compress_adapter(spectra, found.ranks, folder, count)
            content = zipped(folder)
    except AdapterError as error:
        st.session_state.pop(KEPT, None)
        st.error(plain(str(error)), icon=":material/error:")
        return
    measured = total_error(errors, spectra)["relative"]
    told = f"{file} is ready. {describe_suggestion(spectra, found)} Measured on the file: error {_share(measured)}."
    st.session_state[KEPT] = Spare(spectra, check, file, content, told)


def _share(error: float) -> str:
    return f"{error:.2%}" if error >= NO_LOSS * 100 else "below 0.01%"

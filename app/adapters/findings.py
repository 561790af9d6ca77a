"""What the doctor found, on top of an adapter; the atlas's numbers beside its own."""

from __future__ import annotations

import streamlit as st

from adapters.source import Source, mapped
from adapters.spare import offer_spare
from adapters.triage import found_beside
from analysis.adapters import AdapterSpectra
from analysis.adapters.atlas import load_atlas
from analysis.adapters.atlas.beside import LABELS, UNUSUAL, beside_atlas, caution, conclusion
from analysis.adapters.doctor import BESIDE_OTHERS, CHECKS, Finding, examine, in_order, verdict
from analysis.adapters.doctor.neighbours import LABEL as NEIGHBOURS_LABEL
from runs.store import plain

ICONS = {"wrong": ":material/error:", "look": ":material/warning:", "note": ":material/info:"}
COLOURS = {"wrong": "red", "look": "orange", "note": "blue"}
CLEAR = ":material/check_circle:"


def findings_of(spectra: AdapterSpectra) -> list[Finding]:
    """Return the findings of an adapter, made once for as long as it is open: the checks read every factor."""
    kept: tuple[AdapterSpectra, list[Finding]] | None = st.session_state.get("adapters_findings")
    if kept is None or kept[0] is not spectra:
        with st.spinner("Looking for defects …"):
            kept = (spectra, examine(spectra))
        st.session_state["adapters_findings"] = kept
    return kept[1]


def say_findings(source: Source) -> None:
    """Draw a line a finding, the worst first, and what was looked for."""
    found = findings_of(source.spectra)
    beside = found_beside(source)
    shown = in_order([*found, beside]) if beside else found
    with st.container(border=True):
        for finding in shown:
            told = (
                f":{COLOURS[finding.level]}[{ICONS[finding.level]}] **{plain(finding.text)}** {plain(finding.advice)}"
            )
            st.markdown(told)
            if "…" in finding.text:
                with st.expander(f"The {len(finding.matrices)} matrices"):
                    st.markdown("  \n".join(plain(name) for name in finding.matrices))
            offer_spare(source, finding.check)
        with st.container(horizontal=True, vertical_alignment="center"):
            if not shown:
                st.markdown(f":green[{CLEAR}] {verdict(found, source.spectra.adapter)}")
            else:
                more = " And 1 beside the other adapters of the folder." if beside else ""
                st.caption(verdict(found, source.spectra.adapter) + more)
            with st.popover("What is checked", icon=":material/stethoscope:"):
                st.caption(
                    plain(f"The atlas named below: {load_atlas().what_it_is()}, trained for this. See What is usual.")
                )
                for check in CHECKS.values():
                    st.markdown(f"**{check.label}**: {plain(check.threshold)}  \n:small[{plain(check.evidence)}]")
                st.markdown(f"**{NEIGHBOURS_LABEL}**, in a folder of several: {plain(BESIDE_OTHERS['neighbours'])}")


def usual_section(source: Source) -> None:
    """Draw the adapter's numbers beside those of the atlas."""
    rows = beside_atlas(mapped(source))
    if not rows:
        st.info("No matrix has a defined spectrum.", icon=":material/info:")
        return
    st.markdown(plain(conclusion(mapped(source), rows)))
    st.caption(
        f"{caution()} Of a matrix the middle one is shown; low and high hold 90 % of the sample, percentile says how "
        "many of it lie below."
    )
    st.dataframe(
        [
            {
                "quantity": LABELS[row.quantity],
                "here": row.value,
                "low": row.low,
                "high": row.high,
                "beside the sample": UNUSUAL[row.side],
                "percentile": row.percentile,
                "of random factors": row.untrained,
            }
            for row in rows
        ],
        hide_index=True,
        key="adapters_usual",
        column_config={
            **{name: st.column_config.NumberColumn(name, format="%.3g") for name in ("here", "low", "high")},
            "percentile": st.column_config.ProgressColumn("percentile", min_value=0, max_value=100, format="%.0f %%"),
            "of random factors": st.column_config.ProgressColumn(
                "percentile among random factors", min_value=0, max_value=100, format="%.0f %%"
            ),
        },
    )

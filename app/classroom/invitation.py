"""How others join, for the leader to show."""

from __future__ import annotations

import streamlit as st

from classroom.announce import qr_svg
from classroom.room import Room
from runs.store import plain


def invitation(room: Room) -> None:
    """Draw code, address and QR code."""
    code = room.codes.code
    told, picture = st.columns([0.62, 0.38], vertical_alignment="center")
    with told:
        st.markdown("**Code of the class**")
        st.html(f'<p class="lab-code">{code[:3]} {code[3:]}</p>')
        st.markdown("  \n".join(f"{plain(address)}" for address in room.addresses))
    svg = qr_svg(f"{room.addresses[0]}/?code={code}") if room.addresses else None
    if svg is not None:
        picture.image(svg, width=200)

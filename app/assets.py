"""The browser's files as the server hands them out: one address that changes with them, so that nobody asks twice."""

from __future__ import annotations

import hashlib

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from analysis.player_modules import FOLDER

KINDS = {".js": "text/javascript", ".css": "text/css"}
FILES = {
    path.relative_to(FOLDER).as_posix(): path.read_bytes()
    for path in sorted(FOLDER.rglob("*"))
    if path.suffix in KINDS and path.is_file()
}
"""Path below the app's folder → content, as it was when the server started."""
ADDRESS = f"lab/js/{hashlib.blake2s(repr(FILES).encode(), digest_size=6).hexdigest()}"
"""Where they are, seen from a page."""
_FOR_EVER = {"Cache-Control": "public, immutable, max-age=31536000", "X-Content-Type-Options": "nosniff"}


def loader(module: str) -> str:
    """Return the script of a Streamlit component whose render function a module below the app's folder exports.

    Streamlit sends it each time.
    """
    # One line alone would be taken for the name of a file.
    return f'export default async (c) =>\n(await import(new URL("{ADDRESS}/{module}", document.baseURI))).default(c);'


def route(base: str) -> Route:
    """What the server answers; ``base`` is where the app is, without a slash at its end."""
    return Route(f"{base}/{ADDRESS}/{{name:path}}", _hand_out)


async def _hand_out(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in FILES:
        return PlainTextResponse("There is no such file.", 404)
    return Response(FILES[name], media_type=KINDS[name[name.rindex(".") :]], headers=_FOR_EVER)

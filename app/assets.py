"""The browser's files as the server hands them out: one address that changes with them, so that nobody asks twice."""

from __future__ import annotations

import gzip
import hashlib

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

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
_PACKED = {path: gzip.compress(content, mtime=0) for path, content in FILES.items()}
_FOR_EVER = {
    "Cache-Control": "public, immutable, max-age=31536000",
    "Vary": "Accept-Encoding",
    "X-Content-Type-Options": "nosniff",
}


def loader(module: str) -> str:
    """Return the script of a Streamlit component whose render function a module exports; Streamlit sends it each time.

    Args:
        module: path below the app's folder.
    """
    # One line alone would be taken for the name of a file.
    return f'export default async (c) =>\n(await import(new URL("{ADDRESS}/{module}", document.baseURI))).default(c);'


async def hand_out(path: str, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request for one of the files, ``path`` seen from a page."""
    name = path.removeprefix(f"{ADDRESS}/")
    if name not in FILES:
        await PlainTextResponse("There is no such file.", 404)(scope, receive, send)
        return
    packed = "gzip" in Headers(scope=scope).get("accept-encoding", "")
    headers = {**_FOR_EVER, "Content-Encoding": "gzip" if packed else "identity"}
    kind = KINDS[name[name.rindex(".") :]]
    await Response((_PACKED if packed else FILES)[name], media_type=kind, headers=headers)(scope, receive, send)

"""The page at which one joins a class: plain HTML that runs no script."""

from __future__ import annotations

from html import escape

from classroom.codes import LENGTH
from classroom.member import LONGEST_NAME

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
_STYLE = """
:root { color-scheme: light dark; --ground: light-dark(#ffffff, #12171c); --text: light-dark(#10181f, #e3e8eb);
  --line: light-dark(#84929b, #6b7a86); --accent: light-dark(#0b7285, #4ab8c9); --wrong: light-dark(#a61b1b, #ff9d94); }
* { box-sizing: border-box; }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1rem; background: var(--ground);
  color: var(--text); font: 400 17px/1.45 "Source Sans", system-ui, sans-serif; }
main { width: min(26rem, 100%); }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; overflow-wrap: anywhere; } p { margin: 0 0 1.1rem; }
label { display: block; margin: 0 0 1rem; font-weight: 600; }
input { display: block; width: 100%; margin-top: .3rem; padding: .6rem .7rem; border: 1px solid var(--line);
  border-radius: 6px; background: transparent; color: inherit; font: inherit; font-weight: 400; }
.code { text-transform: uppercase; letter-spacing: .2em; font-size: 1.3rem; }
button { width: 100%; padding: .7rem; border: 0; border-radius: 6px; background: var(--accent);
  color: light-dark(#ffffff, #12171c); font: inherit; font-weight: 600; cursor: pointer; }
:is(input, button):focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.wrong { color: var(--wrong); font-weight: 600; } small { display: block; margin-top: 1rem; opacity: .85; }
"""


def join_page(base: str, title: str, *, code: str = "", name: str = "", to: str = "", wrong: str = "") -> str:
    """Return the page of a class.

    Args:
        base: where the app is, without a slash at its end.
        title: name of the class.
        code: what the address brought, or was typed.
        name: what was typed.
        to: the address that was asked for, to go on to.
        wrong: why the last try let nobody in.
    """
    form = (
        f'<label>Code of the class<input class="code" name="code" value="{escape(code)}" required maxlength="20" '
        f'autocomplete="off" autocapitalize="characters" spellcheck="false" {"" if code else "autofocus"}></label>'
    )
    told = f"Type the {LENGTH} letters that your leader shows, and the name that others shall see."
    small = "A cookie remembers this browser. Your name, votes and progress stay on this server."
    return _page(base, "join", title, told, form, name, to, wrong, "Join", small)


def leader_page(base: str, title: str, *, token: str = "", name: str = "", wrong: str = "") -> str:
    """Return the page at which the leader's link arrives; only its button takes the lead, so that nothing that merely
    looks at links does.
    """
    form = f'<input type="hidden" name="token" value="{escape(token)}">'
    told = "This link makes this browser the leader's. Keep it to yourself."
    small = "A leader steers what everybody sees, and may stop every run."
    return _page(base, "leader", title, told, form, name or "Leader", "", wrong, "Lead this class", small)


def _page(
    base: str, way: str, title: str, told: str, form: str, name: str, to: str, wrong: str, button: str, small: str
) -> str:
    alarm = f'<p class="wrong" role="alert">{escape(wrong)}</p>' if wrong else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width, initial-scale=1"><title>{escape(title)} · FlexLoRA Lab</title>'
        f"<style>{_STYLE}</style></head><body><main><h1>{escape(title)}</h1><p>{told}</p>{alarm}"
        f'<form method="post" action="{escape(base)}/lab/class/{way}" accept-charset="utf-8">{form}'
        f'<input type="hidden" name="to" value="{escape(to)}">'
        f'<label>Your name<input name="name" value="{escape(name)}" required maxlength="{LONGEST_NAME}" '
        f'autocomplete="nickname"></label><button>{button}</button></form><small>{small}</small></main></body></html>'
    )

"""As what a resized adapter is written: in the format that was read, as plain LoRA there, or as PEFT's."""

from __future__ import annotations

from dataclasses import replace

from analysis.adapters.adapter import Adapter
from analysis.adapters.files import AdapterError
from analysis.adapters.formats.format import Writer
from analysis.adapters.formats.peft_plan import PEFT_WRITER
from analysis.adapters.formats.plan import Plan, Ranks
from analysis.adapters.formats.table import FORMATS

SAME, PLAIN, AS_PEFT = "same", "lora", "peft"
FORMS: dict[str, str] = {
    SAME: "the format that was read",
    PLAIN: "a plain LoRA under the names of that format, also of LoHa, LoKr and whole differences",
    AS_PEFT: "a LoRA adapter of PEFT",
}
"""Key of a form → as what an adapter is written."""


def planned(adapter: Adapter, ranks: Ranks, dtype: str | None = None, form: str = SAME) -> Plan:
    """Return the files that ``compress_adapter`` would write; of one that cannot be written, what they would take."""
    plan = _writer(adapter, form).plan(adapter, ranks, dtype)
    told = _turned(adapter)
    return replace(plan, notices=(*told, *plan.notices)) if told else plan


def check_writable(adapter: Adapter, ranks: Ranks, form: str = SAME) -> None:
    """Raise ``AdapterError`` where an adapter cannot be written in a form at these ranks, in one line that says why."""
    writer = _writer(adapter, form)
    if form == SAME and adapter.kind not in ("LORA", "ADALORA"):
        raise AdapterError(
            f"This is {adapter.label} as {adapter.format} stores it, which cannot be cut in that form: --as {PLAIN} "
            "writes it as a plain LoRA."
        )
    writer.check(adapter, ranks)


def forms_of(adapter: Adapter) -> dict[str, str]:
    """Return form → why an adapter cannot be written in it, with ranks as they are; empty = it can be."""
    whole = {matrix.name: matrix.rank for matrix in adapter.matrices}
    found = {}
    for form in FORMS:
        try:
            check_writable(adapter, whole, form)
            found[form] = ""
        except AdapterError as error:
            found[form] = str(error)
    return found


def one_rank(adapter: Adapter, form: str = SAME) -> bool:
    """Return whether all matrices must have one rank."""
    return _writer(adapter, form).one_rank


def _writer(adapter: Adapter, form: str) -> Writer:
    if form not in FORMS:
        raise AdapterError(f"Unknown form {form!r}. Choose one of: {', '.join(FORMS)}.")
    if form == AS_PEFT:
        return PEFT_WRITER
    return next(own.writer for own in FORMATS if own.key == adapter.format)


def _turned(adapter: Adapter) -> tuple[str, ...]:
    if adapter.kind in ("LORA", "ADALORA"):
        return ()
    flat = [m for m in adapter.matrices if not m.kernel and adapter.entries[m.name].product.form == "Hadamard"]
    told = f"{adapter.label} is written as a plain LoRA, B A of the largest directions."
    if flat:
        told += " A convolution that is stored as a matrix stays one: not every loader gives it its kernel back."
    return (told,)

"""Files of kohya's scripts, LyCORIS and ComfyUI: flat names, ``.alpha`` beside each pair."""

from __future__ import annotations

from analysis.adapters.files import AdapterError
from analysis.adapters.formats.format import Format
from analysis.adapters.formats.lycoris import PARTS
from analysis.adapters.formats.module_paths import component_of
from analysis.adapters.formats.pairs import STRANGE, Scale, module_entry, pair_kinds, pair_notices, sort_pairs
from analysis.adapters.formats.pairs_plan import PAIRS_WRITER
from analysis.adapters.formats.record import Contents, Opened

_MARKS = (".lora_down.weight", ".lora_up.weight", *(f".{part}" for part in PARTS), ".diff", *STRANGE)


def _is_kohya(opened: Opened) -> bool:
    if any(name.endswith(_MARKS) for name in opened.tensors):
        return True
    # ``lora_A`` and ``lora_B`` under names of ComfyUI: an alpha in the file says that no configuration was beside it.
    return opened.config is None and any(
        f"{name.removesuffix('.alpha')}.lora_A.weight" in opened.tensors
        for name in opened.tensors
        if name.endswith(".alpha")
    )


def read_pairs(opened: Opened, no_alpha: str, scale: Scale) -> Contents:
    """Read modules that are stored as pairs, whatever they are called; ``no_alpha`` says what happens without one."""
    modules, carried, skipped = sort_pairs(opened)
    contents = Contents("LORA", "LoRA", carried=carried, skipped=skipped)
    if not modules:
        reasons = "; ".join(sorted(set(skipped.values()))) or "no pair of factors"
        raise AdapterError(f"There is nothing to analyse in this file: {reasons}.")
    taken: set[str] = set()
    for stored, module in modules.items():
        component, path = component_of(stored)
        name = f"{component}.{path}" if component else path
        # Two flat names may mean one dotted name: each stays as it is stored.
        name = stored if name in taken else name
        taken.add(name)
        contents.entries.append(module_entry(stored, name, module, scale))
    pair_kinds(modules, contents)
    contents.notices = pair_notices(modules, carried, no_alpha)
    return contents


KOHYA = Format(
    "kohya",
    "kohya, LyCORIS, ComfyUI",
    "one safetensors file: `lora_unet_…`, `lora_te1_…`, `diffusion_model.…`",
    "`lora_down` and `lora_up` with `alpha`, `lora_mid` (Tucker), LoHa, LoKr, whole differences (`diff`)",
    "differences of norms and biases; IA³, OFT and GLoRA by name",
    _is_kohya,
    lambda opened: read_pairs(opened, "taken as r, so s = 1, as kohya's loader does.", lambda name, rank: None),
    PAIRS_WRITER,
)

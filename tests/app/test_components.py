"""The component's modules, as text: what joining them into one script relies on."""

from __future__ import annotations

import json
import re
import struct
from posixpath import dirname, join, normpath

import pytest

from analysis.player_script import FOLDER, envelope, joined_modules, module_order, module_text

MODULES = module_order("player/source/component")
TEXTS = {name: module_text(name) for name in MODULES}


def imports_of(name: str) -> dict[str, set[str]]:
    """Module → names that are taken from it."""
    found = re.findall(r'^import \{ (.*) \} from "(\..*)\.js";$', TEXTS[name], re.MULTILINE)
    return {normpath(join(dirname(name), other)): set(names.split(", ")) for names, other in found}


def top_level_names(text: str) -> list[str]:
    return re.findall(r"^(?:export )?(?:async )?(?:const|let|class|function) (\w+)", text, re.MULTILINE)


@pytest.mark.parametrize("name", MODULES)
def test_a_module_stands_after_those_it_imports(name):
    earlier = MODULES[: MODULES.index(name)]
    assert set(imports_of(name)) <= set(earlier)


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_what_the_others_export(name):
    for other, names in imports_of(name).items():
        exported = re.findall(r"^export (?:async )?(?:const|class|function) (\w+)", TEXTS[other], re.MULTILINE)
        assert names <= set(exported)


def test_names_at_the_top_level_are_unique_because_joined_modules_share_one_scope():
    names = [name for text in TEXTS.values() for name in top_level_names(text)]
    assert sorted(names) == sorted(set(names))


def test_the_joined_script_has_no_import_and_exactly_one_export():
    script = joined_modules("player/source/component")
    assert not re.search(r"^import ", script, re.MULTILINE)
    assert re.findall(r"^export .*", script, re.MULTILINE) == [
        "export default function render({ data, parentElement, setStateValue }) {"
    ]


def test_nothing_is_fetched_from_elsewhere():
    script = joined_modules("player/source/component") + (FOLDER / "player/player.css").read_text(encoding="utf-8")
    assert set(re.findall(r"https?://[^\s\"')]+", script)) <= {"http://www.w3.org/2000/svg"}
    assert "innerHTML" not in script


@pytest.mark.parametrize("name", MODULES)
def test_a_module_stays_small(name):
    assert TEXTS[name].count("\n") <= 400


@pytest.mark.parametrize("matrix", ["", "a", "encoder.λ"])
def test_the_envelope_keeps_request_and_payload_apart_and_aligned(matrix):
    data = envelope(b"payload", {"matrix": matrix})
    (length,) = struct.unpack_from("<I", data)
    assert json.loads(data[4 : 4 + length]) == {"matrix": matrix}
    start = -(-(4 + length) // 8) * 8
    assert data[start:] == b"payload"

"""The browser's modules, as text: what a page without a server, and whoever reads them, relies on."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from posixpath import dirname, join, normpath

import pytest

from analysis.player_modules import FOLDER, import_map, module_closure, module_text

ENTRIES = (
    "player/source/component.js",
    "player/source/report.js",
    "player/source/frame.js",
    "player/source/words.js",
    "schedule/editor.js",
    "playground/component.js",
    "playground/file.js",
    "playground/worker.js",
    "learn/component.js",
    "learn/file.js",
    "runs/picker.js",
    "runs/gallery.js",
    "classroom/bar.js",
)
MODULES = sorted({name for entry in ENTRIES for name in module_closure(entry)})
TEXTS = {name: module_text(name) for name in MODULES}


def test_every_script_of_the_app_is_used():
    scripts = [path for path in FOLDER.rglob("*.js") if "export {};" not in path.read_text(encoding="utf-8")]
    assert sorted(path.relative_to(FOLDER).as_posix() for path in scripts) == MODULES


def test_each_module_is_named_once():
    for entry in ENTRIES:
        closure = module_closure(entry)
        assert closure[0] == entry and len(closure) == len(set(closure))


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_what_the_others_export(name):
    for names, other in re.findall(r'^import \{ (.*) \} from "(\..*)";$', TEXTS[name], re.MULTILINE):
        text = TEXTS[normpath(join(dirname(name), other))]
        exported = re.findall(r"^export (?:async )?(?:const|class|function) (\w+)", text, re.MULTILINE)
        assert set(names.split(", ")) <= set(exported)


def test_nothing_is_fetched_from_elsewhere():
    text = "".join(TEXTS.values())
    assert set(re.findall(r"https?://[^\s\"')]+", text)) <= {"http://www.w3.org/2000/svg"}
    assert "innerHTML" not in text


@pytest.mark.parametrize("name", MODULES)
def test_a_module_stays_small(name):
    assert TEXTS[name].count("\n") <= 400


def test_a_map_names_every_module_and_imports_by_those_names_only():
    found = import_map("player/source/report.js")
    for name, address in found.items():
        text = address.removeprefix("data:text/javascript;charset=utf-8,")
        assert not re.search(r"[\n\t#]|%(?![0-9A-F]{2})", text)
        imported = re.findall(r'^(?:import|export) .*?"([^"]+)";$', text.replace("%0A", "\n"), re.MULTILINE)
        assert set(imported) <= set(found)
        # Imports of types alone stand in comments.
        assert len(imported) == len(re.findall(r'^(?!/\*\* @import ).*from "\.|^import "\.', TEXTS[name], re.MULTILINE))


@pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")
def test_node_imports_the_modules_as_they_are():
    files = json.dumps([(FOLDER / f"player/model/{name}.js").as_uri() for name in ("model", "sorts", "container")])
    code = f"for (const file of {files}) for (const name in await import(file)) console.log(name);"
    done = subprocess.run(
        ["node", "--no-warnings", "--input-type=module", "-e", code], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert {"Model", "SORTS", "openPayload", "joined"} <= set(done.stdout.split())

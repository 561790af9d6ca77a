"""Packs: a folder of pages that need nothing, whole or not there at all."""

from __future__ import annotations

import re
import shutil
import subprocess
import urllib.parse
import zipfile
from html.parser import HTMLParser
from pathlib import Path

import pytest

from analysis.pack import folder as packing
from analysis.pack import write_pack
from analysis.pack.__main__ import main
from analysis.player_modules import import_map
from flexlora.errors import FlexLoRAError
from flexlora.run_log import RunLogError

SAMPLES = Path(__file__).parents[2] / "sample_runs"
ENTRIES = ("learn/file.js", "playground/file.js", "player/source/report.js")


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    return write_pack(tmp_path_factory.mktemp("packs") / "lab", SAMPLES)


class References(HTMLParser):
    """What a page refers to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found += [value for name, value in attrs if name in ("src", "href", "action", "data") and value]


def test_every_link_of_a_pack_leads_to_a_page_of_it(pack):
    pages = list(pack.folder.rglob("*.html"))
    linked = {pack.folder / "index.html"}
    for page in pages:
        for place in References(page.read_text(encoding="utf-8")).found:
            target = (page.parent / place).resolve()
            assert target.is_file() and pack.folder.resolve() in target.parents, (page.name, place)
            linked.add(target)
    assert {page.resolve() for page in pages} == {path.resolve() for path in linked}
    assert len(pages) == 3 + len(pack.runs)


def test_a_pack_is_small_and_its_zip_is_the_folder(pack, tmp_path):
    assert pack.size_bytes == pack.archive.stat().st_size <= packing.FULL_BYTES
    with zipfile.ZipFile(pack.archive) as packed:
        packed.extractall(tmp_path)
    for path in pack.folder.rglob("*"):
        if path.is_file():
            assert (tmp_path / "lab" / path.relative_to(pack.folder)).read_bytes() == path.read_bytes()


def test_pages_forbid_themselves_the_network(pack):
    for page in pack.folder.rglob("*.html"):
        policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page.read_text(encoding="utf-8"))
        assert policy and policy.group(1).startswith("default-src 'none'") and "http" not in policy.group(1)


@pytest.mark.parametrize("entry", ENTRIES)
def test_an_inlined_module_is_still_a_module(entry, tmp_path):
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    paths = []
    for number, address in enumerate(import_map(entry).values()):
        paths.append(tmp_path / f"{number}.mjs")
        paths[-1].write_text(urllib.parse.unquote(address.partition(",")[2]), encoding="utf-8")
    checked = (
        "import { readFileSync } from 'node:fs'; import vm from 'node:vm'; for (const path of process.argv.slice(1))"
    )
    checked += " new vm.SourceTextModule(readFileSync(path, 'utf8'));"
    command = ["node", "--experimental-vm-modules", "--input-type=module", "-e", checked, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_what_is_there_stays_unless_it_is_a_pack_and_may_go(tmp_path, monkeypatch, capsys):
    kept = tmp_path / "mine"
    kept.mkdir()
    (kept / "thesis.txt").write_text("mine")
    for more in ((), ("--overwrite",)):
        assert main(["--out", str(kept), "--samples", str(SAMPLES), *more]) == 2
    assert "is no pack" in capsys.readouterr().err
    assert (kept / "thesis.txt").read_text() == "mine"
    monkeypatch.setattr(packing, "lessons_html", lambda lab: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_pack(tmp_path / "lab", SAMPLES)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine"]


@pytest.mark.parametrize(
    ("runs", "said"),
    [
        ([SAMPLES / "words-lora"], "twice"),
        ([SAMPLES / "digits-lora", SAMPLES / "digits-lora"], "twice"),
        ([Path("nowhere")], "nowhere"),
    ],
)
def test_runs_that_cannot_go_in_are_told(runs, said, tmp_path):
    with pytest.raises((FlexLoRAError, RunLogError), match=said):
        write_pack(tmp_path / "lab", SAMPLES, runs)
    assert not list(tmp_path.iterdir())

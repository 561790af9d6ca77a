"""A run with many matrices and events: what its first picture takes, what comes after it, and that both are right."""

from __future__ import annotations

import base64
import importlib.util

import numpy as np
import pytest

from analysis.payload import pack_run
from analysis.player_modules import FOLDER
from analysis.rank_limits import change_limit
from analysis.runs import load_run

MATRICES, RECORDS = 72, 900
READS = ("model/container", "model/model", "model/format", "pen/colour")
OPEN = """
async (data) => {
  const { Player, openPayload } = EXPORTS;
  const seen = { drawn: 0 };
  const look = (root) => {
    const [list, picker] = [root.querySelector(".fl-events"), root.querySelector(".fl-matrix")];
    return {
      rows: list.children.length, buttons: [...list.querySelectorAll(".fl-event")].map((node) => node.dataset.step),
      options: [...picker.options].map((option) => option.title), matrix: picker.selectedOptions[0].title,
      room: [picker.offsetWidth, list.scrollHeight, list.scrollTop],
      stops: list.querySelectorAll('[tabindex="0"]').length,
      pictures: [...root.querySelectorAll("canvas")].map((canvas) => canvas.toDataURL()),
    };
  };
  const draw = Player.prototype.draw;
  Player.prototype.draw = function (...now) {
    draw.apply(this, now);
    seen.drawn += 1;
    seen.first ??= look(this.root);
  };
  document.body.innerHTML = "<style>:root { --st-font: sans-serif; }</style><div></div>";
  const place = document.body.lastElementChild;
  const content = openPayload(Uint8Array.from(atob(data), (sign) => sign.charCodeAt(0)));
  const source = { name: "many", run: async (held) => (held ? null : content) };
  new Player(place, () => source).ask({ run: "many", id: "1", step: null, matrix: null, link: null }, () => undefined);
  await new Promise((done) => setTimeout(done, 500));
  return { ...seen, later: look(place.firstElementChild) };
}
"""
READ = """
async (payload) => {
  const { openPayload, Model, COLOURS, colourIndex, colourPlaces, niceCeiling } = EXPORTS;
  const model = new Model(openPayload(Uint8Array.from(atob(payload), (sign) => sign.charCodeAt(0))));
  const cells = (read) => Array.from({ length: model.T }, (_, t) => model.matrices.map((_, m) => read(t, m)));
  const top = Math.max(...cells((t, m) => model.energy(t, m)).flat().filter((energy) => !Number.isNaN(energy)));
  return {
    rough: model.roughEnergy, top: [model.maxEnergy, niceCeiling(top)],
    versions: Array.from(model.steps, (_, t) => model.rankVersion(t)),
    total: [...model.totalRank], ranks: [model.minRank, model.maxRank], change: model.maxChange,
    differ: COLOURS.map(({ key }) => {
      const place = colourPlaces(model, key);
      return cells((t, m) => place(t, m) !== colourIndex(model, key, t, m)).flat().filter(Boolean).length;
    }),
  };
}
"""


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """The folder of a run with as many events as matrices."""
    spec = importlib.util.spec_from_file_location("generated_log", FOLDER.parent / "benchmarks" / "generated_log.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    folder = tmp_path_factory.mktemp("many") / "many"
    module.write_log(folder, MATRICES, RECORDS, widest=8)
    return load_run(folder)


@pytest.fixture(scope="module")
def page(browser):
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    yield context.new_page()
    context.close()


def packed(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_the_first_picture_is_drawn_once_and_what_is_out_of_sight_comes_after_it(page, modules, many):
    script = OPEN.replace("EXPORTS", modules("player/ui/player.js", "player/model/container.js"))
    seen = page.evaluate(script, packed(pack_run(many)))
    first, later = seen["first"], seen["later"]
    steps = [str(event["step"]) for event in many.events]
    assert seen["drawn"] == 1
    assert len(first["buttons"]) < len(steps) == first["rows"]
    assert len(first["options"]) < MATRICES
    assert later["buttons"] == steps
    assert sorted(later["options"]) == sorted(matrix.name for matrix in many.matrices)
    for name in ("rows", "matrix", "room", "stops", "pictures"):
        assert first[name] == later[name]
    assert first["stops"] == 1


@pytest.mark.parametrize("rough", [False, True])
@pytest.mark.parametrize("kind", ["hard", "soft", "many"])
def test_what_is_looked_up_by_code_or_by_change_is_what_each_cell_says(
    page, modules, many, make_run, make_soft_run, tmp_path, kind, rough
):
    run = many if kind == "many" else load_run({"hard": make_run, "soft": make_soft_run}[kind](tmp_path / kind))
    payload = pack_run(run, max_bytes=1 if rough else 10**8)
    script = READ.replace("EXPORTS", modules(*(f"player/{name}.js" for name in READS)))
    seen = page.evaluate(script, packed(payload))
    assert seen["differ"] == [0] * 6
    assert seen["rough"] == rough
    assert seen["top"][0] == seen["top"][1]
    if not rough:
        changed = (np.diff(run.ranks.astype(int), axis=0) != 0).any(axis=1)
        assert seen["versions"] == [0, *np.cumsum(changed).tolist()]
        assert seen["total"] == run.ranks.sum(axis=1).tolist()
        assert seen["ranks"] == [run.ranks.min(), run.ranks.max()]
        assert seen["change"] == change_limit(run) >= np.abs(run.ranks.astype(int) - run.ranks[0]).max()

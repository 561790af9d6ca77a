/** The player's elements: sentence, the row of panels, transport, time. */

import { BANDS } from "../views/bands.js";
import { Choice } from "./choice.js";
import { COLOURS, ENTROPY_SCALES } from "../pen/colour.js";
import { element } from "../pen/draw.js";
import { Glossary } from "./glossary.js";
import { Guide } from "./guide.js";
import { MAPS } from "../views/maps.js";
import { SCALES } from "../views/spectra_map.js";
import { SIDES } from "../views/sides.js";
import { SORTS } from "../model/sorts.js";
import { TableDialog } from "./table_dialog.js";
import { TakeOut } from "./take_out.js";
import { iconButton } from "./icons.js";

/** @param {any} player its transport, event list, list of matrices, help and card are built already @returns {Record<string, any>} nodes by name */
export function buildStage(player) {
  const choice = (/** @type {string} */ name, /** @type {string} */ label, /** @type {import("./choice.js").Entry[]} */ entries) =>
    new Choice(name, label, entries, (key) => player.choose(name, key));
  const choices = {
    map: choice("map", "Picture", Object.values(MAPS)),
    colour: choice("colour", "Colour by", COLOURS),
    entropy_scale: choice("entropy_scale", "Scale of entropy (c)", Object.values(ENTROPY_SCALES)),
    side: choice("side", "Beside the map", Object.values(SIDES)),
    band: choice("band", "Over time", Object.values(BANDS)),
    scale: choice("scale", "Scale of the bars", SCALES),
    sort: choice("sort", "Rows of the strip", Object.values(SORTS)),
  };
  const guide = new Guide(player);
  const nodes = {
    choices,
    guide,
    sentence: element("p", { class: "fl-sentence", "aria-live": "polite" }),
    trouble: element("p", { class: "fl-trouble", role: "alert" }),
    legend: element("span", { class: "fl-runs", hidden: "" }),
    stage: element("p", { class: "fl-stage", "aria-live": "polite", hidden: "" }),
    reel: player.reel.root,
    mapCanvas: element("canvas", { class: "fl-map", tabindex: "0", role: "img" }),
    sideCanvas: element("canvas", { class: "fl-side", role: "img" }),
    still: element("canvas", { class: "fl-still", "aria-hidden": "true" }),
    moving: element("canvas", { class: "fl-moving", tabindex: "0", role: "img" }),
    picker: player.picker.root,
    numbers: element("span", { class: "fl-numbers" }),
    more: element("details", { class: "fl-more", ontoggle: () => player.resize() }, [element("summary", { text: "More" })]),
    moreNumbers: element("p", { class: "fl-morenumbers" }),
    warning: element("span", { class: "fl-warning" }),
    tip: element("div", { class: "fl-tip", role: "status" }),
    takeOut: new TakeOut(player),
    tableDialog: new TableDialog(player),
    since: element("button", { type: "button", class: "fl-button fl-text fl-since", text: "since here", onclick: () => player.pinTime() }),
  };
  nodes.more.append(nodes.moreNumbers);
  const boxes = {
    mapBox: element("div", { class: "fl-canvas" }, [nodes.mapCanvas]),
    sideBox: element("div", { class: "fl-canvas" }, [nodes.sideCanvas, player.card.root]),
    timeBox: element("div", { class: "fl-time" }, [nodes.still, nodes.moving]),
  };
  const hero = element("div", { class: "fl-hero" }, [
    element("section", { class: "fl-panel", "aria-label": "Rank map" }, [
      element("header", {}, [choices.map.root, nodes.since, choices.scale.root, choices.colour.root, choices.entropy_scale.root]),
      nodes.stage,
      nodes.reel,
      boxes.mapBox,
    ]),
    element("section", { class: "fl-panel fl-sidepanel", "aria-label": "Spectrum and reasons" }, [
      element("header", {}, [choices.side.root, nodes.picker]),
      element("div", { class: "fl-numberrow" }, [nodes.numbers, nodes.more]),
      nodes.warning,
      boxes.sideBox,
    ]),
    player.eventList.root,
  ]);
  player.transport.tools.append(
    choices.band.root,
    choices.sort.root,
    iconButton("table", "The numbers as a table (shift T)", () => nodes.tableDialog.open()),
    iconButton("takeOut", "Take it out: PNG, SVG, CSV, link (e)", () => nodes.takeOut.open()),
  );
  const root = element("div", { class: "fl-player" }, [
    element("div", { class: "fl-top" }, [guide.root, nodes.sentence, nodes.legend, nodes.trouble]), hero, player.transport.bar, player.transport.track, boxes.timeBox,
    nodes.tip, player.help, nodes.takeOut.dialog, nodes.tableDialog.dialog,
  ]);
  root.hidden = true;
  return { ...nodes, ...boxes, hero, root, glossary: new Glossary(player, root) };
}

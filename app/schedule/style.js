/** The style of the schedule editor, which it brings along: one sheet for all editors of a page. */

const CSS = `
.fl-schedule { font: 400 13px/1.35 var(--st-font); color: var(--st-text-color); font-variant-numeric: tabular-nums; }
.fl-plot { position: relative; height: 190px; touch-action: none; user-select: none; }
.fl-plot canvas { position: absolute; inset: 0; display: block; }
.fl-handles { position: absolute; inset: 0; }
.fl-handle { position: absolute; left: -11px; top: -11px; width: 22px; height: 22px; cursor: grab; touch-action: none; }
.fl-handle::after { content: ""; position: absolute; inset: 5px; border-radius: 50%; background: var(--st-background-color); border: 2.5px solid var(--st-primary-color); }
.fl-handle-x { cursor: ew-resize; } .fl-handle-y { cursor: ns-resize; }
.fl-handle-x::after { inset: 3px 7px; border-radius: 3px; }
.fl-handle:hover::after, .fl-handle:focus-visible::after { background: var(--st-primary-color); }
.fl-handle:focus { outline: none; }
.fl-handle:focus-visible { outline: 2px solid var(--st-primary-color); outline-offset: 1px; border-radius: 6px; }
.fl-handle:active { cursor: grabbing; }
.fl-facts { display: flex; flex-wrap: wrap; gap: 2px 18px; font-size: 12.5px; color: color-mix(in srgb, var(--st-text-color) 66%, var(--st-background-color)); }
.fl-facts b { color: var(--st-text-color); font-weight: 600; }
`;

const sheet = new CSSStyleSheet();
sheet.replaceSync(CSS);

/** @param {Node} node inside the document or a shadow in it */
export function dressSchedule(node) {
  const root = /** @type {Document | ShadowRoot} */ (node.getRootNode());
  if (!root.adoptedStyleSheets.includes(sheet)) root.adoptedStyleSheets.push(sheet);
}

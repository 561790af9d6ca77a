/** The playground's style, beside the player's, whose buttons, lists and sliders it uses. */

const CSS = `
.pg-page { --fl-line: color-mix(in srgb, var(--st-text-color) 14%, transparent); --fl-muted: color-mix(in srgb, var(--st-text-color) 66%, var(--st-background-color));
  container: playground / inline-size; font: 400 14px/1.45 var(--st-font); color: var(--st-text-color); font-variant-numeric: tabular-nums; padding-bottom: 24px; }
.pg-page *, .pg-page *::before { box-sizing: border-box; }
.pg-page [hidden] { display: none; }
.pg-page h2 { margin: 0; padding: 0; font: 600 17px/1.3 var(--st-font); letter-spacing: 0; }
.pg-page h3 { margin: 0; padding: 0; font: 600 12px/20px var(--st-font); letter-spacing: 0; }
.pg-page p { margin: 0; text-wrap: pretty; }
.pg-page button:focus-visible, .pg-page select:focus-visible, .pg-page input:focus-visible, .pg-page summary:focus-visible, .pg-page [tabindex]:focus-visible { outline: 2px solid var(--st-primary-color); outline-offset: 2px; border-radius: 4px; }
.pg-tabs { display: flex; flex-wrap: wrap; gap: 4px; margin: 0 0 12px; border-bottom: 1px solid var(--fl-line); }
.pg-tab { padding: 6px 12px; border: 0; border-bottom: 2px solid transparent; margin-bottom: -1px; background: none; color: var(--fl-muted); font: inherit; cursor: pointer; }
.pg-tab[aria-selected="true"] { border-bottom-color: var(--st-primary-color); color: var(--st-text-color); font-weight: 600; }
.pg-tab:hover { color: var(--st-text-color); }
.pg-note { margin: 0 0 10px !important; padding: 6px 12px; border-radius: 8px; background: color-mix(in srgb, var(--st-primary-color) 9%, var(--st-background-color)); }
.pg-toy { display: grid; gap: 12px; max-width: 1180px; }
.pg-question { font-size: 16px; }
.pg-row { display: flex; flex-wrap: wrap; align-items: center; gap: 8px; }
.pg-row .fl-button { border-color: var(--fl-line); } .pg-row .fl-primary { border-color: transparent; } .pg-page .fl-button:disabled { opacity: 0.5; cursor: default; }
.pg-page .fl-primary { background: var(--st-primary-color); color: var(--st-background-color); font-weight: 600; }
.pg-page .fl-primary:hover { background: color-mix(in srgb, var(--st-primary-color) 85%, var(--st-text-color)); }
.pg-columns { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 20px; } .pg-halves { grid-template-columns: repeat(2, minmax(0, 620px)); } .pg-two { grid-template-columns: minmax(0, 1.2fr) minmax(0, 1fr); }
.pg-columns > * { min-width: 0; }
.pg-bars { position: relative; max-width: 620px; user-select: none; } .pg-draggable { touch-action: none; cursor: ns-resize; }
.pg-bars canvas, .pg-chart canvas { position: absolute; inset: 0; display: block; } .pg-chart { position: relative; min-height: 240px; }
.pg-handles { position: absolute; inset: 0; pointer-events: none; }
.pg-handle { position: absolute; left: -11px; top: -11px; width: 22px; height: 22px; }
.pg-handle::after { content: ""; position: absolute; inset: 7px 2px; border-radius: 4px; background: var(--st-background-color); border: 2px solid var(--st-primary-color); }
.pg-draggable:hover .pg-handle::after, .pg-handle:focus-visible::after { background: var(--st-primary-color); }
.pg-facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(170px, 1fr)); gap: 10px; margin: 0; }
.pg-facts > div { padding: 8px 12px; border: 1px solid var(--fl-line); border-radius: 8px; } .pg-facts dt { color: var(--fl-muted); font-size: 12.5px; } .pg-facts dd { margin: 0; font-size: 20px; font-weight: 600; line-height: 1.3; } .pg-facts .pg-from { font-size: 12px; font-weight: 400; color: var(--fl-muted); }
.pg-verdict { min-height: 2.9em; font-size: 15px; max-width: 900px; } .pg-won { color: var(--st-primary-color); font-weight: 600; }
.pg-slider { display: inline-flex; align-items: center; gap: 10px; } .pg-slider .fl-slider { width: 190px; } .pg-slider output { min-width: 52px; font-weight: 600; }
.pg-scroll { overflow-x: auto; }
.pg-table { width: 100%; border-collapse: collapse; } .pg-table th, .pg-table td { padding: 6px 10px; text-align: right; font-weight: 400; white-space: nowrap; border-bottom: 1px solid var(--fl-line); }
.pg-table thead th { color: var(--fl-muted); font-size: 12.5px; } .pg-table th:first-child { text-align: left; padding-left: 0; font-weight: 600; } .pg-table small { display: block; max-width: 210px; font-weight: 400; font-size: 12px; white-space: normal; color: var(--fl-muted); }
.pg-table td[style] { background: linear-gradient(to left, color-mix(in srgb, var(--st-primary-color) 22%, transparent) calc(var(--share) * 100%), transparent 0); }
.pg-why { min-height: 3em; } .pg-why[data-told="true"] { color: var(--st-text-color); } .pg-cells { cursor: pointer; } .pg-ended { font-weight: 600; } .pg-ended:empty { display: none; }
.pg-race { display: grid; grid-template-columns: minmax(0, 1fr); gap: 10px; }
.pg-look { scroll-margin-top: 72px; min-height: 2.9em; font-size: 15px; max-width: 1180px; }
.pg-gauge { position: relative; margin-top: 8px; } .pg-gauge canvas { position: absolute; inset: 0; display: block; } .pg-scored { min-height: 1.5em; margin-top: 2px; } .pg-small { font-size: 12.5px; color: var(--fl-muted); } .pg-tight { gap: 6px; } .pg-trouble { color: color-mix(in srgb, #c2410c 80%, var(--st-text-color)); } .pg-trouble:empty, .pg-apart:empty { display: none; }
.pg-maps { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 24px; } .pg-below { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 24px; margin-top: 4px; }
.pg-below .pg-chart { min-height: 210px; }
.pg-panel { display: flex; flex-direction: column; gap: 6px; min-width: 0; } .pg-panel header { display: flex; flex-wrap: wrap; align-items: center; gap: 4px 10px; min-height: 28px; } .pg-page .pg-panel h3 { font-size: 14px; }
.pg-map { position: relative; height: 236px; } .pg-map canvas { position: absolute; inset: 0; display: block; } .pg-paint { cursor: crosshair; touch-action: none; }
.pg-painter { display: grid; gap: 6px; } .pg-score { font-size: 14px; font-weight: 600; min-height: 2.7em; } .pg-score small { display: block; font-size: 12.5px; font-weight: 400; } .pg-brushes .fl-choice { padding: 2px 8px; }
.pg-badge { display: inline-block; min-width: 20px; padding: 0 5px; border-radius: 5px; text-align: center; font-weight: 700; color: var(--st-background-color); background: var(--pg-own, var(--pg-a)); }
.pg-page { --pg-a: light-dark(#0b58a8, #6fb6ff); --pg-b: light-dark(#ad4700, #ffa04d); } .pg-badge-b, .pg-side-b .pg-badge { --pg-own: var(--pg-b); }
.pg-moves { height: 184px; margin: 0; padding: 0 4px 0 0; overflow-y: auto; list-style: none; font-size: 12.5px; scrollbar-width: thin; } .pg-moves li { margin: 0 0 4px; padding: 0; } .pg-moves .pg-badge { min-width: 16px; padding: 0 3px; font-size: 11px; line-height: 15px; border-radius: 4px; }
.pg-bar .fl-readout { margin: 0 4px; } .pg-bar .fl-primary { min-width: 68px; } .pg-tries { margin-top: 4px; } .pg-page .pg-try[aria-pressed="true"] { border-color: var(--st-primary-color); background: color-mix(in srgb, var(--st-primary-color) 16%, transparent); font-weight: 600; }
.pg-details { border-top: 1px solid var(--fl-line); padding-top: 8px; } .pg-details summary { cursor: pointer; font-weight: 600; } .pg-details[open] summary { margin-bottom: 8px; }
.pg-two-even { grid-template-columns: repeat(2, minmax(0, 1fr)); }
.pg-settingsbox { display: grid; gap: 8px; max-width: 1000px; } .pg-shared { display: flex; flex-wrap: wrap; gap: 8px 20px; } .pg-shared label { display: grid; gap: 2px; font-size: 12.5px; } .pg-number { width: 96px; cursor: text; }
.pg-settings td, .pg-settings th { vertical-align: top; } .pg-settings td { text-align: left; } .pg-settings small { max-width: 420px; } .pg-settings thead th { text-align: left; }
.pg-commands { display: grid; gap: 8px; } .pg-commands .fl-command { margin-top: 2px; }
@container playground (max-width: 1100px) { .pg-maps { gap: 14px; } .pg-below { gap: 14px; } }
@container playground (max-width: 820px) { .pg-maps { grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); } .pg-maps > :first-child { grid-column: 1 / -1; } .pg-panel header .fl-select { max-width: 100%; } .pg-below, .pg-two-even { grid-template-columns: minmax(0, 1fr); } .pg-map { height: 200px; } .pg-look { min-height: 0; } .pg-scored { min-height: 3em; } }
@container playground (max-width: 900px) { .pg-columns { grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); } .pg-halves { grid-template-columns: repeat(2, minmax(0, 620px)); } .pg-two { grid-template-columns: minmax(0, 1fr); } }
@container playground (max-width: 620px) { .pg-tries { flex-wrap: nowrap; overflow-x: auto; scrollbar-width: thin; } .pg-tries > * { flex: none; } .pg-table th, .pg-table td { padding: 6px 5px; } .pg-table small { max-width: 92px; } .pg-settings small { display: none; } .pg-settings th, .pg-settings td { padding: 6px 4px; } .pg-settings .fl-select { max-width: 96px; } .pg-settings th { white-space: normal; } .pg-columns, .pg-halves { grid-template-columns: minmax(0, 1fr); } .pg-tab { padding: 6px 8px; } .pg-facts { grid-template-columns: 1fr 1fr; } }
`;

const sheet = new CSSStyleSheet();
sheet.replaceSync(CSS);

/** @param {Node} node inside the document or a shadow in it */
export function dressPlayground(node) {
  const root = /** @type {Document | ShadowRoot} */ (node.getRootNode());
  if (!root.adoptedStyleSheets.includes(sheet)) root.adoptedStyleSheets.push(sheet);
}

/** The player's style, which it brings along: one sheet for all players of a page. */

const CSS = `
.fl-player { --fl-line: color-mix(in srgb, var(--st-text-color) 14%, transparent); --fl-muted: color-mix(in srgb, var(--st-text-color) 66%, var(--st-background-color));
  container: player / inline-size; position: relative; display: grid; grid-template-columns: minmax(0, 1fr); grid-template-rows: auto minmax(0, 1fr) auto auto minmax(0, 1.08fr); height: var(--fl-height, 640px); gap: 6px;
  font: 400 13px/1.35 var(--st-font); color: var(--st-text-color); font-variant-numeric: tabular-nums; }
.fl-player[hidden], .fl-player [hidden] { display: none; }
.fl-player *, .fl-player *::before { box-sizing: border-box; }
.fl-sentence { margin: 0; min-height: 20px; font-size: 15px; line-height: 1.35; text-wrap: pretty; }
.fl-trouble { margin: 0; color: var(--fl-pruned); font-size: 13px; } .fl-trouble:empty, .fl-lost > :not(.fl-top) { display: none; }
.fl-top { display: flex; align-items: baseline; gap: 18px; } .fl-top .fl-sentence { flex: 1; min-width: 0; }
.fl-top { flex-wrap: wrap; row-gap: 4px; }
.fl-guide { flex: 0 0 100%; display: flex; align-items: baseline; flex-wrap: wrap; gap: 2px 14px; padding: 6px 12px; border-radius: 8px; background: color-mix(in srgb, var(--st-primary-color) 9%, var(--st-background-color)); }
.fl-guidetext { flex: 1 1 560px; min-height: 2.8em; margin: 0; font-size: 15px; line-height: 1.4; text-wrap: pretty; }
.fl-guidebuttons { display: inline-flex; align-items: center; gap: 8px; } .fl-guide-example { color: inherit; font-size: 13px; }
.fl-guide .fl-guide-event, .fl-guide .fl-guide-next { background: var(--st-primary-color); color: var(--st-background-color); border-color: transparent; font-weight: 600; }
.fl-guide .fl-guide-event:hover, .fl-guide .fl-guide-next:hover { background: color-mix(in srgb, var(--st-primary-color) 85%, var(--st-text-color)); }
.fl-guide .fl-button:disabled { opacity: 0.5; cursor: default; }
.fl-player[data-tour="map"] .fl-hero > :first-child, .fl-player[data-tour="side"] .fl-sidepanel { outline: 2px solid var(--st-primary-color); outline-offset: 3px; border-radius: 6px; }
.fl-term { display: inline; margin: 0; padding: 0; border: 0; background: none; color: inherit; font: inherit; letter-spacing: inherit; text-align: inherit; cursor: help; text-decoration: underline dotted; text-decoration-thickness: 1px; text-underline-offset: 3px; }
.fl-term:hover { text-decoration-style: solid; } .fl-term:focus-visible { outline: 2px solid var(--st-primary-color); outline-offset: 2px; border-radius: 2px; }
.fl-words { --fl-line: color-mix(in srgb, var(--st-text-color) 14%, transparent); --fl-muted: color-mix(in srgb, var(--st-text-color) 66%, var(--st-background-color)); color: var(--st-text-color); font: 400 16px/1.5 var(--st-font); } .fl-words p { margin: 0; }
.fl-termcard { position: fixed; inset: auto; margin: 0; width: 262px; padding: 10px 12px; border: 1px solid var(--fl-line); border-radius: 8px; background: var(--st-background-color); color: var(--st-text-color); box-shadow: 0 4px 18px rgb(0 0 0 / 22%); font: 400 13px/1.4 var(--st-font); text-align: left; }
.fl-termcard b { font-size: 14px; } .fl-termcard p { margin: 3px 0 6px; text-wrap: pretty; } .fl-termcard svg { display: block; max-width: 100%; margin: 6px 0 2px; }
.fl-termcard code { display: block; font: 12px/1.4 var(--st-code-font, monospace); overflow-wrap: anywhere; }
.fl-termcard .fl-termown { margin: 4px 0 0; } .fl-termcard .fl-termnote { margin: 0; } .fl-termnote, .fl-termown span { display: block; color: var(--fl-muted); font-size: 12px; }
.fl-runs { display: inline-flex; gap: 14px; font-size: 12.5px; white-space: nowrap; }
.fl-run { display: inline-flex; align-items: center; gap: 6px; } .fl-line { width: 22px; border-top: 3px solid; } .fl-dashed { border-top-style: dashed; }
.fl-stage { margin: 2px 0 4px; height: 36px; overflow: hidden; font-size: 14px; line-height: 18px; text-wrap: pretty; }
.fl-reel { position: relative; display: grid; grid-template-columns: repeat(5, minmax(0, 1fr)); height: 22px; margin-bottom: 4px; border-radius: 5px; overflow: hidden; background: color-mix(in srgb, var(--st-text-color) 7%, transparent); font-size: 12px; line-height: 22px; }
.fl-reel span { position: relative; padding-left: 8px; border-left: 1px solid var(--st-background-color); white-space: nowrap; overflow: hidden; pointer-events: none; } .fl-reel .fl-now { font-weight: 600; }
.fl-passed { position: absolute; inset: 0 auto 0 0; background: color-mix(in srgb, var(--st-primary-color) 26%, transparent); }
.fl-scrub { position: absolute; inset: 0; width: 100%; height: 100%; margin: 0; opacity: 0; cursor: ew-resize; touch-action: none; } .fl-scrub:disabled { cursor: default; }
.fl-reel:has(:focus-visible) { outline: 2px solid var(--st-primary-color); outline-offset: 1px; }
.fl-untold-prune .fl-moves > div:has(.fl-minus), .fl-untold-extend .fl-moves > div:has(.fl-plus) { visibility: hidden; }
.fl-live .fl-sentence { min-height: 2.7em; } .fl-live .fl-hero > :first-child { border-radius: 6px; outline: 2px solid transparent; outline-offset: 3px; }
.fl-live.fl-held .fl-hero > :first-child { outline-color: var(--fl-extended); } .fl-live.fl-held .fl-event[aria-current] { outline: 2px solid var(--fl-extended); outline-offset: -2px; }
.fl-hero { display: grid; grid-template-columns: minmax(0, 1.25fr) minmax(0, 1fr) minmax(214px, 0.56fr); gap: 22px; min-height: 0; }
.fl-panel { display: flex; flex-direction: column; min-width: 0; min-height: 0; }
.fl-panel header { display: flex; align-items: center; gap: 10px; min-height: 28px; }
.fl-numberrow { display: flex; flex-wrap: wrap; align-items: baseline; gap: 0 10px; } .fl-more { font-size: 12.5px; } .fl-more[open] { flex-basis: 100%; }
.fl-more summary { cursor: pointer; color: var(--fl-muted); } .fl-morenumbers { margin: 0; }
.fl-panel h2 { margin: 0; padding: 0; font: 600 13px/1 var(--st-font); letter-spacing: 0; }
.fl-canvas { position: relative; flex: 1; min-height: 0; overflow: hidden; }
.fl-canvas canvas { position: absolute; inset: 0; display: block; }
.fl-map { cursor: pointer; }
canvas:focus-visible, .fl-player button:focus-visible, .fl-player select:focus-visible, .fl-slider:focus-visible { outline: 2px solid var(--st-primary-color); outline-offset: 2px; border-radius: 4px; }
canvas:focus-visible, .fl-why:focus-visible, .fl-player .fl-choice:focus-visible, .fl-player .fl-event:focus-visible, .fl-player .fl-move:focus-visible { outline: 2px solid var(--st-primary-color); outline-offset: -2px; }
canvas:focus:not(:focus-visible) { outline: none; }
.fl-choose { min-width: 0; } .fl-choose-colour, .fl-since { margin-left: auto; } .fl-since + .fl-choose-colour { margin-left: 0; } .fl-since[hidden] + .fl-choose-colour { margin-left: auto; }
.fl-since { height: 24px; font-size: 12px; white-space: nowrap; }
.fl-choicelist { display: none; } .fl-choose-entropy_scale .fl-choices { display: none; } .fl-choose-entropy_scale .fl-choicelist { display: inline-block; }
.fl-choices { display: inline-flex; border: 1px solid var(--fl-line); border-radius: 6px; overflow: hidden; }
.fl-choice { border: 0; border-left: 1px solid var(--fl-line); padding: 3px 9px; background: none; color: var(--fl-muted); font: inherit; font-size: 12px; cursor: pointer; }
.fl-choice:first-child { border-left: 0; }
.fl-choice[aria-pressed="true"] { background: color-mix(in srgb, var(--st-primary-color) 16%, transparent); color: var(--st-text-color); font-weight: 600; }
.fl-numbers { color: var(--st-text-color); font-size: 12.5px; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.fl-warning { color: var(--fl-pruned); font-size: 12px; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.fl-count { color: var(--fl-muted); font-size: 12px; }
.fl-select { font: inherit; font-size: 12.5px; color: inherit; background: var(--st-background-color); border: 1px solid var(--fl-line); border-radius: 6px; padding: 2px 4px; height: 26px; cursor: pointer; }
.fl-matrix { margin-left: auto; max-width: 62%; }
.fl-events { flex: 1; min-height: 46px; margin: 0; padding: 0; list-style: none; overflow-y: auto; border: 1px solid var(--fl-line); border-radius: 6px; scrollbar-width: thin; }
.fl-events li { margin: 0; padding: 0; } .fl-events li:empty { font-size: 12.5px; height: calc(1lh + 4px); }
.fl-none { padding: 8px 10px !important; color: var(--fl-muted); font-size: 12.5px; }
/* Not a grid: a long run has hundreds of these rows, and each grid would measure its columns. */
.fl-event { display: flex; width: 100%; padding: 2px 9px; border: 0; background: none; color: inherit; font: inherit; font-size: 12.5px; text-align: left; cursor: pointer; }
.fl-number { flex: 0 0 26px; color: var(--fl-muted); } .fl-step { flex: 1 0 0; }
.fl-event .fl-minus, .fl-event .fl-plus { flex: 0 0 30px; text-align: right; }
.fl-event.fl-idle .fl-minus, .fl-event.fl-idle .fl-plus { color: var(--fl-muted); }
.fl-event:hover, .fl-move:hover:enabled { background: color-mix(in srgb, var(--st-text-color) 7%, transparent); }
.fl-event[aria-current] .fl-number, .fl-event.fl-idle[aria-current] :is(.fl-minus, .fl-plus) { color: inherit; }
.fl-event[aria-current] { background: color-mix(in srgb, var(--st-primary-color) 16%, transparent); font-weight: 600; }
.fl-moves { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); gap: 10px; margin-top: 6px; min-height: 92px; max-height: 56%; overflow-y: auto; align-content: start; scrollbar-width: thin; }
.fl-moves h3 { margin: 0 0 2px; padding: 0 4px; font: 600 11px/1.3 var(--st-font); white-space: nowrap; }
.fl-aim { grid-column: 1 / -1; margin: 0; padding: 0 4px; color: var(--fl-muted); font-size: 11.5px; }
.fl-minus { color: var(--fl-pruned); } .fl-plus { color: var(--fl-extended); }
.fl-move { display: flex; justify-content: space-between; gap: 6px; width: 100%; padding: 1px 4px; border: 0; border-radius: 4px; background: none; color: inherit; font: inherit; font-size: 11.5px; text-align: left; cursor: pointer; white-space: nowrap; }
/* A score that does not fit beside its matrix wraps out of sight: cut short, its power of ten would be lost. */
.fl-move:enabled { flex-wrap: wrap; height: calc(1.35em + 2px); overflow: hidden; }
.fl-move.fl-minus, .fl-move.fl-plus { color: inherit; }
.fl-move[aria-current] { outline: 1.5px solid var(--st-text-color); outline-offset: -1px; }
.fl-move:disabled { color: var(--fl-muted); cursor: default; }
.fl-score { color: var(--fl-muted); }
.fl-bar { display: flex; align-items: center; gap: 4px; padding-top: 4px; border-top: 1px solid var(--fl-line); }
.fl-button { display: inline-flex; align-items: center; justify-content: center; min-width: 30px; height: 28px; padding: 0 6px; border: 1px solid transparent; border-radius: 6px; background: none; color: inherit; font: inherit; font-size: 12.5px; cursor: pointer; }
.fl-button svg { width: 15px; height: 15px; fill: currentColor; }
.fl-button:hover { background: color-mix(in srgb, var(--st-text-color) 8%, transparent); }
.fl-primary { min-width: 42px; background: var(--st-primary-color); color: var(--st-background-color); }
.fl-primary:hover { background: color-mix(in srgb, var(--st-primary-color) 85%, var(--st-text-color)); }
.fl-text { border-color: var(--fl-line); padding: 0 10px; white-space: nowrap; }
.fl-readout { margin-left: 8px; font-size: 13px; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.fl-space { flex: 1; }
.fl-tools { display: inline-flex; gap: 4px; } .fl-bar > :not(.fl-readout, .fl-space) { flex: none; }
.fl-tools .fl-choices { display: none; } .fl-tools .fl-choicelist { display: inline-block; }
.fl-label { display: inline-flex; align-items: center; gap: 6px; color: var(--fl-muted); font-size: 12.5px; } .fl-label .fl-select { color: var(--st-text-color); }
.fl-track { height: 16px; display: flex; align-items: center; }
.fl-slider { -webkit-appearance: none; appearance: none; width: 100%; height: 16px; margin: 0; background: none; cursor: pointer; }
.fl-slider::-webkit-slider-runnable-track { height: 4px; border-radius: 2px; background: color-mix(in srgb, var(--st-text-color) 18%, transparent); }
.fl-slider::-webkit-slider-thumb { -webkit-appearance: none; width: 14px; height: 14px; margin: -5px 0 0; border-radius: 50%; background: var(--st-primary-color); border: 2px solid var(--st-background-color); box-shadow: 0 0 0 1px var(--st-primary-color); }
.fl-slider::-moz-range-track { height: 4px; border-radius: 2px; background: color-mix(in srgb, var(--st-text-color) 18%, transparent); }
.fl-slider::-moz-range-thumb { width: 10px; height: 10px; border-radius: 50%; background: var(--st-primary-color); border: 2px solid var(--st-background-color); }
.fl-time { position: relative; min-height: 0; overflow: hidden; }
.fl-time canvas { position: absolute; inset: 0; display: block; touch-action: none; }
.fl-moving { cursor: col-resize; }
.fl-tip { position: absolute; top: 0; left: 0; z-index: 5; max-width: 420px; padding: 4px 8px; border-radius: 6px; background: var(--st-text-color); color: var(--st-background-color); font-size: 12px; pointer-events: none; opacity: 0; }
.fl-tip.fl-shown { opacity: 1; }
.fl-help { max-width: 420px; padding: 18px 22px; border: 1px solid var(--fl-line); border-radius: 10px; background: var(--st-background-color); color: inherit; font: inherit; }
.fl-help::backdrop { background: rgb(0 0 0 / 35%); }
.fl-help h2 { margin: 0 0 8px; font: 600 15px/1.2 var(--st-font); }
.fl-help dl { display: grid; grid-template-columns: auto 1fr; gap: 5px 16px; margin: 0 0 10px; }
.fl-help dt { font-weight: 600; } .fl-help dd { margin: 0; }
.fl-help p { margin: 0 0 12px; color: var(--fl-muted); }
.fl-row { display: flex; align-items: center; flex-wrap: wrap; gap: 8px; margin: 0 0 10px; } .fl-closing { margin: 14px 0 0; }
.fl-takeout { width: 460px; }
.fl-command { display: block; padding: 6px 8px; border-radius: 6px; background: color-mix(in srgb, var(--st-text-color) 7%, transparent); font: 12px/1.4 var(--st-code-font, monospace); user-select: all; overflow-wrap: anywhere; }
.fl-takeout p { margin: 4px 0 6px; }
.fl-tabledialog { max-width: min(1100px, 94vw); width: fit-content; min-width: 420px; }
.fl-help .fl-tablenote { margin: 0 0 8px; font-size: 12.5px; }
.fl-tableplace { max-height: 62vh; overflow: auto; border: 1px solid var(--fl-line); border-radius: 6px; }
.fl-sheet { border-collapse: collapse; font-size: 12.5px; } .fl-sheet th, .fl-sheet td { padding: 2px 10px; text-align: right; font-weight: 400; white-space: nowrap; }
.fl-sheet th[scope=row] { text-align: left; } .fl-sheet thead th { position: sticky; top: 0; background: var(--st-background-color); color: var(--fl-muted); box-shadow: 0 1px var(--fl-line); }
.fl-why { position: absolute; inset: 0; overflow-y: auto; scrollbar-width: thin; font-size: 12.5px; padding: 0 6px 16px 0; mask-image: linear-gradient(to top, transparent, black 16px); }
.fl-verdict { margin: 2px 0 6px; font-weight: 600; font-size: 13px; text-wrap: pretty; }
.fl-verdict-pruned { color: var(--fl-pruned); } .fl-verdict-extended { color: var(--fl-extended); }
.fl-lines { display: grid; grid-template-columns: auto minmax(0, 1fr); gap: 2px 12px; margin: 0 0 6px; }
.fl-lines dt { color: var(--fl-muted); } .fl-lines dd { margin: 0; } .fl-lines small { display: block; color: var(--fl-muted); font-size: 11.5px; overflow-wrap: anywhere; }
.fl-rule { margin: 0 0 4px; padding-left: 8px; border-left: 2px solid var(--st-primary-color); }
.fl-others { width: 100%; border-collapse: collapse; margin-top: 6px; font-size: 12px; }
.fl-others th, .fl-others td { padding: 2px 8px 2px 0; text-align: left; font-weight: 400; white-space: nowrap; } .fl-others thead th { color: var(--fl-muted); border-bottom: 1px solid var(--fl-line); }
.fl-differs td:last-child { font-weight: 600; }
@media (max-height: 820px) { .fl-player:not(.fl-slow) { grid-template-rows: auto minmax(0, 1.15fr) auto auto minmax(0, 1fr); } }
@container player (max-width: 1512px) { .fl-choose-colour .fl-choices { display: none; } .fl-choose-colour .fl-choicelist { display: inline-block; } }
@container player (max-width: 1102px) { .fl-panel .fl-choices { display: none; } .fl-panel .fl-choicelist { display: inline-block; } }
@container player (max-width: 1102px) { .fl-hero { gap: 14px; grid-template-columns: minmax(0, 1.18fr) minmax(0, 1fr) minmax(204px, 0.5fr); } .fl-sentence { font-size: 14px; } }
.fl-player.fl-slow { grid-template-rows: auto minmax(0, 3fr) auto auto minmax(104px, 1fr); }
@media (max-height: 820px) { .fl-player.fl-slow { grid-template-rows: auto minmax(0, 4fr) auto auto minmax(104px, 1fr); } }
.fl-slow .fl-sentence { white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
@container player (min-width: 1103px) { .fl-wide .fl-hero, .fl-roomy .fl-hero, .fl-slow .fl-hero { grid-template-columns: minmax(0, 2fr) minmax(0, 1fr) minmax(214px, 0.56fr); } }
@container player (min-width: 773px) and (max-width: 1102px) { .fl-wide .fl-hero, .fl-slow .fl-hero { grid-template-columns: minmax(0, 1.9fr) minmax(0, 1fr); } .fl-wide .fl-eventpanel, .fl-slow .fl-eventpanel { display: none; } }
@media (max-width: 820px) { .fl-player { height: auto; } .fl-hero { grid-template-columns: minmax(0, 1fr); } .fl-canvas { min-height: 300px; } .fl-eventpanel { max-height: 260px; } .fl-time { height: 380px; } .fl-bar { flex-wrap: wrap; } .fl-stage { height: auto; min-height: 36px; } .fl-slow .fl-sentence { white-space: normal; } }
`;

const sheet = new CSSStyleSheet();
sheet.replaceSync(CSS);

/** @param {Node} node inside the document or a shadow in it */
export function dress(node) {
  const root = /** @type {Document | ShadowRoot} */ (node.getRootNode());
  if (!root.adoptedStyleSheets.includes(sheet)) root.adoptedStyleSheets.push(sheet);
}

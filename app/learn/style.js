/** The reader's style, which it brings along. */

const CSS = `
.ln { --ln-line: color-mix(in srgb, var(--st-text-color) 14%, transparent); --ln-muted: color-mix(in srgb, var(--st-text-color) 72%, var(--st-background-color)); --ln-soft: color-mix(in srgb, var(--st-primary-color) 9%, var(--st-background-color));
  color: var(--st-text-color); font: 400 16px/1.5 var(--st-font); font-variant-numeric: tabular-nums; container: reader / inline-size; scroll-margin-top: 4rem; }
.ln [hidden] { display: none !important; } .ln *, .ln *::before { box-sizing: border-box; }
.ln-nav { display: flex; flex-wrap: wrap; gap: 4px; margin-bottom: 10px; padding-bottom: 8px; border-bottom: 1px solid var(--ln-line); }
.ln-tab { display: inline-flex; align-items: baseline; gap: 6px; padding: 4px 10px; border: 1px solid transparent; border-radius: 7px; background: none; color: inherit; font: 400 14px/1.4 var(--st-font); cursor: pointer; }
.ln-tab:hover { background: color-mix(in srgb, var(--st-text-color) 7%, transparent); }
.ln-tab[aria-current] { background: color-mix(in srgb, var(--st-primary-color) 16%, transparent); font-weight: 600; }
.ln-state { color: var(--ln-muted); font-size: 12.5px; font-weight: 400; }
.ln-body { display: grid; grid-template-columns: minmax(310px, 0.44fr) minmax(0, 1fr); gap: 26px; height: var(--ln-height, 640px); }
.ln-column { display: flex; flex-direction: column; min-height: 0; min-width: 0; }
.ln-text { position: relative; flex: 1; min-height: 0; overflow-y: auto; padding-right: 12px; scrollbar-width: thin; outline: none; }
.ln-welcome { padding: 0 0 4px; } .ln-about { margin: 0 0 8px; color: var(--ln-muted); font-size: 14.5px; }
.ln-inline { padding: 0; border: 0; background: none; color: var(--st-primary-color); font: inherit; text-decoration: underline; cursor: pointer; }
.ln-step { padding: 12px 14px 10px; margin-bottom: 10px; border-left: 3px solid var(--ln-line); }
.ln-step[aria-current] { border-left-color: var(--st-primary-color); }
.ln-step:not([aria-current]) { opacity: 0.86; }
.ln h2 { margin: 0 0 8px; padding: 0; font: 600 19px/1.3 var(--st-font); letter-spacing: 0; } .ln :is(h2, .ln-reveal):focus { outline: none; }
.ln-place { color: var(--ln-muted); font-weight: 400; }
.ln p { margin: 0 0 10px; text-wrap: pretty; } .ln p code { font: 0.9em var(--st-code-font, monospace); overflow-wrap: anywhere; }
.ln-formula { display: block; margin: 2px 0 12px; padding: 8px 10px; border-radius: 6px; background: color-mix(in srgb, var(--st-text-color) 6%, transparent); color: inherit; font: 14px/1.5 var(--st-code-font, monospace); overflow-wrap: anywhere; }
.ln-ask { margin: 4px 0 12px; padding: 12px 14px; border-radius: 8px; background: var(--ln-soft); }
.ln-question { font-weight: 600; } .ln-ask > :last-child { margin-bottom: 0; }
.ln-option { display: flex; align-items: baseline; gap: 10px; width: 100%; margin: 0 0 6px; padding: 7px 12px; border: 1px solid var(--ln-line); border-radius: 7px; background: var(--st-background-color); color: inherit; font: inherit; font-size: 15px; text-align: left; cursor: pointer; }
.ln-option:hover:enabled { border-color: var(--st-primary-color); } .ln-option:disabled { cursor: default; color: var(--ln-muted); }
.ln-letter { color: var(--ln-muted); font-size: 13px; } .ln-mark { margin-left: auto; font-weight: 700; }
.ln-option.ln-right { border-color: var(--fl-extended); color: inherit; font-weight: 600; box-shadow: inset 3px 0 var(--fl-extended); }
.ln-option.ln-wrong { border-color: var(--fl-pruned); box-shadow: inset 3px 0 var(--fl-pruned); }
.ln-row { display: flex; align-items: center; flex-wrap: wrap; gap: 8px 14px; } .ln-row > p { margin: 0; flex: 1 1 180px; }
.ln-status { font-size: 14.5px; } .ln-hint { color: var(--ln-muted); font-size: 13.5px; }
.ln-verdict { font-weight: 600; margin-bottom: 4px !important; } .ln-yes { color: var(--fl-extended); } .ln-no { color: var(--fl-pruned); }
.ln-links { display: flex; flex-wrap: wrap; gap: 4px 16px; font-size: 13px; } .ln-links a { color: var(--ln-muted); }
.ln-bar { display: flex; align-items: center; justify-content: space-between; gap: 10px; padding: 8px 2px 0; border-top: 1px solid var(--ln-line); }
.ln-middle { display: flex; flex-direction: column; align-items: center; gap: 1px; line-height: 1.25; } .ln-inline.ln-down { font-size: 13.5px; white-space: nowrap; }
.ln-where { color: var(--ln-muted); font-size: 14px; }
.ln-button { padding: 6px 14px; border: 1px solid var(--ln-line); border-radius: 7px; background: var(--st-background-color); color: inherit; font: 400 15px/1.35 var(--st-font); cursor: pointer; }
.ln-button:hover:enabled { background: color-mix(in srgb, var(--st-text-color) 7%, var(--st-background-color)); } .ln-button:disabled { opacity: 0.5; cursor: default; }
.ln-main { border-color: transparent; background: var(--st-primary-color); color: var(--st-background-color); font-weight: 600; } .ln-main:hover:enabled { background: color-mix(in srgb, var(--st-primary-color) 85%, var(--st-text-color)); }
.ln :is(button, input, a, .ln-text, .ln-point):focus-visible { outline: 2px solid var(--st-primary-color); outline-offset: 2px; }
.ln-rest { height: calc(var(--ln-height, 640px) * 0.62); }
.ln-stage { position: relative; display: grid; min-width: 0; min-height: 0; }
.ln-stage > :is(.ln-player, .ln-front) { grid-area: 1 / 1; min-width: 0; min-height: 0; }
.ln-fronted > .ln-player { visibility: hidden; }
.ln-plain :is(.fl-eventpanel, .fl-bar, .fl-track, .fl-time, .fl-top, .fl-choose, .fl-since, .fl-more) { display: none; }
@media (min-width: 821px) { .ln .ln-plain .fl-player { grid-template-rows: minmax(0, 1fr); max-height: 620px; } .ln .ln-plain .fl-hero { grid-template-columns: minmax(0, 1.3fr) minmax(0, 1fr); } }
.ln-torun { position: absolute; right: 8px; top: 4px; z-index: 3; }
.ln-dial { display: flex; flex-direction: column; gap: 8px; height: 100%; max-height: 640px; padding: 4px 8px; }
.ln-dial h3 { margin: 0; padding: 0 150px 0 0; font: 600 16px/1.35 var(--st-font); }
.ln-picture { position: relative; flex: 1; min-height: 180px; overflow: hidden; } .ln-picture svg { position: absolute; inset: 0; display: block; }
.ln-drawing { touch-action: none; cursor: crosshair; }
.ln-diallabel { font-size: 15px; text-align: center; }
.ln-slider { width: 100%; margin: 0; accent-color: var(--st-primary-color); cursor: pointer; }
.ln-numbers { display: flex; flex-wrap: wrap; justify-content: center; gap: 4px 26px; margin: 4px 0 0; } .ln-numbers div { display: flex; align-items: baseline; gap: 8px; } .ln-numbers dt { color: var(--ln-muted); font-size: 14px; } .ln-numbers dd { margin: 0; font-size: 22px; font-weight: 600; }
.ln svg text { fill: var(--st-text-color); font: 400 13.5px var(--st-font); } .ln svg .ln-tick { fill: var(--ln-muted); font-size: 12.5px; } .ln svg .ln-big { font-size: 22px; } .ln svg .ln-name { font-weight: 600; font-size: 15px; } .ln svg .ln-value { font-size: 13px; } .ln svg .ln-over { paint-order: stroke; stroke: var(--st-background-color); stroke-width: 4px; stroke-linejoin: round; } .ln svg .ln-muted { fill: var(--ln-muted); }
.ln-grid { stroke: var(--ln-line); } .ln-zero, .ln-axis { stroke: var(--ln-muted); } .ln-event { stroke: var(--ln-muted); stroke-dasharray: 3 3; }
.ln-bar rect, .ln svg .ln-bar { fill: var(--st-primary-color); } .ln svg .ln-new { fill: var(--fl-extended); }
.ln-block { fill: color-mix(in srgb, var(--st-text-color) 14%, transparent); } .ln-frame { fill: none; stroke: var(--ln-line); }
.ln-direction { fill: var(--st-primary-color); } .ln-direction1 { fill: var(--fl-extended); } .ln-direction2 { fill: color-mix(in srgb, var(--st-primary-color) 55%, var(--st-background-color)); } .ln-direction3 { fill: color-mix(in srgb, var(--fl-extended) 55%, var(--st-background-color)); }
.ln-line { fill: none; stroke: var(--st-primary-color); stroke-width: 2.5; } .ln-line1 { stroke: var(--fl-pruned); stroke-dasharray: 7 4; } .ln-line2 { stroke: var(--ln-muted); stroke-dasharray: 2 4; }
.ln-mine { stroke: var(--fl-pruned); stroke-dasharray: 6 4; }
.ln-point { fill: var(--fl-pruned); stroke: var(--st-background-color); stroke-width: 1.5; } .ln-undrawn { fill: var(--st-background-color); stroke: var(--ln-muted); stroke-dasharray: 2 2; }
.ln-interval { stroke: var(--st-primary-color); stroke-width: 3; } .ln-dot { fill: var(--st-primary-color); stroke: var(--st-background-color); stroke-width: 2; } .ln-margin { fill: color-mix(in srgb, var(--st-primary-color) 12%, transparent); }
.ln-quiz { max-width: 760px; } .ln-field { margin: 0 0 14px; padding: 12px 14px; border: 1px solid var(--ln-line); border-radius: 8px; } .ln-field legend { float: left; width: 100%; margin-bottom: 6px; padding: 0; font-weight: 600; } .ln-field label { display: block; clear: both; padding: 3px 0; cursor: pointer; } .ln-field input { accent-color: var(--st-primary-color); }
.ln-score { font-size: 20px; font-weight: 600; } .ln-results { padding: 0; list-style: none; } .ln-results li { margin: 0 0 10px; padding: 8px 14px; border-left: 3px solid var(--fl-extended); } .ln-results .ln-missed { border-left-color: var(--fl-pruned); } .ln-results .ln-unknown { border-left-color: var(--ln-muted); } .ln-results p { margin: 2px 0 6px; } .ln-quiz > div > .ln-hint { margin-top: 10px; }
.ln-narrow .ln-body { display: block; height: auto; } .ln-narrow .ln-text { overflow: visible; padding: 0; } .ln-narrow :is(.ln-step:not([aria-current]), .ln-rest) { display: none; }
.ln-narrow .ln-step { padding-left: 12px; } .ln-narrow .ln-bar { position: sticky; bottom: 0; z-index: 4; padding: 8px 0; background: var(--st-background-color); } .ln-narrow .ln-stage { margin-top: 16px; } .ln-narrow .ln-dial { height: 460px; } .ln-narrow .ln-dial h3 { padding-right: 0; } .ln-narrow .ln-torun { position: static; grid-area: 1 / 1; margin-bottom: 8px; justify-self: start; }
/* The player behind a picture would keep its height below it. */
.ln-narrow .ln-stage > :is(.ln-player, .ln-front) { grid-area: 2 / 1; } .ln-narrow .ln-fronted > .ln-player { display: none; }
.ln :is(.ln-reveal, .ln-status) { scroll-margin: 12px 0; } .ln-narrow :is(.ln-reveal, .ln-status) { scroll-margin: 72px 0; }
.ln-narrow .ln-welcome:not(:has(+ .ln-step[aria-current])) { display: none; }
@container reader (max-width: 1330px) { .ln-nav { gap: 1px; flex-wrap: nowrap; overflow-x: auto; scrollbar-width: thin; } .ln-before { mask-image: linear-gradient(to right, transparent, black 36px); } .ln-after { mask-image: linear-gradient(to left, transparent, black 36px); } .ln-before.ln-after { mask-image: linear-gradient(to right, transparent, black 36px calc(100% - 36px), transparent); } .ln-tab { flex: none; scroll-margin-inline: 36px; gap: 4px; padding: 4px 7px; font-size: 13px; white-space: nowrap; } }
/* Beside a text the player has no room for its list of events. */
@media (min-width: 821px) { @container player (max-width: 772px) { .ln .fl-hero { grid-template-columns: minmax(0, 1.3fr) minmax(0, 1fr); } .ln :is(.fl-eventpanel, .fl-bar .fl-label, .fl-choose-sort) { display: none; } .ln .fl-warning { white-space: normal; } } }
`;

const sheet = new CSSStyleSheet();
sheet.replaceSync(CSS);

/** @param {Node} node inside the document or a shadow in it */
export function dressLessons(node) {
  const root = /** @type {Document | ShadowRoot} */ (node.getRootNode());
  if (!root.adoptedStyleSheets.includes(sheet)) root.adoptedStyleSheets.push(sheet);
}

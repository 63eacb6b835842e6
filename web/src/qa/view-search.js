// Filters and what was found, and the keys.
import { html, nothing } from "lit";
import { icon } from "../common/icons.js";
import { address } from "./api.js";
import { clock, day, percent } from "./format.js";
import { gradeOf } from "./happened.js";
import { keysOn, setKeys } from "./shortcuts.js";
import { say } from "./words.js";

const CONSENTS = ["granted", "implied", "withdrawn", "denied", "notice_failed"];
const ENDED = ["caller", "callee", "server"];

export const seconds = (date, end) => (date ? String(Math.floor(new Date(`${date}T00:00`).getTime() / 1000) + (end ? 86_400 : 0)) : "");
export const dated = (value, end) => (value ? new Date((Number(value) - (end ? 86_400 : 0)) * 1000).toLocaleDateString("sv") : "");

function collect(form) {
  const given = Object.fromEntries(new FormData(form));
  const share = (value) => (value === "" ? "" : String(Number(value) / 100));
  const minutes = (value) => (value === "" ? "" : String(Number(value) * 60));
  return {
    ...given,
    from: seconds(given.from, false),
    until: seconds(given.until, true),
    length_min: minutes(given.length_min),
    length_max: minutes(given.length_max),
    silence_above: share(given.silence_above),
    overtalk_above: share(given.overtalk_above),
  };
}

export function listView(app) {
  const { filters } = app;
  const changed = (event) => app.set(collect(event.target.form ?? event.target));
  const text = (name, label, attributes = {}) => html`<label class="field">${say(label)}
    <input name=${name} .value=${filters[name] ?? ""} autocomplete="off" spellcheck="false" maxlength="255" inputmode=${attributes.mode ?? nothing}></label>`;
  const count = (name, label, value, max, step = "any") => html`<label class="field">${say(label)}
    <input type="number" name=${name} min="0" max=${max} step=${step} .value=${value}></label>`;
  const pick = (name, label, values) => html`<label class="field">${say(label)}<select name=${name} .value=${filters[name] ?? ""}>
    <option value="">${say("any")}</option>${values.map((value) => html`<option value=${value} ?selected=${filters[name] === value}>${say(`${name}_${value}`)}</option>`)}</select></label>`;
  const shown = (name, factor) => (filters[name] ? String(Math.round(Number(filters[name]) * factor * 100) / 100) : "");
  const active = Object.entries(filters).filter(([name, value]) => name !== "number" && value !== "").length;
  const save = (event) => {
    event.preventDefault();
    const name = event.target.elements.name.value.trim();
    if (name) app.saveSearch(name);
    event.target.reset();
  };
  return html`<section class="finder" aria-label=${say("search")}>
    <form class="filters sheet" role="search" @change=${changed} @submit=${(event) => (event.preventDefault(), changed(event))}>
      <label class="search-box"><span class="unseen">${say("number")}</span>${magnifier()}
        <input name="number" type="search" placeholder=${say("number_hint")} .value=${filters.number ?? ""} autocomplete="off" maxlength="255"></label>
      <details ?open=${active > 0}>
        <summary>${say("filters")}${active ? html` <span class="badge">${active}</span>` : nothing}</summary>
        <div class="filter-grid">
          ${text("agent", "agent")}${text("queue", "queue")}
          <label class="field">${say("from_day")}<input type="date" name="from" .value=${dated(filters.from, false)}></label>
          <label class="field">${say("until_day")}<input type="date" name="until" .value=${dated(filters.until, true)}></label>
          ${count("length_min", "length_min", shown("length_min", 1 / 60), 10_000)}${count("length_max", "length_max", shown("length_max", 1 / 60), 10_000)}
          ${count("mos_below", "mos_below", filters.mos_below ?? "", 5, 0.1)}${count("score_below", "score_below", filters.score_below ?? "", 100)}
          ${count("silence_above", "silence_above", shown("silence_above", 100), 100)}${count("overtalk_above", "overtalk_above", shown("overtalk_above", 100), 100)}
          ${pick("consent", "consent", CONSENTS)}${pick("ended_by", "ended_by", ENDED)}
          ${text("tag", "tag")}
          <button type="button" class="clear" @click=${() => app.set({})}>${say("clear")}</button>
        </div>
      </details>
    </form>
    <div class="saved">
      ${Object.entries(app.searches).map(([name, saved]) => html`<span class="chip"><button type="button" class="tiny" @click=${() => app.set({ ...saved })}>${name}</button><button
        type="button" class="tiny quiet" aria-label=${say("forget", { name })} @click=${() => app.forgetSearch(name)}>${icon("close")}</button></span>`)}
      ${app.query().size ? html`<form class="save" @submit=${save}><input name="name" maxlength="64" required placeholder=${say("save_as")} aria-label=${say("save_as")}><button class="tiny">${say("save")}</button></form>` : nothing}
      <a class="small csv" href=${address(`calls.csv?${app.query()}`)} download="calls.csv">${say("csv")}</a>
    </div>
    <ul class="found sheet" aria-label=${say("calls_found")} aria-busy=${app.busy}>
      ${app.calls.map((call) => row(app, call))}
      ${app.calls.length === 0 && !app.busy ? html`<li class="empty">${say(app.query().size ? "nothing_found" : "no_calls")}</li>` : nothing}
      ${app.after ? html`<li><button type="button" class="quiet more" @click=${() => app.guarded(() => app.search(true))}>${say("more")}</button></li>` : nothing}
    </ul>
  </section>`;
}

function row(app, call) {
  const current = app.open?.call.id === call.id;
  return html`<li><button type="button" class="call-row" data-call=${call.id} aria-current=${current ? "true" : nothing} @click=${() => app.guarded(() => app.show(call.id))}>
    <span class="line1"><b class="number">${call.caller || say("unknown")} → ${call.called}</b><span class="faint number small">${clock(call.length)}</span></span>
    <span class="line2"><span class="faint small">${day(call.started)}${call.agent ? ` · ${call.agent}` : ""}${call.queue ? ` · ${call.queue}` : ""}</span>${badges(call)}</span>
  </button></li>`;
}

export function badges(call) {
  return html`<span class="badges">
    ${call.mos === null ? nothing : html`<span class="badge ${gradeOf(call.mos)}">MOS ${call.mos.toFixed(1)}</span>`}
    ${call.silence > 0.3 ? html`<span class="badge fair">${say("silence_badge", { share: percent(call.silence) })}</span>` : nothing}
    ${call.overtalk > 0.1 ? html`<span class="badge fair">${say("overtalk_badge", { share: percent(call.overtalk) })}</span>` : nothing}
    ${call.consent === "withdrawn" || call.consent === "denied" ? html`<span class="badge bad">${say(`consent_${call.consent}`)}</span>` : nothing}
    ${call.score === null ? nothing : html`<span class="badge">${Math.round(call.score)}</span>`}
    ${call.tags.map((tag) => html`<span class="badge">#${tag}</span>`)}
  </span>`;
}

const magnifier = () =>
  html`<svg class="icon" viewBox="0 0 24 24" aria-hidden="true"><path d="M10.5 4a6.5 6.5 0 1 1 0 13 6.5 6.5 0 0 1 0-13zM15.5 15.5 20 20"></path></svg>`;

const KEYS = ["/", "j k", "space", "← →", ", .", "0", "1 2", "3 4", "s", "l", "n p", "+ -", "c", "Esc", "?"];

export function helpView(app) {
  const close = () => ((app.help = false), app.requestUpdate());
  return html`<div class="veil" @click=${(event) => event.target === event.currentTarget && close()}>
    <div class="sheet help" role="dialog" aria-modal="true" aria-labelledby="help-title">
      <h2 id="help-title">${say("keys")}</h2>
      <dl>${KEYS.map((key, index) => html`<div><dt><kbd>${key}</kbd></dt><dd>${say(`key_${index}`)}</dd></div>`)}</dl>
      <label class="check"><input type="checkbox" ?checked=${keysOn()} @change=${(event) => setKeys(event.target.checked)}> ${say("keys_on")}</label>
      <button type="button" class="primary" autofocus @click=${close}>${say("close")}</button>
    </div>
  </div>`;
}

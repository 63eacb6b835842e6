// Calibration: calls that several judge blind; what waits for oneself, and, when all have judged, where they differ.
import { html, nothing } from "lit";
import { icon } from "../common/icons.js";
import { address, ask } from "./api.js";
import { clock, day } from "./format.js";
import { apart, signed } from "./view-reports.js";
import { say } from "./words.js";

export function loadCalibrations(app) {
  return app.guarded(async () => (app.calibrating = { picked: [], ...app.calibrating, ...(await ask("GET", "calibrations")) }));
}

export const toCalibrate = (app) => (app.calibrating.calibrations ?? []).flatMap(({ mine }) => mine ?? []).filter(({ done }) => !done).length;

// Beside an open call: into the next session, or out of it again.
export function pickButton(app, call) {
  if (!app.may("sample")) return nothing;
  const picked = app.calibrating.picked ?? [];
  const there = picked.some(({ id }) => id === call.id);
  const toggle = () => {
    app.calibrating = { ...app.calibrating, picked: there ? picked.filter(({ id }) => id !== call.id) : [...picked, call] };
    app.told = say(there ? "calibrate_unpicked" : "calibrate_picked", { count: app.calibrating.picked.length });
    app.requestUpdate();
  };
  return html`<button type="button" class="tiny" aria-pressed=${there} @click=${toggle}>${say("calibrate_pick")}</button>`;
}

export function calibrationView(app) {
  const { calibrations } = app.calibrating;
  if (!calibrations) return nothing;
  const list = html`<section class="sheet wide" aria-labelledby="calibrate-title"><h2 id="calibrate-title">${say("calibrate_title")} <span class="badge">${calibrations.length}</span></h2>
      ${calibrations.length === 0 ? html`<p class="empty">${say("calibrate_none")}</p>` : html`<ul class="mine">${calibrations.map((one) => html`<li>${one.result ? closed(one) : running(app, one)}</li>`)}</ul>`}
      <p class="hint">${say("calibrate_hint")}</p></section>`;
  return app.may("sample") ? html`<div class="sampling">${list}${form(app)}</div>` : list;
}

const about = (one) => html`<span class="judged-of"><b>${one.name}</b><span class="faint small">${say("draw_calls", { count: one.calls })} · ${one.scorecard}, ${say("version", { version: one.version })} · ${say("calibrate_by", { who: one.by, day: day(one.created) })}</span></span>`;

function running(app, one) {
  const send = () => app.guarded(async () => {
    await ask("POST", `calibrations/${encodeURIComponent(one.id)}/close`);
    app.told = say("calibrate_closed");
    await loadCalibrations(app);
  });
  return html`<div class="judged session"><div class="row">${about(one)}<span class="badge fair">${say("calibrate_open")}</span></div>
    <p class="badges">${one.reviewers.map(({ name, done }) => html`<span class="badge ${done === one.calls ? "good" : ""}">${name} ${done}/${one.calls}</span>`)}</p>
    ${one.mine ? html`<ul class="assigned" aria-label=${say("assigned_title")}>${one.mine.map(({ call, done }) => html`<li><button type="button" class="call-row" @click=${() => app.openCall(call.id)}>
      <span class="line1"><b class="number">${call.caller || say("unknown")} → ${call.called}</b>${done ? html`<span class="badge good">${icon("check")}${say("assigned_done")}</span>` : html`<span class="badge fair">${say("to_judge")}</span>`}</span>
      <span class="faint small">${day(call.started)} · ${clock(call.length)}${call.queue ? ` · ${call.queue}` : ""}</span></button></li>`)}</ul>` : nothing}
    ${app.may("sample") ? html`<div class="row"><button type="button" class="tiny" aria-label=${say("calibrate_close_of", { name: one.name })} title=${say("calibrate_close_hint")} @click=${send}>${say("calibrate_close")}</button></div>` : nothing}</div>`;
}

const spread = (points) => (points === null ? html`<span class="badge">–</span>` : html`<span class="badge ${apart(points)}">± ${points}</span>`);
const furthest = (leanings) => Object.entries(leanings).filter(([, points]) => points).map(([who, points]) => `${who} ${signed(points)}`).join(" · ");

function closed(one) {
  const { result } = one;
  return html`<details class="judged"><summary><span class="score">${spread(result.spread)}</span>${about(one)}<span class="badge">${say("calibrate_closed_on", { day: day(one.closed) })}</span></summary>
    <div class="judged-body">
      <h3>${say("by_reviewer")}</h3><ul class="said">${result.reviewers.map((it) => html`<li><span>${it.name}</span><span class="badge ${apart(it.distance)}">${signed(it.leaning)} · ± ${it.distance}</span></li>`)}</ul>
      <h3>${say("by_question")}</h3><ul class="said">${result.questions.map((it) => html`<li><span>${it.text}<br><span class="faint small">${furthest(it.leanings)}</span></span>${spread(it.spread)}</li>`)}</ul>
      <h3>${say("report_calls")}</h3><ul class="said">${result.calls.map((it) => html`<li><span class="small">${Object.entries(it.scores).map(([who, score]) => `${who} ${score}`).join(" · ")}<br><span class="faint number">${it.recording}</span></span>${spread(it.spread)}</li>`)}</ul>
      <p class="hint">${say("report_hint_leaning")}</p>
      <a class="small csv" href=${address(`calibrations/${encodeURIComponent(one.id)}.csv`)} download="calibration.csv">${say("csv")}</a>
    </div></details>`;
}

function form(app) {
  const { picked, reviewers } = app.calibrating;
  const drop = (id) => {
    app.calibrating = { ...app.calibrating, picked: picked.filter((call) => call.id !== id) };
    app.requestUpdate();
  };
  const submit = (event) => {
    event.preventDefault();
    const { target } = event;
    const data = new FormData(target);
    const names = data.getAll("reviewer").map(String);
    if (names.length < 2) return target.querySelector("[name=reviewer]:not(:checked)")?.focus();
    app.guarded(async () => {
      const body = { name: data.get("name").trim(), scorecard: data.get("scorecard") ?? app.cards[0]?.name ?? "", reviewers: names, calls: picked.map(({ id }) => id) };
      const made = await ask("POST", "calibrations", { body });
      target.reset();
      app.calibrating = { ...app.calibrating, picked: [] };
      app.told = say("rule_made", { name: made.name });
      await loadCalibrations(app);
    });
  };
  return html`<form class="sheet wide rule-form" @submit=${submit} aria-labelledby="calibrate-new"><h2 id="calibrate-new">${say("calibrate_new")}</h2>
    <label class="field">${say("calibrate_name")}<input name="name" required maxlength="64" autocomplete="off"></label>
    ${app.cards.length > 1 ? html`<label class="field">${say("scorecard")}<select name="scorecard">${app.cards.map(({ name }) => html`<option>${name}</option>`)}</select></label>` : nothing}
    <fieldset><legend>${say("rule_reviewers")}</legend><div class="choices">${reviewers.map((name) => html`<label class="check"><input type="checkbox" name="reviewer" value=${name}>${name}</label>`)}</div></fieldset>
    <fieldset><legend>${say("report_calls")}</legend>${picked.length ? html`<ul class="said">${picked.map((call) => html`<li><span><span class="number">${call.caller || say("unknown")} → ${call.called}</span> <span class="faint small">${day(call.started)} · ${clock(call.length)}</span></span>
      <button type="button" class="quiet tiny" aria-label=${say("calibrate_drop", { who: `${call.caller} → ${call.called}` })} @click=${() => drop(call.id)}>${icon("close")}</button></li>`)}</ul>` : html`<p class="hint">${say("calibrate_pick_hint")}</p>`}</fieldset>
    <div class="row"><button class="primary" aria-disabled=${!picked.length || !app.cards.length} ?disabled=${!picked.length || !app.cards.length}>${icon("check")}${say("calibrate_make")}</button></div></form>`;
}

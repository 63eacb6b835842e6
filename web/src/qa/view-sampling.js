// Calls drawn for review: what waits for oneself, and the rules by which supervisors have them drawn.
import { html, nothing } from "lit";
import { icon } from "../common/icons.js";
import { ask } from "./api.js";
import { day } from "./format.js";
import { answersView } from "./view-mine.js";
import { badges } from "./view-search.js";
import { say } from "./words.js";

const GROUPS = ["agent", "queue", "all"];
const PERIODS = ["day", "week", "month"];
const SHARES = ["silence_above", "overtalk_above"]; // asked in percent, sent as 0..1

export function loadAssigned(app) {
  return app.guarded(async () => {
    [app.assigned, app.answers] = await Promise.all([ask("GET", "assigned").then((said) => said.assigned), ask("GET", "answers").then((said) => said.answers)]);
  });
}

export const waiting = (app) => app.assigned.filter((one) => one.done === null).length;

export function assignedView(app) {
  const [open, done] = [app.assigned.filter((one) => one.done === null), app.assigned.filter((one) => one.done !== null)];
  const list = (rows, label) => html`<ul class="assigned" aria-label=${label}>${rows.map((one) => assignedRow(app, one))}</ul>`;
  return html`<section class="sheet wide" aria-labelledby="assigned-title"><h2 id="assigned-title">${say("assigned_title")} <span class="badge">${open.length}</span></h2>
    ${open.length ? list(open, say("assigned_title")) : html`<p class="empty">${say(done.length ? "assigned_all_done" : "assigned_none")}</p>`}
    ${done.length ? html`<h3>${say("assigned_done")} <span class="badge">${done.length}</span></h3>${list(done, say("assigned_done"))}` : nothing}
    ${answersView(app)}</section>`;
}

function assignedRow(app, { call, rule, assigned, done }) {
  return html`<li><button type="button" class="call-row" @click=${() => app.openCall(call.id)}>
    <span class="line1"><b class="number">${call.caller || say("unknown")} → ${call.called}</b>${done === null ? html`<span class="badge fair">${say("to_judge")}</span>` : html`<span class="badge good">${icon("check")}${say("judged_on", { day: day(done) })}</span>`}</span>
    <span class="line2"><span class="faint small">${day(call.started)}${call.agent ? ` · ${call.agent}` : ""}${call.queue ? ` · ${call.queue}` : ""}</span>${badges(call)}</span>
    <span class="faint small">${say("drawn_by", { rule, day: day(assigned) })}</span>
  </button></li>`;
}

export function loadSampling(app) {
  return app.guarded(async () => (app.sampling = { ...app.sampling, ...(await ask("GET", "sampling")) }));
}

export function samplingView(app) {
  const { rules, reviewers } = app.sampling;
  if (!rules) return nothing;
  return html`<div class="sampling"><section class="sheet wide" aria-labelledby="rules-title"><h2 id="rules-title">${say("rules_title")} <span class="badge">${rules.length}</span></h2>
      ${rules.length === 0 ? html`<p class="empty">${say("rules_none")}</p>` : html`<ul class="rules">${rules.map((rule) => ruleRow(app, rule))}</ul>`}
      <p class="hint">${say("rules_hint")}</p></section>
    ${form(app, reviewers)}</div>`;
}

// "Silence over, %" and 0.2 become "Silence over 20 %".
function filterText(name, value) {
  const [words, unit] = say(name).split(", ");
  const shown = SHARES.includes(name) ? Math.round(Number(value) * 100) : name.startsWith("length") ? Number(value) / 60 : value;
  return [words, shown, unit].filter((part) => part !== undefined).join(" ");
}

const amount = (rule) => (rule.calls === null ? `${rule.percent} %` : say("draw_calls", { count: rule.calls }));

function ruleRow(app, rule) {
  const send = (method, rest) => app.guarded(async () => {
    const said = await ask(method, `sampling/${encodeURIComponent(rule.id)}${rest}`);
    app.told = said ? say("drawn_now", { count: said.assigned }) : say("rule_ended");
    await Promise.all([loadSampling(app), loadAssigned(app)]);
  });
  const filters = Object.entries(rule.filters).map(([name, value]) => filterText(name, value));
  return html`<li><div><b>${rule.name}</b><p class="small">${say(`draw_${rule.per}`, { amount: amount(rule) })}, ${say(`each_${rule.period}`)}${filters.length ? ` · ${filters.join(" · ")}` : ""}</p>
      <p class="faint small">${icon("people")}<span>${rule.reviewers.join(", ")}</span></p></div>
    <div class="rule-end"><span class="badge ${rule.assigned && rule.done === rule.assigned ? "good" : ""}">${say("rule_done", { done: rule.done, count: rule.assigned })}</span>
      <span class="row"><button type="button" class="tiny" aria-label=${say("draw_now_of", { name: rule.name })} @click=${() => send("POST", "/draw")}>${say("draw_now")}</button>
      <button type="button" class="tiny quiet" aria-label=${say("end_rule_of", { name: rule.name })} title=${say("end_rule_hint")} @click=${() => send("DELETE", "")}>${say("end_rule")}</button></span></div></li>`;
}

// What the form holds, as the server takes it.
export function ruleOf(given, reviewers) {
  const filters = {};
  for (const name of ["agent", "queue", "mos_below", "score_below", "length_min", ...SHARES]) {
    const value = (given[name] ?? "").trim();
    if (value) filters[name] = SHARES.includes(name) ? String(Number(value) / 100) : name === "length_min" ? String(Number(value) * 60) : value;
  }
  return { name: given.name.trim(), per: given.per, period: given.period, reviewers, filters, [given.unit]: Number(given.amount) };
}

function form(app, reviewers) {
  const submit = (event) => {
    event.preventDefault();
    const { target } = event;
    const data = new FormData(target);
    const names = data.getAll("reviewer").map(String);
    if (!names.length) return target.querySelector("[name=reviewer]")?.focus();
    app.guarded(async () => {
      const made = await ask("POST", "sampling", { body: ruleOf(Object.fromEntries(data), names) });
      target.reset();
      app.told = say("rule_made", { name: made.name });
      await loadSampling(app);
    });
  };
  const pick = (name, label, values, word) => html`<label class="field">${say(label)}<select name=${name}>${values.map((value) => html`<option value=${value}>${say(`${word}${value}`)}</option>`)}</select></label>`;
  const number = (name, max, step = "any") => html`<label class="field">${say(name)}<input type="number" name=${name} min="0" max=${max} step=${step}></label>`;
  return html`<form class="sheet wide rule-form" @submit=${submit} aria-labelledby="rule-new"><h2 id="rule-new">${say("rule_new")}</h2>
    <label class="field">${say("rule_name")}<input name="name" required maxlength="64" autocomplete="off"></label>
    <div class="asked">
      <label class="field">${say("rule_amount")}<input type="number" name="amount" min="0.1" max="1000" step="any" value="2" required></label>
      ${pick("unit", "rule_unit", ["calls", "percent"], "unit_")}${pick("per", "rule_per", GROUPS, "per_")}${pick("period", "report_period", PERIODS, "each_")}
    </div>
    <fieldset><legend>${say("rule_which")}</legend><div class="asked">
      ${["agent", "queue"].map((name) => html`<label class="field">${say(name)}<input name=${name} autocomplete="off" spellcheck="false" maxlength="255"></label>`)}
      ${number("mos_below", 5, 0.1)}${number("score_below", 100)}${number("length_min", 10_000)}${number("silence_above", 100)}${number("overtalk_above", 100)}</div></fieldset>
    <fieldset><legend>${say("rule_reviewers")}</legend><div class="choices">${reviewers.map(({ name }) => html`<label class="check"><input type="checkbox" name="reviewer" value=${name}>${name}</label>`)}</div></fieldset>
    <div class="row"><button class="primary">${icon("check")}${say("rule_make")}</button></div></form>`;
}

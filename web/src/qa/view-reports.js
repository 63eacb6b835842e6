// What reviews come to, per agent, queue, question or reviewer: asked by the form, shown as a table, the weakest first.
import { html, nothing, svg } from "lit";
import { address, ask } from "./api.js";
import { span } from "./format.js";
import { say } from "./words.js";
import { dated, seconds } from "./view-search.js";

const KINDS = ["agent", "queue", "question", "reviewer"];
const PERIODS = ["", "day", "week", "month"];
const DAYS = 30; // what is asked for first
const SHOWN = 300; // lines drawn; the sheet has all
const GOOD = 80;
const FAIR = 60;
const APART = 25; // points between people who judged one call: worth a talk
const NAMED = 3; // who is furthest from the others at a question

export const grade = (mean) => (mean === null ? "" : mean >= GOOD ? "good" : mean >= FAIR ? "fair" : "bad");

export function newReports() {
  const from = new Date(Date.now() - DAYS * 86_400_000).toLocaleDateString("sv");
  return { asked: { by: "agent", period: "", from: seconds(from, false), until: "", agent: "", queue: "", scorecard: "" }, by: "agent", rows: null };
}

function queryOf({ asked }) {
  const given = Object.entries(asked).filter(([, value]) => value !== "");
  return new URLSearchParams([...given, ["offset", String(-new Date().getTimezoneOffset())]]);
}

export function loadReports(app) {
  return app.guarded(async () => {
    const { reports } = app;
    const query = queryOf(reports);
    reports.latest = String(query); // only the last question counts
    const said = await ask("GET", `reports?${query}`);
    if (reports.latest !== String(query)) return;
    Object.assign(reports, { by: said.by, rows: weakestFirst(said.rows) });
    app.told = say("report_lines", { count: said.rows.length });
  });
}

// Over one time the weakest come first; through several periods a name's lines stay together.
export function weakestFirst(rows) {
  if (rows.some((row) => row.period)) return rows;
  return [...rows].sort((a, b) => (a.mean ?? 101) - (b.mean ?? 101));
}

export function reportsView(app) {
  const { reports } = app;
  const { asked } = reports;
  const change = (event) => {
    const given = Object.fromEntries(new FormData(event.target.form ?? event.target));
    reports.asked = { ...asked, ...given, from: seconds(given.from, false), until: seconds(given.until, true) };
    loadReports(app);
  };
  const text = (name) => html`<label class="field">${say(name)}<input name=${name} .value=${asked[name]} autocomplete="off" spellcheck="false" maxlength="255"></label>`;
  const date = (name, label, end) => html`<label class="field">${say(label)}<input type="date" name=${name} .value=${dated(asked[name], end)}></label>`;
  const pick = (name, label, pairs) => html`<label class="field">${say(label)}<select name=${name}>${pairs.map(([value, shown]) => html`<option value=${value} ?selected=${asked[name] === value}>${shown}</option>`)}</select></label>`;
  return html`<section class="sheet wide" aria-labelledby="reports-title">
    <div class="wide-head"><h2 id="reports-title">${say("reports_title")}</h2><a class="small csv" href=${address(`reports.csv?${queryOf(reports)}`)} download="report.csv">${say("csv")}</a></div>
    <form class="asked" @change=${change} @submit=${(event) => (event.preventDefault(), change(event))}>
      ${pick("by", "report_by", KINDS.map((kind) => [kind, say(`by_${kind}`)]))}
      ${pick("period", "report_period", PERIODS.map((period) => [period, say(`period_${period || "all"}`)]))}
      ${date("from", "from_day", false)}${date("until", "until_day", true)}${text("agent")}${text("queue")}
      ${app.cards.length > 1 ? pick("scorecard", "scorecard", [["", say("any")], ...app.cards.map(({ name }) => [name, name])]) : nothing}
    </form>
    ${reports.rows === null ? nothing : reports.rows.length === 0 ? html`<p class="empty">${say("report_empty")}</p>` : table(reports)}
    <p class="hint">${say(app.may("scores") ? "report_hint" : "report_hint_own")} ${say(reports.by === "reviewer" ? "report_hint_leaning" : "report_hint_spread")}</p></section>`;
}

function table({ by, rows }) {
  const periods = rows.some((row) => row.period);
  return html`<div class="scroll" role="group" tabindex="0" aria-labelledby="reports-title"><table class="report"><thead><tr>
      <th>${say(`by_${by}`)}</th>${periods ? html`<th>${say("report_period")}</th>` : nothing}<th>${say("report_mean")}</th>
      <th class="count">${say(by === "reviewer" ? "report_leaning" : "report_spread")}</th><th class="count">${say("report_calls")}</th><th class="count">${say("report_reviews")}</th><th class="count">${say("report_failed")}</th></tr></thead>
    <tbody>${rows.slice(0, SHOWN).map((row) => html`<tr><td>${row.text ? question(row) : row.name || say("unknown")}</td>
      ${periods ? html`<td class="number">${span(row.period)}</td>` : nothing}<td><span class="mean">${bar(row.mean)}<b class="number">${row.mean === null ? "–" : row.mean.toFixed(1)}</b></span></td>
      <td class="number count">${by === "reviewer" ? leaning(row) : spread(row)}</td><td class="number count">${row.calls}</td><td class="number count">${row.reviews}</td><td class="number count">${row.failed ? html`<span class="badge bad">${row.failed}</span>` : "0"}</td></tr>`)}</tbody></table></div>
    ${rows.length > SHOWN ? html`<p class="hint">${say("report_more", { count: rows.length - SHOWN })}</p>` : nothing}`;
}

const question = (row) => html`${row.text}<br><span class="faint small">${row.scorecard} · ${Object.entries(row.answers).filter(([, count]) => count)
  .map(([answer, count]) => `${say(`answer_${answer}`)} ${count}`).join(" · ")}${furthest(row.leanings)}</span>`;

export const signed = (points) => (points > 0 ? `+${points}` : String(points).replace("-", "−"));
export const apart = (points) => (points >= APART ? "bad" : points > 0 ? "fair" : "good");
const compared = (row) => say("report_compared", { count: row.compared });

function furthest(leanings) {
  const far = Object.entries(leanings ?? {}).filter(([, points]) => points).slice(0, NAMED);
  return far.length ? html`<br>${say("report_furthest", { who: far.map(([who, points]) => `${who} ${signed(points)}`).join(", ") })}` : nothing;
}

const spread = (row) => (row.spread === null ? "–" : html`<span class="badge ${apart(row.spread)}" title=${compared(row)}>± ${row.spread}</span>`);
// Beside which way he leans, how far he is from the others: two mistakes in opposite ways are no agreement.
const leaning = (row) => (row.leaning === null ? "–" : html`<span class="badge ${apart(row.distance)}" title=${compared(row)}>${signed(row.leaning)} · ± ${row.distance}</span>`);

// The number beside it says the same.
const bar = (mean) => svg`<svg class="bar-of ${grade(mean)}" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true"><rect class="ground" width="100" height="8" rx="3"></rect><rect width=${mean ?? 0} height="8" rx="3"></rect></svg>`;

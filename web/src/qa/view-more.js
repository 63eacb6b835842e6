// Running calls with how they sound now, for supervisors; and who accessed what, for those who may ask.
import { html, nothing } from "lit";
import { icon } from "../common/icons.js";
import { ask } from "./api.js";
import { clock, moment } from "./format.js";
import { gradeOf } from "./happened.js";
import { say } from "./words.js";

const mos = (value, label) => html`<span class="badge ${value === null ? "" : gradeOf(value)}" title=${label}><span class="unseen">${label}: </span>${value === null ? "–" : value.toFixed(2)}</span>`;

export function liveView(app) {
  return html`<section class="sheet wide" aria-labelledby="live-title"><h2 id="live-title">${say("live_title")} <span class="badge">${app.live.length}</span></h2>
    <div role="status">${app.ear.call ? html`<p class="note good">${icon("speaker")}<span>${say(app.ear.state === "hearing" ? "listen_on" : "listen_connecting")}</span></p>` : nothing}</div>
    ${app.live.length === 0 ? html`<p class="empty">${say("live_none")}</p>` : html`<div class="scroll" role="group" tabindex="0" aria-labelledby="live-title"><table><thead><tr><th>${say("call")}</th><th>${say("queue")}</th><th>${say("lasting")}</th><th>${say("parties")}</th><th>${say("listening")}</th></tr></thead>
    <tbody>${app.live.map((call) => html`<tr><td class="number">${call.caller} → ${call.called}${call.recording ? html` <span class="badge">${say("recorded")}</span>` : nothing}</td><td>${call.route ?? ""}</td>
      <td class="number">${clock(Date.now() / 1000 - call.started)}</td><td>${call.legs.filter((leg) => leg.state !== "ended").map((leg) => html`<span class="leg">${leg.party || say(leg.role === "caller" ? "the_caller" : "the_callee")}
        ${mos(leg.mos_received, say("mos_now_from"))}${mos(leg.mos_sent, say("mos_now_to"))}</span>`)}</td><td>${listenButton(app, call)}</td></tr>`)}</tbody></table></div>`}
    <p class="hint">${say("live_hint")}</p></section>`;
}

function listenButton(app, call) {
  const hears = app.ear.call === call.id;
  if (call.deaf && !hears) return html`<span class="faint small">${say(`deaf_${call.deaf}`)}</span>`;
  const toggle = () => (hears ? app.ear.end() : app.guarded(() => app.ear.begin(call.id)));
  return html`<button type="button" class="tiny" aria-pressed=${hears} aria-label=${hears ? say("listen_stop") : say("listen_to", { who: `${call.caller} → ${call.called}` })} @click=${toggle}>${icon("speaker")}${say(hears ? "listen_stop" : "listen")}</button>`;
}

const LOG_LINES = 100;

// more: the next page, behind the last line that is there.
export function loadLog(app, more = false) {
  return app.guarded(async () => {
    const query = new URLSearchParams([["limit", LOG_LINES], ...Object.entries(app.logAsked).filter(([, value]) => value)]);
    if (more) query.set("before", app.log.at(-1).id);
    const { entries } = await ask("GET", `log?${query}`);
    app.log = more ? [...app.log, ...entries] : entries;
    app.logMore = entries.length === LOG_LINES;
  });
}

// A time is shown as one, a stretch by the clock of the call.
function detail({ detail: given }) {
  const value = (name, it) => (["from", "until"].includes(name) && Number(it) > 1e8 ? moment(Number(it)) : it);
  return Object.entries(given).filter(([, it]) => it !== null && it !== "").map(([name, it]) =>
    name === "seconds" && Array.isArray(it) ? it.map(([from, to]) => `${clock(from)}–${clock(to)}`).join(", ") : `${name}: ${value(name, it)}`).join(", ");
}

export function logView(app) {
  const change = (event) => {
    app.logAsked = Object.fromEntries([...new FormData(event.target.form ?? event.target)].map(([name, value]) => [name, value.trim()]));
    loadLog(app);
  };
  const text = (name) => html`<label class="field">${say(name)}<input name=${name} .value=${app.logAsked[name] ?? ""} autocomplete="off" spellcheck="false" maxlength="80"></label>`;
  return html`<section class="sheet wide" aria-labelledby="log-title"><h2 id="log-title">${say("log_title")}</h2>
    <form class="asked log-asked" role="search" aria-labelledby="log-title" @change=${change} @submit=${(event) => (event.preventDefault(), change(event))}>${text("who")}${text("recording")}</form>
    ${app.log.length === 0 ? html`<p class="empty">${say("log_none")}</p>` : html`<div class="scroll" role="group" tabindex="0" aria-labelledby="log-title"><table class="entries"><thead><tr><th>${say("when")}</th><th>${say("who")}</th><th>${say("what")}</th><th>${say("recording")}</th><th>${say("detail")}</th></tr></thead>
    <tbody>${app.log.map((entry) => html`<tr><td class="number">${moment(entry.at)}</td><td>${entry.who}</td><td>${say(`did_${entry.what.replaceAll(" ", "_")}`)}</td><td class="number small">${entry.recording}</td><td>${detail(entry)}</td></tr>`)}</tbody></table></div>`}
    ${app.logMore ? html`<div class="row"><button type="button" @click=${() => loadLog(app, true)}>${say("more")}</button></div>` : nothing}</section>`;
}

// Running calls with how they sound now, for supervisors; and who accessed what, for those who may ask.
import { html, nothing } from "lit";
import { icon } from "../common/icons.js";
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

export function logView(app) {
  const detail = (entry) => {
    if (entry.detail.seconds) return entry.detail.seconds.map(([from, to]) => `${clock(from)}–${clock(to)}`).join(", ");
    return Object.entries(entry.detail).map(([name, value]) => `${name}: ${value}`).join(", ");
  };
  return html`<section class="sheet wide" aria-labelledby="log-title"><h2 id="log-title">${say("log_title")}</h2>
    <div class="scroll" role="group" tabindex="0" aria-labelledby="log-title"><table><thead><tr><th>${say("when")}</th><th>${say("who")}</th><th>${say("what")}</th><th>${say("recording")}</th><th>${say("detail")}</th></tr></thead>
    <tbody>${app.log.map((entry) => html`<tr><td class="number">${moment(entry.at)}</td><td>${entry.who}</td><td>${say(`did_${entry.what.replaceAll(" ", "_")}`)}</td><td class="number small">${entry.recording}</td><td>${detail(entry)}</td></tr>`)}</tbody></table></div></section>`;
}

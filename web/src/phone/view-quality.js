// How good a call is, in two numbers with their scale and the figures behind them; whose measurement it is, is said.
import { html, nothing } from "lit";
import { icon } from "../common/icons.js";
import { grade } from "./mos.js";
import { say } from "./words.js";

// From the server where it has spoken: what it measured at our leg. "sent" is what this party hears, "received" what the
// server (and so the other side) hears from it.
export function judged(call) {
  const measured = call.measured;
  const has = measured && (measured.mos_sent !== null || measured.mos_received !== null);
  return has
    ? { heard: measured.mos_sent ?? call.estimate.heard, sent: measured.mos_received, by: "measured" }
    : { ...call.estimate, by: "estimated" };
}

// The lower of both directions, null before either is known: what the badge in a call shows.
export function worst(call) {
  const { heard, sent } = judged(call);
  const known = [heard, sent].filter((mos) => mos !== null && mos !== undefined);
  return known.length ? Math.min(...known) : null;
}

export const gradeOf = (call) => grade(worst(call));

export function qualityView(call) {
  const { heard, sent, by } = judged(call);
  const figures = call.figures ?? {};
  const measured = call.measured ?? {};
  const lossOut = figures.lossOut ?? measured.loss ?? null;
  return html`<div class="gauges">${gauge(say("you_hear"), heard)}${gauge(say("they_hear"), sent)}</div>
    <p class="small faint">${say("mos_scale")} · ${say(by)}</p>
    <dl class="figures">
      ${figure("packets_lost_in", percent(figures.lossIn))}
      ${figure("packets_lost_out", percent(lossOut))}
      ${figure("jitter", ms(figures.jitterMs ?? measured.jitter_ms))}
      ${figure("round_trip", ms(figures.roundTripMs ?? measured.rtt_ms))}
      ${figure("buffer", ms(figures.bufferMs))}
      ${figure("rate", figures.kbitIn === undefined ? null : `↓ ${Math.round(figures.kbitIn)} · ↑ ${say("kbit", { n: Math.round(figures.kbitOut) })}`)}
      ${figure("codec", figures.codec)}
      ${figures.video ? figure("picture", `${figures.video.width}×${figures.video.height}, ${figures.video.perSecond}/s, ${figures.video.codec}`) : nothing}
      ${figures.route ? figure("route", say(`route_${figures.route}`)) : nothing}
    </dl>
    ${gradeOf(call) === "good" && !call.warningNow ? html`<p class="note good">${icon("check")}<span>${say("quality_all_good")}</span></p>` : nothing}`;
}

function gauge(label, mos) {
  const top = 4.5; // of every scale of the E-model
  const known = mos !== null && mos !== undefined;
  const share = known ? Math.max(0, (mos - 1) / (top - 1)) : 0;
  const circle = 2 * Math.PI * 34;
  return html`<div class=${`gauge ${grade(mos)}`}>
    <svg viewBox="0 0 80 80" aria-hidden="true"><circle cx="40" cy="40" r="34"></circle>
      <circle class="arc" cx="40" cy="40" r="34" stroke-dasharray=${`${(share * circle).toFixed(1)} ${circle.toFixed(1)}`} transform="rotate(-90 40 40)"></circle></svg>
    <b class="number">${known ? mos.toFixed(2) : "–"}</b>
    <span>${label}</span><small>${say(`grade_${grade(mos)}`)}</small></div>`;
}

const ms = (value) => (value === null || value === undefined ? null : say("ms", { n: Math.round(value) }));
const percent = (value) => (value === null || value === undefined ? null : say("percent", { n: (value * 100).toFixed(1) }));

function figure(word, text) {
  return html`<div><dt>${say(word)}</dt><dd class="number">${text ?? say("unknown")}</dd></div>`;
}

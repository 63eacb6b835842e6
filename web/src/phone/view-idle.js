// The phone at rest: keypad, list of calls, settings. On a narrow screen one of them at a time.
import { html, nothing } from "lit";
import { icon } from "../common/icons.js";
import { language } from "../common/i18n.js";
import { clock, when } from "./history.js";
import "./settings.js";
import { say } from "./words.js";

export const LETTERS = { 2: "ABC", 3: "DEF", 4: "GHI", 5: "JKL", 6: "MNO", 7: "PQRS", 8: "TUV", 9: "WXYZ", 0: "+" };
export const KEYS = [..."123456789*0#"];
const TRIES = ["600", "601", "602", "700"];

export function idleView(phone) {
  return html`<h1 class="unseen">${say("title")}</h1>
    <div class="desk" data-tab=${phone.tab}>
      <section class="sheet dialer" aria-label=${say("keypad")}>${dialer(phone)}</section>
      <section class="sheet side">
        <nav class="tabs" aria-label=${say("nav")}>
          ${["keypad", "history", "settings"].map((tab) => html`<button type="button" class=${`quiet tab-${tab}`}
            aria-current=${isShown(phone, tab) ? "true" : nothing} @click=${() => show(phone, tab)}>
            ${icon({ keypad: "keypad", history: "clock", settings: "gear" }[tab])}<span>${say(tab)}</span></button>`)}
        </nav>
        <div class="tab-body">${phone.tab === "settings" ? html`<phone-settings .phone=${phone}></phone-settings>` : historyView(phone)}</div>
      </section>
    </div>`;
}

// With room for two columns the keypad always stands at the left, and the list of calls is what "keypad" shows beside it.
function isShown(phone, tab) {
  if (matchMedia("(min-width: 56rem)").matches && tab === "history") return phone.tab !== "settings";
  return phone.tab === tab;
}

function show(phone, tab) {
  phone.tab = tab;
  phone.changed();
}

function dialer(phone) {
  const ready = phone.line.state === "ready";
  const can = ready && phone.number.trim() !== "";
  const submit = (event) => {
    event.preventDefault();
    if (can) phone.dial(phone.number);
  };
  return html`<form class="number" @submit=${submit}>
      <label class="unseen" for="number">${say("number_label")}</label>
      <input id="number" inputmode="tel" autocomplete="off" autocapitalize="none" spellcheck="false" enterkeyhint="go" placeholder=${say("number_hint")}
        .value=${phone.number} @input=${(event) => { phone.number = event.target.value; phone.problem = null; phone.changed(); }}>
      <button type="button" class="quiet round erase" aria-label=${say("erase")} ?hidden=${!phone.number}
        @click=${() => { phone.number = phone.number.slice(0, -1); phone.changed(); }}>${icon("erase")}</button>
    </form>
    <div role="alert">${phone.problem ? problemNote(phone.problem.word, phone.problem.values) : nothing}</div>
    ${keypad(phone)}
    <div class="dial-actions">
      <button type="button" class="call big" ?disabled=${!can} @click=${() => phone.dial(phone.number)}>${icon("phone")} ${say("call")}</button>
      <button type="button" class="big" ?disabled=${!can} aria-label=${say("video_call")} title=${say("video_call")} @click=${() => phone.dial(phone.number, { video: true })}>${icon("camera")}</button>
    </div>
    ${ready ? html`<p class="line-note faint small">${say("line_ready_long", { user: phone.account.user })}</p>` : lineNote(phone)}`;
}

function lineNote(phone) {
  const { state, reason, values } = phone.line;
  const text = state === "refused" && reason ? say(reason, values) : state === "lost" ? say("unreachable") : say(`line_${state}`);
  return html`<p class="note ${state === "connecting" ? "" : "fair"}">${icon("info")}<span>${text}</span></p>`;
}

export function keypad(phone) {
  return html`<div class="keypad" role="group" aria-label=${say("keypad")}>
    ${KEYS.map((digit) => html`<button type="button" @click=${() => phone.press(digit)}>
      <span>${digit}</span> <small>${LETTERS[digit] ?? ""}</small></button>`)}
  </div>`;
}

export function problemNote(word, values = {}) {
  return html`<div class="note bad">${icon("alert")}<p><strong>${say(word, values)}</strong> ${fix(word)}</p></div>`;
}

function fix(word) {
  const text = say(`fix_${word}`);
  return text === `fix_${word}` ? nothing : text;
}

function historyView(phone) {
  const now = Date.now();
  return html`<h2 class="unseen">${say("history")}</h2>
    ${phone.log.length ? html`<ul class="log">${phone.log.map((entry) => logRow(phone, entry, now))}</ul>
        <p class="log-end"><button type="button" class="quiet tiny" @click=${() => phone.clearLog()}>${say("clear")}</button></p>`
      : html`<div class="empty"><p><strong>${say("history_empty")}</strong></p><p class="small">${say("history_empty_lead")}</p></div>`}
    ${phone.log.length < 4 ? html`<div class="tries"><h3>${say("try_title")}</h3>
      <ul>${TRIES.map((number) => html`<li><button type="button" ?disabled=${phone.line.state !== "ready"} @click=${() => phone.dial(number)}>
        <b class="number">${number}</b><span>${say(`try_${number}`)}</span>${icon("phone")}</button></li>`)}</ul></div>` : nothing}`;
}

function logRow(phone, entry, now) {
  const who = entry.name || entry.with;
  const way = say(`way_${entry.way}`);
  const length = entry.seconds > 0 ? clock(entry.seconds) : entry.way === "out" ? say("no_answer_given") : "";
  return html`<li><button type="button" class="quiet" title=${say("call_again", { who })}
    ?disabled=${phone.line.state !== "ready"} @click=${() => phone.dial(entry.with)}>
    <span class="way ${entry.way}">${icon(entry.way)}</span>
    <span class="who"><b>${who}</b><small class="faint">${way}${length ? ` · ${length}` : ""}</small></span>
    <time class="faint small number">${when(entry.at, now, language())}</time></button></li>`;
}

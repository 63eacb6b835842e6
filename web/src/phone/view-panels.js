// What can stand beside a call: keypad, transfer, chat, people, quality. One at a time.
import { html, nothing } from "lit";
import { icon } from "../common/icons.js";
import { language } from "../common/i18n.js";
import { keypad } from "./view-idle.js";
import { qualityView } from "./view-quality.js";
import { say } from "./words.js";

const VIEWS = { keypad: keysView, transfer: transferView, chat: chatView, people: peopleView, quality: (_phone, call) => qualityView(call) };

export function panelView(phone, call) {
  return html`<aside class="panel sheet" aria-labelledby="panel-title">
    <header><h2 id="panel-title" tabindex="-1">${say(phone.panel)}</h2>
      <button type="button" class="quiet round small-round" aria-label=${say("close")} @click=${() => { phone.panel = null; phone.changed(); }}>${icon("close")}</button></header>
    <div class="panel-body">${VIEWS[phone.panel](phone, call)}</div>
  </aside>`;
}

function keysView(phone, call) {
  return html`<output class="pressed number" aria-label=${say("keypad")}>${call.pressed ?? ""}</output>${keypad(phone)}`;
}

function transferView(phone, call) {
  const others = phone.calls.filter((one) => one !== call && one.state === "talking");
  const submit = (event) => {
    event.preventDefault();
    const to = new FormData(event.target).get("to").trim();
    if (!to) return;
    if (event.submitter?.value === "ask") phone.consult(call, to);
    else phone.transfer(call, to);
  };
  return html`<form class="stack" @submit=${submit}>
      <label class="field">${say("transfer_to")}<input name="to" inputmode="tel" autocomplete="off" autocapitalize="none" required>
        <small>${say("transfer_lead")}</small></label>
      <button class="primary" value="now">${icon("transfer")} ${say("transfer_now")}</button>
      <button value="ask">${icon("people")} ${say("transfer_consult")}</button>
      <p class="hint">${say("transfer_consult_lead")}</p>
    </form>
    ${others.map((other) => html`<div class="stack"><p class="hint">${say("transfer_ask_lead")}</p>
      <button type="button" @click=${() => phone.connect(call, other)}>${icon("people")} ${say("transfer_ask", { who: other.name || other.party })}</button></div>`)}`;
}

function chatView(phone, call) {
  const submit = (event) => {
    event.preventDefault();
    const text = event.target.elements.text.value.trim();
    if (text && phone.say(call, text)) event.target.reset();
  };
  const time = (at) => new Date(at).toLocaleTimeString(language(), { hour: "2-digit", minute: "2-digit" });
  return html`<div class="messages" role="log" tabindex="0" aria-label=${say("chat")}><ol>
      ${call.chat.map((message) => html`<li class=${message.own ? "own" : ""}><small class="faint">${message.own ? say("you") : message.from} · ${time(message.at)}</small><p>${message.text}</p></li>`)}
    </ol></div>
    ${call.chat.length ? nothing : html`<div class="empty"><p><strong>${say("chat_empty")}</strong></p><p class="small">${say("chat_empty_lead")}</p></div>`}
    ${phone.events.ready ? html`<form class="write" @submit=${submit}>
        <label class="unseen" for="chat-text">${say("chat_field")}</label>
        <input id="chat-text" name="text" autocomplete="off" maxlength="2000" placeholder=${say("chat_field")}>
        <button class="primary round small-round" aria-label=${say("chat_send")}>${icon("send")}</button></form>`
      : html`<p class="note fair">${icon("info")}<span>${say("chat_off")}</span></p>`}`;
}

function peopleView(phone, call) {
  const people = call.room?.participants ?? [];
  const directs = phone.moderates(call) && phone.events.ready;
  return html`<ul class="people">${people.map((one) => html`<li><span class="way in">${icon(one.muted ? "micOff" : "mic")}</span>
      <span class="who"><b>${one.number}</b>${one.you ? html` <span class="faint">(${say("you")})</span>` : nothing}</span>
      ${one.speaking || call.room.speaker === one.id ? html`<span class="badge good">${say("speaking")}</span>` : one.muted ? html`<span class="badge">${say("is_muted")}</span>` : nothing}
      ${directs && !one.you ? html`<button type="button" class="quiet round small-round" aria-label=${say(one.muted ? "let_speak" : "mute_other", { who: one.number })}
          @click=${() => phone.control(call, one.muted ? "unmute" : "mute", one.id)}>${icon(one.muted ? "mic" : "micOff")}</button>
        <button type="button" class="quiet round small-round" aria-label=${say("kick", { who: one.number })} @click=${() => phone.control(call, "kick", one.id)}>${icon("close")}</button>` : nothing}</li>`)}</ul>
    ${people.length < 2 ? html`<p class="hint">${say("room_alone", { room: call.room?.room ?? "" })}</p>` : nothing}`;
}

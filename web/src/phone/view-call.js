// A call on the screen: who, since when, how well; pictures; what needs an answer now; the controls.
import { html, nothing } from "lit";
import { icon } from "../common/icons.js";
import { clock } from "./history.js";
import "./level.js";
import { canShareScreen } from "./media.js";
import { gradeOf, worst } from "./view-quality.js";
import { panelView } from "./view-panels.js";
import { problemNote } from "./view-idle.js";
import { say, has } from "./words.js";

export function callView(phone, call) {
  const tiles = call.tracks ? [...call.tracks.tiles.values()] : [];
  const pictures = tiles.length > 0 || Boolean(call.tracks?.camera) || Boolean(call.tracks?.screen);
  return html`<div class=${`in-call ${pictures ? "with-pictures" : ""} ${phone.panel ? "with-panel" : ""}`}>
    <div class="call-main">
      ${otherCalls(phone, call)}
      ${consultation(phone, call)}
      <section class=${`stage ${pictures ? "" : "sheet"}`} aria-labelledby="call-who">
        ${pictures ? grid(call, tiles) : nothing}
        ${about(phone, call, pictures)}
      </section>
      ${notes(phone, call)}
      ${controls(phone, call)}
    </div>
    ${phone.panel && call.live ? panelView(phone, call) : nothing}
  </div>`;
}

export const who = (call) => call.name || call.party;

export function stateWords(call) {
  if (call.state === "talking" && call.held) return say("on_hold");
  if (call.state === "talking") return say("talking");
  return say(call.state);
}

function about(phone, call, pictures) {
  const name = who(call);
  const room = call.room;
  return html`<div class="about">
    ${pictures ? nothing : html`<div class=${`avatar ${call.state}`} aria-hidden="true"><span>${initials(name)}</span></div>`}
    <div class="about-words">
      <h1 id="call-who" tabindex="-1">${room ? say("room", { room: room.room }) : name}</h1>
      <p class="call-state">
        <span>${stateWords(call)}</span>
        ${call.talkingAt !== null ? html`<span class="number" aria-hidden="true">${clock(call.seconds)}</span>` : nothing}
        ${room ? html`<span>${say("people_count", { count: room.participants.length })}</span>` : nothing}
      </p>
      ${call.state === "ended" ? endWords(call) : nothing}
    </div>
    ${call.state === "talking" ? html`<button type="button" class=${`badge quality ${gradeOf(call)}`} aria-expanded=${phone.panel === "quality"}
        @click=${() => toggle(phone, "quality")}>
        ${icon("pulse")}<span class="number">${mosText(call)}</span><span>${say(`grade_${gradeOf(call)}`)}</span></button>` : nothing}
    ${!pictures && call.state === "talking" ? html`<div class="levels">
        <span class="small faint">${say("you")}</span><level-meter .stream=${call.muted ? null : call.microphone} label=${say("mic_level")}></level-meter>
        <span class="small faint">${name}</span><level-meter .stream=${call.remoteAudio} label=${say("speaker_level")}></level-meter></div>` : nothing}
  </div>`;
}

function mosText(call) {
  const mos = worst(call);
  return mos === null ? "" : mos.toFixed(1);
}

function endWords(call) {
  const key = `cause_${call.cause}`;
  const words = call.transferState === "done" ? say("transfer_done") : has(key) ? say(key) : say("cause_other", { cause: call.cause });
  const problem = call.problem ? problemNote(call.problem) : nothing;
  return html`<p class="faint">${words}</p>${problem}`;
}

function initials(name) {
  const words = name.split(/[\s._-]+/).filter(Boolean);
  if (/^[\d+]/.test(name)) return name.slice(0, 4);
  return words.slice(0, 2).map((word) => word[0].toUpperCase()).join("");
}

// -- pictures

function grid(call, tiles) {
  const slides = tiles.find((tile) => tile.kind === "screen");
  const faces = tiles.filter((tile) => tile !== slides);
  const others = (call.room?.participants ?? []).filter((one) => !one.you && !faces.some((tile) => tile.participant === one.id));
  const many = Boolean(slides) || faces.length + others.length > 1;
  const own = call.tracks.camera ? selfView(call) : nothing;
  return html`<div class=${`pictures ${slides ? "with-slides" : ""}`} data-count=${faces.length + others.length}>
    ${slides ? html`<div class="slides">${tileView(call, slides)}</div>` : nothing}
    <div class="faces" role="group" aria-label=${say("video")} tabindex=${slides ? "0" : nothing}>
      ${faces.map((tile) => tileView(call, tile))}
      ${others.map((one) => faceless(one.number, html`${one.number}${one.muted ? html` ${icon("micOff")}` : nothing}`, speaks(call, one.id)))}
      ${!faces.length && !others.length && !slides ? faceless(who(call), say("no_picture"), false) : nothing}
      ${many ? own : nothing}
    </div>
    ${many ? nothing : own}
    ${call.tracks.screen ? html`<p class="sharing badge fair">${icon("screen")}${say("your_screen")}</p>` : nothing}
  </div>`;
}

function selfView(call) {
  return html`<div class="tile self-view"><video autoplay playsinline .muted=${true} .srcObject=${call.tracks.camera} aria-label=${say("camera_preview")}></video>
    <span class="tile-name">${say("you")}</span></div>`;
}

function faceless(name, label, speaking) {
  return html`<div class=${`tile ${speaking ? "speaks" : ""}`}><div class="avatar small-avatar" aria-hidden="true"><span>${initials(name)}</span></div>
    <span class="tile-name">${label}</span></div>`;
}

const speaks = (call, id) => call.room?.speaker === id || call.room?.participants.some((one) => one.id === id && one.speaking);

function tileView(call, tile) {
  const person = call.room?.participants.find((one) => one.id === tile.participant);
  const name = person?.number ?? who(call);
  const label = say(tile.kind === "screen" ? "screen_of" : "picture_of", { who: name });
  return html`<div class=${`tile ${tile.kind} ${speaks(call, tile.participant) ? "speaks" : ""}`}>
    <video autoplay playsinline .muted=${true} .srcObject=${tile.stream} aria-label=${label}></video>
    <span class="tile-name">${name}${person?.muted ? html` ${icon("micOff")}` : nothing}</span></div>`;
}

// -- what needs attention, the most urgent first

function notes(phone, call) {
  if (!call.live) return nothing;
  return html`<div class="notes">
    ${recording(phone, call)}
    ${call.network !== "ok" ? note("fair", "pulse", say(`net_${call.network}`)) : nothing}
    ${phone.line.state === "lost" && call.network === "ok" ? note("fair", "info", say("line_lost")) : nothing}
    ${call.heldByOther ? note("", "pause", say("held_by_other")) : nothing}
    ${call.muted ? note("", "micOff", say("muted_note")) : nothing}
    ${call.problem ? problemNote(call.problem) : nothing}
    ${call.problem === "sound_blocked" ? html`<button type="button" class="primary" @click=${() => hear(call)}>${say("hear")}</button>` : nothing}
    ${call.transferState ? note(call.transferState === "failed" ? "bad" : "good", "transfer", say(`transfer_${call.transferState}`)) : nothing}
    ${warn(call)}
  </div>`;
}

// Somebody waits on hold while this one is asked.
function consultation(phone, call) {
  if (!call.live || !call.about?.live) return nothing;
  const values = { who: who(call.about), other: who(call) };
  return html`<section class="note consult" aria-label=${say("transfer_consult")}>${icon("transfer")}<div>
      <strong>${say("consult_waits", values)}</strong> ${say(call.state === "talking" ? "consult_talk" : "consult_ring", values)}
      <div class="row">${call.state === "talking" ? html`<button type="button" class="primary" @click=${() => phone.connect(call.about, call)}>${icon("transfer")} ${say("consult_connect", values)}</button>` : nothing}
        <button type="button" @click=${() => phone.comeBack(call)}>${say("consult_back", values)}</button></div></div></section>`;
}

function note(kind, name, text) {
  return html`<p class=${`note ${kind}`}>${icon(name)}<span>${text}</span></p>`;
}

export function warningWord(call) {
  return call.warningNow ?? (call.measured?.warning && has(`warn_${call.measured.warning}`) ? call.measured.warning : null);
}

function warn(call) {
  const word = warningWord(call);
  return word ? html`<div class="note fair">${icon("alert")}<p><strong>${say(`warn_${word}`)}</strong> ${say(`fix_${word}`)}</p></div>` : nothing;
}

function hear(call) {
  call.problem = null;
  call.audio.play().catch(() => {});
  call.changed();
}

function recording(phone, call) {
  const answered = call.consent === "refused" ? say("rec_refused") : call.consent === "agreed" ? say("rec_agreed") : null;
  if (call.notice === "asking" || call.notice === "notice") {
    const asking = call.notice === "asking";
    return html`<section class="note consent ${answered ? "" : "fair"}" aria-label=${say(`rec_${call.notice}`)}>${icon("record")}
      <div><strong>${say(`rec_${call.notice}`)}</strong> ${answered ?? say(`rec_${call.notice}_lead`)}
        ${asking && !answered ? html`<div class="row">
          <button type="button" class="primary" @click=${() => phone.agree(call, true)}>${say("rec_agree")}</button>
          <button type="button" @click=${() => phone.agree(call, false)}>${say("rec_refuse")}</button></div>` : nothing}
      </div></section>`;
  }
  const directs = phone.directs(call);
  const act = (action, text) => html`<button type="button" class="tiny" @click=${() => phone.record(call, action)}>${say(text)}</button>`;
  if (call.notice === "recording" || call.notice === "paused") {
    const paused = call.notice === "paused";
    return html`<section class="note ${paused ? "" : "bad"}" aria-label=${say(`rec_${call.notice}`)}>${icon("record")}<div class="spread">
      <span>${say(paused ? "rec_paused" : "rec_recording_lead")}</span><span class="row">
      ${directs ? [act(paused ? "resume" : "pause", paused ? "rec_resume" : "rec_pause"), act("stop", "rec_stop")] : nothing}
      ${!paused && call.consent !== "refused" ? html`<button type="button" class="tiny" @click=${() => phone.agree(call, false)}>${say("rec_withdraw")}</button>` : nothing}</span></div>
      ${call.recordRefused ? html`<p class="small" role="status">${say("rec_cannot")}</p>` : nothing}</section>`;
  }
  return call.consent === "refused" ? note("", "record", answered) : nothing;
}

// -- controls

function toggle(phone, panel) {
  phone.panel = phone.panel === panel ? null : panel;
  if (phone.panel === "chat") phone.current.unread = 0;
  phone.changed();
}

function controls(phone, call) {
  if (!call.live) {
    return html`<div class="controls after"><button type="button" class="call" ?disabled=${phone.line.state !== "ready"} @click=${() => again(phone, call)}>
        ${icon("phone")} ${say("call_again", { who: who(call) })}</button>
      <button type="button" @click=${() => phone.drop(call)}>${say("close")}</button></div>`;
  }
  if (call.state === "calling" || call.state === "ringing") {
    return html`<div class="controls"><button type="button" class="end big" @click=${() => call.hangUp()}>${icon("hangup")} ${say("cancel")}</button></div>`;
  }
  if (call.state === "incoming") return nothing;
  const tracks = call.tracks;
  const panels = [["keypad", "keypad"], ["transfer", "transfer"], ["chat", "chat"], ...(call.room ? [["people", "people"]] : []), ["quality", "pulse"]];
  return html`<div class="controls" role="toolbar" aria-label=${say("controls")}>
    ${control(call.muted ? "micOff" : "mic", say(call.muted ? "unmute_short" : "mute_short"), say(call.muted ? "unmute" : "mute"), call.muted, () => call.mute(!call.muted))}
    ${control(tracks?.camera ? "camera" : "cameraOff", say("video"), say(tracks?.camera ? "camera_off" : "camera_on"), false, () => tracks.setCamera(!tracks.camera))}
    ${canShareScreen() ? control("screen", say("screen"), say(tracks?.screen ? "screen_off" : "screen_on"), Boolean(tracks?.screen), () => tracks.setScreen(!tracks.screen)) : nothing}
    ${control(call.held ? "play" : "pause", say(call.held ? "resume" : "hold"), say(call.held ? "resume" : "hold"), call.held, () => call.hold(!call.held))}
    ${call.notice === "off" && call.consent !== "refused" && phone.directs(call) ? control("record", say("rec_start_short"), say(call.recordRefused ? "rec_cannot" : "rec_start"), false, () => phone.record(call, "start")) : nothing}
    ${panels.map(([panel, sign]) => html`<button type="button" class=${`control ${phone.panel === panel ? "open" : ""}`} aria-expanded=${phone.panel === panel}
      @click=${() => toggle(phone, panel)}>${icon(sign)}<span>${say(panel)}</span>
      ${panel === "chat" && call.unread ? html`<b class="count" aria-label=${say("chat_new", { count: call.unread })}>${call.unread}</b>` : nothing}</button>`)}
    <button type="button" class="control end" @click=${() => call.hangUp()}>${icon("hangup")}<span>${say("hang_up")}</span></button>
  </div>`;
}

function again(phone, call) {
  phone.drop(call);
  phone.dial(call.party);
}

function control(sign, text, label, on, act) {
  return html`<button type="button" class=${`control ${on ? "on" : ""}`} aria-label=${label} title=${label} @click=${act}>${icon(sign)}<span>${text}</span></button>`;
}

function otherCalls(phone, call) {
  const others = phone.calls.filter((one) => one !== call && one !== call.about && one.live && one.state !== "incoming");
  if (!others.length) return nothing;
  return html`<ul class="other-calls" aria-label=${say("calls")}>${others.map((one) => html`<li><button type="button" @click=${() => phone.switchTo(one)}>
    ${icon(one.held ? "pause" : "phone")}<span>${say("switch_to", { who: who(one) })}</span><span class="faint">${stateWords(one)}</span></button></li>`)}</ul>`;
}

// -- somebody calls

export function incomingView(phone, call) {
  const busy = phone.calls.some((one) => one.state === "talking");
  return html`<section class="incoming sheet" role="alertdialog" aria-labelledby="incoming-who" aria-describedby="incoming-what" tabindex="-1">
    <div class="avatar incoming" aria-hidden="true"><span>${initials(who(call))}</span></div>
    <div class="about-words"><p class="faint" id="incoming-what">${say("incoming")}</p><h2 id="incoming-who">${who(call)}</h2>
      ${call.name ? html`<p class="faint small">${call.party}</p>` : nothing}</div>
    ${call.problem ? problemNote(call.problem) : nothing}
    <div class="incoming-actions">
      <button type="button" class="call" @click=${() => phone.answer(call)}>${icon("phone")} ${say(busy ? "answer_hold" : "answer")}</button>
      ${call.offersVideo ? html`<button type="button" @click=${() => phone.answer(call, { video: true })}>${icon("camera")} ${say("answer_video")}</button>` : nothing}
      <button type="button" class="end" @click=${() => call.hangUp()}>${icon("hangup")} ${say("reject")}</button>
      ${phone.silenced ? nothing : html`<button type="button" class="quiet tiny" @click=${() => { phone.silenced = true; phone.changed(); }}>${say("silence")}</button>`}
    </div>
  </section>`;
}

// One call: the waveform and its controls, lanes under it, what happened in words, comments, tags, links.
import { html, nothing } from "lit";
import { icon } from "../common/icons.js";
import { evidenceLine } from "./evidence.js";
import { clock, moment, percent } from "./format.js";
import { LANES, sidesOf, worthTelling } from "./happened.js";
import { draw } from "./peaks.js";
import { picturesView } from "./pictures.js";
import { RATES, partiesOf } from "./player.js";
import { percentOf } from "./preparing.js";
import { say } from "./words.js";
import { pickButton } from "./view-calibration.js";
import { scoreView } from "./view-score.js";
import { badges } from "./view-search.js";

const DRAG_PX = 5;

export function callView(app) {
  const { call } = app.open;
  return html`<article class="call" aria-labelledby="call-title">
    <header class="sheet call-head">
      ${app.may("find") || app.may("own") ? html`<button type="button" class="quiet tiny back ${app.may("own") ? "always" : ""}" @click=${() => app.close()}>← ${say(app.may("own") ? "tab_mine" : "back")}</button>` : nothing}
      <div><h2 id="call-title" class="number">${call.caller === undefined ? say("shared_recording") : `${call.caller || say("unknown")} → ${call.called}`}</h2>
        <p class="faint small">${moment(call.started)} · ${clock(call.length)}${call.agent ? ` · ${say("agent")} ${call.agent}` : ""}${call.queue ? ` · ${say("queue")} ${call.queue}` : ""}</p></div>
      ${call.tags ? badges(call) : nothing}${pickButton(app, call)}
      ${call.consent === undefined ? nothing : facts(call)}
      ${app.open.evidence?.length ? evidenceList(app.open.evidence) : nothing}
    </header>
    ${app.may("listen") && call.hear !== false ? playerView(app) : html`<p class="note">${icon("info")}<span>${say("not_yours_to_hear")}</span></p>`}
    ${app.open.entries.length ? html`<section class="sheet told" aria-labelledby="told-title"><h3 id="told-title">${say("what_happened")}</h3>${eventList(app)}</section>` : nothing}
    ${app.may("find") ? scoreView(app) : nothing}
    ${app.may("comment") ? notesView(app) : nothing}
  </article>`;
}

function facts(call) {
  const pairs = [
    ["consent", call.consent ? say(`consent_${call.consent}`) : "–"],
    ["ended_by", call.ended_by ? say(`ended_by_${call.ended_by}`) : "–"],
    ["silence", percent(call.silence)],
    ["overtalk", percent(call.overtalk)],
  ];
  return html`<dl class="facts">${pairs.map(([name, value]) => html`<div><dt>${say(name)}</dt><dd>${value}</dd></div>`)}</dl>`;
}

// Each notice and answer in one line: who, for what, and what proves that the notice arrived.
function evidenceList(evidence) {
  return html`<details class="evidence small"><summary>${say("evidence")}</summary><ul>${evidence.map((one) => html`<li>${evidenceLine(one, moment, say)}</li>`)}</ul></details>`;
}

function playerView(app) {
  const { player, view } = app;
  const { call, lanes } = app.open;
  const ready = player.state !== "failed";
  const end = app.range?.to ?? call.length;
  const names = sidesOf(lanes).map((role) => say(role === "caller" ? "the_caller" : "the_callee"));
  return html`<section class="sheet player" aria-label=${say("player")}>
    ${picturesView(app)}
    <div class="wave-box">
      <canvas class="wave" role="slider" tabindex="0" aria-label=${say("position")} aria-valuemin="0" aria-valuemax=${Math.round(call.length)}
        aria-valuenow=${Math.round(player.time)} aria-valuetext=${`${clock(player.time)} / ${clock(end)}`}
        @keydown=${(event) => slide(event, app)} @pointerdown=${(event) => drag(event, app)}></canvas>
      <span class="side-name party-0" aria-hidden="true">${names[0]}</span>${lanes?.parties.length > 1 ? html`<span class="side-name party-1" aria-hidden="true">${names[1]}</span>` : nothing}
    </div>
    <div class="controls">
      <button type="button" class="primary round" aria-label=${say(player.playing ? "pause" : "play")} aria-disabled=${!ready} @click=${() => player.toggle()}>${icon(player.playing ? "pause" : "play")}</button>
      <span class="time number"><b>${clock(player.time)}</b> <span class="faint">/ ${clock(end)}</span></span>
      ${[0, 1].slice(0, partiesOf(app.open) > 1 ? 2 : 0).map((channel) => html`<span class="party" role="group" aria-label=${names[channel]}><span class="dot party-${channel}"></span>
        <button type="button" class="tiny" aria-pressed=${player.muted[channel]} aria-label=${say("mute_of", { who: names[channel] })} @click=${() => player.mute(channel)}>${say("mute")}</button>
        <button type="button" class="tiny" aria-pressed=${player.solo === channel} aria-label=${say("solo_of", { who: names[channel] })} @click=${() => player.only(channel)}>${say("solo")}</button></span>`)}
      <label class="rate"><span class="unseen">${say("speed")}</span><select @change=${(event) => player.setRate(Number(event.target.value))}>
        ${RATES.map((rate) => html`<option value=${rate} ?selected=${rate === player.rate}>${rate}×</option>`)}</select></label>
      <button type="button" class="tiny" aria-pressed=${player.skipping} @click=${() => ((player.skipping = !player.skipping), player.changed())}>${say("skip_silence")}</button>
      <button type="button" class="tiny" aria-pressed=${Boolean(player.loop)} @click=${() => app.markLoop()}>${player.loop ? `${say("loop")} ${clock(player.loop.from)}–${clock(player.loop.to)}` : app.mark !== undefined ? say("loop_end") : say("loop")}</button>
      <span class="zoom"><button type="button" class="tiny" aria-label=${say("zoom_out")} @click=${() => app.zoom(2)}>−</button><button type="button" class="tiny" aria-label=${say("zoom_in")} @click=${() => app.zoom(0.5)}>+</button></span>
      ${player.state === "loading" ? html`<span class="faint small">${say("preparing")}${percentOf(app.open, "sound")}</span>` : player.state === "failed" ? html`<span class="badge bad">${say("no_sound")}</span>` : nothing}
    </div>
    ${lanes ? laneRows(app) : nothing}
  </section>`;
}

// Pointers only: the list below says the same to everybody, in words.
function laneRows(app) {
  const { entries } = app.open;
  const { from, to } = app.view;
  const place = (entry) => ({ left: (entry.from - from) / (to - from), width: (entry.to - entry.from) / (to - from) });
  const shown = LANES.filter((lane) => entries.some((entry) => entry.lane === lane));
  return html`<div class="lanes" aria-hidden="true">${shown.map((lane) => html`<div class="lane"><span class="lane-name">${say(`lane_${lane}`)}</span><div class="track">
    ${entries.filter((entry) => entry.lane === lane && entry.to >= from && entry.from <= to).map((entry) => {
      const { left, width } = place(entry);
      return html`<span class="mark-${lane} ${entry.grade} ${entry === app.open.chosen ? "chosen" : ""}" title=${entry.text} .at=${[Math.max(0, left), Math.min(1, left + width) - Math.max(0, left)]}
        @click=${() => app.choose(entry)}></span>`;
    })}<i class="playhead"></i></div></div>`)}</div>`;
}

function eventList(app) {
  const list = app.open.entries.filter(worthTelling);
  if (!list.length) return html`<p class="faint">${say("all_well")}</p>`;
  return html`<ul class="events">${list.map((entry) => html`<li><button type="button" class="quiet ${entry === app.open.chosen ? "chosen" : ""}" @click=${() => app.choose(entry)}>
    <span class="faint number">${clock(entry.from)}</span><span class="badge ${entry.grade}">${say(`lane_${entry.lane}`)}</span><span class="what">${entry.text}</span></button></li>`)}</ul>`;
}

function notesView(app) {
  const { open, player } = app;
  const comment = (event) => {
    event.preventDefault();
    const text = event.target.elements.comment.value.trim();
    if (!text) return;
    const at = player.loop ?? { from: player.time, to: player.time };
    app.change("POST", "/comments", { ...at, text });
    event.target.reset();
  };
  const tag = (event) => {
    event.preventDefault();
    const name = event.target.elements.tag.value.trim().replace(/^#/, "");
    if (name) app.change("PUT", `/tags/${encodeURIComponent(name)}`);
    event.target.reset();
  };
  const share = (event) => {
    event.preventDefault();
    const range = event.target.elements.range?.checked && player.loop ? player.loop : {};
    app.change("POST", "/shares", { hours: Number(event.target.elements.hours.value), ...range });
  };
  return html`<section class="sheet notes" aria-labelledby="notes-title">
    <h3 id="notes-title">${say("comments")}</h3>
    ${open.comments.length ? html`<ul class="comments">${open.comments.map((one) => html`<li><button type="button" class="quiet tiny number" @click=${() => player.seek(one.from)}>${clock(one.from)}${one.to > one.from ? `–${clock(one.to)}` : ""}</button>
      <p><b>${one.author}</b> <span class="text">${one.text}</span></p>${one.author === app.me.name ? html`<button type="button" class="quiet tiny" aria-label=${say("delete_comment", { at: clock(one.from) })} @click=${() => app.change("DELETE", `/comments/${encodeURIComponent(one.id)}`)}>${icon("close")}</button>` : nothing}</li>`)}</ul>` : nothing}
    <form class="comment" @submit=${comment}><label class="field">${player.loop ? say("comment_range", { from: clock(player.loop.from), to: clock(player.loop.to) }) : say("comment_at", { at: clock(player.time) })}
      <textarea name="comment" rows="2" maxlength="4000" required></textarea></label><button>${say("add")}</button></form>
    <div class="row">
      <span class="tags">${open.call.tags.map((name) => html`<span class="chip"><span>#${name}</span><button type="button" class="tiny quiet" aria-label=${say("untag", { name })} @click=${() => app.change("DELETE", `/tags/${encodeURIComponent(name)}`)}>${icon("close")}</button></span>`)}</span>
      <form class="save" @submit=${tag}><input name="tag" maxlength="64" required placeholder=${say("new_tag")} aria-label=${say("new_tag")}><button class="tiny">${say("add")}</button></form>
      ${app.may("share") ? html`<form class="save" @submit=${share}><label class="rate"><span class="unseen">${say("link_hours")}</span><select name="hours">${[1, 24, 168].map((hours) => html`<option value=${hours}>${say(`hours_${hours}`)}</option>`)}</select></label>
        ${player.loop ? html`<label class="check small"><input type="checkbox" name="range" checked> ${say("only_loop")}</label>` : nothing}<button class="tiny">${say("make_link")}</button></form>` : nothing}
    </div>
    ${open.links.length ? linkList(app) : nothing}
    ${open.link ? html`<p class="note good">${icon("check")}<span>${say("link_made")} <input readonly aria-label=${say("link")} .value=${open.link.url} @focus=${(event) => event.target.select()}></span></p>` : nothing}
  </section>`;
}

function linkList(app) {
  const told = (one) => ({ who: one.by, until: moment(one.expires), from: clock(one.from), to: clock(one.to ?? app.open.call.length) });
  return html`<h4 class="small" id="links-title">${say("links")}</h4><ul class="comments links" aria-labelledby="links-title">${app.open.links.map((one) => html`<li>
    <p class="small">${one.from || one.to !== null ? say("link_part", told(one)) : say("link_of", told(one))}</p>
    <button type="button" class="tiny" aria-label=${say("end_link_of", told(one))} @click=${() => app.change("DELETE", `/shares/${encodeURIComponent(one.id)}`)}>${say("end_link")}</button></li>`)}</ul>`;
}

const at = (event, canvas, { view }) => {
  const box = canvas.getBoundingClientRect();
  return view.from + Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)) * (view.to - view.from);
};

function drag(event, app) {
  const canvas = event.currentTarget;
  const start = { x: event.clientX, time: at(event, canvas, app) };
  canvas.setPointerCapture(event.pointerId);
  let region = null;
  canvas.onpointermove = (moved) => {
    if (Math.abs(moved.clientX - start.x) < DRAG_PX && !region) return;
    const now = at(moved, canvas, app);
    region = { from: Math.min(start.time, now), to: Math.max(start.time, now) };
    app.player.setLoop(region);
  };
  canvas.onpointerup = () => {
    canvas.onpointermove = canvas.onpointerup = null;
    app.player.seek(region ? region.from : start.time);
  };
}

function slide(event, app) {
  const { player } = app;
  const to = { ArrowLeft: player.time - 5, ArrowDown: player.time - 5, ArrowRight: player.time + 5, ArrowUp: player.time + 5, PageDown: player.time - 30, PageUp: player.time + 30, Home: 0, End: app.open.call.length }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  event.stopPropagation();
  player.seek(to);
}

// After each drawing by lit: what only a canvas and set styles can show (the page's policy forbids style attributes).
export function paintWave(app) {
  const canvas = app.querySelector("canvas.wave");
  if (!canvas) return;
  const { player, view, open } = app;
  const wide = view.to - view.from;
  if (player.playing && wide < open.call.length && (player.time > view.to || player.time < view.from)) {
    const from = Math.min(open.call.length - wide, Math.max(0, player.time - wide * 0.1));
    app.view = { from, to: from + wide };
  }
  draw(canvas, open.peaks, { ...app.view, time: player.time, loop: player.loop });
  for (const mark of app.querySelectorAll(".track span")) {
    mark.style.left = `${mark.at[0] * 100}%`;
    mark.style.width = `max(5px, ${mark.at[1] * 100}%)`;
  }
  const head = (player.time - app.view.from) / (app.view.to - app.view.from);
  for (const line of app.querySelectorAll(".playhead")) {
    line.style.left = `${Math.min(1, Math.max(0, head)) * 100}%`;
  }
}

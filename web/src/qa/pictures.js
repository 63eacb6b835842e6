// What the parties showed, beside the sound: each picture a video without sound that follows the player's clock.
import { html, nothing } from "lit";
import { icon } from "../common/icons.js";
import { address, callPath } from "./api.js";
import { percentOf } from "./preparing.js";
import { say } from "./words.js";

export const APART_S = 0.25; // further from the sound than lips may be (ITU-R BT.1359): jump
const NEAR_S = 0.04; // a frame: nothing to mend
const PULL = 0.1; // so much faster or slower until they are together again

export const nameOf = ({ party, picture }) => `${party}-${picture}`;

// What the video must do now to be where the sound is. duration: of the video, which may end before the sound.
export function step(video, { time, playing, rate }) {
  const target = Number.isFinite(video.duration) ? Math.min(time, video.duration) : time;
  const apart = target - video.currentTime;
  const runs = playing && target === time;
  return {
    seek: !video.seeking && Math.abs(apart) > (runs ? APART_S * Math.max(1, rate) : NEAR_S) ? target : null,
    rate: !runs || Math.abs(apart) < NEAR_S ? rate : rate * (1 + Math.sign(apart) * PULL),
    play: runs,
  };
}

export function follow(app) {
  const { player } = app;
  for (const video of app.querySelectorAll(".pictures video")) {
    if (video.readyState < 1) continue; // its length is not known yet
    const now = step(video, player);
    if (now.seek !== null) video.currentTime = now.seek;
    if (video.playbackRate !== now.rate) video.playbackRate = now.rate;
    if (now.play && video.paused) video.play().catch(() => {});
    if (!now.play && !video.paused) video.pause();
  }
}

// What was heard until now was heard beside the pictures there were.
function toggle(app, one) {
  app.player.report();
  const { hidden } = app.open;
  if (!hidden.delete(nameOf(one))) hidden.add(nameOf(one));
  app.requestUpdate();
}

export const shownIn = (open) => (open?.pictures ?? []).filter((one) => !one.failed && !open.hidden.has(nameOf(one))).map(nameOf);

export function picturesView(app) {
  const { pictures, call } = app.open;
  if (!pictures.length) return nothing;
  const whose = (one) => say(`${one.picture}_of`, { who: say(app.open.lanes?.parties.find((party) => party.leg === one.party)?.role === "caller" ? "the_caller" : "the_callee") });
  const shown = pictures.filter((one) => !app.open.hidden.has(nameOf(one)));
  return html`<div class="pictures-box">
    ${pictures.length > 1 ? html`<div class="row" role="group" aria-label=${say("pictures")}>${pictures.map((one) => html`<button type="button" class="tiny" aria-pressed=${shown.includes(one)}
      @click=${() => toggle(app, one)}>${whose(one)}</button>`)}</div>` : nothing}
    <div class="pictures">${shown.map((one) => html`<figure>
      <video .muted=${true} muted playsinline preload="auto" disablepictureinpicture aria-label=${whose(one)} src=${address(callPath(call.id, `/pictures/${encodeURIComponent(one.party)}/${one.picture}`))}
        @loadeddata=${() => app.requestUpdate()} @error=${() => ((one.failed = true), app.requestUpdate())}></video>
      <figcaption class="small"><span>${whose(one)}${percentOf(app.open, `${one.party}.${one.picture}.pictures`)}</span>${one.failed ? html`<span class="badge bad">${say("no_picture")}</span>` : html`<button type="button" class="tiny quiet" aria-label=${say("enlarge_of", { what: whose(one) })}
        @click=${(event) => event.target.closest("figure").querySelector("video").requestFullscreen?.()}>${icon("screen")}</button>`}</figcaption></figure>`)}</div>
  </div>`;
}

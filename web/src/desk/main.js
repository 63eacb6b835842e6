// The desk: running calls with their MOS, and recordings with a player. Talks to /api/v1 with the admin password, which
// stays in this tab (sessionStorage) and goes nowhere but into the Authorization header. Texts go in as text, never as
// HTML: a caller's name may hold anything.
import "../common/base.css";
import "../common/header.js";
import { language as spoken, onLanguage } from "../common/i18n.js";
import "./desk.css";
import { words } from "./words.js";

const REFRESH_MS = 2000;
const RECORDINGS = 30;
const $ = (id) => document.getElementById(id);
const seconds = (total) => `${Math.floor(total / 60)}:${String(Math.floor(total % 60)).padStart(2, "0")}`;

let language = spoken();
let word = words[language];
let shownRecordings = "";
let playing = null;

class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function ask(path, options = {}) {
  const password = sessionStorage.getItem("password") || "";
  const bytes = new TextEncoder().encode(`admin:${password}`);
  const answer = await fetch(`/api/v1/${path}`, {
    ...options,
    headers: { Authorization: `Basic ${btoa(String.fromCharCode(...bytes))}`, "X-Requested-With": "page" },
  });
  if (!answer.ok) {
    const body = await answer.json().catch(() => ({}));
    throw new Refused(answer.status, body.error?.message || `${answer.status}`);
  }
  return answer;
}

function element(name, { text, title, className, ...rest } = {}, ...children) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (title) made.title = title;
  if (className) made.className = className;
  Object.assign(made, rest);
  made.append(...children);
  return made;
}

// G.107 Annex B: 4.03 satisfied, 3.6 some dissatisfied, 3.1 many dissatisfied.
function grade(mos) {
  if (mos >= 4.03) return "good";
  return mos >= 3.6 ? "fair" : "bad";
}

function score(mos, label, scale) {
  if (mos === null) return element("span", { className: "mos none", text: "–", title: `${label}: ${word.no_score}` });
  const title = `MOS ${label}${scale ? ` (${scale})` : ""}`;
  return element("span", { className: `mos ${grade(mos)}`, text: mos.toFixed(2), title });
}

function party(leg) {
  const codec = leg.codec ? `${leg.codec}${leg.srtp ? " · SRTP" : ""}` : word[leg.state] || leg.state;
  return element("div", { className: "party" },
    element("span", { className: "who", text: leg.party || word[leg.role] || leg.role }),
    element("span", { className: "codec", text: codec }),
    element("span", { className: "scores" },
      score(leg.mos_received, word.mos_from, leg.mos_scale), score(leg.mos_sent, word.mos_to, leg.mos_scale)));
}

function callRow(call) {
  const end = element("button", { type: "button", className: "tiny", text: word.hang_up });
  end.addEventListener("click", () => {
    if (confirm(word.sure)) guarded(() => ask(`calls/${encodeURIComponent(call.id)}/hangup`, { method: "POST" }));
  });
  const from = element("td", { text: call.caller_name || call.caller, title: call.caller });
  if (call.recording) from.append(" ", element("span", { className: "badge", text: word.recorded }));
  return element("tr", {}, from, element("td", { text: call.called }),
    element("td", { className: "number", text: seconds(Math.max(0, Date.now() / 1000 - call.started)) }),
    element("td", {}, ...call.legs.filter((leg) => leg.state !== "ended").map(party)), element("td", {}, end));
}

async function audioUrl(recording, ending) {
  $("problem").textContent = "";
  const answer = await ask(`recordings/${encodeURIComponent(recording.id)}/audio.${ending}`);
  return URL.createObjectURL(await answer.blob());
}

async function play(recording, button) {
  button.textContent = word.preparing;
  try {
    const url = await audioUrl(recording, "wav");
    if (playing) URL.revokeObjectURL(playing);
    playing = url;
    $("player-title").textContent = `${recording.caller} → ${recording.called}`;
    $("audio").src = url;
    $("player").hidden = false;
    await $("audio").play().catch(() => {}); // a browser may want one more click; the controls are there
  } finally {
    button.textContent = word.play;
  }
}

async function save(recording) {
  const url = await audioUrl(recording, "wav");
  element("a", { href: url, download: `${recording.id}.wav` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

function recordingRow(recording) {
  const listen = element("button", { type: "button", className: "tiny", text: word.play });
  const keep = element("button", { type: "button", className: "tiny", text: word.save });
  listen.disabled = keep.disabled = recording.state === "capturing" || recording.length === 0;
  listen.addEventListener("click", () => guarded(() => play(recording, listen)));
  keep.addEventListener("click", () => guarded(() => save(recording)));
  const started = new Date(recording.started * 1000).toLocaleString(language);
  return element("tr", {}, element("td", { text: started }), element("td", { text: recording.caller }),
    element("td", { text: recording.called }), element("td", { className: "number", text: seconds(recording.length) }),
    element("td", { text: word[recording.state] || recording.state }), element("td", {}, element("div", { className: "actions" }, listen, keep)));
}

function showCalls(calls) {
  $("calls").replaceChildren(...calls.map(callRow));
  $("calls-count").textContent = calls.length || "";
  $("calls-empty").hidden = calls.length > 0;
}

function showRecordings(recordings) {
  const now = JSON.stringify([language, recordings]);
  if (now === shownRecordings) return; // a button being pressed is not replaced under the finger
  shownRecordings = now;
  $("recordings").replaceChildren(...recordings.map(recordingRow));
  $("recordings-empty").hidden = recordings.length > 0;
}

function showDesk(signedIn) {
  $("desk").hidden = !signedIn;
  $("sign-in").hidden = signedIn;
  if (!signedIn) $("password").focus();
}

// Runs something that asks the server; what goes wrong is told, and a refused password leads back to signing in.
async function guarded(work) {
  try {
    await work();
    $("dot").className = "state up";
    $("problem").textContent = "";
  } catch (error) {
    if (error instanceof Refused && (error.status === 401 || error.status === 429)) {
      const tried = sessionStorage.getItem("password") !== null;
      sessionStorage.removeItem("password");
      showDesk(false);
      $("sign-in-problem").textContent = tried ? word[error.status === 401 ? "wrong_password" : "slow_down"] : "";
    } else {
      $("dot").className = "state down";
      $("problem").textContent = error instanceof Refused ? error.message : word.unreachable;
    }
  }
}

async function refresh() {
  if (sessionStorage.getItem("password") === null || document.hidden) return;
  const calls = await ask("calls"); // one after the other: a wrong password shall count once
  showCalls((await calls.json()).calls);
  const recordings = await ask(`recordings?limit=${RECORDINGS}`);
  showRecordings((await recordings.json()).recordings);
  $("sign-in-problem").textContent = "";
  showDesk(true);
}

async function refreshForever() {
  await guarded(refresh);
  setTimeout(refreshForever, REFRESH_MS); // after the answer: a slow server is not asked twice at once
}

function speak() {
  for (const place of document.querySelectorAll("[data-word]")) place.textContent = word[place.dataset.word];
}

onLanguage((chosen) => {
  language = chosen;
  word = words[language];
  speak();
  guarded(refresh);
});
$("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("password", $("password").value);
  $("password").value = "";
  guarded(refresh);
});
$("sign-out").addEventListener("click", () => {
  sessionStorage.removeItem("password");
  $("audio").removeAttribute("src");
  $("player").hidden = true;
  showDesk(false);
});

speak();
showDesk(sessionStorage.getItem("password") !== null);
refreshForever();

// <phone-app>: draws the phone, tells the screen reader what changed, keeps the title, the focus and the notification.
import { LitElement, html, nothing } from "lit";
import "../common/base.css";
import "../common/header.js";
import { onLanguage } from "../common/i18n.js";
import { clock } from "./history.js";
import { Phone } from "./phone.js";
import "./phone.css";
import "./call.css";
import { handle } from "./shortcuts.js";
import { callView, incomingView, stateWords, warningWord, who } from "./view-call.js";
import { idleView } from "./view-idle.js";
import { signInView } from "./view-signin.js";
import { say } from "./words.js";

const SECOND_MS = 1000;

export class PhoneApp extends LitElement {
  static properties = { showPassword: { state: true } };

  constructor() {
    super();
    this.phone = new Phone();
    this.showPassword = false;
    this.view = null;
    this.told = "";
    this.notification = null;
  }

  createRenderRoot() {
    return this;
  }

  connectedCallback() {
    super.connectedCallback();
    this.phone.addEventListener("change", () => this.requestUpdate());
    onLanguage(() => this.requestUpdate());
    addEventListener("keydown", (event) => handle(event, this.phone));
    matchMedia("(min-width: 56rem)").addEventListener("change", () => this.requestUpdate());
    setInterval(() => this.phone.calls.some((call) => call.state === "talking") && this.requestUpdate(), SECOND_MS);
    this.phone.resume();
  }

  set(values) {
    Object.assign(this, values);
  }

  render() {
    const { phone } = this;
    const { current, account } = phone;
    const ringing = phone.ringingCalls();
    const shown = current && current.state !== "incoming" ? current : null;
    return html`<page-header current="phone" .tools=${account ? this.lineBadge() : null}></page-header>
      <main id="content" tabindex="-1">${!account ? signInView(phone, this) : shown ? callView(phone, shown) : idleView(phone)}</main>
      ${ringing.map((call) => incomingView(phone, call))}
      <p class="unseen" role="status" aria-live="polite">${this.told}</p>`;
  }

  lineBadge() {
    const { state } = this.phone.line;
    const kind = state === "ready" ? "good" : state === "connecting" ? "" : "fair";
    return html`<span class=${`badge ${kind}`}><span class="dot"></span>${this.phone.account.user}<span class="badge-words"> · ${say(`line_${state}`)}</span></span>`;
  }

  willUpdate() {
    this.told = this.news();
  }

  // One sentence or two: what somebody who does not see the page must know now.
  news() {
    const { phone } = this;
    const call = phone.current;
    const [ringing] = phone.ringingCalls();
    if (ringing) return `${say("incoming")}: ${who(ringing)}`;
    if (!call) return phone.account ? say(`line_${phone.line.state}`) : "";
    const words = [`${stateWords(call)}: ${who(call)}`];
    if (!call.live && call.transferState === "done") words.push(say("transfer_done"));
    if (!call.live) return words.join(". "); // what else was so while it lasted is so no more
    if (call.about?.live) words.push(say("consult_waits", { who: who(call.about) }));
    if (call.notice !== "off") words.push(say(`rec_${call.notice}`));
    if (call.network !== "ok") words.push(say(`net_${call.network}`));
    if (call.heldByOther) words.push(say("held_by_other"));
    const warning = warningWord(call);
    if (warning) words.push(say(`warn_${warning}`));
    if (call.transferState) words.push(say(`transfer_${call.transferState}`));
    const last = call.chat[call.chat.length - 1];
    if (last && !last.own && phone.panel !== "chat") words.push(`${last.from}: ${last.text}`);
    return words.join(". ");
  }

  updated() {
    this.phone.tune();
    this.title_();
    this.focus_();
    this.notify();
  }

  title_() {
    const [ringing] = this.phone.ringingCalls();
    const call = this.phone.current;
    document.title = ringing ? `☎ ${say("title_calling", { who: who(ringing) })}`
      : call?.state === "talking" ? say("title_talking", { who: who(call), time: clock(call.seconds) }) : `${say("title")} · mediaserver`;
  }

  // Where the keyboard goes when the screen becomes another one.
  focus_() {
    const [ringing] = this.phone.ringingCalls();
    const call = this.phone.current;
    const view = !this.phone.account ? "sign-in" : ringing ? `ringing-${ringing.startedAt}` : call ? "call" : "idle";
    const panel = this.phone.panel;
    if (view !== this.view) {
      const first = this.view === null;
      this.view = view;
      const target = { "sign-in": "input[name=user]", call: "#call-who", idle: "#number" }[view] ?? ".incoming";
      // On a phone's screen a focused field brings up the keyboard over half of it: not at the start.
      if (!(first || view === "idle") || !matchMedia("(pointer: coarse)").matches) this.querySelector(target)?.focus({ preventScroll: true });
    } else if (panel !== this.panel && panel) {
      this.querySelector("#panel-title")?.focus({ preventScroll: false });
    }
    this.panel = panel;
    const log = this.querySelector(".messages");
    if (log) log.scrollTop = log.scrollHeight;
  }

  notify() {
    const [ringing] = this.phone.ringingCalls();
    if (!ringing) {
      this.notification?.close();
      this.notification = null;
    } else if (!this.notification && document.hidden && globalThis.Notification?.permission === "granted") {
      try {
        this.notification = new Notification(say("title_calling", { who: who(ringing) }), { tag: "call", requireInteraction: true });
        this.notification.onclick = () => window.focus();
      } catch {
        this.notification = null; // phones give notifications to service workers only; ringing and title remain
      }
    }
  }
}
customElements.define("phone-app", PhoneApp);

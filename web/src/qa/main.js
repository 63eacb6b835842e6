// <qa-app>: who is signed in, what was found, which call is open. Texts go in as text, never as HTML: a caller's name
// may hold anything.
import { LitElement, html, nothing } from "lit";
import "../common/base.css";
import "../common/header.js";
import { icon } from "../common/icons.js";
import { onLanguage } from "../common/i18n.js";
import { Refused, address, ask, callPath, take } from "./api.js";
import { Ear } from "./ear.js";
import { happened, worthTelling } from "./happened.js";
import { readPeaks } from "./peaks.js";
import { follow, shownIn } from "./pictures.js";
import { Player } from "./player.js";
import { watchPreparing } from "./preparing.js";
import "./qa.css";
import { handle } from "./shortcuts.js";
import { callView, paintWave } from "./view-call.js";
import { passwordView } from "./view-password.js";
import { newReports } from "./view-reports.js";
import { loadAssigned } from "./view-sampling.js";
import { helpView, listView } from "./view-search.js";
import { asked, begin, signInView } from "./view-sign-in.js";
import { VIEWS } from "./views.js";
import { say } from "./words.js";

const LIVE_MS = 2000;

export class QaApp extends LitElement {
  constructor() {
    super();
    this.me = undefined; // undefined: not known yet; null: nobody
    this.tab = "calls";
    this.filters = asked();
    this.calls = [];
    this.after = null;
    this.busy = false;
    this.problem = "";
    this.told = "";
    this.searches = {};
    this.cards = [];
    this.open = null;
    this.live = [];
    this.ear = new Ear(() => this.requestUpdate());
    this.log = [];
    this.logAsked = {};
    this.reports = newReports();
    this.assigned = [];
    this.answers = []; // of agents
    this.mine = [];
    this.sampling = {};
    this.calibrating = {}; // sessions, and the calls picked for the next
    this.help = false;
    this.changing = null; // the form for a new password: { problem }
    this.range = null; // of a link to a part
    this.view = { from: 0, to: 1 };
    this.player = new Player((url, seconds) => {
      const id = this.sounds.get(url);
      const pictures = this.open?.call.id === id ? shownIn(this.open) : [];
      if (id) ask("POST", callPath(id, "/played"), { body: { seconds, pictures }, keepalive: true }).catch(() => {});
    });
    this.sounds = new Map();
  }

  createRenderRoot() {
    return this;
  }

  connectedCallback() {
    super.connectedCallback();
    onLanguage(() => this.again());
    this.player.addEventListener("change", () => this.requestUpdate());
    addEventListener("keydown", (event) => handle(event, this));
    addEventListener("resize", () => this.requestUpdate());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.requestUpdate());
    const paint = () => {
      if (this.player.playing) this.requestUpdate();
      requestAnimationFrame(paint);
    };
    requestAnimationFrame(paint);
    setInterval(() => this.tab === "live" && !document.hidden && this.refreshLive(), LIVE_MS);
    begin(this);
  }

  again() {
    if (this.open) this.tell();
    this.requestUpdate();
  }

  may(right) {
    return Boolean(this.me?.rights.includes(right));
  }

  // What goes wrong is told; a session that is over leads back to signing in.
  async guarded(work) {
    try {
      this.problem = "";
      await work();
    } catch (error) {
      if (error.name === "AbortError") return;
      if (error instanceof Refused && error.status === 401) {
        this.player.unload();
        this.problem = this.me ? say("session_over") : "";
        this.me = null;
        this.open = null;
      } else {
        this.problem = error instanceof Refused ? error.message : say("unreachable");
      }
    } finally {
      this.requestUpdate();
    }
  }

  async enter(me) {
    this.me = take(me);
    if (me.recording) return this.show(me.recording);
    if (!this.may("find")) return this.go("mine");
    this.tab = "calls";
    await Promise.all([this.search(), ask("GET", "searches").then((said) => (this.searches = said.searches)),
      this.may("comment") && ask("GET", "scorecards").then((said) => (this.cards = said.scorecards)), this.may("comment") && loadAssigned(this)]);
    const wanted = new URLSearchParams(location.search).get("call");
    if (wanted) await this.guarded(() => this.show(wanted));
  }

  signOut() {
    this.ear.end();
    this.player.unload();
    this.guarded(async () => {
      const said = await ask("POST", "sign-out");
      if (said?.leave) return location.assign(said.leave); // out of the issuer, too
      this.me = null;
      this.open = null;
      this.issuer = (await ask("GET", "ways")).issuer;
    });
  }

  // -- finding

  query() {
    return new URLSearchParams(Object.entries(this.filters).filter(([, value]) => value !== ""));
  }

  remember() {
    const query = this.query();
    if (this.open) query.set("call", this.open.call.id);
    history.replaceState(null, "", query.size ? `/qa?${query}` : "/qa");
  }

  set(filters) {
    this.filters = filters;
    this.guarded(() => this.search());
  }

  async search(more = false) {
    this.asked?.abort(); // only the last question counts
    this.asked = new AbortController();
    const query = this.query();
    if (more) query.set("after", this.after);
    this.busy = true;
    try {
      const said = await ask("GET", `calls?${query}`, { signal: this.asked.signal });
      this.calls = more ? [...this.calls, ...said.calls] : said.calls;
      this.after = said.after;
      this.told = say("found", { count: this.calls.length });
    } finally {
      this.busy = false;
    }
    this.remember();
    this.requestUpdate();
  }

  saveSearch(name) {
    this.guarded(async () => {
      await ask("PUT", `searches/${encodeURIComponent(name)}`, { body: { filters: Object.fromEntries(this.query()) } });
      this.searches = { ...this.searches, [name]: Object.fromEntries(this.query()) };
    });
  }

  forgetSearch(name) {
    this.guarded(async () => {
      await ask("DELETE", `searches/${encodeURIComponent(name)}`);
      delete this.searches[name];
    });
  }

  // -- one call

  async show(id) {
    this.player.unload();
    const details = await ask("GET", callPath(id));
    const open = { comments: [], scores: [], events: [], ...details, lanes: null, peaks: null, entries: [], chosen: null, pictures: [], hidden: new Set(), preparing: {}, link: null, links: [], answers: {}, card: null, reviews: null };
    this.open = open;
    this.range = details.range ?? null;
    this.view = { from: 0, to: Math.max(0.1, open.call.length) };
    this.remember();
    this.tell();
    this.requestUpdate();
    if (this.may("find")) this.guarded(async () => (open.reviews = await ask("GET", callPath(id, "/reviews"))));
    if (this.may("share")) this.guarded(async () => (open.links = await this.linksOf(id)));
    if (this.may("listen")) this.loadSound(open);
    if (this.range && (this.range.from || this.range.to !== null)) return;
    this.guarded(async () => {
      const [lanes, peaks] = await Promise.all([
        ask("GET", callPath(id, "/lanes.json")),
        ask("GET", callPath(id, "/peaks"), { as: "bytes" }),
      ]);
      if (this.open !== open) return;
      open.lanes = lanes;
      open.peaks = readPeaks(peaks);
      this.player.silences = lanes.silence;
      const share = (stretches) => stretches.reduce((sum, [from, to]) => sum + to - from, 0) / Math.max(lanes.length, 0.1);
      open.call.silence ??= share(lanes.silence);
      open.call.overtalk ??= share(lanes.overtalk);
      this.tell();
    });
  }

  loadSound(open) {
    const url = address(callPath(open.call.id, "/audio.wav"));
    this.sounds.set(url, open.call.id);
    this.player.load(url, { offset: this.range?.from ?? 0 });
    this.guarded(async () => {
      open.pictures = (await ask("GET", callPath(open.call.id, "/pictures"))).pictures;
      this.requestUpdate();
      await this.updateComplete;
      await watchPreparing(this, open);
    });
  }

  async linksOf(id) {
    return (await ask("GET", callPath(id, "/shares"))).shares;
  }

  tell() {
    this.open.entries = happened(this.open, say);
  }

  close() {
    this.player.unload();
    const id = this.open?.call.id;
    this.open = null;
    if (!this.may("find")) this.go("mine");
    this.remember();
    this.requestUpdate();
    this.updateComplete.then(() => this.querySelector(`[data-call="${CSS.escape(id ?? "")}"]`)?.focus());
  }

  step(by) {
    const at = this.calls.findIndex((call) => call.id === this.open?.call.id);
    const next = this.calls[Math.min(this.calls.length - 1, Math.max(0, at + by))];
    if (next && next.id !== this.open?.call.id) this.guarded(() => this.show(next.id));
  }

  choose(entry) {
    this.open.chosen = entry;
    this.player.seek(entry.from);
    this.told = entry.text;
    this.requestUpdate();
    this.updateComplete.then(() => this.querySelector(".events .chosen")?.scrollIntoView({ block: "nearest" }));
  }

  // The first press begins a stretch, the second ends it, the third lets it go.
  markLoop() {
    const { player } = this;
    if (player.loop) player.setLoop(null);
    else if (this.mark === undefined) this.mark = player.time;
    else player.setLoop({ from: Math.min(this.mark, player.time), to: Math.max(this.mark, player.time) });
    this.told = say(player.loop ? "loop_set" : this.mark !== undefined && !player.loop ? "loop_begun" : "loop_off");
    if (player.loop) this.mark = undefined;
    this.requestUpdate();
  }

  nextEvent(by) {
    const { entries, chosen } = this.open;
    const list = entries.filter(worthTelling);
    const now = this.player.time;
    const at = chosen ? list.indexOf(chosen) + by : by > 0 ? list.findIndex((one) => one.from > now) : list.findLastIndex((one) => one.from < now);
    if (list[at]) this.choose(list[at]);
  }

  zoom(factor) {
    const { length } = this.open.call;
    const wide = Math.min(length, Math.max(2, (this.view.to - this.view.from) * factor));
    const from = Math.min(length - wide, Math.max(0, this.player.time - wide / 2));
    this.view = { from, to: from + wide };
    this.requestUpdate();
  }

  change(method, rest, body) {
    const { open } = this;
    return this.guarded(async () => {
      const made = await ask(method, callPath(open.call.id, rest), { body });
      if (rest.startsWith("/shares")) {
        open.link = made && { ...made, url: new URL(made.path, location.href).href };
        open.links = await this.linksOf(open.call.id);
      }
      const said = await ask("GET", callPath(open.call.id));
      Object.assign(open, { call: said.call, comments: said.comments });
      this.calls = this.calls.map((call) => (call.id === said.call.id ? said.call : call));
      this.tell();
    });
  }

  judge(review) {
    const { open } = this;
    return this.guarded(async () => {
      const made = await ask("POST", callPath(open.call.id, "/reviews"), { body: review });
      this.told = say("judged", { score: made.score });
      open.answers = {};
      open.reviews = await ask("GET", callPath(open.call.id, "/reviews"));
      this.calls = this.calls.map((call) => (call.id === open.call.id ? { ...call, score: open.reviews.mean } : call));
      await loadAssigned(this);
    });
  }

  // -- live and log

  go(tab) {
    this.tab = tab;
    if (tab !== "live") this.ear.end();
    VIEWS[tab]?.load(this);
    this.requestUpdate();
  }

  openCall(id) {
    this.go("calls");
    this.guarded(() => this.show(id));
  }

  refreshLive() {
    this.guarded(async () => {
      const said = await ask("GET", "live");
      this.live = said.calls;
      if (!this.ear.agree(said.listening)) this.told = say("listen_over");
    });
  }

  render() {
    if (this.me === undefined) return html`<page-header current="qa"></page-header><main id="content" tabindex="-1" aria-busy="true"></main>`;
    return html`<page-header current="qa" .tools=${this.me ? this.tools() : null}></page-header>
      <main id="content" tabindex="-1" class=${this.open ? "opened" : ""}>
        <h1 class="unseen">${say("title")}</h1>
        <div role="alert" class="problems">${this.problem && this.me ? html`<p class="note bad">${icon("alert")}<span>${this.problem}</span></p>` : nothing}</div>
        ${!this.me ? signInView(this) : this.body()}
      </main>
      ${this.help ? helpView(this) : this.changing ? passwordView(this) : nothing}
      <p class="unseen" role="status" aria-live="polite">${this.told}</p>`;
  }

  tools() {
    const tabs = [["calls", { right: "find" }], ...Object.entries(VIEWS)].filter(([, { right }]) => this.may(right));
    return html`${tabs.length > 1
      ? html`<div class="tabs" role="group" aria-label=${say("views")}>${tabs.map(([name, { count }]) => html`<button type="button" class="quiet tiny" aria-pressed=${this.tab === name}
          @click=${() => this.go(name)}>${say(`tab_${name}`)}${count?.(this) ? html` <span class="badge">${count(this)}</span>` : nothing}</button>`)}</div>` : nothing}
      ${!this.me.password ? html`<span class="badge who">${this.me.recording ? say("guest") : this.me.name}</span>` : html`<button type="button" class="quiet tiny who" title=${say("change_password")} aria-label=${`${this.me.name}: ${say("change_password")}`}
        @click=${() => ((this.changing = { problem: "" }), this.requestUpdate())}>${this.me.name}</button>`}
      <button type="button" class="quiet tiny keys" @click=${() => ((this.help = true), this.requestUpdate())}>${say("keys")}</button>
      <button type="button" class="quiet tiny" aria-label=${say("sign_out")} @click=${() => this.signOut()}>${icon("signOut")}</button>`;
  }

  body() {
    if (this.tab in VIEWS) return VIEWS[this.tab].draw(this);
    return html`<div class="review">
      ${this.may("find") ? listView(this) : nothing}
      ${this.open ? callView(this) : html`<section class="sheet nothing-open"><span class="mark">${icon("pulse")}</span><p class="faint">${say(this.calls.length ? "choose_call" : "no_calls")}</p></section>`}
    </div>`;
  }

  updated() {
    if (!this.open) return;
    paintWave(this);
    follow(this);
  }
}
customElements.define("qa-app", QaApp);

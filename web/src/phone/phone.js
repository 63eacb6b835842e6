// The phone as one object: who is signed in, the calls, which of them is in hand, what is shown. Views draw it and call its
// methods; it tells of every change by "change". Owns no drawing and no protocol.
import * as account from "./account.js";
import { Call } from "./call.js";
import { Events, session } from "./events.js";
import * as history from "./history.js";
import { Line } from "./line.js";
import * as media from "./media.js";
import * as sounds from "./sounds.js";

const ENDED_SHOWN_MS = 4_000; // how long "call ended" stays before the keypad comes back
const CHAT_KEPT = 200;

export class Phone extends EventTarget {
  constructor() {
    super();
    this.line = new Line();
    this.account = null;
    this.calls = [];
    this.current = null;
    this.wasLost = false;
    this.tab = "keypad"; // keypad, history, settings
    this.panel = null; // beside a call: quality, chat, keypad, people, transfer
    this.number = "";
    this.log = [];
    this.problem = null; // { word, values }: shown at the keypad
    this.signingIn = false;
    this.events = new Events({
      heard: (message) => this.news(message),
      changed: () => this.changed(),
      renewed: (token, expires) => this.remember({ token, expires }),
    });
    this.iceServers = [];
    this.rights = [];
    this.line.addEventListener("change", () => this.lineChanged());
    this.line.addEventListener("incoming", (event) => this.incoming(event.detail));
    addEventListener("pagehide", () => this.line.ua?.stop());
    addEventListener("online", () => this.networkChanged());
    navigator.connection?.addEventListener?.("change", () => this.networkChanged());
  }

  changed() {
    this.dispatchEvent(new Event("change"));
  }

  // -- signing in and out

  resume() {
    const kept = account.kept();
    if (!kept) return;
    this.account = kept;
    this.log = history.read(kept.user);
    this.line.start(kept);
    if (kept.token && kept.expires * 1000 > Date.now()) this.events.start(kept.token, kept.expires);
  }

  async signIn(user, password, staying) {
    this.signingIn = true;
    this.staying = staying;
    this.line.start({ user, password });
    this.changed();
    const opened = await session(user, password);
    if (!opened || this.line.user !== user) return;
    this.opened = opened;
    if (this.account) this.openEvents();
  }

  openEvents() {
    const { token, expires, ice_servers: iceServers, socket } = this.opened;
    this.iceServers = iceServers ?? [];
    this.remember({ token, expires });
    this.events.start(token, expires, socket);
    this.opened = null;
  }

  remember(change) {
    if (!this.account) return;
    this.account = { ...this.account, ...change };
    account.keep(this.account, this.account.staying);
  }

  signOut() {
    for (const call of this.calls) call.hangUp();
    account.forget();
    this.account = null;
    this.signingIn = false;
    this.events.stop();
    this.line.stop();
    this.changed();
  }

  lineChanged() {
    if (this.line.state === "ready") {
      if (this.signingIn) {
        this.signingIn = false;
        this.account = { ...this.line.credentials(), staying: this.staying };
        account.keep(this.account, this.staying);
        this.log = history.read(this.account.user);
        if (this.opened) this.openEvents();
      }
      // The connection that broke says that the network changed: the path of the sound may lead nowhere too.
      if (this.wasLost) {
        for (const call of this.calls) call.restore();
        this.events.again();
      }
      this.wasLost = false;
    } else if (this.line.state === "lost") {
      this.wasLost = true;
    } else if (this.line.state === "refused") {
      this.signingIn = false;
      if (this.line.reason === "wrong_password" && this.account) {
        account.forget(); // changed since: ask for it again
        this.account = null;
      }
      if (!this.account) this.line.ua?.stop();
    }
    this.changed();
  }

  networkChanged() {
    this.line.doubt();
    for (const call of this.calls) {
      if (call.state === "talking" && call.peer?.connectionState !== "connected") call.restore();
    }
  }

  // -- calls

  // about: the call that is to be transferred to whoever answers this one.
  async dial(text, { video = false, about = null } = {}) {
    const wanted = text.trim();
    if (!wanted || this.line.state !== "ready") return;
    const uri = this.line.address(wanted);
    if (uri === null) {
      this.problem = { word: "bad_number", values: { number: wanted } };
      this.changed();
      return;
    }
    this.problem = null;
    await this.holdOthers(null);
    const call = this.add(new Call({ incoming: false, party: shown(wanted), ...this.callOptions() }));
    call.about = about;
    this.number = "";
    this.take(call);
    await call.dial((options) => this.line.call(uri, options), { video });
  }

  callOptions() {
    return { iceServers: this.iceServers, line: this.line };
  }

  incoming({ session: sip }) {
    const { uri, display_name: name } = sip.remote_identity;
    const call = new Call({ incoming: true, party: uri.user ?? uri.host, name: name ?? "", ...this.callOptions() });
    call.follow(sip);
    call.offersVideo = /^m=video [1-9]/m.test(sip._request.body ?? "");
    this.add(call);
    if (!this.current?.live) this.take(call);
    this.changed();
  }

  async answer(call, { video = false } = {}) {
    await this.holdOthers(call);
    this.take(call);
    await call.answer({ video });
  }

  add(call) {
    this.calls = [...this.calls, call];
    call.addEventListener("change", () => this.changed());
    call.addEventListener("over", () => this.over(call));
    call.addEventListener("report", ({ detail }) => this.events.send({ type: "stats", sip_call_id: call.id, report: detail }));
    return call;
  }

  take(call) {
    this.current = call;
    this.panel = null;
    this.changed();
  }

  async switchTo(call) {
    await this.holdOthers(call);
    this.take(call);
    if (call.held) await call.hold(false);
  }

  async holdOthers(call) {
    const talking = this.calls.filter((other) => other !== call && other.state === "talking" && !other.held);
    await Promise.all(talking.map((other) => other.hold(true)));
  }

  over(call) {
    const missed = call.incoming && call.talkingAt === null;
    const entry = {
      with: call.party, name: call.name, way: missed ? "missed" : call.incoming ? "in" : "out",
      at: call.startedAt, seconds: Math.round(call.seconds), cause: call.cause,
    };
    if (this.account) this.log = history.add(this.account.user, entry);
    setTimeout(() => this.drop(call), call.talkingAt === null && call.incoming ? 0 : ENDED_SHOWN_MS);
    this.changed();
  }

  drop(call) {
    if (!this.calls.includes(call)) return;
    this.calls = this.calls.filter((other) => other !== call);
    if (this.current === call) {
      const waiting = call.about?.live ? call.about : null;
      this.current = this.calls.find((other) => other.state === "incoming") ?? waiting ?? this.calls[0] ?? null;
      this.panel = null;
      if (call.talkingAt === null && call.problem) this.problem = { word: call.problem, values: {} };
    }
    this.changed();
  }

  ringingCalls() {
    return this.calls.filter((call) => call.state === "incoming");
  }

  // What should be heard from this page itself, from the states of all calls.
  tune() {
    const talking = this.calls.some((call) => call.state === "talking");
    if (this.ringingCalls().length && !talking && !this.silenced) sounds.ringing.start();
    else sounds.ringing.stop();
    if (!this.ringingCalls().length) this.silenced = false;
    const waiting = this.calls.some((call) => call.state === "ringing" && !call.remoteAudio);
    if (waiting) sounds.ringback.start();
    else sounds.ringback.stop();
  }

  press(key) {
    sounds.key(key);
    if (this.current?.state === "talking") {
      this.current.press(key);
      this.current.pressed = `${this.current.pressed ?? ""}${key}`.slice(-24);
    } else {
      this.number += key;
    }
    this.changed();
  }

  transfer(call, text) {
    const uri = this.line.address(text);
    if (uri === null) {
      call.transferState = "failed";
      this.changed();
      return;
    }
    call.transfer(uri);
  }

  // Transfer after talking: the call waits on hold while somebody else is asked.
  async consult(call, text) {
    if (this.line.address(text) === null) {
      call.transferState = "failed";
      this.changed();
      return;
    }
    call.transferState = null;
    await this.dial(text, { about: call });
  }

  // Connects the two and leaves. Until that is done the call that waited is shown: what becomes of it is said there.
  connect(call, asked) {
    call.transfer(asked.session.remote_identity.uri.toString(), asked);
    asked.about = null;
    this.take(call);
  }

  // Nothing comes of it: back to the one who waits.
  async comeBack(asked) {
    const call = asked.about;
    asked.about = null;
    asked.hangUp();
    if (call?.live) await this.switchTo(call);
    this.drop(asked);
  }

  clearLog() {
    this.log = history.clear(this.account.user);
    this.changed();
  }

  // -- the server's news

  news(message) {
    if (message.type === "welcome") {
      this.iceServers = message.ice_servers ?? this.iceServers;
      this.rights = message.rights ?? [];
      return;
    }
    const call = this.calls.find((one) => one.live && message.sip_call_id && one.id === message.sip_call_id);
    if (message.type === "room") this.roomNews(message);
    else if (message.type === "chat") this.chatNews(message, call);
    else if (!call) return;
    else if (message.type === "quality") call.measured = message;
    else if (message.type === "held") call.heldByOther = Boolean(message.held);
    else if (message.type === "party") call.talksTo(message.number, message.name);
    else if (message.type === "recording") this.recordingNews(call, message.state);
    this.changed();
  }

  recordingNews(call, state) {
    if (!["asking", "notice", "recording", "paused", "off"].includes(state)) return;
    if (state === "asking" && call.notice !== "asking") call.consent = null;
    if (state !== call.notice) call.recordRefused = false;
    call.notice = state;
  }

  roomNews(message) {
    const call = this.calls.find((one) => one.live && (one.id === message.sip_call_id || one.party === message.room));
    if (!call || !Array.isArray(message.participants)) return;
    const participants = message.participants.map((one) => ({ ...one, you: one.you ?? one.id === message.you, number: String(one.name || one.number) }));
    call.room = { ...message, participants };
  }

  // Whether this party may mute and send away others: by its token's right, or because the room says so.
  moderates(call) {
    return this.rights.includes("moderate") || Boolean(call.room?.participants.some((one) => one.you && one.moderator));
  }

  control(call, action, participant) {
    this.events.send({ type: "room_control", room: call.room.room, action, participant });
  }

  chatNews(message, call) {
    const target = call ?? this.calls.find((one) => one.live && message.room && one.party === message.room);
    if (!target || typeof message.text !== "string") return;
    const own = message.from === this.account?.user;
    target.chat = [...target.chat, { from: String(message.from ?? ""), text: message.text, at: message.wall_ms ?? Date.now(), own }];
    target.chat = target.chat.slice(-CHAT_KEPT);
    if (!own && !(this.current === target && this.panel === "chat")) target.unread += 1;
  }

  say(call, text) {
    return this.events.send({ type: "chat", sip_call_id: call.id, text });
  }

  // By message where the server listens to them, else by the keys that stand for it: 1 and 2, and *9 to take it back.
  async agree(call, agreed) {
    call.consent = agreed ? "agreed" : "refused";
    const keys = agreed ? "1" : call.notice === "recording" ? "*9" : "2";
    this.changed();
    if (!(await this.events.ask({ type: "consent", sip_call_id: call.id, agree: agreed }))) call.press(keys);
  }

  // Whether this party may start, stop and pause the recording: one of the server's own users, told so by its token.
  directs(call) {
    return this.events.ready && call.state === "talking" && this.rights.includes("record");
  }

  async record(call, action) {
    call.recordRefused = !(await this.events.ask({ type: "record", sip_call_id: call.id, action }));
    this.changed();
  }

  // -- devices

  async devicesChanged() {
    for (const call of this.calls) {
      if (call.state !== "talking") continue;
      await call.changeSpeaker();
      try {
        await call.changeMicrophone();
      } catch (error) {
        if (!(error instanceof media.Problem)) throw error;
        call.problem = error.word;
      }
    }
    this.changed();
  }
}

// What a person wrote, without what only a machine needs.
function shown(text) {
  return text.replace(/^(sips?|tel):/i, "").replace(/;.*$/, "");
}

// The line to the server: SIP over WebSocket by JsSIP. Owns signing in, registration, coming back after the connection was
// lost, and making sessions. Knows no calls: who listens makes them from sessions.
import JsSIP from "jssip";
import { instance } from "./account.js";
import { Wire } from "./wire.js";

const REGISTER_S = 300;
const LOOK_PONG_MS = 4_000; // nobody waits for it: a busy server is no dead one
const LOOK_MS = 15_000; // a network that went away silently is noticed while nobody calls
const NO_ANSWER_S = 120; // an incoming call rings that long, unless the caller or the server gives up before

JsSIP.debug.disable();

export class Line extends EventTarget {
  constructor() {
    super();
    this.state = "out"; // out, connecting, ready, lost, refused
    this.reason = null; // a word of the page's texts, when refused
    this.ua = null;
    setInterval(() => this.state === "ready" && this.alive(LOOK_PONG_MS), LOOK_MS);
  }

  // credentials: { user, password } at sign-in, { user, realm, ha1 } when kept from before.
  start({ user, password, realm, ha1 }) {
    this.stop();
    this.user = user;
    const host = location.hostname;
    const scheme = location.protocol === "http:" ? "ws:" : "wss:";
    const wire = (this.wire = new Wire(`${scheme}//${location.host}/ws`));
    const secret = password === undefined ? { realm, ha1 } : { password };
    this.ua = new JsSIP.UA({
      sockets: [wire],
      uri: new JsSIP.URI("sip", user, host).toString(),
      ...secret,
      instance_id: instance(),
      register_expires: REGISTER_S,
      no_answer_timeout: NO_ANSWER_S,
      connection_recovery_min_interval: 1,
      connection_recovery_max_interval: 4,
      user_agent: "mediaserver phone",
    });
    const ua = this.ua;
    const mine = (work) => (event) => ua === this.ua && work(event);
    ua.on("registered", mine(() => this.become("ready")));
    ua.on("disconnected", mine(() => this.lost()));
    wire.addEventListener("broken", mine(() => this.lost()));
    wire.addEventListener("mended", mine(() => this.mended()));
    ua.on("registrationFailed", mine((event) => this.failed(event)));
    ua.on("newRTCSession", mine(({ originator, session, request }) => {
      if (originator === "remote") this.dispatchEvent(new CustomEvent("incoming", { detail: { session, request } }));
    }));
    this.become("connecting");
    ua.start();
  }

  lost() {
    if (this.state !== "refused") this.become("lost");
  }

  // Another connection in the old one's place: the server must learn it, or it calls us on the old one.
  mended() {
    this.ua.register();
    this.become("ready");
  }

  // Whether requests get through, after whatever was needed for that. False: they do not, JsSIP goes on trying.
  async alive(pongMs) {
    return this.state !== "out" && Boolean(await this.wire?.alive(pongMs));
  }

  // As alive(), in haste: something looks like a network that is gone.
  async doubt() {
    return this.state !== "out" && Boolean(await this.wire?.doubt());
  }

  failed({ response, cause }) {
    const status = response?.status_code ?? 0;
    if (status === 401 || status === 403 || status === 404 || status === 407) this.refuse("wrong_password");
    else if (status === 429 || status === 503) this.refuse("slow_down");
    else if (status) this.refuse("registration_failed", { status, cause });
    else this.become("lost");
  }

  refuse(reason, values = {}) {
    this.reason = reason;
    this.values = values;
    this.become("refused");
  }

  become(state) {
    if (state !== "refused") this.reason = null;
    if (state === this.state) return;
    this.state = state;
    this.dispatchEvent(new Event("change"));
  }

  // What the next visit signs in with instead of a password.
  credentials() {
    return { user: this.user, realm: this.ua.get("realm"), ha1: this.ua.get("ha1") };
  }

  // "600", "ann", "ann@example.org" or a whole URI, to a URI. null: nobody can be called that.
  address(text) {
    const wanted = text.trim().replace(/^tel:/i, "");
    if (/^sips?:/i.test(wanted) || wanted.includes("@")) {
      const uri = JsSIP.URI.parse(/^sips?:/i.test(wanted) ? wanted : `sip:${wanted}`);
      return uri ? uri.toString() : null;
    }
    // Written numbers have spaces, brackets and hyphens; names may have hyphens that matter.
    const name = /^\+?[\d\s()./-]+$/.test(wanted) ? wanted.replace(/[\s()./-]/g, "") : wanted;
    if (!name || /\s/.test(name)) return null;
    return new JsSIP.URI("sip", name, this.ua.get("realm") ?? location.hostname).toString();
  }

  call(uri, options) {
    return this.ua.call(uri, options);
  }

  stop() {
    const ua = this.ua;
    this.ua = null;
    ua?.stop(); // ends sessions and unregisters first
    this.become("out");
  }
}

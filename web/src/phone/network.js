// The network under one call: notices that nothing arrives any more, and brings the call back by whatever way there is.
// Owns which RTCPeerConnection carries the call. Knows no buttons; the line's socket looks after itself.
import { anew } from "./comeback.js";
import { Pulse } from "./mos.js";

const LISTEN_MS = 100; // how often it is asked whether packets still arrive
const STALLED_MS = 1_000; // a look that comes so late says that this page stood still, not the network
const FLOWS_MS = 250; // sound younger than this arrives
const LOST_AFTER_MS = 700; // "disconnected" comes and goes when single checks are lost; longer than this is the network
const SETTLE_MS = [700, 1_000, 1_500, 2_500, 4_000]; // for checks and handshake, before it is tried once more
const RETRY_MS = [200, 500, 1_000, 2_000, 3_000]; // no offer could be made, or it was not answered
const LOOK_MS = 40;

const since = (timestamp) => performance.timeOrigin + performance.now() - timestamp;

export class Network {
  // make: as anew().
  constructor(call, make = anew) {
    this.call = call;
    this.make = make;
    this.state = "ok"; // ok, lost, restoring
    this.pulse = new Pulse();
    this.stood = null; // the connection that stands, or stood last
    this.next = null; // the one that shall take its place
    this.home = null; // what the standing one was made with, if we made it
    this.restoring = false;
    this.plain = false; // the server takes no other connection in a call: ICE restarts only
  }

  begin() {
    this.timer = setInterval(() => this.listen(), LISTEN_MS);
  }

  watch(peer) {
    this.stood ??= peer;
    peer.addEventListener("connectionstatechange", () => peer === this.call.peer && this.connectionChanged(peer));
  }

  tell(state) {
    this.state = state;
    this.call.changed();
  }

  connectionChanged(peer) {
    if (peer.connectionState === "connected") {
      if (this.next?.peer === peer) this.stand();
      this.tell("ok");
    } else if (peer.connectionState === "disconnected" && this.state === "ok") {
      this.tell("lost");
      this.call.later(() => this.state === "lost" && this.restore(), LOST_AFTER_MS);
    }
  }

  get quiet() {
    return this.call.held || this.call.heldByOther;
  }

  // Milliseconds since the newest packet of sound, null before the first. Sources are cheap to ask, but know only what is
  // played, and Chromium does not always play on after a hold.
  async age(peer = this.call.peer) {
    const receiver = peer.getReceivers().find((one) => one.track.kind === "audio");
    if (!receiver) return null;
    const ages = receiver.getSynchronizationSources().map((source) => since(source.timestamp));
    if (!ages.some((age) => age < FLOWS_MS)) {
      const report = await receiver.getStats().catch(() => new Map());
      report.forEach((entry) => {
        if (entry.lastPacketReceivedTimestamp) ages.push(since(entry.lastPacketReceivedTimestamp));
      });
    }
    return ages.length ? Math.min(...ages) : null;
  }

  async flows(peer = this.call.peer) {
    const age = await this.age(peer);
    return age !== null && age < FLOWS_MS;
  }

  // The server always sends. A pause is first a reason to ask whether the line still answers, then to act.
  async listen() {
    const now = performance.now();
    const stalled = now - (this.lookedAt ?? now) > STALLED_MS;
    this.lookedAt = now;
    if (stalled || this.looking) return; // what has arrived meanwhile may wait behind this very look
    this.looking = true;
    const age = await this.age();
    this.looking = false;
    if (this.quiet || this.restoring) this.pulse.rest();
    else if (this.pulse.stopped(age)) this.restore();
    else if (this.pulse.doubtful(age)) this.call.line.doubt();
  }

  // Called as often as somebody thinks that the way may be gone; does nothing while sound arrives.
  async restore() {
    const { call } = this;
    this.wanted = true; // what changes while the last change is dealt with is dealt with after it
    if (call.state !== "talking" || this.restoring) return;
    this.restoring = true;
    if (await this.flows()) this.wanted = false;
    for (let attempt = 0; this.wanted && call.state === "talking"; attempt++) {
      this.wanted = false;
      this.tell("restoring");
      const offered = (await call.line.doubt()) && !(await this.flows()) && (await this.offer());
      const pauses = offered ? SETTLE_MS : RETRY_MS;
      await this.settle(pauses[Math.min(attempt, pauses.length - 1)], offered);
      if (!(await this.stands())) this.wanted = true;
    }
    this.restoring = this.fresh = false;
    if (call.live) this.tell("ok");
  }

  // Sound arrives, or a handshake has just proven the way; who is on hold hears nothing.
  async stands() {
    return this.call.peer.connectionState === "connected" && (this.fresh || this.quiet || (await this.flows()));
  }

  async settle(ms, offered) {
    for (const end = performance.now() + ms; performance.now() < end && this.call.live; ) {
      if (await (offered ? this.stands() : this.flows())) return;
      await new Promise((done) => this.call.later(done, LOOK_MS));
    }
  }

  // An offer in the same call from a connection made anew. True when it was answered.
  async offer() {
    const { call } = this;
    if (this.next && (await this.flows(this.stood))) return this.goBack();
    if (this.plain) return call.renegotiate({ iceRestart: true });
    let next = null;
    try {
      next = await this.make(this.stood, call.pcConfig(), [call.microphone, call.tracks.camera, call.tracks.screen]);
    } catch {
      this.plain = true;
      return call.renegotiate({ iceRestart: true });
    }
    const put = () => {
      this.next?.close();
      this.next = next;
      this.carry(next.peer);
      this.watch(next.peer);
    };
    if (await call.renegotiate(null, put)) return true;
    if (this.next !== next) {
      next.close(); // there was no moment for it
    } else if (call.live && next.peer.connectionState !== "connected") {
      this.plain = true;
      this.dropNext();
      call.problem = null;
      return call.renegotiate({ iceRestart: true });
    }
    return false;
  }

  // The former way works again and the new one does not.
  async goBack() {
    this.dropNext();
    return this.call.renegotiate();
  }

  dropNext() {
    this.next?.close();
    this.next = null;
    this.carry(this.stood);
  }

  // JsSIP makes its offers from, and gives its answers to, this one from now on.
  carry(peer) {
    this.call.peer = peer;
    this.call.session._connection = peer;
  }

  // The new connection stands: what it brings is heard and seen, the former one ends.
  stand() {
    const { call, next } = this;
    this.stood.close();
    this.home?.close();
    this.stood = next.peer;
    this.home = next;
    this.next = null;
    this.fresh = true;
    call.tracks.moved(next.peer);
    for (const event of next.tracks) call.arrived(event);
    next.peer.addEventListener("track", (event) => call.arrived(event));
    call.reading = null; // its counters begin at nought
  }

  release() {
    clearInterval(this.timer);
    this.next?.close();
    this.home?.close();
    this.stood?.close();
  }
}

// One call: JsSIP's session with its RTCPeerConnection, seen as what a person cares about. Owns streams to and from the
// other side, hold, mute, keys and transfer. Draws nothing.
import { Tracks } from "./tracks.js";
import { Problem, chosen, openMicrophone, playOn, stop } from "./media.js";
import { Reports, Steady, between, scores, warning } from "./mos.js";
import { Network } from "./network.js";
import { read } from "./stats.js";

const SAMPLE_MS = 2_000;
const SAMPLES_A_REPORT = 3; // the server hears every six seconds what this browser measured in them
const GLARE_CALLING_MS = [2_100, 4_000]; // RFC 3261 §14.1: who made the call waits longer
const GLARE_CALLED_MS = [0, 2_000];
const RETRY_REOFFER_MS = 250; // another offer is under way
const REOFFER_TRIES = 40;
const LOST_OFFERS_MAX = 5;
const GATHER_MS = 20; // after the first candidate: others of this machine follow at once
const GATHER_RELAY_MS = 800; // a relay's candidate takes a round trip or three

export class Call extends EventTarget {
  // party: number or name of the other side; name: what it calls itself. line: what requests leave by.
  constructor({ incoming, party, name = "", iceServers = [], line }) {
    super();
    this.line = line;
    this.incoming = incoming;
    this.party = party;
    this.name = name;
    this.iceServers = iceServers;
    this.state = incoming ? "incoming" : "calling"; // calling, ringing, incoming, talking, ended
    this.startedAt = Date.now();
    this.talkingAt = null;
    this.endedAt = null;
    this.muted = false;
    this.held = false; // by us
    this.heldByOther = false;
    this.notice = "off"; // asking, notice, recording, paused, off: what the server says about recording
    this.recordRefused = false; // the server could not do what was last asked about the recording
    this.consent = null; // what we answered
    this.transferState = null;
    this.about = null; // the call this one was made for: its party is to be connected with ours
    this.problem = null; // a word of the page's texts
    this.cause = null; // why it ended
    this.figures = null;
    this.reports = new Reports(SAMPLES_A_REPORT);
    this.estimate = { heard: null, sent: null };
    this.measured = null; // the server's newest quality message
    this.warningNow = null;
    this.steady = new Steady();
    this.way = new Network(this);
    this.chat = [];
    this.unread = 0;
    this.room = null;
    this.audio = new Audio();
    this.audio.autoplay = true;
    this.microphone = null;
    this.firstSoundMs = null;
    this.tracks = null;
    this.timers = new Set();
  }

  changed() {
    this.dispatchEvent(new Event("change"));
  }

  get id() {
    return this.session?._request?.call_id ?? null;
  }

  get network() {
    return this.way.state;
  }

  get seconds() {
    return this.talkingAt === null ? 0 : ((this.endedAt ?? Date.now()) - this.talkingAt) / 1000;
  }

  get live() {
    return this.state !== "ended";
  }

  // -- beginning

  pcConfig() {
    return { iceServers: this.iceServers, bundlePolicy: "max-bundle", rtcpMuxPolicy: "require" };
  }

  // dial(options) makes the session. Problems with devices end the call with words.
  async dial(dial, { video }) {
    await this.withStream(video, (mediaStream) => {
      const session = dial({ mediaStream, pcConfig: this.pcConfig() });
      this.follow(session);
      this.watchPeer(session.connection);
    });
  }

  async answer({ video }) {
    if (this.state !== "incoming" || this.answering) return;
    this.answering = true;
    await this.withStream(video, (mediaStream) => {
      this.session.on("peerconnection", (event) => this.watchPeer(event.peerconnection));
      this.session.answer({ mediaStream, pcConfig: this.pcConfig() });
    });
  }

  async withStream(video, work) {
    this.clickedAt = performance.now();
    try {
      this.microphone = await openMicrophone();
      this.tracks = new Tracks(this);
      const stream = new MediaStream(this.microphone.getTracks());
      if (video) await this.tracks.openCameraFor(stream);
      if (this.live) work(stream);
      else this.release();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.problem = error.word;
      if (this.incoming) {
        this.answering = false; // the caller still rings: mend it and answer
        this.changed();
      } else {
        this.over("device");
      }
    }
  }

  follow(session) {
    this.session = session;
    this.guardOffers(session);
    session.on("icecandidate", ({ ready }) => {
      this.later(ready, this.iceServers.length ? GATHER_RELAY_MS : GATHER_MS);
    });
    session.on("sdp", (event) => {
      if (event.originator === "local") event.sdp = this.tracks.mark(event.sdp);
    });
    session.on("progress", (event) => {
      if (event.originator === "remote") this.become("ringing");
    });
    session.on("accepted", () => this.begin());
    session.on("confirmed", () => this.begin());
    session.on("hold", ({ originator }) => this.holdChanged(originator, true));
    session.on("unhold", ({ originator }) => this.holdChanged(originator, false));
    session.on("reinvite", () => this.later(() => this.changed(), 300));
    session.on("ended", ({ cause }) => this.over(cause));
    session.on("failed", ({ cause, originator }) => this.over(originator === "local" && cause === "Canceled" ? "Terminated" : cause));
  }

  // JsSIP ends a call whose re-INVITE is refused. Ours go on as they were: the offer is taken back, after glare
  // (491, RFC 3261 §14.1) made again, and whoever asked for it is told. No status at all is glare inside the browser:
  // the other side's offer came while ours was being made, and took its place.
  guardOffers(session) {
    const send = session._sendReinvite.bind(session);
    let lost = 0; // offers in a row
    session._sendReinvite = (options) => {
      const failed = async (response) => {
        if (!this.live) return;
        if (this.peer.signalingState === "have-local-offer") await this.peer.setLocalDescription({ type: "rollback" }).catch(() => {});
        const status = response?.status_code ?? 0;
        if (status === 491 || (status === 0 && ++lost <= LOST_OFFERS_MAX)) {
          const [least, most] = this.incoming ? GLARE_CALLED_MS : GLARE_CALLING_MS;
          this.later(() => this.whenReady(() => session._sendReinvite(options)), least + Math.random() * (most - least));
        } else if (status === 408 || status === 481) {
          options.eventHandlers?.failed?.(response); // the other side knows no such call any more
        } else {
          this.refused(response);
        }
      };
      const succeeded = (response) => {
        lost = 0;
        options.eventHandlers?.succeeded?.(response);
      };
      send({ ...options, eventHandlers: { ...options.eventHandlers, succeeded, failed } });
    };
  }

  refused() {
    this.dispatchEvent(new Event("refused"));
    this.problem = "change_refused";
    this.changed();
  }

  become(state) {
    if (!this.live || this.state === "talking") return;
    this.state = state;
    this.changed();
  }

  begin() {
    if (this.state === "talking" || !this.live) return;
    this.state = "talking";
    this.talkingAt = Date.now();
    this.sampler = setInterval(() => this.sample(), SAMPLE_MS);
    this.way.begin();
    this.sample();
    this.changed();
  }

  watchPeer(peer) {
    this.peer = peer;
    peer.addEventListener("track", (event) => this.arrived(event));
    this.way.watch(peer);
  }

  arrived(event) {
    if (event.track.kind === "audio") this.hear(event.track);
    else this.tracks.arrived(event);
  }

  hear(track) {
    this.remoteAudio = new MediaStream([track]);
    this.audio.srcObject = this.remoteAudio;
    playOn(this.audio, chosen().speaker);
    this.audio.play().catch(() => {
      this.problem = "sound_blocked";
      this.changed();
    });
    track.addEventListener("unmute", () => {
      this.firstSoundMs ??= performance.now() - this.clickedAt;
    });
  }

  // -- while it lasts

  mute(muted) {
    this.muted = muted;
    if (muted) this.session.mute({ audio: true });
    else this.session.unmute({ audio: true });
    this.changed();
  }

  async hold(held) {
    if (this.state !== "talking" || held === this.held) return;
    await this.whenReady(() => (held ? this.session.hold() : this.session.unhold()));
  }

  // A transfer has put somebody else at the other end.
  talksTo(party, name) {
    if (!party) return;
    this.party = String(party);
    this.name = String(name ?? "");
  }

  holdChanged(originator, held) {
    if (originator === "local") this.held = held;
    else this.heldByOther = held;
    this.changed();
  }

  press(keys) {
    if (this.state !== "talking") return;
    this.session.sendDTMF(keys, { transportType: "RFC2833", duration: 120, interToneGap: 70 });
  }

  // target: a URI. other: the call it goes to, for a transfer after asking.
  transfer(target, other = null) {
    const tell = (state) => {
      this.transferState = state;
      this.changed();
    };
    tell("trying");
    const options = {
      eventHandlers: {
        progress: () => tell("ringing"),
        accepted: () => {
          tell("done");
          this.later(() => this.hangUp(), 500);
        },
        failed: () => tell("failed"),
        requestFailed: () => tell("failed"),
      },
    };
    if (other) options.replaces = other.session;
    this.session.refer(target, options);
  }

  hangUp() {
    if (!this.live) return;
    if (!this.session || this.session.isEnded()) this.over("Terminated");
    else this.session.terminate(this.state === "incoming" ? { status_code: 486 } : undefined);
  }

  // Another microphone in mid-call: the same sender, no new offer.
  async changeMicrophone() {
    const stream = await openMicrophone();
    const track = stream.getAudioTracks()[0];
    track.enabled = !this.muted && !this.held;
    await this.peer.getSenders().find((sender) => sender.track?.kind === "audio")?.replaceTrack(track);
    stop(this.microphone);
    this.microphone = stream;
    this.changed();
  }

  changeSpeaker() {
    return playOn(this.audio, chosen().speaker);
  }

  // Runs a step that makes an offer, as soon as no other one is under way.
  async whenReady(step) {
    for (let attempt = 0; attempt < REOFFER_TRIES && this.state === "talking"; attempt++) {
      // A request that cannot leave would end the call.
      if (this.line.state === "ready" && this.session.isReadyToReOffer() && step() !== false) return true;
      await new Promise((done) => this.later(done, RETRY_REOFFER_MS));
    }
    return false;
  }

  // Makes an offer; true when it was answered. before: at the moment when nothing hinders it any more.
  renegotiate(constraints = null, before = () => {}) {
    return new Promise((answered) => {
      const options = constraints ? { rtcOfferConstraints: constraints } : {};
      for (const end of ["over", "refused"]) this.addEventListener(end, () => answered(false), { once: true });
      const step = () => {
        before();
        return this.session.renegotiate(options, () => answered(true));
      };
      this.whenReady(step).then((begun) => begun || answered(false));
    });
  }

  // The way may be gone.
  restore() {
    return this.way.restore();
  }

  async sample() {
    if (!this.peer || this.state !== "talking") return;
    const reading = await read(this.peer);
    if (this.reading) {
      this.figures = between(this.reading, reading);
      this.estimate = scores(this.figures);
      const found = warning(this.figures, {
        muted: this.muted, held: this.heldByOther, localHold: this.held, seconds: this.seconds,
      });
      this.warningNow = this.steady.next(this.network === "ok" ? found : null);
    } else {
      this.reports.anew();
    }
    const told = this.reports.next(reading);
    if (told !== null) this.dispatchEvent(new CustomEvent("report", { detail: told }));
    this.reading = reading;
    this.changed();
  }

  // -- the end

  over(cause) {
    if (!this.live) return;
    this.state = "ended";
    this.cause = cause;
    this.endedAt = Date.now();
    this.release();
    this.changed();
    this.dispatchEvent(new Event("over"));
  }

  release() {
    clearInterval(this.sampler);
    this.way.release();
    for (const timer of this.timers) clearTimeout(timer);
    this.timers.clear();
    stop(this.microphone);
    this.tracks?.release();
    this.audio.srcObject = null;
  }

  later(work, ms) {
    const timer = setTimeout(() => {
      this.timers.delete(timer);
      work();
    }, ms);
    this.timers.add(timer);
  }
}

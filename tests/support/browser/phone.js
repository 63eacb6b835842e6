// A phone made of JsSIP as it comes, for the wire tests: registers, calls, answers, and keeps what it hears and sees.
import JsSIP from "jssip";
import { camera, watch as look } from "./pictures.js";
import { makeSipJsPhone } from "./sipjs.js";

const AUDIO = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
let pcConfig = { iceServers: [] };
let only = ""; // "tcp" or an address: candidates of the server by another way are thrown away

function makePhone() {
  const state = { events: [], session: null, peer: null, heard: [], rate: 0, seen: [], camera: null };

  function note(name, detail = "") {
    state.events.push(`${name} ${detail}`.trim());
  }

  // Pulls the remote track and keeps its samples: an element must play it, or Chromium decodes nothing. After a hold
  // Chromium says "track" once more: the new tap replaces the old one, or both would write into one recording by turns.
  function listen(stream) {
    if (state.keep) {
      const [former, its, old] = state.keep;
      old.onaudioprocess = null;
      its.close();
      former.srcObject = null;
      state.heard = [];
    }
    const element = new Audio();
    element.srcObject = stream;
    element.play();
    const context = new AudioContext({ sampleRate: 16000 });
    const tap = context.createScriptProcessor(4096, 1, 1);
    tap.onaudioprocess = (event) => state.heard.push(event.inputBuffer.getChannelData(0).slice());
    context.createMediaStreamSource(stream).connect(tap);
    tap.connect(context.destination);
    state.rate = context.sampleRate;
    state.keep = [element, context, tap];
  }

  // RMS of a block, 0..1; of the loudest one heard
  const loudness = (block) => Math.sqrt(block.reduce((sum, sample) => sum + sample * sample, 0) / block.length);
  const loudest = () => Math.max(0, ...state.heard.map(loudness));

  function follow(session) {
    state.session = session;
    const watch = (peer) => {
      state.peer = peer;
      peer.addEventListener("track", ({ track, streams }) => {
        if (track.kind === "video") state.seen.push(look(track, streams[0]));
        else listen(streams[0] ?? new MediaStream([track]));
      });
      peer.addEventListener("connectionstatechange", () => note(`peer ${peer.connectionState}`));
    };
    if (session.connection) watch(session.connection);
    else session.on("peerconnection", (event) => watch(event.peerconnection));
    session.on("sdp", (event) => {
      if (event.originator === "remote" && only)
        event.sdp = event.sdp.replace(/a=candidate:\S+ \d+ (\S+) \d+ (\S+) .*\r\n/g, (line, by, host) =>
          [by, host].includes(only) ? line : "",
        );
    });
    session.on("progress", () => note("progress"));
    session.on("accepted", () => note("accepted"));
    session.on("confirmed", () => note("confirmed"));
    session.on("ended", (event) => note("ended", event.cause));
    session.on("failed", (event) => note("failed", `${event.cause} ${event.message?.status_code ?? ""}`));
  }

  // hold or unhold; true once its answer is in effect. JsSIP says false while another offer is open, and does nothing.
  function offer(what) {
    return new Promise((resolve, reject) => {
      state.session.on("ended", () => reject(new Error(`${what}: the call ended`)));
      if (!state.session[what]({}, () => resolve(true))) reject(new Error(`${what}: not possible now`));
    });
  }

  // owner: whose numbered pictures the camera films; null: sound only.
  async function media(owner, rich = false) {
    const stream = await navigator.mediaDevices.getUserMedia({ audio: AUDIO });
    if (owner !== null) stream.addTrack((state.camera = camera(owner, rich ? 25 : 15, rich)));
    return stream;
  }

  return {
    events: () => state.events,
    register(socket, uri, password) {
      const ua = new JsSIP.UA({ sockets: [new JsSIP.WebSocketInterface(socket)], uri, password, register: true });
      ua.on("connected", () => note("connected"));
      ua.on("disconnected", () => note("disconnected"));
      ua.on("registered", () => note("registered"));
      ua.on("registrationFailed", (event) => note("registrationFailed", event.cause));
      ua.on("newRTCSession", ({ originator, session }) => {
        follow(session);
        if (originator === "remote") {
          note("incoming", session.remote_identity.uri.user);
          if (state.answersWith === undefined) session.answer({ mediaConstraints: { audio: AUDIO, video: false }, pcConfig });
          else media(state.answersWith).then((mediaStream) => session.answer({ mediaStream, pcConfig }));
        }
      });
      state.ua = ua;
      ua.start();
    },
    configure(config, way = "") {
      pcConfig = config;
      only = way;
    },
    iceRestart: () =>
      new Promise((resolve) => state.session.renegotiate({ rtcOfferConstraints: { iceRestart: true } }, () => resolve(true))),
    // Seconds until the next packet of sound comes, and until it is heard (one look a few ms), from now; -1: not within `wait`
    async back(wait) {
      const start = performance.now();
      const since = () => (performance.now() - start) / 1000;
      const received = async () => {
        let found = 0;
        (await state.peer.getStats()).forEach((entry) => {
          if (entry.type === "inbound-rtp" && entry.kind === "audio") found = entry.packetsReceived;
        });
        return found;
      };
      const before = await received();
      state.heard = [];
      const took = { packet: -1, sound: -1 };
      while (since() < wait && (took.packet < 0 || took.sound < 0)) {
        if (took.packet < 0 && (await received()) > before) took.packet = since();
        if (took.sound < 0 && loudest() > 0.01) took.sound = since();
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      return took;
    },
    // Seconds of the longest run of quiet blocks heard
    silence() {
      let longest = 0;
      let run = 0;
      for (const block of state.heard) {
        run = loudness(block) < 0.001 ? run + block.length / state.rate : 0;
        longest = Math.max(longest, run);
      }
      return longest;
    },
    call(target) {
      state.ua.call(target, { mediaConstraints: { audio: AUDIO, video: false }, pcConfig });
    },
    async callWithCamera(target, owner, rich = false) {
      state.ua.call(target, { mediaStream: await media(owner, rich), pcConfig });
    },
    answerWith(owner) {
      state.answersWith = owner;
    },
    // Another picture in mid-call: a shared screen.
    share(owner) {
      const track = camera(owner);
      state.screen = state.peer.addTransceiver(track, { direction: "sendonly", streams: [new MediaStream([track])] });
      state.session.renegotiate();
    },
    stopSharing() {
      state.screen.stop();
      state.session.renegotiate();
    },
    cameraOn(owner) {
      state.peer.addTransceiver((state.camera = camera(owner)), { direction: "sendrecv" });
      state.session.renegotiate();
    },
    seen: () => state.seen,
    forgetSeen() {
      for (const seen of state.seen) Object.assign(seen, { owners: {}, frames: 0, unread: 0 });
    },
    hangUp: () => state.session.terminate(),
    hold: () => offer("hold"),
    unhold: () => offer("unhold"),
    press: (digit) => state.session.sendDTMF(digit, { transportType: "RFC2833" }),
    unregister: () => state.ua.stop(),
    forget() {
      state.heard = [];
    },
    // int16 little-endian mono at `rate`, as base64
    heard() {
      const total = state.heard.reduce((sum, block) => sum + block.length, 0);
      const samples = new Int16Array(total);
      let at = 0;
      for (const block of state.heard) {
        for (const sample of block) samples[at++] = Math.max(-32768, Math.min(32767, Math.round(sample * 32767)));
      }
      const bytes = new Uint8Array(samples.buffer);
      let text = "";
      for (let i = 0; i < bytes.length; i += 0x8000) text += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
      return { rate: state.rate, samples: btoa(text) };
    },
    async statistics() {
      const found = [];
      (await state.peer.getStats()).forEach((entry) => found.push(entry));
      return found;
    },
    saidLevels() {
      // Of what it hears, 0 to 1 by RFC 6464 in the packets; undefined where they do not say.
      return state.peer.getReceivers().flatMap((receiver) =>
        receiver.track.kind === "audio" ? receiver.getSynchronizationSources().map((source) => source.audioLevel) : [],
      );
    },
  };
}

window.makePhone = makePhone;
window.phone = makePhone();
window.sipJsPhone = makeSipJsPhone();

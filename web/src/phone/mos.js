// What a call's figures mean: the E-model of ITU-T G.107 for what this browser can see of a call, and the one warning that
// matters most, in words a person can act on. The server measures better and is believed where it speaks.
//
// Sources: G.107 §7.1 (R, Idd, Ie-eff), Annex B (MOS); G.113 Appendix I (Bpl of packet loss concealment).

const BPL_CONCEALED = 25.1; // robustness of a codec that conceals, as G.113 gives it for G.711 with concealment
const R_DEFAULT = 93.2; // of G.107's default values
const BASE_DELAY_MS = 40; // packets of 20 ms at both ends, coding, the sound card

// Impairment by one-way delay in milliseconds: none below 100.
export function delayImpairment(oneWayMs) {
  if (!(oneWayMs > 100)) return 0;
  const x = Math.log2(oneWayMs / 100);
  return 25 * ((1 + x ** 6) ** (1 / 6) - 3 * (1 + (x / 3) ** 6) ** (1 / 6) + 2);
}

// MOS 1 to 4.5 for loss as a fraction of frames and a one-way delay in milliseconds.
export function estimateMos(lossFraction, oneWayMs) {
  const lossPercent = Math.min(100, Math.max(0, lossFraction * 100));
  const r = R_DEFAULT - delayImpairment(oneWayMs) - (95 * lossPercent) / (lossPercent + BPL_CONCEALED);
  return mosOf(r);
}

export function mosOf(r) {
  if (r <= 0) return 1;
  if (r >= 100) return 4.5;
  return Math.max(1, 1 + 0.035 * r + r * (r - 60) * (100 - r) * 7e-6);
}

// G.107 Annex B: 4.03 satisfied, 3.6 some dissatisfied, 3.1 many dissatisfied.
export function grade(mos) {
  if (mos === null || mos === undefined) return "none";
  if (mos >= 4.03) return "good";
  return mos >= 3.6 ? "fair" : "bad";
}

// Two readings of getStats, seconds apart, to figures of the time between; null where nothing is known.
export function between(before, after) {
  const seconds = (after.at - before.at) / 1000;
  if (!(seconds > 0)) return null;
  const grown = (name) => Math.max(0, (after[name] ?? 0) - (before[name] ?? 0));
  const received = grown("packetsReceived");
  const lost = grown("packetsLost");
  const samples = grown("totalSamples");
  const gaps = Math.max(0, grown("concealedSamples") - grown("silentConcealedSamples"));
  const emitted = grown("jitterBufferEmitted");
  const energy = grown("microphoneEnergy");
  return {
    lossIn: received + lost > 0 ? lost / (received + lost) : null,
    gaps: samples > 0 ? Math.min(1, gaps / samples) : null,
    lossOut: after.lossOut ?? null,
    jitterMs: after.jitterMs ?? null,
    roundTripMs: after.roundTripMs ?? null,
    bufferMs: emitted > 0 ? (grown("jitterBufferDelay") / emitted) * 1000 : null,
    kbitIn: (grown("bytesReceived") * 8) / 1000 / seconds,
    kbitOut: (grown("bytesSent") * 8) / 1000 / seconds,
    packetsIn: received,
    microphone: "microphoneEnergy" in after ? energy / seconds : null,
    codec: after.codec ?? null,
    video: after.video ?? null,
    route: after.route ?? null,
  };
}

// The same figures as the server wants them (docs/api.md, "stats"); what is not known is left out.
export function report(figures) {
  const all = {
    rtt_ms: figures.roundTripMs, jitter_ms: figures.jitterMs, loss_received: figures.lossIn, loss_sent: figures.lossOut, concealed: figures.gaps,
    bitrate_received_bps: Math.round(figures.kbitIn * 1000), bitrate_sent_bps: Math.round(figures.kbitOut * 1000),
    frames_per_second: figures.video?.perSecond, width: figures.video?.width, height: figures.video?.height, freezes: figures.video?.freezes,
  };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== null && value !== undefined));
}

// What the server hears of a call: every so many readings, and each time of all the time since the last one.
export class Reports {
  constructor(every) {
    this.every = every;
    this.anew();
  }

  // A new connection: its counters begin at nought.
  anew() {
    this.told = null;
    this.readings = 0;
  }

  // The report that is due with this reading of getStats, or null.
  next(reading) {
    if (this.told === null) this.told = reading;
    else if (++this.readings % this.every === 0) {
      const figures = between(this.told, reading);
      this.told = reading;
      return figures === null ? null : report(figures);
    }
    return null;
  }
}

// Both directions as this browser can judge them.
export function scores(figures) {
  if (figures === null) return { heard: null, sent: null };
  const network = (figures.roundTripMs ?? 0) / 2 + BASE_DELAY_MS;
  const loss = Math.max(figures.gaps ?? 0, figures.lossIn ?? 0);
  const heard = figures.packetsIn > 0 ? estimateMos(loss, network + (figures.bufferMs ?? 0)) : null;
  const sent = figures.lossOut === null ? null : estimateMos(figures.lossOut, network + 60);
  return { heard, sent };
}

const LOSS_AUDIBLE = 0.03; // 3 %: Opus hides less
const GAPS_AUDIBLE = 0.03;
const JITTER_HIGH_MS = 60;
const ROUND_TRIP_HIGH_MS = 400; // G.114: beyond 400 ms one way people talk over each other; half of it is felt
const MICROPHONE_SILENT = 1e-8; // energy per second: below any room, a dead or covered microphone

// The worst thing that is wrong now, or null. state: { muted, held, localHold, startedS } of the call.
export function warning(figures, state) {
  if (figures === null || state.held || state.localHold) return null;
  if (figures.packetsIn === 0 && state.seconds > 4) return "nothing_arrives";
  if ((figures.lossOut ?? 0) > LOSS_AUDIBLE) return "loss_out";
  if ((figures.lossIn ?? 0) > LOSS_AUDIBLE) return "loss_in";
  if ((figures.gaps ?? 0) > GAPS_AUDIBLE || (figures.jitterMs ?? 0) > JITTER_HIGH_MS) return "jitter";
  if ((figures.roundTripMs ?? 0) > ROUND_TRIP_HIGH_MS) return "delay";
  if (!state.muted && figures.microphone !== null && figures.microphone < MICROPHONE_SILENT && state.seconds > 6) return "mic_silent";
  return null;
}

// A warning that was seen stays for three readings after it is gone, so that the words do not flicker.
export class Steady {
  constructor(hold = 3) {
    this.hold = hold;
    this.shown = null;
    this.left = 0;
  }

  next(found) {
    if (found !== null) {
      this.shown = found;
      this.left = this.hold;
    } else if (this.left > 0 && --this.left === 0) {
      this.shown = null;
    }
    return this.shown;
  }
}

const SILENT_MS = 600; // thirty packets in a row: no network that is merely bad loses so many

// Tells when nothing arrives any more on a stream that used to flow. A sender that pauses by itself (silence suppression)
// shows that by coming back: its longest pause, doubled, becomes the limit.
export class Pulse {
  constructor() {
    this.limitMs = SILENT_MS;
    this.told = this.doubted = false;
  }

  // A pause that everybody knows of, such as hold: the next one is told only after the stream has flowed again.
  rest() {
    this.told = this.doubted = true;
    this.lastMs = 0;
  }

  // Halfway to that: true once for each time. Ask after stopped().
  doubtful(ageMs) {
    if (this.doubted || ageMs === null || ageMs < this.limitMs / 2) return false;
    return (this.doubted = true);
  }

  // ageMs: of the newest packet, null before the first. True once for each time that it stops.
  stopped(ageMs) {
    if (ageMs === null) return false;
    if (ageMs < (this.lastMs ?? 0) && !this.told) this.limitMs = Math.max(this.limitMs, Math.min(10_000, 2 * this.lastMs));
    if (ageMs < SILENT_MS / 2) this.told = this.doubted = false;
    this.lastMs = ageMs;
    if (this.told || ageMs < this.limitMs) return false;
    return (this.told = true);
  }
}

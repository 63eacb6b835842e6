// The player as one object: sound by ranges from the server, each party on a gain of its own, speed with the pitch kept,
// silence skipped, a stretch repeated, and a note of which seconds were really heard.
const TICK_MS = 40;
const SKIP_FROM_S = 0.4; // so much of a silence is kept at either end: breathing, not a jump
const TELL_MS = 10_000;
export const RATES = [0.5, 0.75, 1, 1.25, 1.5, 2, 3, 4];
const APART = 0.45; // the parties stand left and right, but neither is in one ear alone


// Sides that can be heard apart: a message left on a machine has one. Of a link to a part nobody says: two.
export const partiesOf = (open) => Math.min(2, open.lanes?.parties.length ?? 2);

export class Player extends EventTarget {
  constructor(tell) {
    super();
    this.tell = tell; // (stretches) => …: what was heard since the last time
    this.audio = new Audio();
    this.audio.preload = "auto";
    this.rate = 1;
    this.skipping = false;
    this.loop = null;
    this.muted = [false, false];
    this.solo = null;
    this.silences = [];
    this.offset = 0; // where on the recording's time line the sound begins: a link may open a part
    this.heard = [];
    this.state = "empty";
    for (const name of ["play", "pause", "seeked", "timeupdate", "ended", "durationchange"]) {
      this.audio.addEventListener(name, () => this.changed());
    }
    this.audio.addEventListener("waiting", () => this.become("loading"));
    this.audio.addEventListener("canplay", () => this.become("ready"));
    this.audio.addEventListener("error", () => this.audio.getAttribute("src") && this.become("failed"));
    this.audio.addEventListener("pause", () => this.report());
    setInterval(() => this.tick(), TICK_MS);
    setInterval(() => this.report(), TELL_MS);
    addEventListener("pagehide", () => this.report());
  }

  load(url, { silences = [], offset = 0 } = {}) {
    this.report();
    this.audio.pause();
    this.silences = silences;
    this.offset = offset;
    this.loop = null;
    this.last = null;
    this.url = url;
    this.audio.src = url;
    this.audio.playbackRate = this.rate;
    this.audio.preservesPitch = true;
    this.become("loading");
  }

  unload() {
    this.report();
    this.audio.pause();
    this.audio.removeAttribute("src");
    this.audio.load();
    this.become("empty");
  }

  become(state) {
    this.state = state;
    this.changed();
  }

  changed() {
    this.dispatchEvent(new Event("change"));
  }

  get time() {
    return this.audio.currentTime + this.offset;
  }

  get playing() {
    return !this.audio.paused && !this.audio.ended;
  }

  // Only a person's gesture may start sound: the graph is made then.
  wire() {
    if (this.context) return;
    this.context = new AudioContext();
    const source = this.context.createMediaElementSource(this.audio);
    const split = this.context.createChannelSplitter(2);
    this.meter = this.context.createAnalyser();
    source.channelInterpretation = "discrete";
    source.connect(split);
    this.gains = [-APART, APART].map((pan, channel) => {
      const gain = this.context.createGain();
      split.connect(gain, channel);
      gain.connect(new StereoPannerNode(this.context, { pan })).connect(this.meter);
      return gain;
    });
    this.meter.connect(this.context.destination);
    this.mix();
  }

  async toggle() {
    this.wire();
    if (this.playing) return this.audio.pause();
    await this.context.resume();
    return this.audio.play().catch(() => {});
  }

  seek(time) {
    const last = Number.isFinite(this.audio.duration) ? this.audio.duration : Infinity;
    this.close();
    this.audio.currentTime = Math.min(last, Math.max(0, time - this.offset));
    this.changed();
  }

  setRate(rate) {
    this.rate = rate;
    this.audio.playbackRate = rate;
    this.changed();
  }

  faster(step) {
    const at = RATES.indexOf(this.rate);
    this.setRate(RATES[Math.min(RATES.length - 1, Math.max(0, at + step))]);
  }

  mute(channel) {
    this.muted[channel] = !this.muted[channel];
    this.mix();
  }

  only(channel) {
    this.solo = this.solo === channel ? null : channel;
    this.mix();
  }

  mix() {
    this.gains?.forEach((gain, channel) => {
      const silent = this.solo === null ? this.muted[channel] : this.solo !== channel;
      gain.gain.setTargetAtTime(silent ? 0 : 1, this.context.currentTime, 0.01);
    });
    this.changed();
  }

  setLoop(loop) {
    this.loop = loop && loop.to - loop.from > 0.2 ? loop : null;
    this.changed();
  }

  tick() {
    if (!this.playing || this.audio.seeking) return;
    const now = this.time;
    if (this.last === null || now < this.last || now - this.last > 0.5 + this.rate * 0.5) {
      this.close();
      this.heard.push([now, now]);
    }
    this.heard[this.heard.length - 1][1] = now;
    this.last = now;
    if (this.loop && now >= this.loop.to) return this.seek(this.loop.from);
    if (!this.skipping) return;
    const silence = this.silences.find(([from, to]) => now > from + SKIP_FROM_S && now < to - SKIP_FROM_S);
    if (silence) this.seek(silence[1] - SKIP_FROM_S / 2);
  }

  close() {
    this.last = null;
  }

  report() {
    const seconds = this.heard.filter(([from, to]) => to - from > 0.02).map((pair) => pair.map((s) => Math.round(s * 100) / 100));
    this.heard = [];
    this.last = null;
    if (seconds.length) this.tell(this.url, seconds.slice(-200));
  }

  // 0..1, of what leaves for the loudspeaker now.
  level() {
    if (!this.meter) return 0;
    const samples = new Float32Array(this.meter.fftSize);
    this.meter.getFloatTimeDomainData(samples);
    return Math.sqrt(samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length);
  }
}

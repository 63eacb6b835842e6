// <level-meter .stream=… label=…>: how loud a stream is, as a bar. A meter to a screen reader, which asks when it wants.
import { LitElement, html } from "lit";
import { Loudness } from "./media.js";

const DRAW_MS = 60;
const TELL_EVERY = 12; // draws between two changes of what is told

export class LevelMeter extends LitElement {
  static properties = { stream: { attribute: false }, label: {} };

  createRenderRoot() {
    return this;
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.end();
  }

  willUpdate(changed) {
    if (!changed.has("stream")) return;
    this.end();
    if (!this.stream?.getAudioTracks().length) return;
    this.loudness = new Loudness(this.stream);
    this.drawn = 0;
    this.timer = setInterval(() => this.draw(), DRAW_MS);
  }

  draw() {
    const bar = this.querySelector(".meter");
    if (!bar) return;
    const level = this.loudness.level();
    this.shown = Math.max(level, (this.shown ?? 0) - 0.06); // falls slower than it rises, as a needle does
    bar.style.setProperty("--level", this.shown.toFixed(3));
    if (this.drawn++ % TELL_EVERY === 0) bar.setAttribute("aria-valuenow", String(Math.round(this.shown * 100)));
  }

  end() {
    clearInterval(this.timer);
    this.loudness?.close();
    this.loudness = null;
  }

  render() {
    return html`<div class="meter" role="meter" aria-label=${this.label} aria-valuemin="0" aria-valuemax="100" aria-valuenow="0"></div>`;
  }
}
customElements.define("level-meter", LevelMeter);

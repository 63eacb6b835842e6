// <phone-settings>: devices with a way to try each, sounds, notifications, appearance, account. Tests end when it is left.
import { LitElement, html, nothing } from "lit";
import { icon } from "../common/icons.js";
import { onLanguage } from "../common/i18n.js";
import { setTheme, theme, THEMES } from "../common/theme.js";
import "./level.js";
import * as media from "./media.js";
import { problemNote } from "./view-idle.js";
import * as sounds from "./sounds.js";
import { shortcutsOn, setShortcuts } from "./shortcuts.js";
import { say } from "./words.js";

export class PhoneSettings extends LitElement {
  static properties = { phone: { attribute: false }, found: { state: true }, testing: { state: true }, picture: { state: true }, problem: { state: true } };

  constructor() {
    super();
    this.found = { microphone: [], speaker: [], camera: [] };
    this.refresh = () => media.devices().then((found) => (this.found = found));
  }

  createRenderRoot() {
    return this;
  }

  connectedCallback() {
    super.connectedCallback();
    navigator.mediaDevices?.addEventListener("devicechange", this.refresh);
    this.refresh();
    this.endLanguage = onLanguage(() => this.requestUpdate());
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.endLanguage();
    navigator.mediaDevices?.removeEventListener("devicechange", this.refresh);
    this.stopTests();
  }

  stopTests() {
    media.stop(this.testing);
    media.stop(this.picture);
    this.testing = this.picture = null;
  }

  async choose(kind, value) {
    media.choose({ [kind]: value });
    if (this.testing && kind !== "camera") await this.test("testing", media.openMicrophone, true);
    if (this.picture && kind === "camera") await this.test("picture", media.openCamera, true);
    if (kind !== "camera") await this.phone.devicesChanged();
    this.requestUpdate();
  }

  async test(name, open, on) {
    media.stop(this[name]);
    this[name] = null;
    this.problem = null;
    if (!on) return;
    try {
      const stream = await open();
      if (this.isConnected) this[name] = stream;
      else media.stop(stream);
      this.refresh(); // names are told from now on
    } catch (error) {
      if (!(error instanceof media.Problem)) throw error;
      this.problem = error.word;
    }
  }

  render() {
    const chosen = media.chosen();
    return html`<div class="settings">
      <h2 class="unseen">${say("settings")}</h2>
      <div role="alert">${this.problem ? problemNote(this.problem) : nothing}</div>
      <section><h3>${say("sound")}</h3>
        ${this.select("microphone", chosen)}
        <div class="row"><button type="button" class="tiny" @click=${() => this.test("testing", media.openMicrophone, !this.testing)}>
            ${icon("mic")} ${say(this.testing ? "stop_test" : "test_mic")}</button>
          ${this.testing ? html`<level-meter .stream=${this.testing} label=${say("mic_level")}></level-meter>` : nothing}</div>
        ${this.testing ? html`<p class="hint">${say("mic_test_hint")}</p>` : nothing}
        ${media.canChooseSpeaker() ? this.select("speaker", chosen) : nothing}
        <div class="row"><button type="button" class="tiny" @click=${() => sounds.chime()}>${icon("speaker")} ${say("test_speaker")}</button></div>
        ${this.check("cleanUp", "clean_up", chosen, "clean_up_hint")}
        ${this.check("ring", "ring", chosen)}
        ${this.check("keys", "key_sounds", chosen)}
      </section>
      <section><h3>${say("camera")}</h3>
        ${this.select("camera", chosen)}
        <div class="row"><button type="button" class="tiny" @click=${() => this.test("picture", media.openCamera, !this.picture)}>
          ${icon("camera")} ${say(this.picture ? "stop_camera" : "test_camera")}</button></div>
        ${this.picture ? html`<video class="preview" autoplay playsinline .muted=${true} .srcObject=${this.picture} aria-label=${say("camera_preview")}></video>` : nothing}
      </section>
      <section><h3>${say("look")}</h3>
        <label class="field">${say("theme")}<select @change=${(event) => setTheme(event.target.value)}>
          ${THEMES.map((name) => html`<option value=${name} ?selected=${theme() === name}>${say(`theme_${name}`)}</option>`)}</select></label>
        <label class="check"><input type="checkbox" .checked=${shortcutsOn()} @change=${(event) => setShortcuts(event.target.checked)} aria-describedby="shortcuts-hint">
          ${say("shortcuts")}</label><p class="hint" id="shortcuts-hint">${say("shortcuts_hint")}</p>
        ${this.notifications()}
      </section>
      <section><h3>${say("account")}</h3>
        <p>${say("signed_in_as")} <b>${this.phone.account.user}</b>
          <span class="faint">(${say(this.phone.account.staying ? "account_kept" : "account_tab")})</span></p>
        <div class="row"><button type="button" class="tiny" @click=${() => this.phone.signOut()}>${icon("signOut")} ${say("sign_out")}</button></div>
      </section>
    </div>`;
  }

  select(kind, chosen) {
    const known = this.found[kind];
    return html`<label class="field">${say(kind)}<select @change=${(event) => this.choose(kind, event.target.value)}>
      <option value="" ?selected=${!chosen[kind]}>${say("default_device")}</option>
      ${known.map((device, index) => html`<option value=${device.id} ?selected=${chosen[kind] === device.id}>
        ${device.label || say("device_n", { n: index + 1 })}</option>`)}
    </select></label>`;
  }

  check(name, word, chosen, hint = null) {
    return html`<label class="check"><input type="checkbox" .checked=${chosen[name]} aria-describedby=${hint ?? nothing}
        @change=${(event) => this.choose(name, event.target.checked)}> ${say(word)}</label>
      ${hint ? html`<p class="hint" id=${hint}>${say(hint)}</p>` : nothing}`;
  }

  notifications() {
    if (!("Notification" in globalThis)) return nothing;
    if (Notification.permission === "granted") return html`<p class="hint">${say("notify_on")}</p>`;
    if (Notification.permission === "denied") return html`<p class="hint">${say("notify_denied")}</p>`;
    return html`<p>${say("notify")}</p><div class="row"><button type="button" class="tiny"
      @click=${() => Notification.requestPermission().then(() => this.requestUpdate())}>${say("notify_ask")}</button></div>`;
  }
}
customElements.define("phone-settings", PhoneSettings);

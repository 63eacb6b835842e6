// <page-header current="phone">: the bar every page begins with: where one is, where one can go, the language.
// What a page puts in `tools` (a lit template) stands at the right end.
import { LitElement, html, nothing, svg } from "lit";
import { LANGUAGES, language, onLanguage, setLanguage, speaker } from "./i18n.js";
import "./theme.js";

// A new page gets its line here.
const PAGES = [
  ["desk", "/"],
  ["phone", "/phone"],
  ["qa", "/qa"],
];
const say = speaker({
  en: { desk: "Desk", phone: "Phone", qa: "Review", pages: "Pages", skip: "Skip to the content", other: "Русский" },
  ru: { desk: "Пульт", phone: "Телефон", qa: "Разбор", pages: "Страницы", skip: "К содержанию", other: "English" },
});
const logo = svg`<svg viewBox="0 0 32 32" aria-hidden="true"><rect width="32" height="32" rx="8" fill="#1d5fd1"></rect>
  <path d="M7 13.5v5M11.5 10v12M16 6.5v19M20.5 10v12M25 13.5v5" fill="none" stroke="#fff" stroke-width="2.6" stroke-linecap="round"></path></svg>`;

export class PageHeader extends LitElement {
  static properties = { current: {}, tools: { attribute: false } };

  createRenderRoot() {
    return this; // one style sheet for the page, and labels that reach everywhere
  }

  connectedCallback() {
    super.connectedCallback();
    this.end = onLanguage(() => this.requestUpdate());
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.end();
  }

  render() {
    const other = Object.keys(LANGUAGES).find((code) => code !== language());
    return html`<header class="bar">
      <a class="skip" href="#content">${say("skip")}</a>
      <div class="brand">${logo}<span>mediaserver</span></div>
      <nav aria-label=${say("pages")}>
        ${PAGES.map(([name, url]) => html`<a href=${url} aria-current=${name === this.current ? "page" : nothing}>${say(name)}</a>`)}
      </nav>
      <div class="tools">
        ${this.tools ?? nothing}
        <button type="button" class="quiet tiny" lang=${other} @click=${() => setLanguage(other)}>${say("other")}</button>
      </div>
    </header>`;
  }
}
customElements.define("page-header", PageHeader);

// Who comes in: by a link, by the issuer, by name and password; and the form for the last two.
import { html, nothing } from "lit";
import { icon } from "../common/icons.js";
import { Refused, address, ask } from "./api.js";
import { say } from "./words.js";

// By the address: all but the call is a filter.
export const asked = () => Object.fromEntries([...new URLSearchParams(location.search)].filter(([name]) => name !== "call"));

export async function begin(app) {
  const token = /^#share=([\w-]+)$/.exec(location.hash)?.[1];
  if (token) {
    history.replaceState(null, "", "/qa"); // the secret does not stay in the address bar
    await app.guarded(async () => app.enter(await ask("POST", "sign-in-shared", { body: { token } })));
    if (!app.me) app.problem = say("link_over");
  } else {
    const failed = /^#sign-in=(\w+)$/.exec(location.hash)?.[1]; // by the issuer
    if (failed) history.replaceState(null, "", "/qa");
    await app.guarded(async () => {
      const me = await ask("GET", "me");
      comeBack();
      app.filters = asked();
      await app.enter(me);
    });
    app.problem = failed && !app.me ? say(`oidc_${failed}`) : "";
  }
  if (app.me === undefined) app.me = null;
  if (!app.me) app.issuer = await ask("GET", "ways").then((said) => said.issuer, () => null);
  app.requestUpdate();
}

async function signIn(app, user, password) {
  app.busy = true;
  app.requestUpdate();
  try {
    app.problem = "";
    await app.enter(await ask("POST", "sign-in", { body: { user, password } }));
  } catch (error) {
    app.problem = !(error instanceof Refused) ? say("unreachable") : error.status === 401 ? say("wrong") : error.status === 429 ? say("slow_down") : error.message;
  }
  app.busy = false;
  app.requestUpdate();
}

// What was asked for before the way to the issuer: after it the address is bare.
const ASKED = "qa-asked";
const leave = () => sessionStorage.setItem(ASKED, location.search);

function comeBack() {
  const asked = sessionStorage.getItem(ASKED) ?? "";
  sessionStorage.removeItem(ASKED);
  if (asked && !location.search) history.replaceState(null, "", `/qa${asked}`);
}

export function signInView(app) {
  const submit = (event) => {
    event.preventDefault();
    const form = new FormData(event.target);
    if (!app.busy) signIn(app, String(form.get("user")).trim(), String(form.get("password")));
  };
  return html`<section class="sign-in">
    <div class="pitch"><span class="mark">${icon("pulse")}</span>
      <h2>${say("lead_title")}</h2><p class="faint">${say("lead")}</p></div>
    <form class="sheet" @submit=${submit} aria-label=${say("sign_in")}>
      <label class="field">${say("user")}<input name="user" autocomplete="username" autocapitalize="none" spellcheck="false" required></label>
      <label class="field">${say("password")}<input name="password" type="password" autocomplete="current-password" required></label>
      <div role="alert">${app.problem ? html`<p class="note bad">${icon("alert")}<span>${app.problem}</span></p>` : nothing}</div>
      <button class="primary" aria-disabled=${app.busy}>${say(app.busy ? "signing_in" : "sign_in")}</button>
      ${app.issuer ? html`<p class="or faint small">${say("or")}</p><a class="button" href=${address("oidc/begin")} @click=${() => leave()}>${say("sign_in_by", { issuer: app.issuer })}</a>` : nothing}
      <small class="hint">${say("sign_in_hint")}</small>
    </form>
  </section>`;
}

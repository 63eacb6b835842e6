// Signing in: one form, and what to do when it does not work.
import { html, nothing } from "lit";
import { icon } from "../common/icons.js";
import { say } from "./words.js";

export function signInView(phone, app) {
  const { line } = phone;
  const waiting = phone.signingIn && line.state !== "refused";
  const problem = line.state === "refused" ? say(line.reason, line.values ?? {}) : waiting && line.state === "lost" ? say("unreachable") : "";
  const submit = (event) => {
    event.preventDefault();
    const form = new FormData(event.target);
    const user = String(form.get("user")).trim();
    const password = String(form.get("password"));
    if (user && password && !waiting) phone.signIn(user, password, form.has("stay"));
  };
  const wrong = line.reason === "wrong_password" ? "true" : nothing;
  return html`<section class="sign-in">
    <div class="pitch">
      <span class="mark">${icon("phone")}</span>
      <h1>${say("sign_in_title")}</h1>
      <p class="faint">${say("sign_in_lead")}</p>
    </div>
    <form class="sheet" @submit=${submit} aria-label=${say("sign_in")}>
      <label class="field">${say("user")}
        <input name="user" autocomplete="username" autocapitalize="none" spellcheck="false" required aria-describedby="user-hint" aria-invalid=${wrong}>
        <small id="user-hint">${say("user_hint")}</small></label>
      <div class="field-with">
        <label class="field">${say("password")}
          <input name="password" type=${app.showPassword ? "text" : "password"} autocomplete="current-password" required aria-describedby="password-hint" aria-invalid=${wrong}></label>
        <button type="button" class="quiet tiny" aria-pressed=${app.showPassword} aria-label=${say("show_password")}
          @click=${() => app.set({ showPassword: !app.showPassword })}>${say(app.showPassword ? "hide" : "show")}</button>
      </div>
      <small class="hint" id="password-hint">${say("password_hint")}</small>
      <label class="check"><input type="checkbox" name="stay"> ${say("stay")}</label>
      <div role="alert">${problem ? html`<p class="note bad">${icon("alert")}<span>${problem}</span></p>` : nothing}</div>
      <button class="primary" aria-disabled=${waiting}>${waiting ? say("signing_in") : say("sign_in")}</button>
    </form>
  </section>`;
}

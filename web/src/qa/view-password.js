// A new password for who is signed in.
import { html, nothing } from "lit";
import { icon } from "../common/icons.js";
import { Refused, ask } from "./api.js";
import { say } from "./words.js";

async function change(app, old, fresh) {
  if (app.busy) return;
  app.busy = true;
  try {
    await ask("POST", "password", { body: { old, new: fresh } });
    app.changing = null;
    app.told = say("password_changed");
  } catch (error) {
    const problems = { 401: "wrong_old", 429: "slow_down" };
    app.changing = { problem: !(error instanceof Refused) ? say("unreachable") : problems[error.status] ? say(problems[error.status]) : error.message };
  }
  app.busy = false;
  app.requestUpdate();
}

export function passwordView(app) {
  const close = () => ((app.changing = null), app.requestUpdate());
  const submit = (event) => {
    event.preventDefault();
    const { old, fresh, again } = event.target.elements;
    if (fresh.value === again.value) return change(app, old.value, fresh.value);
    app.changing = { problem: say("not_same") };
    app.requestUpdate();
  };
  const field = (name, label, complete, min) => html`<label class="field">${say(label)}<input type="password" name=${name} autocomplete=${complete} minlength=${min} required></label>`;
  return html`<div class="veil"><div class="sheet" role="dialog" aria-modal="true" aria-labelledby="password-title"><form class="help" @submit=${submit}>
    <h2 id="password-title">${say("change_password")}</h2>
    <input type="text" autocomplete="username" .value=${app.me.name} readonly hidden>
    ${field("old", "old_password", "current-password", 1)}${field("fresh", "new_password", "new-password", 10)}${field("again", "new_again", "new-password", 10)}
    <div role="alert">${app.changing.problem ? html`<p class="note bad">${icon("alert")}<span>${app.changing.problem}</span></p>` : nothing}</div>
    <div class="row"><button class="primary" aria-disabled=${app.busy}>${say("change_password")}</button><button type="button" @click=${close}>${say("close")}</button></div>
  </form></div></div>`;
}

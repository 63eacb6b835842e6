// Judging a call: the card's questions, what they come to while one answers, and what others said.
import { html, nothing } from "lit";
import { icon } from "../common/icons.js";
import { VALUES, judge } from "./scoring.js";
import { answerOf } from "./view-mine.js";
import { say } from "./words.js";

export function scoreView(app) {
  const { open, cards } = app;
  const { reviews } = open;
  if (!cards.length && !reviews?.reviews.length) return nothing;
  const card = cards.find((one) => one.name === open.card) ?? cards[0];
  return html`<section class="sheet notes" aria-labelledby="score-title">
    <h3 id="score-title">${say("scorecard")}${reviews?.mean === null || !reviews ? nothing : html` <span class="badge">${say("mean", { mean: reviews.mean })}${reviews.reviews.length > 1 ? ` · ${say("spread", { spread: reviews.spread })}` : ""}</span>`}</h3>
    ${reviews?.reviews.length ? html`<ul class="comments">${reviews.reviews.map((one) => html`<li><span class="badge ${one.failed ? "bad" : one.score >= 80 ? "good" : "fair"}">${one.score}</span>
      <p><b>${one.reviewer}</b> <span class="faint">${one.scorecard} · ${say("version", { version: one.version })}${one.failed ? ` · ${say("auto_failed")}` : ""}</span></p>${answerOf(one)}</li>`)}</ul>` : nothing}
    ${reviews?.calibration.map((one) => agreement(one, cards))}
    ${reviews?.hidden ? html`<p class="hint">${say(reviews.blind ? "others_blind" : "others_hidden", { count: reviews.hidden })}</p>` : nothing}
    ${card && app.may("comment") ? form(app, card) : nothing}
  </section>`;
}

// Where several judged by one version of a card: who said what, the question they differ on most first.
function agreement(one, cards) {
  const card = cards.find(({ name, version }) => name === one.scorecard && version === one.version);
  const texts = new Map(card?.sections.flatMap(({ questions }) => questions.map(({ id, text }) => [id, text])));
  return html`<details class="calibration"><summary>${say("calibration")} <span class="faint">${one.scorecard} · ${say("version", { version: one.version })}</span></summary>
    <ul class="comments">${one.questions.map((it) => html`<li><span class="badge ${it.spread >= 25 ? "bad" : it.spread > 0 || it.apart ? "fair" : "good"}">± ${it.spread}</span>
      <p>${texts.get(it.id) ?? it.id}<br><span class="faint small">${Object.entries(it.answers).map(([who, answer]) => `${who}: ${say(`answer_${answer}`)}`).join(" · ")}</span></p></li>`)}</ul></details>`;
}

function form(app, card) {
  const { open } = app;
  const { score, failed, left } = judge(card.sections, open.answers);
  const answer = (id, value) => {
    open.answers = { ...open.answers, [id]: value };
    app.requestUpdate();
  };
  const submit = (event) => {
    event.preventDefault();
    if (left === 0 && score !== null) app.judge({ scorecard: card.name, version: card.version, answers: open.answers });
  };
  const choose = (event) => {
    open.card = event.target.value;
    open.answers = {};
    app.requestUpdate();
  };
  return html`<details class="card" ?open=${Object.keys(open.answers).length > 0}><summary>${say("judge")}</summary>
    <form @submit=${submit}>
      ${app.cards.length > 1 ? html`<label class="field">${say("scorecard")}<select @change=${choose}>${app.cards.map((one) => html`<option ?selected=${one === card}>${one.name}</option>`)}</select></label>` : nothing}
      ${card.sections.map((section) => html`<fieldset><legend>${section.title} <span class="faint">${say("weight", { weight: section.weight })}</span></legend>
        ${section.questions.map((one) => html`<div class="question" role="radiogroup" aria-label=${one.text}><span>${one.text}${one.auto_fail ? html` <span class="badge bad">${say("auto_fail")}</span>` : nothing}</span>
          <span class="choices">${Object.keys(VALUES).map((value) => html`<label class="check"><input type="radio" name=${`${card.name}-${one.id}`} .checked=${open.answers[one.id] === value} @change=${() => answer(one.id, value)}>${say(`answer_${value}`)}</label>`)}</span></div>`)}</fieldset>`)}
      <div class="row"><b class="total ${failed ? "bad" : ""}">${score === null ? "–" : score}</b> <span class="faint">${failed ? say("auto_failed") : left ? say("left", { count: left }) : ""}</span>
        <button class="primary" aria-disabled=${left > 0 || score === null}>${icon("check")}${say("submit")}</button></div>
    </form></details>`;
}

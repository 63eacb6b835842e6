// What an agent reads of the scores of his calls, and answers; and how his answers look to who judged.
import { html, nothing } from "lit";
import { icon } from "../common/icons.js";
import { ask, callPath } from "./api.js";
import { clock, day } from "./format.js";
import { grade } from "./view-reports.js";
import { say } from "./words.js";

const VERDICTS = ["accept", "comment", "dispute"];
const LOOKS = { accept: "good", comment: "note", dispute: "bad" };

export function loadMine(app) {
  return app.guarded(async () => (app.mine = (await ask("GET", "mine")).reviews));
}

// An answer to a score that has been replaced since is no answer to the new one.
export const stale = (answer, review) => answer.judged < review.made;
const open = ({ answer, review }) => answer === null || stale(answer, review);
export const unanswered = (app) => app.mine.filter(open).length;

export function verdictBadge(answer, review) {
  return html`<span class="badge ${LOOKS[answer.verdict]}">${say(`verdict_${answer.verdict}`)}</span>${stale(answer, review) ? html` <span class="badge">${say("verdict_stale")}</span>` : nothing}`;
}

export function mineView(app) {
  return html`<section class="sheet wide" aria-labelledby="mine-title"><h2 id="mine-title">${say("mine_title")} <span class="badge">${app.mine.length}</span></h2>
    ${app.mine.length === 0 ? html`<p class="empty">${say("mine_none")}</p>` : html`<div class="mine">${app.mine.map((one) => entry(app, one))}</div>`}
    <p class="hint">${say("mine_hint")}</p></section>`;
}

function entry(app, one) {
  const { call, review, sections, answer } = one;
  return html`<details class="judged"><summary>
      <span class="badge score ${review.failed ? "bad" : grade(review.score)}">${review.score}</span>
      <span class="judged-of"><b class="number">${call.caller || say("unknown")} → ${call.called}</b><span class="faint small">${day(call.started)} · ${clock(call.length)}${call.queue ? ` · ${call.queue}` : ""} · ${say("judged_by", { who: review.reviewer, day: day(review.made) })}</span></span>
      <span class="judged-state">${answer === null ? html`<span class="badge fair">${say("not_answered")}</span>` : verdictBadge(answer, review)}</span></summary>
    <div class="judged-body">
      ${review.failed ? html`<p class="note bad">${icon("alert")}<span>${say("auto_failed")}</span></p>` : nothing}
      ${sections.map((section) => html`<h3>${section.title}</h3><ul class="said">${section.questions.map((question) => html`<li><span>${question.text}${question.auto_fail ? html` <span class="badge bad">${say("auto_fail")}</span>` : nothing}</span>
        <b class=${review.answers[question.id] ?? ""}>${say(`answer_${review.answers[question.id] ?? "na"}`)}</b></li>`)}</ul>`)}
      <div class="row"><button type="button" class="tiny" @click=${() => app.openCall(call.id)}>${icon("play")}${say("hear_call")}</button></div>
      ${answer ? html`<blockquote><p>${verdictBadge(answer, review)} <span class="faint small">${day(answer.made)}</span></p>${answer.text ? html`<p class="text">${answer.text}</p>` : nothing}</blockquote>` : nothing}
      ${form(app, one)}
    </div></details>`;
}

function form(app, { call, review, answer }) {
  const submit = (event) => {
    event.preventDefault();
    const given = Object.fromEntries(new FormData(event.target));
    const rest = `/reviews/${encodeURIComponent(review.reviewer)}/${encodeURIComponent(review.scorecard)}/answer`;
    app.guarded(async () => {
      await ask("PUT", callPath(call.id, rest), { body: { verdict: given.verdict, text: given.text.trim(), judged: review.made } });
      app.told = say("answer_sent");
      await loadMine(app);
    });
  };
  // What is no acceptance has a reason.
  const needed = (event) => (event.currentTarget.elements.text.required = event.currentTarget.elements.verdict.value !== "accept");
  const name = `verdict-${call.id}-${review.reviewer}-${review.scorecard}`;
  return html`<form class="answer" @submit=${submit} @change=${needed} aria-label=${say("your_answer")}>
    <div class="choices" role="radiogroup" aria-label=${say("your_answer")}>${VERDICTS.map((verdict) => html`<label class="check"><input type="radio" name="verdict" value=${verdict} ?checked=${verdict === "accept"}>${say(`verdict_${verdict}`)}</label>`)}</div>
    <label class="field" for=${name}>${say("answer_text")}<textarea id=${name} name="text" rows="2" maxlength="4000"></textarea></label>
    <div class="row"><button class="primary">${icon("send")}${say(answer ? "answer_again" : "answer_send")}</button></div></form>`;
}

// For who judged: under the review, and in the list of answers.
export function answerOf(one) {
  return one.answer ? html`<p class="answered">${verdictBadge(one.answer, one)} <b>${one.answer.agent}</b>${one.answer.text ? html` <span class="text">${one.answer.text}</span>` : nothing}</p>` : nothing;
}

export function answersView(app) {
  if (!app.answers.length) return nothing;
  return html`<h3 id="answers-title">${say("answers_title")} <span class="badge">${app.answers.length}</span></h3>
    <ul class="assigned" aria-labelledby="answers-title">${app.answers.map(({ call, review, answer }) => html`<li><button type="button" class="call-row" @click=${() => app.openCall(call.id)}>
      <span class="line1"><b class="number">${call.caller || say("unknown")} → ${call.called}</b><span>${verdictBadge(answer, review)}</span></span>
      <span class="faint small">${answer.agent} · ${day(answer.made)} · ${say("answer_to", { score: review.score, who: review.reviewer })}</span>
      ${answer.text ? html`<span class="text">${answer.text}</span>` : nothing}</button></li>`)}</ul>`;
}

// Keys for hands that stay on the keyboard. They can be switched off (WCAG 2.1.4), and never act while one is writing.
import { RATES, partiesOf } from "./player.js";

const KEY = "qa-keys";
export const keysOn = () => {
  try {
    return localStorage.getItem(KEY) !== "off";
  } catch {
    return true;
  }
};
export const setKeys = (on) => {
  try {
    localStorage.setItem(KEY, on ? "on" : "off");
  } catch {
    // lasts as long as the page does
  }
};

const writing = (it) => it?.closest?.("input, textarea, select, [contenteditable]");
const pressing = (it) => it?.closest?.("button, a, summary");

export function handle(event, app) {
  if (event.key === "Escape" && (app.help || app.changing)) {
    app.help = false;
    app.changing = null;
    return app.requestUpdate();
  }
  if (!app.me || event.ctrlKey || event.metaKey || event.altKey || writing(event.target) || app.help || app.changing || !keysOn()) return;
  const { player, open } = app;
  const acts = {
    "/": () => app.querySelector("input[name=number]")?.focus(),
    "?": () => ((app.help = true), app.requestUpdate()),
    j: () => app.step(1),
    k: () => app.step(-1),
  };
  if (open) {
    Object.assign(acts, {
      Escape: () => app.may("find") && app.close(),
      " ": () => player.toggle(),
      ArrowLeft: () => player.seek(player.time - 5),
      ArrowRight: () => player.seek(player.time + 5),
      ",": () => player.faster(-1),
      ".": () => player.faster(1),
      0: () => player.setRate(RATES[2]),
      1: () => player.mute(0),
      2: () => partiesOf(open) > 1 && player.mute(1),
      3: () => player.only(0),
      4: () => partiesOf(open) > 1 && player.only(1),
      s: () => ((player.skipping = !player.skipping), player.changed()),
      l: () => app.markLoop(),
      n: () => app.nextEvent(1),
      p: () => app.nextEvent(-1),
      c: () => app.querySelector("textarea[name=comment]")?.focus(),
      "+": () => app.zoom(0.5),
      "-": () => app.zoom(2),
    });
  }
  const act = acts[event.key];
  if (!act || (event.key === " " && pressing(event.target))) return;
  event.preventDefault();
  act();
}

// Keys without a mouse: single letters act only in a call, never while somebody writes, and can be switched off
// (WCAG 2.2, 2.1.4). Everything they do has a button too.
const KEY = "phone.shortcuts";

export function shortcutsOn() {
  try {
    return localStorage.getItem(KEY) !== "off";
  } catch {
    return true;
  }
}

export function setShortcuts(on) {
  try {
    localStorage.setItem(KEY, on ? "on" : "off");
  } catch {
    // lasts as long as the page, then
  }
}

export function handle(event, phone) {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey) return;
  if (event.altKey) {
    const [ringing] = phone.ringingCalls();
    if (event.key === "Enter" && ringing) {
      event.preventDefault();
      phone.answer(ringing);
    }
    return;
  }
  const call = phone.current;
  if (!shortcutsOn() || call?.state !== "talking" || writes(event.target)) return;
  const act = {
    m: () => call.mute(!call.muted),
    h: () => call.hold(!call.held),
    v: () => call.tracks.setCamera(!call.tracks.camera),
  }[event.key.toLowerCase()] ?? (/^[0-9*#]$/.test(event.key) ? () => phone.press(event.key) : null);
  if (act && !event.repeat) {
    event.preventDefault();
    act();
  }
}

function writes(target) {
  return target instanceof HTMLInputElement || target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement;
}

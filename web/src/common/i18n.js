// Which language a page speaks: the one chosen before on this machine, else the browser's, else English.
// A page gives its texts as { en: {…}, ru: {…} } and asks by key; a text may hold {names} and, for counts, three forms
// separated by "|" (one, few, many: Russian needs them; English uses the first and the last).
const KEY = "language";
export const LANGUAGES = { en: "English", ru: "Русский" };

const listeners = new Set();
let current = pick(remembered(), globalThis.navigator?.languages ?? ["en"]);

function remembered() {
  try {
    return globalThis.localStorage?.getItem(KEY);
  } catch {
    return null; // storage is switched off: the choice lasts as long as the page
  }
}

export function pick(chosen, wanted) {
  if (chosen in LANGUAGES) return chosen;
  for (const tag of wanted) {
    const language = tag.slice(0, 2).toLowerCase();
    if (language in LANGUAGES) return language;
  }
  return "en";
}

export const language = () => current;

export function setLanguage(code) {
  current = code in LANGUAGES ? code : "en";
  try {
    localStorage.setItem(KEY, current);
  } catch {
    // as above
  }
  document.documentElement.lang = current;
  for (const tell of listeners) tell(current);
}

// Calls back at every change; returns what ends that.
export function onLanguage(tell) {
  listeners.add(tell);
  return () => listeners.delete(tell);
}

export function speaker(texts) {
  return (key, values = {}) => fill(texts[current][key] ?? texts.en[key] ?? key, values, current);
}

export function fill(text, values, code) {
  const chosen = "count" in values && text.includes("|") ? form(text.split("|"), values.count, code) : text;
  return chosen.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

function form(forms, count, code) {
  const kind = new Intl.PluralRules(code).select(count);
  if (kind === "one") return forms[0];
  return kind === "few" ? forms[1] : forms[forms.length - 1];
}

if (globalThis.document) document.documentElement.lang = current;

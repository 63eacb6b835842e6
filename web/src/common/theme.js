// Light, dark, or as the system has it; remembered on this machine. base.css does the rest.
const KEY = "theme";
export const THEMES = ["auto", "light", "dark"];

export function theme() {
  try {
    const kept = localStorage.getItem(KEY);
    return THEMES.includes(kept) ? kept : "auto";
  } catch {
    return "auto";
  }
}

export function setTheme(name) {
  try {
    localStorage.setItem(KEY, name);
  } catch {
    // lasts as long as the page, then
  }
  document.documentElement.dataset.theme = name;
}

document.documentElement.dataset.theme = theme();

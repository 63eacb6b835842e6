// The calls this browser made and took, newest first: a list of its user's own, kept on this machine only.
const ENTRIES_MAX = 100;
const key = (user) => `phone.calls.${user}`;

// [{ with, name, way: "out" | "in" | "missed", at (ms since 1970), seconds, cause }]
export function read(user, store = globalThis.localStorage) {
  try {
    const list = JSON.parse(store.getItem(key(user)));
    return Array.isArray(list) ? list.filter((entry) => typeof entry?.with === "string").slice(0, ENTRIES_MAX) : [];
  } catch {
    return [];
  }
}

export function add(user, entry, store = globalThis.localStorage) {
  const list = [entry, ...read(user, store)].slice(0, ENTRIES_MAX);
  write(user, list, store);
  return list;
}

export function clear(user, store = globalThis.localStorage) {
  write(user, [], store);
  return [];
}

function write(user, list, store) {
  try {
    if (list.length) store.setItem(key(user), JSON.stringify(list));
    else store.removeItem(key(user));
  } catch {
    // full or switched off: the list lives as long as the page
  }
}

// "14:05", "yesterday", "12 Mar": as short as still tells.
export function when(at, now, code) {
  const then = new Date(at);
  const days = Math.round((midnight(now) - midnight(at)) / 86_400_000);
  if (days === 0) return then.toLocaleTimeString(code, { hour: "2-digit", minute: "2-digit" });
  if (days === 1) return new Intl.RelativeTimeFormat(code, { numeric: "auto" }).format(-1, "day");
  return then.toLocaleDateString(code, { day: "numeric", month: "short" });
}

function midnight(at) {
  const day = new Date(at);
  day.setHours(0, 0, 0, 0);
  return day.getTime();
}

export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const hours = Math.floor(whole / 3600);
  const rest = `${String(Math.floor((whole % 3600) / 60)).padStart(hours ? 2 : 1, "0")}:${String(whole % 60).padStart(2, "0")}`;
  return hours ? `${hours}:${rest}` : rest;
}

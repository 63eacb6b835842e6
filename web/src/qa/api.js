// What the page asks the server: one function. The session is a cookie that no script can read; what a change needs
// besides, the CSRF token, comes with `me` and stays in memory.
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

const ADDRESS = "/api/v1/review/";
let csrf = "";

export const address = (path) => ADDRESS + path;
export const callPath = (id, rest = "") => `calls/${encodeURIComponent(id)}${rest}`;

export function take(me) {
  csrf = me.csrf;
  return me;
}

export async function ask(method, path, { body, signal, keepalive, as = "json" } = {}) {
  const headers = { "X-Requested-With": "page" };
  if (csrf && method !== "GET") headers["X-CSRF-Token"] = csrf;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const answer = await fetch(ADDRESS + path, {
    method, headers, signal, keepalive, credentials: "same-origin", body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (!answer.ok) {
    const said = await answer.json().catch(() => ({}));
    throw new Refused(answer.status, said.error?.message ?? String(answer.status));
  }
  if (answer.status === 204) return null;
  return as === "json" ? answer.json() : answer.arrayBuffer();
}

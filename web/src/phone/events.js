// The server's news about our calls: quality, recording, room, chat. A JSON WebSocket beside the SIP one; calls live
// without it, so a server or network that has none takes nothing but these news away.
const RENEW_BEFORE_S = 60;
const RETRY_MS = [1_000, 2_000, 5_000, 10_000, 30_000];

// Asks for a token with the password, once, at sign-in. null: this server has none, or refuses.
export async function session(user, password) {
  try {
    const answer = await fetch("/api/v1/session", {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-Requested-With": "phone" },
      body: JSON.stringify({ user, password }),
    });
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}

export class Events {
  // heard(message): each message of the server. changed(): connected or not. renewed(token, expires): keep it.
  constructor({ heard, changed, renewed }) {
    Object.assign(this, { heard, changed, renewed });
    this.ready = false;
    this.socket = null;
    this.token = null;
    this.tries = 0;
    this.timers = new Set();
    this.asked = 0;
    this.asking = new Map(); // number of a message of ours: who waits for its answer
  }

  start(token, expires, path = "/ws/v1") {
    this.token = token;
    this.expires = expires;
    this.path = path;
    this.open();
  }

  stop() {
    this.token = null;
    for (const timer of this.timers) clearTimeout(timer);
    this.timers.clear();
    this.socket?.close();
    this.socket = null;
    this.ready = false;
  }

  send(message) {
    if (!this.ready) return false;
    this.socket.send(JSON.stringify(message));
    return true;
  }

  // True when the server has done it; false when it refused, or nobody listens.
  ask(message) {
    const id = ++this.asked;
    if (!this.send({ ...message, id })) return Promise.resolve(false);
    return new Promise((answered) => this.asking.set(id, answered));
  }

  answered(id, done) {
    this.asking.get(id)?.(done);
    this.asking.delete(id);
  }

  open() {
    if (!this.token || this.socket) return;
    const url = new URL(this.path, location.href);
    url.protocol = url.protocol === "http:" ? "ws:" : "wss:";
    const socket = (this.socket = new WebSocket(url));
    socket.onopen = () => socket.send(JSON.stringify({ type: "hello", token: this.token }));
    socket.onmessage = (event) => this.take(event.data);
    socket.onclose = (event) => this.closed(socket, event.code);
  }

  // The network has changed: a connection by the old one would be missed for minutes.
  again() {
    const { socket } = this;
    if (!socket) return;
    this.closed(socket, 0);
    socket.close();
    this.open();
  }

  take(data) {
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return; // not ours to understand
    }
    if (message.type === "welcome") {
      this.ready = true;
      this.tries = 0;
      this.changed();
      this.planRenewal();
    } else if (message.type === "token") {
      this.token = message.token;
      this.expires = message.expires;
      this.renewed(message.token, message.expires);
      this.planRenewal();
    }
    if (message.type === "ok" || message.type === "error") this.answered(message.id, message.type === "ok");
    else this.heard(message);
  }

  planRenewal() {
    const inMs = (this.expires - RENEW_BEFORE_S) * 1000 - Date.now();
    this.later(() => this.send({ type: "renew" }), Math.max(5_000, inMs));
  }

  closed(socket, code) {
    if (socket !== this.socket) return;
    this.socket = null;
    this.ready = false;
    for (const id of [...this.asking.keys()]) this.answered(id, false);
    this.changed();
    // 4401: the token ended while we were away; only a new sign-in gives another one.
    if (code === 4401 || !this.token || this.expires * 1000 < Date.now()) return;
    this.later(() => this.open(), RETRY_MS[Math.min(this.tries++, RETRY_MS.length - 1)]);
  }

  later(work, ms) {
    const timer = setTimeout(() => {
      this.timers.delete(timer);
      work();
    }, Math.min(ms, 2 ** 31 - 1));
    this.timers.add(timer);
  }
}

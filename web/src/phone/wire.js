// The WebSocket under JsSIP, one that outlives the network it was opened on. JsSIP ends every call with a request under
// way when its socket breaks; this one opens another connection in its place and keeps what was to be sent meanwhile.
// Only when that takes too long does JsSIP hear of it. Implements JsSIP's Socket interface; pings are those of RFC 5626 §3.5.1.
const PONG_MS = 800; // longer than any sane round trip; a dead path answers never
const OPEN_MS = [500, 500, 700, 1_000, 1_500, 3_000]; // for each attempt: what was sent before the path was there is sent again late
const RETRY_MS = [0, 50, 100, 200, 300, 500]; // before each; where no path is at all an attempt fails at once
const GIVE_UP_MS = 25_000; // JsSIP's requests wait 32 s for an answer, and a call with one that has had none ends
const FIRST_OPEN_MS = 6_000;
const WAITING_MAX = 32; // messages kept while another connection is opened

export class Wire extends EventTarget {
  // Tells "broken" and "mended".
  constructor(url) {
    super();
    this.url = url;
    this.via_transport = new URL(url).protocol === "wss:" ? "WSS" : "WS";
    this.sip_uri = `sip:${new URL(url).host};transport=ws`;
    this.socket = null;
    this.asking = []; // who waits for a pong
    this.waiting = null; // messages, while a broken connection is being replaced
  }

  // -- for JsSIP

  connect() {
    if (this.socket) return;
    this.closing = false;
    this.begin(() => this.onconnect?.(), (code, reason) => this.ondisconnect?.(true, code, reason));
  }

  disconnect() {
    this.closing = true;
    this.waiting = null;
    clearTimeout(this.retry);
    this.drop();
  }

  send(message) {
    if (this.waiting) {
      if (this.waiting.length >= WAITING_MAX) return false;
      this.waiting.push(message);
      return true;
    }
    if (this.socket?.readyState !== WebSocket.OPEN) return false;
    this.socket.send(message);
    return true;
  }

  isConnected() {
    return this.socket?.readyState === WebSocket.OPEN || this.waiting !== null;
  }

  isConnecting() {
    return this.socket?.readyState === WebSocket.CONNECTING && this.waiting === null;
  }

  // -- staying alive

  // Whether the other end answers now. A wire that does not is replaced; true when one that works is there.
  async alive(pongMs = PONG_MS) {
    const { socket } = this;
    if (this.closing || !socket) return false;
    if (this.waiting === null && !(await this.ping(pongMs)) && socket === this.socket) this.replace();
    return this.works();
  }

  // The same in haste: another connection is opened beside the old one at once, and whichever answers first is kept.
  async doubt() {
    if (this.closing) return false;
    if (this.waiting !== null) this.replace(); // the attempt under way may have begun on the path before
    else await (this.doubting ??= this.race().finally(() => (this.doubting = null)));
    return this.works();
  }

  async race() {
    const former = this.socket;
    if (former?.readyState !== WebSocket.OPEN) return;
    const rival = new WebSocket(this.url, "sip");
    const opened = new Promise((told) => {
      rival.onopen = () => told("opened");
    });
    const asked = this.ping(PONG_MS).then((answered) => (answered ? "answered" : "silent"));
    const first = await Promise.race([opened, asked]);
    rival.onopen = null;
    const current = former === this.socket && !this.closing;
    if (current && first === "opened") {
      this.drop();
      this.waiting = [];
      this.dispatchEvent(new Event("broken"));
      this.keep(rival);
      this.mended();
      return;
    }
    rival.close();
    if (current && first === "silent") this.replace();
  }

  works() {
    if (this.waiting === null) return this.socket?.readyState === WebSocket.OPEN;
    return new Promise((told) => {
      this.addEventListener("mended", () => told(true), { once: true });
      this.addEventListener("lost", () => told(false), { once: true });
    });
  }

  ping(pongMs) {
    const { socket } = this;
    if (socket.readyState !== WebSocket.OPEN) return Promise.resolve(false);
    return new Promise((told) => {
      const timer = setTimeout(() => told(false), pongMs);
      this.asking.push(() => {
        clearTimeout(timer);
        told(true);
      });
      socket.send("\r\n\r\n");
    });
  }

  replace(attempt = 0) {
    if (this.closing) return;
    this.drop();
    clearTimeout(this.retry);
    if (this.waiting === null) {
      this.waiting = [];
      this.brokenAt = performance.now();
      this.dispatchEvent(new Event("broken"));
    }
    if (performance.now() - this.brokenAt > GIVE_UP_MS) {
      this.waiting = null;
      this.dispatchEvent(new Event("lost"));
      this.ondisconnect?.(true, 1006, "network");
      return;
    }
    const of = (list) => list[Math.min(attempt, list.length - 1)];
    const again = () => this.begin(() => this.mended(), () => this.replace(attempt + 1), of(OPEN_MS));
    this.retry = setTimeout(again, of(RETRY_MS));
  }

  mended() {
    const kept = this.waiting ?? [];
    this.waiting = null;
    this.dispatchEvent(new Event("mended"));
    for (const message of kept) this.send(message);
  }

  begin(opened, failed, openMs = FIRST_OPEN_MS) {
    const socket = (this.socket = new WebSocket(this.url, "sip"));
    const late = setTimeout(() => socket === this.socket && (this.drop(), failed(1006, "timeout")), openMs);
    socket.onopen = () => {
      clearTimeout(late);
      this.keep(socket);
      opened();
    };
    socket.onclose = ({ code, reason }) => {
      clearTimeout(late);
      if (socket !== this.socket) return;
      this.socket = null;
      failed(code, reason);
    };
  }

  // An open one.
  keep(socket) {
    this.socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onclose = () => socket === this.socket && this.replace();
    socket.onmessage = ({ data }) => {
      if (data === "\r\n") for (const pong of this.asking.splice(0)) pong();
      else this.ondata?.(data);
    };
  }

  drop() {
    const { socket } = this;
    this.socket = null;
    if (!socket) return;
    socket.onopen = socket.onclose = socket.onmessage = null;
    socket.close();
  }
}

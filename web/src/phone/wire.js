// The WebSocket under JsSIP, one that outlives the network it was opened on. JsSIP ends every call with a request under
// way when its socket breaks; this one opens another connection in its place and keeps what was to be sent meanwhile.
// Only when that takes too long does JsSIP hear of it. Implements JsSIP's Socket interface; pings are those of RFC 5626 §3.5.1.
const PONG_MS = 800; // longer than any sane round trip; a dead path answers never
const OPEN_MS = 1_500; // for one attempt: over a path that has just come up
const RETRY_MS = [0, 150, 400, 900, 1_500];
const WAITING_MAX = 32; // messages kept while another connection is opened

export class Wire extends EventTarget {
  // Tells "broken" and "mended".
  constructor(url) {
    super();
    this.url = url;
    this.via_transport = new URL(url).protocol === "wss:" ? "WSS" : "WS";
    this.sip_uri = `sip:${new URL(url).host};transport=ws`;
    this.socket = null;
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
    if (this.closing || !this.socket) return false;
    if (this.waiting === null && (await this.ping(pongMs))) return true;
    if (this.waiting === null) this.replace();
    return new Promise((told) => {
      this.addEventListener("mended", () => told(true), { once: true });
      this.addEventListener("lost", () => told(false), { once: true });
    });
  }

  ping(pongMs) {
    const { socket } = this;
    if (socket.readyState !== WebSocket.OPEN) return false;
    return new Promise((told) => {
      const timer = setTimeout(() => told(false), pongMs);
      this.pong = () => {
        clearTimeout(timer);
        told(true);
      };
      socket.send("\r\n\r\n");
    });
  }

  replace(attempt = 0) {
    if (this.closing) return;
    this.drop();
    if (this.waiting === null) {
      this.waiting = [];
      this.dispatchEvent(new Event("broken"));
    }
    if (attempt >= RETRY_MS.length) {
      this.waiting = null;
      this.dispatchEvent(new Event("lost"));
      this.ondisconnect?.(true, 1006, "network");
      return;
    }
    this.retry = setTimeout(() => this.begin(() => this.mended(), () => this.replace(attempt + 1)), RETRY_MS[attempt]);
  }

  mended() {
    const kept = this.waiting ?? [];
    this.waiting = null;
    this.dispatchEvent(new Event("mended"));
    for (const message of kept) this.send(message);
  }

  begin(opened, failed) {
    const socket = (this.socket = new WebSocket(this.url, "sip"));
    socket.binaryType = "arraybuffer";
    const late = setTimeout(() => socket === this.socket && (this.drop(), failed(1006, "timeout")), OPEN_MS * (this.waiting ? 1 : 4));
    socket.onopen = () => {
      clearTimeout(late);
      socket.onclose = () => socket === this.socket && this.replace();
      opened();
    };
    socket.onclose = ({ code, reason }) => {
      clearTimeout(late);
      if (socket !== this.socket) return;
      this.socket = null;
      failed(code, reason);
    };
    socket.onmessage = ({ data }) => {
      if (data === "\r\n") this.pong?.();
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

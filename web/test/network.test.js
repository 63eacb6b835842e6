// Coming back after the network changed, with time and peers of our own.
import assert from "node:assert/strict";
import { test } from "node:test";
import { asOffer } from "../src/phone/comeback.js";
import { Network } from "../src/phone/network.js";
import { Wire } from "../src/phone/wire.js";

class Peer extends EventTarget {
  constructor() {
    super();
    this.connectionState = "new";
    this.heardAt = -Infinity;
    this.closed = false;
    this.plays = true;
  }

  getReceivers() {
    const timestamp = performance.timeOrigin + this.heardAt;
    const track = { kind: "audio" };
    const counted = new Map([["in", this.plays ? {} : { lastPacketReceivedTimestamp: timestamp }]]);
    const played = this.plays && this.heardAt > -Infinity ? [{ timestamp }] : [];
    return [{ track, getSynchronizationSources: () => played, getStats: async () => counted }];
  }

  become(state) {
    this.connectionState = state;
    this.dispatchEvent(new Event("connectionstatechange"));
  }

  // A packet has come just now.
  hear() {
    this.heardAt = performance.now();
  }

  close() {
    this.closed = true;
  }
}

// A call that stands, and what is asked of it. answers: to offers, in their order.
function standing({ answers = [true], works = true } = {}) {
  const first = new Peer();
  const made = [];
  const said = [];
  const call = {
    state: "talking", live: true, held: false, heldByOther: false, peer: first, session: {}, problem: null,
    tracks: { camera: null, screen: null, moved: (peer) => said.push(["moved", peer]) },
    pcConfig: () => ({}),
    changed() {},
    arrived: (event) => said.push(["arrived", event]),
    later: (work, ms) => setTimeout(work, Math.min(ms, 5)),
    line: { doubt: async () => works },
    renegotiate: async (constraints, before = () => {}) => {
      before();
      said.push(["offer", constraints?.iceRestart ? "restart" : made.indexOf(call.peer)]);
      return answers.length > 1 ? answers.shift() : answers[0];
    },
  };
  const network = new Network(call, async (former) => {
    const peer = new Peer();
    made.push(peer);
    said.push(["made", former === first ? "first" : made.indexOf(former)]);
    setTimeout(() => network.willStand && peer.become("connected"), 5);
    return { peer, tracks: [`track of ${made.length}`], close: () => peer.close() };
  });
  network.willStand = true;
  network.watch(first);
  first.become("connected");
  return { call, network, first, made, said };
}

test("a call whose sound has stopped goes on by a connection made anew, and the former one ends when that stands", async () => {
  const { call, network, first, made, said } = standing();
  await network.restore();
  assert.deepEqual(said, [["made", "first"], ["offer", 0], ["moved", made[0]], ["arrived", "track of 1"]]);
  assert.equal(call.peer, made[0]);
  assert.equal(call.session._connection, made[0]);
  assert.deepEqual([first.closed, made[0].closed, network.state], [true, false, "ok"]);
});

test("a second change replaces the connection that the first one brought", async () => {
  const { call, network, made, said } = standing();
  await network.restore();
  await network.restore();
  assert.deepEqual(said.filter(([what]) => what === "made"), [["made", "first"], ["made", 0]]);
  assert.equal(call.peer, made[1]);
  assert.deepEqual(made.map((peer) => peer.closed), [true, false]);
});

test("while sound arrives nothing is restored, whoever asks", async () => {
  const { network, first, said } = standing();
  first.hear();
  await network.restore();
  assert.deepEqual(said, []);
});

test("sound that arrives and is not played arrives all the same", async () => {
  const { network, first, said } = standing();
  first.plays = false;
  first.hear();
  await network.restore();
  assert.deepEqual(said, []);
});

test("sound that is back by the time the line answers leaves the call alone", async () => {
  const { call, network, first, said } = standing();
  call.line.doubt = async () => (first.hear(), true);
  await network.restore();
  assert.deepEqual([said, network.state, call.peer], [[], "ok", first]);
});

test("a server that refuses another connection is asked for an ICE restart, then and later", async () => {
  const { call, network, first, made, said } = standing({ answers: [false, true] });
  call.renegotiate = ((offer) => async (...what) => {
    const answered = await offer(...what);
    if (what[0]?.iceRestart) first.hear();
    return answered;
  })(call.renegotiate);
  network.willStand = false;
  await network.restore();
  assert.deepEqual(said, [["made", "first"], ["offer", 0], ["offer", "restart"]]);
  assert.deepEqual([call.peer, made[0].closed, first.closed], [first, true, false]);
  first.heardAt = -Infinity;
  first.become("connected");
  await network.restore();
  assert.equal(made.length, 1);
});

test("a new connection that does not come about makes room for the former one when that works again", async () => {
  const { call, network, first, made, said } = standing();
  network.willStand = false;
  const restored = network.restore();
  while (said.length < 2) await new Promise((done) => setTimeout(done, 5));
  const flowing = setInterval(() => first.hear(), 20);
  await restored;
  clearInterval(flowing);
  assert.deepEqual(said.slice(0, 3), [["made", "first"], ["offer", 0], ["offer", -1]]);
  assert.deepEqual([call.peer, made[0].closed, first.closed, network.state], [first, true, false, "ok"]);
});

test("a page that stood still itself does not take that for a dead network", async () => {
  const { network, first } = standing();
  let asked = 0;
  network.call.line.doubt = async () => (asked++, false);
  first.heardAt = performance.now() - 400;
  network.lookedAt = performance.now() - 20_000; // the last look was before the laptop slept
  await network.listen();
  assert.equal(asked, 0);
  network.pulse.stopped(20);
  await network.listen();
  assert.equal(asked, 1);
});

test("what the other side described becomes an offer that leads nowhere yet", () => {
  const answer = "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=setup:passive\r\na=candidate:1 1 udp 1 192.0.2.1 5 typ host\r\na=end-of-candidates\r\na=mid:0\r\n";
  assert.equal(asOffer(answer), "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=setup:actpass\r\na=mid:0\r\n");
});

// -- the line's socket

class Socket {
  static OPEN = 1;
  static all = [];

  constructor() {
    this.readyState = 0;
    this.sent = [];
    Socket.all.push(this);
  }

  open() {
    this.readyState = 1;
    this.onopen?.();
  }

  send(message) {
    this.sent.push(message);
  }

  close() {
    this.readyState = 3;
  }
}

function openWire() {
  globalThis.WebSocket = Socket;
  Socket.all = [];
  const wire = new Wire("wss://phone.example/ws");
  const told = [];
  for (const name of ["broken", "mended", "lost"]) wire.addEventListener(name, () => told.push(name));
  wire.connect();
  Socket.all[0].open();
  return { wire, told, sockets: Socket.all };
}

test("of two connections the old one is kept when it answers first", async () => {
  const { wire, told, sockets } = openWire();
  const works = wire.doubt();
  sockets[0].onmessage({ data: "\r\n" });
  assert.equal(await works, true);
  assert.deepEqual([told, sockets.map((socket) => socket.readyState)], [[], [1, 3]]);
  assert.equal(wire.socket, sockets[0]);
});

test("of two connections the new one is taken when the old one is silent, and everybody who doubts gets it", async () => {
  const { wire, told, sockets } = openWire();
  const both = [wire.doubt(), wire.doubt()];
  assert.equal(sockets.length, 2);
  sockets[1].open();
  assert.deepEqual(await Promise.all(both), [true, true]);
  assert.deepEqual(told, ["broken", "mended"]);
  assert.equal(sockets[0].readyState, 3);
  wire.send("a request");
  assert.deepEqual(sockets[1].sent, ["a request"]);
});

test("what is sent while there is no path leaves by the next connection that opens", async (t) => {
  const { wire, told, sockets } = openWire();
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const works = wire.doubt();
  t.mock.timers.tick(800); // no pong, no other connection
  await new Promise((done) => setImmediate(done));
  wire.send("a request");
  t.mock.timers.tick(0);
  sockets.at(-1).onclose({ code: 1006, reason: "" }); // no route
  t.mock.timers.tick(50);
  sockets.at(-1).open();
  assert.equal(await works, true);
  assert.deepEqual([told, sockets.at(-1).sent], [["broken", "mended"], ["a request"]]);
});

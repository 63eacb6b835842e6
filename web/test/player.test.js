import assert from "node:assert/strict";
import { test } from "node:test";

// What of a browser the player touches; time passes when a test says so.
class FakeAudio extends EventTarget {
  constructor() {
    super();
    Object.assign(this, { currentTime: 0, paused: true, ended: false, seeking: false, duration: 60, playbackRate: 1, src: "" });
  }
  play() {
    this.paused = false;
    return Promise.resolve();
  }
  pause() {
    this.paused = true;
    this.dispatchEvent(new Event("pause"));
  }
  load() {}
  getAttribute() {
    return this.src;
  }
  removeAttribute() {
    this.src = "";
  }
}
globalThis.Audio = FakeAudio;
globalThis.setInterval = () => 0;
globalThis.addEventListener = () => {};
const { Player, RATES, partiesOf } = await import("../src/qa/player.js");

function playing(options = {}) {
  const told = [];
  const player = new Player((url, seconds) => told.push([url, seconds]));
  player.load("/a.wav", options);
  player.audio.play();
  const run = (seconds) => {
    for (let passed = 0; passed < seconds - 1e-9; passed += 0.04) {
      player.audio.currentTime += 0.04 * player.audio.playbackRate;
      player.tick();
    }
  };
  player.tick();
  return { player, told, run };
}

const rounded = (told) => told.map(([, seconds]) => seconds.map((pair) => pair.map((value) => Math.round(value * 10) / 10)));

test("what was heard is told as stretches, and only that", () => {
  const { player, told, run } = playing();
  run(2);
  player.seek(10);
  run(1);
  player.audio.pause();
  assert.deepEqual(rounded(told), [[[0, 2], [10, 11]]]);
  player.report();
  assert.equal(told.length, 1, "nothing is told twice");
});

test("at four times the speed the seconds are those of the recording", () => {
  const { player, told, run } = playing();
  player.setRate(4);
  run(2);
  player.audio.pause();
  assert.deepEqual(rounded(told), [[[0, 8]]]);
});

test("silence is skipped when asked for, and what was skipped was not heard", () => {
  const { player, told, run } = playing({ silences: [[2, 20]] });
  run(4);
  assert.ok(player.time < 5);
  player.seek(0);
  player.heard = [];
  player.skipping = true;
  run(4);
  assert.ok(player.time > 20 && player.time < 22);
  player.audio.pause();
  const [[first, second]] = rounded(told);
  assert.ok(first[1] < 2.6 && second[0] > 19.5, JSON.stringify(told));
});

test("a loop repeats its stretch, and one too short is none", () => {
  const { player, run } = playing();
  player.setLoop({ from: 1, to: 2 });
  run(10);
  assert.ok(player.time >= 1 && player.time <= 2.1);
  player.setLoop({ from: 1, to: 1.1 });
  assert.equal(player.loop, null);
});

test("a part of a recording keeps the times of the whole", () => {
  const { player, told, run } = playing({ offset: 30 });
  run(1);
  assert.equal(Math.round(player.time), 31);
  player.seek(33);
  assert.equal(player.audio.currentTime, 3);
  player.seek(0);
  assert.equal(player.audio.currentTime, 0);
  player.audio.pause();
  assert.deepEqual(rounded(told), [[[30, 31]]]);
});

test("speed goes by the steps there are, no further", () => {
  const { player } = playing();
  for (let step = 0; step < 20; step++) player.faster(1);
  assert.equal(player.rate, RATES.at(-1));
  for (let step = 0; step < 20; step++) player.faster(-1);
  assert.equal(player.audio.playbackRate, 0.5);
});

test("solo goes before mute, and leaves it as it was", () => {
  const { player } = playing();
  const gains = [0, 1].map(() => ({ gain: { value: 1, setTargetAtTime(value) { this.value = value; } } }));
  Object.assign(player, { gains, context: { currentTime: 0 } });
  const heard = () => gains.map((one) => one.gain.value);
  player.mute(0);
  assert.deepEqual(heard(), [0, 1]);
  player.only(0);
  assert.deepEqual(heard(), [1, 0]);
  player.only(0);
  assert.deepEqual(heard(), [0, 1]);
});

test("a recording of one party has nobody to be heard apart", () => {
  assert.equal(partiesOf({ lanes: { parties: [{}] } }), 1);
  assert.equal(partiesOf({ lanes: { parties: [{}, {}, {}] } }), 2);
  assert.equal(partiesOf({ lanes: null }), 2, "until the lanes are there, and of a link to a part");
});

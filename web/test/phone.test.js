import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";
import { add, clear, clock, read, when } from "../src/phone/history.js";
import { Pulse, Reports, Steady, between, delayImpairment, estimateMos, grade, mosOf, scores, warning } from "../src/phone/mos.js";
import en from "../src/phone/words.en.js";
import ru from "../src/phone/words.ru.js";

const folder = new URL("../src/phone/", import.meta.url);
const sources = readdirSync(folder).filter((name) => name.endsWith(".js") && !name.startsWith("words."))
  .map((name) => readFileSync(new URL(name, folder), "utf8")).join("\n");

test("MOS follows G.107: 4.41 for its defaults, 1 at the bottom, 4.5 at the top", () => {
  assert.equal(mosOf(93.2).toFixed(2), "4.41");
  assert.deepEqual([mosOf(0), mosOf(-5), mosOf(100)], [1, 1, 4.5]);
  assert.equal(mosOf(60).toFixed(2), "3.10");
});

test("delay costs nothing up to 100 ms and what G.107 says beyond", () => {
  assert.equal(delayImpairment(100), 0);
  assert.ok(Math.abs(delayImpairment(150) - 0.13) < 0.2); // G.107: hardly audible below 150 ms
  assert.ok(delayImpairment(400) > 20 && delayImpairment(400) < 30);
});

test("each percent of loss lowers the score, and nonsense stays on the scale", () => {
  const falling = [0, 0.01, 0.05, 0.2, 1].map((loss) => estimateMos(loss, 50));
  assert.deepEqual(falling, [...falling].sort((a, b) => b - a));
  assert.equal(estimateMos(-3, 0), estimateMos(0, 0));
  assert.ok(estimateMos(9, 1e6) >= 1);
});

test("grades meet at the limits of G.107 Annex B", () => {
  assert.deepEqual([4.03, 4.02, 3.6, 3.59, null].map(grade), ["good", "fair", "fair", "bad", "none"]);
});

const before = { at: 0, packetsReceived: 0, packetsLost: 0, totalSamples: 0, concealedSamples: 0, silentConcealedSamples: 0, bytesReceived: 0, bytesSent: 0, microphoneEnergy: 0 };
const after = (change) => ({ ...before, at: 2000, packetsReceived: 100, totalSamples: 96_000, bytesReceived: 8000, bytesSent: 8000, microphoneEnergy: 0.5, lossOut: 0, ...change });
const calm = { muted: false, held: false, localHold: false, seconds: 20 };

test("a report is of all the time since the last one, a hole in its first seconds included", () => {
  const reports = new Reports(3);
  const at = (seconds, packetsLost) => ({ at: 1000 * seconds, packetsReceived: 50 * seconds, packetsLost, totalSamples: 48_000 * seconds });
  const told = [[0, 0], [2, 0], [4, 60], [6, 60], [8, 60], [10, 60], [12, 60]].map(([seconds, lost]) => reports.next(at(seconds, lost)));
  assert.deepEqual(told.map((it) => it === null), [true, true, true, false, true, true, false]);
  assert.equal(told[3].loss_received, 60 / 360);
  assert.equal(told[6].loss_received, 0);
  reports.anew(); // another connection
  assert.deepEqual([[14, 5], [16, 5], [18, 5]].map(([seconds, lost]) => reports.next(at(seconds, lost))), [null, null, null]);
  assert.equal(reports.next(at(20, 55)).loss_received, 50 / 350);
});

test("figures are of the time between two readings", () => {
  const figures = between({ ...before, packetsLost: 50 }, after({ packetsLost: 60, packetsReceived: 90 }));
  assert.equal(figures.lossIn, 0.1);
  assert.equal(figures.kbitIn, 32);
  assert.equal(between(after({}), after({})), null); // no time between
  assert.equal(between(before, after({ concealedSamples: 9600, silentConcealedSamples: 4800 })).gaps, 0.05);
});

test("nothing that arrives scores nothing", () => {
  assert.equal(scores(between(before, after({ packetsReceived: 0, lossOut: undefined }))).heard, null);
  assert.deepEqual(scores(null), { heard: null, sent: null });
});

test("the worst trouble is named, and none when all is well or the call is held", () => {
  const named = (change, state = calm) => warning(between(before, after(change)), state);
  assert.equal(named({}), null);
  assert.equal(named({ lossOut: 0.08, packetsLost: 30 }), "loss_out");
  assert.equal(named({ packetsLost: 30 }), "loss_in");
  assert.equal(named({ jitterMs: 90 }), "jitter");
  assert.equal(named({ roundTripMs: 700 }), "delay");
  assert.equal(named({ packetsReceived: 0 }), "nothing_arrives");
  assert.equal(named({ microphoneEnergy: 0 }), "mic_silent");
  assert.equal(named({ microphoneEnergy: 0 }, { ...calm, muted: true }), null);
  assert.equal(named({ packetsReceived: 0 }, { ...calm, held: true }), null);
  assert.equal(warning(null, calm), null);
});

test("a warning stays three readings after its cause is gone", () => {
  const steady = new Steady();
  assert.deepEqual(["loss_in", null, null, null, null].map((found) => steady.next(found)), ["loss_in", "loss_in", "loss_in", null, null]);
});

test("a stream that stops is noticed once after 600 ms, and again only after it has flowed", () => {
  const pulse = new Pulse();
  assert.deepEqual([null, 20, 170, 599, 601, 900, 5000].map((age) => pulse.stopped(age)), [false, false, false, false, true, false, false]);
  assert.deepEqual([20, 620].map((age) => pulse.stopped(age)), [false, true]);
});

test("halfway to a silence there is doubt, once, and again only after the stream has flowed", () => {
  const pulse = new Pulse();
  const doubts = (ages) => ages.map((age) => (pulse.stopped(age), pulse.doubtful(age)));
  assert.deepEqual(doubts([null, 20, 290, 300, 299, 20, 320]), [false, false, false, true, false, false, true]);
});

test("a sender that pauses by itself is given twice its longest pause", () => {
  const pulse = new Pulse();
  for (const age of [20, 400, 10, 550, 10]) assert.equal(pulse.stopped(age), false);
  assert.deepEqual([700, 1000, 1101].map((age) => pulse.stopped(age)), [false, false, true]);
});

test("a hold is no silence, and after it only a new one is", () => {
  const pulse = new Pulse();
  pulse.stopped(20);
  pulse.rest();
  assert.deepEqual([4000, 4150, 20, 620].map((age) => pulse.stopped(age)), [false, false, false, true]);
});

function storage() {
  const kept = new Map();
  return { getItem: (key) => kept.get(key) ?? null, setItem: (key, text) => kept.set(key, text), removeItem: (key) => kept.delete(key) };
}

test("the list of calls is newest first, bounded, of one user, and survives rubbish in its place", () => {
  const store = storage();
  for (let i = 0; i < 120; i++) add("100", { with: `${i}`, way: "out", at: i, seconds: 1 }, store);
  assert.equal(read("100", store).length, 100);
  assert.equal(read("100", store)[0].with, "119");
  assert.deepEqual(read("101", store), []);
  for (const rubbish of ["{", "5", '[{"with":7}]', "null"]) {
    store.setItem("phone.calls.101", rubbish);
    assert.deepEqual(read("101", store), []);
  }
  assert.deepEqual(clear("100", store), []);
  assert.deepEqual(read("100", store), []);
});

test("times are as short as still tells", () => {
  const now = new Date(2026, 10, 27, 23, 5).getTime();
  assert.equal(when(new Date(2026, 10, 27, 9, 4).getTime(), now, "ru"), "09:04");
  assert.equal(when(new Date(2026, 10, 26, 23, 59).getTime(), now, "en"), "yesterday");
  assert.match(when(new Date(2026, 10, 20).getTime(), now, "en"), /Nov/);
  assert.deepEqual([0, 9.9, 75, 3600 + 62].map(clock), ["0:00", "0:09", "1:15", "1:01:02"]);
});

test("both languages have the same words, none of them empty by mistake", () => {
  assert.deepEqual(Object.keys(en), Object.keys(ru));
  const silent = new Set(["cause_Terminated", "cause_device"]);
  for (const [key, text] of [...Object.entries(en), ...Object.entries(ru)]) assert.equal(text === "", silent.has(key), key);
  for (const key of Object.keys(en)) {
    const names = (text) => [...new Set([...text.matchAll(/\{(\w+)\}/g)].map((found) => found[1]))].sort();
    assert.deepEqual(names(en[key]), names(ru[key]), key);
  }
});

test("every word the views ask for is there, and no word is there for nobody", () => {
  const asked = new Set([...sources.matchAll(/say\(\s*"([\w ]+)"/g)].map((found) => found[1]));
  for (const [, one, other] of sources.matchAll(/say\([^()]*\? "(\w+)" : "(\w+)"/g)) asked.add(one).add(other);
  for (const key of asked) assert.ok(key in en, key);
  const built = /^(line|cause|warn|fix|rec|net|transfer|grade|route|try|theme|way|mic|cam)_/; // asked for by a name put together
  const words = new Set([...sources.matchAll(/"(\w+)"/g)].map((found) => found[1]));
  const idle = Object.keys(en).filter((key) => !built.test(key) && !asked.has(key) && !words.has(key));
  assert.deepEqual(idle, []);
});

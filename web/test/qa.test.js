import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";
import { speaker } from "../src/common/i18n.js";
import { evidenceLine } from "../src/qa/evidence.js";
import { clock } from "../src/qa/format.js";
import { LANES, gradeOf, happened, sidesOf, worthTelling } from "../src/qa/happened.js";
import { extent, fitting, readPeaks } from "../src/qa/peaks.js";
import { judge } from "../src/qa/scoring.js";
import { en } from "../src/qa/words.en.js";
import { ru } from "../src/qa/words.ru.js";

const say = speaker({ en, ru });
const party = (role, leg, more = {}) => ({ leg, role, held: [], keys: [], captured: [], prompts: [], ...more });
const score = (start, more = {}) => ({ leg: "1", direction: "received", start: 1000 + start, length: 5, whole_call: false, mos: 4.3, loss: 0, burst_ratio: 1, jitter_ms: 2, cause: null, ...more });

test("both languages say everything the page asks for, with the same places to fill in", () => {
  assert.deepEqual(Object.keys(en).sort(), Object.keys(ru).sort());
  const places = (text) => [...new Set([...text.matchAll(/\{\w+\}/g)].map(([place]) => place))].sort();
  for (const key of Object.keys(en)) assert.deepEqual(places(en[key]), places(ru[key]), key);
  const folder = new URL("../src/qa/", import.meta.url);
  for (const file of readdirSync(folder).filter((name) => name.endsWith(".js") && !name.startsWith("words"))) {
    for (const [, key] of readFileSync(new URL(file, folder), "utf8").matchAll(/say\("(\w+)"/g)) assert.ok(key in en, `${file}: ${key}`);
  }
  for (const lane of LANES) assert.ok(`lane_${lane}` in en, lane);
});

test("what happened is told in order, on the right side, in plain words", () => {
  const lanes = {
    start: 1000, length: 60, silence: [[20, 24.5]], overtalk: [[30, 30.4]], pauses: [{ from: 40, to: 50, reason: "paused" }], waits: [], transfers: [{ from: 51, to: 54, left: "2", came: "3" }],
    parties: [party("caller", "1", { keys: [12] }), party("callee", "2", { held: [[15, 18]], damaged: [[35, 35.2]], captured: [{ from: 0, to: 40, until: "paused" }] })],
  };
  const events = [{ leg: "2", start: 1010.2, kind: "dropout", value: 2100 }];
  const scores = [score(0), score(5, { mos: 3.2, loss: 0.08, burst_ratio: 3.4, cause: "burst" }), score(0, { whole_call: true, mos: 1 })];
  const comments = [{ from: 12, to: 12, author: "kate", text: "<b>" }];
  const told = happened({ lanes, scores, events, comments }, say);
  assert.deepEqual(told.map(({ lane, from }) => [lane, from]), [
    ["mos", 0], ["consent", 0], ["mos", 5], ["loss", 5], ["loss", 10.200000000000045], ["keys", 12], ["comment", 12],
    ["hold", 15], ["silence", 20], ["overtalk", 30], ["damage", 35], ["pause", 40], ["transfer", 51],
  ]);
  const text = (lane) => told.find((one) => one.lane === lane && worthTelling(one)).text;
  assert.equal(text("mos"), "MOS 3.20 of the sound from the caller’s side, 0:05–0:10: packets lost in bursts");
  assert.equal(text("loss"), "8.0 % of packets lost on the caller’s side, 0:05–0:10, in bursts of 3.4");
  assert.equal(told[4].text, "2.1 s of sound lost at 0:10 on the called side");
  assert.equal(text("consent"), "Recorded with permission: called party, 0:00–0:40; then paused");
  assert.equal(text("comment"), "kate: <b>");
  assert.equal(text("transfer"), "Transferred at 0:51: another party in place of the called party, recorded from 0:54 on");
  assert.equal(text("damage"), "The stored sound cannot be read for 0.2 s at 0:35 (called party); the rest plays");
  assert.deepEqual([4.03, 3.6, 3.59].map(gradeOf), ["good", "fair", "bad"]);
});

test("what lies outside the recording is left out, what reaches over its edge is cut", () => {
  const lanes = { start: 1000, length: 10, silence: [], overtalk: [], pauses: [], waits: [], parties: [party("caller", "1")] };
  const told = happened({ lanes, scores: [score(-20), score(-2), score(8), score(11)] }, say);
  assert.deepEqual(told.map(({ from, to }) => [from, to]), [[0, 3], [8, 10]]);
});

test("peaks of every zoom are read, and all but the first party are one channel", () => {
  const zoom = (perPixel, pixels) => {
    const data = new DataView(new ArrayBuffer(24 + pixels.length));
    [2, 1, 8000, perPixel, pixels.length / 6, 3].forEach((value, index) => data.setInt32(index * 4, value, true));
    pixels.forEach((value, index) => data.setInt8(24 + index, value));
    return Buffer.from(data.buffer);
  };
  const fine = zoom(160, [-10, 10, -20, 5, -1, 64, -128, 127, 0, 0, 0, 0]);
  const coarse = zoom(1600, [-128, 127, -20, 5, -1, 64]);
  const head = Buffer.alloc(12 + 24);
  head.write("MSPEAKS1");
  [2, 160, 36, fine.length, 1600, 36 + fine.length, coarse.length].forEach((value, index) => head.writeUInt32LE(value, 8 + index * 4));
  const whole = Buffer.concat([head, fine, coarse]);
  const zooms = readPeaks(whole.buffer.slice(whole.byteOffset, whole.byteOffset + whole.length));
  assert.deepEqual(zooms.map(({ step, pixels, parties }) => [step, pixels, parties]), [[0.02, 2, 3], [0.2, 1, 3]]);
  assert.deepEqual(extent(zooms[0], 1, 0, 0.02), [-20 / 128, 0.5]);
  assert.deepEqual(extent(zooms[0], 0, 0, 0.04), [-1, 127 / 128]);
  assert.equal(fitting(zooms, 1), zooms[1]);
  assert.equal(fitting(zooms, 0.001), zooms[0]);
  assert.throws(() => readPeaks(new ArrayBuffer(16)), /no peaks/);
});

test("times read as people write them", () => {
  assert.deepEqual([0, 9.9, 65, 3661, -1].map(clock), ["0:00", "0:09", "1:05", "1:01:01", "0:00"]);
});

test("a score counts as the server counts it: weights, n/a, auto-fail", () => {
  const sections = [
    { title: "A", weight: 2, questions: [{ id: "a", weight: 1 }, { id: "b", weight: 1 }] },
    { title: "B", weight: 8, questions: [{ id: "c", weight: 3 }, { id: "d", weight: 1, auto_fail: true }] },
  ];
  assert.deepEqual(judge(sections, {}), { score: null, failed: false, left: 4 });
  assert.deepEqual(judge(sections, { a: "yes", b: "no", c: "partly", d: "yes" }), { score: 60, failed: false, left: 0 });
  assert.deepEqual(judge(sections, { a: "na", b: "na", c: "no", d: "yes" }), { score: 25, failed: false, left: 0 });
  assert.deepEqual(judge(sections, { a: "yes", b: "yes", c: "yes", d: "no" }), { score: 0, failed: true, left: 0 });
});

test("a channel that is left alone is named after its own party", () => {
  assert.deepEqual(sidesOf({ parties: [party("caller", "1"), party("callee", "2")] }), ["caller", "callee"]);
  assert.deepEqual(sidesOf({ parties: [party("callee", "2")] })[0], "callee"); // the caller has withdrawn
  assert.deepEqual(sidesOf(null), ["caller", "callee"]);
});

test("what proves a consent is told with its packets and what the far end reported of them", () => {
  const notice = { party: "100", purpose: "training", state: "implied", how: "notice", prompt: "recording-notice", language: "en", at: 5, packets: [100, 249], reported: 251, arrived: 0.98 };
  const line = (one) => evidenceLine(one, (at) => `t${at}`, say);
  assert.equal(line(notice), "100, for training: stayed on the line. Heard the notice “recording-notice” (en) until t5. It was sent in packets 100 to 249; the far end reports up to 251: 98.0 % arrived.");
  assert.match(line({ ...notice, reported: null, arrived: null }), /packets 100 to 249; no report .* is not proven\.$/);
  assert.equal(line({ ...notice, state: "denied", how: "dtmf", packets: null }), "100, for training: refused, by a key, t5.");
  for (const key of ["dtmf", "web", "sip", "api", "prior", "token", "siprec"]) assert.ok(`evidence_by_${key}` in en, key);
});

import assert from "node:assert/strict";
import { test } from "node:test";

const { shownIn, step } = await import("../src/qa/pictures.js");
const video = (currentTime, more = {}) => ({ currentTime, duration: 60, seeking: false, ...more });
const sound = (time, more = {}) => ({ time, playing: true, rate: 1, ...more });

test("a picture jumps to the sound when far from it, and is drawn along when near", () => {
  assert.deepEqual(step(video(10), sound(10.01)), { seek: null, rate: 1, play: true });
  assert.deepEqual(step(video(10), sound(10.1)), { seek: null, rate: 1.1, play: true });
  assert.deepEqual(step(video(10), sound(9.9)), { seek: null, rate: 0.9, play: true });
  assert.equal(step(video(10), sound(11)).seek, 11);
  assert.equal(step(video(10, { seeking: true }), sound(11)).seek, null, "one jump at a time");
});

test("at four times the speed it keeps that speed, and is allowed four times as far away", () => {
  assert.deepEqual(step(video(10), sound(10.9, { rate: 4 })), { seek: null, rate: 4.4, play: true });
  assert.equal(step(video(10), sound(11.1, { rate: 4 })).seek, 11.1);
});

test("beside a sound that stands still it stands still, at the very frame", () => {
  assert.deepEqual(step(video(10), sound(10.1, { playing: false })), { seek: 10.1, rate: 1, play: false });
});

test("where nothing is shown any more the last picture stays", () => {
  assert.deepEqual(step(video(59.99), sound(80)), { seek: null, rate: 1, play: false });
  assert.equal(step(video(3), sound(80)).seek, 60);
});

test("what was hidden or failed was not seen", () => {
  const pictures = [{ party: "1", picture: "camera" }, { party: "1", picture: "screen" }, { party: "2", picture: "camera", failed: true }];
  assert.deepEqual(shownIn({ pictures, hidden: new Set(["1-screen"]) }), ["1-camera"]);
  assert.deepEqual(shownIn(null), []);
});

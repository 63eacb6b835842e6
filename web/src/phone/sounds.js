// Sounds the phone makes by itself: ringing, the tone while the other side rings, keys. Made, not loaded.
import { audioContext, chosen } from "./media.js";

// ITU-T Q.23: rows and columns of the keypad.
const ROWS = { 1: 697, 2: 697, 3: 697, 4: 770, 5: 770, 6: 770, 7: 852, 8: 852, 9: 852, "*": 941, 0: 941, "#": 941 };
const COLUMNS = { 1: 1209, 4: 1209, 7: 1209, "*": 1209, 2: 1336, 5: 1336, 8: 1336, 0: 1336, 3: 1477, 6: 1477, 9: 1477, "#": 1477 };

function tone(frequencies, seconds, volume, { delay = 0, output = null } = {}) {
  const audio = audioContext();
  const gain = audio.createGain();
  const begin = audio.currentTime + delay;
  gain.gain.setValueAtTime(0, begin);
  gain.gain.linearRampToValueAtTime(volume, begin + 0.01);
  gain.gain.setValueAtTime(volume, begin + seconds - 0.03);
  gain.gain.linearRampToValueAtTime(0, begin + seconds);
  gain.connect(output ?? audio.destination);
  for (const frequency of frequencies) {
    const source = audio.createOscillator();
    source.frequency.value = frequency;
    source.connect(gain);
    source.start(begin);
    source.stop(begin + seconds);
  }
  return gain;
}

export function key(digit) {
  if (chosen().keys && digit in ROWS) tone([ROWS[digit], COLUMNS[digit]], 0.12, 0.06);
}

// The speaker test: three rising notes.
export function chime() {
  [523.25, 659.25, 783.99].forEach((note, index) => tone([note], 0.35, 0.15, { delay: index * 0.22 }));
}

class Repeated {
  constructor(play, everyMs) {
    this.play = play;
    this.everyMs = everyMs;
    this.timer = null;
    this.last = null;
  }

  start() {
    if (this.timer !== null) return;
    this.last = this.play();
    this.timer = setInterval(() => (this.last = this.play()), this.everyMs);
  }

  stop() {
    clearInterval(this.timer);
    this.timer = null;
    this.last?.disconnect(); // at once, not at the end of the tone
    this.last = null;
  }
}

// Waiting for the other side: 425 Hz, one second in five (ETSI TR 101 041).
export const ringback = new Repeated(() => tone([425], 1, 0.05), 5000);

// Somebody calls: two short warbles.
export const ringing = new Repeated(() => {
  if (!chosen().ring) return null;
  const audio = audioContext();
  const all = audio.createGain();
  all.connect(audio.destination);
  for (let i = 0; i < 8; i++) tone([i % 2 ? 880 : 698.46], 0.11, 0.14, { delay: i * 0.12 + (i > 3 ? 0.18 : 0), output: all });
  return all;
}, 2600);

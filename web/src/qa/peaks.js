// The peaks file (docs/recording-and-consent.md#lanes-and-peaks) and drawing it: the first party above, all others below,
// as they are in the sound.
const MAGIC = "MSPEAKS1";

export function readPeaks(buffer) {
  const view = new DataView(buffer);
  if (new TextDecoder().decode(buffer.slice(0, 8)) !== MAGIC) throw new Error("no peaks");
  const zooms = [];
  for (let index = 0; index < view.getUint32(8, true); index++) {
    const offset = view.getUint32(12 + index * 12 + 4, true);
    const rate = view.getInt32(offset + 8, true);
    const perPixel = view.getInt32(offset + 12, true);
    const pixels = view.getUint32(offset + 16, true);
    const parties = view.getInt32(offset + 20, true);
    zooms.push({ step: perPixel / rate, pixels, parties, data: new Int8Array(buffer, offset + 24, pixels * parties * 2) });
  }
  return zooms;
}

// [least, largest] of one channel between two moments, -1..1.
export function extent(zoom, channel, from, to) {
  const first = Math.max(0, Math.floor(from / zoom.step));
  const last = Math.min(zoom.pixels - 1, Math.max(first, Math.ceil(to / zoom.step) - 1));
  const parties = channel === 0 ? [0] : [...Array(zoom.parties).keys()].slice(1);
  let least = 0;
  let largest = 0;
  for (let pixel = first; pixel <= last; pixel++) {
    for (const party of parties) {
      least = Math.min(least, zoom.data[(pixel * zoom.parties + party) * 2]);
      largest = Math.max(largest, zoom.data[(pixel * zoom.parties + party) * 2 + 1]);
    }
  }
  return [least / 128, largest / 128];
}

export const fitting = (zooms, secondsPerPixel) =>
  zooms.filter((zoom) => zoom.step <= secondsPerPixel).sort((a, b) => b.step - a.step)[0] ?? zooms[0];

// Speech is quiet: the square root of the level is drawn, or a soft voice would be a line.
const height = (value) => Math.sign(value) * Math.sqrt(Math.abs(value));

export function draw(canvas, zooms, { from, to, time, loop }) {
  const style = getComputedStyle(canvas);
  const scale = devicePixelRatio;
  const width = Math.round(canvas.clientWidth * scale);
  const tall = Math.round(canvas.clientHeight * scale);
  if (canvas.width !== width || canvas.height !== tall) [canvas.width, canvas.height] = [width, tall];
  const paint = canvas.getContext("2d");
  paint.clearRect(0, 0, width, tall);
  const x = (moment) => ((moment - from) / (to - from)) * width;
  if (loop) {
    paint.fillStyle = style.getPropertyValue("--loop");
    paint.fillRect(x(loop.from), 0, Math.max(2, x(loop.to) - x(loop.from)), tall);
  }
  if (zooms) {
    const bar = Math.max(2, Math.round(2 * scale));
    const step = bar + Math.max(1, Math.round(scale));
    const zoom = fitting(zooms, ((to - from) / width) * step);
    const channels = Math.min(2, zoom.parties);
    for (let channel = 0; channel < channels; channel++) {
      const middle = (tall * (channel + 0.5)) / channels;
      const half = tall / channels / 2 - 3 * scale;
      for (let left = 0; left < width; left += step) {
        const start = from + (left / width) * (to - from);
        const [least, largest] = extent(zoom, channel, start, start + (step / width) * (to - from));
        const [top, bottom] = [height(largest) * half, height(least) * half];
        paint.fillStyle = style.getPropertyValue(start < time ? `--party-${channel}` : `--party-${channel}-soft`);
        paint.fillRect(left, middle - top, bar, Math.max(scale, top - bottom));
      }
    }
  }
  paint.fillStyle = style.color;
  paint.fillRect(Math.round(x(time)) - scale / 2, 0, 1.5 * scale, tall);
}

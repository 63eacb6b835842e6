// Devices of this machine: which there are, which were chosen, streams from them, and how loud they are.
const KEY = "phone.devices";
const DEFAULTS = { microphone: "", speaker: "", camera: "", cleanUp: true, ring: true, keys: true };

export function chosen() {
  try {
    return { ...DEFAULTS, ...JSON.parse(localStorage.getItem(KEY)) };
  } catch {
    return { ...DEFAULTS };
  }
}

export function choose(change) {
  const all = { ...chosen(), ...change };
  try {
    localStorage.setItem(KEY, JSON.stringify(all));
  } catch {
    // lasts as long as the page, then
  }
  return all;
}

// { microphone: [{ id, label }], speaker, camera }. Labels are empty until the browser was allowed to use a device.
export async function devices() {
  const found = { microphone: [], speaker: [], camera: [] };
  const kinds = { audioinput: "microphone", audiooutput: "speaker", videoinput: "camera" };
  for (const device of (await navigator.mediaDevices?.enumerateDevices()) ?? []) {
    if (kinds[device.kind] && device.deviceId) found[kinds[device.kind]].push({ id: device.deviceId, label: device.label });
  }
  return found;
}

// Raises a word of the page's texts: mic_denied, mic_missing, mic_busy, insecure (and the same for cam_…).
export async function openMicrophone() {
  const { microphone, cleanUp } = chosen();
  const audio = { echoCancellation: cleanUp, noiseSuppression: cleanUp, autoGainControl: cleanUp };
  return open("mic", (exact) => ({ audio: exact && microphone ? { ...audio, deviceId: { exact: microphone } } : audio }));
}

export async function openCamera() {
  const { camera } = chosen();
  const video = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30, max: 30 } };
  return open("cam", (exact) => ({ video: exact && camera ? { ...video, deviceId: { exact: camera } } : video }));
}

async function open(kind, constraints) {
  if (!navigator.mediaDevices) throw new Problem("insecure");
  for (const exact of [true, false]) {
    try {
      return await navigator.mediaDevices.getUserMedia(constraints(exact));
    } catch (error) {
      // The device chosen last time is unplugged: any other will do.
      if (exact && error.name === "OverconstrainedError") continue;
      throw new Problem(`${kind}_${reason(error)}`);
    }
  }
  throw new Problem(`${kind}_missing`);
}

function reason(error) {
  if (error.name === "NotAllowedError" || error.name === "SecurityError") return "denied";
  if (error.name === "NotReadableError" || error.name === "AbortError") return "busy";
  return "missing";
}

// null: its user changed his mind, which is no problem.
export async function openScreen() {
  if (!navigator.mediaDevices?.getDisplayMedia) throw new Problem("screen_missing");
  try {
    return await navigator.mediaDevices.getDisplayMedia({ video: { frameRate: { max: 15 } }, audio: false });
  } catch (error) {
    if (error.name === "NotAllowedError") return null;
    throw new Problem("screen_missing");
  }
}

export const canShareScreen = () => Boolean(navigator.mediaDevices?.getDisplayMedia);
export const canChooseSpeaker = () => "setSinkId" in HTMLMediaElement.prototype;

export async function playOn(element, speaker) {
  if (!canChooseSpeaker() || element.sinkId === speaker) return;
  try {
    await element.setSinkId(speaker);
  } catch {
    await element.setSinkId(""); // unplugged since it was chosen
  }
}

export function stop(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}

export class Problem extends Error {
  constructor(word) {
    super(word);
    this.word = word;
  }
}

let context = null;
// One for the page: browsers allow few. Asleep until the first click or key.
export function audioContext() {
  context ??= new AudioContext();
  if (context.state === "suspended") context.resume().catch(() => {});
  return context;
}

// How loud a stream is, 0..1 on a scale of decibels as the ear has it. Ask as often as you draw; end with close().
export class Loudness {
  constructor(stream) {
    const audio = audioContext();
    this.analyser = audio.createAnalyser();
    this.analyser.fftSize = 1024;
    this.source = audio.createMediaStreamSource(stream);
    this.source.connect(this.analyser);
    this.block = new Float32Array(this.analyser.fftSize);
  }

  level() {
    this.analyser.getFloatTimeDomainData(this.block);
    let sum = 0;
    for (const sample of this.block) sum += sample * sample;
    const decibels = 10 * Math.log10(sum / this.block.length + 1e-12);
    return Math.min(1, Math.max(0, (decibels + 60) / 55)); // -60 dB: silence; -5: as loud as it gets
  }

  close() {
    this.source.disconnect();
  }
}

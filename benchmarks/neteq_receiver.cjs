// A libwebrtc receiver (@roamhq/wrtc) for benchmarks/neteq_record.py: answers one offer and keeps what NetEQ plays.
//
// stdin: one line of JSON {offer, pcm}. stdout, lines of JSON: {answer}, {connected}, then {stats} ten times a second,
// each with the monotonic clock in ns. File `pcm`: int16 mono as the sink gives it. Ends when stdin ends: then
// {sink: {rate, frames, began_ns}}, began_ns being the time of the first sample as the least delayed of all frames tells.
'use strict';
const fs = require('fs');
const { RTCPeerConnection, nonstandard } = require('@roamhq/wrtc');

const now = () => process.hrtime.bigint();
const say = (what) => process.stdout.write(JSON.stringify(what) + '\n');
let pc, file, rate = 0, frames = 0, samples = 0, began = null;
const kept = Buffer.alloc(40 * 48000 * 2); // written at the end: a disk may stand still for longer than a pull

function heard(data) {
  const at = now();
  if (rate !== data.sampleRate) { // with the first packet of Opus: what came before it was silence at another rate
    frames = samples = 0;
    began = null;
    rate = data.sampleRate;
  }
  const start = at - BigInt(Math.round(samples * 1e9 / rate));
  if (began === null || start < began) began = start;
  const { buffer, byteOffset, byteLength } = data.samples;
  Buffer.from(buffer, byteOffset, byteLength).copy(kept, samples * 2);
  frames += 1;
  samples += data.numberOfFrames;
}

async function begin({ offer, pcm }) {
  file = pcm;
  pc = new RTCPeerConnection();
  pc.ontrack = ({ track }) => { new nonstandard.RTCAudioSink(track).ondata = heard; };
  pc.onconnectionstatechange = () => { if (pc.connectionState === 'connected') say({ connected: Number(now()) }); };
  await pc.setRemoteDescription({ type: 'offer', sdp: offer });
  await pc.setLocalDescription(await pc.createAnswer());
  await new Promise((done) => {
    if (pc.iceGatheringState === 'complete') done();
    pc.onicegatheringstatechange = () => { if (pc.iceGatheringState === 'complete') done(); };
  });
  say({ answer: pc.localDescription.sdp });
  setInterval(async () => {
    for (const report of (await pc.getStats()).values()) {
      if (report.type === 'inbound-rtp') say({ stats: report, at_ns: Number(now()) });
    }
  }, 100);
}

let text = '';
process.stdin.on('data', (part) => {
  text += part;
  if (!pc && text.includes('\n')) begin(JSON.parse(text));
});
process.stdin.on('end', () => {
  fs.writeFileSync(file, kept.subarray(0, samples * 2));
  say({ sink: { rate, frames, samples, began_ns: Number(began) } });
  setTimeout(() => process.exit(0), 50);
});

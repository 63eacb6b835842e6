// A libwebrtc party (@roamhq/wrtc) for benchmarks/wrtc.py: says a tone, keeps what it hears, writes on a data channel.
//
// stdin, lines of JSON: {say}: text for the data channel; {answer}; {offer: direction}; {report: true}. stdout likewise:
// {offer}, {connected_ms} since the answer, {message} of the data channel, {report: {sent, received, lost, lost_there,
// rtt_s, heard_db}}, heard_db being the amplitude of the tone in the last second, in dB of full scale. Ends when stdin
// ends.
'use strict';
const { RTCPeerConnection, nonstandard } = require('@roamhq/wrtc');

const RATE = 48000, TONE_HZ = 440, TICK_MS = 10, COUNT = RATE * TICK_MS / 1000;
const say = (what) => process.stdout.write(JSON.stringify(what) + '\n');
const pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
const source = new nonstandard.RTCAudioSource();
const channel = pc.createDataChannel('mediaserver', { protocol: 'mediaserver.v1' });
const heard = new Float64Array(RATE);
let heardAt = 0, said = 0, answeredAt = 0;
const waiting = [];

pc.addTrack(source.createTrack());
pc.ontrack = ({ track }) => {
  new nonstandard.RTCAudioSink(track).ondata = ({ samples, sampleRate }) => {
    if (sampleRate !== RATE) throw new Error(`the sink has ${sampleRate} Hz`);
    for (const sample of samples) heard[heardAt++ % RATE] = sample;
  };
};
pc.onconnectionstatechange = () => {
  if (pc.connectionState === 'connected') say({ connected_ms: performance.now() - answeredAt });
  if (pc.connectionState === 'failed') say({ failed: true });
};
channel.onmessage = ({ data }) => say({ message: data });
channel.onopen = () => waiting.splice(0).forEach((text) => channel.send(text));

const beganAt = performance.now();
setInterval(() => {
  for (; said * TICK_MS < performance.now() - beganAt; said++) {
    const samples = new Int16Array(COUNT);
    for (let i = 0; i < COUNT; i++) samples[i] = 8000 * Math.sin(2 * Math.PI * TONE_HZ * (said * COUNT + i) / RATE);
    source.onData({ samples, sampleRate: RATE, bitsPerSample: 16, channelCount: 1, numberOfFrames: COUNT });
  }
}, TICK_MS);

function toneDb() {
  let real = 0, imaginary = 0;
  for (let i = 0; i < RATE; i++) {
    const turn = 2 * Math.PI * TONE_HZ * (heardAt + i) / RATE, sample = heard[(heardAt + i) % RATE];
    real += sample * Math.cos(turn);
    imaginary += sample * Math.sin(turn);
  }
  return 20 * Math.log10(Math.max(1e-3, 2 * Math.hypot(real, imaginary) / RATE) / 32768);
}

async function offer(direction) {
  pc.getTransceivers()[0].direction = direction;
  await pc.setLocalDescription(await pc.createOffer());
  if (pc.iceGatheringState !== 'complete') {
    await new Promise((done) => {
      pc.onicegatheringstatechange = () => { if (pc.iceGatheringState === 'complete') done(); };
    });
  }
  say({ offer: pc.localDescription.sdp });
}

async function report() {
  const all = [...(await pc.getStats()).values()];
  const of = (type) => all.find((it) => it.type === type && it.kind === 'audio') ?? {};
  const back = of('remote-inbound-rtp');
  say({ report: {
    sent: of('outbound-rtp').packetsSent ?? 0, received: of('inbound-rtp').packetsReceived ?? 0,
    lost: of('inbound-rtp').packetsLost ?? 0, lost_there: back.packetsLost ?? null, rtt_s: back.roundTripTime ?? null,
    heard_db: toneDb(),
  } });
}

async function take(message) {
  if (message.offer) await offer(message.offer);
  if (message.report) await report();
  if (message.say) channel.readyState === 'open' ? channel.send(message.say) : waiting.push(message.say);
  if (message.answer) {
    answeredAt = performance.now();
    await pc.setRemoteDescription({ type: 'answer', sdp: message.answer });
  }
}

let text = '', last = Promise.resolve();
process.stdin.on('data', (part) => {
  text += part;
  const lines = text.split('\n');
  text = lines.pop();
  for (const line of lines) last = last.then(() => take(JSON.parse(line)));
});
process.stdin.on('end', () => process.exit(0));

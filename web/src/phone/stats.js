// One flat reading of an RTCPeerConnection's getStats: what mos.js wants, and no more.

export async function read(peer) {
  const report = await peer.getStats();
  const reading = { at: performance.now() };
  const codecs = new Map();
  let pair = null;
  report.forEach((entry) => {
    if (entry.type === "codec") codecs.set(entry.id, entry);
    if (entry.type === "transport" && entry.selectedCandidatePairId) pair = entry.selectedCandidatePairId;
  });
  report.forEach((entry) => {
    if (entry.type === "inbound-rtp" && entry.kind === "audio") inboundAudio(reading, entry, codecs);
    if (entry.type === "outbound-rtp") reading.bytesSent = (reading.bytesSent ?? 0) + (entry.bytesSent ?? 0);
    if (entry.type === "inbound-rtp") reading.bytesReceived = (reading.bytesReceived ?? 0) + (entry.bytesReceived ?? 0);
    if (entry.type === "inbound-rtp" && entry.kind === "video" && entry.frameWidth) bestVideo(reading, entry, codecs);
    if (entry.type === "remote-inbound-rtp" && entry.kind === "audio") {
      if (entry.fractionLost !== undefined) reading.lossOut = entry.fractionLost;
      if (entry.roundTripTime !== undefined) reading.roundTripMs = entry.roundTripTime * 1000;
    }
    if (entry.type === "media-source" && entry.kind === "audio" && entry.totalAudioEnergy !== undefined) {
      reading.microphoneEnergy = entry.totalAudioEnergy;
    }
  });
  const chosen = pair && report.get(pair);
  if (chosen) route(reading, chosen, report);
  return reading;
}

function inboundAudio(reading, entry, codecs) {
  reading.packetsReceived = entry.packetsReceived;
  reading.packetsLost = entry.packetsLost;
  reading.jitterMs = entry.jitter * 1000;
  reading.totalSamples = entry.totalSamplesReceived;
  reading.concealedSamples = entry.concealedSamples;
  reading.silentConcealedSamples = entry.silentConcealedSamples;
  reading.jitterBufferDelay = entry.jitterBufferDelay;
  reading.jitterBufferEmitted = entry.jitterBufferEmittedCount;
  reading.codec = codecs.get(entry.codecId)?.mimeType?.split("/")[1] ?? null;
}

function bestVideo(reading, entry, codecs) {
  if (reading.video && reading.video.width >= entry.frameWidth) return;
  reading.video = {
    width: entry.frameWidth,
    height: entry.frameHeight,
    perSecond: Math.round(entry.framesPerSecond ?? 0),
    codec: codecs.get(entry.codecId)?.mimeType?.split("/")[1] ?? "",
    freezes: entry.freezeCount ?? 0,
  };
}

function route(reading, pair, report) {
  if (reading.roundTripMs === undefined && pair.currentRoundTripTime !== undefined) {
    reading.roundTripMs = pair.currentRoundTripTime * 1000;
  }
  const local = report.get(pair.localCandidateId);
  if (local) {
    reading.route = local.candidateType === "relay" ? "relay" : (local.protocol ?? "udp");
  }
}

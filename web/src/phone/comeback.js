// Another RTCPeerConnection in the place of one whose network is gone. Owns making it like the former one, and the frame
// it lives in; what is said of it to the server is the call's.
//
// Chromium stays on a dead path for three seconds and more before it takes one that answers (2.5 s until it no longer
// believes the old one, 1 s against flapping), whatever ICE restarts it is asked for, and a document learns of a new
// address more than three seconds late. A connection made anew has no old path to cling to; in a frame made anew, it also
// has a list of networks made anew.

// Only hidden: what its document may do is what the page's may.
function frame() {
  const made = document.createElement("iframe");
  made.hidden = true;
  document.body.append(made);
  return made;
}

// { peer, tracks, close }: like `former` in its lines, their order and what they send. tracks: the "track" events it has
// had. It knows what the other side described last, but not where that is: its next offer is the first to be answered.
export async function anew(former, config, streams) {
  const home = frame();
  const peer = new home.contentWindow.RTCPeerConnection(config);
  const tracks = [];
  peer.addEventListener("track", (event) => tracks.push(event));
  const close = () => {
    peer.close();
    home.remove();
  };
  try {
    await peer.setRemoteDescription({ type: "offer", sdp: asOffer(former.remoteDescription.sdp) });
    for (const line of peer.getTransceivers()) {
      const its = former.getTransceivers().find((one) => one.mid === line.mid);
      if (!its || its.currentDirection === "stopped") continue;
      await line.sender.replaceTrack(its.sender.track);
      const stream = streams.find((one) => one?.getTracks().includes(its.sender.track));
      if (stream) line.sender.setStreams?.(stream);
      line.direction = its.direction;
    }
    await peer.setLocalDescription();
    await limits(former, peer);
  } catch (error) {
    close();
    throw error;
  }
  return { peer, tracks, close };
}

// What the other side described last, as if it had offered that, and nowhere to be found yet.
export function asOffer(sdp) {
  return sdp
    .replace(/^a=(candidate:.*|end-of-candidates)\r\n/gm, "")
    .replace(/^a=setup:.*$/gm, "a=setup:actpass");
}

async function limits(former, peer) {
  for (const line of peer.getTransceivers()) {
    const its = former.getTransceivers().find((one) => one.mid === line.mid);
    const most = its?.sender.getParameters().encodings?.[0]?.maxBitrate;
    const parameters = line.sender.getParameters();
    if (most === undefined || parameters.encodings?.length !== 1) continue;
    parameters.encodings[0].maxBitrate = most;
    await line.sender.setParameters(parameters);
  }
}

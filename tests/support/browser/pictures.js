// Numbered pictures as tests/support/numbered.py has them: sixteen fields, owner and frame number, drawn and read.
const WIDTH = 320, HEIGHT = 240;

function bits(owner, number) {
  return (owner << 12) | ((number & 0xff) << 4) | ((owner ^ number ^ (number >> 4) ^ 5) & 0xf);
}

// A camera that films its own frame counter; owner: 0..15.
export function camera(owner, rate = 15) {
  const canvas = document.createElement("canvas");
  canvas.width = WIDTH;
  canvas.height = HEIGHT;
  const pen = canvas.getContext("2d");
  let number = 0;
  const draw = () => {
    const value = bits(owner, number++ & 0xff);
    for (let place = 0; place < 16; place++) {
      pen.fillStyle = (value >> (15 - place)) & 1 ? "#fff" : "#000";
      pen.fillRect((place % 4) * (WIDTH / 4), Math.floor(place / 4) * (HEIGHT / 4), WIDTH / 4, HEIGHT / 4);
    }
  };
  draw();
  setInterval(draw, 1000 / rate);
  return canvas.captureStream(rate).getVideoTracks()[0];
}

// Reads every frame a track brings; what was read stands in the returned record.
export function watch(track, stream) {
  const seen = { stream: stream?.id ?? "", track: track.id, owners: {}, frames: 0, unread: 0, width: 0, height: 0 };
  const video = document.createElement("video");
  video.muted = true;
  video.srcObject = new MediaStream([track]);
  document.body.append(video);
  video.play();
  const canvas = document.createElement("canvas");
  canvas.width = WIDTH;
  canvas.height = HEIGHT;
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  const look = () => {
    pen.drawImage(video, 0, 0, WIDTH, HEIGHT);
    const pixels = pen.getImageData(0, 0, WIDTH, HEIGHT).data;
    let value = 0;
    for (let place = 0; place < 16; place++) {
      const x = ((place % 4) * 2 + 1) * (WIDTH / 8), y = (Math.floor(place / 4) * 2 + 1) * (HEIGHT / 8);
      value = (value << 1) | (pixels[(y * WIDTH + x) * 4 + 1] > 127 ? 1 : 0);
    }
    const owner = value >> 12, number = (value >> 4) & 0xff;
    seen.frames++;
    seen.width = video.videoWidth;
    seen.height = video.videoHeight;
    if (bits(owner, number) === value) (seen.owners[owner] ??= []).push(number);
    else seen.unread++;
    video.requestVideoFrameCallback(look);
  };
  video.requestVideoFrameCallback(look);
  return seen;
}

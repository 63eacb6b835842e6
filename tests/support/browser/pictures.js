// Numbered pictures as tests/support/numbered.py has them: sixteen fields, owner and frame number, drawn and read.
const WIDTH = 320, HEIGHT = 240;

function bits(owner, number) {
  return (owner << 12) | ((number & 0xff) << 4) | ((owner ^ number ^ (number >> 4) ^ 5) & 0xf);
}

// Noise no codec can foresee, under which the fields can still be read.
function grain(width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const pen = canvas.getContext("2d");
  const pixels = pen.createImageData(width, height);
  for (let i = 0; i < pixels.data.length; i += 4) {
    pixels.data[i] = pixels.data[i + 1] = pixels.data[i + 2] = Math.random() * 256;
    pixels.data[i + 3] = 70;
  }
  pen.putImageData(pixels, 0, 0);
  return canvas;
}

// A camera that films its own frame counter; owner: 0..15. rich: twice as wide and high, and as many bits as it is given.
export function camera(owner, rate = 15, rich = false) {
  const canvas = document.createElement("canvas");
  canvas.width = rich ? 2 * WIDTH : WIDTH;
  canvas.height = rich ? 2 * HEIGHT : HEIGHT;
  const pen = canvas.getContext("2d");
  const noise = rich ? grain(2 * canvas.width, 2 * canvas.height) : null;
  let number = 0;
  const draw = () => {
    const width = canvas.width / 4, height = canvas.height / 4;
    const value = bits(owner, number++ & 0xff);
    for (let place = 0; place < 16; place++) {
      pen.fillStyle = (value >> (15 - place)) & 1 ? "#fff" : "#000";
      pen.fillRect((place % 4) * width, Math.floor(place / 4) * height, width, height);
    }
    if (noise) pen.drawImage(noise, -Math.random() * canvas.width, -Math.random() * canvas.height);
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

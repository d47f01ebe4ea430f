// A camera whose picture is the time at which it was drawn: 16 x 2 blocks, black or white, over moving stripes; and the reader.
// The upper row and the left half of the lower one hold the milliseconds (24 bits), the rest a check of them.
{
  const COLUMNS = 16, BITS = 24, BLOCK = 40, WIDTH = COLUMNS * BLOCK, HEIGHT = 360, FRAMES_PER_SECOND = 30;
  const check = (time) => (time ^ (time >>> 8) ^ (time >>> 16) ^ 0xa5) & 0xff;
  const clock = () => Date.now() % (1 << BITS);

  navigator.mediaDevices.getUserMedia = async () => {
    const canvas = Object.assign(document.createElement('canvas'), {width: WIDTH, height: HEIGHT});
    const pen = canvas.getContext('2d');
    setInterval(() => {
      const time = clock();
      for (let at = 0; at < 2 * COLUMNS; at += 1) {
        const bit = at < BITS ? (time >>> at) & 1 : (check(time) >>> (at - BITS)) & 1;
        pen.fillStyle = bit ? '#fff' : '#000';
        pen.fillRect((at % COLUMNS) * BLOCK, Math.floor(at / COLUMNS) * BLOCK, BLOCK, BLOCK);
      }
      pen.fillStyle = `hsl(${time / 10 % 360} 60% 50%)`;
      pen.fillRect(time / 4 % WIDTH, 3 * BLOCK, BLOCK, HEIGHT - 3 * BLOCK);
    }, 1000 / FRAMES_PER_SECOND);
    return canvas.captureStream(FRAMES_PER_SECOND);
  };

  /** How old each of so many pictures is when it is shown, in ms; those that cannot be read are `null`. */
  window.ages = async (video, pictures) => {
    const canvas = Object.assign(document.createElement('canvas'), {width: WIDTH, height: 2 * BLOCK});
    const pen = canvas.getContext('2d', {willReadFrequently: true});
    const shown = [];
    while (shown.length < pictures) {
      await new Promise((resolve) => video.requestVideoFrameCallback(resolve));
      const now = clock();
      pen.drawImage(video, 0, 0, video.videoWidth, video.videoHeight * 2 * BLOCK / HEIGHT, 0, 0, WIDTH, 2 * BLOCK);
      const {data} = pen.getImageData(0, 0, WIDTH, 2 * BLOCK);
      const bit = (at) => {
        const x = (at % COLUMNS) * BLOCK + BLOCK / 2, y = Math.floor(at / COLUMNS) * BLOCK + BLOCK / 2;
        return data[(y * WIDTH + x) * 4] > 127 ? 1 : 0;
      };
      let time = 0, sum = 0;
      for (let at = 0; at < BITS; at += 1) time |= bit(at) << at;
      for (let at = 0; at < 8; at += 1) sum |= bit(BITS + at) << at;
      shown.push(sum === check(time) ? (now - time + (1 << BITS)) % (1 << BITS) : null);
    }
    return shown;
  };
}

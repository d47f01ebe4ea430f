// What descriptions and streams are made of: encodings, codecs, certificates, candidates, compression.

/** A shared screen in two layers of the same size. */
export const SCREEN_ENCODINGS = [
  {rid: 'l', maxBitrate: 500_000, maxFramerate: 5, scaleResolutionDownBy: 1},
  {rid: 'h', maxBitrate: 2_500_000, maxFramerate: 20, scaleResolutionDownBy: 1},
];

/** A certificate as old clients have it. */
export const RSA = {
  name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256', modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]),
};

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function through(stream, bytes) {
  const out = new Blob([bytes]).stream().pipeThrough(stream);
  return new Uint8Array(await new Response(out).arrayBuffer());
}

export const deflate = (text) => through(new CompressionStream('deflate'), new TextEncoder().encode(text));
export const inflate = async (bytes) => new TextDecoder().decode(await through(new DecompressionStream('deflate'), bytes));

export const isUdp = (candidate) => / udp /i.test(candidate);
/** A description that names no candidate over UDP. */
export const withoutUdp = (sdp) => sdp.split('\r\n').filter((line) => !(line.startsWith('a=candidate:') && isUdp(line))).join('\r\n');

/** The screen's layers want VP8. */
export function preferVp8(transceiver) {
  const codecs = RTCRtpSender.getCapabilities('video')?.codecs ?? [];
  const wanted = codecs.filter(({mimeType}) => /vp8|rtx/i.test(mimeType));
  if (wanted.length) transceiver.setCodecPreferences?.(wanted);
}

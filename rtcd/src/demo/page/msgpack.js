// The little msgpack that the data channel needs: https://github.com/msgpack/msgpack/blob/master/spec.md

/** One message: its type as uint8, then the payload, if there is one. */
export function encode(type, payload) {
  const out = [0xcc, type];
  if (payload instanceof Uint8Array) {
    const n = payload.length;
    const head = [0xc6, n >>> 24, (n >>> 16) & 255, (n >>> 8) & 255, n & 255];
    const bytes = new Uint8Array(out.length + head.length + n);
    bytes.set([...out, ...head]);
    bytes.set(payload, out.length + head.length);
    return bytes;
  }
  if (typeof payload === 'boolean') out.push(payload ? 0xc3 : 0xc2);
  if (typeof payload === 'number') {
    const float = new DataView(new ArrayBuffer(8));
    float.setFloat64(0, payload);
    out.push(0xcb, ...new Uint8Array(float.buffer));
  }
  return new Uint8Array(out);
}

/** All values of a message in a row. */
export function decode(buffer) {
  const view = new DataView(buffer);
  const values = [];
  let at = 0;
  const take = (n) => {
    if (at + n > view.byteLength) throw new RangeError('msgpack: the message is too short');
    at += n;
    return at - n;
  };
  const bytes = (n) => new Uint8Array(buffer, take(n), n);
  const text = (n) => new TextDecoder().decode(bytes(n));
  const u8 = () => view.getUint8(take(1));
  const u16 = () => view.getUint16(take(2));
  const u32 = () => view.getUint32(take(4));
  const list = (n) => Array.from({length: n}, value);
  const map = (n) => Object.fromEntries(Array.from({length: n}, () => [value(), value()]));

  function value() {
    const b = u8();
    if (b < 0x80) return b;
    if (b < 0x90) return map(b & 15);
    if (b < 0xa0) return list(b & 15);
    if (b < 0xc0) return text(b & 31);
    if (b >= 0xe0) return b - 256;
    switch (b) {
      case 0xc0: return null;
      case 0xc2: return false;
      case 0xc3: return true;
      case 0xc4: return bytes(u8());
      case 0xc5: return bytes(u16());
      case 0xc6: return bytes(u32());
      case 0xca: return view.getFloat32(take(4));
      case 0xcb: return view.getFloat64(take(8));
      case 0xcc: return u8();
      case 0xcd: return u16();
      case 0xce: return u32();
      case 0xcf: return Number(view.getBigUint64(take(8)));
      case 0xd0: return view.getInt8(take(1));
      case 0xd1: return view.getInt16(take(2));
      case 0xd2: return view.getInt32(take(4));
      case 0xd3: return Number(view.getBigInt64(take(8)));
      case 0xd9: return text(u8());
      case 0xda: return text(u16());
      case 0xdb: return text(u32());
      case 0xdc: return list(u16());
      case 0xdd: return list(u32());
      case 0xde: return map(u16());
      case 0xdf: return map(u32());
      default: throw new TypeError(`msgpack: unexpected byte ${b}`);
    }
  }

  while (at < view.byteLength) values.push(value());
  return values;
}

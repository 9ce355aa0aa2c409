// Frames to bytes and back, as docs/wire.md tells. Nothing here knows of sockets or calls.

import { ProtocolError } from "./errors.mjs";
import { Encoded, decode, encode } from "./msgpack.mjs";

export const FRAME_BYTES_MAX = 64 * 1024 * 1024;
export const KIND = {
  HELLO: 1, WELCOME: 2, BIND: 3, BOUND: 4, UNBOUND: 5, CALL: 6, REPLY: 7, FAILURE: 8, REDIRECT: 9,
  WORKING: 10, CANCEL: 11, NOTIFY: 12, PING: 13, PONG: 14, GOODBYE: 15, LEAVING: 16, CHUNK: 18,
  CREDIT: 19,
};
const FIELDS_MIN = {
  1: 3, 2: 3, 3: 3, 4: 3, 5: 3, 6: 6, 7: 2, 8: 6, 9: 2, 10: 1, 11: 1, 12: 3, 13: 1, 14: 0, 15: 2,
  16: 0, 18: 5, 19: 5,
};
const HEAD_BYTES_MAX = 64 * 1024; // of a frame, beside its arguments or items
export const encodeValue = encode;

/** A value encoded once, so that what cannot travel is known before anything of it was sent. */
export function prepared(value) {
  const encoded = new Encoded(value);
  if (encoded.bytes.length > FRAME_BYTES_MAX - HEAD_BYTES_MAX) {
    throw new RangeError(`${encoded.bytes.length} bytes are more than a frame holds (${FRAME_BYTES_MAX})`);
  }
  return encoded;
}

export function decodeValue(bytes) {
  try {
    return decode(bytes);
  } catch (error) {
    throw new ProtocolError(`a value that cannot be read: ${error.message}`);
  }
}

/** One frame as the array that it is: its kind, then its fields. */
export function decodeFrame(bytes) {
  const frame = decodeValue(bytes);
  if (!Array.isArray(frame) || !(frame[0] in FIELDS_MIN) || frame.length <= FIELDS_MIN[frame[0]]) {
    throw new ProtocolError("a frame of no known kind, or with too few fields");
  }
  return frame;
}

/** A frame with its length before it. */
export function framed(frame) {
  const body = encodeValue(frame);
  const bytes = Buffer.allocUnsafe(4 + body.length);
  bytes.writeUInt32BE(body.length, 0);
  bytes.set(body, 4);
  return bytes;
}

/** Splits what a socket reads into frames. */
export class Splitter {
  #held = Buffer.alloc(0);

  feed(data) {
    this.#held = this.#held.length ? Buffer.concat([this.#held, data]) : data;
    const frames = [];
    while (this.#held.length >= 4) {
      const length = this.#held.readUInt32BE(0);
      if (length === 0 || length > FRAME_BYTES_MAX) {
        throw new ProtocolError(`a frame of ${length} bytes was announced`);
      }
      if (this.#held.length < 4 + length) break;
      frames.push(this.#held.subarray(4, 4 + length));
      this.#held = this.#held.subarray(4 + length);
    }
    return frames;
  }
}

/** The items of a Chunk frame as bytes: what counts for credit is how long they were on the wire. */
export function chunkItems(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let [, at] = header(view, 0);
  for (let field = 0; field < 4; field += 1) at = skip(view, at);
  const [count, first] = header(view, at);
  const items = [];
  at = first;
  for (let item = 0; item < count; item += 1) {
    const end = skip(view, at);
    items.push(bytes.subarray(at, end));
    at = end;
  }
  return items;
}

/** How many members the array at `at` has, and where the first begins. */
function header(view, at) {
  const byte = view.getUint8(at);
  if (byte >= 0x90 && byte <= 0x9f) return [byte & 0x0f, at + 1];
  if (byte === 0xdc) return [view.getUint16(at + 1), at + 3];
  if (byte === 0xdd) return [view.getUint32(at + 1), at + 5];
  throw new ProtocolError("there is no array where one must be");
}

const FIXED = {
  0xc0: 1, 0xc2: 1, 0xc3: 1, 0xca: 5, 0xcb: 9, 0xcc: 2, 0xcd: 3, 0xce: 5, 0xcf: 9, 0xd0: 2, 0xd1: 3,
  0xd2: 5, 0xd3: 9, 0xd4: 3, 0xd5: 4, 0xd6: 6, 0xd7: 10, 0xd8: 18,
};

/** Where the value after the one at `at` begins. Source: the MessagePack specification. */
function skip(view, at) {
  const byte = view.getUint8(at);
  if (byte <= 0x7f || byte >= 0xe0) return at + 1;
  if (byte <= 0x8f) return skipMany(view, at + 1, 2 * (byte & 0x0f));
  if (byte <= 0x9f) return skipMany(view, at + 1, byte & 0x0f);
  if (byte <= 0xbf) return at + 1 + (byte & 0x1f);
  if (byte in FIXED) return at + FIXED[byte];
  switch (byte) {
    case 0xc4: case 0xd9: return at + 2 + view.getUint8(at + 1);
    case 0xc5: case 0xda: return at + 3 + view.getUint16(at + 1);
    case 0xc6: case 0xdb: return at + 5 + view.getUint32(at + 1);
    case 0xc7: return at + 3 + view.getUint8(at + 1);
    case 0xc8: return at + 4 + view.getUint16(at + 1);
    case 0xc9: return at + 6 + view.getUint32(at + 1);
    case 0xdc: return skipMany(view, at + 3, view.getUint16(at + 1));
    case 0xdd: return skipMany(view, at + 5, view.getUint32(at + 1));
    case 0xde: return skipMany(view, at + 3, 2 * view.getUint16(at + 1));
    case 0xdf: return skipMany(view, at + 5, 2 * view.getUint32(at + 1));
    default: throw new ProtocolError(`the byte ${byte} begins no value`);
  }
}

function skipMany(view, at, count) {
  for (let item = 0; item < count; item += 1) at = skip(view, at);
  return at;
}

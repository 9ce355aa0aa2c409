// MessagePack, as far as the protocol has it: of the extension types the Timestamp, which becomes a
// string, in full precision, and numpy's arrays. Source: the MessagePack specification. 64-bit integers
// are numbers where that is exact, BigInt where it is not.

const text = new TextEncoder();
const fatal = new TextDecoder("utf-8", { fatal: true });

/** A value that was encoded before. */
export class Encoded {
  constructor(value) {
    this.bytes = encode(value);
  }
}

/**
 * An array of numpy's: the element's type as numpy writes it ("<f8"), the shape, and the elements'
 * bytes, row by row.
 */
export class NdArray {
  constructor(element, shape, bytes) {
    Object.assign(this, { element, shape, bytes });
  }
}

/**
 * Return `value` as bytes; throws RangeError or TypeError for what cannot travel. A BigInt travels as
 * an integer, a number without a fraction, too; a Date as a string.
 */
export function encode(value) {
  const parts = [];
  write(value, parts);
  return Buffer.concat(parts);
}

function write(value, parts) {
  if (value === null || value === undefined) parts.push(Buffer.from([0xc0]));
  else if (typeof value === "boolean") parts.push(Buffer.from([value ? 0xc3 : 0xc2]));
  else if (typeof value === "number") parts.push(number(value));
  else if (typeof value === "bigint") parts.push(integer(value));
  else if (typeof value === "string") writeText(value, parts);
  else if (ArrayBuffer.isView(value)) writeBytes(value, parts);
  else if (value instanceof Encoded) parts.push(value.bytes);
  else if (value instanceof NdArray) writeArray(value, parts);
  else if (value instanceof Date) writeText(value.toISOString(), parts);
  else if (Array.isArray(value)) {
    parts.push(head(value.length, [0x90, 15], null, 0xdc, 0xdd));
    for (const item of value) write(item, parts);
  } else if (typeof value === "object") {
    const entries = value instanceof Map ? [...value] : Object.entries(value);
    parts.push(head(entries.length, [0x80, 15], null, 0xde, 0xdf));
    for (const [key, item] of entries) {
      write(key, parts);
      write(item, parts);
    }
  } else throw new TypeError(`a ${typeof value} cannot be sent`);
}

/** The first bytes of something with a length: in one byte up to `fix[1]`, else 8, 16 or 32 bits. */
function head(length, fix, byte8, byte16, byte32) {
  if (fix && length <= fix[1]) return Buffer.from([fix[0] | length]);
  if (byte8 !== null && length <= 0xff) return Buffer.from([byte8, length]);
  if (length <= 0xffff) return Buffer.from([byte16, length >> 8, length & 0xff]);
  const bytes = Buffer.from([byte32, 0, 0, 0, 0]);
  bytes.writeUInt32BE(length, 1);
  return bytes;
}

function writeText(value, parts) {
  const bytes = text.encode(value);
  parts.push(head(bytes.length, [0xa0, 31], 0xd9, 0xda, 0xdb), bytes);
}

function writeBytes(value, parts) {
  const bytes = new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  parts.push(head(bytes.length, null, 0xc4, 0xc5, 0xc6), bytes);
}

function writeArray({ element, shape, bytes }, parts) {
  const told = encode([element, shape]);
  const view = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const start = Buffer.from([0xc9, 0, 0, 0, 0, ARRAY, told.length >> 8, told.length & 0xff]);
  start.writeUInt32BE(2 + told.length + view.length, 1);
  parts.push(start, told, view);
}

function number(value) {
  if (Number.isSafeInteger(value) && !Object.is(value, -0)) return integer(BigInt(value));
  const bytes = Buffer.from([0xcb, 0, 0, 0, 0, 0, 0, 0, 0]);
  bytes.writeDoubleBE(value, 1);
  return bytes;
}

function integer(value) {
  if (value >= -32n && value <= 127n) return Buffer.from([Number(value) & 0xff]);
  const bits = [8n, 16n, 32n, 64n].find((each) =>
    value >= 0n ? value < 1n << each : value >= -(1n << (each - 1n)));
  if (bits === undefined) throw new RangeError(`${value} has more than 64 bits`);
  const kind = (value >= 0n ? 0xcc : 0xd0) + [8n, 16n, 32n, 64n].indexOf(bits);
  const bytes = Buffer.alloc(1 + Number(bits / 8n));
  bytes[0] = kind;
  for (let at = bytes.length - 1, rest = BigInt.asUintN(64, value); at > 0; at -= 1, rest >>= 8n) {
    bytes[at] = Number(rest & 0xffn);
  }
  return bytes;
}

/** Return the value in `bytes`, all of them; throws RangeError or TypeError where there is none. */
export function decode(bytes) {
  const reader = new Reader(bytes);
  const value = reader.value(0);
  if (reader.at !== bytes.length) throw new RangeError("there is more than one value");
  return value;
}

const NESTING_MAX = 256;
const TIMESTAMP = -1;
const ARRAY = 1;
const PADDING_MAX = 15;

class Reader {
  constructor(bytes) {
    this.bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.at = 0;
  }

  take(count) {
    if (this.at + count > this.bytes.length) throw new RangeError("the value is cut short");
    this.at += count;
    return this.bytes.subarray(this.at - count, this.at);
  }

  size(bits) {
    return this.take(bits / 8).readUIntBE(0, bits / 8);
  }

  value(depth) {
    if (depth > NESTING_MAX) throw new RangeError(`values are nested more than ${NESTING_MAX} deep`);
    const byte = this.take(1)[0];
    if (byte <= 0x7f) return byte;
    if (byte >= 0xe0) return byte - 0x100;
    if (byte <= 0x8f) return this.map(byte & 0x0f, depth);
    if (byte <= 0x9f) return this.array(byte & 0x0f, depth);
    if (byte <= 0xbf) return fatal.decode(this.take(byte & 0x1f));
    switch (byte) {
      case 0xc0: return null;
      case 0xc2: return false;
      case 0xc3: return true;
      case 0xc4: return this.take(this.size(8));
      case 0xc5: return this.take(this.size(16));
      case 0xc6: return this.take(this.size(32));
      case 0xc7: return this.extension(this.size(8));
      case 0xc8: return this.extension(this.size(16));
      case 0xc9: return this.extension(this.size(32));
      case 0xca: return this.take(4).readFloatBE(0);
      case 0xcb: return this.take(8).readDoubleBE(0);
      case 0xcc: return this.size(8);
      case 0xcd: return this.size(16);
      case 0xce: return this.size(32);
      case 0xcf: return exact(this.take(8).readBigUInt64BE(0));
      case 0xd0: return this.take(1).readInt8(0);
      case 0xd1: return this.take(2).readInt16BE(0);
      case 0xd2: return this.take(4).readInt32BE(0);
      case 0xd3: return exact(this.take(8).readBigInt64BE(0));
      case 0xd4: case 0xd5: case 0xd6: case 0xd7: case 0xd8: return this.extension(1 << (byte - 0xd4));
      case 0xd9: return fatal.decode(this.take(this.size(8)));
      case 0xda: return fatal.decode(this.take(this.size(16)));
      case 0xdb: return fatal.decode(this.take(this.size(32)));
      case 0xdc: return this.array(this.size(16), depth);
      case 0xdd: return this.array(this.size(32), depth);
      case 0xde: return this.map(this.size(16), depth);
      case 0xdf: return this.map(this.size(32), depth);
      default: throw new TypeError(`the byte ${byte} begins no value that this protocol has`);
    }
  }

  extension(length) {
    const type = this.take(1).readInt8(0);
    if (type === ARRAY) return ndArray(this.take(length));
    if (type === TIMESTAMP && [4, 8, 12].includes(length)) return this.timestamp(length);
    throw new TypeError(`an extension of type ${type} with ${length} bytes is no value of this protocol`);
  }

  timestamp(length) {
    const bytes = this.take(length);
    if (length === 4) return moment(bytes.readUInt32BE(0), 0);
    if (length === 12) return moment(Number(bytes.readBigInt64BE(4)), bytes.readUInt32BE(0));
    const both = bytes.readBigUInt64BE(0);
    return moment(Number(both & 0x3_ffff_ffffn), Number(both >> 34n));
  }

  array(length, depth) {
    if (length > this.bytes.length - this.at) throw new RangeError("the array is cut short");
    return Array.from({ length }, () => this.value(depth + 1));
  }

  map(length, depth) {
    const entries = [];
    for (let entry = 0; entry < length; entry += 1) {
      entries.push([this.value(depth + 1), this.value(depth + 1)]);
    }
    // Object.fromEntries makes own properties, whatever their names are.
    return entries.every(([key]) => typeof key === "string") ? Object.fromEntries(entries) : new Map(entries);
  }
}

function ndArray(data) {
  if (data.length < 2) throw new RangeError("the array is cut short");
  const begin = 2 + data.readUInt16BE(0);
  const [element, shape] = decode(data.subarray(2, begin));
  const size = shape.reduce((product, each) => product * each, elementBytes(element));
  const padding = data.length - begin - size;
  if (!(padding >= 0 && padding <= PADDING_MAX)) throw new RangeError("the array's shape is another");
  return new NdArray(element, shape, data.subarray(begin + padding));
}

/** How many bytes an element of this type has: "<U3" has three characters, four bytes each. */
function elementBytes(element) {
  const [, kind, count] = /^[<>|=]?([a-zA-Z])(\d+)/.exec(element);
  return kind === "U" ? 4 * count : Number(count);
}

/** A point in time as RFC 3339 has it, in UTC. */
function moment(seconds, nanoseconds) {
  if (!(Math.abs(seconds) <= 8.64e12) || nanoseconds >= 1e9) throw new RangeError("no point in time");
  const digits = nanoseconds % 1000 ? String(nanoseconds).padStart(9, "0")
    : String(nanoseconds / 1000).padStart(6, "0");
  const whole = new Date(1000 * seconds).toISOString().slice(0, -5);
  return nanoseconds ? `${whole}.${digits}Z` : `${whole}Z`;
}

function exact(value) {
  const near = Number(value);
  return Number.isSafeInteger(near) ? near : value;
}

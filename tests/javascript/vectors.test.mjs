import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { ProtocolError } from "../errors.mjs";
import { NdArray } from "../msgpack.mjs";
import { Splitter, chunkItems, decodeFrame, decodeValue, encodeValue, framed } from "../wire.mjs";

const read = (name) => JSON.parse(readFileSync(`${process.env.LIFERAFT_VECTORS}/${name}`, "utf8"));

function shown(value) {
  if (value instanceof Uint8Array) return { hex: Buffer.from(value).toString("hex") };
  if (value instanceof NdArray) {
    return { element: value.element, shape: value.shape, ...shown(value.bytes) };
  }
  return Array.isArray(value) ? value.map(shown) : value;
}

for (const { name, hex, decoded } of read("frames.json")) {
  test(`a frame is read: ${name}`, () => {
    assert.deepEqual(shown(decodeFrame(Buffer.from(hex, "hex"))), decoded);
  });
}

for (const { name, hex } of read("invalid.json")) {
  test(`refused: ${name}`, () => {
    assert.throws(() => decodeFrame(Buffer.from(hex, "hex")), ProtocolError);
  });
}

test("frames are split wherever the stream was cut", () => {
  const frames = [[13, 1], [14], [10, 70000]].map(framed);
  const splitter = new Splitter();
  const seen = [];
  for (const byte of Buffer.concat(frames)) seen.push(...splitter.feed(Buffer.from([byte])));
  assert.deepEqual(seen.map(decodeFrame), [[13, 1], [14], [10, 70000]]);
  assert.throws(() => new Splitter().feed(Buffer.from([0xff, 0, 0, 0])), ProtocolError);
  assert.throws(() => new Splitter().feed(Buffer.from([0, 0, 0, 0])), ProtocolError);
});

test("items have the length that they had on the wire", () => {
  const items = [1, "x".repeat(300), { a: [1.5, null, true] }, new Uint8Array(70000), -5, 2n ** 60n];
  const frame = Buffer.from(encodeValue([18, 300, 0, 0, items, false]));
  assert.deepEqual(chunkItems(frame).map(decodeValue).length, items.length);
  const size = chunkItems(frame).reduce((sum, item) => sum + item.length, 0);
  assert.equal(size, items.reduce((sum, item) => sum + encodeValue(item).length, 0));
});

test("integers of every size stay exact, in as few bytes as they need", () => {
  const sizes = [
    [0, 1], [127, 1], [-32, 1], [128, 2], [-33, 2], [255, 2], [-128, 2], [256, 3], [-129, 3],
    [65535, 3], [65536, 5], [-32769, 5], [2 ** 32 - 1, 5], [2 ** 32, 9], [-(2 ** 31) - 1, 9],
    [2 ** 40, 9], [2n ** 62n, 9], [-(2n ** 63n), 9], [2n ** 64n - 1n, 9],
  ];
  for (const [value, size] of sizes) {
    assert.equal(encodeValue(value).length, size, `${value}`);
    assert.equal(decodeValue(encodeValue(value)), value);
  }
  assert.throws(() => encodeValue(2n ** 64n), RangeError);
});

test("values of every kind and size come back", () => {
  for (const size of [0, 15, 16, 31, 32, 255, 256, 65535, 65536]) {
    const text = "é".repeat(size);
    const array = Array.from({ length: size }, (_, at) => at);
    const map = Object.fromEntries(array.map((at) => [`${at}`, at]));
    for (const value of [text, array, map]) assert.deepEqual(decodeValue(encodeValue(value)), value);
    assert.deepEqual(decodeValue(encodeValue(new Uint8Array(size))), Buffer.alloc(size));
  }
  for (const value of [null, true, 1.5, -0, NaN, Infinity, [[[]]], { __proto__: null, a: {} }]) {
    assert.deepEqual(decodeValue(encodeValue(value)), value === null ? null : structuredClone(value));
  }
  assert.deepEqual(decodeValue(encodeValue(new Map([[1, "a"]]))), new Map([[1, "a"]]));
});

test("an array comes back, whatever its elements are", () => {
  for (const [element, shape, size] of [["<f8", [2, 3], 48], ["|u1", [], 1], ["<U3", [2], 24], ["<M8[D]", [0, 4], 0]]) {
    const array = new NdArray(element, shape, Buffer.alloc(size, 7));
    assert.deepEqual(decodeValue(encodeValue(array)), array);
  }
});

test("what is no value is refused", () => {
  for (const hex of ["", "c1", "d401ff", "d5010000", "d5010001", "c7050100019000", "c70f01000792a33c663891029a9999", "c700ff", "c80000", "c9", "d802ffffffffffffffffffffffffffffffff", "d601ffffffff", "c703ff000000", "d6ff0000", "d7ffffffffff00000000", "a2ff", "92c0", "dcffff", "ddffffffff", "c0c0", "a1ff"]) {
    assert.throws(() => decodeValue(Buffer.from(hex, "hex")), ProtocolError, hex);
  }
  assert.throws(() => decodeValue(Buffer.alloc(1000, 0x91)), ProtocolError);
});

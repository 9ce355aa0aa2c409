import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { ProtocolError } from "../errors.mjs";
import { Splitter, chunkItems, decodeFrame, decodeValue, encodeValue, framed } from "../wire.mjs";

const read = (name) => JSON.parse(readFileSync(`${process.env.LIFERAFT_VECTORS}/${name}`, "utf8"));

function shown(value) {
  if (value instanceof Uint8Array) return { hex: Buffer.from(value).toString("hex") };
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

test("integers beyond 53 bits stay exact", () => {
  for (const value of [0, -1, 2 ** 40, 2n ** 62n, -(2n ** 62n)]) {
    assert.equal(decodeValue(encodeValue(value)), value);
  }
});

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  Connection, DeadlineExceeded, DeclaredError, InvalidArgument, NdArray, NoSuchObject, RemoteError, Stream,
  StubClosed, Unreachable, connect,
} from "../liferaft.mjs";

const address = process.env.LIFERAFT_ADDRESS;
const CALLS = Number(process.env.LIFERAFT_CALLS ?? 50);
const timeout = 60;
let things;

before(async () => { things = await connect(address, { object: "things", timeout }); });
after(() => things.close());

async function collect(items) {
  const found = [];
  for await (const item of items) found.push(item);
  return found;
}

test("a method is called, defaults filled in", async () => {
  assert.deepEqual(await things.item("milk"), { id: 1, text: "milk", priority: 1 });
  assert.deepEqual(await things.item("milk", 3), { id: 1, text: "milk", priority: 3 });
  assert.throws(() => things.item(), /item\(\) misses text/);
});

test("values come back as they went", async () => {
  for (const value of [null, true, 1.5, "é☃", [1, [2]], { a: { b: null } }, 2n ** 62n]) {
    assert.deepEqual(await things.echo(value), value);
  }
  assert.deepEqual(Buffer.from(await things.bytes(new Uint8Array([0, 255]))), Buffer.from([0, 255]));
});

test("arrays of numpy's are taken and given", async () => {
  const numbers = new NdArray("<f8", [2, 2], new Float64Array([1, -2, 0.5, 3]));
  const { element, shape, bytes } = await things.twice(numbers);
  assert.deepEqual([element, shape], ["<f8", [2, 2]]);
  assert.deepEqual([0, 8, 16, 24].map((at) => bytes.readDoubleLE(at)), [2, -4, 1, 6]);
});

test("moments come as text, in full precision, with and without a time zone", async () => {
  for (const [sent, received] of [
    ["2026-11-25T18:27:08.054832Z", "2026-11-26T18:27:08.054832Z"],
    ["2026-11-25T18:27:08+02:00", "2026-11-26T16:27:08Z"],
    ["1969-12-31T23:59:59.5Z", "1970-01-01T23:59:59.500000Z"],
    ["0001-01-01T00:00:00Z", "0001-01-02T00:00:00Z"],
    ["9999-12-30T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"],
    ["2026-11-25T18:27:08.054832", "2026-11-26T18:27:08.054832"],
    [new Date(0), "1970-01-02T00:00:00Z"],
  ]) assert.equal(await things.next_day(sent), received);
});

test("what cannot travel fails its own call, and no other", async () => {
  const other = things.echo("meanwhile");
  await assert.rejects(things.echo(2n ** 64n), RangeError);
  await assert.rejects(things.echo(() => 1), TypeError);
  await assert.rejects(things.bytes(new Uint8Array(65 * 1024 * 1024)), /more than a frame holds/);
  await assert.rejects(things.sum(new Stream([1, 2n ** 64n])), RangeError);
  assert.equal(await other, "meanwhile");
  assert.equal(await things.echo("after"), "after");
});

test("an item does not wait for the next one", async () => {
  let release;
  const held = new Promise((resolve) => { release = resolve; });
  async function* numbers() {
    yield 7;
    await held;
  }
  assert.equal(await things.first(new Stream(numbers())), 7);
  release();
});

test("each call is executed once, whatever the network does", async () => {
  const before = await things.total();
  for (let number = 1; number <= CALLS; number += 1) {
    assert.equal(await things.add(1), before + number);
  }
  const together = await Promise.all(Array.from({ length: CALLS }, () => things.add(1)));
  assert.equal(new Set(together).size, CALLS);
  assert.equal(await things.total(), before + 2 * CALLS);
});

test("a declared exception has its fields", async () => {
  await assert.rejects(things.find("nobody"), (error) => {
    assert.ok(error instanceof DeclaredError);
    assert.deepEqual([error.type, error.args, error.attributes], ["NotFound", ["no nobody"], ["nobody"]]);
    return true;
  });
});

test("any other exception is a RemoteError, and what does not fit is said", async () => {
  await assert.rejects(things.fail(), (error) => error instanceof RemoteError && error.type === "ValueError");
  await assert.rejects(things.item(5), InvalidArgument);
});

test("a deadline ends a call, and an abort does", async () => {
  const raw = new Connection(address, { object: "things", timeout });
  await raw.bound();
  await assert.rejects(raw.call("hang", [], { timeout: 0.2 }), DeadlineExceeded);
  const controller = new AbortController();
  const call = raw.call("hang", [], { signal: controller.signal });
  controller.abort(new Error("enough"));
  await assert.rejects(call, /enough/);
  raw.close();
  await assert.rejects(async () => raw.call("hang"), StubClosed);
});

test("a result that is a stream comes whole and in order", async () => {
  const numbers = await collect(things.count(3000));
  assert.deepEqual(numbers, Array.from({ length: 3000 }, (_, number) => number));
  const texts = await collect(things.texts(20, 20_000));
  assert.ok(texts.length === 20 && texts.every((text) => text.length === 20_000));
});

test("a stream that is left ends at the host", async () => {
  for await (const number of things.count(1_000_000)) if (number === 10) break;
  while (await things.open_streams() > 0) { /* asked again: each is a round trip */ }
});

test("a stream that breaks off throws after its items", async () => {
  const seen = [];
  await assert.rejects(async () => {
    for await (const number of things.broken(3)) seen.push(number);
  }, RemoteError);
  assert.deepEqual(seen, [0, 1, 2]);
});

test("an argument that is a stream is taken whole", async () => {
  async function* numbers() { for (let number = 1; number <= 5000; number += 1) yield number; }
  assert.equal(await things.sum(new Stream(numbers())), 12502500);
  const big = Array.from({ length: 30 }, () => "x".repeat(10_000));
  assert.equal(await things.length(new Stream(big)), 300_000);
});

test("an object that is not there is said at once", async () => {
  await assert.rejects(connect(address, { object: "nothing", timeout }), NoSuchObject);
});

test("nobody at the address is unreachable", async () => {
  await assert.rejects(connect("127.0.0.1:1", { timeout: 0.3 }), Unreachable);
});

test("several addresses: the next one is tried", async () => {
  const stub = await connect(`127.0.0.1:1,${address}`, { object: "things", timeout });
  assert.equal(typeof await stub.total(), "number");
  stub.close();
});

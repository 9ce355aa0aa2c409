import assert from "node:assert/strict";
import { after, test } from "node:test";
import { connect } from "../liferaft.mjs";
import { Addresses } from "../addresses.mjs";

test("the first of several machines is gone: the next one is asked", async () => {
  const stub = await connect(process.env.LIFERAFT_ADDRESSES, { object: "things", timeout: 60 });
  after(() => stub.close());
  assert.equal(await stub.add(1), 1);
});

test("a host that did not help is left alone for longer each time, and the others are not", () => {
  const addresses = new Addresses(["a", "b", "c"]);
  addresses.turn(0, true);
  addresses.turn(0, true);
  for (let round = 0; round < 4; round += 1) {
    assert.equal(addresses.current, "c");
    addresses.redirected("c");
    addresses.turn(0, false);
  }
  addresses.redirected("b");
  addresses.turn(100, false);
  assert.equal(addresses.current, "b");
  addresses.turn(100, true);
  assert.equal(addresses.current, "a", "c comes first in order, and is left alone");
});

test("once a host helped, the next failure of any is the first again", () => {
  const addresses = new Addresses(["a", "b"]);
  for (let round = 0; round < 4; round += 1) addresses.turn(10_000 * round, true);
  assert.equal(addresses.connectTimeout, 3000);
  addresses.helped();
  assert.equal(addresses.connectTimeout, 1000);
});

test("a host is given longer each time, and one alone is given all of it at once", () => {
  const several = new Addresses(["a", "b"]);
  const given = [];
  for (let now = 0; given.length < 8; now += 10_000) {
    given.push([several.current, several.connectTimeout]);
    several.turn(now, true);
  }
  const ofA = given.filter(([address]) => address === "a").map(([, timeout]) => timeout);
  assert.deepEqual(ofA.slice(0, 3), [1000, 2000, 3000]);
  assert.equal(new Addresses(["a"]).connectTimeout, 3000);
});

test("who is named is asked at once, unless callers are sent round in a circle", () => {
  const addresses = new Addresses(["a", "b"]);
  const pauses = [];
  for (const next of ["c", "a", "c", "a"]) {
    addresses.redirected(next);
    pauses.push(addresses.turn(1000, false) > 0);
    assert.equal(addresses.current, next);
  }
  assert.deepEqual(pauses, [false, false, true, true]);
});

test("who was not there a moment ago is not believed to help", () => {
  const addresses = new Addresses(["a", "b", "c"]);
  addresses.turn(1000, true);
  assert.equal(addresses.current, "b");
  addresses.redirected("a");
  addresses.turn(1001, false);
  assert.equal(addresses.current, "c");
});

test("hosts cannot make the list of addresses longer than it may be", () => {
  const addresses = new Addresses(["a"]);
  for (let number = 0; number < 1000; number += 1) {
    addresses.redirected(`h${number}`);
    addresses.turn(number * 10_000, false);
  }
  const seen = new Set();
  for (let round = 0; round < 300; round += 1) {
    seen.add(addresses.current);
    addresses.turn(1e9 + round * 10_000, true);
  }
  assert.equal(seen.size, 64);
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { connect } from "../liferaft.mjs";

const CALLS_AT_THE_SECOND = 200;

test("no call is lost or made twice when the first of two hosts is drained", async () => {
  const things = await connect(process.env.LIFERAFT_ADDRESSES, { object: "things", timeout: 60 });
  let total = 0;
  for (let hasMoved = false; !(hasMoved && total === CALLS_AT_THE_SECOND);) {
    const next = await things.add(1);
    if (next === 1 && total && !hasMoved) [hasMoved, total] = [true, 0];
    assert.equal(next, total + 1);
    total = next;
  }
  things.close();
});

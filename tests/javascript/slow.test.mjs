import assert from "node:assert/strict";
import { test } from "node:test";
import { connect } from "../liferaft.mjs";

test("a large call crosses a slow link, however long that takes", { timeout: 60_000 }, async (t) => {
  const things = await connect(process.env.LIFERAFT_ADDRESS, { object: "things", timeout: 60 });
  t.after(() => things.close());

  assert.equal(await things.size(new Uint8Array(4_000_000)), 4_000_000);
});

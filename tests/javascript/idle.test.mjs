import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { connect } from "../liferaft.mjs";

test("a host is not taken for silent because it was not asked for a while", { timeout: 20_000 }, async (t) => {
  mock.timers.enable({ apis: ["Date", "setInterval"], now: Date.now() });
  const things = await connect(process.env.LIFERAFT_ADDRESSES, { object: "things", timeout: 60 });
  t.after(() => things.close());
  assert.equal(await things.add(1), 1);

  mock.timers.tick(4000);
  const left = things.hang().catch((error) => error.name);
  mock.timers.tick(1000);

  assert.equal(await things.add(1), 2, "the other host would have said 1");
  things.close();
  assert.equal(await left, "StubClosed");
});

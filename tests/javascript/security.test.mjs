import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, test } from "node:test";
import { Unauthenticated, Unreachable, connect } from "../liferaft.mjs";

const address = process.env.LIFERAFT_ADDRESS;
const token = process.env.LIFERAFT_TOKEN;
const read = (name) => readFileSync(`${process.env.LIFERAFT_CERTIFICATES}/${name}`);
const tls = { ca: read("authority.crt"), cert: read("caller.crt"), key: read("caller.key") };
const options = { object: "things", timeout: 60 };

test("calls go over TLS, with a certificate, a token and metadata", async () => {
  const things = await connect(address, { ...options, tls, token, metadata: { trace: "t1" } });
  after(() => things.close());
  assert.deepEqual(await things.item("milk"), { id: 1, text: "milk", priority: 1 });
  assert.equal(await things.echo(0), "t1");
});

test("without a token a caller is refused", async () => {
  await assert.rejects(connect(address, { ...options, tls }), Unauthenticated);
});

test("a host that another authority vouches for is not believed", async () => {
  const others = { ...tls, ca: read("stranger/authority.crt") };
  await assert.rejects(connect(address, { ...options, tls: others, token, timeout: 1 }), Unreachable);
});

test("without a certificate, or without TLS, nobody is let in", async () => {
  const bare = { ca: tls.ca };
  await assert.rejects(connect(address, { ...options, tls: bare, token, timeout: 1 }), Unreachable);
  await assert.rejects(connect(address, { ...options, token, timeout: 1 }), Unreachable);
});

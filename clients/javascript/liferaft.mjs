// A client for objects that liferaft hosts, written from docs/wire.md. Calls are executed once at
// most, whatever the network does: they have numbers in a session, are repeated until they are
// answered, and the host answers a repeat with what it answered first.

import { randomBytes } from "node:crypto";
import { Addresses } from "./addresses.mjs";
import {
  DeadlineExceeded, InterfaceMismatch, NoSuchObject, OutcomeUnknown, ProtocolError, SessionExpired,
  StubClosed, Unauthenticated, Unreachable, errorOf, isRefusal, ourError,
} from "./errors.mjs";
import { openLink } from "./link.mjs";
import { Incoming, Outgoing, Stream, checkChunk } from "./streams.mjs";
import { KIND, Splitter, decodeFrame, framed, prepared } from "./wire.mjs";

export * from "./errors.mjs";
export { NdArray } from "./msgpack.mjs";
export { Stream };

const RESEND_FIRST_MS = 250;
const RESEND_MAX_MS = 500;
const WORKING_MS = 2_000;
const TICK_MS = 50;
const SILENCE_MAX_MS = 3_000;
const IDLE_PING_MS = 5_000;
const BUSY_PING_MS = 500;
const GROWS_AFTER_MS = 1_000; // the next part of a large answer comes within it
const LARGE_BYTES = 64 * 1024;
const BYTES_PER_MS_MIN = 128; // how fast a large call travels at least

/** A connection to one object, kept up while it is open. */
export class Connection {
  #addresses;
  #socket = null;
  #givenUpAt = 0;
  #isGone = true;
  #state = "down";
  #session = randomBytes(16);
  #next = 1;
  #pending = new Map();
  #bound = null; // the incarnation that was bound last
  #incarnation = null;
  #isDurable = false;
  #name = null;
  #heardAt = 0;
  #pingedAt = 0;
  #grewAt = 0; // a part of a large frame came
  #askedAt = 0; // first, after a time in which nothing was asked of the host
  #asksAt = 0;
  #trouble = new Unreachable("no connection was made yet");
  #waiting = [];
  #timer;
  #isClosed = false;

  /**
   * Options: object, signatures {method: text}, timeout (seconds), token, tls (see openLink),
   * metadata {text: text} that goes with every call.
   */
  constructor(addresses, {
    object = "", signatures = {}, timeout = 10, token = "", tls = null, metadata = null,
  } = {}) {
    this.#addresses = new Addresses(addresses.split(","));
    this.object = object;
    this.signatures = signatures;
    this.timeout = timeout;
    this.token = token;
    this.tls = tls;
    this.metadata = metadata;
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
    this.#connect();
  }

  /** Wait until the object is bound; throws what the host says, or Unreachable. */
  bound(timeout = this.timeout) {
    if (this.#state === "bound") return Promise.resolve(this);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve: () => resolve(this), reject, until: Date.now() + 1000 * timeout });
    });
  }

  /**
   * Call a method with its arguments, one for each parameter, and wait for the result. Options:
   * timeout (seconds), signal (an AbortSignal), idempotent (it does no harm twice).
   * Throws RangeError or TypeError for arguments that cannot travel; nothing was sent then.
   */
  async call(method, args = [], options = {}) {
    return this.#begin(method, args, options).outcome;
  }

  /** Call a method whose result is a stream, and iterate over its items. */
  stream(method, args = [], options = {}) {
    const call = this.#begin(method, args, { timeout: Infinity, ...options }, true);
    call.outcome.then(() => call.incoming.end(), (error) => call.incoming.end(error));
    return call.incoming;
  }

  /** Call a one-way method: sent once, never answered, maybe lost. */
  notify(method, args = []) {
    if (this.#state === "bound") this.#send([KIND.NOTIFY, this.#name, method, args, this.metadata]);
  }

  /** End the connection; calls that are under way fail with StubClosed. */
  close() {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearInterval(this.#timer);
    if (this.#state === "bound") this.#send([KIND.GOODBYE, "closed by the caller", true]);
    this.#socket?.end();
    const error = new StubClosed("the connection was closed");
    for (const call of [...this.#pending.values()]) this.#settle(call, error);
    for (const waiter of this.#waiting.splice(0)) waiter.reject(error);
  }

  // Calls.

  #begin(method, args, { timeout = this.timeout, signal, idempotent = false }, streams = false) {
    if (this.#isClosed) throw new StubClosed("the connection was closed");
    const outgoing = args.flatMap((each, place) =>
      each instanceof Stream ? [new Outgoing(place + 1, each.items)] : []);
    const rest = prepared(args.map((each) => (each instanceof Stream ? null : each)));
    const number = this.#next++;
    const until = outgoing.length ? Infinity : Date.now() + 1000 * timeout;
    const call = { number, method, args: rest, until, idempotent, outgoing };
    Object.assign(call, { sent: 0, interval: 0, resendAt: 0, arrivesAt: 0 });
    call.outcome = new Promise((resolve, reject) => { Object.assign(call, { resolve, reject }); });
    if (streams) {
      const cancel = () => this.#cancel(call, null);
      call.incoming = new Incoming(number, { send: (frame) => this.#sendIfBound(frame), cancel });
    }
    this.#pending.set(number, call);
    signal?.addEventListener("abort", () => this.#cancel(call, signal.reason), { once: true });
    if (this.#pending.size === 1) this.#hostIsAsked();
    if (this.#state === "bound") this.#sendCall(call, RESEND_FIRST_MS);
    for (const stream of outgoing) {
      stream.run(number, (frame) => this.#sendIfBound(frame)).catch((error) => this.#cancel(call, error));
    }
    return call;
  }

  /** Whether a question would wait behind what is on its way, or its answer is coming. */
  #isHeldUp(now) {
    return this.#socket?.writableLength > LARGE_BYTES || now - this.#grewAt < GROWS_AFTER_MS;
  }

  #hostIsAsked() {
    if (this.#askedAt <= this.#heardAt) this.#askedAt = Date.now();
  }

  #ackedBelow() {
    const [first] = this.#pending.keys();
    return first ?? this.#next;
  }

  #sendCall(call, interval) {
    const left = call.until === Infinity ? null : Math.max(0, (call.until - Date.now()) / 1000);
    call.sent += 1;
    call.interval = interval;
    call.resendAt = Date.now() + interval;
    const { number, method, args } = call;
    const size = this.#send([KIND.CALL, number, this.#ackedBelow(), this.#name, method, left, args, this.metadata]);
    if (size > LARGE_BYTES) call.arrivesAt ||= Date.now() + size / BYTES_PER_MS_MIN;
  }

  #settle(call, error, result) {
    if (!this.#pending.delete(call.number)) return;
    for (const stream of call.outgoing) stream.close();
    if (error) call.reject(error); else call.resolve(result);
  }

  #cancel(call, error) {
    if (!this.#pending.has(call.number)) return;
    if (call.sent) this.#send([KIND.CANCEL, call.number]);
    this.#settle(call, error);
  }

  // Time.

  #tick() {
    const now = Date.now();
    for (const waiter of this.#waiting.filter((each) => each.until <= now)) {
      this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
      waiter.reject(this.#trouble);
    }
    for (const call of [...this.#pending.values()]) {
      if (call.until <= now) {
        const text = `${call.method}: no answer within the deadline; it may have been executed`;
        this.#cancel(call, call.sent ? new DeadlineExceeded(text) : this.#trouble);
      } else if (this.#state === "bound" || (this.#state === "leaving" && call.sent)) {
        if (call.resendAt <= now && this.#isHeldUp(now)) call.resendAt = now + call.interval;
        else if (call.resendAt <= now) this.#sendCall(call, Math.min(2 * call.interval, RESEND_MAX_MS));
        for (const stream of call.outgoing) stream.repeat(call.number, (frame) => this.#sendIfBound(frame), now);
      }
    }
    if (this.#state === "down") {
      const address = this.#addresses.current;
      if (this.#socket && this.#givenUpAt <= now) this.#leave(new Unreachable(`${address} does not answer`));
      return;
    }
    if (this.#state !== "bound" && this.#state !== "leaving" && this.#asksAt <= now) this.#ask();
    const isBusy = this.#pending.size > 0 || this.#state !== "bound";
    // An idle host may have been silent for long because it was not asked.
    const isAsking = isBusy || this.#pingedAt > this.#heardAt;
    const arriving = [...this.#pending.values()].map((call) => call.arrivesAt);
    const silentSince = isBusy ? Math.max(this.#heardAt, this.#askedAt, ...arriving) : this.#heardAt;
    if (now - silentSince > (isBusy ? SILENCE_MAX_MS : 3 * IDLE_PING_MS)) {
      this.#leave(new Unreachable("the host no longer answers"));
    } else if (now - Math.max(this.#heardAt, this.#pingedAt) > (isAsking ? BUSY_PING_MS : IDLE_PING_MS)) {
      this.#pingedAt = now;
      if (!this.#pending.size) this.#hostIsAsked();
      this.#send([KIND.PING, this.#ackedBelow()]);
    }
  }

  // The link.

  #connect() {
    const socket = openLink(this.#addresses.current, this.tls, () => {
      this.#state = "greeting";
      this.#heardAt = this.#pingedAt = Date.now();
      this.#ask();
    });
    const splitter = new Splitter();
    this.#socket = socket;
    this.#isGone = true;
    this.#givenUpAt = Date.now() + this.#addresses.connectTimeout;
    socket.on("data", (data) => {
      if (socket !== this.#socket) return;
      try {
        this.#heardAt = Date.now();
        const frames = splitter.feed(data);
        if (!frames.length) this.#grewAt = this.#heardAt;
        for (const bytes of frames) this.#receive(decodeFrame(bytes), bytes);
      } catch (error) {
        if (!(error instanceof ProtocolError)) throw error;
        this.#leave(error);
      }
    });
    socket.on("error", (error) => { this.#trouble = new Unreachable(error.message); });
    socket.on("close", () => { if (socket === this.#socket) this.#lost(); });
  }

  #lost() {
    this.#state = "down";
    for (const call of this.#pending.values()) call.arrivesAt = 0;
    this.#socket = null;
    if (this.#isClosed) return;
    const pause = this.#addresses.turn(Date.now(), this.#isGone);
    setTimeout(() => { if (!this.#isClosed && !this.#socket) this.#connect(); }, pause);
  }

  /** `isGone` says that the host may be. */
  #leave(error, isGone = true) {
    this.#trouble = error;
    this.#isGone = isGone;
    this.#socket?.destroy();
  }

  #send(frame) {
    if (!this.#socket?.writable) return 0;
    const bytes = framed(frame);
    this.#socket.write(bytes);
    return bytes.length;
  }

  #sendIfBound(frame) {
    if (this.#state === "bound" || this.#state === "leaving") this.#send(frame);
  }

  #ask() {
    this.#asksAt = Date.now() + RESEND_FIRST_MS;
    if (this.#state === "greeting") {
      this.#send([KIND.HELLO, "liferaft", 1, this.#session, this.token]);
    } else {
      this.#send([KIND.BIND, this.object, this.signatures, this.#bound !== null]);
    }
  }

  // Frames.

  #receive(frame, bytes) {
    switch (frame[0]) {
      case KIND.WELCOME: return this.#welcome(frame);
      case KIND.BOUND: return this.#isBound(frame);
      case KIND.UNBOUND: return this.#unbound(frame);
      case KIND.REPLY: return this.#answered(frame, null);
      case KIND.FAILURE: return this.#answered(frame, errorOf(frame));
      case KIND.REDIRECT: return this.#redirected(frame);
      case KIND.WORKING: return this.#working(frame[1]);
      case KIND.CHUNK: return this.#chunk(frame, bytes);
      case KIND.CREDIT: return this.#credit(frame);
      case KIND.GOODBYE: return this.#leave(new Unreachable(`the host ended the connection: ${frame[1]}`));
      case KIND.LEAVING: return this.#hostLeaves();
      case KIND.PONG: return undefined;
      default: throw new ProtocolError(`a host does not send frames of kind ${frame[0]}`);
    }
  }

  #welcome([, version, incarnation]) {
    if (this.#state !== "greeting") return;
    if (version !== 1) throw new ProtocolError(`the host speaks version ${version}`);
    this.#incarnation = Buffer.from(incarnation);
    if (this.#bound && !this.#bound.equals(this.#incarnation) && !this.#isDurable) {
      this.#giveUp(new OutcomeUnknown("the host restarted; the call may have been executed"));
    }
    this.#state = "binding";
    this.#ask();
  }

  /** Fail the calls that were sent, which another host knows nothing of. */
  #giveUp(error) {
    this.#bound = null;
    for (const call of [...this.#pending.values()]) {
      const mayRunTwice = call.idempotent && !call.incoming && !call.outgoing.length;
      if (call.sent && !mayRunTwice) this.#settle(call, error);
    }
  }

  #isBound([, asked, name, isDurable]) {
    if (this.#state !== "binding" || asked !== this.object) return;
    this.#state = "bound";
    this.#name = name;
    this.#isDurable = isDurable;
    this.#bound = this.#incarnation;
    this.#addresses.helped();
    for (const call of this.#pending.values()) this.#sendCall(call, RESEND_FIRST_MS);
    for (const waiter of this.#waiting.splice(0)) waiter.resolve();
  }

  #unbound([, asked, code, message]) {
    if (this.#state !== "binding" || asked !== this.object) return;
    if (code === "expired") {
      this.#giveUp(new SessionExpired(message));
      this.#session = randomBytes(16);
      const left = [...this.#pending.values()];
      this.#pending.clear();
      this.#next = 1;
      for (const call of left) {
        call.number = this.#next++;
        this.#pending.set(call.number, call);
      }
      return this.#leave(new SessionExpired(message), false);
    }
    const errors = { mismatch: InterfaceMismatch, missing: NoSuchObject, Unauthenticated };
    const error = errors[code] ? new errors[code](message) : ourError(code, message);
    if (errors[code]) {
      for (const waiter of this.#waiting.splice(0)) waiter.reject(error);
      for (const call of [...this.#pending.values()]) if (!call.sent) this.#settle(call, error);
    }
    return this.#leave(error, false);
  }

  #answered(frame, error) {
    const call = this.#pending.get(frame[1]);
    if (!call) return;
    if (error && call.sent > 1 && isRefusal(frame[2], frame[3])) return; // an earlier copy may run
    this.#settle(call, error, error ? undefined : frame[2]);
    if (this.#state === "leaving") this.#hostLeaves();
  }

  #redirected([, number, address]) {
    if (number ? !this.#pending.has(number) : this.#state !== "binding") return;
    if (address !== null) this.#addresses.redirected(address);
    this.#leave(new Unreachable("the host sent this caller elsewhere"), false);
  }

  #working(number) {
    const call = this.#pending.get(number);
    if (!call) return;
    call.resendAt = Date.now() + (call.interval = WORKING_MS);
    call.arrivesAt = -1; // it is there
  }

  #chunk(frame, bytes) {
    const call = this.#pending.get(frame[1]);
    if (!call) return this.#send([KIND.CANCEL, frame[1]]);
    checkChunk(call);
    this.#working(frame[1]);
    return call.incoming.take(frame, bytes);
  }

  #credit(frame) {
    const call = this.#pending.get(frame[1]);
    call?.outgoing.find((stream) => stream.channel === frame[2])?.credit(frame);
  }

  #hostLeaves() {
    if (this.#state !== "bound" && this.#state !== "leaving") return;
    this.#state = "leaving";
    if ([...this.#pending.values()].some((call) => call.sent)) return;
    this.#send([KIND.GOODBYE, "the host stops", true]);
    const socket = this.#socket;
    socket?.end(() => { if (socket === this.#socket) this.#leave(new Unreachable("the host stops")); });
  }
}

/** Connect to an object of which no interface is known: the host describes it. */
export async function connect(addresses, { object = "", ...options } = {}) {
  const directory = new Connection(addresses, { ...options, object: "_directory" });
  let description;
  try {
    await directory.bound();
    description = await directory.call("describe", [object], { idempotent: true });
  } finally {
    directory.close();
  }
  const connection = new Connection(addresses, { ...options, object: description.object });
  try {
    return stubOf(await connection.bound(), description);
  } catch (error) {
    connection.close();
    throw error;
  }
}

/** An object whose methods are those of a description; `close()` ends its connection. */
function stubOf(connection, description) {
  const stub = { close: () => connection.close() };
  for (const method of description.methods) {
    const isStream = method.result.type === "stream";
    stub[method.name] = (...given) => {
      const args = method.parameters.map((parameter, place) => {
        if (place < given.length) return given[place];
        if ("default" in parameter) return parameter.default;
        throw new TypeError(`${method.name}() misses ${parameter.name}`);
      });
      if (method.is_oneway) return connection.notify(method.name, args);
      const options = { idempotent: method.is_idempotent };
      return isStream ? connection.stream(method.name, args, options) : connection.call(method.name, args, options);
    };
  }
  return stub;
}

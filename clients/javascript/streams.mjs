// The streams of one call: what comes in, with credit, and what goes out, with repeats.

import { ProtocolError } from "./errors.mjs";
import { KIND, chunkItems, decodeValue, prepared } from "./wire.mjs";

const WINDOW = 65_536;
const CHUNK_BYTES = 32_768;
const REPEAT_MS = 250;

/** An argument that is a stream: give it in the place of the parameter. */
export class Stream {
  constructor(items) {
    this.items = items;
  }
}

/** A result that is a stream: an async iterator over its items. */
export class Incoming {
  #items = [];
  #received = 0;
  #consumedBytes = 0;
  #wake = () => {};
  #ended = false;
  #error = null;

  constructor(number, { send, cancel }) {
    this.number = number;
    this.send = send;
    this.cancel = cancel;
  }

  take([, , , sequence], bytes) {
    const items = chunkItems(bytes);
    if (sequence <= this.#received) {
      for (const item of items.slice(this.#received - sequence)) this.#items.push(item);
      this.#received = Math.max(this.#received, sequence + items.length);
    }
    this.#credit();
    this.#wake();
  }

  end(error = null) {
    this.#ended = true;
    this.#error = error;
    this.#wake();
  }

  #credit() {
    const until = this.#consumedBytes + WINDOW;
    this.send([KIND.CREDIT, this.number, 0, this.#received, until, false]);
  }

  [Symbol.asyncIterator]() {
    return this;
  }

  async next() {
    while (!this.#items.length) {
      if (this.#ended) {
        if (this.#error) throw this.#error;
        return { done: true, value: undefined };
      }
      await new Promise((resolve) => { this.#wake = resolve; });
    }
    const item = this.#items.shift();
    this.#consumedBytes += item.length;
    if (!this.#items.length || this.#consumedBytes % WINDOW < item.length) this.#credit();
    return { done: false, value: decodeValue(item) };
  }

  async return() {
    this.cancel();
    return { done: true, value: undefined };
  }
}

/** An argument that is a stream, on its way to the host. */
export class Outgoing {
  #sent = []; // [sequence, items, is_last], not acknowledged yet
  #sentItems = 0;
  #sentBytes = 0;
  #acked = 0;
  #until = WINDOW;
  #sentAt = 0;
  #wake = () => {};
  #closed = false;

  constructor(channel, items) {
    this.channel = channel;
    this.items = items;
  }

  credit([, , , received, until, isClosed]) {
    this.#acked = Math.max(this.#acked, received);
    this.#until = Math.max(this.#until, until);
    this.#sent = this.#sent.filter(([sequence, items, isLast]) =>
      sequence + items.length + (isLast ? 1 : 0) > this.#acked);
    if (isClosed) this.close();
    this.#wake();
  }

  close() {
    this.#closed = true;
    this.#wake();
  }

  /** Read the iterator and send what the credit allows; ends when the host wants no more. */
  async run(number, send) {
    let chunk = [];
    let chunkBytes = 0;
    const flush = (isLast) => {
      if (this.#closed || (!chunk.length && !isLast)) return;
      const entry = [this.#sentItems, chunk, isLast];
      this.#sent.push(entry);
      this.#sentItems += chunk.length + (isLast ? 1 : 0);
      [chunk, chunkBytes] = [[], 0];
      this.#send(number, send, entry);
    };
    for await (const item of this.items) {
      while (this.#sentBytes >= this.#until && !this.#closed) {
        flush(false);
        await new Promise((resolve) => { this.#wake = resolve; });
      }
      if (this.#closed) return;
      const encoded = prepared(item);
      if (chunkBytes && chunkBytes + encoded.bytes.length > CHUNK_BYTES) flush(false);
      chunk.push(encoded);
      chunkBytes += encoded.bytes.length;
      this.#sentBytes += encoded.bytes.length;
      // What comes together travels together; what comes alone does not wait for the next.
      if (chunk.length === 1) setImmediate(() => flush(false));
      if (chunkBytes >= CHUNK_BYTES) flush(false);
    }
    flush(true);
  }

  repeat(number, send, now) {
    if (now - this.#sentAt < REPEAT_MS || this.#closed) return;
    for (const entry of this.#sent) this.#send(number, send, entry);
    // The credit that it waits for may have been lost: a repeat of nothing asks for it.
    const isHeld = this.#sentBytes >= this.#until && this.#sentItems > 0;
    if (!this.#sent.length && isHeld) this.#send(number, send, [this.#sentItems - 1, [], false]);
  }

  #send(number, send, [sequence, items, isLast]) {
    this.#sentAt = Date.now();
    send([KIND.CHUNK, number, this.channel, sequence, items, isLast]);
  }
}

export function checkChunk(call) {
  if (!call.incoming) throw new ProtocolError("a chunk for a call that has no stream");
}

// Which of its addresses a caller turns to next, and when: each has a backoff of its own, so that a
// host that is gone is asked ever more rarely, and the one that took its place is not.

const BACKOFF_FIRST_MS = 20;
const BACKOFF_MAX_MS = 1_000;
const CONNECT_FIRST_MS = 1_000;
const CONNECT_MAX_MS = 3_000;
const DISBELIEF_MAX_MS = 200; // who was not there is not asked again merely because it is named
const REDIRECTS_AT_ONCE_MAX = 2;
const ADDRESSES_MAX = 64; // hosts that redirect must not be able to grow the list for ever

/** The addresses at which a caller finds its hosts. Times are in milliseconds. */
export class Addresses {
  #hosts;
  #current;
  #named = null;
  #redirects = 0;
  #isSeeking = false;

  constructor(texts) {
    this.#hosts = texts.map(hostAt);
    [this.#current] = this.#hosts;
  }

  /** The address that the caller is at. */
  get current() {
    return this.#current.text;
  }

  /** How long the current host is given to let the caller in. */
  get connectTimeout() {
    if (this.#hosts.length === 1) return CONNECT_MAX_MS;
    return Math.min(CONNECT_FIRST_MS * 2 ** this.#current.attempts, CONNECT_MAX_MS);
  }

  /** Take a host's word that another than the current one helps. */
  redirected(text) {
    this.#named = this.#hosts.find((host) => host.text === text) ?? null;
    if (this.#named) return;
    if (this.#hosts.length >= ADDRESSES_MAX) {
      this.#hosts.splice(this.#hosts.findLastIndex((host) => host !== this.#current), 1);
    }
    this.#named = hostAt(text);
    this.#hosts.push(this.#named);
  }

  /** Know that the current host serves: the next failure of any is the first again. */
  helped() {
    if (!this.#isSeeking) return;
    this.#isSeeking = false;
    for (const host of this.#hosts) host.attempts = 0;
  }

  /**
   * Turn to the next address, and return how long to wait before it is asked. `isGone` tells a host
   * that could not be reached, or fell silent, from one that refused.
   */
  turn(now, isGone) {
    const left = this.#current;
    const named = this.#named;
    this.#named = null;
    this.#isSeeking = true;
    left.attempts += 1;
    left.againAt = now + pauseAfter(left.attempts);
    left.goneUntil = isGone ? Math.min(left.againAt, now + DISBELIEF_MAX_MS) : now;
    this.#redirects = named ? this.#redirects + 1 : 0;
    if (named && named.goneUntil <= now) {
      this.#current = named;
      if (this.#redirects <= REDIRECTS_AT_ONCE_MAX) return 0;
      return Math.max(named.againAt - now, pauseAfter(1));
    }
    const earliest = now + pauseAfter(1);
    const dueAt = (host) => Math.max(host.againAt, earliest);
    const start = this.#hosts.indexOf(left) + 1;
    const inTurn = [...this.#hosts.slice(start), ...this.#hosts.slice(0, start)];
    this.#current = inTurn.reduce((best, host) => (dueAt(host) < dueAt(best) ? host : best));
    return dueAt(this.#current) - now;
  }
}

function hostAt(text) {
  return { text, attempts: 0, againAt: 0, goneUntil: 0 };
}

function pauseAfter(attempts) {
  return Math.min(BACKOFF_FIRST_MS * 2 ** (attempts - 1), BACKOFF_MAX_MS) * (0.5 + Math.random() / 2);
}

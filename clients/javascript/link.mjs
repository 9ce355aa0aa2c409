// Links to a host: over TCP, TLS and Unix sockets.

import net from "node:net";
import tls from "node:tls";

/**
 * Begin to connect, and call `onUp` once the socket carries bytes. `security` is null for a link
 * without TLS, else what Node's tls.connect takes: ca, cert, key, servername.
 */
export function openLink(address, security, onUp) {
  const place = parseAddress(address);
  const socket = security
    ? tls.connect({ servername: nameOf(place), ...place, ...security, minVersion: "TLSv1.3" })
    : net.connect(place);
  socket.setNoDelay(true);
  socket.once(security ? "secureConnect" : "connect", onUp);
  return socket;
}

function parseAddress(text) {
  if (text.startsWith("unix:")) return { path: text.slice(5) };
  const at = text.lastIndexOf(":");
  const host = text.slice(0, at).replace(/^\[|\]$/g, "");
  return { host, port: Number(text.slice(at + 1)) };
}

/** The name that goes with the handshake: an IP address is none. */
function nameOf({ host }) {
  return host && !net.isIP(host) ? host : "";
}

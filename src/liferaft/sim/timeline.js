"use strict";
// Draws one run. All data come from the element #data; every text reaches the page as text, never as
// markup. Times are virtual seconds; positions are CSS pixels. Rows are arrays, named here once.
const run = JSON.parse(document.getElementById("data").textContent);
const states = run.states.map(rows => rows.map(
  ([time, role, term, commit, log, vote]) => ({ time, role, term, commit, log, vote })));
const messages = run.messages.map(
  ([type, source, target, sent, received, term, entries, logTerm, index, commit, vote, reject, round]) =>
    ({ type, source, target, sent, received, term, entries, logTerm, index, commit, vote, reject, round,
       kind: type === "AppendEntries" && entries === 0 ? "Heartbeat" : type }));
const conditions = run.conditions.map(
  ([node, condition, why, begin, end]) => ({ node, condition, why, begin, end }));
const faults = run.faults.map(
  ([number, kind, family, begin, end, notes]) => ({ number, kind, family, begin, end, notes }));
const events = run.events.map(([time, kind, node, text]) => ({ time, kind, node, text }));

const KINDS = ["PreVote", "PreVoteReply", "RequestVote", "RequestVoteReply", "AppendEntries", "Heartbeat",
  "AppendEntriesReply", "InstallSnapshot", "InstallSnapshotReply", "TimeoutNow", "ReadIndex",
  "ReadIndexReply"];
const IS_VOTE = { PreVote: true, PreVoteReply: true, RequestVote: true, RequestVoteReply: true };
const ROLES = ["follower", "pre-candidate", "candidate", "leader"];
const EVENT_COLOURS = { election: "leader", campaign: "candidate", deposed: "pre-candidate",
  down: "process", paused: "paused-line", back: "follower", violation: "bad", configuration: "commit" };
const AXIS = 24, OVERVIEW = 8, FAULT_ROW = 19, FAULT_ROWS_MAX = 9, BAND = 16, EDGE = 8;
const SPAN_MIN = 0.0005;
const MAX_INDEX = Math.max(1, ...states.flat().map(state => Math.max(state.log, state.commit)));

const byId = id => document.getElementById(id);
const canvas = byId("timeline"), stage = byId("stage"), tooltip = byId("tooltip");
const pen = canvas.getContext("2d");
const end = Math.max(run.end, 0.001);
const view = { from: 0, to: end };
const hidden = new Set();
let colours = {}, width = 0, height = 0, gutter = 0, lane = 0, lanesTop = 0;
let pointer = null, hovered = null, pinned = null, current = -1, isDue = false;

// Small helpers.

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const seconds = time => `${time.toFixed(time < 100 ? 4 : 3)} s`;
const x = time => gutter + (time - view.from) / (view.to - view.from) * (width - gutter - EDGE);
const timeAt = position => view.from + (position - gutter) / (width - gutter - EDGE) * (view.to - view.from);
const laneTop = node => lanesTop + node * lane;
const bandTop = node => laneTop(node) + 20;
const bandMiddle = node => bandTop(node) + BAND / 2;
const counted = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
const nodeName = node => node < 0 ? "nobody" : run.nodes[node];

/** The position of the last row that began at or before `time`, -1 when there is none. */
function lastBefore(rows, time, key = "time") {
  let low = 0, high = rows.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (rows[middle][key] <= time) low = middle + 1; else high = middle;
  }
  return low - 1;
}

function readColours() {
  const style = getComputedStyle(document.documentElement);
  const names = ["ground", "panel", "ink", "faint", "line", "lane", "good", "bad", "cursor", "down", "down-line",
    "paused", "paused-line", "commit", "log", "network", "process", "disk", "clock", ...ROLES,
    ...ROLES.map(role => `on-${role}`), ...KINDS];
  colours = Object.fromEntries(names.map(name => [name, style.getPropertyValue(`--${name}`).trim()]));
}

/** A light tint for a term: neighbours differ clearly. */
const termTint = term => `hsl(${(term * 137) % 360} 65% 50% / 0.10)`;

// Layout.

/** Gives each fault the highest row that is free for as long as it lasts, and for its label. */
function packFaults(room) {
  const ends = [];
  for (const fault of faults) {
    let row = ends.findIndex(free => free <= fault.begin);
    if (row < 0) row = ends.push(0) - 1;
    ends[row] = Math.max(fault.end, fault.begin + room);
    fault.row = row;
  }
  return ends.length;
}
// The longer the run, the less room there is for labels before one zooms in.
let faultRows = Infinity;
for (const share of [0.11, 0.05, 0.02, 0]) {
  if (faultRows > FAULT_ROWS_MAX) faultRows = packFaults(end * share);
}

function layOut() {
  width = Math.max(260, stage.clientWidth);
  gutter = width < 560 ? 70 : 92;
  lane = run.nodes.length > 7 ? 78 : 104;
  lanesTop = OVERVIEW + AXIS + Math.max(faultRows, 1) * FAULT_ROW + 8;
  height = lanesTop + run.nodes.length * lane + 4;
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  canvas.style.height = `${height}px`;
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  redraw();
}

function redraw() {
  if (isDue) return;
  isDue = true;
  requestAnimationFrame(() => { isDue = false; draw(); });
}

// Drawing.

function draw() {
  pen.fillStyle = colours.ground;
  pen.fillRect(0, 0, width, height);
  pen.font = "11px system-ui, 'DejaVu Sans', sans-serif";
  pen.textBaseline = "middle";
  pen.save();
  pen.beginPath();
  pen.rect(gutter, 0, width - gutter, height);
  pen.clip();
  drawAxis();
  drawFaults();
  run.nodes.forEach((_, node) => drawLane(node));
  drawMessages();
  drawEvents();
  drawViolation();
  drawCursor();
  pen.restore();
  drawOverview();
  drawGutter();
}

function drawAxis() {
  const span = view.to - view.from;
  const rough = span / Math.max(2, (width - gutter) / 90);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map(each => each * power).find(each => each >= rough);
  const digits = Math.max(0, -Math.floor(Math.log10(step)));
  pen.fillStyle = colours.faint;
  pen.strokeStyle = colours.line;
  pen.lineWidth = 1;
  pen.textAlign = "center";
  for (let count = Math.ceil(view.from / step); count * step <= view.to; count++) {
    const at = Math.round(x(count * step)) + 0.5;
    line(at, OVERVIEW + AXIS - 5, at, height);
    pen.fillText(`${(count * step).toFixed(digits)} s`, clamp(at, gutter + 24, width - 26), OVERVIEW + AXIS / 2);
  }
}

function drawFaults() {
  const top = OVERVIEW + AXIS;
  for (const fault of faults) {
    const left = x(fault.begin), right = Math.max(x(fault.end), left + 3);
    if (right < gutter || left > width) continue;
    const y = top + fault.row * FAULT_ROW;
    const colour = colours[fault.family] || colours.faint;
    pen.globalAlpha = hovered?.fault === fault ? 0.55 : 0.28;
    pen.fillStyle = colour;
    pen.fillRect(left, y + 1, right - left, FAULT_ROW - 3);
    pen.globalAlpha = 1;
    pen.fillRect(left, y + 1, 3, FAULT_ROW - 3);
    const next = faults.find(other => other.row === fault.row && other.begin > fault.begin);
    const room = (next ? x(next.begin) : width) - Math.max(left, gutter) - 8;
    const label = fault.notes.length ? `${fault.kind}: ${fault.notes.join(", ")}` : fault.kind;
    pen.textAlign = "left";
    pen.fillStyle = colours.ink;
    pen.fillText(fitted(label, room), Math.max(left, gutter) + 6, y + FAULT_ROW / 2);
  }
}

function drawLane(node) {
  const top = laneTop(node);
  pen.fillStyle = colours.lane;
  pen.fillRect(gutter, top, width - gutter, lane - 4);
  drawTerms(node);
  drawCommits(node);
  drawRoles(node);
  drawSteps(node);
  for (const span of conditions) if (span.node === node) drawCondition(span);
  pen.strokeStyle = colours.line;
  line(gutter, top + lane - 3.5, width, top + lane - 3.5);
}

/** Calls `draw(state, left, right)` for each stretch within view in which `key` stays the same. */
function eachStretch(node, key, drawStretch) {
  const rows = states[node];
  let at = Math.max(0, lastBefore(rows, view.from));
  while (at > 0 && rows[at - 1][key] === rows[at][key]) at--;
  while (at < rows.length && rows[at].time <= view.to) {
    let next = at + 1;
    while (next < rows.length && rows[next][key] === rows[at][key]) next++;
    const stop = next < rows.length ? rows[next].time : end;
    drawStretch(rows[at], Math.max(x(rows[at].time), gutter), Math.min(x(stop), width));
    at = next;
  }
}

function drawTerms(node) {
  eachStretch(node, "term", (state, left, right) => {
    pen.fillStyle = termTint(state.term);
    pen.fillRect(left, laneTop(node), right - left, lane - 4);
    pen.fillStyle = colours.faint;
    pen.textAlign = "left";
    if (right - left > 44) pen.fillText(`term ${state.term}`, left + 5, laneTop(node) + 10);
    else if (right - left > 14) pen.fillText(String(state.term), left + 3, laneTop(node) + 10);
  });
}

function drawRoles(node) {
  eachStretch(node, "role", (state, left, right) => {
    pen.fillStyle = colours[state.role] || colours.faint;
    pen.fillRect(left, bandTop(node), Math.max(right - left, 1), BAND);
    if (right - left > 70) {
      pen.fillStyle = colours[`on-${state.role}`] || colours.ink;
      pen.textAlign = "left";
      pen.fillText(state.role, left + 6, bandMiddle(node) + 0.5);
    }
  });
}

/** The log's end as a line, and below it the commit index as steps. */
function drawCommits(node) {
  const bottom = laneTop(node) + lane - 8, room = lane - 20 - BAND - 28;
  const rows = states[node];
  const y = index => bottom - index / MAX_INDEX * room;
  for (const [key, colour, isFilled] of [["log", colours.log, false], ["commit", colours.commit, true]]) {
    let at = Math.max(0, lastBefore(rows, view.from));
    if (!rows.length) return;
    pen.beginPath();
    let from = Math.max(x(rows[at].time), gutter);
    pen.moveTo(from, y(rows[at][key]));
    for (let value = rows[at][key]; ++at < rows.length && rows[at].time <= view.to;) {
      if (rows[at][key] === value) continue;
      pen.lineTo(x(rows[at].time), y(value));
      value = rows[at][key];
      pen.lineTo(x(rows[at].time), y(value));
    }
    const last = rows[Math.min(at, rows.length) - 1][key], right = Math.min(x(end), width);
    pen.lineTo(right, y(last));
    pen.strokeStyle = colour;
    pen.lineWidth = isFilled ? 1.6 : 1;
    pen.stroke();
    if (isFilled) {
      pen.lineTo(right, bottom);
      pen.lineTo(from, bottom);
      pen.globalAlpha = 0.13;
      pen.fillStyle = colour;
      pen.fill();
      pen.globalAlpha = 1;
      if (right > gutter + 60) {
        pen.textAlign = "right";
        pen.fillText(`commit ${last}`, right - 6, clamp(y(last) - 8, bandTop(node) + BAND + 8, bottom - 6));
      }
    }
  }
  pen.lineWidth = 1;
}

/** What a node did beside messages, once there is room to tell: a tick, and its name near by. */
function drawSteps(node) {
  const perPixel = (view.to - view.from) / (width - gutter);
  if (perPixel > 0.0012) return;
  const rows = run.steps[node];
  let low = rows.findIndex(([time]) => time >= view.from), labelled = -Infinity;
  pen.strokeStyle = pen.fillStyle = colours.faint;
  pen.textAlign = "left";
  for (; low >= 0 && low < rows.length && rows[low][0] <= view.to; low++) {
    const at = x(rows[low][0]);
    line(at, bandTop(node) + BAND, at, bandTop(node) + BAND + 5);
    if (at - labelled < 70) continue;
    pen.fillText(rows[low][1], at + 2, bandTop(node) + BAND + 9);
    labelled = at;
  }
}

function drawCondition(span) {
  const left = Math.max(x(span.begin), gutter), right = Math.min(Math.max(x(span.end), x(span.begin) + 2), width);
  if (right < gutter || left > width) return;
  const top = laneTop(span.node), tall = span.condition === "down" ? lane - 4 : BAND + 8;
  const y = span.condition === "down" ? top : bandTop(span.node) - 4;
  pen.save();
  pen.beginPath();
  pen.rect(left, y, right - left, tall);
  pen.clip();
  pen.globalAlpha = span.condition === "down" ? 0.93 : 0.6;
  pen.fillStyle = colours[span.condition];
  pen.fillRect(left, y, right - left, tall);
  pen.globalAlpha = 0.6;
  pen.strokeStyle = colours[`${span.condition}-line`];
  for (let at = left - tall - (left % 9); at < right; at += 9) line(at, y + tall, at + tall, y);
  pen.globalAlpha = 1;
  const label = span.condition === "down" ? `down: ${span.why}` : "paused";
  const room = right - left - 10;
  if (room > 30) {
    const text = fitted(label, room);
    pen.fillStyle = colours[span.condition];
    pen.fillRect(left + 3, bandTop(span.node) + 1, pen.measureText(text).width + 6, BAND - 2);
    pen.fillStyle = colours.ink;
    pen.textAlign = "left";
    pen.fillText(text, left + 6, bandMiddle(span.node) + 0.5);
  }
  pen.restore();
}

/** The ends of a message's arrow; one that never arrived ends on its way. */
function arrowsOf(message) {
  const isDown = message.target > message.source;
  const from = isDown ? bandTop(message.source) + BAND : bandTop(message.source);
  const to = isDown ? bandTop(message.target) : bandTop(message.target) + BAND;
  const left = x(message.sent);
  if (message.received.length) {
    return message.received.map(time => ({ x1: left, y1: from, x2: x(time), y2: to, isLost: false }));
  }
  const reach = 0.001 / (view.to - view.from) * (width - gutter);
  return [{ x1: left, y1: from, x2: left + clamp(reach, 5, 40), y2: from + (to - from) * 0.55, isLost: true }];
}

function* visibleMessages() {
  // A message is under way for less than this; who travels longer is found by its arrival.
  for (const message of messages) {
    if (message.sent > view.to) break;
    if (hidden.has(message.kind) || message.source < 0 || message.target < 0) continue;
    const last = message.received.length ? Math.max(...message.received) : message.sent + 0.001;
    if (last >= view.from) yield message;
  }
}

function drawMessages() {
  const visible = [...visibleMessages()];
  const votes = visible.filter(message => IS_VOTE[message.kind]).length;
  const crowd = crowding(visible.length), ofVotes = crowding(votes / 3);
  for (const message of visible) {
    if (message === hovered?.message) continue;
    const alpha = IS_VOTE[message.kind] ? ofVotes : message.kind === "Heartbeat" ? crowd * 0.7 : crowd;
    drawMessage(message, message.received.length ? alpha : Math.max(alpha, Math.min(0.32, 3 * crowd)));
  }
  if (hovered?.message) drawMessage(hovered.message, 1, 2.5);
}

/** How strongly each of so many messages is drawn: the denser, the fainter. */
function crowding(count) {
  const density = count / (width - gutter);
  return density < 0.12 ? 0.9 : clamp(0.11 / density, 0.07, 0.9);
}

function drawMessage(message, alpha, weight = 1) {
  pen.globalAlpha = alpha;
  pen.strokeStyle = pen.fillStyle = colours[message.kind];
  pen.lineWidth = weight;
  for (const { x1, y1, x2, y2, isLost: isDashed } of arrowsOf(message)) {
    pen.setLineDash(isDashed ? [4, 3] : []);
    line(x1, y1, x2, y2);
    pen.setLineDash([]);
    if (isDashed) drawCross(x2, y2, 2.5);
    else if (pen.globalAlpha > 0.3) drawHead(x1, y1, x2, y2, message.reject);
  }
  pen.globalAlpha = 1;
  pen.lineWidth = 1;
}

function drawHead(x1, y1, x2, y2, isRejection) {
  const angle = Math.atan2(y2 - y1, x2 - x1), size = 5;
  pen.beginPath();
  pen.moveTo(x2, y2);
  pen.lineTo(x2 - size * Math.cos(angle - 0.45), y2 - size * Math.sin(angle - 0.45));
  pen.lineTo(x2 - size * Math.cos(angle + 0.45), y2 - size * Math.sin(angle + 0.45));
  pen.closePath();
  if (isRejection) { pen.save(); pen.strokeStyle = colours.bad; pen.stroke(); pen.restore(); } else pen.fill();
}

function drawCross(at, y, size) {
  line(at - size, y - size, at + size, y + size);
  line(at - size, y + size, at + size, y - size);
}

function drawEvents() {
  let labelled = run.nodes.map(() => -Infinity);
  for (const event of events) {
    if (event.node < 0 || event.time < view.from || event.time > view.to) continue;
    const at = x(event.time), y = laneTop(event.node) + 10;
    if (event.kind === "election") {
      pen.fillStyle = colours.leader;
      star(at, y, 6);
      pen.fillStyle = colours.ink;
      pen.textAlign = "left";
      const text = `leads term ${states[event.node][lastBefore(states[event.node], event.time)].term}`;
      const room = pen.measureText(text).width;
      if (at - labelled[event.node] > 12 && at + room + 8 < width) {
        pen.fillStyle = colours.ground;
        pen.globalAlpha = 0.8;
        pen.fillRect(at + 7, y - 7, room + 4, 14);
        pen.globalAlpha = 1;
        pen.fillStyle = colours.ink;
        pen.fillText(text, at + 9, y);
        labelled[event.node] = at + room + 9;
      }
    } else if (event.kind === "down") {
      pen.strokeStyle = colours.bad;
      pen.lineWidth = 2.5;
      drawCross(at, bandMiddle(event.node), 5);
      pen.lineWidth = 1;
    }
  }
}

function star(at, y, size) {
  pen.beginPath();
  for (let point = 0; point < 10; point++) {
    const radius = point % 2 ? size * 0.45 : size, angle = -Math.PI / 2 + point * Math.PI / 5;
    pen.lineTo(at + radius * Math.cos(angle), y + radius * Math.sin(angle));
  }
  pen.closePath();
  pen.fill();
}

function drawViolation() {
  if (run.violatedAt === null) return;
  const at = x(run.violatedAt);
  if (at < gutter - 2 || at > width + 2) return;
  pen.strokeStyle = pen.fillStyle = colours.bad;
  pen.lineWidth = 2;
  line(at, OVERVIEW, at, height);
  pen.lineWidth = 1;
  const text = `violated: ${run.violation.split(":")[0]}`;
  const room = pen.measureText(text).width + 10;
  const left = at + room > width ? at - room : at;
  pen.fillRect(left, OVERVIEW + 4, room, 16);
  pen.fillStyle = colours.ground;
  pen.textAlign = "left";
  pen.fillText(text, left + 5, OVERVIEW + 12.5);
}

function drawCursor() {
  if (!pointer || pointer.x < gutter) return;
  pen.strokeStyle = colours.cursor;
  pen.setLineDash([2, 3]);
  line(pointer.x, OVERVIEW, pointer.x, height);
  pen.setLineDash([]);
  pen.fillStyle = colours.ink;
  pen.textAlign = pointer.x > width - 80 ? "right" : "left";
  pen.fillText(seconds(timeAt(pointer.x)), pointer.x + (pen.textAlign === "left" ? 5 : -5), OVERVIEW + AXIS + 4);
}

/** Where the view lies within the whole run. */
function drawOverview() {
  const across = time => gutter + time / end * (width - gutter - EDGE);
  pen.fillStyle = colours.panel;
  pen.fillRect(0, 0, width, OVERVIEW);
  pen.fillStyle = colours.faint;
  pen.globalAlpha = 0.5;
  pen.fillRect(across(view.from), 1, Math.max(4, across(view.to) - across(view.from)), OVERVIEW - 2);
  pen.globalAlpha = 1;
  for (const event of events) {
    if (event.kind !== "violation" && event.kind !== "election") continue;
    pen.fillStyle = event.kind === "violation" ? colours.bad : colours.leader;
    pen.fillRect(across(event.time) - 1, 0, 2, OVERVIEW);
  }
}

/** Each node's name, and its state where the pointer is, or else at the right edge. */
function drawGutter() {
  const time = pointer && pointer.x >= gutter ? timeAt(pointer.x) : view.to;
  pen.fillStyle = colours.ground;
  pen.fillRect(0, OVERVIEW, gutter, height);
  pen.textAlign = "left";
  pen.fillStyle = colours.faint;
  pen.fillText("faults", 8, OVERVIEW + AXIS + FAULT_ROW / 2);
  run.nodes.forEach((name, node) => {
    const top = laneTop(node);
    pen.fillStyle = colours.ink;
    pen.font = "bold 14px system-ui, 'DejaVu Sans', sans-serif";
    pen.fillText(fitted(name, gutter - 14), 8, top + 12);
    pen.font = "11px system-ui, 'DejaVu Sans', sans-serif";
    pen.fillStyle = colours.faint;
    const told = stateLines(node, time);
    told.forEach((text, row) => pen.fillText(fitted(text, gutter - 12), 8, top + 30 + row * 14));
  });
}

function stateLines(node, time) {
  const state = stateAt(node, time);
  if (!state) return ["not there yet"];
  const held = conditionsAt(node, time).map(span => span.condition);
  if (held.includes("down")) return ["down"];
  return [state.role, `term ${state.term}`, `log ${state.log}`, `commit ${state.commit}`, ...held];
}

const stateAt = (node, time) => states[node][lastBefore(states[node], time)];
const conditionsAt = (node, time) => conditions.filter(
  span => span.node === node && span.begin <= time && time <= span.end);

function line(x1, y1, x2, y2) {
  pen.beginPath();
  pen.moveTo(x1, y1);
  pen.lineTo(x2, y2);
  pen.stroke();
}

/** The text, cut so that it needs no more than `room` pixels; empty when not even a part fits. */
function fitted(text, room) {
  if (pen.measureText(text).width <= room) return text;
  let length = Math.max(0, Math.floor(text.length * room / pen.measureText(text).width) - 1);
  while (length > 0 && pen.measureText(`${text.slice(0, length)}…`).width > room) length--;
  return length > 2 ? `${text.slice(0, length)}…` : "";
}

// What is under the pointer.

function distance(px, py, { x1, y1, x2, y2 }) {
  const dx = x2 - x1, dy = y2 - y1, length = dx * dx + dy * dy;
  const along = length ? clamp(((px - x1) * dx + (py - y1) * dy) / length, 0, 1) : 0;
  return Math.hypot(px - x1 - along * dx, py - y1 - along * dy);
}

function find(px, py) {
  if (px < gutter) return null;
  if (py < lanesTop) {
    const row = Math.floor((py - OVERVIEW - AXIS) / FAULT_ROW);
    const fault = faults.findLast(each => each.row === row && x(each.begin) - 3 <= px
      && px <= Math.max(x(each.end), x(each.begin) + 60));
    return fault ? { fault } : null;
  }
  let best = 6, message = null;
  for (const each of visibleMessages()) {
    for (const arrow of arrowsOf(each)) {
      const away = distance(px, py, arrow);
      if (away < best) { best = away; message = each; }
    }
  }
  if (message) return { message };
  const node = Math.floor((py - lanesTop) / lane);
  return node < run.nodes.length ? { node, time: timeAt(px) } : null;
}

/** The heading and the fields of what was found. */
function told({ message, fault, node, time }) {
  if (message) {
    const fields = [["sent", seconds(message.sent)]];
    if (message.received.length) {
      fields.push(["received", message.received.map(seconds).join(", ")]);
      fields.push(["under way", `${((message.received[0] - message.sent) * 1000).toFixed(2)} ms`]);
    } else fields.push(["received", "never"]);
    fields.push(["term", message.term], ["entries", message.entries], ["log term", message.logTerm],
      ["index", message.index], ["commit", message.commit], ["vote", nodeName(message.vote)],
      ["reject", message.reject ? "yes" : "no"], ["round", message.round]);
    return [`${message.type} ${nodeName(message.source)} → ${nodeName(message.target)}`, fields];
  }
  if (fault) {
    return [`${fault.kind} (step ${fault.number})`, [["begin", seconds(fault.begin)], ["end", seconds(fault.end)],
      ["kind", fault.family], ["struck", fault.notes.join(", ") || "—"]]];
  }
  const state = stateAt(node, time), fields = [["at", seconds(time)]];
  if (state) {
    fields.push(["role", state.role], ["term", state.term], ["vote", nodeName(state.vote)],
      ["commit", state.commit], ["log", state.log]);
  }
  for (const span of conditionsAt(node, time)) {
    fields.push([span.condition, `${span.why}, ${seconds(span.begin)} to ${seconds(span.end)}`]);
  }
  return [run.nodes[node], fields];
}

function showTooltip(found, px, py) {
  tooltip.hidden = !found;
  if (!found) return;
  const [heading, fields] = told(found);
  const list = document.createElement("dl");
  for (const [name, value] of fields) {
    list.append(made("dt", name), made("dd", String(value)));
  }
  tooltip.replaceChildren(made("b", heading), list);
  tooltip.classList.toggle("pinned", Boolean(pinned));
  const left = px + 16 + tooltip.offsetWidth > width ? px - tooltip.offsetWidth - 12 : px + 14;
  tooltip.style.left = `${clamp(left, 0, Math.max(0, width - tooltip.offsetWidth))}px`;
  tooltip.style.top = `${clamp(py + 14, 0, Math.max(0, stage.clientHeight - tooltip.offsetHeight))}px`;
}

function made(tag, text) {
  const element = document.createElement(tag);
  element.textContent = text;
  return element;
}

// Moving about.

function show(from, to) {
  const span = clamp(to - from, Math.min(SPAN_MIN, end), end);
  view.from = clamp((from + to) / 2 - span / 2, 0, end - span);
  view.to = view.from + span;
  if (!pinned) showTooltip(null);
  redraw();
}

function zoom(factor, around = (view.from + view.to) / 2) {
  show(around - (around - view.from) * factor, around + (view.to - around) * factor);
}

const move = share => {
  const by = clamp((view.to - view.from) * share, -view.from, end - view.to);
  show(view.from + by, view.to + by);
};

function jump(at) {
  if (!events.length) return;
  current = clamp(at, 0, events.length - 1);
  const span = Math.min(view.to - view.from, 0.6), { time } = events[current];
  pinned = null;
  show(time - span / 2, time + span / 2);
  pointer = { x: x(time), y: 0 };
  const buttons = byId("events").querySelectorAll("button");
  buttons.forEach((button, each) => button.setAttribute("aria-current", String(each === current)));
  const list = byId("events"), item = buttons[current].parentElement;
  list.scrollTop = item.offsetTop - list.offsetTop - list.clientHeight / 2;
}

function step(by) {
  if (current >= 0) return jump(current + by);
  if (view.to - view.from >= end) return jump(by > 0 ? 0 : events.length - 1);
  const middle = (view.from + view.to) / 2, before = lastBefore(events, middle);
  return jump(by > 0 ? before + 1 : before);
}

const pointers = new Map();
let moved = 0;

function positionOf(event) {
  const box = canvas.getBoundingClientRect();
  return { x: event.clientX - box.left, y: event.clientY - box.top };
}

canvas.addEventListener("pointerdown", event => {
  if (event.button > 0) return;
  canvas.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, positionOf(event));
  moved = 0;
});

canvas.addEventListener("pointermove", event => {
  const now = positionOf(event), before = pointers.get(event.pointerId);
  if (before) {
    const others = [...pointers].filter(([id]) => id !== event.pointerId).map(([, each]) => each);
    moved += Math.abs(now.x - before.x);
    if (others.length) {
      const old = Math.abs(before.x - others[0].x), wide = Math.abs(now.x - others[0].x);
      if (old > 4 && wide > 4) zoom(old / wide, timeAt((now.x + others[0].x) / 2));
    } else if (moved > 3) {
      canvas.classList.add("dragging");
      const by = (before.x - now.x) / (width - gutter - EDGE);
      move(by);
    }
    pointers.set(event.pointerId, now);
  }
  pointer = now;
  if (!pinned) {
    hovered = before && moved > 3 ? null : find(now.x, now.y);
    showTooltip(hovered, now.x, now.y);
  }
  redraw();
});

for (const name of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(name, event => {
    if (name === "pointerup" && pointers.has(event.pointerId) && moved <= 3) {
      const at = positionOf(event), found = find(at.x, at.y);
      pinned = pinned ? null : found;
      hovered = found;
      showTooltip(found, at.x, at.y);
    }
    pointers.delete(event.pointerId);
    canvas.classList.remove("dragging");
    redraw();
  });
}

canvas.addEventListener("pointerleave", () => {
  pointer = null;
  if (!pinned) { hovered = null; showTooltip(null); }
  redraw();
});

canvas.addEventListener("wheel", event => {
  event.preventDefault();
  if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
    move((event.deltaX || event.deltaY) / 800);
  } else zoom(Math.exp(clamp(event.deltaY, -200, 200) / 300), timeAt(positionOf(event).x));
}, { passive: false });

const KEYS = {
  ArrowLeft: () => move(-0.15), ArrowRight: () => move(0.15), "+": () => zoom(0.6), "=": () => zoom(0.6),
  "-": () => zoom(1 / 0.6), "0": () => show(0, end), n: () => step(1), p: () => step(-1),
  Escape: () => { pinned = hovered = null; showTooltip(null); redraw(); },
};

document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in KEYS)) return;
  event.preventDefault();
  KEYS[event.key]();
});

// The rest of the page.

function fillHeader() {
  const bad = Boolean(run.violation);
  byId("title").textContent = `seed ${run.seed}, ${counted(run.nodes.length, "node")}`;
  byId("verdict").textContent = bad ? `A promise was broken: ${run.violation}` : "Every promise was kept.";
  byId("verdict").className = bad ? "bad" : "good";
  const lost = messages.filter(message => !message.received.length).length;
  const elections = events.filter(event => event.kind === "election").length;
  byId("facts").textContent = `${end.toFixed(1)} virtual seconds · ${counted(elections, "election")} · `
    + `${counted(faults.length, "fault")} · ${counted(messages.length, "message")}, ${lost} never received`
    + (run.digest ? ` · digest ${run.digest}` : "");
  byId("command").textContent = run.command;
  byId("copy").addEventListener("click", async () => {
    await navigator.clipboard.writeText(run.command);
    byId("copy").textContent = "copied";
  });
}

function fillFilter() {
  for (const kind of KINDS) {
    const button = made("button", "");
    const count = messages.filter(message => message.kind === kind).length;
    button.type = "button";
    button.className = "filter";
    button.textContent = `${kind} ${count}`;
    button.style.setProperty("--swatch", `var(--${kind})`);
    button.setAttribute("aria-pressed", "true");
    button.addEventListener("click", () => {
      if (!hidden.delete(kind)) hidden.add(kind);
      button.setAttribute("aria-pressed", String(!hidden.has(kind)));
      redraw();
    });
    byId("filter").append(button);
  }
}

function colourOf(event) {
  if (event.kind !== "fault") return EVENT_COLOURS[event.kind] || "faint";
  return faults.find(each => each.begin === event.time && event.text.startsWith(each.kind))?.family || "faint";
}

function fillEvents() {
  events.forEach((event, at) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = event.kind;
    button.style.setProperty("--swatch", `var(--${colourOf(event)})`);
    button.append(made("time", event.time.toFixed(3)), made("span", event.text));
    button.addEventListener("click", () => jump(at));
    const item = document.createElement("li");
    item.append(button);
    byId("events").append(item);
  });
}

function fillLegend() {
  const entries = [...ROLES.map(role => [role, role]), ["down", "down"], ["paused", "paused-line"],
    ...["network", "process", "disk", "clock"].map(family => [`${family} fault`, family])];
  for (const [text, colour] of entries) {
    const entry = made("span", text);
    entry.style.setProperty("--swatch", `var(--${colour})`);
    byId("legend").append(entry);
  }
  for (const [text, colour, dash] of [["commit index", "commit", "solid"], ["end of the log", "log", "solid"],
    ["sent and never received", "faint", "dashed"]]) {
    const entry = made("span", text);
    entry.className = "stroke";
    entry.style.setProperty("--swatch", `var(--${colour})`);
    entry.style.setProperty("--dash", dash);
    byId("legend").append(entry);
  }
}

/** An address that ends in #1.2-1.5 shows these seconds. */
function followAddress() {
  const found = /^#([\d.]+)-([\d.]+)$/.exec(location.hash);
  if (found) show(Number(found[1]), Number(found[2]));
}

byId("zoom-in").addEventListener("click", () => zoom(0.6));
byId("zoom-out").addEventListener("click", () => zoom(1 / 0.6));
byId("fit").addEventListener("click", () => show(0, end));
byId("previous").addEventListener("click", () => step(-1));
byId("next").addEventListener("click", () => step(1));
addEventListener("hashchange", followAddress);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColours(); redraw(); });
new ResizeObserver(layOut).observe(stage);
fillHeader();
fillFilter();
fillEvents();
fillLegend();
readColours();
layOut();
followAddress();

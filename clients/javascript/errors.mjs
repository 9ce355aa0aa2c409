// One tree of errors, named as Python's are.

export class LiferaftError extends Error {
  constructor(message = "") {
    super(message);
    this.name = new.target.name;
  }
}

export class Unreachable extends LiferaftError {}
export class DeadlineExceeded extends LiferaftError {}
export class OutcomeUnknown extends LiferaftError {}
export class SessionExpired extends OutcomeUnknown {}
export class StubClosed extends LiferaftError {}
export class ProtocolError extends LiferaftError {}
export class InvalidArgument extends LiferaftError {}
export class InterfaceMismatch extends LiferaftError {}
export class Refused extends LiferaftError {}
export class NoSuchObject extends Refused {}
export class NoLeader extends Refused {}
export class Overloaded extends Refused {}
export class ReadOnly extends Refused {}
export class Unauthenticated extends Refused {}
export class PermissionDenied extends Refused {}

/** An exception that the interface declares: its class's name, its args, its annotated attributes. */
export class DeclaredError extends LiferaftError {
  constructor(type, message, args, attributes) {
    super(message);
    this.type = type;
    this.args = args;
    this.attributes = attributes;
  }
}

/** Any other exception, with the traceback where the host sends one. */
export class RemoteError extends LiferaftError {
  constructor(type, message, traceback) {
    super(`${type}: ${message}`);
    this.type = type;
    this.traceback = traceback;
  }
}

const OURS = {
  Refused, NoSuchObject, NoLeader, Overloaded, ReadOnly, Unauthenticated, PermissionDenied,
  InvalidArgument, DeadlineExceeded, OutcomeUnknown, SessionExpired,
};

export function ourError(name, message) {
  return new (OURS[name] ?? Refused)(message);
}

export function isRefusal(kind, name) {
  return kind === "liferaft" && ["Overloaded", "NoLeader", "Refused"].includes(name);
}

export function errorOf([, , kind, type, message, traceback, fields]) {
  if (kind === "declared") {
    const [args, ...attributes] = fields;
    return new DeclaredError(type, message, args, attributes);
  }
  if ((kind === "liferaft" || kind === "raised") && type in OURS) return ourError(type, message);
  return new RemoteError(type, message, traceback);
}

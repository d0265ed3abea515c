// What goes wrong, and what can be done about it. Codes and reasons are those of INTERFACE.md.

/** What can be done about an error. */
export type ErrorCode =
  | 'full'
  | 'failed'
  | 'corrupt'
  | 'missing'
  | 'locked'
  | 'lost'
  | 'invalid'
  | 'newer'
  | 'read-only'
  | 'unknown'
  | 'closed'
  | 'poisoned';

/** What it was in particular, where that has a cure of its own. */
export type ErrorReason =
  | 'quota'
  | 'blocked'
  | 'refused'
  | 'versionchange'
  | 'deleted'
  /** The tab that owned the store has ended, and what it held for this one with it. */
  | 'owner';

const CURES: Record<ErrorCode, string> = {
  full: 'nothing was written. Delete something or make room, then write again',
  failed: 'try again; if it stays, look at what the storage says',
  corrupt: 'import a copy, or delete the store and begin anew',
  missing: 'import a copy, or delete the store and begin anew',
  locked: 'close the store where it is open, or wait for that to end',
  lost: 'open the store again',
  invalid: 'nothing was changed. Correct the call',
  newer: 'use the version of this package that has written the store, or a later one',
  'read-only': 'nothing was written. stats().trouble says what keeps the store from writing',
  unknown: 'the write may or may not have taken effect. Read it back, then decide',
  closed: 'open the store again',
  poisoned: 'call again: the store is rebuilt from what was written',
};

const REASON_CURES: Record<ErrorReason, string> = {
  quota: 'nothing was written. The browser gives this site no more room: delete something, or ask for more with persist()',
  blocked: 'another tab holds on to the database: close it, then open again',
  refused: 'the browser does not open it, or it is not a store of this package: allow storage, or take another name',
  versionchange: 'another tab deletes the database. Open the store again when that is done',
  deleted: 'the database was deleted from outside. Open the store again: it will be empty',
  owner: 'the tab that held it has ended. Begin the scan, snapshot or import again',
};

export interface ErrorDetails {
  reason?: ErrorReason | undefined;
  /** Where in the storage, if known: `"table 7"`. */
  object?: string | undefined;
  /** Where in that, in bytes. */
  offset?: number | undefined;
  cause?: unknown;
}

/** An error as it goes from one tab or worker to another. */
export interface PlainError extends Omit<ErrorDetails, 'cause'> {
  code: ErrorCode;
  message: string;
}

/** Everything that a store rejects with, but for the reason of an AbortSignal and what a codec throws. */
export class TrilithError extends Error {
  override readonly name = 'TrilithError';
  /** What can be done about it. */
  readonly code: ErrorCode;
  /** What it was in particular. */
  readonly reason: ErrorReason | undefined;
  readonly object: string | undefined;
  readonly offset: number | undefined;
  readonly #what: string;

  /** `what` went wrong; what can be done is added to it. */
  constructor(code: ErrorCode, what: string, details: ErrorDetails = {}) {
    const cure = details.reason === undefined ? CURES[code] : REASON_CURES[details.reason];
    super(what.endsWith(cure) ? what : `${what}: ${cure}`, details.cause === undefined ? {} : { cause: details.cause });
    this.#what = what;
    this.code = code;
    this.reason = details.reason;
    this.object = details.object;
    this.offset = details.offset;
  }

  /** Of an error that came from elsewhere; any other is taken for a failure of the storage. */
  static from(error: unknown): TrilithError {
    if (error instanceof TrilithError) return error;
    const { code, message, reason, object, offset } = (error ?? {}) as Partial<PlainError>;
    const isOurs = typeof code === 'string' && code in CURES;
    const said = typeof message === 'string' ? message : String(error);
    return new TrilithError(isOurs ? code : 'failed', said, isOurs ? { reason, object, offset } : { cause: error });
  }

  /** The same for who has another cure. */
  as(code: ErrorCode): TrilithError {
    return new TrilithError(code, this.#what, { cause: this });
  }

  /** What of it can be sent. */
  plain(): PlainError {
    const { code, message, reason, object, offset } = this;
    return { code, message, reason, object, offset };
  }
}

/** Whether it is an error of this package, of this code if one is given; also if it is from another copy or frame. */
export const isTrilithError = (error: unknown, code?: ErrorCode): error is TrilithError => {
  const known = error as Partial<TrilithError> | null | undefined;
  return known?.name === 'TrilithError' && (code === undefined || known.code === code);
};

// Waiting that can be given up. What was asked for goes on; only nobody waits for it any more.
import type { MaybePromise } from '../engine/calls.js';

export interface Abortable {
  /** Ends the wait: the call rejects with the signal's reason. A write that was issued may still take effect. */
  signal?: AbortSignal | undefined;
}

/** What `work` gives, unless the signal comes first. `late` is given what comes too late. */
export const unlessAborted = <T>(
  signal: AbortSignal | undefined,
  work: MaybePromise<T>,
  late?: (value: T) => void,
): MaybePromise<T> => {
  if (!signal || !(work instanceof Promise)) return work;
  return new Promise<T>((resolve, reject) => {
    const onAbort = (): void => {
      reject(signal.reason as Error);
      work.then(late, () => {});
    };
    if (signal.aborted) {
      onAbort();
      return;
    }
    signal.addEventListener('abort', onAbort, { once: true });
    work.then(resolve, reject).finally(() => {
      signal.removeEventListener('abort', onAbort);
    });
  });
};

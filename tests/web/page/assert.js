// As much of assert as a page needs.

export const check = (condition, message) => {
  if (!condition) throw new Error(message ?? 'it is not so');
};

const shown = (value) => JSON.stringify(value, (_, inner) => (inner === undefined ? '(undefined)' : inner));

export const equal = (found, expected, message = '') => {
  if (shown(found) !== shown(expected)) throw new Error(`${message}: found ${shown(found)}, expected ${shown(expected)}`);
};

/** The error that `call` ends with, which must have this code (and reason). */
export const fails = async (call, code, reason) => {
  let found;
  try {
    found = await call();
  } catch (error) {
    if (error.code !== code || (reason !== undefined && error.reason !== reason)) {
      throw new Error(`expected ${code} ${reason ?? ''}, found ${error.code} ${error.reason}: ${error.message}`);
    }
    return error;
  }
  throw new Error(`expected ${code}, but it succeeded with ${shown(found)}`);
};

// Instances of the wasm module that can be made to trap: each call that they make of JavaScript may throw what a trap
// throws, and unwinds them as one.

/** Calls `use` with `arm`, which lets instances that are made meanwhile trap at their next call, and with how many there were. */
export const withTraps = async (use) => {
  const { instantiate } = WebAssembly;
  let isArmed = false;
  const made = { count: 0 };
  WebAssembly.instantiate = (module, imports) => {
    made.count += 1;
    const trapping = {};
    for (const [group, functions] of Object.entries(imports)) {
      trapping[group] = {};
      for (const [name, call] of Object.entries(functions)) {
        if (typeof call !== 'function') {
          trapping[group][name] = call;
          continue;
        }
        trapping[group][name] = (...args) => {
          // What JavaScript throws in these is caught within the instance.
          if (isArmed && !/__wbindgen_init_externref|_catch/.test(name)) {
            isArmed = false;
            throw new WebAssembly.RuntimeError('unreachable (of the test)');
          }
          return call(...args);
        };
      }
    }
    return instantiate.call(WebAssembly, module, trapping);
  };
  try {
    return await use(() => (isArmed = true), made);
  } finally {
    WebAssembly.instantiate = instantiate;
  }
};

// Where the wasm module is: beside this file. Bundlers look for these very words.

export const wasmUrl = (): URL => new URL('./wasm/trilith_bg.wasm', import.meta.url);

export const ringWasmUrl = (): URL => new URL('./wasm-ring/trilith_bg.wasm', import.meta.url);

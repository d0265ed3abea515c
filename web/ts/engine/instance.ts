// An instance of a wasm module. Each store has its own, so that one that panics takes no other with it.
import { TrilithError } from '../store/errors.js';

/** Where the wasm module is: its address, its bytes, or the compiled module. */
export type WasmSource = string | URL | ArrayBuffer | Uint8Array | Response | WebAssembly.Module;

/** What the engine may call into from outside a call of ours: tasks, timers, events, finalisers. */
const ENTERED = /closures_____invoke|closure_destroy|destroy_closure|_free$/;

/** What those give when the instance has ended: the glue looks into what several values would be. */
const NO_VALUES: readonly unknown[] = [];

/** What the glue of each of our modules has. */
interface AnyInstance {
  default(options: { module_or_path: WebAssembly.Module }): Promise<{ memory: WebAssembly.Memory }>;
  onPanic(callback: (message: string) => void): void;
}

export type MakeInstance<I> = (guarded: (exports: WebAssembly.Exports) => WebAssembly.Exports) => I;

export interface Loaded<I> {
  instance: I;
  memory: WebAssembly.Memory;
}

const isTrap = (error: unknown): boolean =>
  error instanceof WebAssembly.RuntimeError || (error instanceof RangeError && /call stack/i.test(error.message));

const compile = async (source: Exclude<WasmSource, string | URL>): Promise<WebAssembly.Module> => {
  if (source instanceof WebAssembly.Module) return source;
  if (!(typeof Response === 'function' && source instanceof Response)) return WebAssembly.compile(source as BufferSource);
  if (!source.ok) throw new Error(`${source.url} answers ${source.status}`);
  const isTyped = source.headers.get('content-type')?.startsWith('application/wasm') ?? false;
  return isTyped ? WebAssembly.compileStreaming(source) : WebAssembly.compile(await source.arrayBuffer());
};

/**
 * The compiled module.
 *
 * @throws {TrilithError} `failed`
 */
export const moduleOf = async (
  source: WasmSource,
  read: (address: string | URL) => Promise<Response | Uint8Array>,
): Promise<WebAssembly.Module> => {
  try {
    return await compile(typeof source === 'string' || source instanceof URL ? await read(source) : source);
  } catch (cause) {
    const what = source instanceof URL || typeof source === 'string' ? ` from ${source}` : '';
    const said = cause instanceof Error ? cause.message : String(cause);
    throw new TrilithError('failed', `the wasm module does not load${what} (${said}); options.wasm says where it is`, { cause });
  }
};

/** A fresh instance. `onEnd` is told once if it panics or traps; nothing of it may be called from then on. */
export const instantiate = async <I extends AnyInstance>(
  makeInstance: MakeInstance<I>,
  module: WebAssembly.Module,
  onEnd: (message: string) => void,
): Promise<Loaded<I>> => {
  let ended = false;
  const end = (message: string): void => {
    if (ended) return;
    ended = true;
    onEnd(message);
  };
  const guarded = (exports: WebAssembly.Exports): WebAssembly.Exports => {
    const all: Record<string, WebAssembly.ExportValue> = { ...exports };
    for (const [name, value] of Object.entries(exports)) {
      if (typeof value !== 'function') continue;
      const isEntered = ENTERED.test(name);
      all[name] = (...args: unknown[]): unknown => {
        if (ended) {
          if (isEntered) return NO_VALUES;
          throw new TrilithError('poisoned', 'the instance has panicked');
        }
        try {
          return (value as (...args: unknown[]) => unknown)(...args);
        } catch (error) {
          if (!isTrap(error)) throw error;
          end((error as Error).message);
          if (isEntered) return NO_VALUES;
          throw new TrilithError('poisoned', `the instance has panicked (${(error as Error).message})`, { cause: error });
        }
      };
    }
    return all;
  };
  const instance = makeInstance(guarded);
  const exports = await instance.default({ module_or_path: module });
  instance.onPanic((message: string) => {
    end(message);
  });
  return { instance, memory: exports.memory };
};

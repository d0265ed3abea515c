//! What the files are kept by: a JavaScript object, so that the module itself imports nothing of Node's.

use js_sys::{Array, Uint8Array};
use trilith::{Error, ErrorKind};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use crate::host::property;

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
/**
 * Keeps files. Where a method may return a promise it may also return its value. What is thrown has a `code`: "ENOSPC",
 * "EDQUOT" and "EFBIG" mean that there is no room, "ENOENT" that there is no such file, "ELOCKED" that another holds the
 * store; anything else is a failure. Names are paths of plain parts, separated by "/".
 */
export interface FileHost {
  /** Locks the store and says what is there; files that a crash left unfinished are removed first. */
  load(): FileHostContents | Promise<FileHostContents>;
  /** Replaces the blob, atomically and synced. */
  commit(meta: Uint8Array): void | Promise<void>;
  /** A new, empty file in the place of what had its name. Handles to that one go on. */
  create(name: string): unknown;
  /** A handle to a file that is there. At most one is asked for at a time. */
  open(name: string): unknown;
  /** Bytes of a file, read at once; fewer where it ends. */
  read(handle: unknown, offset: number, length: number): Uint8Array;
  /** Writes all of the bytes, at once. They survive the process. */
  write(handle: unknown, offset: number, bytes: Uint8Array): void;
  /** Cuts a file. */
  truncate(handle: unknown, length: number): void;
  /** What was written survives a loss of power. */
  sync(handle: unknown): void | Promise<void>;
  /** The same for the file's name. */
  syncName(name: string): void | Promise<void>;
  close(handle: unknown): void;
  rename(from: string, to: string): void | Promise<void>;
  /** Handles to the file go on. */
  remove(name: string): void | Promise<void>;
  /** Bytes that can still be stored, if that is known. */
  room(): number | undefined | Promise<number | undefined>;
  /** The host of another directory, beside this one's. */
  beside(directory: string): FileHost;
  /** Lets go of the lock and of all handles. */
  release(): void;
}

export interface FileHostContents {
  meta?: Uint8Array;
  /** Names and lengths of all files, one after the other. */
  files: (string | number)[];
  /** Identifies the machine's boot, where that is known: 32 hexadecimal digits. */
  boot?: string;
}
"#;

#[wasm_bindgen]
extern "C" {
    /// See the TypeScript interface of the same name.
    #[wasm_bindgen(typescript_type = "FileHost")]
    #[derive(Clone)]
    pub type FileHost;

    #[wasm_bindgen(method, catch)]
    pub(super) fn load(this: &FileHost) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch)]
    pub(super) fn commit(this: &FileHost, meta: &Uint8Array) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch)]
    pub(super) fn create(this: &FileHost, name: &str) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch)]
    pub(super) fn open(this: &FileHost, name: &str) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch)]
    pub(super) fn read(
        this: &FileHost,
        handle: &JsValue,
        offset: f64,
        length: u32,
    ) -> Result<Uint8Array, JsValue>;
    #[wasm_bindgen(method, catch)]
    pub(super) fn write(
        this: &FileHost,
        handle: &JsValue,
        offset: f64,
        bytes: &[u8],
    ) -> Result<(), JsValue>;
    #[wasm_bindgen(method, catch)]
    pub(super) fn truncate(this: &FileHost, handle: &JsValue, length: f64) -> Result<(), JsValue>;
    #[wasm_bindgen(method, catch)]
    pub(super) fn sync(this: &FileHost, handle: &JsValue) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch, js_name = syncName)]
    pub(super) fn sync_name(this: &FileHost, name: &str) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch)]
    pub(super) fn close(this: &FileHost, handle: &JsValue) -> Result<(), JsValue>;
    #[wasm_bindgen(method, catch)]
    pub(super) fn rename(this: &FileHost, from: &str, to: &str) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch)]
    pub(super) fn remove(this: &FileHost, name: &str) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch)]
    pub(super) fn room(this: &FileHost) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch)]
    pub(super) fn beside(this: &FileHost, directory: &str) -> Result<FileHost, JsValue>;
    #[wasm_bindgen(method, catch)]
    pub(super) fn release(this: &FileHost) -> Result<(), JsValue>;
}

/// What a method has returned, or what its promise comes to.
pub(super) async fn settled(returned: Result<JsValue, JsValue>) -> Result<JsValue, JsValue> {
    match returned?.dyn_into::<js_sys::Promise>() {
        Ok(promise) => JsFuture::from(promise).await,
        Err(value) => Ok(value),
    }
}

/// The engine's error for what was thrown while `doing` something.
pub(super) fn failure(doing: &'static str, thrown: &JsValue) -> Error {
    let text = |name| property(thrown, name).as_string().unwrap_or_default();
    let (code, message) = (text("code"), text("message"));
    let kind = match code.as_str() {
        "ENOSPC" | "EDQUOT" | "EFBIG" => ErrorKind::Full,
        "ENOENT" => ErrorKind::Missing,
        "ELOCKED" => ErrorKind::Locked,
        _ => ErrorKind::Failed,
    };
    Error::new(kind, doing, message)
}

/// The list that [`FileHost::load`] gives, as names and lengths.
pub(super) fn listed(contents: &JsValue) -> Vec<(String, u64)> {
    let files = property(contents, "files").dyn_into::<Array>();
    let files = files.unwrap_or_default();
    let length = |at| files.get(at).as_f64().unwrap_or_default() as u64;
    (0..files.length())
        .step_by(2)
        .filter_map(|at| Some((files.get(at).as_string()?, length(at + 1))))
        .collect()
}

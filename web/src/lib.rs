//! Trilith in JavaScript: the engine compiled to wasm32, with what it needs of a page or of Node.
//!
#![doc = include_str!("../INTERFACE.md")]

#[cfg(target_arch = "wasm32")]
mod host;
#[cfg(target_arch = "wasm32")]
mod storage;
mod store;

#[cfg(target_arch = "wasm32")]
pub use host::WebRuntime;
#[cfg(target_arch = "wasm32")]
pub use storage::{FileHost, HostFiles, IndexedDb, WebStorage};

/// The engine that a page loads, as `trilith x.y.z`.
///
/// ```
/// assert!(trilith_web::version().starts_with("trilith "));
/// ```
#[cfg_attr(target_arch = "wasm32", wasm_bindgen::prelude::wasm_bindgen)]
pub fn version() -> String {
    concat!("trilith ", env!("CARGO_PKG_VERSION")).to_owned()
}

#[cfg(all(feature = "ring", target_arch = "wasm32"))]
pub mod ring;

/// Runs when the module is instantiated.
#[cfg(target_arch = "wasm32")]
#[wasm_bindgen::prelude::wasm_bindgen(start)]
pub fn start() {
    host::install_panic_hook();
}

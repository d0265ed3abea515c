//! Trilith in a web page: the engine compiled to wasm32.
//!
//! The bindings (wasm-bindgen, a storage on IndexedDB, the npm package) come with their own step. Until
//! then the crate proves one thing on every change: that the engine compiles and links for a host with
//! no files, no threads and no clock. It must never hold what the engine should: a page is a host.

/// The engine that a page would load, as `trilith x.y.z`.
///
/// ```
/// assert!(trilith_web::version().starts_with("trilith "));
/// ```
pub fn version() -> &'static str {
    concat!("trilith ", env!("CARGO_PKG_VERSION"))
}

// Links the engine into the module, so that what cannot link on wasm32 is found here.
pub use trilith::{Error, ErrorKind};

#[cfg(all(feature = "ring", target_arch = "wasm32"))]
pub mod ring;

//! The store as JavaScript has it: one class over [`trilith::Db`], and what is walked with.
//!
//! It is what the package's TypeScript is built on, and not meant for anybody else: keys and values are bytes, many of
//! them cross the boundary in one flat array (INTERFACE.md), and a call is answered at once where memory can answer.

#[cfg_attr(
    not(any(test, target_arch = "wasm32")),
    expect(dead_code, reason = "natively it is only tested")
)]
mod encoding;

#[cfg(target_arch = "wasm32")]
mod answer;
#[cfg(target_arch = "wasm32")]
mod bindings;
#[cfg(target_arch = "wasm32")]
mod cursor;
#[cfg(target_arch = "wasm32")]
mod describe;
#[cfg(target_arch = "wasm32")]
mod error;
#[cfg(target_arch = "wasm32")]
mod feed;
#[cfg(target_arch = "wasm32")]
mod options;
#[cfg(target_arch = "wasm32")]
mod transfer;

/// The engine's store over this host.
#[cfg(target_arch = "wasm32")]
type WebDb = trilith::Db<crate::WebStorage, crate::WebRuntime>;

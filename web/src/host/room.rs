//! How much the browser lets this site keep, and for how long.

use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use super::{global, property};

#[wasm_bindgen]
extern "C" {
    type StorageManager;
    #[wasm_bindgen(method, catch)]
    fn estimate(this: &StorageManager) -> Result<js_sys::Promise, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn persist(this: &StorageManager) -> Result<js_sys::Promise, JsValue>;
}

fn manager() -> Option<StorageManager> {
    let manager = property(&global("navigator"), "storage");
    manager.is_object().then(|| manager.unchecked_into())
}

/// Bytes that can still be stored, where the browser tells.
pub(crate) async fn room() -> Option<u64> {
    let estimate = JsFuture::from(manager()?.estimate().ok()?).await.ok()?;
    let quota = property(&estimate, "quota").as_f64()?;
    let usage = property(&estimate, "usage").as_f64()?;
    Some((quota - usage).max(0.0) as u64)
}

/// Asks the browser to keep what this site stores even when room is short. Tells whether it will.
pub(crate) async fn persist() -> bool {
    let asked = async { JsFuture::from(manager()?.persist().ok()?).await.ok() };
    asked.await.is_some_and(|answer| answer.is_truthy())
}

//! What the crate asks of the JavaScript around it: a page, a worker or Node. Nothing is touched before it is asked
//! for, so that the module can be loaded anywhere.

mod event;
mod keep_alive;
mod lock;
mod panic;
mod room;
pub(crate) mod runtime;

use wasm_bindgen::prelude::*;

pub(crate) use event::{Slot, Waker as SlotWaker, slot};
pub(crate) use keep_alive::KeepAlive;
pub(crate) use lock::Hold;
pub(crate) use panic::poisoned;
pub(crate) use panic::{install as install_panic_hook, is_poisoned};
pub(crate) use room::{persist, room};
pub use runtime::WebRuntime;

/// A property of an object; `undefined` where there is none.
pub(crate) fn property(of: &JsValue, name: &str) -> JsValue {
    js_sys::Reflect::get(of, &JsValue::from_str(name)).unwrap_or(JsValue::UNDEFINED)
}

/// What a page calls `globalThis.name`.
pub(crate) fn global(name: &str) -> JsValue {
    property(&js_sys::global(), name)
}

//! After a panic the instance's memory is in no known state: nothing of it may be used any more. It is said once, to
//! whoever asked to hear, and from then on every call fails.

use std::cell::{Cell, RefCell};

use wasm_bindgen::prelude::*;

thread_local! {
    static POISONED: Cell<bool> = const { Cell::new(false) };
    static MESSAGE: RefCell<Option<String>> = const { RefCell::new(None) };
    static CALLBACK: RefCell<Option<js_sys::Function>> = const { RefCell::new(None) };
}

/// Sets the hook. Called when the module starts.
pub(crate) fn install() {
    std::panic::set_hook(Box::new(|info| {
        if POISONED.replace(true) {
            return;
        }
        let message = info.to_string();
        let callback = CALLBACK.with(|callback| callback.try_borrow().ok()?.clone());
        MESSAGE.with(|slot| {
            if let Ok(mut slot) = slot.try_borrow_mut() {
                *slot = Some(message.clone());
            }
        });
        if let Some(callback) = callback {
            let _ = callback.call1(&JsValue::UNDEFINED, &JsValue::from_str(&message));
        }
    }));
}

pub(crate) fn is_poisoned() -> bool {
    POISONED.get()
}

/// What the panic said that has ended this instance; `undefined` while it is sound.
#[wasm_bindgen]
pub fn poisoned() -> Option<String> {
    MESSAGE.with(|message| message.borrow().clone())
}

/// `callback(message)` is called once, from within a panic. What was under way then is never answered: promises stay
/// as they are. The callback must not call into the instance.
#[wasm_bindgen(js_name = onPanic)]
pub fn on_panic(callback: Option<js_sys::Function>) {
    CALLBACK.with(|slot| *slot.borrow_mut() = callback);
}

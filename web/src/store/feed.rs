//! Whoever wants to hear of what was written.

use std::cell::RefCell;
use std::rc::Rc;

use js_sys::{Function, Uint8Array};
use wasm_bindgen::prelude::*;

/// Calls back with the operations of each write that has taken effect, in their order.
#[derive(Clone, Default)]
pub(super) struct Feed(Rc<RefCell<Option<Function>>>);

impl Feed {
    pub(super) fn set(&self, callback: Option<Function>) {
        *self.0.borrow_mut() = callback;
    }

    pub(super) fn is_on(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// `operations` as INTERFACE.md has them.
    pub(super) fn tell(&self, operations: &[u8]) {
        let callback = self.0.borrow().clone();
        if let Some(callback) = callback {
            // What goes wrong there is not the writer's business.
            let _ = callback.call1(&JsValue::UNDEFINED, &Uint8Array::from(operations));
        }
    }
}

//! Node ends when nothing is under way that it knows of. It does not know of ours: timers are not counted, so that an
//! idle store keeps no process alive, and a call that has not been answered must.

use std::cell::{Cell, RefCell};

use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = setInterval)]
    fn set_interval(callback: &JsValue, ms: f64) -> JsValue;
    #[wasm_bindgen(js_name = clearInterval)]
    fn clear_interval(timer: &JsValue);
}

thread_local! {
    static UNDER_WAY: Cell<u32> = const { Cell::new(0) };
    static TIMER: RefCell<Option<JsValue>> = const { RefCell::new(None) };
    static NOTHING: JsValue = Closure::<dyn FnMut()>::new(|| ()).into_js_value();
    static IS_NODE: bool = !super::global("process").is_undefined();
}

/// While one exists, Node goes on. Costs nothing elsewhere.
pub(crate) struct KeepAlive;

impl KeepAlive {
    pub(crate) fn new() -> Self {
        let before = UNDER_WAY.with(|count| count.replace(count.get() + 1));
        if before == 0 && IS_NODE.with(|is_node| *is_node) {
            let timer = NOTHING.with(|nothing| set_interval(nothing, f64::from(i32::MAX)));
            TIMER.with(|slot| *slot.borrow_mut() = Some(timer));
        }
        Self
    }
}

impl Drop for KeepAlive {
    fn drop(&mut self) {
        let left = UNDER_WAY.with(|count| {
            count.set(count.get() - 1);
            count.get()
        });
        if left == 0
            && let Some(timer) = TIMER.with(|slot| slot.borrow_mut().take())
        {
            clear_interval(&timer);
        }
    }
}

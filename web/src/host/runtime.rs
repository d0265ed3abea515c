//! The engine's host in JavaScript: its clocks, its dice, its timers and its queue of tasks.

use std::cell::{Cell, RefCell};

use std::time::Duration;

use js_sys::Function;
use trilith::{Runtime, Work};
use wasm_bindgen::prelude::*;

use super::{Slot, SlotWaker, global, slot};

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = performance, js_name = now)]
    fn performance_now() -> f64;
    #[wasm_bindgen(js_namespace = Date, js_name = now)]
    fn date_now() -> f64;
    #[wasm_bindgen(js_namespace = crypto, js_name = getRandomValues)]
    fn fill_random(bytes: &js_sys::Uint8Array);
    #[wasm_bindgen(js_name = setTimeout)]
    fn set_timeout(callback: &JsValue, ms: f64) -> JsValue;
    #[wasm_bindgen(js_name = clearTimeout)]
    fn clear_timeout(timer: &JsValue);

    type MessageChannel;
    #[wasm_bindgen(constructor)]
    fn new() -> MessageChannel;
    #[wasm_bindgen(method, getter)]
    fn port1(this: &MessageChannel) -> MessagePort;
    #[wasm_bindgen(method, getter)]
    fn port2(this: &MessageChannel) -> MessagePort;
    type MessagePort;
    #[wasm_bindgen(method, js_name = postMessage)]
    fn post_message(this: &MessagePort, message: &JsValue);
    #[wasm_bindgen(method, setter)]
    fn set_onmessage(this: &MessagePort, callback: &JsValue);
    /// A timer of Node's.
    type Timer;
    #[wasm_bindgen(method)]
    fn unref(this: &Timer);
}

/// The runtime of a page, a worker or Node. See [`trilith::Runtime`].
///
/// There is one thread: work of every kind takes its turns on the event loop, and gives it back in
/// [`breathe`](Runtime::breathe). Timers do not keep Node from ending: what is under way does
/// ([`KeepAlive`](super::KeepAlive)).
#[derive(Clone, Copy, Debug, Default)]
pub struct WebRuntime;

impl Runtime for WebRuntime {
    fn monotonic(&self) -> Duration {
        Duration::from_micros((performance_now() * 1000.0) as u64)
    }

    fn wall_ms(&self) -> u64 {
        date_now() as u64
    }

    fn seed(&self) -> u64 {
        let bytes = js_sys::Uint8Array::new_with_length(8);
        fill_random(&bytes);
        let mut seed = [0; 8];
        bytes.copy_to(&mut seed);
        u64::from_le_bytes(seed)
    }

    fn sleep(&self, time: Duration) -> impl Future<Output = ()> {
        Sleep::new(time)
    }

    fn breathe(&self) -> impl Future<Output = ()> {
        breathe()
    }

    fn spawn<F: Future<Output = ()> + 'static>(&self, _work: Work, task: F) {
        wasm_bindgen_futures::spawn_local(task);
    }
}

/// A timer; dropping it takes it back.
pub(crate) struct Sleep {
    timer: JsValue,
    _callback: Closure<dyn FnMut()>,
    done: Slot<()>,
}

impl Sleep {
    pub(crate) fn new(time: Duration) -> Self {
        let (done, waker) = slot();
        let callback = Closure::<dyn FnMut()>::new(move || waker.set(()));
        // Longer than timers can be is for ever, as far as anybody waits.
        let ms = (time.as_secs_f64() * 1000.0)
            .ceil()
            .min(f64::from(i32::MAX));
        let timer = set_timeout(callback.as_ref(), ms);
        if super::property(&timer, "unref").is_function() {
            timer.unchecked_ref::<Timer>().unref();
        }
        Self {
            timer,
            _callback: callback,
            done,
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<()> {
        std::pin::Pin::new(&mut self.done).poll(context)
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        clear_timeout(&self.timer);
    }
}

/// Those who wait for the event loop to turn, and how it is asked to.
struct Turns {
    ask: Ask,
    waiting: RefCell<Vec<SlotWaker<()>>>,
    asked: Cell<bool>,
}

enum Ask {
    /// Node's.
    Immediate(Function, JsValue),
    /// Timers of a page are clamped to four milliseconds; messages are not.
    Message(MessagePort),
}

thread_local! {
    static TURNS: Turns = Turns::new();
}

impl Turns {
    fn new() -> Self {
        let callback = Closure::<dyn FnMut()>::new(|| {
            let waiting = TURNS.with(|turns| {
                turns.asked.set(false);
                turns.waiting.take()
            });
            waiting.into_iter().for_each(|waker| waker.set(()));
        })
        .into_js_value();
        let ask = match global("setImmediate").dyn_into::<Function>() {
            Ok(immediate) => Ask::Immediate(immediate, callback),
            Err(_) => {
                let channel = MessageChannel::new();
                channel.port1().set_onmessage(&callback);
                Ask::Message(channel.port2())
            }
        };
        Self {
            ask,
            waiting: RefCell::default(),
            asked: Cell::new(false),
        }
    }

    fn ask(&self) {
        if self.asked.replace(true) {
            return;
        }
        match &self.ask {
            Ask::Immediate(immediate, callback) => {
                let _ = immediate.call1(&JsValue::UNDEFINED, callback);
            }
            Ask::Message(port) => port.post_message(&JsValue::UNDEFINED),
        }
    }
}

/// Ready when the event loop has turned.
fn breathe() -> Slot<()> {
    let (done, waker) = slot();
    TURNS.with(|turns| {
        turns.waiting.borrow_mut().push(waker);
        turns.ask();
    });
    done
}

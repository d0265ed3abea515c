//! How a call is answered: at once where memory can, by a promise where somebody has to be waited for.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use js_sys::Uint8Array;
use trilith::Result;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::future_to_promise;

use super::error;
use crate::host::{KeepAlive, is_poisoned};

/// What an answer is in JavaScript.
pub(crate) type Answer = std::result::Result<JsValue, JsValue>;

/// The future's value if it is ready, or else a promise of it.
pub(crate) fn answer(future: impl Future<Output = Result<JsValue>> + 'static) -> Answer {
    if is_poisoned() {
        return Err(error::poisoned());
    }
    let mut future: Pin<Box<dyn Future<Output = Result<JsValue>>>> = Box::pin(future);
    let mut context = Context::from_waker(Waker::noop());
    match future.as_mut().poll(&mut context) {
        Poll::Ready(result) => result.map_err(|error| error::to_js(&error)),
        // It is polled again as soon as its task begins, so that nothing it waits for is missed.
        Poll::Pending => {
            let promise = future_to_promise(async move {
                let _under_way = KeepAlive::new();
                future.await.map_err(|error| error::to_js(&error))
            });
            Ok(promise.into())
        }
    }
}

/// Bytes as JavaScript's own.
pub(crate) fn bytes(bytes: &[u8]) -> JsValue {
    Uint8Array::from(bytes).into()
}

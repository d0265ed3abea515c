//! One owner of a store at a time, by a Web Lock. The browser lets it go with the tab or the worker that held it.

use std::time::Duration;

use js_sys::{Array, Function, Object, Promise, Reflect};
use trilith::{Error, ErrorKind, Result};
use wasm_bindgen::prelude::*;

use super::runtime::Sleep;
use super::{global, property, slot};

#[wasm_bindgen]
extern "C" {
    type LockManager;
    #[wasm_bindgen(method, catch)]
    fn request(
        this: &LockManager,
        name: &str,
        options: &Object,
        callback: &JsValue,
    ) -> std::result::Result<Promise, JsValue>;
}

const DOING: &str = "locking the store";
const ATTEMPTS: u32 = 5;
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(40);

/// The lock, until it is dropped. What lets go of it is plain JavaScript, so that it can be called when the instance
/// has come to grief.
pub(crate) struct Hold(Option<Function>);

impl Hold {
    /// Takes the lock of this name, if nobody has it. Where there are no Web Locks nothing is locked.
    pub(crate) async fn take(name: &str, releases: &Array) -> Result<Self> {
        let locks = property(&global("navigator"), "locks");
        if locks.is_undefined() {
            return Ok(Self(None));
        }
        let mut attempts = 0;
        loop {
            match request(locks.unchecked_ref(), name).await {
                Asked::Held(release) => {
                    releases.push(&release);
                    return Ok(Self(Some(release)));
                }
                Asked::Refused => return Ok(Self(None)),
                // Who has just let go of it may not have been heard yet.
                Asked::Taken if attempts < ATTEMPTS => attempts += 1,
                Asked::Taken => {
                    return Err(Error::new(
                        ErrorKind::Locked,
                        DOING,
                        "it is open in another tab or worker: close that one, or let it do the work",
                    ));
                }
            }
            Sleep::new(BETWEEN_ATTEMPTS).await;
        }
    }
}

enum Asked {
    /// It is ours until this is called.
    Held(Function),
    Taken,
    /// There are no locks where there is no storage, as in an opaque origin.
    Refused,
}

async fn request(locks: &LockManager, name: &str) -> Asked {
    let (asked, waker) = slot();
    let refused = waker.clone();
    let on_lock = Closure::once_into_js(move |lock: JsValue| -> JsValue {
        if lock.is_null() {
            waker.set(Asked::Taken);
            return JsValue::UNDEFINED;
        }
        let mut release = None;
        let promise = Promise::new(&mut |resolve, _| release = Some(resolve));
        waker.set(release.map_or(Asked::Refused, Asked::Held));
        promise.into()
    });
    let options = Object::new();
    let _ = Reflect::set(&options, &"ifAvailable".into(), &JsValue::TRUE);
    let Ok(promise) = locks.request(name, &options, &on_lock) else {
        return Asked::Refused;
    };
    wasm_bindgen_futures::spawn_local(async move {
        if wasm_bindgen_futures::JsFuture::from(promise).await.is_err() {
            refused.set(Asked::Refused);
        }
    });
    asked.await
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(release) = &self.0 {
            let _ = release.call0(&JsValue::UNDEFINED);
        }
    }
}

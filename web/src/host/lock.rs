//! One owner of a store at a time, by a Web Lock. The browser lets it go with the tab or the worker that held it.

use std::cell::RefCell;
use std::rc::Rc;

use js_sys::{Array, Function, Object, Promise, Reflect};
use trilith::{Error, ErrorKind, Result};
use wasm_bindgen::prelude::*;

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
        let (taken, waker) = slot::<Option<Function>>();
        let refused = waker.clone();
        let on_lock = Closure::once_into_js(move |lock: JsValue| -> JsValue {
            if lock.is_null() {
                waker.set(None);
                return JsValue::UNDEFINED;
            }
            let release = Rc::new(RefCell::new(None));
            let promise = Promise::new(&mut |resolve, _| {
                *release.borrow_mut() = Some(resolve);
            });
            waker.set(release.take());
            promise.into()
        });
        let options = Object::new();
        let _ = Reflect::set(&options, &"ifAvailable".into(), &JsValue::TRUE);
        let asked = locks
            .unchecked_ref::<LockManager>()
            .request(name, &options, &on_lock);
        let Ok(promise) = asked else {
            return Ok(Self(None));
        };
        // It is refused where storage is, as in an opaque origin.
        wasm_bindgen_futures::spawn_local(async move {
            if wasm_bindgen_futures::JsFuture::from(promise).await.is_err() {
                refused.set(None);
            }
        });
        match taken.await {
            Some(release) => {
                releases.push(&release);
                Ok(Self(Some(release)))
            }
            None => Err(Error::new(
                ErrorKind::Locked,
                DOING,
                "it is open in another tab or worker: close that one, or let it do the work",
            )),
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(release) = &self.0 {
            let _ = release.call0(&JsValue::UNDEFINED);
        }
    }
}

//! One transaction: every request is issued at once. One that writes is told to commit, and only its end is waited for;
//! one that reads is waited for until its last request has its result. Results come in the order of the requests, but
//! a transaction that was told to commit may be complete before them: large values are fetched from files.
//!
//! Between the first request and `commit` nothing is awaited: a transaction ends by itself as soon as the event loop
//! has nothing of it to do.

use std::pin::Pin;
use std::task::{Context, Poll};

use js_sys::Array;
use wasm_bindgen::prelude::*;
use web_sys::{IdbDatabase, IdbKeyRange, IdbObjectStore, IdbRequest, IdbTransaction};

use super::failure::Failure;
use crate::host::{Slot, slot};

/// Small things: the meta blob, and the database's own identity.
pub(super) const STORE: &str = "store";
/// Which objects there are: name -> [file, length].
pub(super) const OBJECTS: &str = "objects";
/// Their bytes: [file, offset] -> Uint8Array.
pub(super) const ROWS: &str = "rows";

#[wasm_bindgen]
extern "C" {
    // web-sys has the durability only behind an unstable cfg.
    #[wasm_bindgen(extends = IdbDatabase)]
    type Database;
    #[wasm_bindgen(method, catch, js_name = transaction)]
    fn transaction_with(
        this: &Database,
        stores: &JsValue,
        mode: &str,
        options: &JsValue,
    ) -> Result<IdbTransaction, JsValue>;
    #[wasm_bindgen(extends = IdbTransaction)]
    type Committing;
    // Not where browsers are old: they commit a little later, by themselves.
    #[wasm_bindgen(method, catch)]
    fn commit(this: &Committing) -> Result<(), JsValue>;
}

/// What a transaction is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Read,
    /// Survives the tab.
    Relaxed,
    /// Survives a loss of power.
    Strict,
}

thread_local! {
    static STORES: Array = [STORE, OBJECTS, ROWS].iter().map(|name| JsValue::from_str(name)).collect();
    static OPTIONS: [JsValue; 2] = ["relaxed", "strict"].map(|durability| {
        let options = js_sys::Object::new();
        let _ = js_sys::Reflect::set(&options, &"durability".into(), &durability.into());
        options.into()
    });
}

/// A transaction to which requests are being added.
pub(super) struct Transaction {
    inner: IdbTransaction,
}

impl Transaction {
    pub(super) fn begin(database: &IdbDatabase, mode: Mode) -> Result<Self, Failure> {
        let database = database.unchecked_ref::<Database>();
        let inner = STORES.with(|stores| match mode {
            Mode::Read => database.transaction_with(stores, "readonly", &JsValue::UNDEFINED),
            Mode::Relaxed => {
                OPTIONS.with(|all| database.transaction_with(stores, "readwrite", &all[0]))
            }
            Mode::Strict => {
                OPTIONS.with(|all| database.transaction_with(stores, "readwrite", &all[1]))
            }
        });
        match inner {
            Ok(inner) => Ok(Self { inner }),
            Err(error) => Err(Failure::of(&error)),
        }
    }

    pub(super) fn store(&self, name: &str) -> Result<IdbObjectStore, Failure> {
        self.inner
            .object_store(name)
            .map_err(|error| Failure::of(&error))
    }

    /// Takes everything back.
    pub(super) fn abort(self) {
        let _ = self.inner.abort();
    }

    /// Commits, and is ready when that is done or has failed.
    pub(super) fn end(self) -> Ending {
        // Fails only when it has ended already, which its events tell.
        let _ = self.inner.unchecked_ref::<Committing>().commit();
        let (done, waker) = slot();
        let on_complete = {
            let waker = waker.clone();
            Closure::<dyn FnMut()>::new(move || waker.set(Ok(())))
        };
        let on_abort = {
            let inner = self.inner.clone();
            Closure::<dyn FnMut()>::new(move || waker.set(Err(failure_of(&inner))))
        };
        self.inner
            .set_oncomplete(Some(on_complete.as_ref().unchecked_ref()));
        self.inner
            .set_onabort(Some(on_abort.as_ref().unchecked_ref()));
        Ending {
            inner: self.inner,
            last: None,
            done,
            _callbacks: [on_complete, on_abort],
        }
    }

    /// Ready when the last of its requests has its result, and so have those before it.
    pub(super) fn read(self, last: &IdbRequest) -> Ending {
        let (done, waker) = slot();
        let on_success = {
            let waker = waker.clone();
            Closure::<dyn FnMut()>::new(move || waker.set(Ok(())))
        };
        let on_failure = {
            let (inner, last) = (self.inner.clone(), last.clone());
            Closure::<dyn FnMut()>::new(move || {
                waker.set(Err(match last.error() {
                    Ok(Some(error)) => Failure::of(&error),
                    _ => failure_of(&inner),
                }));
            })
        };
        last.set_onsuccess(Some(on_success.as_ref().unchecked_ref()));
        last.set_onerror(Some(on_failure.as_ref().unchecked_ref()));
        self.inner
            .set_onabort(Some(on_failure.as_ref().unchecked_ref()));
        Ending {
            inner: self.inner,
            last: Some(last.clone()),
            done,
            _callbacks: [on_success, on_failure],
        }
    }
}

fn failure_of(transaction: &IdbTransaction) -> Failure {
    match transaction.error() {
        Some(error) => Failure::of(&error),
        None => Failure::Broken("the transaction was aborted".into()),
    }
}

/// The end of a transaction. Dropping it abandons the wait.
pub(super) struct Ending {
    inner: IdbTransaction,
    /// The request whose events are listened to.
    last: Option<IdbRequest>,
    done: Slot<Result<(), Failure>>,
    _callbacks: [Closure<dyn FnMut()>; 2],
}

impl Future for Ending {
    type Output = Result<(), Failure>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.done).poll(context)
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.inner.set_oncomplete(None);
        self.inner.set_onabort(None);
        if let Some(last) = &self.last {
            last.set_onsuccess(None);
            last.set_onerror(None);
        }
    }
}

/// What a request came to that has ended well.
pub(super) fn result_of(request: &IdbRequest) -> Result<JsValue, Failure> {
    request.result().map_err(|error| match request.error() {
        Ok(Some(error)) => Failure::of(&error),
        _ => Failure::of(&error),
    })
}

/// The same for a list.
pub(super) fn list_of(request: &IdbRequest) -> Result<Array, Failure> {
    let result = result_of(request)?.dyn_into::<Array>();
    result.map_err(|result| Failure::Broken(format!("a list was asked for and {result:?} came")))
}

/// The key of a row.
pub(super) fn row_key(file: u64, start: u64) -> JsValue {
    Array::of2(
        &JsValue::from_f64(file as f64),
        &JsValue::from_f64(start as f64),
    )
    .into()
}

/// The rows of `file` from `first` on, up to `last` or to its end.
pub(super) fn row_range(file: u64, first: u64, last: Option<u64>) -> Result<IdbKeyRange, Failure> {
    let last = match last {
        Some(last) => row_key(file, last),
        // Behind every number.
        None => Array::of2(&JsValue::from_f64(file as f64), &Array::new()).into(),
    };
    IdbKeyRange::bound(&row_key(file, first), &last).map_err(|error| Failure::of(&error))
}

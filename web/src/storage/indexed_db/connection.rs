//! The connection to the database: opened, lost, opened again, given up.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use js_sys::{Array, Uint8Array};
use trilith::{Error, ErrorKind, Result, Runtime as _};
use wasm_bindgen::prelude::*;
use web_sys::{IdbDatabase, IdbFactory, IdbOpenDbRequest, IdbVersionChangeEvent};

use super::failure::{Failure, doing};
use super::transaction::{Mode, OBJECTS, ROWS, STORE, Transaction, result_of};
use crate::host::{WebRuntime, global, runtime::Sleep, slot};

/// The only version of the database's own layout. It is never raised: another tab could not follow.
const VERSION: u32 = 1;
/// Where the database's identity is kept: a database of the same name that was made anew is another one.
pub(super) const IDENTITY: &str = "identity";
const IDENTITY_BYTES: usize = 16;

/// A connection that mends itself as long as that makes sense.
pub(super) struct Connection {
    name: String,
    open_timeout: Duration,
    /// Functions that close what is open, for when the instance has come to grief.
    releases: Array,
    database: RefCell<Option<Live>>,
    /// Why it is not opened again.
    gone: Rc<RefCell<Option<Error>>>,
    identity: RefCell<Option<Vec<u8>>>,
}

struct Live {
    database: IdbDatabase,
    broken: Rc<Cell<bool>>,
    _callbacks: [Closure<dyn FnMut()>; 2],
}

impl Drop for Live {
    fn drop(&mut self) {
        self.database.set_onversionchange(None);
        self.database.set_onclose(None);
        self.database.close();
    }
}

impl Connection {
    pub(super) fn new(name: String, open_timeout: Duration, releases: Array) -> Self {
        Self {
            name,
            open_timeout,
            releases,
            database: RefCell::default(),
            gone: Rc::default(),
            identity: RefCell::default(),
        }
    }

    /// Opens the database, which is made if need be, and learns its identity.
    pub(super) async fn open(&self) -> Result<()> {
        self.connect(true).await?;
        let identity = match self.read_identity().await? {
            Some(identity) => identity,
            None => self.make_identity().await?,
        };
        *self.identity.borrow_mut() = Some(identity);
        Ok(())
    }

    /// Closes it for good; what is asked of it from now on gets `error`.
    pub(super) fn give_up(&self, error: Error) {
        self.gone.borrow_mut().get_or_insert(error);
        self.database.take();
    }

    /// Begins a transaction on the connection as it is.
    pub(super) fn begin(&self, mode: Mode) -> Result<Transaction, Failure> {
        if let Some(error) = &*self.gone.borrow() {
            return Err(Failure::Gone(error.clone()));
        }
        match &*self.database.borrow() {
            Some(live) if !live.broken.get() => Transaction::begin(&live.database, mode),
            _ => Err(Failure::Broken("the connection is closed".into())),
        }
    }

    /// Opens the same database again.
    pub(super) async fn reopen(&self) -> Result<(), Failure> {
        if let Some(error) = &*self.gone.borrow() {
            return Err(Failure::Gone(error.clone()));
        }
        self.database.take();
        let reopened = async {
            self.connect(false).await?;
            let known = self.identity.borrow().clone();
            if known.is_some() && self.read_identity().await? == known {
                return Ok(());
            }
            Err(deleted())
        };
        reopened.await.map_err(|error| {
            if error.doing() == doing::DELETED {
                self.give_up(error.clone());
            }
            Failure::Gone(error)
        })
    }

    async fn connect(&self, may_make: bool) -> Result<()> {
        let request = open_request(&self.name)?;
        let (opened, waker) = slot();
        let made = Rc::new(Cell::new(false));
        let on_success = {
            let (request, waker) = (request.clone(), waker.clone());
            Closure::<dyn FnMut()>::new(move || waker.set(Ok(request.result())))
        };
        let on_error = {
            let request = request.clone();
            Closure::<dyn FnMut(web_sys::Event)>::new(move |event: web_sys::Event| {
                // Nobody else is to hear of it.
                event.prevent_default();
                let error = request.error().ok().flatten();
                waker.set(Err(error));
            })
        };
        let on_upgrade = {
            let (request, made) = (request.clone(), made.clone());
            Closure::<dyn FnMut(IdbVersionChangeEvent)>::new(move |_: IdbVersionChangeEvent| {
                made.set(true);
                if (!may_make || make_stores(&request).is_err())
                    && let Some(transaction) = request.transaction()
                {
                    let _ = transaction.abort();
                }
            })
        };
        request.set_onsuccess(Some(on_success.as_ref().unchecked_ref()));
        request.set_onerror(Some(on_error.as_ref().unchecked_ref()));
        request.set_onupgradeneeded(Some(on_upgrade.as_ref().unchecked_ref()));
        let opened = match or_timeout(opened, self.open_timeout).await {
            Some(opened) => opened,
            None => {
                close_when_opened(&request);
                return Err(Error::new(
                    ErrorKind::Locked,
                    doing::BLOCKED,
                    format!(
                        "it did not within {} ms: close the site's other tabs, then open the store again",
                        self.open_timeout.as_millis()
                    ),
                ));
            }
        };
        let database = match opened {
            Ok(Ok(database)) => database.unchecked_into::<IdbDatabase>(),
            Err(_) if made.get() && !may_make => return Err(deleted()),
            Ok(Err(error)) => return Err(refused(error.dyn_ref())),
            Err(error) => return Err(refused(error.as_ref())),
        };
        self.adopt(database)
    }

    fn adopt(&self, database: IdbDatabase) -> Result<()> {
        let broken = Rc::new(Cell::new(false));
        let on_close = {
            let broken = broken.clone();
            Closure::<dyn FnMut()>::new(move || broken.set(true))
        };
        let on_version_change = {
            let (database, gone) = (database.clone(), self.gone.clone());
            Closure::<dyn FnMut()>::new(move || {
                database.close();
                gone.borrow_mut().get_or_insert(Error::new(
                    ErrorKind::Lost,
                    doing::VERSION_CHANGE,
                    "another tab deletes it or changes its version, and was let: open the store again",
                ));
            })
        };
        database.set_onclose(Some(on_close.as_ref().unchecked_ref()));
        database.set_onversionchange(Some(on_version_change.as_ref().unchecked_ref()));
        let names = database.object_store_names();
        let has_ours = [STORE, OBJECTS, ROWS]
            .iter()
            .all(|name| names.contains(name));
        let close: js_sys::Function = js_sys::Reflect::get(&database, &"close".into())
            .unwrap_or_default()
            .unchecked_into();
        self.releases.push(&close.bind0(&database));
        let live = Live {
            database,
            broken,
            _callbacks: [on_close, on_version_change],
        };
        if !has_ours {
            return Err(Error::new(
                ErrorKind::Invalid,
                doing::REFUSED,
                format!(
                    "the database {:?} is not a store's: choose another name",
                    self.name
                ),
            ));
        }
        *self.database.borrow_mut() = Some(live);
        Ok(())
    }

    async fn read_identity(&self) -> Result<Option<Vec<u8>>> {
        let read = async {
            let transaction = self.begin(Mode::Read)?;
            let request = transaction
                .store(STORE)?
                .get(&IDENTITY.into())
                .map_err(|error| Failure::of(&error))?;
            transaction.read(&request).await?;
            result_of(&request)
        };
        let found: Result<JsValue, Failure> = read.await;
        let found = found.map_err(|failure| failure.into_error(doing::REFUSED))?;
        Ok(found
            .dyn_ref::<Uint8Array>()
            .map(Uint8Array::to_vec)
            .filter(|identity| identity.len() == IDENTITY_BYTES))
    }

    async fn make_identity(&self) -> Result<Vec<u8>> {
        let runtime = WebRuntime;
        let identity = [runtime.seed().to_le_bytes(), runtime.seed().to_le_bytes()].concat();
        let write = async {
            let transaction = self.begin(Mode::Strict)?;
            transaction
                .store(STORE)?
                .put_with_key(&Uint8Array::from(&identity[..]), &IDENTITY.into())
                .map_err(|error| Failure::of(&error))?;
            transaction.end().await
        };
        let written: Result<(), Failure> = write.await;
        written.map_err(|failure| failure.into_error(doing::REFUSED))?;
        Ok(identity)
    }
}

fn deleted() -> Error {
    Error::new(
        ErrorKind::Lost,
        doing::DELETED,
        "it was deleted from outside, with everything in it; opening the store again makes an empty one",
    )
}

fn refused(error: Option<&web_sys::DomException>) -> Error {
    let Some(error) = error else {
        return Error::new(ErrorKind::Failed, doing::REFUSED, "the browser refused");
    };
    match error.name().as_str() {
        "VersionError" => Error::new(
            ErrorKind::Newer,
            doing::REFUSED,
            "a later version has made it: load that version",
        ),
        "QuotaExceededError" => Failure::Quota.into_error(doing::REFUSED),
        name => Error::new(
            ErrorKind::Failed,
            doing::REFUSED,
            format!(
                "the browser refused, as in some private windows: {name}: {}; use memory instead",
                error.message()
            ),
        ),
    }
}

fn open_request(name: &str) -> Result<IdbOpenDbRequest> {
    let factory = global("indexedDB");
    let Ok(factory) = factory.dyn_into::<IdbFactory>() else {
        return Err(Error::new(
            ErrorKind::Failed,
            doing::REFUSED,
            "there is no IndexedDB here: use memory, or files in Node",
        ));
    };
    factory
        .open_with_u32(name, VERSION)
        .map_err(|error| refused(error.dyn_ref()))
}

fn make_stores(request: &IdbOpenDbRequest) -> Result<(), JsValue> {
    let database = request.result()?.unchecked_into::<IdbDatabase>();
    for name in [STORE, OBJECTS, ROWS] {
        database.create_object_store(name)?;
    }
    Ok(())
}

/// Nobody waits for it any more.
fn close_when_opened(request: &IdbOpenDbRequest) {
    // Left to the collector, as nobody knows when they are called.
    let opened = request.clone();
    let close = Closure::once_into_js(move || {
        if let Ok(database) = opened.result() {
            database.unchecked_into::<IdbDatabase>().close();
        }
    });
    let ignore = Closure::once_into_js(|event: web_sys::Event| event.prevent_default());
    // Nothing is made for somebody who has left.
    let made = request.clone();
    let abort = Closure::once_into_js(move || {
        if let Some(transaction) = made.transaction() {
            let _ = transaction.abort();
        }
    });
    request.set_onsuccess(Some(close.unchecked_ref()));
    request.set_onerror(Some(ignore.unchecked_ref()));
    request.set_onupgradeneeded(Some(abort.unchecked_ref()));
}

async fn or_timeout<T>(wait: crate::host::Slot<T>, timeout: Duration) -> Option<T> {
    let (mut wait, mut sleep) = (wait, Sleep::new(timeout));
    std::future::poll_fn(|context| {
        use std::pin::Pin;
        use std::task::Poll;
        if let Poll::Ready(value) = Pin::new(&mut wait).poll(context) {
            return Poll::Ready(Some(value));
        }
        Pin::new(&mut sleep).poll(context).map(|()| None)
    })
    .await
}

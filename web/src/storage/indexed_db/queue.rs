//! What is to be written, and the one transaction at a time that writes it.
//!
//! Everyone who waits when a transaction begins shares it; who comes meanwhile shares the next. A transaction happens
//! whole or not at all, so a change is described once and can be replayed: when the connection broke and nobody knows
//! whether it was committed, the same rows are put again.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use js_sys::{Array, Uint8Array};
use wasm_bindgen::prelude::*;

use super::connection::Connection;
use super::failure::Failure;
use super::transaction::{Mode, OBJECTS, ROWS, STORE, row_key, row_range};

/// The key of the meta blob.
pub(super) const META: &str = "meta";
/// A key that is put when there is nothing else to put, so that a transaction takes place.
const SYNC: &str = "sync";

/// One request.
#[derive(Clone, Debug)]
pub(super) enum Request {
    PutRow {
        file: u64,
        start: u64,
        bytes: Uint8Array,
    },
    DeleteRows {
        file: u64,
        from: u64,
    },
    PutObject {
        name: String,
        file: u64,
        len: u64,
    },
    DeleteObject {
        name: String,
    },
    PutMeta(Uint8Array),
    /// Makes what was written before survive a loss of power.
    Sync,
}

/// Something that is to be written whole.
pub(super) trait Job {
    /// What to write, and whether it must survive a loss of power. Called once, when its transaction begins.
    fn plan(&self, requests: &mut Vec<Request>) -> Mode;

    /// How it went.
    fn done(&self, result: Result<(), Failure>);
}

/// Jobs in their order.
pub(super) struct Queue {
    connection: Rc<Connection>,
    jobs: RefCell<Vec<Rc<dyn Job>>>,
    running: Cell<bool>,
    /// Transactions that were committed.
    pub(super) committed: Cell<u64>,
}

impl Queue {
    pub(super) fn new(connection: Rc<Connection>) -> Self {
        Self {
            connection,
            jobs: RefCell::default(),
            running: Cell::new(false),
            committed: Cell::new(0),
        }
    }

    /// Has `job` written with the next transaction.
    pub(super) fn add(self: &Rc<Self>, job: Rc<dyn Job>) {
        self.jobs.borrow_mut().push(job);
        if !self.running.replace(true) {
            let this = self.clone();
            wasm_bindgen_futures::spawn_local(async move { this.run().await });
        }
    }

    async fn run(&self) {
        loop {
            let jobs = self.jobs.take();
            if jobs.is_empty() {
                self.running.set(false);
                return;
            }
            let mut requests = Vec::new();
            let mut ends = Vec::new();
            let mut mode = Mode::Relaxed;
            for job in &jobs {
                if job.plan(&mut requests) == Mode::Strict {
                    mode = Mode::Strict;
                }
                ends.push(requests.len());
            }
            match self.write(&requests, mode).await {
                Err(Failure::Quota) if jobs.len() > 1 => {
                    // What is small may still find room.
                    let mut start = 0;
                    for (job, &end) in jobs.iter().zip(&ends) {
                        job.done(self.write(&requests[start..end], mode).await);
                        start = end;
                    }
                }
                result => {
                    for job in jobs {
                        job.done(result.clone());
                    }
                }
            }
        }
    }

    /// Writes all of it or nothing; once more with a new connection if the old one broke.
    async fn write(&self, requests: &[Request], mode: Mode) -> Result<(), Failure> {
        if requests.is_empty() {
            return Ok(());
        }
        match self.try_to_write(requests, mode).await {
            Err(Failure::Broken(_)) => {
                self.connection.reopen().await?;
                self.try_to_write(requests, mode).await
            }
            result => result,
        }
    }

    async fn try_to_write(&self, requests: &[Request], mode: Mode) -> Result<(), Failure> {
        let transaction = self.connection.begin(mode)?;
        let (mut rows, mut objects, mut store) = (None, None, None);
        for request in requests {
            let issued = match request {
                Request::PutRow { .. } | Request::DeleteRows { .. } => {
                    if rows.is_none() {
                        rows = Some(transaction.store(ROWS)?);
                    }
                    request.issue(rows.as_ref())
                }
                Request::PutObject { .. } | Request::DeleteObject { .. } => {
                    if objects.is_none() {
                        objects = Some(transaction.store(OBJECTS)?);
                    }
                    request.issue(objects.as_ref())
                }
                Request::PutMeta(_) | Request::Sync => {
                    if store.is_none() {
                        store = Some(transaction.store(STORE)?);
                    }
                    request.issue(store.as_ref())
                }
            };
            // What was issued before must not be committed without it.
            if let Err(error) = issued {
                transaction.abort();
                return Err(Failure::of(&error));
            }
        }
        transaction.end().await?;
        self.committed.set(self.committed.get() + 1);
        Ok(())
    }
}

impl Request {
    fn issue(&self, store: Option<&web_sys::IdbObjectStore>) -> Result<(), JsValue> {
        let Some(store) = store else {
            return Ok(());
        };
        match self {
            Self::PutRow { file, start, bytes } => {
                store.put_with_key(bytes, &row_key(*file, *start))?;
            }
            Self::DeleteRows { file, from } => {
                let range = row_range(*file, *from, None)
                    .map_err(|failure| JsValue::from_str(&format!("{failure:?}")))?;
                store.delete(&range)?;
            }
            Self::PutObject { name, file, len } => {
                let value = Array::of2(
                    &JsValue::from_f64(*file as f64),
                    &JsValue::from_f64(*len as f64),
                );
                store.put_with_key(&value, &JsValue::from_str(name))?;
            }
            Self::DeleteObject { name } => {
                store.delete(&JsValue::from_str(name))?;
            }
            Self::PutMeta(bytes) => {
                store.put_with_key(bytes, &META.into())?;
            }
            Self::Sync => {
                store.put_with_key(&JsValue::TRUE, &SYNC.into())?;
            }
        }
        Ok(())
    }
}

//! One file that is open, shared by those who read it and who writes to it.

use std::cell::{Cell, RefCell};

use bytes::Bytes;
use trilith::{Error, ErrorKind, Object, Reader, Result};
use wasm_bindgen::prelude::*;

use super::host::{FileHost, failure, settled};
use super::names::name_of;
use std::rc::Rc;

/// A handle, closed with its last user.
pub(super) struct HostFile {
    host: FileHost,
    handle: JsValue,
    object: RefCell<Object>,
    /// Bytes that the host has. Outlives the handle.
    pub(super) written: Rc<Cell<u64>>,
    abandoned: Rc<Cell<bool>>,
}

impl HostFile {
    pub(super) fn new(
        host: FileHost,
        handle: JsValue,
        object: Object,
        written: Rc<Cell<u64>>,
        abandoned: Rc<Cell<bool>>,
    ) -> Self {
        Self {
            host,
            handle,
            object: RefCell::new(object),
            written,
            abandoned,
        }
    }

    pub(super) fn host(&self) -> &FileHost {
        &self.host
    }

    pub(super) fn object(&self) -> Object {
        self.object.borrow().clone()
    }

    pub(super) fn name(&self) -> String {
        name_of(&self.object.borrow())
    }

    pub(super) fn rename(&self, to: Object) {
        *self.object.borrow_mut() = to;
    }

    fn check(&self) -> Result<(), JsValue> {
        match self.abandoned.get() {
            true => Err(js_sys::Error::new("the store was abandoned").into()),
            false => Ok(()),
        }
    }

    pub(super) fn write(&self, at: u64, bytes: &[u8]) -> Result<(), JsValue> {
        self.check()?;
        self.host.write(&self.handle, at as f64, bytes)
    }

    pub(super) fn truncate(&self, len: u64) -> Result<(), JsValue> {
        self.check()?;
        self.host.truncate(&self.handle, len as f64)
    }

    pub(super) async fn sync(&self) -> Result<(), JsValue> {
        self.check()?;
        settled(self.host.sync(&self.handle)).await.map(drop)
    }
}

impl Drop for HostFile {
    fn drop(&mut self) {
        if !self.abandoned.get() && !crate::host::is_poisoned() {
            let _ = self.host.close(&self.handle);
        }
    }
}

/// Reads one object. See [`trilith::Reader`].
#[derive(Clone)]
pub struct HostReader {
    file: Rc<HostFile>,
    len: u64,
}

impl HostReader {
    pub(super) fn new(file: Rc<HostFile>) -> Self {
        let len = file.written.get();
        Self { file, len }
    }

    /// The bytes: files are read by a call.
    pub(crate) fn read(&self, offset: u64, len: u32) -> Result<Bytes> {
        const DOING: &str = "reading";
        let fail = |error: Error| error.on(self.file.object()).at(offset);
        let end = offset.checked_add(u64::from(len));
        if end.is_none_or(|end| end > self.len) {
            let detail = format!("{len} bytes were asked for and it ends at {}", self.len);
            return Err(fail(Error::corrupt(DOING, detail)));
        }
        if self.file.abandoned.get() {
            return Err(fail(Error::new(
                ErrorKind::Closed,
                DOING,
                "it was abandoned",
            )));
        }
        let host = &self.file.host;
        let bytes = host.read(&self.file.handle, offset as f64, len);
        let bytes = bytes.map_err(|thrown| fail(failure(DOING, &thrown)))?;
        if bytes.length() != len {
            let detail = format!("only {} of {len} bytes are there", bytes.length());
            return Err(fail(Error::corrupt(DOING, detail)));
        }
        Ok(bytes.to_vec().into())
    }
}

impl Reader for HostReader {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_now(&self, offset: u64, len: u32) -> Option<Result<Bytes>> {
        Some(self.read(offset, len))
    }

    async fn read_at(&self, offset: u64, len: u32) -> Result<Bytes> {
        self.read(offset, len)
    }
}

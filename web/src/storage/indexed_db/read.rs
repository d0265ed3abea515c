//! Reading one object: from the rows at hand, or else those that are missing in one transaction.

use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use js_sys::Uint8Array;
use trilith::{Error, Object, Reader, Result};
use wasm_bindgen::prelude::*;

use super::connection::Connection;
use super::failure::Failure;
use super::rows::File;
use super::transaction::{Mode, ROWS, list_of, row_range};

/// Reads one object. See [`trilith::Reader`].
#[derive(Clone)]
pub struct RowReader {
    file: Rc<File>,
    connection: Rc<Connection>,
    len: u64,
}

impl RowReader {
    pub(super) fn new(file: Rc<File>, connection: Rc<Connection>) -> Self {
        let len = file.len.get();
        Self {
            file,
            connection,
            len,
        }
    }

    /// The bytes from `offset` to `end`, whatever lengths there are.
    pub(super) async fn read(&self, offset: u64, end: u64) -> Result<Bytes> {
        match self.at_hand(offset, end) {
            Some(bytes) => Ok(bytes),
            None => self.fetch(offset, end).await,
        }
    }

    fn check(&self, offset: u64, len: u32) -> Result<u64> {
        match offset.checked_add(u64::from(len)) {
            Some(end) if end <= self.len => Ok(end),
            _ => Err(self.corrupt(
                offset,
                format!("{len} bytes were asked for and it ends at {}", self.len),
            )),
        }
    }

    fn corrupt(&self, offset: u64, detail: String) -> Error {
        Error::corrupt("reading", detail)
            .on(self.object())
            .at(offset)
    }

    fn object(&self) -> Object {
        self.file.object.borrow().clone()
    }

    /// The bytes, if every row of them is at hand.
    fn at_hand(&self, offset: u64, end: u64) -> Option<Bytes> {
        let len = (end - offset) as usize;
        // The row that is still open.
        let writer = self.file.writer.borrow().upgrade();
        if let Some(writer) = writer
            && let Some(bytes) = writer.read(offset, len)
        {
            return Some(bytes);
        }
        let rows = self.file.rows_of(offset, end);
        let rows: Option<Vec<_>> = rows
            .into_iter()
            .map(|start| Some((start, self.file.cache.get(self.file.id, start)?)))
            .collect();
        assemble(&rows?, offset, end)
    }

    async fn fetch(&self, offset: u64, end: u64) -> Result<Bytes> {
        let rows = match self.try_to_fetch(offset, end).await {
            Err(Failure::Broken(_)) => match self.connection.reopen().await {
                Ok(()) => self.try_to_fetch(offset, end).await,
                Err(failure) => Err(failure),
            },
            rows => rows,
        };
        let rows = rows.map_err(|failure| {
            let error = failure.into_error("reading");
            error.on(self.object()).at(offset)
        })?;
        for (start, bytes) in &rows {
            self.file.cache.put(self.file.id, *start, bytes.clone());
        }
        assemble(&rows, offset, end).ok_or_else(|| {
            self.corrupt(
                offset,
                "the database has not all of its rows any more: somebody has deleted from it"
                    .into(),
            )
        })
    }

    async fn try_to_fetch(&self, offset: u64, end: u64) -> Result<Vec<(u64, Bytes)>, Failure> {
        let starts = self.file.rows_of(offset, end);
        let (Some(&first), Some(&last)) = (starts.first(), starts.last()) else {
            return Ok(Vec::new());
        };
        let transaction = self.connection.begin(Mode::Read)?;
        let range = row_range(self.file.id, first, Some(last))?;
        let request = transaction
            .store(ROWS)?
            .get_all_with_key(&range)
            .map_err(|error| Failure::of(&error))?;
        transaction.read(&request).await?;
        let found = list_of(&request)?;
        Ok(starts
            .into_iter()
            .zip(found.iter())
            .filter_map(|(start, row)| {
                let row = row.dyn_ref::<Uint8Array>()?;
                Some((start, Bytes::from(row.to_vec())))
            })
            .collect())
    }
}

impl Reader for RowReader {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_now(&self, offset: u64, len: u32) -> Option<Result<Bytes>> {
        match self.check(offset, len) {
            Ok(end) => self.at_hand(offset, end).map(Ok),
            Err(error) => Some(Err(error)),
        }
    }

    async fn read_at(&self, offset: u64, len: u32) -> Result<Bytes> {
        let end = self.check(offset, len)?;
        self.read(offset, end).await
    }
}

/// Bytes of rows that follow each other, copied: a slice would keep whole rows alive. `None` if any is missing.
fn assemble(rows: &[(u64, Bytes)], offset: u64, end: u64) -> Option<Bytes> {
    let mut bytes = BytesMut::with_capacity((end - offset) as usize);
    let mut at = offset;
    for (start, row) in rows {
        let from = usize::try_from(at.checked_sub(*start)?).ok()?;
        let upto = row.len().min((end - start) as usize);
        bytes.extend_from_slice(row.get(from..upto)?);
        at = start + upto as u64;
    }
    (at == end).then(|| bytes.freeze())
}

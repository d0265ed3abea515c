//! One object as rows of bytes: where each begins, and those that are at hand.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use bytes::Bytes;
use trilith::Object;

use super::failure::Failure;
use super::queue::{Job, Queue, Request};
use super::transaction::Mode;
use super::write::Appended;

/// A row is no longer than this. Larger ones gain nothing, and are read whole.
pub(super) const ROW_BYTES: usize = 128 << 10;
/// A row of this length is left behind; a shorter one is written again, together with what was appended to it.
/// Writing a log in small pieces so writes half of this with each.
pub(super) const ROW_CLOSED_BYTES: usize = 16 << 10;

/// An object's bytes in the database. Lives as long as somebody uses it or it has a name.
pub(super) struct File {
    pub(super) id: u64,
    /// Its name, which a replacement changes.
    pub(super) object: RefCell<Object>,
    /// Where its rows begin, in order.
    pub(super) starts: RefCell<Vec<u64>>,
    /// Bytes that are in the database.
    pub(super) len: Cell<u64>,
    /// Nobody will find it any more: its rows go when the last reader does.
    pub(super) removed: Cell<bool>,
    /// Whoever writes to it.
    pub(super) writer: RefCell<Weak<Appended>>,
    pub(super) cache: Rc<Cache>,
    pub(super) queue: Rc<Queue>,
}

impl File {
    /// The rows that hold bytes of a range: where each begins, and where the last ends at most.
    pub(super) fn rows_of(&self, offset: u64, end: u64) -> Vec<u64> {
        let starts = self.starts.borrow();
        let first = starts
            .partition_point(|&start| start <= offset)
            .saturating_sub(1);
        let last = starts.partition_point(|&start| start < end);
        starts
            .get(first..last.max(first))
            .unwrap_or_default()
            .to_vec()
    }

    /// The rows from `start` on are gone, but for one that begins there if it `is_kept`.
    pub(super) fn cut_rows(&self, start: u64, is_kept: bool) {
        let mut starts = self.starts.borrow_mut();
        starts.retain(|&row| row < start);
        if is_kept {
            starts.push(start);
        }
    }

    /// Takes note of a row that is now in the database.
    pub(super) fn note_row(&self, start: u64) {
        let mut starts = self.starts.borrow_mut();
        if starts.last().is_none_or(|&last| last < start) {
            starts.push(start);
        }
    }
}

impl Drop for File {
    fn drop(&mut self) {
        self.cache.forget_from(self.id, 0);
        if self.removed.get() && !crate::host::is_poisoned() {
            // If it fails, the next to load the store finds them and removes them.
            self.queue.add(Rc::new(Removal(self.id)));
        }
    }
}

struct Removal(u64);

impl Job for Removal {
    fn plan(&self, requests: &mut Vec<Request>) -> Mode {
        requests.push(Request::DeleteRows {
            file: self.0,
            from: 0,
        });
        Mode::Relaxed
    }

    fn done(&self, _result: Result<(), Failure>) {}
}

/// Rows that were read or written lately: a row holds many of the engine's blocks, and reading is by transaction.
pub(super) struct Cache {
    /// The last used is the last. They are few: a row has its length, mostly.
    rows: RefCell<Vec<Row>>,
    capacity: usize,
}

struct Row {
    file: u64,
    start: u64,
    bytes: Bytes,
}

impl Cache {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            rows: RefCell::default(),
            capacity,
        }
    }

    pub(super) fn get(&self, file: u64, start: u64) -> Option<Bytes> {
        let rows = &mut *self.rows.borrow_mut();
        let at = rows
            .iter()
            .rposition(|row| row.start == start && row.file == file)?;
        rows[at..].rotate_left(1);
        rows.last().map(|row| row.bytes.clone())
    }

    pub(super) fn put(&self, file: u64, start: u64, bytes: Bytes) {
        let rows = &mut *self.rows.borrow_mut();
        rows.retain(|row| row.start != start || row.file != file);
        rows.push(Row { file, start, bytes });
        let mut held: usize = rows.iter().map(Row::cost).sum();
        let mut dropped = 0;
        while held > self.capacity
            && let Some(row) = rows.get(dropped)
        {
            held -= row.cost();
            dropped += 1;
        }
        rows.drain(..dropped);
    }

    /// What is known of the file from `from` on is out of date.
    pub(super) fn forget_from(&self, file: u64, from: u64) {
        self.rows
            .borrow_mut()
            .retain(|row| row.file != file || row.start < from);
    }
}

impl Row {
    /// However short rows are, they do not become many.
    fn cost(&self) -> usize {
        self.bytes.len().max(ROW_CLOSED_BYTES)
    }
}

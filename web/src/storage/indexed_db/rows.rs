//! One object as rows of bytes: where each begins, and those that are at hand.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;
use trilith::Object;

use super::failure::Failure;
use super::queue::{Job, Queue, Request};
use super::transaction::Mode;

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
        self.cache.forget(self.id);
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
    rows: RefCell<Rows>,
    capacity: usize,
}

#[derive(Default)]
struct Rows {
    by_place: BTreeMap<(u64, u64), (Bytes, u64)>,
    by_age: BTreeMap<u64, (u64, u64)>,
    bytes: usize,
    clock: u64,
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
        let (bytes, age) = rows.by_place.get_mut(&(file, start))?;
        rows.clock += 1;
        rows.by_age.remove(age);
        rows.by_age.insert(rows.clock, (file, start));
        *age = rows.clock;
        Some(bytes.clone())
    }

    pub(super) fn put(&self, file: u64, start: u64, bytes: Bytes) {
        let rows = &mut *self.rows.borrow_mut();
        rows.remove((file, start));
        rows.clock += 1;
        rows.bytes += bytes.len();
        rows.by_place.insert((file, start), (bytes, rows.clock));
        rows.by_age.insert(rows.clock, (file, start));
        while rows.bytes > self.capacity
            && let Some((_, place)) = rows.by_age.first_key_value()
        {
            let place = *place;
            rows.remove(place);
        }
    }

    /// What is known of the file from `from` on is out of date.
    pub(super) fn forget_from(&self, file: u64, from: u64) {
        let rows = &mut *self.rows.borrow_mut();
        let old: Vec<_> = rows
            .by_place
            .range((file, from)..=(file, u64::MAX))
            .map(|(&place, _)| place)
            .collect();
        old.into_iter().for_each(|place| rows.remove(place));
    }

    fn forget(&self, file: u64) {
        self.forget_from(file, 0);
    }
}

impl Rows {
    fn remove(&mut self, place: (u64, u64)) {
        if let Some((bytes, age)) = self.by_place.remove(&place) {
            self.bytes -= bytes.len();
            self.by_age.remove(&age);
        }
    }
}

//! What a read reads: the memtables and the tables as they were at one moment.

use std::ops::Deref;
use std::sync::Arc;

use arc_swap::ArcSwap;
use hashbrown::HashMap;
use parking_lot::Mutex;

use crate::lsm::levels::Levels;
use crate::lsm::memtable::Memtable;
use crate::lsm::sstable::Table;
use crate::lsm::values::ValuesReader;
use crate::record::RangeDelete;
use crate::{Error, ErrorKind, Object, Result, Storage};

/// Deterministic, and fast on the small integers that identify objects.
pub(crate) type IdMap<T> = HashMap<u64, T, foldhash::fast::FixedState>;

/// One consistent set of everything that holds records. Immutable; a change makes a new one.
pub(crate) struct View<S: Storage> {
    /// Counts the views of a store, so that a long walk notices that its own is old.
    pub generation: u64,
    /// Being written to.
    pub active: Arc<Memtable>,
    /// Being flushed, the newest first.
    pub frozen: Vec<Arc<Memtable>>,
    pub levels: Arc<Levels>,
    /// Every table of `levels`, open.
    pub tables: Arc<IdMap<Table<S::Reader>>>,
    /// Every file of large values of `levels`, open.
    pub values: Arc<IdMap<ValuesReader<S::Reader>>>,
}

/// The view that is present: readers take it without a lock, changes go one after the other.
pub(crate) struct Present<S: Storage> {
    view: ArcSwap<View<S>>,
    changing: Mutex<()>,
}

impl<S: Storage> Present<S> {
    pub(crate) fn new(view: View<S>) -> Self {
        Self {
            view: ArcSwap::from_pointee(view),
            changing: Mutex::new(()),
        }
    }

    /// For as long as the caller likes.
    pub(crate) fn get(&self) -> Arc<View<S>> {
        self.view.load_full()
    }

    /// For a short time, and without a count of references.
    #[inline]
    pub(crate) fn borrow(&self) -> impl Deref<Target = Arc<View<S>>> {
        self.view.load()
    }

    /// Replaces the view by a changed copy.
    pub(crate) fn change(&self, change: impl FnOnce(&mut View<S>)) {
        let _changing = self.changing.lock();
        let mut next = View::clone(&self.view.load());
        next.generation += 1;
        change(&mut next);
        self.view.store(Arc::new(next));
    }
}

impl<S: Storage> Clone for View<S> {
    fn clone(&self) -> Self {
        Self {
            generation: self.generation,
            active: Arc::clone(&self.active),
            frozen: self.frozen.clone(),
            levels: Arc::clone(&self.levels),
            tables: Arc::clone(&self.tables),
            values: Arc::clone(&self.values),
        }
    }
}

impl<S: Storage> View<S> {
    /// The memtables, the newest first.
    pub(crate) fn memtables(&self) -> impl Iterator<Item = &Arc<Memtable>> {
        std::iter::once(&self.active).chain(&self.frozen)
    }

    /// An open table of this view.
    pub(crate) fn table(&self, id: u64) -> Result<&Table<S::Reader>> {
        self.tables.get(&id).ok_or_else(|| {
            Error::new(
                ErrorKind::Missing,
                "reading",
                "the manifest names a table that is not open",
            )
            .on(Object::Table(id))
        })
    }

    /// Every range delete that any of its tables holds.
    pub(crate) fn table_range_deletes(&self) -> impl Iterator<Item = &RangeDelete> {
        self.levels
            .all()
            .filter(|(_, meta)| meta.range_deletes > 0)
            .filter_map(|(_, meta)| self.tables.get(&meta.id))
            .flat_map(|table| table.range_deletes())
    }
}

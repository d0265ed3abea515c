//! Writing the tables (and files of large values) that a flush or a compaction makes.

use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::Duration;

use bytes::Bytes;

use super::applier::IN_MEMTABLE;
use super::core::Core;
use super::machine::Machine;
use super::view::{IdMap, View};
use crate::lsm::compaction::below::Below;
use crate::lsm::compaction::filter::Retain;
use crate::lsm::levels::{Deadlines, Edit, Span, TableMeta, ValuesFile, ValuesRef};
use crate::lsm::memtable::Memtable;
use crate::lsm::range_deletes::RangeDeletes;
use crate::lsm::sstable::{Compression, Table, TableOptions, TableSummary, TableWriter};
use crate::lsm::values::{ValueRef, ValuesReader, ValuesWriter};
use crate::record::{Kind, RangeDelete, Record};
use crate::{Error, ErrorKind, Object, Result, Runtime, Storage};

/// How much is handed to the storage at a time.
const STEP_BYTES: u64 = 1 << 20;

/// Where large values come from, and which of them are to be written again.
pub(crate) enum LargeValues<S: Storage> {
    /// A memtable: all of them get a file.
    Memtable(Arc<Memtable>),
    /// The next record's, given with it.
    Given(Bytes),
    /// Tables: they stay where they are, but for those in these files, most of which is garbage.
    Tables {
        view: Arc<View<S>>,
        rewrite: Vec<u64>,
    },
}

/// The range deletes that go into the outputs, cut to fit.
pub(crate) struct KeptDeletes {
    retain: Retain,
    own: RangeDeletes,
    /// What lies below; `None` if it may be anything.
    below: Option<Below>,
}

impl KeptDeletes {
    pub(crate) fn new(retain: Retain, own: RangeDeletes, below: Option<Below>) -> Self {
        Self { retain, own, below }
    }

    fn clip(&self, start: &[u8], end: Option<&[u8]>) -> Vec<RangeDelete> {
        self.retain.range_deletes(&self.own, start, end, |span| {
            self.below
                .as_ref()
                .is_none_or(|below| below.may_hold_any(span))
        })
    }
}

/// See the module. Records come in order; a table ends between two keys.
pub(crate) struct Outputs<'a, S: Storage, R: Runtime, M: Machine> {
    core: &'a Core<S, R, M>,
    level: usize,
    large: LargeValues<S>,
    deletes: KeptDeletes,
    table: Option<TableWriter<S::Writer>>,
    /// The first key that the present table may hold.
    table_start: Vec<u8>,
    values: Option<(u64, ValuesWriter<S::Writer>)>,
    values_handed: u64,
    /// Bytes of the present table handed to the storage so far.
    handed: u64,
    edit: Edit,
    created: Vec<Object>,
}

impl<'a, S: Storage, R: Runtime, M: Machine> Outputs<'a, S, R, M> {
    /// Tables of `level`, with the range deletes that are to be kept.
    pub(crate) fn new(
        core: &'a Core<S, R, M>,
        level: usize,
        large: LargeValues<S>,
        deletes: KeptDeletes,
    ) -> Self {
        Self {
            core,
            level,
            large,
            deletes,
            table: None,
            table_start: Vec::new(),
            values: None,
            values_handed: 0,
            handed: 0,
            edit: Edit::default(),
            created: Vec::new(),
        }
    }

    /// Whether `key` is another key than that of the last record: only there may a table end.
    pub(crate) fn is_new_key(&self, key: &[u8]) -> bool {
        self.table
            .as_ref()
            .is_none_or(|table| table.last_key() != key)
    }

    /// Adds a record whose value is large enough to lie apart.
    pub(crate) async fn add_large(
        &mut self,
        record: Record<'_>,
        value: Bytes,
        cut_before: bool,
    ) -> Result<()> {
        let len = value.len() as u64;
        self.large = LargeValues::Given(value);
        let reference = ValueRef {
            file: IN_MEMTABLE,
            offset: 0,
            stored_len: len,
            len,
        };
        let mut encoded = Vec::with_capacity(24);
        reference.encode(&mut encoded);
        let record = Record {
            kind: Kind::PutApart,
            value: &encoded,
            ..record
        };
        self.add(record, cut_before).await
    }

    /// Bytes of the present table, about.
    pub(crate) fn table_bytes(&self) -> u64 {
        self.table.as_ref().map_or(0, TableWriter::estimated_bytes)
    }

    /// Adds the next record, to a new table if `cut_before` says so.
    pub(crate) async fn add(&mut self, record: Record<'_>, cut_before: bool) -> Result<()> {
        if cut_before && self.table.is_some() {
            self.end_table(Some(record.key)).await?;
        }
        if self.table.is_none() {
            self.table = Some(self.begin_table().await?);
        }
        let rewritten = match record.kind {
            Kind::PutApart => self.place_large(record.value).await?,
            _ => None,
        };
        let Some(table) = &mut self.table else {
            return Ok(());
        };
        match rewritten {
            Some(reference) => table.add(Record {
                value: &reference,
                ..record
            })?,
            None => table.add(record)?,
        }
        if table.appended_bytes() >= self.handed + STEP_BYTES {
            self.hand_over().await?;
        }
        Ok(())
    }

    /// Ends the last table and answers with all that was made.
    pub(crate) async fn finish(mut self) -> Result<Edit> {
        let rest = self.deletes.clip(&self.table_start, None);
        if self.table.is_none() && !rest.is_empty() {
            self.table = Some(self.begin_table().await?);
        }
        self.end_table(None).await?;
        if let Some((id, values)) = self.values.take() {
            // What the references of tables are counted against.
            let bytes = values.stored_bytes();
            let file_bytes = values.finish().await?;
            self.count(file_bytes.saturating_sub(self.values_handed));
            self.edit.values.push(ValuesFile { id, bytes });
        }
        Ok(self.edit)
    }

    async fn begin_table(&mut self) -> Result<TableWriter<S::Writer>> {
        let id = self.core.new_id();
        let writer = self.core.storage.create(Object::Table(id)).await?;
        self.created.push(Object::Table(id));
        self.handed = 0;
        let options = TableOptions {
            compression: self.compression(),
            created_ms: self.core.runtime.wall_ms(),
            creator: match self.level {
                0 => "flush".into(),
                level => format!("compaction to level {level}").into(),
            },
            ..TableOptions::default()
        };
        Ok(TableWriter::new(writer, id, options))
    }

    fn compression(&self) -> Compression {
        if self.core.options.compress {
            Compression::Lz4
        } else {
            Compression::None
        }
    }

    /// Ends the present table before `end`, the next table's first key.
    async fn end_table(&mut self, end: Option<&[u8]>) -> Result<()> {
        let Some(mut table) = self.table.take() else {
            return Ok(());
        };
        for range in self.deletes.clip(&self.table_start, end) {
            table.add_range_delete(&range)?;
        }
        let handed = self.handed;
        let summary = table.finish().await?;
        self.count(summary.file_bytes.saturating_sub(handed));
        self.edit
            .add
            .push((self.level, Arc::new(meta_of(&summary))));
        self.table_start = end.unwrap_or_default().to_vec();
        Ok(())
    }

    /// Gives the storage what has collected, at the pace that compaction may keep.
    async fn hand_over(&mut self) -> Result<()> {
        let Some(table) = &self.table else {
            return Ok(());
        };
        let bytes = table.appended_bytes() - self.handed;
        table.settle_written().await?;
        self.handed = table.appended_bytes();
        self.count(bytes);
        self.core.runtime.breathe().await;
        if self.core.stopping.load(SeqCst) {
            return Err(Error::new(
                ErrorKind::Closed,
                "writing a table",
                "the store is being closed",
            ));
        }
        if let (Some(rate), true) = (
            self.core.options.compaction_bytes_per_second,
            self.level > 0,
        ) {
            self.core
                .runtime
                .sleep(Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64))
                .await;
        }
        Ok(())
    }

    fn count(&self, bytes: u64) {
        let counters = &self.core.counters;
        let counter = if self.level == 0 {
            &counters.flush_bytes
        } else {
            &counters.compaction_write_bytes
        };
        counter.fetch_add(bytes, Relaxed);
    }

    /// Writes a large value to a file of its own kind, if it is not in one or should leave it. The new
    /// reference, if there is one.
    async fn place_large(&mut self, reference: &[u8]) -> Result<Option<Vec<u8>>> {
        let reference = ValueRef::decode_in(reference, IN_MEMTABLE)?;
        let value = match &self.large {
            LargeValues::Given(value) => value.clone(),
            LargeValues::Memtable(memtable) => memtable
                .large(reference.offset & u64::from(u32::MAX))
                .ok_or_else(|| {
                    Error::corrupt("flushing", "a memtable lacks one of its large values")
                })?,
            LargeValues::Tables { rewrite, .. } if !rewrite.contains(&reference.file) => {
                return Ok(None);
            }
            LargeValues::Tables { view, .. } => self.fetch(view, &reference).await?,
        };
        if self.values.is_none() {
            let id = self.core.new_id();
            let writer = self.core.storage.create(Object::Table(id)).await?;
            self.created.push(Object::Table(id));
            self.values = Some((id, ValuesWriter::new(writer, id, self.compression())?));
            self.values_handed = 0;
        }
        let Some((_, values)) = &mut self.values else {
            return Ok(None);
        };
        let mut out = Vec::new();
        values.add(&value)?.encode(&mut out);
        if values.appended_bytes() >= self.values_handed + STEP_BYTES {
            values.settle_written().await?;
            let bytes = values.appended_bytes() - self.values_handed;
            self.values_handed += bytes;
            self.count(bytes);
        }
        Ok(Some(out))
    }

    async fn fetch(&self, view: &Arc<View<S>>, reference: &ValueRef) -> Result<Bytes> {
        let value = self.core.apart(view, reference).await?;
        value.ok_or_else(|| {
            Error::corrupt("compacting", "a record refers to a file that is not there")
        })
    }

    /// Removes what was made so far: the work has failed. What cannot be removed now is removed when the
    /// store is opened next.
    pub(crate) async fn abandon(self) {
        let Self {
            core,
            created,
            table,
            values,
            ..
        } = self;
        drop((table, values));
        if let Err(error) = core.storage.remove(created).await {
            tracing::warn!(%error, "could not remove unfinished tables");
        }
    }
}

/// What the tree knows of a table without opening it.
fn meta_of(summary: &TableSummary) -> TableMeta {
    let properties = &summary.properties;
    let records = (properties.entries > 0).then_some(Span {
        start: &properties.smallest_key,
        end: Bound::Included(&*properties.largest_key),
    });
    let ranges = summary.range_span.as_ref();
    let ranges = ranges.map(|span| Span::between(&span.start, span.end.as_deref()));
    let span = Span::join_all(records.into_iter().chain(ranges)).unwrap_or(Span::ALL);
    TableMeta {
        id: summary.table,
        bytes: summary.file_bytes,
        smallest: span.start.into(),
        largest: span.end.map(Into::into),
        smallest_seq: properties.smallest_seq,
        largest_seq: properties.largest_seq,
        entries: properties.entries,
        deletes: properties.deletes,
        range_deletes: properties.range_deletes,
        deadlines: Deadlines {
            count: properties.with_deadline,
            min_ms: properties.smallest_deadline_ms,
            max_ms: properties.largest_deadline_ms,
        },
        values: properties
            .apart
            .iter()
            .map(|apart| ValuesRef {
                id: apart.file,
                bytes: apart.bytes,
            })
            .collect(),
    }
}

/// Tables and files of large values that an edit adds, opened before anybody sees them.
pub(crate) struct Opened<S: Storage> {
    tables: Vec<Table<S::Reader>>,
    values: Vec<ValuesReader<S::Reader>>,
}

impl<S: Storage> Opened<S> {
    /// Adds them to a view and takes out of it what its levels no longer name.
    pub(crate) fn add_to(self, view: &mut View<S>) {
        let mut tables: IdMap<_> = IdMap::clone(&view.tables);
        tables.extend(self.tables.into_iter().map(|table| (table.id(), table)));
        let live: std::collections::BTreeSet<u64> =
            view.levels.all().map(|(_, meta)| meta.id).collect();
        tables.retain(|id, _| live.contains(id));
        let mut values: IdMap<_> = IdMap::clone(&view.values);
        values.extend(self.values.into_iter().map(|file| (file.id(), file)));
        values.retain(|id, _| view.levels.values().contains_key(id));
        view.tables = Arc::new(tables);
        view.values = Arc::new(values);
    }
}

impl<S: Storage, R: Runtime, M: Machine> Core<S, R, M> {
    /// Opens what an edit adds.
    pub(crate) async fn open_added(&self, edit: &Edit) -> Result<Opened<S>> {
        let mut opened = Opened {
            tables: Vec::new(),
            values: Vec::new(),
        };
        let known = self.view();
        for (_, meta) in &edit.add {
            if !known.tables.contains_key(&meta.id) {
                opened.tables.push(self.open_table(meta.id).await?);
            }
        }
        for file in &edit.values {
            opened.values.push(self.open_values(file.id).await?);
        }
        Ok(opened)
    }

    pub(crate) async fn open_table(&self, id: u64) -> Result<Table<S::Reader>> {
        let reader = self.storage.open(Object::Table(id)).await?;
        Table::open(reader, id, Arc::clone(&self.cache)).await
    }

    pub(crate) async fn open_values(&self, id: u64) -> Result<ValuesReader<S::Reader>> {
        let reader = self.storage.open(Object::Table(id)).await?;
        ValuesReader::open(reader, id).await
    }
}

//! Carrying compaction's choices out.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, SeqCst};
use std::time::Duration;

use super::core::Core;
use super::machine::Machine;
use super::outputs::{KeptDeletes, LargeValues, Outputs};
use super::sources::Source;
use super::view::View;
use crate::lsm::compaction::below::Below;
use crate::lsm::compaction::cut::Cutter;
use crate::lsm::compaction::filter::{Retain, Rules, Verdict};
use crate::lsm::compaction::{Choice, Merge, State, leveled, manual};
use crate::lsm::cursor::{Cursor, Direction, Position};
use crate::lsm::levels::{Edit, LAST, TableMeta};
use crate::lsm::merge::MergeCursor;
use crate::lsm::range_deletes::RangeDeletes;
use crate::lsm::skip::SkipDeleted;
use crate::lsm::sstable::CursorOptions;
use crate::record::{Kind, Record};
use crate::{Error, ErrorKind, Object, Result, Runtime, Storage};

const RETRY: Duration = Duration::from_secs(1);

/// A compaction of everything, as it was asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manual {
    upto_seq: u64,
    now_ms: u64,
}

/// What the worker does next, and which request it serves.
enum Next {
    Stop,
    Carry(Choice),
    ManualDone,
}

impl<S: Storage, R: Runtime, M: Machine> Core<S, R, M> {
    /// The task that compacts, one choice after the other, until the store is closed.
    pub(crate) async fn compact_forever(self: Arc<Self>) {
        loop {
            let next = self
                .compaction_wanted
                .wait(|| {
                    let next = self.next_compaction();
                    self.compaction_idle.store(next.is_none(), SeqCst);
                    if next.is_none() {
                        self.changed.notify();
                    }
                    next
                })
                .await;
            let choice = match next {
                Next::Stop => return,
                Next::ManualDone => {
                    *self.manual.lock() = None;
                    self.changed.notify();
                    continue;
                }
                Next::Carry(choice) => choice,
            };
            let inputs: Vec<u64> = choice.tables().iter().map(|(_, meta)| meta.id).collect();
            self.compacting.lock().extend(&inputs);
            let done = self.carry_out(choice).await;
            let corrupt = matches!(&done, Err(error) if error.kind() == ErrorKind::Corrupt);
            if !corrupt {
                // Damaged tables stay marked: trying again would fail again, and others can go on.
                self.compacting.lock().retain(|id| !inputs.contains(id));
            }
            self.pressure_changed();
            self.changed.notify();
            match done {
                Ok(()) => self.counters.set_background_error("compaction", None),
                Err(error) if error.kind() == ErrorKind::Closed => return,
                Err(error) => {
                    tracing::error!(%error, "a compaction failed");
                    self.counters
                        .set_background_error("compaction", Some(error));
                    self.nap(RETRY).await;
                }
            }
        }
    }

    fn next_compaction(&self) -> Option<Next> {
        if self.stopping.load(SeqCst) {
            return Some(Next::Stop);
        }
        // Before the view: what is reserved after this is newer, and what was reserved before is in the view or said here.
        let complete_upto = self.complete_upto();
        let view = self.view();
        let busy = self.compacting.lock().clone();
        let requested = *self.manual.lock();
        let deletes = collect(view.table_range_deletes());
        let (oldest_snapshot, oldest_clock_ms) = self.oldest_reader();
        let state = State {
            oldest_snapshot,
            now_ms: requested.map_or(oldest_clock_ms, |manual| manual.now_ms.min(oldest_clock_ms)),
            deletes: &deletes,
            complete_upto,
        };
        let options = &self.compaction;
        if let Some(Manual { upto_seq, .. }) = requested {
            return Some(
                match manual(&view.levels, options, &busy, &state, upto_seq) {
                    Choice::Nothing => Next::ManualDone,
                    choice => Next::Carry(choice),
                },
            );
        }
        match leveled::choose(&view.levels, options, &busy, &state) {
            Choice::Nothing => None,
            choice => Some(Next::Carry(choice)),
        }
    }

    /// Behind this, tables of ranges may come that have older numbers than tables which are there.
    fn complete_upto(&self) -> u64 {
        // In this order: a memtable that is frozen in between makes more complete, not less.
        let below_active = self.complete_upto.load(Acquire);
        let reserved = self.ranges.book.lock().replacing_since();
        reserved.map_or(below_active, |seq| below_active.min(seq - 1))
    }

    /// What keeps flushes or compactions from ever ending, if anything does.
    fn obstacle(&self) -> Option<Error> {
        self.health
            .failure()
            .or_else(|| self.counters.background_error())
    }

    /// Waits until there is nothing to flush and nothing to compact.
    pub(crate) async fn quiesce(&self) -> Result<()> {
        self.compaction_idle.store(false, SeqCst);
        self.compaction_wanted.notify();
        self.changed
            .wait(|| {
                if self.frozen.lock().is_empty() && self.compaction_idle.load(SeqCst) {
                    return Some(Ok(()));
                }
                let error = self.obstacle()?;
                Some(Err(error))
            })
            .await
    }

    /// Compacts everything that is in tables now.
    pub(crate) async fn compact_all(&self) -> Result<()> {
        let manual = Manual {
            upto_seq: self.visible.load(Acquire),
            now_ms: self.runtime.wall_ms(),
        };
        *self.manual.lock() = Some(manual);
        self.compaction_wanted.notify();
        self.changed
            .wait(|| {
                if self.manual.lock().is_none() {
                    return Some(Ok(()));
                }
                let error = self.obstacle()?;
                *self.manual.lock() = None;
                Some(Err(error))
            })
            .await
    }

    async fn carry_out(&self, choice: Choice) -> Result<()> {
        match choice {
            Choice::Nothing => Ok(()),
            Choice::Move { tables, to } => {
                self.counters.moves.fetch_add(1, Relaxed);
                let add = tables
                    .iter()
                    .map(|(_, meta)| (to, Arc::clone(meta)))
                    .collect();
                self.install(Edit {
                    remove: ids(&tables),
                    add,
                    values: Vec::new(),
                })
                .await
            }
            Choice::Drop { tables } => {
                self.install(Edit {
                    remove: ids(&tables),
                    ..Edit::default()
                })
                .await
            }
            Choice::Merge(merge) => {
                self.counters.compactions.fetch_add(1, Relaxed);
                self.counters
                    .compaction_read_bytes
                    .fetch_add(merge.bytes(), Relaxed);
                let mut edit = self.merge(&merge).await?;
                edit.remove = ids(&merge.inputs);
                self.install(edit).await
            }
        }
    }

    async fn merge(&self, merge: &Merge) -> Result<Edit> {
        let view = self.view();
        let own = collect(merge_range_deletes(&view, merge)?.iter());
        let (_, oldest_clock_ms) = self.oldest_reader();
        let rules = Rules {
            snapshots: self.snapshot_seqs(),
            expire_at_ms: if self.compaction.expire {
                oldest_clock_ms
            } else {
                0
            },
            zero: merge.to == LAST,
            deletes: own.clone(),
        };
        let below = Below::new(&view.levels, merge);
        let kept = KeptDeletes::new(Retain::new(rules.clone()), own, Some(below.clone()));
        let large = LargeValues::Tables {
            view: Arc::clone(&view),
            rewrite: merge.rewrite_values.iter().copied().collect(),
        };
        let mut outputs = Outputs::new(self, merge.to, large, kept);
        let mut cursor = MergeCursor::new(merge_sources(&view, merge)?, Direction::Forward);
        match self
            .merge_into(merge, &mut cursor, rules, below, &mut outputs)
            .await
        {
            Ok(()) => outputs.finish().await,
            Err(error) => {
                outputs.abandon().await;
                Err(error)
            }
        }
    }

    async fn merge_into(
        &self,
        merge: &Merge,
        cursor: &mut MergeCursor<Source<S::Reader>>,
        rules: Rules,
        mut below: Below,
        outputs: &mut Outputs<'_, S, R, M>,
    ) -> Result<()> {
        let mut retain = Retain::new(rules);
        let mut cutter = Cutter::new(merge, &self.compaction);
        let mut position = cursor.seek(None)?;
        loop {
            match position {
                Position::Refill => {
                    position = cursor.refill().await?;
                    continue;
                }
                Position::End => return Ok(()),
                Position::Record => {}
            }
            let record = cursor.record();
            let kept = match retain.judge(record, |key| below.may_hold(key)) {
                Verdict::Keep => Some(record),
                Verdict::KeepZeroed => Some(Record { seq: 0, ..record }),
                Verdict::Tombstone => Some(Record {
                    kind: Kind::Delete,
                    deadline_ms: 0,
                    value: &[],
                    ..record
                }),
                Verdict::Drop => None,
            };
            if let Some(record) = kept {
                let cut = outputs.is_new_key(record.key)
                    && cutter.cuts_before(record.key, outputs.table_bytes());
                outputs.add(record, cut).await?;
            }
            position = cursor.step()?;
        }
    }

    /// Commits an edit that adds nothing new to the log's side of the manifest.
    async fn install(&self, edit: Edit) -> Result<()> {
        let opened = self.open_added(&edit).await?;
        let mut manifest = self.manifest.lock().await;
        let mut next = manifest.clone();
        let applied = next.levels.apply(&edit)?;
        next.levels = applied.levels;
        self.note_watermark(&mut next);
        self.storage.commit(next.encode()).await?;
        let levels = Arc::new(next.levels.clone());
        *manifest = next;
        // Under the manifest's lock, so that views follow each other as manifests do.
        self.change_view(|view| {
            view.levels = Arc::clone(&levels);
            opened.add_to(view);
        });
        drop(manifest);
        let added: BTreeSet<u64> = edit.add.iter().map(|(_, meta)| meta.id).collect();
        let gone = edit.remove.iter().filter(|id| !added.contains(id));
        let objects = gone
            .chain(&applied.dead_values)
            .map(|&id| Object::Table(id));
        self.remove(objects.collect()).await
    }
}

fn ids(tables: &[(usize, Arc<TableMeta>)]) -> Vec<u64> {
    tables.iter().map(|(_, meta)| meta.id).collect()
}

fn collect<'a>(ranges: impl Iterator<Item = &'a crate::record::RangeDelete>) -> RangeDeletes {
    let mut deletes = RangeDeletes::default();
    for range in ranges {
        deletes.add(&range.start, range.end.as_deref(), range.seq);
    }
    deletes
}

fn merge_range_deletes<S: Storage>(
    view: &View<S>,
    merge: &Merge,
) -> Result<Vec<crate::record::RangeDelete>> {
    let mut ranges = Vec::new();
    for (_, meta) in merge
        .inputs
        .iter()
        .filter(|(_, meta)| meta.range_deletes > 0)
    {
        ranges.extend_from_slice(view.table(meta.id)?.range_deletes());
    }
    Ok(ranges)
}

/// A cursor for each table of level 0 and one for each other level.
fn merge_sources<S: Storage>(view: &View<S>, merge: &Merge) -> Result<Vec<Source<S::Reader>>> {
    let options = CursorOptions::whole_table();
    let skipping_nothing = RangeDeletes::default;
    let mut sources = Vec::new();
    let mut at = 0;
    while let Some((level, meta)) = merge.inputs.get(at) {
        if *level == 0 {
            let cursor = view.table(meta.id)?.cursor(Direction::Forward, options);
            sources.push(Source::Table(SkipDeleted::new(
                cursor,
                Direction::Forward,
                skipping_nothing(),
                0,
                0,
            )));
            at += 1;
            continue;
        }
        let same = merge.inputs[at..]
            .iter()
            .take_while(|(other, _)| other == level);
        let metas: Vec<_> = same.map(|(_, meta)| Arc::clone(meta)).collect();
        at += metas.len();
        let cursor = view.level_cursor(&metas, Direction::Forward, options)?;
        sources.push(Source::Level(SkipDeleted::new(
            cursor,
            Direction::Forward,
            skipping_nothing(),
            0,
            0,
        )));
    }
    Ok(sources)
}

//! Many ranges in one store: where the drivers of the ring's cores keep entries, state and promises.
//!
//! The ranges share one log and one tree. A record is logged at once, is safe when it has settled, and takes
//! effect when the range's core says that it is committed; the store itself never decides that. What it
//! gives back when it is opened is what had settled, no less, and what may have been forgotten is said.
//!
//! A log that fails, or has no room, is mended while the store goes on: what was asked for keeps its order and settles
//! once it is mended, and [`RangeStore::trouble`] says that nothing more should be asked for until then. What has no
//! room waits for it. Where mending fails, what waits hears of it, nothing more is taken, and when the store is opened
//! again every range is marked as one that may have forgotten something (rule 9). A failure to apply is an
//! error of that range's: it has to stop, as the next entry cannot be applied without this one.

mod alone;
mod backup;
mod encode;
mod lost;
mod members;
mod read;
mod room;
mod snapshot;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::effect::Record;
use super::entry::Entry;
use super::ids::{Index, LogId, META, NodeId, RangeId};
use super::membership::{Configuration, Member};
use super::range::Recovered;
use crate::command::{Commands, Reply};
use crate::db::{Applied, Counts, Db, Hard, Note, Options, RangeSpan, Replacement, Sync};
use crate::slot::ARCS;
use crate::storage::Durability;
use crate::{Error, ErrorKind, Result, Runtime, Storage};

pub use alone::LentEntries;
pub use backup::{BackedUp, Position, RangeBackup};
pub use lost::LOST_WRITES;
pub use members::Named;
pub use read::Seen;
pub use snapshot::RangeSnapshot;

/// A store of ranges. See the [module](self). Cloning shares it; the last handle's end ends its
/// background work.
pub struct RangeStore<S: Storage, R: Runtime> {
    inner: Arc<Inner<S, R>>,
}

impl<S: Storage, R: Runtime> Clone for RangeStore<S, R> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

struct Inner<S: Storage, R: Runtime> {
    db: Db<S, R, Commands>,
    storage: S,
    sync: Sync,
    /// Parts of masters' snapshots that have been laid aside.
    aside: Mutex<BTreeMap<RangeId, snapshot::Aside<S>>>,
    /// Held while the lost-writes file is written.
    lost: async_lock::Mutex<()>,
    /// What waits for room.
    waits: Mutex<room::Waits>,
}

/// Records that were appended; to be settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(test, derive(Default))]
#[must_use = "what was appended is promised nothing until it has settled"]
pub struct Ticket(crate::db::Ticket);

/// Where each arc's keys begin, and where the last one's end.
static STARTS: [[u8; 2]; ARCS as usize + 1] = {
    let mut starts = [[0; 2]; ARCS as usize + 1];
    let mut arc = 0;
    while arc <= ARCS {
        starts[arc as usize] = arc.to_be_bytes();
        arc += 1;
    }
    starts
};

/// Where a range's keys lie.
fn span_of(range: RangeId) -> Result<RangeSpan> {
    match STARTS.get(range as usize..).unwrap_or_default() {
        [start, end, ..] => Ok(RangeSpan {
            start: Bytes::from_static(start),
            end: Some(Bytes::from_static(end)),
        }),
        _ if range == META => Ok(RangeSpan {
            // Behind every arc.
            start: Bytes::from_static(&[0xff, 0xff]),
            end: None,
        }),
        _ => Err(invalid(format!("there is no range {range}"))),
    }
}

/// Entries of one range that are applied before other ranges have their turn: one that catches up must not hold up
/// those that clients wait for.
const APPLIED_AT_ONCE: usize = 64;

/// Where the state of [`META`] lies.
const META_KEY: &[u8] = &[0xff, 0xff, 0];

fn invalid(detail: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, "using a range", detail)
}

impl<S: Storage, R: Runtime> RangeStore<S, R> {
    /// Opens the store that is in `storage`, or makes one there, and tells what is in it of each range. Nothing
    /// is applied that was not in tables.
    ///
    /// # Errors
    /// As [`Db::open`]; `Invalid` if the store was not made by a ring.
    pub async fn open(storage: S, runtime: R, options: Options) -> Result<(Self, Vec<Recovered>)> {
        let sync = options.sync;
        let db = Db::open_with(storage.clone(), runtime, Commands::replicated(), options).await?;
        let found = db.core().ranges.found();
        let live = found.into_iter().filter(|found| !found.destroyed);
        let recovered: Result<Vec<Recovered>> = live.map(encode::recovered).collect();
        let inner = Arc::new(Inner {
            db,
            storage,
            sync,
            aside: Mutex::default(),
            lost: async_lock::Mutex::default(),
            waits: Mutex::default(),
        });
        Ok((Self { inner }, recovered?))
    }

    /// The copies that were destroyed here: they never come back under the same incarnation.
    pub fn destroyed(&self) -> Vec<(RangeId, Member)> {
        let found = self.db().core().ranges.found().into_iter();
        found
            .filter(|found| found.destroyed)
            .map(|found| (found.range, encode::member(&found)))
            .collect()
    }

    /// The node that this store is: its own identity, which no other store has.
    pub fn node_id(&self) -> NodeId {
        members::node_of(self.db().core().store_id)
    }

    /// The store underneath.
    pub fn db(&self) -> &Db<S, R, Commands> {
        &self.inner.db
    }

    /// Logs records of a range. Their place is fixed when this returns; they are safe once they have settled.
    ///
    /// # Errors
    /// `Invalid` if this copy of the range is not here. Anything else is final: nothing is logged any
    /// more.
    pub fn append(&self, range: RangeId, incarnation: LogId, records: &[Record]) -> Result<Ticket> {
        let notes = records.iter().map(encode::note);
        let notes: Vec<Note> = notes.collect::<Result<_>>()?;
        let core = self.db().core();
        core.append_to_range(range, incarnation.to_number(), notes)
            .map(Ticket)
    }

    /// Waits until everything up to the ticket is as durable as the store's entries have to be, and at least
    /// as `at_least` says. That takes as long as it takes to mend the log, if it has failed.
    ///
    /// # Errors
    /// `Unknown`; final.
    pub async fn settle(&self, ticket: Ticket, at_least: Durability) -> Result<()> {
        let core = self.db().core();
        let to = self.durability().max(at_least);
        core.settle_range(ticket.0, to).await.map(drop)
    }

    /// How durable entries have to be.
    fn durability(&self) -> Durability {
        match self.inner.sync {
            Sync::Always => Durability::Synced,
            Sync::EverySecond | Sync::No => Durability::Written,
        }
    }

    /// Ready as soon as it is seen that what a ticket stands for has to wait until the log is mended.
    pub async fn is_interrupted(&self, ticket: Ticket) {
        self.db().core().is_interrupted(ticket.0).await;
    }

    /// Waits, if it must, until writers are let in: a master asks before it appends a command.
    ///
    /// # Errors
    /// `Full`, `ReadOnly` and `Closed` if no write is taken at present.
    pub async fn admit(&self, bytes: usize) -> Result<()> {
        self.db().admit(bytes).await
    }

    /// Applies committed entries, in order, and answers what its commands answer. Either an entry takes
    /// effect as a whole, together with the range's applied index, or not at all.
    ///
    /// # Errors
    /// The range must stop: an entry could not be applied. Those before it have been.
    pub async fn apply(
        &self,
        range: RangeId,
        entries: &[Arc<Entry>],
    ) -> Result<Vec<(Index, Reply)>> {
        let span = span_of(range)?;
        let core = self.db().core();
        let mut replies = Vec::new();
        for (slice, entries) in entries.chunks(APPLIED_AT_ONCE).enumerate() {
            if slice > 0 {
                core.give_way().await;
            }
            let mut applying = core.begin_apply().await?;
            for entry in entries {
                let logged = encode::logged(entry)?;
                if let Some(reply) = applying.apply(range, &span, &logged).await? {
                    replies.push((entry.index, reply));
                }
            }
        }
        Ok(replies)
    }

    /// As [`RangeStore::apply`], for [`META`]: `step` makes the next state of the state and a command.
    ///
    /// # Errors
    /// As [`RangeStore::apply`], and those of `step`.
    pub async fn apply_meta(
        &self,
        entries: &[Arc<Entry>],
        mut step: impl FnMut(Option<Bytes>, &Entry) -> Result<(Bytes, Reply)>,
    ) -> Result<Vec<(Index, Reply)>> {
        let span = span_of(META)?;
        let mut replies = Vec::new();
        let mut applying = self.db().core().begin_apply().await?;
        for entry in entries {
            let logged = encode::logged(entry)?;
            if entry.is_command() {
                let state = applying.get(META_KEY).await?;
                let (state, reply) = step(state, entry)?;
                applying
                    .apply_put(META, &span, &logged, META_KEY, &state)
                    .await?;
                replies.push((entry.index, reply));
            } else {
                applying.apply(META, &span, &logged).await?;
            }
        }
        Ok(replies)
    }

    /// The state of [`META`]; `None` before its first command.
    ///
    /// # Errors
    /// Those of storage.
    pub async fn meta(&self) -> Result<Option<Bytes>> {
        let found = self.db().core().get_latest(META_KEY, &mut ()).await?;
        Ok(found.map(|(state, _)| state))
    }

    /// Begins a copy of a range that holds nothing yet. A founder knows the configuration; a node that was
    /// added does not. Durable on return.
    ///
    /// # Errors
    /// `Invalid` if a copy is here, or if this incarnation was destroyed here.
    pub async fn found(
        &self,
        range: RangeId,
        me: Member,
        configuration: &Configuration,
    ) -> Result<()> {
        self.found_all(&[range], me, configuration).await
    }

    /// As [`RangeStore::found`], for many ranges at once: all of them, or none.
    ///
    /// # Errors
    /// As [`RangeStore::found`].
    pub async fn found_all(
        &self,
        ranges: &[RangeId],
        me: Member,
        configuration: &Configuration,
    ) -> Result<()> {
        self.with_room(|| self.try_to_found(ranges, me, configuration))
            .await
    }

    async fn try_to_found(
        &self,
        ranges: &[RangeId],
        me: Member,
        configuration: &Configuration,
    ) -> Result<()> {
        let configuration = encode::configuration(configuration)?;
        let mut news = Vec::with_capacity(ranges.len());
        for &range in ranges {
            span_of(range)?;
            news.push(Replacement {
                range,
                node: me.node.0,
                incarnation: me.incarnation.to_number(),
                destroyed: false,
                hard: Hard::default(),
                configured: (0, configuration.clone()),
                applied: Applied::default(),
                counts: Counts::default(),
            });
        }
        self.db().core().found_ranges(news).await
    }

    /// Destroys a copy: its keys, its log and its promises are gone; its incarnation is remembered.
    ///
    /// # Errors
    /// `Invalid` if it is not here, and those of storage: then it is here still.
    pub async fn destroy(&self, range: RangeId) -> Result<()> {
        self.with_room(|| self.try_to_destroy(range)).await
    }

    async fn try_to_destroy(&self, range: RangeId) -> Result<()> {
        let span = span_of(range)?;
        self.discard_aside(range).await?;
        let core = self.db().core();
        let found = core.ranges.found().into_iter();
        let found = found
            .filter(|found| !found.destroyed)
            .find(|found| found.range == range);
        let found = found.ok_or_else(|| invalid(format!("range {range} is not here")))?;
        let new = Replacement {
            range,
            node: found.node,
            incarnation: found.incarnation,
            destroyed: true,
            hard: Hard::default(),
            configured: (0, Bytes::new()),
            applied: Applied::default(),
            counts: Counts::default(),
        };
        core.destroy_range(new, span).await
    }

    /// How often what is in tables has moved, and the last index of each range that is in them. The ring
    /// need not keep entries up to there for this store's sake.
    pub fn flushed(&self) -> (u64, Vec<(RangeId, Index)>) {
        self.db().core().ranges.in_tables()
    }

    /// Waits until what is in tables has moved more than `seen` times.
    ///
    /// # Errors
    /// `Closed`, or what has stopped the store.
    pub async fn flushed_since(&self, seen: u64) -> Result<(u64, Vec<(RangeId, Index)>)> {
        let core = self.db().core();
        let moved = core
            .changed
            .wait(|| {
                if let Some(error) = core.health.failure() {
                    return Some(Err(error));
                }
                (core.ranges.in_tables().0 > seen).then_some(Ok(()))
            })
            .await;
        moved.map(|()| self.flushed())
    }

    /// Ends the store in good order. Nothing is forgotten then, whatever becomes of the machine.
    ///
    /// # Errors
    /// As [`Db::close`].
    pub async fn close(&self) -> Result<()> {
        self.db().close().await
    }
}

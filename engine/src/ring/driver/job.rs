//! Work that may have to wait for the storage, and what comes of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::command::Reply;
use crate::ring::effect::{Effect, Input};
use crate::ring::entry::Entry;
use crate::ring::ids::{Index, LogId, META, RangeId};
use crate::ring::membership::{Configuration, Member};
use crate::ring::meta::{Map, apply_entry, decode_map};
use crate::ring::store::{RangeSnapshot, RangeStore, Ticket};
use crate::storage::Durability;
use crate::{Result, Runtime, Storage};

/// Bytes of a snapshot's part.
const PART_BYTES: usize = 256 << 10;

/// Appends that are settled together.
pub(super) struct Batch {
    pub(super) ticket: Ticket,
    pub(super) synced: bool,
    /// The last append of each copy.
    pub(super) appends: BTreeMap<(RangeId, LogId), u64>,
}

/// See the module. A job about a range names the copy that it is for.
pub(super) enum Job<S: Storage, R: Runtime> {
    Settle(Batch),
    Begin(RangeId, Member, Configuration),
    Apply(RangeId, LogId, Vec<Arc<Entry>>),
    SnapshotOpen(RangeId, LogId, u64),
    SnapshotRead(RangeId, LogId, Arc<RangeSnapshot<S, R>>, u64, u64),
    /// Anything else that a range has to itself.
    Effect(RangeId, LogId, Effect),
    /// Read the map.
    Map,
}

impl<S: Storage, R: Runtime> Job<S, R> {
    /// Whether it may keep a processor or the disk busy for long, and nobody is kept waiting by that.
    pub(super) fn is_long(&self) -> bool {
        matches!(
            self,
            // To begin a copy where another was, the whole hash table may have to be gone through.
            Self::Begin(..)
                | Self::SnapshotRead(..)
                | Self::Effect(
                    _,
                    _,
                    Effect::SnapshotInstall { .. } | Effect::Digest { .. } | Effect::Destroy
                )
        )
    }
}

/// What came of a job.
pub(super) enum Done<S: Storage, R: Runtime> {
    Settled(Batch, Result<()>),
    Applied(RangeId, LogId, LogId, Result<Vec<(Index, Reply)>>),
    SnapshotOpened(RangeId, LogId, u64, Result<Arc<RangeSnapshot<S, R>>>),
    SnapshotRead(RangeId, LogId, Result<Input>),
    Effect(RangeId, LogId, Result<Option<Input>>),
    Map(Result<Option<Map>>),
}

/// Does a job.
pub(super) async fn perform<S: Storage, R: Runtime>(
    store: RangeStore<S, R>,
    job: Job<S, R>,
) -> Done<S, R> {
    match job {
        Job::Settle(batch) => {
            let at_least = if batch.synced {
                Durability::Synced
            } else {
                Durability::Written
            };
            let settled = store.settle(batch.ticket, at_least).await;
            Done::Settled(batch, settled)
        }
        Job::Begin(range, me, configuration) => {
            let begun = store.found(range, me, &configuration).await;
            Done::Effect(range, me.incarnation, begun.map(|()| None))
        }
        Job::Apply(range, incarnation, entries) => {
            let upto = entries.last().map_or(LogId::default(), |entry| entry.id());
            let replies = match range {
                META => store.apply_meta(&entries, apply_entry).await,
                _ => store.apply(range, &entries).await,
            };
            Done::Applied(range, incarnation, upto, replies)
        }
        Job::SnapshotOpen(range, incarnation, id) => {
            let pinned = store.snapshot_open(range).await.map(Arc::new);
            Done::SnapshotOpened(range, incarnation, id, pinned)
        }
        Job::SnapshotRead(range, incarnation, snapshot, id, number) => {
            let part = store.snapshot_read(&snapshot, number, PART_BYTES).await;
            let input = part.map(|(bytes, last)| Input::SnapshotRead {
                id,
                number,
                bytes,
                last,
            });
            Done::SnapshotRead(range, incarnation, input)
        }
        Job::Effect(range, incarnation, effect) => {
            let input = carry_out(&store, range, effect).await;
            Done::Effect(range, incarnation, input)
        }
        Job::Map => Done::Map(read_map(&store).await),
    }
}

async fn carry_out<S: Storage, R: Runtime>(
    store: &RangeStore<S, R>,
    range: RangeId,
    effect: Effect,
) -> Result<Option<Input>> {
    Ok(match effect {
        Effect::ChunkStore { id, number, bytes } => {
            store.chunk_store(range, id, number, bytes).await?;
            Some(Input::ChunkStored { id, number })
        }
        Effect::SnapshotInstall { head, state } => {
            store.snapshot_install(range, &head, state).await?;
            Some(Input::SnapshotInstalled { id: head.id })
        }
        Effect::WriteLost { entries, behind } => {
            store.write_lost(range, &entries, behind).await?;
            None
        }
        Effect::Digest { at } => {
            let digest = store.digest(range).await?;
            Some(Input::Digested { at, digest })
        }
        Effect::Destroy => {
            store.destroy(range).await?;
            None
        }
        _ => None,
    })
}

/// The map that the meta range's state holds, if that is here.
pub(super) async fn read_map<S: Storage, R: Runtime>(
    store: &RangeStore<S, R>,
) -> Result<Option<Map>> {
    let state = store.meta().await?;
    decode_map(state.as_deref().unwrap_or_default())
}

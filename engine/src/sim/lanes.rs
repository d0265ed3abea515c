//! Carrying out what one range asks for: in its order, with as much going on at once as that allows.
//!
//! Appends go to the log at once and settle while other things happen; entries are applied one batch after
//! the other; what replaces a range's state has it to itself.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use super::TestRuntime;
use super::host::{Applied, Batch, Done, Host, Running};
use super::world::{Event, World};
use crate::ring::effect::{Effect, Input, Record};
use crate::ring::entry::{Content, Entry};
use crate::ring::membership::{Configuration, Member};
use crate::ring::meta::apply_entry;
use crate::ring::store::RangeSnapshot;
use crate::ring::{LogId, META, RangeId};
use crate::{Durability, FaultyStorage, Result};

pub(super) type Pinned = Arc<RangeSnapshot<FaultyStorage, TestRuntime>>;

/// Bytes of a snapshot's part: small, so that there are several.
const PART_BYTES: usize = 512;

/// Something to be done for a range.
pub(super) enum Job {
    /// Make room for a copy.
    Begin(Member, Configuration),
    /// What its core asks for.
    Effect(Effect),
}

/// See the module.
pub(super) struct Lane {
    incarnation: LogId,
    queue: VecDeque<Job>,
    applying: bool,
    /// Something has the range to itself.
    exclusive: bool,
    /// Entries that are applied a little later.
    delayed: Vec<Arc<Entry>>,
    snapshots: BTreeMap<u64, Pinned>,
    /// A command that only this copy will carry out.
    pub(super) rot: Option<Bytes>,
    has_rotted: bool,
    /// A hash of all that was applied.
    pub(super) chain: u64,
}

impl Lane {
    pub(super) fn new(incarnation: LogId, chain: u64) -> Self {
        Self {
            incarnation,
            queue: VecDeque::new(),
            applying: false,
            exclusive: false,
            delayed: Vec::new(),
            snapshots: BTreeMap::new(),
            rot: None,
            has_rotted: false,
            chain,
        }
    }

    pub(super) fn push(&mut self, job: Job) {
        self.queue.push_back(job);
    }

    /// The next job, if it can begin.
    fn next(&mut self) -> Option<Job> {
        let is_append = matches!(self.queue.front()?, Job::Effect(Effect::Append { .. }));
        if self.exclusive || (self.applying && !is_append) {
            return None;
        }
        self.queue.pop_front()
    }
}

impl Host {
    /// Begins what a range asks for, as far as it can begin.
    pub(super) fn advance_lane(&mut self, range: RangeId, world: &mut World) {
        loop {
            let Some(running) = &mut self.running else {
                return;
            };
            let Some(lane) = running.lanes.get_mut(&range) else {
                return;
            };
            let Some(job) = lane.next() else {
                return;
            };
            match job {
                Job::Begin(me, configuration) => {
                    (lane.incarnation, lane.exclusive) = (me.incarnation, true);
                    lane.snapshots.clear();
                    lane.chain = 0;
                    world.invariants.forget(self.id, range);
                    let store = running.store.clone();
                    self.run(async move {
                        let found = store.found(range, me, &configuration).await;
                        Done::Range(range, me.incarnation, found.map(|()| None))
                    });
                }
                Job::Effect(effect) => self.begin_effect(range, effect, world),
            }
        }
    }

    fn begin_effect(&mut self, range: RangeId, effect: Effect, world: &mut World) {
        let place = self.place;
        let Some((running, incarnation)) = self.lane(range) else {
            return;
        };
        let store = running.store.clone();
        let Some(lane) = running.lanes.get_mut(&range) else {
            return;
        };
        match effect {
            Effect::Append {
                append,
                records,
                synced,
            } => {
                return self.append(range, append, &records, synced, world);
            }
            Effect::Apply(entries) => {
                lane.applying = true;
                lane.delayed = entries;
                if world.random.below(8) > 0 {
                    return self.apply_now(range);
                }
                let (delay_us, life) = (world.random.below(12_000), self.life);
                return world.after(delay_us, Event::Apply { place, life, range });
            }
            Effect::SnapshotClose { id } => {
                lane.snapshots.remove(&id);
                return;
            }
            Effect::SnapshotRead { id, number } => {
                let Some(pinned) = lane.snapshots.get(&id).cloned() else {
                    return;
                };
                lane.exclusive = true;
                return self.run(async move {
                    let part = store.snapshot_read(&pinned, number, PART_BYTES).await;
                    let input = part.map(|(bytes, last)| {
                        Some(Input::SnapshotRead {
                            id,
                            number,
                            bytes,
                            last,
                        })
                    });
                    Done::Range(range, incarnation, input)
                });
            }
            Effect::Send(_) | Effect::Reply { .. } | Effect::Trace(_) => return,
            _ => lane.exclusive = true,
        }
        self.run(async move {
            let done: Result<Option<Input>> = match effect {
                Effect::SnapshotOpen { id } => {
                    let pinned = store.snapshot_open(range).await.map(Arc::new);
                    return Done::Snapshot(range, incarnation, id, pinned);
                }
                Effect::ChunkStore { id, number, bytes } => {
                    let stored = store.chunk_store(range, id, number, bytes).await;
                    stored.map(|()| Some(Input::ChunkStored { id, number }))
                }
                Effect::SnapshotInstall { head, state } => {
                    let installed = store.snapshot_install(range, &head, state).await;
                    installed.map(|()| Some(Input::SnapshotInstalled { id: head.id }))
                }
                Effect::WriteLost { entries, behind } => store
                    .write_lost(range, &entries, behind)
                    .await
                    .map(|()| None),
                Effect::Digest { at } => {
                    let digest = store.digest(range).await;
                    digest.map(|digest| Some(Input::Digested { at, digest }))
                }
                Effect::Destroy => store.destroy(range).await.map(|()| None),
                _ => Ok(None),
            };
            Done::Range(range, incarnation, done)
        });
    }

    fn lane(&mut self, range: RangeId) -> Option<(&mut Running, LogId)> {
        let running = self.running.as_mut()?;
        let incarnation = running.lanes.get(&range)?.incarnation;
        Some((running, incarnation))
    }

    fn append(
        &mut self,
        range: RangeId,
        append: u64,
        records: &[Record],
        synced: bool,
        world: &mut World,
    ) {
        let id = self.id;
        let Some((running, incarnation)) = self.lane(range) else {
            return;
        };
        world.invariants.appended(id, range, append, records);
        match running.store.append(range, incarnation, records) {
            Ok(ticket) => {
                let batch = running.gathering.get_or_insert(Batch {
                    ticket,
                    synced,
                    appends: Vec::new(),
                });
                batch.ticket = ticket;
                batch.synced |= synced;
                batch.appends.push((range, incarnation, append));
            }
            Err(error) => self.fail("appending", error, world),
        }
    }

    /// Hands to the disk what was appended; it will be settled when the disk has taken its time.
    pub(super) fn hand_to_disk(&mut self, world: &mut World) {
        let (place, life, slowness) = (self.place, self.life, self.slowness);
        let Some(running) = &mut self.running else {
            return;
        };
        let Some(batch) = running.gathering.take() else {
            return;
        };
        let synced = batch.synced || world.setup.sync == crate::db::Sync::Always;
        let spread_us = if synced { 2_500 } else { 300 };
        let takes_us = 100 + world.random.below(spread_us * slowness);
        running.settles_at = running.settles_at.max(world.now_us + takes_us);
        running.settling.push_back(batch);
        world.at(running.settles_at, Event::Settle { place, life });
    }

    /// The disk has taken its time.
    pub(super) fn settle(&mut self) {
        let Some(running) = &mut self.running else {
            return;
        };
        let Some(batch) = running.settling.pop_front() else {
            return;
        };
        let store = running.store.clone();
        let at_least = if batch.synced {
            Durability::Synced
        } else {
            Durability::Written
        };
        self.run(async move {
            let settled = store.settle(batch.ticket, at_least).await;
            Done::Settled(batch, settled)
        });
    }

    pub(super) fn apply_now(&mut self, range: RangeId) {
        let Some((running, incarnation)) = self.lane(range) else {
            return;
        };
        let store = running.store.clone();
        let Some(lane) = running.lanes.get_mut(&range) else {
            return;
        };
        let entries = std::mem::take(&mut lane.delayed);
        let rotted = lane.rot.clone().and_then(|rot| rotted(&entries, rot));
        if rotted.is_some() {
            lane.rot = None;
            lane.has_rotted = true;
        }
        self.run(async move {
            let applied = rotted.as_ref().unwrap_or(&entries);
            let mut replies = match range {
                META => store.apply_meta(&entries, apply_entry).await,
                _ => store.apply(range, applied).await,
            };
            if let Ok(replies) = &mut replies {
                replies.retain(|(index, _)| {
                    entries
                        .iter()
                        .any(|entry| entry.index == *index && entry.is_command())
                });
            }
            Done::Applied(range, incarnation, Applied { entries, replies })
        });
    }

    pub(super) fn take_applied(
        &mut self,
        range: RangeId,
        incarnation: LogId,
        applied: Applied,
        world: &mut World,
    ) {
        let id = self.id;
        let Some((running, _)) = self.lane(range) else {
            return;
        };
        let Some(lane) = running.lanes.get_mut(&range) else {
            return;
        };
        lane.applying = false;
        if std::mem::take(&mut lane.has_rotted) {
            world.invariants.has_rotted(id, range);
        }
        let Some(lane) = running.lanes.get_mut(&range) else {
            return;
        };
        match applied.replies {
            Ok(replies) => {
                lane.chain =
                    world
                        .invariants
                        .applied(id, range, lane.chain, &applied.entries, &replies);
                if let Some(last) = applied.entries.last() {
                    let input = Input::Applied {
                        upto: last.id(),
                        replies,
                    };
                    self.tell(range, incarnation, input, world);
                }
                if range == META {
                    self.look_at_map();
                }
                self.advance_lane(range, world);
                self.hand_to_disk(world);
            }
            Err(error) => self.fail("applying", error, world),
        }
    }

    pub(super) fn take_snapshot(
        &mut self,
        range: RangeId,
        incarnation: LogId,
        id: u64,
        pinned: Result<Pinned>,
        world: &mut World,
    ) {
        match pinned {
            Ok(pinned) => {
                let (at, time_ms) = (pinned.at(), pinned.time_ms());
                if let Some((running, _)) = self.lane(range)
                    && let Some(lane) = running.lanes.get_mut(&range)
                {
                    lane.snapshots.insert(id, pinned);
                    lane.exclusive = false;
                }
                self.tell(
                    range,
                    incarnation,
                    Input::SnapshotOpened { id, at, time_ms },
                    world,
                );
                self.advance_lane(range, world);
                self.hand_to_disk(world);
            }
            Err(error) => self.fail("opening a snapshot", error, world),
        }
    }

    /// What had a range to itself is over.
    pub(super) fn take_exclusive(
        &mut self,
        range: RangeId,
        incarnation: LogId,
        input: Result<Option<Input>>,
        world: &mut World,
    ) {
        let input = match input {
            Ok(input) => input,
            Err(error) => return self.fail("replacing a range", error, world),
        };
        if let Some(Input::SnapshotRead { bytes, .. }) = &input {
            world.moved_bytes += bytes.len() as u64;
        }
        let replaced = matches!(input, Some(Input::SnapshotInstalled { .. }));
        if let Some(input) = input {
            self.tell(range, incarnation, input, world);
        }
        if let Some((running, _)) = self.lane(range) {
            let at = running.node.range(range).map(|range| range.applied());
            if let Some(lane) = running.lanes.get_mut(&range) {
                lane.exclusive = false;
                if let Some(at) = at.filter(|_| replaced) {
                    lane.chain = world.invariants.chain_at(range, at);
                }
            }
        }
        if range == META && replaced {
            self.look_at_map();
        }
        self.advance_lane(range, world);
        self.hand_to_disk(world);
    }
}

/// These entries with a command in the place of one that does nothing, if there is one.
fn rotted(entries: &[Arc<Entry>], payload: Bytes) -> Option<Vec<Arc<Entry>>> {
    let place = entries
        .iter()
        .position(|entry| matches!(entry.content, Content::Empty))?;
    let mut entries = entries.to_vec();
    let content = Content::Command(payload);
    entries[place] = Arc::new(Entry {
        content,
        ..(*entries[place]).clone()
    });
    Some(entries)
}

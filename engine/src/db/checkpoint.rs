//! A copy of a live store.

use std::sync::atomic::Ordering::SeqCst;

use super::commit::Ticket;
use super::core::Core;
use super::machine::Machine;
use crate::storage::Durability;
use crate::{Object, Result, Runtime, Storage};

/// Keeps objects from being removed while they are copied.
struct Copying<'a, S: Storage, R: Runtime, M: Machine>(&'a Core<S, R, M>);

impl<'a, S: Storage, R: Runtime, M: Machine> Copying<'a, S, R, M> {
    fn begin(core: &'a Core<S, R, M>) -> Self {
        core.checkpoints.fetch_add(1, SeqCst);
        Self(core)
    }
}

impl<S: Storage, R: Runtime, M: Machine> Drop for Copying<'_, S, R, M> {
    fn drop(&mut self) {
        self.0.checkpoints.fetch_sub(1, SeqCst);
    }
}

impl<S: Storage, R: Runtime, M: Machine> Core<S, R, M> {
    /// The manifest, the tables it names, and the log up to what has settled at this moment.
    pub(crate) async fn checkpoint(&self, to: S::Place) -> Result<()> {
        let copying = Copying::begin(self);
        // A segment that is being begun has no place in a copy yet.
        self.changed
            .wait(|| {
                let commit = self.commit.lock();
                if !commit.log.is_held() {
                    return Some(Ok(()));
                }
                commit.stuck(&self.health).map(Err)
            })
            .await?;
        let (manifest, mut objects, ticket) = {
            let manifest = self.manifest.lock().await;
            let commit = self.commit.lock();
            let objects = segments_upto(&commit.segments, commit.settled);
            let ticket = Ticket {
                position: commit.settled,
                epoch: commit.epoch,
            };
            (manifest.clone(), objects, ticket)
        };
        self.settle(ticket, Durability::Written).await?;
        let tables = manifest.levels.all().map(|(_, meta)| (meta.id, meta.bytes));
        for (id, bytes) in tables {
            objects.push((Object::Table(id), bytes));
        }
        let view = self.view();
        for &id in manifest.levels.values().keys() {
            let bytes = match view.values.get(&id) {
                Some(values) => values.file_bytes(),
                None => self.open_values(id).await?.file_bytes(),
            };
            objects.push((Object::Table(id), bytes));
        }
        let mut meta = manifest;
        // The copy's log ends where this one has settled, in the middle of what may come.
        meta.clean = false;
        let copied = self.storage.checkpoint(to, objects, meta.encode()).await;
        drop(copying);
        self.remove(Vec::new()).await?;
        copied
    }
}

/// Each segment with the length up to which it holds anything before `position`.
fn segments_upto(
    segments: &std::collections::VecDeque<(u64, u64)>,
    position: u64,
) -> Vec<(Object, u64)> {
    let ends = segments
        .iter()
        .skip(1)
        .map(|&(_, start)| start)
        .chain([u64::MAX]);
    segments
        .iter()
        .zip(ends)
        .filter(|&(&(_, start), _)| start < position || segments.len() == 1)
        .map(|(&(segment, start), end)| {
            (
                Object::Segment(segment),
                position.min(end).saturating_sub(start),
            )
        })
        .collect()
}

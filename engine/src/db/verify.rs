//! Checking everything that a store has written.

use super::core::Core;
use super::machine::Machine;
use crate::log::{Expected, SegmentReader};
use crate::{Error, Object, Result, Runtime, Storage};

/// What [`super::Db::verify`] has looked at, and what is wrong.
#[derive(Clone, Debug, Default)]
pub struct Verified {
    /// Tables read from end to end.
    pub tables: usize,
    /// Files of large values read from end to end.
    pub values_files: usize,
    /// Segments of the log read.
    pub segments: usize,
    /// Records in the tables.
    pub records: u64,
    /// Entries in the log.
    pub entries: u64,
    /// Everything that is not as it should be; each error names object and offset.
    pub problems: Vec<Error>,
}

impl Verified {
    /// Whether all is well.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }
}

impl<S: Storage, R: Runtime, M: Machine> Core<S, R, M> {
    pub(crate) async fn verify(&self) -> Result<Verified> {
        self.health.check_alive()?;
        let mut verified = Verified::default();
        let view = self.view();
        if let Err(error) = view.levels.check_invariants() {
            verified.problems.push(error);
        }
        for (_, meta) in view.levels.all() {
            verified.tables += 1;
            verified.records += meta.entries;
            match view.table(meta.id) {
                Ok(table) => verified.problems.extend(table.verify().await),
                Err(error) => verified.problems.push(error),
            }
            self.runtime.breathe().await;
        }
        for values in view.values.values() {
            verified.values_files += 1;
            verified.problems.extend(values.verify().await);
        }
        for (segment, start, end) in self.synced_segments() {
            verified.segments += 1;
            match self.verify_segment(segment, start, end).await {
                Ok(entries) => verified.entries += entries,
                Err(error) => {
                    // It may have been flushed and dropped meanwhile.
                    if self
                        .commit
                        .lock()
                        .segments
                        .iter()
                        .any(|&(kept, _)| kept == segment)
                    {
                        verified.problems.push(error);
                    }
                }
            }
        }
        Ok(verified)
    }

    /// Each segment with the positions at which it begins and up to which it is known to be synced.
    fn synced_segments(&self) -> Vec<(u64, u64, u64)> {
        let commit = self.commit.lock();
        let synced_upto = commit.log.synced_upto();
        let nexts = commit
            .segments
            .iter()
            .skip(1)
            .map(|&(_, start)| start)
            .chain([u64::MAX]);
        let segments = commit.segments.iter().zip(nexts);
        segments
            .map(|(&(segment, start), next)| (segment, start, next.min(synced_upto)))
            .collect()
    }

    /// Reads a segment up to what is known to be synced; what lies behind is being written.
    async fn verify_segment(&self, segment: u64, start: u64, end: u64) -> Result<u64> {
        let reader = self.storage.open(Object::Segment(segment)).await?;
        let expected = Expected {
            segment,
            store: self.store_id,
            start: Some(start),
            synced_upto: end,
            synced_offset: 0,
            // What follows the synced part need not be whole.
            last: true,
        };
        let mut reader = SegmentReader::open(reader, expected).await?;
        let mut entries = 0;
        while let Some(replayed) = reader.next().await? {
            entries += 1;
            if replayed.position >= end {
                break;
            }
        }
        Ok(entries)
    }
}

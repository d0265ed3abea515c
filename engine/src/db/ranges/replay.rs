//! Reading the ranges' records back from the log. Nothing is applied.

use super::super::core::Core;
use super::super::machine::Machine;
use super::super::segments::Segments;
use super::book::Book;
use super::{Hard, Logged};
use crate::log::{LogKind, Replayed, SegmentEnd};
use crate::{Error, ErrorKind, Object, Result, Runtime, Storage};

const REPLAYING: &str = "replaying the log";

impl<S: Storage, R: Runtime, M: Machine> Core<S, R, M> {
    /// Fills the book. The last segment and how it ended, if there is any.
    pub(super) async fn read_segments(
        &self,
        segments: &[u64],
        book: &mut Book,
    ) -> Result<Option<(u64, SegmentEnd)>> {
        let mut log = Segments::new(self, segments).await;
        while let Some((segment, replayed)) = log.next().await? {
            book.replay(replayed)
                .map_err(|error| error.on(Object::Segment(segment)))?;
        }
        book.check()?;
        Ok(log.end())
    }
}

impl Book {
    pub(super) fn replay(&mut self, replayed: Replayed) -> Result<()> {
        let Some(state) = self.ranges.get_mut(&replayed.range) else {
            let detail = format!(
                "a record of range {}, which this store does not hold: it may not be a ring's",
                replayed.range
            );
            return Err(Error::new(ErrorKind::Invalid, REPLAYING, detail));
        };
        if replayed.position <= state.void_upto {
            return Ok(());
        }
        match replayed.kind {
            LogKind::Entry | LogKind::Config => {
                // What was read in larger pieces must not stay in memory for a few bytes.
                let payload = bytes::Bytes::copy_from_slice(&replayed.payload);
                let entry = Logged {
                    configures: replayed.kind == LogKind::Config,
                    term: replayed.term,
                    index: replayed.index,
                    time_ms: replayed.time_ms,
                    seed: replayed.seed,
                    payload,
                };
                state.hold(entry, replayed.position);
            }
            LogKind::Truncate => {
                state.held.split_off(&replayed.index);
            }
            LogKind::HardState => {
                let hard = Hard::from_log(replayed.index, replayed.term, &replayed.payload)?;
                self.hard_version = self.hard_version.max(hard.version);
                if hard.version > state.hard.version {
                    state.hard = hard;
                }
            }
            LogKind::Snapshot => {
                let detail = "a snapshot's record: upgrade to open this store";
                return Err(Error::new(ErrorKind::Newer, REPLAYING, detail));
            }
        }
        Ok(())
    }

    /// Fails unless each range's entries follow its state without a gap.
    fn check(&self) -> Result<()> {
        for (range, state) in &self.ranges {
            let (mut index, mut term) = (state.applied.index, state.applied.term);
            for held in state.held.values() {
                let entry = &held.entry;
                if entry.index != index + 1 || entry.term < term {
                    let detail = format!(
                        "range {range}: entry {} of term {} follows entry {index} of term {term}",
                        entry.index, entry.term
                    );
                    return Err(Error::corrupt(REPLAYING, detail));
                }
                (index, term) = (entry.index, entry.term);
            }
        }
        Ok(())
    }
}

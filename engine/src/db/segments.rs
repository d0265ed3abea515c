//! The log as it is read when a store is opened: its segments, one after the other, as one run of records.

use super::core::Core;
use super::machine::Machine;
use crate::log::{Expected, Replayed, SegmentEnd, SegmentReader};
use crate::lsm::manifest::LogPosition;
use crate::{Object, Result, Runtime, Storage};

/// The records of all segments, in order. Each segment is held against what the one before said.
pub(super) struct Segments<'a, S: Storage, R: Runtime, M: Machine> {
    core: &'a Core<S, R, M>,
    /// Those not opened yet.
    left: &'a [u64],
    /// What is known to be synced.
    watermark: LogPosition,
    open: Option<(u64, SegmentReader<S::Reader>)>,
    before: Option<(u64, SegmentEnd)>,
}

impl<'a, S: Storage, R: Runtime, M: Machine> Segments<'a, S, R, M> {
    pub(super) async fn new(core: &'a Core<S, R, M>, segments: &'a [u64]) -> Self {
        Self {
            core,
            left: segments,
            watermark: core.manifest.lock().await.log_synced,
            open: None,
            before: None,
        }
    }

    /// The next record and the segment that it lies in.
    pub(super) async fn next(&mut self) -> Result<Option<(u64, Replayed)>> {
        loop {
            if let Some((segment, reader)) = &mut self.open
                && let Some(replayed) = reader.next().await?
            {
                return Ok(Some((*segment, replayed)));
            }
            self.end_segment();
            let Some((&segment, left)) = self.left.split_first() else {
                return Ok(None);
            };
            self.left = left;
            self.open_segment(segment).await?;
        }
    }

    /// The last segment and how it ended, if there is any.
    pub(super) fn end(self) -> Option<(u64, SegmentEnd)> {
        self.before
    }

    async fn open_segment(&mut self, segment: u64) -> Result<()> {
        let before = self.before.as_ref().map(|(_, end)| end);
        let expected = Expected {
            segment,
            store: self.core.store_id,
            start: before.map(|end| end.position),
            synced_upto: before.map_or(0, |end| end.synced_upto),
            synced_offset: if self.watermark.segment == segment {
                self.watermark.offset
            } else {
                0
            },
            last: self.left.is_empty(),
        };
        let reader = self.core.storage.open(Object::Segment(segment)).await?;
        let reader = SegmentReader::open(reader, expected).await?;
        let start = (segment, reader.start());
        self.core.commit.lock().segments.push_back(start);
        self.open = Some((segment, reader));
        Ok(())
    }

    fn end_segment(&mut self) {
        let Some((segment, reader)) = self.open.take() else {
            return;
        };
        let end = reader.finish();
        if let Some(cut) = &end.cut {
            let (offset, why) = (cut.offset, &cut.why);
            tracing::warn!(segment, offset, why, "cut a torn tail off the log");
            self.core.cuts.lock().push(cut.clone());
        }
        self.before = Some((segment, end));
    }
}

//! Walking keys in order.

use std::sync::Arc;

use bytes::Bytes;

use super::applier::IN_MEMTABLE;
use super::core::Core;
use super::machine::Machine;
use super::snapshot::Pin;
use super::sources::Source;
use super::view::View;
use crate::lsm::cursor::{Direction, Position};
use crate::lsm::merge::MergeCursor;
use crate::lsm::values::ValueRef;
use crate::lsm::visible::{self, Visible};
use crate::record::{Kind, Record};
use crate::{Result, Runtime, Storage};

/// After so many records a walk looks whether its view of the store is out of date: holding on to one
/// would keep memory and files from being reused.
const RECORDS_BETWEEN_LOOKS: u32 = 1024;

/// Which keys, and in which order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// The first key; `None` from the very first.
    pub start: Option<Bytes>,
    /// The first key that is not wanted; `None` up to the very last.
    pub end: Option<Bytes>,
    /// From the last key to the first.
    pub reverse: bool,
}

impl Range {
    /// Every key.
    pub fn all() -> Self {
        Self::default()
    }

    /// From `start` on and before `end`.
    pub fn between(start: &[u8], end: &[u8]) -> Self {
        Self {
            start: Some(Bytes::copy_from_slice(start)),
            end: Some(Bytes::copy_from_slice(end)),
            reverse: false,
        }
    }

    /// From `start` on.
    pub fn from(start: &[u8]) -> Self {
        Self {
            start: Some(Bytes::copy_from_slice(start)),
            end: None,
            reverse: false,
        }
    }

    /// Keys that begin with `prefix`.
    ///
    /// ```
    /// use trilith::Range;
    /// assert_eq!(Range::prefix(b"ab"), Range::between(b"ab", b"ac"));
    /// assert_eq!(Range::prefix(b"a\xff").end.unwrap(), b"b"[..]);
    /// assert_eq!(Range::prefix(b"\xff").end, None);
    /// ```
    pub fn prefix(prefix: &[u8]) -> Self {
        // The first key behind all that begin so: the last byte that can be raised is raised.
        let end = prefix.iter().rposition(|&byte| byte != 0xff).map(|at| {
            let mut end = prefix[..=at].to_vec();
            end[at] += 1;
            Bytes::from(end)
        });
        Self {
            start: Some(Bytes::copy_from_slice(prefix)),
            end,
            reverse: false,
        }
    }

    /// The same keys from the last to the first.
    #[must_use]
    pub fn reversed(mut self) -> Self {
        self.reverse = !self.reverse;
        self
    }
}

/// A walk over the live keys of a range, as they were when it began. Later writes do not show in it.
///
/// [`Scan::next`] lends each record where it lies, without copying.
pub struct Scan<S: Storage, R: Runtime, M: Machine> {
    core: Arc<Core<S, R, M>>,
    pin: Pin<S, R, M>,
    range: Range,
    view: Arc<View<S>>,
    visible: Visible<MergeCursor<Source<S::Reader>>>,
    until_look: u32,
    /// The last key, for going on from in a new view.
    last_key: Vec<u8>,
    /// A large value, fetched.
    fetched: Bytes,
}

impl<S: Storage, R: Runtime, M: Machine> Scan<S, R, M> {
    pub(crate) fn new(core: &Arc<Core<S, R, M>>, pin: Pin<S, R, M>, range: Range) -> Result<Self> {
        let view = core.view();
        let visible = open(&view, &range, &pin)?;
        Ok(Self {
            core: Arc::clone(core),
            pin,
            range,
            view,
            visible,
            until_look: RECORDS_BETWEEN_LOOKS,
            last_key: Vec::new(),
            fetched: Bytes::new(),
        })
    }

    /// The next key and its value; `None` past the last.
    pub async fn next(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        let next = self.next_until().await?;
        Ok(next.map(|(key, value, _)| (key, value)))
    }

    /// The next key, its value and when it expires, in milliseconds since the Unix epoch (0 for never).
    ///
    /// # Errors
    /// As [`Scan::next`].
    pub async fn next_until(&mut self) -> Result<Option<(&[u8], &[u8], u64)>> {
        if self.until_look == 0 {
            self.look_for_newer_view()?;
        }
        self.until_look -= 1;
        let mut position = self.visible.advance_now()?;
        if position == Position::Refill {
            position = self.visible.refill().await?;
        }
        if position == Position::End {
            return Ok(None);
        }
        if self.until_look == 0 {
            self.last_key.clear();
            self.last_key.extend_from_slice(self.visible.record().key);
        }
        if self.visible.record().kind == Kind::PutApart {
            self.fetched = self.fetch().await?;
            let Record {
                key, deadline_ms, ..
            } = self.visible.record();
            return Ok(Some((key, &self.fetched, deadline_ms)));
        }
        let Record {
            key,
            value,
            deadline_ms,
            ..
        } = self.visible.record();
        Ok(Some((key, value, deadline_ms)))
    }

    /// When the record that was lent last expires, in milliseconds since the Unix epoch; 0 for never.
    pub(crate) fn deadline_ms(&self) -> u64 {
        self.visible.record().deadline_ms
    }

    async fn fetch(&self) -> Result<Bytes> {
        let reference = ValueRef::decode_in(self.visible.record().value, IN_MEMTABLE)?;
        // The view that the record came from holds what it refers to.
        let value = self.core.apart(&self.view, &reference).await?;
        value.ok_or_else(|| {
            crate::Error::corrupt(
                "reading a large value",
                "a record refers to a file that is not there",
            )
        })
    }

    /// Goes on in the present view, behind the last key. Nothing is lost: the pinned sequence number keeps
    /// every version that this walk sees.
    fn look_for_newer_view(&mut self) -> Result<()> {
        self.until_look = RECORDS_BETWEEN_LOOKS;
        let view = self.core.view();
        if view.generation == self.view.generation {
            return Ok(());
        }
        let mut rest = self.range.clone();
        if rest.reverse {
            rest.end = Some(Bytes::copy_from_slice(&self.last_key));
        } else {
            let mut after = std::mem::take(&mut self.last_key);
            after.push(0);
            rest.start = Some(after.into());
        }
        self.visible = open(&view, &rest, &self.pin)?;
        self.view = view;
        Ok(())
    }
}

fn open<S: Storage, R: Runtime, M: Machine>(
    view: &View<S>,
    range: &Range,
    pin: &Pin<S, R, M>,
) -> Result<Visible<MergeCursor<Source<S::Reader>>>> {
    let direction = if range.reverse {
        Direction::Backward
    } else {
        Direction::Forward
    };
    let (start, end) = (range.start.as_deref(), range.end.as_deref());
    let found = view.sources(start, end, direction, pin.seq())?;
    let reader = visible::View {
        seq: pin.seq(),
        now_ms: pin.now_ms(),
        start: start.map(Into::into),
        end: end.map(Into::into),
        deletes: found.deletes,
    };
    Ok(Visible::new(
        MergeCursor::new(found.sources, direction),
        direction,
        reader,
    ))
}

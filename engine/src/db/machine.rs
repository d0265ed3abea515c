//! What an entry of the log does, for entries that are not plain batches.
//!
//! The store logs, settles and orders entries; a machine says what one does to the state. It runs at
//! apply, in log order, on every replica and again on replay, so it must be a function of the state, the
//! entry's time and the entry's seed, and of nothing else.

use bytes::Bytes;

use super::changes::Changes;
use super::conditional::Conditional;
use crate::storage::{MaybeSend, MaybeSync};
use crate::{Error, Result, Runtime, Storage};

/// An entry of the log, as a machine sees it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its index in the range's log.
    pub index: u64,
    /// Its time, in milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// Its randomness.
    pub seed: u64,
    /// What was submitted. The first byte is not that of a batch (1).
    pub payload: Bytes,
}

/// How many keys there are, or by how many a change moves that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Keys, those that have expired and are yet to be removed included.
    pub keys: i64,
    /// Those of them that expire.
    pub with_deadline: i64,
}

impl Counts {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            keys: self.keys + other.keys,
            with_deadline: self.with_deadline + other.with_deadline,
        }
    }

    /// By how much this is more than `other`.
    #[must_use]
    pub fn less(self, other: Self) -> Self {
        Self {
            keys: self.keys - other.keys,
            with_deadline: self.with_deadline - other.with_deadline,
        }
    }
}

/// Interprets entries. See the module.
pub trait Machine: MaybeSend + MaybeSync + 'static {
    /// What the submitter hears.
    type Reply: MaybeSend + 'static;

    /// What an entry changes in the machine itself.
    type Summary: Clone + Default + MaybeSend + MaybeSync;

    /// Carries an entry out: reads through `changes`, writes into it. Called again from the start if it is
    /// interrupted, so it must touch nothing but `changes`. An error is one of storage and stops the store.
    fn apply<S: Storage, R: Runtime>(
        &self,
        entry: &Entry,
        changes: &mut Changes<'_, S, R, Self>,
    ) -> impl Future<Output = Result<Self::Reply>> + MaybeSend
    where
        Self: Sized;

    /// Called once the changes of an entry have taken effect, before anything else is applied.
    fn applied(&self, summary: Self::Summary) {
        let _ = summary;
    }

    /// What the machine must find again after a restart, as of the last entry applied.
    fn save(&self) -> Vec<u8> {
        Vec::new()
    }

    /// Takes back what [`Machine::save`] gave. Entries since are applied again.
    fn restore(&self, saved: &[u8]) -> Result<()> {
        let _ = saved;
        Ok(())
    }

    /// Whether there are stores with this machine whose log is that of replicated ranges. Where there are none, a
    /// module that embeds the store is spared their code.
    const HAS_RANGES: bool = true;

    /// Whether the log carries the entries of replicated ranges, which are applied when their owner says
    /// so, and not as soon as they have settled.
    fn is_replicated(&self) -> bool {
        false
    }

    /// What an entry changes in the counts of its range.
    fn counted(summary: &Self::Summary) -> Counts {
        let _ = summary;
        Counts::default()
    }

    /// Keys have come or gone with a whole range, by no entry.
    fn recount(&self, change: Counts) {
        let _ = change;
    }

    /// Whether what entries of a range do is told in the archive.
    fn is_archived(&self, range: u32) -> bool {
        let _ = range;
        false
    }

    /// The client's key whose value lies at `place`, if one does: what the archive tells of it.
    fn key_of<'a>(&self, place: &'a [u8]) -> Option<&'a [u8]> {
        let _ = place;
        None
    }

    /// Whether it counts keys, and so has to be told of those that [`Changes::deadline_to_count`] has taken to be
    /// absent.
    fn counts(&self) -> bool {
        false
    }

    /// Adds to `summary` what is wrong with the counts if a key was taken to be absent and was there, to expire at
    /// `deadline_ms` (0 for never).
    fn correct(&self, summary: &mut Self::Summary, deadline_ms: u64) {
        let _ = (summary, deadline_ms);
    }

    /// Brings what [`Machine::save`] gave up to date with such corrections.
    fn amend(&self, saved: &mut Vec<u8>, summary: &Self::Summary) {
        let _ = (saved, summary);
    }

    /// An entry that removes what such keys, given with their deadlines, have left behind.
    fn tidy(&self, keys: &[(Bytes, u64)]) -> Option<Bytes> {
        let _ = keys;
        None
    }

    /// Whether compaction may drop what has expired by the host's clock. A machine that counts its keys
    /// removes them itself.
    fn expires_in_compaction(&self) -> bool {
        true
    }
}

/// The machine of a store that takes only batches, and [`Db::compare_and_set`](super::Db::compare_and_set).
#[derive(Clone, Copy, Debug, Default)]
pub struct BatchesOnly;

impl Machine for BatchesOnly {
    /// Whether the condition held.
    type Reply = bool;
    type Summary = ();

    const HAS_RANGES: bool = false;

    async fn apply<S: Storage, R: Runtime>(
        &self,
        entry: &Entry,
        changes: &mut Changes<'_, S, R, Self>,
    ) -> Result<bool> {
        let Some(conditional) = Conditional::decode(&entry.payload) else {
            return Err(Error::corrupt(
                "applying an entry",
                format!(
                    "entry {} is not a batch: this store was written by a node",
                    entry.index
                ),
            ));
        };
        let now_ms = changes.now_ms();
        let found = changes.get(conditional.key).await?;
        let found = found.filter(|&(_, deadline_ms)| deadline_ms == 0 || deadline_ms > now_ms);
        if found.as_ref().map(|(value, _)| &value[..]) != conditional.expected {
            return Ok(false);
        }
        match conditional.value {
            Some(value) => changes.put(conditional.key, value, conditional.deadline_ms),
            None => changes.delete(conditional.key),
        }
        Ok(true)
    }
}

//! Finding out which keys a range had when all of them were removed at once.
//!
//! FLUSHALL is an entry in each range, and none of them says which keys it removes. If the store holds no key any more
//! when all of these have been applied, one FLUSHALL tells it; that is so where all ranges are here and nobody else
//! writes meanwhile. If something else comes in between, or a moment has passed, each key gets a DEL of its own, from a
//! snapshot that was taken before. Only writes of the same range wait for that.

use bytes::Bytes;

use super::super::core::Core;
use super::super::machine::Machine;
use super::super::ranges::OfRange;
use super::super::scan::{Range, Scan};
use super::super::snapshot::Pin;
use super::task::WRITE_BYTES;
use crate::archive::{Appender, Batch};
use crate::{Result, Runtime, Storage};

/// Keys that are told at a time.
const KEYS_AT_ONCE: usize = 256;

/// A range as it was before its keys were removed.
pub(super) struct Clear<S: Storage, R: Runtime, M: Machine> {
    pin: Pin<S, R, M>,
    range: Range,
}

impl<S: Storage, R: Runtime, M: Machine> Clear<S, R, M> {
    pub(super) fn pin(core: &Core<S, R, M>, of: &OfRange) -> Option<Self> {
        let range = Range {
            start: Some(of.span.start.clone()),
            end: of.span.end.clone(),
            reverse: false,
        };
        let core = core.myself.upgrade()?;
        let pin = Pin::unexpired(&core);
        Some(Self { pin, range })
    }
}

impl<S: Storage, R: Runtime, M: Machine> Core<S, R, M> {
    /// Tells the keys of all ranges that are held.
    pub(super) async fn resolve_clears(
        &self,
        appender: &mut Appender<S>,
        batch: &mut Batch,
    ) -> Result<()> {
        loop {
            let first = {
                let clears = self.archive.clears.lock();
                clears
                    .iter()
                    .next()
                    .map(|(&range, clear)| (range, clear.pin.clone(), clear.range.clone()))
            };
            let Some((range, pin, bounds)) = first else {
                return Ok(());
            };
            let mut told = Told::default();
            let mut scan = self.scan_pinned(pin, bounds)?;
            loop {
                let more = self.tell_keys(range, &mut scan, &mut told).await?;
                if self.archive.feed.waiting() >= WRITE_BYTES {
                    self.write_out(appender, batch).await?;
                }
                if !more {
                    break;
                }
                self.runtime.breathe().await;
            }
            self.archive.clears.lock().remove(&range);
            self.archive.feed.release(range);
            self.changed.notify();
        }
    }

    fn scan_pinned(&self, pin: Pin<S, R, M>, bounds: Range) -> Result<Scan<S, R, M>> {
        let core = self
            .myself
            .upgrade()
            .ok_or_else(super::super::core::ending)?;
        Scan::new(&core, pin, bounds)
    }

    /// Tells some keys; false when these were the last.
    async fn tell_keys(
        &self,
        range: u32,
        scan: &mut Scan<S, R, M>,
        told: &mut Told,
    ) -> Result<bool> {
        told.keys.clear();
        let mut more = true;
        while told.keys.len() < KEYS_AT_ONCE {
            let Some((place, _)) = scan.next().await? else {
                more = false;
                break;
            };
            if let Some(key) = self.machine.key_of(place) {
                told.keys.push(Bytes::copy_from_slice(key));
            }
        }
        let keys = told.keys.iter().map(|key| &key[..]);
        Ok(self.archive.feed.delete(range, keys) && more)
    }
}

/// Keys on their way.
#[derive(Default)]
struct Told {
    keys: Vec<Bytes>,
}

//! What the store writes of a range where the manifest and the log leave that open.
//!
//! ```text
//! manifest, a range's configuration    1 · node · version of the hard state · void up to
//!                                      · keys with a deadline, zigzag · configured at · the ring's bytes
//! manifest, a range's flags            bit 31: destroyed; the others are the ring's
//! manifest, settings                   1 · flags u8 (1 always synced, 2 the log has failed) · leap
//! log, hard state                      vote, 0 or 1 + whom for · flags
//! ```
//!
//! Integers are varints. The version of a hard state is its record's index in the log.

use bytes::Bytes;

use super::Hard;
use crate::codec::{Decoder, put_varint};
use crate::log::{LogKind, LogRecord};
use crate::{Error, ErrorKind, Result};

/// The copy was destroyed; the record remembers its incarnation.
pub(super) const DESTROYED: u32 = 1 << 31;

const VERSION: u64 = 1;
const ALWAYS: u8 = 1;
const FAILED: u8 = 2;

/// What the manifest's record of a range has no field of its own for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Extra {
    pub node: u64,
    pub hard_version: u64,
    pub void_upto: u64,
    pub with_deadline: i64,
    pub configured_at: u64,
    pub configuration: Bytes,
}

impl Extra {
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(32 + self.configuration.len());
        let with_deadline = (self.with_deadline << 1) ^ (self.with_deadline >> 63);
        for number in [
            VERSION,
            self.node,
            self.hard_version,
            self.void_upto,
            with_deadline as u64,
            self.configured_at,
        ] {
            put_varint(&mut out, number);
        }
        out.extend_from_slice(&self.configuration);
        out.into()
    }

    pub fn decode(bytes: &Bytes) -> Result<Self> {
        let mut input = Decoder::new(bytes);
        match input.varint() {
            Some(VERSION) => {}
            // A store that takes its entries as they come writes nothing here.
            None => return Err(not_a_rings()),
            Some(_) => return Err(newer()),
        }
        let extra = (|| {
            Some(Self {
                node: input.varint()?,
                hard_version: input.varint()?,
                void_upto: input.varint()?,
                with_deadline: input
                    .varint()
                    .map(|sum| (sum >> 1) as i64 ^ -((sum & 1) as i64))?,
                configured_at: input.varint()?,
                configuration: bytes.slice_ref(input.rest()),
            })
        })();
        extra.ok_or_else(|| damaged("a range's record"))
    }
}

/// What the manifest says of a store of ranges as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    /// Everything that was counted on has been synced.
    pub always: bool,
    /// The log could not be written or synced.
    pub failed: bool,
    /// If this segment is there, the log begins with it; 0 for none.
    pub leap: u64,
}

impl Settings {
    pub fn encode(self) -> Bytes {
        let always = if self.always { ALWAYS } else { 0 };
        let failed = if self.failed { FAILED } else { 0 };
        let mut out = vec![VERSION as u8, always | failed];
        put_varint(&mut out, self.leap);
        out.into()
    }

    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut input = Decoder::new(bytes);
        match input.varint() {
            Some(VERSION) => {}
            None => return Err(not_a_rings()),
            Some(_) => return Err(newer()),
        }
        match (input.u8(), input.varint()) {
            (Some(flags), Some(leap)) if flags & !(ALWAYS | FAILED) == 0 && input.is_empty() => {
                Ok(Self {
                    always: flags & ALWAYS != 0,
                    failed: flags & FAILED != 0,
                    leap,
                })
            }
            _ => Err(damaged("the settings")),
        }
    }
}

impl Hard {
    /// Its record in the log.
    pub(super) fn record<'a>(&self, range: u32, time_ms: u64, payload: &'a [u8]) -> LogRecord<'a> {
        LogRecord {
            kind: LogKind::HardState,
            range,
            term: self.term,
            index: self.version,
            time_ms,
            seed: 0,
            payload,
        }
    }

    pub(super) fn payload(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(12);
        match self.vote {
            None => out.push(0),
            Some(vote) => {
                out.push(1);
                put_varint(&mut out, vote);
            }
        }
        put_varint(&mut out, u64::from(self.flags));
        out
    }

    pub(super) fn from_log(version: u64, term: u64, payload: &[u8]) -> Result<Self> {
        let mut input = Decoder::new(payload);
        let hard = (|| {
            let vote = match input.u8()? {
                0 => None,
                1 => Some(input.varint()?),
                _ => return None,
            };
            let flags = u32::try_from(input.varint()?).ok()?;
            input.is_empty().then_some(Self {
                version,
                term,
                vote,
                flags,
            })
        })();
        hard.ok_or_else(|| damaged("a hard state"))
    }
}

fn damaged(what: &str) -> Error {
    Error::corrupt("opening the ranges", format!("{what} is damaged"))
}

fn not_a_rings() -> Error {
    Error::new(
        ErrorKind::Invalid,
        "opening the ranges",
        "the store was not made by a ring: its entries belong to no range",
    )
}

fn newer() -> Error {
    Error::new(
        ErrorKind::Newer,
        "opening the ranges",
        "a later version wrote it: upgrade to open this store",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_of_a_range_reads_back() {
        for with_deadline in [0, 5, -1, i64::MIN, i64::MAX] {
            let extra = Extra {
                node: u64::MAX,
                hard_version: 7,
                void_upto: 1 << 40,
                with_deadline,
                configured_at: 3,
                configuration: Bytes::from_static(b"members"),
            };
            assert_eq!(Extra::decode(&extra.encode()).unwrap(), extra);
        }
        for (always, failed) in [(false, false), (true, false), (false, true)] {
            let settings = Settings {
                always,
                failed,
                leap: 300,
            };
            assert_eq!(Settings::decode(&settings.encode()).unwrap(), settings);
        }
        for vote in [None, Some(0), Some(u64::MAX)] {
            let hard = Hard {
                version: 9,
                term: 4,
                vote,
                flags: 3,
            };
            assert_eq!(Hard::from_log(9, 4, &hard.payload()).unwrap(), hard);
        }
    }

    #[test]
    fn what_is_damaged_or_of_another_kind_is_told_apart() {
        let kind = |error: Error| error.kind();
        let empty = Extra::decode(&Bytes::new()).map_err(kind);
        assert_eq!(empty, Err(ErrorKind::Invalid));
        let short = Extra::decode(&Bytes::from_static(&[1, 1])).map_err(kind);
        assert_eq!(short, Err(ErrorKind::Corrupt));
        assert_eq!(
            Settings::decode(&[2, 0, 0]).map_err(kind),
            Err(ErrorKind::Newer)
        );
        assert!(Hard::from_log(1, 1, &[2]).is_err());
        assert!(Hard::from_log(1, 1, &[0, 0, 0]).is_err());
    }
}

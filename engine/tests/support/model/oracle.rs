//! What the store must hold, as a `BTreeMap` has it.

use std::collections::BTreeMap;

use trilith::Range;

use super::steps::{Write, key, value};

/// A clock that was read before and after something: what happened lies between.
type Clock = (u64, u64);

#[derive(Clone, Debug)]
struct Slot {
    value: Vec<u8>,
    /// When it expires, as far as that is known.
    until: Option<Clock>,
}

/// What a reader must find.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Must {
    Be,
    NotBe,
    /// It expires at about this moment.
    Either,
}

impl Slot {
    fn must(&self, now: Clock) -> Must {
        match self.until {
            Some((_, latest)) if latest <= now.0 => Must::NotBe,
            Some((earliest, _)) if earliest <= now.1 => Must::Either,
            _ => Must::Be,
        }
    }
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Oracle {
    slots: BTreeMap<Vec<u8>, Slot>,
}

impl Oracle {
    pub fn put(&mut self, key: &[u8], value: &[u8], until: Option<Clock>) {
        self.slots.insert(
            key.to_vec(),
            Slot {
                value: value.to_vec(),
                until,
            },
        );
    }

    /// Does what a write does, that was made between the two readings of `clock`.
    pub fn write(&mut self, write: &Write, clock: Clock) {
        match write {
            Write::Put { at, len, seed } => self.put(&key(*at), &value(*len, *seed), None),
            Write::PutFor {
                at,
                len,
                seed,
                ttl_ms,
            } => {
                let until = (clock.0 + ttl_ms, clock.1 + ttl_ms);
                self.put(&key(*at), &value(*len, *seed), Some(until));
            }
            Write::Delete { at } => {
                self.slots.remove(&key(*at));
            }
            Write::DeleteRange { start, end } => {
                let (start, end) = (key(*start), end.map(key));
                self.slots
                    .retain(|key, _| *key < start || end.as_ref().is_some_and(|end| key >= end));
            }
            // A batch has one clock, read before it is made.
            Write::Batch(writes) => writes
                .iter()
                .for_each(|write| self.write(write, (clock.0, clock.0))),
        }
    }

    /// How many keys have expired and were not written since.
    pub fn expired(&self, now: u64) -> u64 {
        self.slots
            .values()
            .filter(|slot| slot.must((now, now)) == Must::NotBe)
            .count() as u64
    }

    pub fn check_get(&self, key: &[u8], found: Option<&[u8]>, now: Clock) {
        let slot = self.slots.get(key);
        let must = slot.map_or(Must::NotBe, |slot| slot.must(now));
        let right = match (must, found) {
            (Must::Be | Must::Either, Some(found)) => slot.is_some_and(|slot| slot.value == found),
            (Must::NotBe | Must::Either, None) => true,
            _ => false,
        };
        assert!(
            right,
            "{key:?}: found {found:?}, should be {must:?} {slot:?} at {now:?}"
        );
    }

    /// As [`Self::check_get`], where only the length is known.
    pub fn check_len(&self, key: &[u8], found: Option<usize>, now: Clock) {
        let value = self.slots.get(key).map(|slot| &slot.value[..]);
        match found {
            Some(len) => self.check_get(key, value.filter(|value| value.len() == len), now),
            None => self.check_get(key, None, now),
        }
    }

    /// A walk over `range` must have found exactly the keys that were alive.
    pub fn check_scan(&self, range: &Range, found: &[(Vec<u8>, Vec<u8>)], now: Clock) {
        let wanted = self.slots.iter().filter(|(key, _)| {
            range.start.as_deref().is_none_or(|start| &key[..] >= start)
                && range.end.as_deref().is_none_or(|end| &key[..] < end)
        });
        let mut wanted: Vec<_> = wanted.collect();
        if range.reverse {
            wanted.reverse();
        }
        let mut found = found.iter().peekable();
        for (key, slot) in wanted {
            let must = slot.must(now);
            match found.peek() {
                Some((at, value)) if at == key && must != Must::NotBe => {
                    assert_eq!(*value, slot.value, "{range:?}: the value of {key:?}");
                    found.next();
                }
                next => assert!(
                    must != Must::Be,
                    "{range:?}: {key:?} is missing, next is {next:?}"
                ),
            }
        }
        assert_eq!(
            found.next(),
            None,
            "{range:?}: should not be there at {now:?}"
        );
    }
}

//! The keys that clients use: by slot, typed, and replaced by fresh ones before their histories grow too long.

use bytes::Bytes;

use super::checkers::Key;
use crate::ring::RangeId;
use crate::slot::{ARCS, arc_of, slot_of};

/// What a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Register,
    Counter,
    List,
    /// A register that expires.
    Fleeting,
}

/// Operations after which a key is replaced.
const USES_MOST: u32 = 60;

/// Places for keys in each slot, and what they hold.
pub(super) const KINDS: [Kind; 6] = [
    Kind::Register,
    Kind::Register,
    Kind::Register,
    Kind::Counter,
    Kind::List,
    Kind::Fleeting,
];

/// A slot that clients use: one a range.
pub(super) struct Slot {
    pub(super) range: RangeId,
    pub(super) slot: u16,
    tag: String,
    /// The key at each place, and how often it was used.
    places: [(Key, u32); KINDS.len()],
}

/// A key as clients name it and as the checkers do.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub(super) key: Key,
    pub(super) name: Bytes,
}

/// All slots.
pub(super) struct Keys {
    pub(super) slots: Vec<Slot>,
    /// Each key that ever was, by number: its slot's place, and what it holds.
    pub(super) all: Vec<(usize, Kind)>,
}

impl Keys {
    /// As many ranges, so far apart, with a slot each.
    pub(super) fn new(arcs: u32, apart: u32) -> Self {
        let arcs = arcs.clamp(1, u32::from(ARCS));
        let mut keys = Self {
            slots: Vec::new(),
            all: Vec::new(),
        };
        for arc in 0..arcs {
            let range = arc * apart;
            let tags = (0u32..).map(|number| format!("{number:x}"));
            let in_range = |tag: &String| u32::from(arc_of(slot_of(tag.as_bytes()))) == range;
            // Every arc has tags: there are 256 times more of them than it takes on average.
            let tag = tags.take(1 << 20).find(in_range).unwrap_or_default();
            let slot = slot_of(tag.as_bytes());
            let mut places = [(0, 0); KINDS.len()];
            for (place, kind) in KINDS.into_iter().enumerate() {
                places[place] = (keys.all.len() as Key, 0);
                keys.all.push((arc as usize, kind));
            }
            keys.slots.push(Slot {
                range,
                slot,
                tag,
                places,
            });
        }
        keys
    }

    /// The ranges that are used.
    pub(super) fn ranges(&self) -> impl Iterator<Item = RangeId> + '_ {
        self.slots.iter().map(|slot| slot.range)
    }

    /// A key of a range that no client uses.
    pub(super) fn unused(&self, range: RangeId) -> Option<Bytes> {
        let slot = self.slots.iter().find(|slot| slot.range == range)?;
        Some(format!("{{{}}}unused", slot.tag).into())
    }

    /// The present key at a place of a slot.
    pub(super) fn take(&mut self, slot: usize, place: usize) -> Named {
        let fresh = self.all.len() as Key;
        let (key, uses) = &mut self.slots[slot].places[place];
        *uses += 1;
        if *uses > USES_MOST {
            (*key, *uses) = (fresh, 1);
            self.all.push((slot, KINDS[place]));
        }
        let key = self.slots[slot].places[place].0;
        self.name(key)
    }

    /// A key's number by its name; none for what is not a client's.
    pub(super) fn number_of(&self, name: &[u8]) -> Option<Key> {
        let behind_tag = name.rsplit(|&byte| byte == b'}').next()?;
        let digits = std::str::from_utf8(behind_tag.get(1..)?).ok()?;
        digits.parse().ok()
    }

    /// A key by its number.
    pub(super) fn name(&self, key: Key) -> Named {
        let (slot, kind) = self.all[key as usize];
        let letter = match kind {
            Kind::Register => 'r',
            Kind::Counter => 'c',
            Kind::List => 'l',
            Kind::Fleeting => 'f',
        };
        let name = format!("{{{}}}{letter}{key}", self.slots[slot].tag);
        Named {
            key,
            name: name.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_lies_in_its_range() {
        let mut keys = Keys::new(8, 32);
        for slot in 0..8 {
            for place in 0..KINDS.len() {
                let named = keys.take(slot, place);
                let range = u32::from(arc_of(slot_of(&named.name)));
                assert_eq!(range, keys.slots[slot].range);
            }
        }
        assert_eq!(keys.ranges().collect::<Vec<_>>()[1], 32);
    }
}

//! How a node's store orders its keys.
//!
//! ```text
//! arc u16 big-endian · 0 · key                            the key and its value
//! arc u16 big-endian · 1 · deadline u64 big-endian · key  an empty value: the key expires then
//! ```
//!
//! An arc is one contiguous run, so that its snapshot is one scan and dropping it one range delete. The
//! second kind lets expired keys be found in order of time, however many there are.

use crate::slot::{ARCS, arc_of, slot_of};

const KEYS: u8 = 0;
const DEADLINES: u8 = 1;

/// Bytes in front of a key.
pub(crate) const PREFIX_BYTES: usize = 3;
/// Bytes in front of a key in the order of deadlines.
pub(crate) const DEADLINE_PREFIX_BYTES: usize = PREFIX_BYTES + 8;

/// Where the store has `key`.
pub(crate) fn place(key: &[u8]) -> Vec<u8> {
    let mut place = Vec::with_capacity(PREFIX_BYTES + key.len());
    place.extend_from_slice(&arc_of(slot_of(key)).to_be_bytes());
    place.push(KEYS);
    place.extend_from_slice(key);
    place
}

/// Where the store notes that `key` expires at `deadline_ms`.
pub(crate) fn deadline_place(key: &[u8], deadline_ms: u64) -> Vec<u8> {
    let mut place = Vec::with_capacity(DEADLINE_PREFIX_BYTES + key.len());
    place.extend_from_slice(&arc_of(slot_of(key)).to_be_bytes());
    place.push(DEADLINES);
    place.extend_from_slice(&deadline_ms.to_be_bytes());
    place.extend_from_slice(key);
    place
}

/// Bounds of an arc's keys.
pub(crate) fn keys_of(arc: u16) -> ([u8; PREFIX_BYTES], [u8; PREFIX_BYTES]) {
    let [high, low] = arc.to_be_bytes();
    ([high, low, KEYS], [high, low, DEADLINES])
}

/// Bounds of an arc's deadlines.
pub(crate) fn deadlines_of(arc: u16) -> ([u8; PREFIX_BYTES], [u8; PREFIX_BYTES]) {
    let [high, low] = arc.to_be_bytes();
    ([high, low, DEADLINES], [high, low, DEADLINES + 1])
}

/// The deadline and the key of a place among the deadlines.
pub(crate) fn split_deadline(place: &[u8]) -> Option<(u64, &[u8])> {
    let (prefix, key) = place.split_at_checked(DEADLINE_PREFIX_BYTES)?;
    let deadline = prefix[PREFIX_BYTES..].try_into().ok()?;
    Some((u64::from_be_bytes(deadline), key))
}

/// What lies at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PlaceKind {
    /// A key and its value.
    Key,
    /// A key's deadline.
    Deadline,
}

/// What lies at a place; `None` if it is no arc's.
pub(crate) fn place_kind(place: &[u8]) -> Option<PlaceKind> {
    let (&[high, low], rest) = place.split_first_chunk::<2>()?;
    if u16::from_be_bytes([high, low]) >= ARCS {
        return None;
    }
    match *rest.first()? {
        KEYS => Some(PlaceKind::Key),
        DEADLINES => Some(PlaceKind::Deadline),
        _ => None,
    }
}

/// All arcs, in order.
pub(crate) fn arcs() -> impl DoubleEndedIterator<Item = u16> {
    0..ARCS
}

//! SCAN's cursors: where a client goes on.
//!
//! A cursor is a number that the client hands back. It carries the arc and names a place in a table of
//! fixed size that remembers the last key. If the place has been given to somebody else meanwhile, or the
//! store was opened anew, the scan goes on at the start of the arc: it may show a key again, which SCAN
//! allows, but never passes one over.
//!
//! ```text
//! bits 40..48   arc
//! bits 16..40   generation, never 0
//! bits  0..16   place in the table
//! ```

use bytes::Bytes;

const PLACES: usize = 1 << 12;
const GENERATIONS: u32 = 1 << 24;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Cursors {
    places: Vec<(u32, Option<Bytes>)>,
    next: usize,
    generation: u32,
}

impl Cursors {
    /// A cursor for going on in `arc` behind `key`; without a key, at the arc's start.
    pub(crate) fn remember(&mut self, arc: u16, key: Option<Bytes>) -> u64 {
        self.generation = (self.generation + 1) % GENERATIONS;
        self.generation = self.generation.max(1);
        let at = self.next % PLACES;
        self.next = at + 1;
        // A place that was never filled answers nothing, which means the start of the arc.
        let entry = (self.generation, key);
        match self.places.get_mut(at) {
            Some(place) => *place = entry,
            None => self.places.push(entry),
        }
        u64::from(arc) << 40 | u64::from(self.generation) << 16 | at as u64
    }

    /// The arc to go on in, and the key to go on behind.
    pub(crate) fn recall(&self, cursor: u64) -> (u16, Option<Bytes>) {
        let arc = (cursor >> 40) as u16;
        let generation = (cursor >> 16) as u32 % GENERATIONS;
        let place = self.places.get(cursor as usize % (1 << 16));
        let key = place
            .filter(|(held, _)| *held == generation)
            .and_then(|(_, key)| key.clone());
        (arc, key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_leads_back_to_its_key() {
        let mut cursors = Cursors::default();
        let one = cursors.remember(3, Some(Bytes::from_static(b"k")));
        let two = cursors.remember(255, None);
        assert_ne!(one, 0);
        assert_ne!(two, 0);
        assert_eq!(cursors.recall(one), (3, Some(Bytes::from_static(b"k"))));
        assert_eq!(cursors.recall(two), (255, None));
        assert!(one < 1 << 53, "a number that JavaScript can hold");
    }

    #[test]
    fn the_empty_key_is_a_key_to_go_on_behind() {
        let mut cursors = Cursors::default();
        let cursor = cursors.remember(3, Some(Bytes::new()));
        assert_eq!(cursors.recall(cursor), (3, Some(Bytes::new())));
    }

    #[test]
    fn a_cursor_that_was_forgotten_leads_to_the_start_of_its_arc() {
        let mut cursors = Cursors::default();
        let old = cursors.remember(9, Some(Bytes::from_static(b"k")));
        for _ in 0..PLACES {
            cursors.remember(1, Some(Bytes::from_static(b"x")));
        }
        assert_eq!(cursors.recall(old), (9, None));
        assert_eq!(Cursors::default().recall(old), (9, None));
    }
}

//! What has been applied and is yet to be written to the AOF.
//!
//! Whoever applies adds the effects of each entry here, one entry at a time and in the order of apply; a task takes
//! what has gathered and writes it. Adding is a copy under a lock that nobody else holds for longer than it takes to
//! swap two buffers, and allocates nothing once the buffers have grown.
//!
//! For each range it is known up to which entry everything has been added. An entry at or below that is not added
//! again: after a restart the log gives some entries again that the files have.
//!
//! A range whose keys are all removed at once is *held*: which keys they were is found out later, and until then
//! nothing else of the range is added.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};

use parking_lot::Mutex;

use super::aof::encode;

/// A buffer that has grown beyond this is let go.
const KEPT_BYTES: usize = 4 << 20;

/// What an entry does to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect<'a> {
    /// It has this value from now on.
    Set {
        /// The key.
        key: &'a [u8],
        /// Its value.
        value: &'a [u8],
        /// When it expires, in milliseconds since the Unix epoch; 0 for never.
        deadline_ms: u64,
    },
    /// It is gone.
    Del {
        /// The key.
        key: &'a [u8],
    },
}

/// What was taken to be written.
#[derive(Default)]
pub(crate) struct Batch {
    /// Commands and annotations.
    pub bytes: Vec<u8>,
    /// Up to which entry a file has everything of a range once it has these bytes.
    pub at: Vec<(u32, u64)>,
    /// All of the first so many entries are in the files then.
    pub entries: u64,
    /// The second of the newest entry.
    pub time_s: u64,
    /// Something in it is not told by commands, since this second.
    pub gap_s: Option<u64>,
    /// What comes behind it goes to another file, as a base is written that has everything up to here.
    pub ends_file: bool,
}

impl Batch {
    fn clear(&mut self) {
        self.bytes.clear();
        if self.bytes.capacity() > KEPT_BYTES {
            self.bytes = Vec::new();
        }
        self.at.clear();
        self.gap_s = None;
        self.ends_file = false;
    }
}

/// See the [module](self).
#[derive(Default)]
pub(crate) struct Feed {
    state: Mutex<State>,
    is_on: AtomicBool,
    /// Bytes that wait to be taken.
    waiting: AtomicUsize,
    /// Ranges that are held.
    held: AtomicUsize,
    /// Keys that were set or removed since the store was opened.
    changes: AtomicU64,
}

#[derive(Default)]
struct State {
    bytes: Vec<u8>,
    /// By range.
    places: Vec<Place>,
    /// Ranges whose place has moved since the last batch.
    touched: Vec<u32>,
    entries: u64,
    /// The newest entry's time.
    time_ms: u64,
    /// The second that was written last.
    stamped_s: u64,
    gap_s: Option<u64>,
    held: BTreeMap<u32, Held>,
    /// What goes to the file that ends.
    sealed: Option<Batch>,
}

/// How far a range has come.
#[derive(Clone, Copy, Default)]
struct Place {
    index: u64,
    is_touched: bool,
}

/// A range whose keys are being found out.
struct Held {
    /// Entries before the one that removes the keys.
    before: u64,
    /// The range's newest entry.
    index: u64,
}

impl Feed {
    /// Whether anything is taken.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.is_on.load(Relaxed)
    }

    /// Bytes that wait to be taken.
    #[inline]
    pub fn waiting(&self) -> usize {
        self.waiting.load(Relaxed)
    }

    /// Whether any range is held.
    #[inline]
    pub fn any_held(&self) -> bool {
        self.held.load(Relaxed) > 0
    }

    /// Keys that were set or removed since the store was opened.
    pub fn changes(&self) -> u64 {
        self.changes.load(Relaxed)
    }

    /// Counts what is not taken.
    pub fn note_changes(&self, changes: u64) {
        self.changes.fetch_add(changes, Relaxed);
    }

    /// Takes what comes from now on, of ranges that stand where `at` says.
    pub fn begin(&self, at: impl IntoIterator<Item = (u32, u64)>, time_ms: u64) {
        let mut state = self.state.lock();
        let entries = state.entries;
        *state = State {
            entries,
            time_ms,
            stamped_s: time_ms / 1000,
            ..State::default()
        };
        for (range, index) in at {
            state.place(range).index = index;
        }
        self.note(&state);
        self.is_on.store(true, Relaxed);
    }

    /// Takes nothing more, and forgets what waits.
    pub fn stop(&self) {
        let mut state = self.state.lock();
        let (entries, time_ms) = (state.entries, state.time_ms);
        *state = State {
            entries,
            time_ms,
            ..State::default()
        };
        self.note(&state);
        self.is_on.store(false, Relaxed);
    }

    /// Entries so far, those of held ranges included.
    pub fn entries(&self) -> u64 {
        self.state.lock().entries
    }

    /// The newest entry's time, in milliseconds since the Unix epoch.
    pub fn time_ms(&self) -> u64 {
        self.state.lock().time_ms
    }

    /// Adds what an entry does. Returns how many bytes wait.
    #[inline]
    pub fn add<'a>(
        &self,
        range: u32,
        index: u64,
        time_ms: u64,
        effects: impl Iterator<Item = Effect<'a>>,
    ) -> usize {
        let mut state = self.state.lock();
        if !self.is_on() || !state.enter(range, index, time_ms) {
            return 0;
        }
        let mut changes = 0;
        for effect in effects {
            if changes == 0 {
                state.stamp();
            }
            changes += 1;
            match effect {
                Effect::Set {
                    key,
                    value,
                    deadline_ms,
                } => encode::set(&mut state.bytes, key, value, deadline_ms),
                Effect::Del { key } => encode::del(&mut state.bytes, key),
            }
        }
        self.changes.fetch_add(changes, Relaxed);
        self.note(&state)
    }

    /// The keys of a range are gone with its entry `index`; [`Self::delete`] and [`Self::release`] tell which they
    /// were. False if that entry was added before.
    pub fn hold(&self, range: u32, index: u64, time_ms: u64) -> bool {
        let mut state = self.state.lock();
        if !self.is_on() || state.place(range).index >= index {
            return false;
        }
        state.time_ms = state.time_ms.max(time_ms);
        let before = state.entries;
        state.entries += 1;
        let held = state.held.entry(range).or_insert(Held { before, index });
        held.index = held.index.max(index);
        self.note(&state);
        true
    }

    /// Whether a range is held.
    pub fn is_held(&self, range: u32) -> bool {
        self.any_held() && self.state.lock().held.contains_key(&range)
    }

    /// Adds that keys of a held range are gone. False if it is not held any more.
    pub fn delete<'a>(&self, range: u32, keys: impl Iterator<Item = &'a [u8]>) -> bool {
        let mut state = self.state.lock();
        if !state.held.contains_key(&range) {
            return false;
        }
        state.stamp();
        let mut changes = 0;
        for key in keys {
            encode::del(&mut state.bytes, key);
            changes += 1;
        }
        self.changes.fetch_add(changes, Relaxed);
        self.note(&state);
        true
    }

    /// All that was to be told of a held range has been.
    pub fn release(&self, range: u32) {
        let mut state = self.state.lock();
        if let Some(held) = state.held.remove(&range) {
            state.reach(range, held.index);
        }
        self.note(&state);
    }

    /// The store holds no key: adds that, and releases all ranges.
    pub fn clear(&self) {
        let mut state = self.state.lock();
        if !self.is_on() {
            return;
        }
        state.stamp();
        encode::flush_all(&mut state.bytes);
        for (range, held) in std::mem::take(&mut state.held) {
            state.reach(range, held.index);
        }
        self.changes.fetch_add(1, Relaxed);
        self.note(&state);
    }

    /// Something changes that commands do not tell. Returns the entries so far, that included.
    pub fn gap(&self, now_ms: u64) -> u64 {
        let mut state = self.state.lock();
        if self.is_on() {
            let gap_s = state.time_ms.max(now_ms) / 1000;
            encode::gap(&mut state.bytes, gap_s);
            state.gap_s.get_or_insert(gap_s);
            state.entries += 1;
        }
        self.note(&state);
        state.entries
    }

    /// A range begins anew at `index`, by no entry.
    pub fn replace(&self, range: u32, index: u64) {
        let mut state = self.state.lock();
        if self.is_on() {
            state.held.remove(&range);
            state.reach(range, index);
        }
        self.note(&state);
    }

    /// What is added from now on goes to another file. Nothing may be added meanwhile.
    pub fn cut(&self) {
        let mut state = self.state.lock();
        let mut batch = state.sealed.take().unwrap_or_default();
        state.fill(&mut batch);
        batch.ends_file = true;
        state.sealed = Some(batch);
    }

    /// Takes what there is. False if that is nothing.
    pub fn take(&self, batch: &mut Batch) -> bool {
        batch.clear();
        let mut state = self.state.lock();
        if let Some(sealed) = state.sealed.take() {
            *batch = sealed;
            return true;
        }
        let is_any = state.fill(batch);
        self.note(&state);
        is_any
    }

    fn note(&self, state: &State) -> usize {
        self.waiting.store(state.bytes.len(), Relaxed);
        self.held.store(state.held.len(), Relaxed);
        state.bytes.len()
    }
}

impl State {
    fn place(&mut self, range: u32) -> &mut Place {
        let at = range as usize;
        if self.places.len() <= at {
            self.places.resize(at + 1, Place::default());
        }
        &mut self.places[at]
    }

    /// Whether an entry is new. If so it counts.
    fn enter(&mut self, range: u32, index: u64, time_ms: u64) -> bool {
        if !self.held.is_empty()
            && let Some(held) = self.held.get_mut(&range)
        {
            // Whatever does something waits until the range is released.
            held.index = held.index.max(index);
            return false;
        }
        if self.place(range).index >= index {
            return false;
        }
        self.entries += 1;
        self.time_ms = self.time_ms.max(time_ms);
        self.reach(range, index);
        true
    }

    fn reach(&mut self, range: u32, index: u64) {
        let place = self.place(range);
        place.index = index;
        if !std::mem::replace(&mut place.is_touched, true) {
            self.touched.push(range);
        }
    }

    /// Says which second it is, if it is another than before.
    fn stamp(&mut self) {
        let time_s = self.time_ms / 1000;
        if time_s > self.stamped_s {
            encode::timestamp(&mut self.bytes, time_s);
            self.stamped_s = time_s;
        }
    }

    /// Moves what waits to the end of a batch. False if that is nothing.
    fn fill(&mut self, batch: &mut Batch) -> bool {
        let before = self.held.values().map(|held| held.before).min();
        batch.entries = before.unwrap_or(self.entries);
        batch.time_s = self.stamped_s;
        if self.bytes.is_empty() && self.touched.is_empty() {
            return false;
        }
        if batch.bytes.is_empty() {
            std::mem::swap(&mut batch.bytes, &mut self.bytes);
        } else {
            batch.bytes.append(&mut self.bytes);
        }
        for range in self.touched.drain(..) {
            let place = &mut self.places[range as usize];
            place.is_touched = false;
            batch.at.push((range, place.index));
        }
        batch.gap_s = batch.gap_s.or(self.gap_s.take());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(key: &'static str) -> impl Iterator<Item = Effect<'static>> {
        let effect = Effect::Set {
            key: key.as_bytes(),
            value: b"v",
            deadline_ms: 0,
        };
        std::iter::once(effect)
    }

    fn begun() -> Feed {
        let feed = Feed::default();
        feed.begin([(1, 5), (2, 0)], 1_000);
        feed
    }

    fn taken(feed: &Feed) -> (String, Vec<(u32, u64)>, u64) {
        let mut batch = Batch::default();
        feed.take(&mut batch);
        let text = String::from_utf8(batch.bytes).unwrap();
        (text.replace("\r\n", " "), batch.at, batch.entries)
    }

    #[test]
    fn what_a_file_has_is_not_added_again() {
        let feed = begun();
        for (index, key) in [(4, "a"), (5, "b"), (6, "c"), (6, "d")] {
            feed.add(1, index, 1_500, set(key));
        }
        let (text, at, entries) = taken(&feed);
        assert_eq!(text, "*3 $3 SET $1 c $1 v ");
        assert_eq!((at, entries), (vec![(1, 6)], 1));
        assert_eq!(taken(&feed), (String::new(), vec![], 1));
    }

    #[test]
    fn a_time_is_told_once_and_never_goes_back() {
        let feed = begun();
        for (index, time_ms) in [(1, 1_999), (2, 2_000), (3, 1_000), (4, 2_999), (5, 4_000)] {
            feed.add(2, index, time_ms, set("k"));
        }
        let (text, ..) = taken(&feed);
        let times: Vec<&str> = text
            .split(' ')
            .filter(|word| word.starts_with('#'))
            .collect();
        assert_eq!(times, ["#TS:2", "#TS:4"]);
    }

    #[test]
    fn an_entry_without_effects_moves_the_position_and_nothing_else() {
        let feed = begun();
        assert_eq!(feed.add(2, 1, 9_000, std::iter::empty()), 0);
        assert_eq!(taken(&feed), (String::new(), vec![(2, 1)], 1));
    }

    #[test]
    fn what_is_held_counts_as_added_only_when_it_is_told() {
        let feed = begun();
        assert!(!feed.hold(1, 5, 1_000), "the files have it");
        feed.add(2, 1, 1_000, set("before"));
        assert!(feed.hold(1, 6, 1_000));
        feed.add(2, 2, 1_000, set("after"));
        feed.add(1, 7, 1_000, std::iter::empty());
        let (_, at, entries) = taken(&feed);
        assert_eq!((at, entries), (vec![(2, 2)], 1));
        assert!(feed.delete(1, [&b"k"[..]].into_iter()));
        feed.release(1);
        assert!(!feed.any_held() && !feed.delete(1, std::iter::empty()));
        let (text, at, entries) = taken(&feed);
        assert_eq!(text, "*2 $3 DEL $1 k ");
        assert_eq!((at, entries), (vec![(1, 7)], 3));
    }

    #[test]
    fn a_store_without_keys_releases_all_by_one_command() {
        let feed = begun();
        feed.hold(1, 6, 1_000);
        feed.hold(2, 1, 1_000);
        feed.clear();
        let (text, mut at, entries) = taken(&feed);
        at.sort();
        assert_eq!(text, "*1 $8 FLUSHALL ");
        assert_eq!((at, entries), (vec![(1, 6), (2, 1)], 2));
    }

    #[test]
    fn what_comes_behind_a_cut_is_another_batch() {
        let feed = begun();
        feed.add(1, 6, 1_000, set("before"));
        feed.cut();
        feed.add(1, 7, 1_000, set("behind"));
        let mut batch = Batch::default();
        assert!(feed.take(&mut batch) && batch.ends_file);
        assert_eq!(batch.at, [(1, 6)]);
        assert!(feed.take(&mut batch) && !batch.ends_file);
        assert_eq!(batch.at, [(1, 7)]);
        // A cut is told even where nothing is before it.
        feed.cut();
        assert!(feed.take(&mut batch) && batch.ends_file);
        assert!(!feed.take(&mut batch));
    }

    #[test]
    fn nothing_is_taken_while_it_is_off() {
        let feed = Feed::default();
        assert_eq!(feed.add(1, 1, 1_000, set("k")), 0);
        let feed = begun();
        feed.add(1, 6, 1_000, set("k"));
        feed.stop();
        feed.add(1, 7, 1_000, set("k"));
        assert_eq!(taken(&feed).0, "");
        assert_eq!((feed.entries(), feed.waiting()), (1, 0));
    }
}

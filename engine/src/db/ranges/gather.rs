//! Replacing ranges, many at a time: while some are at it, others gather, and one flush and one sync of the log serve
//! all that have; and one commit of the manifest, where ranges begin or are destroyed.
//!
//! A node that joins or leaves begins or destroys a copy of most ranges. One by one, each of them would flush a
//! memtable of its own, for which everything that is to be applied would have to wait.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::super::core::Core;
use super::super::machine::Machine;
use super::book::{Book, RangeState};
use super::replace::{Marked, Replacement, Reservation};
use super::{Span, no_such_range};
use crate::lsm::levels::Edit;
use crate::{Result, Runtime, Storage};

/// Others that are to go gather for so long.
const DESTROY_AFTER: Duration = Duration::from_secs(1);

/// What is wished for, in order, and whose turn it is.
#[derive(Default)]
pub(super) struct Wishes {
    waiting: Mutex<Vec<Arc<Wish>>>,
    turn: async_lock::Mutex<()>,
}

/// Ranges that are to be replaced together, or not at all.
struct Wish {
    news: Vec<Replacement>,
    what: What,
    done: Mutex<Option<Result<Reservation>>>,
}

/// What is wished for.
enum What {
    /// Ranges begin.
    Begin,
    /// One goes, whose keys lie here.
    Destroy(Span),
    /// A place, from which on a range is filled by whoever wishes for it.
    Place,
}

impl Wish {
    /// Why it cannot be.
    fn check(&self, book: &Book) -> Result<()> {
        for new in &self.news {
            if !matches!(self.what, What::Begin) {
                book.live(new.range)?;
                continue;
            }
            match book.ranges.get(&new.range) {
                Some(state) if !state.destroyed => {
                    return Err(no_such_range(new.range, "it is here already"));
                }
                Some(state) if new.incarnation <= state.incarnation => {
                    return Err(no_such_range(new.range, "this incarnation was destroyed"));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl<S: Storage, R: Runtime, M: Machine> Core<S, R, M> {
    /// Begins ranges that have no keys: all of them, or none.
    pub(crate) async fn found_ranges(&self, news: Vec<Replacement>) -> Result<()> {
        if news.is_empty() {
            return Ok(());
        }
        self.wish(news, What::Begin).await.map(|_place| ())
    }

    /// Ends a range, whose keys lie in `span`. Nothing of it may be applied meanwhile.
    pub(crate) async fn destroy_range(&self, new: Replacement, span: Span) -> Result<()> {
        // Nobody waits for it, and each flush that it asks for is one more that writers may have to wait for.
        self.nap(DESTROY_AFTER).await;
        let destroyed = self.wish(vec![new], What::Destroy(span)).await;
        destroyed.map(|_place| ())
    }

    /// A place for a range's new state. The range is marked as being replaced.
    pub(super) async fn wish_for_place(&self, new: Replacement) -> Result<Reservation> {
        self.wish(vec![new], What::Place).await
    }

    async fn wish(&self, news: Vec<Replacement>, what: What) -> Result<Reservation> {
        self.health.check_writable()?;
        let wish = Arc::new(Wish {
            news,
            what,
            done: Mutex::default(),
        });
        let wishes = &self.ranges.wishes;
        wishes.waiting.lock().push(Arc::clone(&wish));
        let _turn = wishes.turn.lock().await;
        loop {
            // In the turn of another, perhaps.
            if let Some(done) = wish.done.lock().take() {
                return done;
            }
            self.grant().await;
        }
    }

    /// Grants what is wished for by now; the first of what cannot be at once with something else.
    async fn grant(&self) {
        let waiting = self.ranges.wishes.waiting.lock().clone();
        let mut granted = Vec::new();
        {
            let book = self.ranges.book.lock();
            let mut named = BTreeSet::new();
            for wish in &waiting {
                if !wish.news.iter().all(|new| named.insert(new.range)) {
                    continue;
                }
                match wish.check(&book) {
                    Ok(()) => granted.push(wish),
                    Err(error) => *wish.done.lock() = Some(Err(error)),
                }
            }
        }
        if !granted.is_empty() {
            let done = self.replace_all(&granted).await;
            for wish in granted {
                *wish.done.lock() = Some(done.clone());
            }
        }
        let mut waiting = self.ranges.wishes.waiting.lock();
        waiting.retain(|wish| wish.done.lock().is_none());
    }

    async fn replace_all(&self, wishes: &[&Arc<Wish>]) -> Result<Reservation> {
        let all = wishes.iter().flat_map(|wish| &wish.news);
        let ranges: Vec<u32> = all.map(|new| new.range).collect();
        let is_place = |wish: &&&Arc<Wish>| matches!(wish.what, What::Place);
        let places = wishes.iter().filter(is_place).count();
        let spans = self.spans_with_keys(wishes);
        let come_back = self.come_back(wishes);
        let has_tables = !spans.is_empty() || places > 0;
        let reserved = self.reserve(&ranges, has_tables).await?;
        let here = wishes.iter().filter(|wish| !is_place(wish));
        let news: Vec<Replacement> = here.flat_map(|wish| wish.news.iter().cloned()).collect();
        if news.is_empty() {
            return Ok(reserved);
        }
        let _marked = Marked::new(&self.ranges, news.iter().map(|new| new.range).collect());
        let edit = match spans.is_empty() {
            true => Edit::default(),
            false => self.covering(&spans, reserved.seq).finish().await?,
        };
        let added = edit.added();
        if let Err(error) = self.install_ranges(news, reserved, edit).await {
            self.discard_unless_committed(added, &error).await;
            return Err(error);
        }
        self.leave_over(wishes);
        if !come_back.is_empty() {
            self.forget_left_over(come_back, &reserved).await?;
        }
        Ok(reserved)
    }

    /// Has the hash table forget ranges that are back, and with them all that are gone: to go through it takes as
    /// long for one as for all of them. It is this task's turn, so no other range comes back meanwhile.
    async fn forget_left_over(&self, mut spans: Vec<Span>, reserved: &Reservation) -> Result<()> {
        let (gone, theirs): (Vec<u32>, Vec<Span>) = {
            let book = self.ranges.book.lock();
            let left_over = |(&range, state): (&u32, &RangeState)| {
                state.left_over.clone().map(|span| (range, span))
            };
            book.ranges.iter().filter_map(left_over).unzip()
        };
        spans.extend(theirs);
        self.forget_keys(&spans, reserved.seq).await?;
        let mut book = self.ranges.book.lock();
        for range in gone {
            if let Some(state) = book.ranges.get_mut(&range) {
                state.left_over = None;
            }
        }
        Ok(())
    }

    /// What the hash table has of ranges that are gone nobody asks for, and going through all of it takes long: that
    /// can wait until they are back, if ever they are.
    fn leave_over(&self, wishes: &[&Arc<Wish>]) {
        let mut book = self.ranges.book.lock();
        for wish in wishes {
            let What::Destroy(span) = &wish.what else {
                continue;
            };
            let range = wish.news.first().map(|new| new.range);
            if let Some(state) = range.and_then(|range| book.ranges.get_mut(&range)) {
                state.left_over = Some(span.clone());
            }
        }
    }

    /// Where the hash table may have records of an earlier copy of those that begin.
    fn come_back(&self, wishes: &[&Arc<Wish>]) -> Vec<Span> {
        let book = self.ranges.book.lock();
        let begin = wishes
            .iter()
            .filter(|wish| matches!(wish.what, What::Begin));
        let states = begin
            .flat_map(|wish| &wish.news)
            .filter_map(|new| book.ranges.get(&new.range));
        states.filter_map(|state| state.left_over.clone()).collect()
    }

    /// Where the keys lie of those that go, as far as they have any.
    fn spans_with_keys(&self, wishes: &[&Arc<Wish>]) -> Vec<Span> {
        let book = self.ranges.book.lock();
        let span = |wish: &&Arc<Wish>| match &wish.what {
            What::Destroy(span) => {
                let state = book.ranges.get(&wish.news.first()?.range)?;
                state.may_have_keys().then(|| span.clone())
            }
            What::Begin | What::Place => None,
        };
        wishes.iter().filter_map(span).collect()
    }
}

//! Connections that have not shown yet who they are. There is room for so many of them, and the newest gets it: who
//! holds connections open and says nothing keeps no node out.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// See the module.
pub(super) struct Strangers {
    most: usize,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    admitted: u64,
    /// By when they came. Dropped, it ends one.
    ends: BTreeMap<u64, oneshot::Sender<()>>,
}

/// One connection's place. Dropped, it is free.
pub(super) struct Stranger {
    number: u64,
    end: oneshot::Receiver<()>,
    strangers: Arc<Strangers>,
}

impl Strangers {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            book: Mutex::default(),
        })
    }

    /// A place, for which the oldest has to go if there is none.
    pub(super) fn admit(self: &Arc<Self>) -> Stranger {
        let mut book = self.book.lock();
        if book.ends.len() >= self.most {
            book.ends.pop_first();
        }
        let number = book.admitted;
        book.admitted += 1;
        let (keep, end) = oneshot::channel();
        book.ends.insert(number, keep);
        Stranger {
            number,
            end,
            strangers: Arc::clone(self),
        }
    }
}

impl Stranger {
    /// Ready when a newer one needs the place.
    pub(super) async fn crowded_out(&mut self) {
        // Nothing is ever sent.
        let _dropped = (&mut self.end).await;
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.strangers.book.lock().ends.remove(&self.number);
    }
}

//! What a store does that has no room, or whose log is being mended: what replaces a range's state waits, and is tried
//! again each second.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use parking_lot::Mutex;

use super::RangeStore;
use crate::{Error, ErrorKind, MaybeSend, Result, Runtime, Storage};

/// From one attempt to the next.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What waits for room, and why.
#[derive(Default)]
pub(super) struct Waits {
    waiting: usize,
    error: Option<Error>,
}

/// One that waits, until it is dropped.
struct Wait<'a>(&'a Mutex<Waits>);

impl<'a> Wait<'a> {
    fn begin(waits: &'a Mutex<Waits>) -> Self {
        waits.lock().waiting += 1;
        Self(waits)
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let mut waits = self.0.lock();
        waits.waiting -= 1;
        if waits.waiting == 0 {
            waits.error = None;
        }
    }
}

impl<S: Storage, R: Runtime> RangeStore<S, R> {
    /// Why nothing should be asked of the store that can wait, if there is a reason: its log is being mended, its
    /// memory cannot be flushed, or something waits for room. It passes by itself, or becomes an error of what waits.
    pub fn trouble(&self) -> Option<Error> {
        let core = self.db().core();
        let of_log = core.health.trouble();
        let of_flush = || core.counters.flush_error();
        of_log
            .or_else(of_flush)
            .or_else(|| self.inner.waits.lock().error.clone())
    }

    /// Does something, as often as it takes, until there is room for it.
    pub(super) async fn with_room<T, F>(&self, mut attempt: impl FnMut() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>> + MaybeSend,
    {
        let mut waits = None;
        loop {
            let error = match attempt().await {
                Err(error) if self.may_pass(&error) => error,
                done => return done,
            };
            waits.get_or_insert_with(|| Wait::begin(&self.inner.waits));
            self.inner.waits.lock().error = Some(error);
            self.db().core().nap(AGAIN_AFTER).await;
        }
    }

    fn may_pass(&self, error: &Error) -> bool {
        let core = self.db().core();
        let goes_on = !core.stopping.load(SeqCst)
            && core.health.failure().is_none()
            && core.commit.lock().broken.is_none();
        goes_on && matches!(error.kind(), ErrorKind::Full | ErrorKind::ReadOnly)
    }
}

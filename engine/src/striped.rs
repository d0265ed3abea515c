//! A counter that many threads raise and few read.
//!
//! Each thread keeps to one of a few cache lines, so that cores do not fight over it. It must not be used
//! for anything but telling: a sum taken while threads count is no moment's truth.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

const STRIPES: usize = 8;

#[derive(Debug, Default)]
#[repr(align(128))]
struct Stripe(AtomicU64);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Striped([Stripe; STRIPES]);

static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static STRIPE: Cell<usize> = const { Cell::new(usize::MAX) };
}

#[inline]
fn stripe() -> usize {
    match STRIPE.get() {
        usize::MAX => choose_stripe(),
        stripe => stripe,
    }
}

#[cold]
fn choose_stripe() -> usize {
    let stripe = THREADS.fetch_add(1, Relaxed) % STRIPES;
    STRIPE.set(stripe);
    stripe
}

impl Striped {
    /// Counts one more.
    #[inline]
    pub(crate) fn count(&self) {
        self.0[stripe()].0.fetch_add(1, Relaxed);
    }

    /// How many were counted.
    pub(crate) fn sum(&self) -> u64 {
        self.0.iter().map(|stripe| stripe.0.load(Relaxed)).sum()
    }
}

#[cfg(all(test, not(target_family = "wasm")))]
mod tests {
    use super::*;

    #[test]
    fn every_thread_is_counted() {
        let counter = Striped::default();
        std::thread::scope(|scope| {
            for _ in 0..2 * STRIPES {
                scope.spawn(|| (0..1000).for_each(|_| counter.count()));
            }
        });
        assert_eq!(counter.sum(), 2 * STRIPES as u64 * 1000);
    }
}

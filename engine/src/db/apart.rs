//! Keeping a future's code out of the future that awaits it.
//!
//! A future holds those that it awaits, and the code of what it may await is code of its own, whether it ever comes to
//! that or not. Behind a pointer that is never made it is not: so a page's module with a machine that has no ranges
//! ([`Machine::HAS_RANGES`](super::Machine::HAS_RANGES)) holds nothing of theirs. Elsewhere nothing is gained, and the
//! future is left as it is.

/// The same future, behind a pointer where size counts.
#[cfg(target_family = "wasm")]
pub(crate) fn apart<'a, T>(
    future: impl Future<Output = T> + 'a,
) -> std::pin::Pin<Box<dyn Future<Output = T> + 'a>> {
    Box::pin(future)
}

/// The same future, behind a pointer where size counts.
#[cfg(not(target_family = "wasm"))]
pub(crate) fn apart<F: Future>(future: F) -> F {
    future
}

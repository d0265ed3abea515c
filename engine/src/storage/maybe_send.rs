//! `Send` where there are threads, nothing where there are none.

#[cfg(not(target_family = "wasm"))]
mod native {
    /// `Send`, except on wasm, where futures hold JavaScript values and there is one thread.
    pub trait MaybeSend: Send {}
    impl<T: Send + ?Sized> MaybeSend for T {}

    /// `Sync`, except on wasm.
    pub trait MaybeSync: Sync {}
    impl<T: Sync + ?Sized> MaybeSync for T {}
}

#[cfg(target_family = "wasm")]
mod native {
    /// `Send`, except on wasm, where futures hold JavaScript values and there is one thread.
    pub trait MaybeSend {}
    impl<T: ?Sized> MaybeSend for T {}

    /// `Sync`, except on wasm.
    pub trait MaybeSync {}
    impl<T: ?Sized> MaybeSync for T {}
}

pub use native::{MaybeSend, MaybeSync};

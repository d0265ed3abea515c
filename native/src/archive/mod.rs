//! `trilith check-archive`, `restore`, `import` and `export`: what is done with files of the archive while no node runs
//! on them, and the way from and to Redis. And `trilith backup`, of a cluster that runs.
//!
//! What is read is never changed, but by `check-archive --mend`. What is made is made beside its place, and moved there
//! when it is complete.

pub(crate) mod alone;
#[cfg(feature = "operate")]
mod args;
#[cfg(feature = "operate")]
mod backup;
#[cfg(feature = "operate")]
mod check;
#[cfg(feature = "operate")]
mod export;
pub(crate) mod folder;
#[cfg(feature = "operate")]
mod import;
#[cfg(feature = "operate")]
mod live;
#[cfg(feature = "operate")]
mod node;
#[cfg(feature = "operate")]
mod progress;
#[cfg(feature = "operate")]
mod restore;
#[cfg(feature = "operate")]
mod show;
#[cfg(feature = "operate")]
mod source;
pub mod time;

#[cfg(feature = "operate")]
pub use args::{BackupArgs, CheckArchiveArgs, ExportArgs, ImportArgs, RestoreArgs};
#[cfg(feature = "operate")]
pub use backup::backup;
#[cfg(feature = "operate")]
pub use check::check;
#[cfg(feature = "operate")]
pub use export::export;
#[cfg(feature = "operate")]
pub use import::import;
#[cfg(feature = "operate")]
pub use restore::restore;

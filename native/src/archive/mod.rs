//! `trilith check-archive`, `restore`, `import` and `export`: what is done with files of the archive while no node runs
//! on them, and the way from and to Redis. And `trilith backup`, of a cluster that runs.
//!
//! What is read is never changed, but by `check-archive --mend`. What is made is made beside its place, and moved there
//! when it is complete.

mod args;
mod backup;
mod check;
mod export;
mod folder;
mod import;
mod live;
mod node;
mod progress;
mod restore;
mod show;
mod source;
mod time;

pub use args::{BackupArgs, CheckArchiveArgs, ExportArgs, ImportArgs, RestoreArgs};
pub use backup::backup;
pub use check::check;
pub use export::export;
pub use import::import;
pub use restore::restore;

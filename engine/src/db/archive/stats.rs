//! The archive's numbers, and what can be asked of it.

use super::super::Db;
use super::super::machine::Machine;
use super::job::{Began, Busy, Kind};
use crate::archive::{AofStats, ArchiveStats, RdbStats};
use crate::{Result, Runtime, Storage};

impl<S: Storage, R: Runtime, M: Machine> Db<S, R, M> {
    /// How the archive stands.
    pub fn archive(&self) -> ArchiveStats {
        let core = self.core();
        let archive = &core.archive;
        let now = core.runtime.monotonic();
        let (rewrites, saves) = {
            let jobs = archive.jobs.lock();
            (jobs.stats(Kind::Rewrite, now), jobs.stats(Kind::Save, now))
        };
        let changes = core.changes_since_saved();
        let standing = archive.standing.lock();
        ArchiveStats {
            aof: AofStats {
                is_enabled: archive.options.aof,
                trouble: standing.trouble.clone(),
                gap_s: standing.gap_s,
                base_bytes: standing.base_bytes,
                bytes: standing.bytes,
                rewritten_bytes: standing.rewritten_bytes,
                history_bytes: standing.history_bytes,
                waiting_bytes: archive.feed.waiting() as u64,
                written_bytes: standing.written_bytes,
                rewrites,
            },
            rdb: RdbStats {
                changes,
                last_s: standing.saved_s,
                saves,
            },
        }
    }

    /// Writes a snapshot (RDB), and waits for it.
    ///
    /// # Errors
    /// What is under way instead; or what kept it from being written.
    pub async fn save(&self) -> Result<Result<()>, Busy> {
        self.core().save_now().await
    }

    /// Has a snapshot written in the background. While the AOF is being rewritten it begins afterwards if it is to be
    /// `scheduled`.
    ///
    /// # Errors
    /// What is under way.
    pub fn save_in_background(&self, scheduled: bool) -> Result<Began, Busy> {
        self.core().begin_job(Kind::Save, scheduled)
    }

    /// Has the AOF rewritten in the background, as soon as nothing else is under way. Does nothing unless there is
    /// one.
    ///
    /// # Errors
    /// It is being rewritten.
    pub fn rewrite_aof(&self) -> Result<Began, Busy> {
        self.core().begin_job(Kind::Rewrite, true)
    }
}

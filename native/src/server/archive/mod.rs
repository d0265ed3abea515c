//! The archive as the server shows it: its settings, its commands, and its figures.

mod figures;
mod settings;

use trilith::command::{Commands, Reply};
use trilith::db::{Began, Busy};
use trilith::{Db, Runtime, Storage};

pub use figures::{figures, persistence};
pub use settings::ArchiveSettings;

/// What a client asks of the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// SAVE.
    Save,
    /// BGSAVE.
    SaveInBackground {
        /// Later, if the AOF is being rewritten.
        scheduled: bool,
    },
    /// BGREWRITEAOF.
    Rewrite,
    /// LASTSAVE.
    LastSave,
}

/// Has it done, and answers as Redis does.
pub async fn answer<S: Storage, R: Runtime>(db: &Db<S, R, Commands>, asked: Asked) -> Reply {
    match asked {
        Asked::Save => match db.save().await {
            Ok(Ok(())) => Reply::OK,
            Ok(Err(error)) => Reply::Error(format!("ERR {error}").into()),
            Err(busy) => refuse_to_save(busy),
        },
        Asked::SaveInBackground { scheduled } => match db.save_in_background(scheduled) {
            Ok(Began::Now) => Reply::Simple("Background saving started".into()),
            Ok(Began::Later) => Reply::Simple("Background saving scheduled".into()),
            Err(busy) => refuse_to_save(busy),
        },
        Asked::Rewrite if !db.archive().aof.is_enabled => {
            Reply::error("ERR there is no AOF: start the server with --appendonly yes")
        }
        Asked::Rewrite => match db.rewrite_aof() {
            Ok(Began::Now) => Reply::Simple("Background append only file rewriting started".into()),
            Ok(Began::Later) => {
                Reply::Simple("Background append only file rewriting scheduled".into())
            }
            Err(_) => Reply::error("ERR Background append only file rewriting already in progress"),
        },
        Asked::LastSave => Reply::Int(i64::try_from(db.archive().rdb.last_s).unwrap_or(i64::MAX)),
    }
}

fn refuse_to_save(busy: Busy) -> Reply {
    match busy {
        Busy::Saving => Reply::error("ERR Background save already in progress"),
        Busy::Rewriting => Reply::error(
            "ERR Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE SCHEDULE in order to \
             schedule a BGSAVE whenever possible.",
        ),
    }
}

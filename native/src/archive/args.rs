//! What can be said on the command line.

use std::path::PathBuf;

use super::time::parse_moment;
use crate::server::parse_size;

/// Back up all keys of a cluster that runs: a file for each range, in a format that Redis reads, and a manifest.
///
/// Each range is backed up as it is at one index of its log, with everything that was acknowledged before the backup began.
/// Ranges that have not changed since the last backup are linked from there. A backup that was broken off goes on when
/// the same command is given again.
#[derive(Clone, Debug, clap::Args)]
pub struct BackupArgs {
    /// The host of a node of the cluster; any will do.
    #[arg(long, value_name = "HOST", default_value = "127.0.0.1")]
    pub host: String,

    /// The node's port for clients.
    #[arg(long, value_name = "PORT", default_value_t = 6379)]
    pub port: u16,

    /// The folder to make.
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,

    /// The backup to take from it what has not changed; without it, the newest one beside DIR.
    #[arg(long, value_name = "DIR", conflicts_with = "full")]
    pub from_last: Option<PathBuf>,

    /// Take nothing from another backup.
    #[arg(long)]
    pub full: bool,

    /// How many ranges are read at a time.
    #[arg(long, value_name = "COUNT", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub parallel: u8,

    /// Say what was done in JSON.
    #[arg(long)]
    pub json: bool,
}

/// Say what files of the archive hold, and whether they are sound.
#[derive(Clone, Debug, clap::Args)]
pub struct CheckArchiveArgs {
    /// A node's directory, a backup, a folder of append-only files, or one file.
    #[arg(value_name = "DIR|FILE")]
    pub path: PathBuf,

    /// Answer in JSON.
    #[arg(long)]
    pub json: bool,

    /// Cut off a torn tail of the newest file, and keep it beside the file. Nothing may be writing to it.
    #[arg(long)]
    pub mend: bool,
}

/// Make a node's directory from its archive, as it was at any second that the archive covers.
#[derive(Clone, Debug, clap::Args)]
pub struct RestoreArgs {
    /// A node's directory, a backup, or a folder with append-only files or a snapshot.
    #[arg(long, value_name = "DIR")]
    pub from: PathBuf,

    /// The second whose end is wanted, such as 2026-11-22T10:00:00Z or 1795341600; the newest state without it.
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    pub to: Option<u64>,

    /// The directory to make: `trilith serve --data DIR` opens it.
    #[arg(long, value_name = "DIR")]
    pub into: PathBuf,

    /// How it is loaded.
    #[command(flatten)]
    pub loading: LoadingArgs,
}

/// How files are loaded, wherever they go.
#[derive(Clone, Debug, clap::Args)]
pub struct LoadingArgs {
    /// Pass over what Trilith does not hold, such as lists, and count it.
    #[arg(long)]
    pub skip_unsupported: bool,

    /// Memory to use, such as 512mb.
    #[arg(long, value_name = "SIZE", default_value = "512mb", value_parser = parse_size)]
    pub memory: u64,

    /// Say what was done in JSON.
    #[arg(long)]
    pub json: bool,
}

/// Load a file or a folder of Redis or Trilith into a new directory, or into a server.
#[derive(Clone, Debug, clap::Args)]
pub struct ImportArgs {
    /// A backup, an .rdb file, an .aof file, or a folder with append-only files or a snapshot.
    pub source: PathBuf,

    /// The directory to make: `trilith serve --data DIR` opens it.
    #[arg(long, value_name = "DIR", required_unless_present = "port", conflicts_with_all = ["host", "port"])]
    pub into: Option<PathBuf>,

    /// The server's host.
    #[arg(long, value_name = "HOST", default_value = "127.0.0.1")]
    pub host: String,

    /// The server's port for clients.
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,

    /// Let a FLUSHALL in the source remove what the server holds.
    #[arg(long, requires = "port")]
    pub allow_flush: bool,

    /// How it is loaded.
    #[command(flatten)]
    pub loading: LoadingArgs,
}

/// Write the keys of a directory that no node runs on to files that Redis reads.
#[derive(Clone, Debug, clap::Args)]
pub struct ExportArgs {
    /// The node's directory.
    #[arg(long, value_name = "DIR")]
    pub from: PathBuf,

    /// A file that ends in .rdb, or a folder that becomes one of append-only files.
    #[arg(long, value_name = "FILE.rdb|DIR")]
    pub to: PathBuf,

    /// The version of the RDB format: Redis 5 and 6 read 9, Redis 7.0 also 10, Redis 7.2 also 11.
    #[arg(long, value_name = "VERSION", default_value_t = 9, value_parser = clap::value_parser!(u16).range(9..=11))]
    pub rdb_version: u16,

    /// Memory to use, such as 512mb.
    #[arg(long, value_name = "SIZE", default_value = "512mb", value_parser = parse_size)]
    pub memory: u64,

    /// Say what was done in JSON.
    #[arg(long)]
    pub json: bool,
}

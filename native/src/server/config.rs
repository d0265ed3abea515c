//! Options and subcommands.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::archive::ArchiveSettings;
use super::membership::Membership;

/// A key-value store that speaks the Redis protocol.
#[derive(Debug, Parser)]
#[command(name = "trilith", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do; without one, `serve`.
    #[command(subcommand)]
    pub action: Option<Action>,
    /// Options of `serve`.
    #[command(flatten)]
    pub serve: Config,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Starts a node (the default).
    Serve(Config),
    /// Measures the engine with the workloads of db_bench and YCSB.
    #[cfg(feature = "bench")]
    Bench(crate::bench::BenchArgs),
    /// Simulates a cluster with everything that can go wrong, and judges what its clients see.
    #[cfg(feature = "sim")]
    Sim(crate::sim::SimArgs),
    /// Starts a cluster on this machine, and looks after one anywhere.
    #[cfg(feature = "operate")]
    Cluster(crate::operate::ClusterArgs),
    /// Backs up all keys of a cluster that runs: a file for each range, in a format that Redis reads.
    #[cfg(feature = "operate")]
    Backup(crate::archive::BackupArgs),
    /// Says what files of the archive hold, and whether they are sound.
    #[cfg(feature = "operate")]
    CheckArchive(crate::archive::CheckArchiveArgs),
    /// Makes a node's directory from its archive, as it was at any second that the archive covers.
    #[cfg(feature = "operate")]
    Restore(crate::archive::RestoreArgs),
    /// Loads a file or a folder of Redis or Trilith into a new directory, or into a server.
    #[cfg(feature = "operate")]
    Import(crate::archive::ImportArgs),
    /// Writes the keys of a directory that no node runs on to files that Redis reads.
    #[cfg(feature = "operate")]
    Export(crate::archive::ExportArgs),
}

/// How a node runs.
#[derive(Args, Clone, Debug)]
pub struct Config {
    /// Directory that holds the store; made if there is none.
    #[arg(
        long,
        value_name = "DIR",
        default_value = "trilith-data",
        env = "TRILITH_DATA"
    )]
    pub data: PathBuf,
    /// Port for Redis clients; 0 takes any that is free.
    #[arg(long, default_value_t = 6379, env = "TRILITH_PORT")]
    pub port: u16,
    /// Port for /healthz, /readyz and /metrics; 0 turns them off.
    #[arg(long, default_value_t = 6380, env = "TRILITH_HTTP_PORT")]
    pub http_port: u16,
    /// Address to listen on. There are no passwords yet: others than loopback are open to all who reach them.
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "127.0.0.1",
        env = "TRILITH_BIND"
    )]
    pub bind: IpAddr,
    /// Address to listen on for /healthz, /readyz and /metrics.
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "127.0.0.1",
        env = "TRILITH_HTTP_BIND"
    )]
    pub http_bind: IpAddr,
    /// What an acknowledged write survives.
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = AppendFsync::Everysec, env = "TRILITH_APPENDFSYNC")]
    pub appendfsync: AppendFsync,
    /// The archive: AOF and snapshots.
    #[command(flatten)]
    pub archive: ArchiveSettings,
    /// Recover the store from its archive, if it does not open because its files are gone or damaged; with `=verify`
    /// everything is read at the start, and it is recovered if anything is damaged. What was there is laid aside. A
    /// node that is one of several is not recovered: the others have its copies.
    #[arg(
        long,
        value_name = "WHEN",
        value_enum,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "open",
        env = "TRILITH_RECOVER_FROM_ARCHIVE"
    )]
    pub recover_from_archive: Option<RecoverWhen>,
    /// Memory for the hash table, memtables and caches together, such as 512mb or 4gb.
    #[arg(long, value_name = "SIZE", default_value = "512mb", value_parser = parse_size, env = "TRILITH_MEMORY")]
    pub memory: u64,
    /// Every so many seconds, and when the node is stopped, the keys in use are noted, if they have changed, and when it
    /// is started again they are read back into memory beside everything else; 0 for neither.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 300,
        env = "TRILITH_WARM_RESTART"
    )]
    pub warm_restart: u64,
    /// How many clients may be connected at once.
    #[arg(long, value_name = "COUNT", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000), env = "TRILITH_MAXCLIENTS")]
    pub maxclients: u32,
    /// Whether and how the node is one of a cluster.
    #[command(flatten)]
    pub membership: Membership,
    /// How much is logged.
    #[arg(long, value_name = "LEVEL", value_enum, default_value_t = LogLevel::Info, env = "TRILITH_LOG_LEVEL")]
    pub log_level: LogLevel,
}

/// What a store has to fail so that it is recovered from its archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RecoverWhen {
    /// To open.
    Open,
    /// To open, or to be read whole.
    Verify,
}

/// When the log is synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AppendFsync {
    /// Before each acknowledgement: survives a power loss.
    Always,
    /// Each second: a power loss may take the last second's.
    Everysec,
    /// When the operating system sees fit.
    No,
}

impl AppendFsync {
    /// The setting's text.
    pub fn name(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Everysec => "everysec",
            Self::No => "no",
        }
    }
}

/// The least that is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "the names say it")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl From<LogLevel> for tracing::Level {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Trace => Self::TRACE,
        }
    }
}

/// A number of bytes as Redis writes it: `k`, `m`, `g` are powers of 1000, `kb`, `mb`, `gb` of 1024.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.trim_end_matches(|letter: char| !letter.is_ascii_digit());
    let unit = match lower[digits.len()..].trim() {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return Err("a size is a number and k, kb, m, mb, g or gb, such as 512mb".to_owned()),
    };
    let number: u64 = digits
        .parse()
        .map_err(|_| "a size begins with a number, such as 512mb".to_owned())?;
    number
        .checked_mul(unit)
        .ok_or_else(|| "too large".to_owned())
}

impl Config {
    /// The settings that CONFIG GET answers.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        let mut settings = vec![
            ("appendfsync", self.appendfsync.name().to_owned()),
            ("bind", self.bind.to_string()),
            ("databases", "1".to_owned()),
            ("dir", self.data.display().to_string()),
            ("maxclients", self.maxclients.to_string()),
            ("maxmemory", self.memory.to_string()),
            ("port", self.port.to_string()),
            (
                "proto-max-bulk-len",
                trilith::record::VALUE_BYTES_MAX.to_string(),
            ),
            ("timeout", "0".to_owned()),
            ("warm-restart", self.warm_restart.to_string()),
        ];
        settings.extend(self.archive.settings());
        settings.sort();
        settings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_stand_with_and_without_the_subcommand() {
        let cli = Cli::try_parse_from(["trilith", "--port", "7000"]).unwrap();
        assert!(cli.action.is_none());
        assert_eq!(cli.serve.port, 7000);
        let cli = Cli::try_parse_from([
            "trilith",
            "serve",
            "--port",
            "7000",
            "--appendfsync",
            "always",
        ])
        .unwrap();
        let Some(Action::Serve(config)) = cli.action else {
            panic!("not serve");
        };
        assert_eq!(
            (config.port, config.appendfsync),
            (7000, AppendFsync::Always)
        );
    }

    #[test]
    fn the_defaults_are_loopback_and_the_ports_of_redis() {
        let config = Cli::try_parse_from(["trilith"]).unwrap().serve;
        assert!(config.bind.is_loopback() && config.http_bind.is_loopback());
        assert_eq!((config.port, config.http_port), (6379, 6380));
        assert_eq!(config.memory, 512 << 20);
    }

    #[test]
    fn a_recovery_has_to_be_asked_for() {
        let asked = |words: &[&str]| {
            let words = ["trilith", "serve"].iter().chain(words);
            match Cli::try_parse_from(words).unwrap().action {
                Some(Action::Serve(config)) => config.recover_from_archive,
                _ => panic!("not serve"),
            }
        };
        assert_eq!(asked(&[]), None);
        assert_eq!(asked(&["--recover-from-archive"]), Some(RecoverWhen::Open));
        assert_eq!(
            asked(&["--recover-from-archive=verify", "--port", "1"]),
            Some(RecoverWhen::Verify)
        );
    }

    #[test]
    fn sizes_read_as_in_redis() {
        assert_eq!(parse_size("1024"), Ok(1024));
        assert_eq!(parse_size("512MB"), Ok(512 << 20));
        assert_eq!(parse_size("4 gb"), Ok(4 << 30));
        assert_eq!(parse_size("5k"), Ok(5000));
        for text in ["", "mb", "1tb", "-1", "99999999999999gb", "1.5gb"] {
            assert!(parse_size(text).is_err(), "{text:?}");
        }
    }
}

//! The options of `serve` that are about the archive.

use std::time::Duration;

use clap::{Args, ValueEnum};
use trilith::archive::{ArchiveOptions, Fsync};

use crate::server::AppendFsync;
use crate::server::config::parse_size;

/// Which files the archive consists of, and when they are written.
#[derive(Args, Clone, Debug)]
pub struct ArchiveSettings {
    /// Whether commands are also appended to files that Redis reads (AOF), in the store's directory.
    #[arg(long, value_name = "YES|NO", value_enum, default_value_t = Switch::Yes, env = "TRILITH_APPENDONLY")]
    pub appendonly: Switch,
    /// When these files are synced; no answer waits for it.
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = AppendFsync::Everysec, env = "TRILITH_ARCHIVE_FSYNC")]
    pub archive_fsync: AppendFsync,
    /// How long, and how much of, what a rewrite of them has replaced is kept for going back in time; 0 for not at all.
    #[arg(long, value_name = "TIME,SIZE", default_value = "24h,1gb", value_parser = Retain::parse, env = "TRILITH_ARCHIVE_RETAIN")]
    pub archive_retain: Retain,
    /// They are rewritten when they have grown by this many percent; 0 for only when asked.
    #[arg(
        long,
        value_name = "PERCENT",
        default_value_t = 100,
        env = "TRILITH_AUTO_AOF_REWRITE_PERCENTAGE"
    )]
    pub auto_aof_rewrite_percentage: u32,
    /// Below this size they are not rewritten by themselves.
    #[arg(long, value_name = "SIZE", default_value = "64mb", value_parser = parse_size, env = "TRILITH_AUTO_AOF_REWRITE_MIN_SIZE")]
    pub auto_aof_rewrite_min_size: u64,
    /// A snapshot that Redis reads (RDB) is written each time so many seconds have passed and something has changed; ""
    /// for only when asked.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value = "300",
        value_parser = SaveEvery::parse,
        env = "TRILITH_SAVE"
    )]
    pub save: SaveEvery,
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// On.
    Yes,
    /// Off.
    No,
}

/// How often a snapshot is written, if something has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SaveEvery(Option<Duration>);

impl SaveEvery {
    /// Seconds, as Redis has them: a number of changes may follow, which is 1.
    fn parse(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let seconds = match words[..] {
            [] => return Ok(Self(None)),
            [seconds] | [seconds, "1"] => seconds.parse().ok().filter(|&seconds: &u64| seconds > 0),
            _ => None,
        };
        let seconds = seconds
            .ok_or("it is a number of seconds from 1 on, such as 300, or nothing at all (\"\")")?;
        Ok(Self(Some(Duration::from_secs(seconds))))
    }
}

/// How long what was replaced is kept, and how much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retain {
    time: Duration,
    bytes: u64,
}

impl Retain {
    fn parse(text: &str) -> Result<Self, String> {
        const HOW: &str = "it is a time and a size, such as 24h,1gb, or 0";
        if text.trim() == "0" {
            return Ok(Self {
                time: Duration::ZERO,
                bytes: 0,
            });
        }
        let (time, size) = text.split_once([',', ' ']).ok_or(HOW)?;
        Ok(Self {
            time: parse_time(time.trim()).ok_or(HOW)?,
            bytes: parse_size(size)?,
        })
    }
}

fn parse_time(text: &str) -> Option<Duration> {
    let unit = text.chars().next_back()?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 24 * 3600,
        _ => return None,
    };
    let number: u64 = text[..text.len() - 1].parse().ok()?;
    number.checked_mul(seconds).map(Duration::from_secs)
}

impl ArchiveSettings {
    /// As the engine takes them.
    pub(in crate::server) fn options(&self) -> ArchiveOptions {
        ArchiveOptions {
            aof: self.appendonly == Switch::Yes,
            fsync: match self.archive_fsync {
                AppendFsync::Always => Fsync::Always,
                AppendFsync::Everysec => Fsync::EverySecond,
                AppendFsync::No => Fsync::No,
            },
            rewrite_percent: self.auto_aof_rewrite_percentage,
            rewrite_least_bytes: self.auto_aof_rewrite_min_size,
            retain: self.archive_retain.time,
            retain_bytes: self.archive_retain.bytes,
            save_every: self.save.0,
        }
    }

    /// As CONFIG GET answers them.
    pub(in crate::server) fn settings(&self) -> Vec<(&'static str, String)> {
        let switch = match self.appendonly {
            Switch::Yes => "yes",
            Switch::No => "no",
        };
        let save = self.save.0.map(|every| format!("{} 1", every.as_secs()));
        let Retain { time, bytes } = self.archive_retain;
        vec![
            ("appenddirname", "appendonlydir".to_owned()),
            ("appendfilename", "appendonly.aof".to_owned()),
            ("appendonly", switch.to_owned()),
            ("archive-fsync", self.archive_fsync.name().to_owned()),
            ("archive-retain", format!("{}s,{bytes}b", time.as_secs())),
            (
                "auto-aof-rewrite-min-size",
                self.auto_aof_rewrite_min_size.to_string(),
            ),
            (
                "auto-aof-rewrite-percentage",
                self.auto_aof_rewrite_percentage.to_string(),
            ),
            ("dbfilename", "dump.rdb".to_owned()),
            ("save", save.unwrap_or_default()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::server::Cli;

    fn archive(words: &[&str]) -> Result<ArchiveSettings, clap::Error> {
        let words = ["trilith"].iter().chain(words);
        Ok(Cli::try_parse_from(words)?.serve.archive)
    }

    #[test]
    fn both_are_on_and_go_off_by_one_setting_each() {
        let on = archive(&[]).unwrap().options();
        assert!(on.aof);
        assert_eq!(on.save_every, Some(Duration::from_secs(300)));
        assert_eq!(on.retain, Duration::from_secs(24 * 3600));
        assert_eq!(on.retain_bytes, 1 << 30);
        let off = archive(&["--appendonly", "no", "--save", ""]).unwrap();
        assert!(!off.options().aof);
        assert_eq!(off.options().save_every, None);
        assert!(off.settings().contains(&("save", String::new())));
    }

    #[test]
    fn times_and_sizes_are_read() {
        let kept = |text: &str| {
            let options = archive(&["--archive-retain", text]).ok()?.options();
            Some((options.retain.as_secs(), options.retain_bytes))
        };
        assert_eq!(kept("90m,5mb"), Some((5400, 5 << 20)));
        assert_eq!(kept("2d 1k"), Some((172_800, 1000)));
        assert_eq!(kept("86400s,1073741824b"), Some((86_400, 1 << 30)));
        assert_eq!(kept("0"), Some((0, 0)));
        for text in ["", "24h", "1gb", "1gb,24h", "1y,1gb"] {
            assert_eq!(kept(text), None, "{text:?}");
        }
        for text in ["0", "-1", "300 2", "often"] {
            assert!(archive(&["--save", text]).is_err(), "{text:?}");
        }
        assert_eq!(
            archive(&["--save", "60 1"]).unwrap().options().save_every,
            Some(Duration::from_secs(60))
        );
    }
}

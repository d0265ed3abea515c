//! A run, written down: with what the ring was opened, what was done to it when, and how far it went. It is one line
//! that fits into a link, or a file with a line an action:
//!
//! ```text
//! trilith-ring 1; nodes=5 quorum=3,2,2 seed=42; 0 load 20 200 uniform 0 16; 1500250 kill 2; 4000000 end
//! ```
//!
//! Parts end with a semicolon or with the line. The first names the format and its version, the second has the
//! options that differ from the usual ones ([`RingOptions`]), each further one a time in virtual microseconds and an
//! [`Action`]. `end` comes last. A line that begins with `#` is a remark.

use std::fmt;
use std::str::FromStr;

use super::action::Action;
use super::options::{RingOptions, invalid};
use crate::{Error, Result};

const HEAD: &str = "trilith-ring 1";

/// The longest text that is read.
const TEXT_BYTES_MOST: usize = 4 << 20;

/// See the module.
///
/// ```
/// use trilith::sim::live::{Ring, Script};
/// let script: Script = "trilith-ring 1; seed=7; 100000 ask 2 0/0 SET user:001 Alex; 900000 end".parse()?;
/// let (one, other) = (Ring::replay(&script)?, Ring::replay(&script)?);
/// assert_eq!(one.trace_hash(), other.trace_hash());
/// # Ok::<(), trilith::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    /// What the ring is opened with, its seed included.
    pub options: RingOptions,
    /// What is done, and at which virtual microsecond; in order of time.
    pub steps: Vec<(u64, Action)>,
    /// When it ends, in virtual microseconds.
    pub end_us: u64,
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{HEAD}; {}", self.options)?;
        for (at_us, action) in &self.steps {
            write!(f, "; {at_us} {action}")?;
        }
        write!(f, "; {} end", self.end_us)
    }
}

impl FromStr for Script {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = |detail: String| invalid("reading a script", detail);
        if text.len() > TEXT_BYTES_MOST {
            return Err(wrong(format!("it is longer than {TEXT_BYTES_MOST} bytes")));
        }
        let lines = text
            .lines()
            .filter(|line| !line.trim_start().starts_with('#'));
        let parts = lines.flat_map(|line| line.split(';')).map(str::trim);
        let mut parts = parts.filter(|part| !part.is_empty());
        if parts.next() != Some(HEAD) {
            return Err(wrong(format!("it does not begin with {HEAD:?}")));
        }
        let mut parts = parts.peekable();
        let options = parts.next_if(|part| part.contains('='));
        let mut script = Self {
            options: options.unwrap_or_default().parse()?,
            ..Self::default()
        };
        let mut has_ended = false;
        for part in parts {
            let split = part.split_once(' ').and_then(|(at, what)| {
                let at_us: u64 = at.parse().ok()?;
                Some((at_us, what))
            });
            let (at_us, what) = split.ok_or_else(|| wrong(format!("{part:?} has no time")))?;
            if has_ended || at_us < script.end_us {
                return Err(wrong(format!("{part:?} comes after what is later")));
            }
            script.end_us = at_us;
            match what.trim() {
                "end" => has_ended = true,
                what => script.steps.push((at_us, what.parse()?)),
            }
        }
        Ok(script)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "trilith-ring 1; nodes=7 quorum=5,3,3 seed=42 sync=everysec memtable=8192 archive=yes; \
        0 load 20 200 hot 10 16; 1 ask 2 0/0 SET user:001 a%20b; 2 ask 2 3/weak GET %; 3 kill 2; 4 kill 3 power; \
        5 restart 2; 5 pause 1; 6 resume 1; 7 wipe 4; 8 partition 1,2/3; 9 heal; 9 delay 20; 9 delay 20 3; \
        9 drop 100; 10 drop 0 2; 11 skew 2 -500; 12 add; 13 drain 6; 14 quorum 3 1 1; 15 load 0; 20 end";

    #[test]
    fn a_script_reads_back_as_it_was_written() {
        let script: Script = LINE.parse().unwrap();
        assert_eq!(script.steps.len(), 20);
        assert_eq!(script.to_string(), LINE);
        let lines = LINE.replace("; ", "\n");
        let read: Script = format!("# a remark\n{lines}\n").parse().unwrap();
        assert_eq!(read, script);
    }

    #[test]
    fn what_is_no_script_is_an_error_that_names_the_place() {
        let refused = |text: &str| text.parse::<Script>().unwrap_err().to_string();
        assert!(refused("").contains("begin"));
        assert!(refused("trilith-ring 2; seed=1").contains("begin"));
        for (text, named) in [
            ("seed=x", "seed=x"),
            ("nodes=2 quorum=3,2,2", "N is 3"),
            ("nodes=99", "99 nodes"),
            ("seed=1; 5 fly 2", "fly 2"),
            ("seed=1; 5 kill", "kill"),
            ("seed=1; 5 kill 2 power now", "kill 2 power now"),
            ("seed=1; 5 quorum 3 4 1", "quorum 3 4 1"),
            ("seed=1; 5 ask 2 0/0", "ask 2"),
            ("seed=1; 5 ask 2 0/0 %f", "%f"),
            ("seed=1; kill 2", "kill 2"),
            ("seed=1; 5 heal; 4 heal", "4 heal"),
            ("seed=1; 5 end; 6 heal", "6 heal"),
        ] {
            let said = refused(&format!("trilith-ring 1; {text}"));
            assert!(said.contains(named), "{said} does not name {named}");
        }
    }
}

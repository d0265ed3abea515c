//! What more than one subcommand can be told.

use std::str::FromStr;

use clap::ValueEnum;

/// When a write is synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Appendfsync {
    /// Before each acknowledgement
    Always,
    /// Each second
    Everysec,
    /// When the operating system sees fit
    No,
}

impl Appendfsync {
    /// As servers call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Everysec => "everysec",
            Self::No => "no",
        }
    }
}

/// N, W and R, written as `3,2,2`.
#[derive(Clone, Copy, Debug)]
pub struct Quorum {
    /// Copies of each range.
    pub n: u8,
    /// Copies that store a write before it is acknowledged.
    pub w: u8,
    /// Copies that a read hears.
    pub r: u8,
}

impl Quorum {
    pub fn new(n: u8, w: u8, r: u8) -> Self {
        Self { n, w, r }
    }

    pub fn name(self) -> String {
        format!("{} {} {}", self.n, self.w, self.r)
    }
}

impl FromStr for Quorum {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers: Result<Vec<u8>, _> = text.split(',').map(str::parse).collect();
        match numbers.as_deref() {
            Ok(&[n, w, r]) => Ok(Self::new(n, w, r)),
            _ => Err("expected three numbers, as in 3,2,2".into()),
        }
    }
}

//! Why a command was not carried out, and with which code the program ends.

use std::fmt;

use crate::server::Failure;

/// What went wrong and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Both sentences.
    pub failure: Failure,
    is_usage: bool,
}

impl Problem {
    /// It was tried and did not work.
    pub fn failed(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            failure: Failure::new(what, remedy),
            is_usage: false,
        }
    }

    /// It was not tried: the command line does not say what to do.
    pub fn usage(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            failure: Failure::new(what, remedy),
            is_usage: true,
        }
    }

    /// A failure that is known otherwise.
    pub fn of(failure: Failure) -> Self {
        Self {
            failure,
            is_usage: false,
        }
    }

    /// 1 for what failed, 2 for what was asked wrongly.
    pub fn exit_code(&self) -> u8 {
        if self.is_usage { 2 } else { 1 }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.failure.fmt(f)
    }
}

impl std::error::Error for Problem {}

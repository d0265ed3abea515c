//! One entry of a range's log.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::ids::{Index, LogId, Term};
use super::membership::Configuration;

/// What an entry is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// The beginning of a term, or a tick of the log's clock.
    Empty,
    /// A command, as its store encodes it.
    Command(Bytes),
    /// New members or quorums.
    Configuration(Configuration),
}

/// An entry of a range's log. Shared, never changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The term it was appended in.
    pub term: Term,
    /// Its place.
    pub index: Index,
    /// Its time, in milliseconds since the Unix epoch; never before that of the entry before it.
    pub time_ms: u64,
    /// Its randomness.
    pub seed: u64,
    /// What it carries.
    pub content: Content,
}

impl Entry {
    /// Its identity.
    pub fn id(&self) -> LogId {
        LogId {
            term: self.term,
            index: self.index,
        }
    }

    /// Bytes that it takes, about.
    pub fn bytes(&self) -> usize {
        let content = match &self.content {
            Content::Empty => 0,
            Content::Command(payload) => payload.len(),
            Content::Configuration(configuration) => 32 * configuration.members().len(),
        };
        content + 64
    }

    /// Whether a client waits for what it does.
    pub fn is_command(&self) -> bool {
        matches!(self.content, Content::Command(_))
    }
}

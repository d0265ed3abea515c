//! The lost-writes file: what was acknowledged, perhaps, and will not be in the log (rule 10).
//!
//! One line an entry, for people: range, index, term, time and the command's words. It only grows.

use std::fmt::Write as _;
use std::sync::Arc;

use super::RangeStore;
use crate::command::Command;
use crate::ring::entry::{Content, Entry};
use crate::ring::ids::{LogId, META, RangeId};
use crate::storage::{Durability, Reader, Writer};
use crate::{ErrorKind, Object, Result, Runtime, Storage};

/// The file's name in the archive.
pub const LOST_WRITES: &str = "lost-writes.txt";

fn object() -> Object {
    Object::Archive(LOST_WRITES.into())
}

impl<S: Storage, R: Runtime> RangeStore<S, R> {
    /// Writes entries to the lost-writes file, and syncs it. `behind` is the last entry that is not lost.
    ///
    /// # Errors
    /// Those of storage; nothing may be thrown away then.
    pub async fn write_lost(
        &self,
        range: RangeId,
        entries: &[Arc<Entry>],
        behind: LogId,
    ) -> Result<()> {
        self.with_room(|| self.try_to_write_lost(range, entries, behind))
            .await
    }

    async fn try_to_write_lost(
        &self,
        range: RangeId,
        entries: &[Arc<Entry>],
        behind: LogId,
    ) -> Result<()> {
        let _one_at_a_time = self.inner.lost.lock().await;
        let there = self.open_lost().await?;
        let mut text = String::new();
        if let Some(reader) = &there
            && !reader.is_empty()
            && *reader.read_at(reader.len() - 1, 1).await? != *b"\n"
        {
            // A crash has torn the last line.
            text.push('\n');
        }
        for entry in entries {
            write_line(&mut text, range, entry, behind);
        }
        let Some(reader) = there else {
            return self.create_lost(text.as_bytes()).await;
        };
        let writer = self.inner.storage.resume(object(), reader.len()).await?;
        match settle(writer, text.as_bytes()).await {
            // Once a sync has failed, nothing makes what is appended to that file durable.
            Err(error) if error.kind() == ErrorKind::Failed => {
                let mut bytes = read_all(&reader).await?;
                bytes.extend_from_slice(text.as_bytes());
                self.create_lost(&bytes).await
            }
            settled => settled,
        }
    }

    /// Writes the file anew, and puts it in the place of the old one once it is durable.
    async fn create_lost(&self, bytes: &[u8]) -> Result<()> {
        let storage = &self.inner.storage;
        let draft = Object::Archive(format!("{LOST_WRITES}.draft").into());
        settle(storage.create(draft.clone()).await?, bytes).await?;
        storage.replace(draft, object()).await
    }

    /// The lines of the lost-writes file.
    ///
    /// # Errors
    /// Those of storage.
    pub async fn lost(&self) -> Result<Vec<String>> {
        let Some(reader) = self.open_lost().await? else {
            return Ok(Vec::new());
        };
        let bytes = read_all(&reader).await?;
        let text = String::from_utf8_lossy(&bytes);
        Ok(text.lines().map(str::to_owned).collect())
    }

    async fn open_lost(&self) -> Result<Option<S::Reader>> {
        match self.inner.storage.open(object()).await {
            Ok(reader) => Ok(Some(reader)),
            Err(error) if error.kind() == ErrorKind::Missing => Ok(None),
            Err(error) => Err(error),
        }
    }
}

async fn settle(mut writer: impl Writer, bytes: &[u8]) -> Result<()> {
    let upto = writer.append(bytes)?;
    writer.settle(upto, Durability::Synced).await
}

async fn read_all(reader: &impl Reader) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < reader.len() {
        let len = (reader.len() - bytes.len() as u64).min(1 << 20);
        bytes.extend_from_slice(&reader.read_at(bytes.len() as u64, len as u32).await?);
    }
    Ok(bytes)
}

fn write_line(text: &mut String, range: RangeId, entry: &Entry, behind: LogId) {
    let (index, term, time_ms) = (entry.index, entry.term, entry.time_ms);
    // Writing to a string does not fail.
    let _ = write!(
        text,
        "range {range} index {index} term {term} time {time_ms} behind {behind}: "
    );
    match &entry.content {
        Content::Empty => text.push_str("(nothing)"),
        Content::Configuration(configuration) => {
            let _ = write!(text, "(members) {:?}", configuration.members());
        }
        Content::Command(payload) if range != META => {
            match payload
                .split_first()
                .map(|(_, command)| Command::decode(command))
            {
                Some(Ok(command)) => {
                    let _ = write!(text, "{command:?}");
                }
                _ => {
                    let _ = write!(text, "{:?}", payload.escape_ascii().to_string());
                }
            }
        }
        Content::Command(payload) => {
            let _ = write!(text, "\"{}\"", payload.escape_ascii());
        }
    }
    text.push('\n');
}

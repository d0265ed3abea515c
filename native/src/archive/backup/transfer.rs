//! One range, from a node to a file.

use std::io;
use std::path::Path;

use serde::Deserialize;
use trilith::archive::rdb::{EncodeOptions, Sizes, Writer};
use trilith::command::Reply;

use super::manifest::{Changed, RANGES, RangeFile};
use super::target::{cannot_write, ending};
use crate::archive::folder::Folder;
use crate::block_on;
use crate::operate::{Client, Problem, in_words};

/// Why a range could not be had.
pub enum Trouble {
    /// The node does not give it; another one may.
    Node(String),
    /// It cannot be written here.
    Here(Problem),
}

/// What a node says of a range before it gives it.
#[derive(Deserialize)]
pub struct Head {
    /// The range.
    pub range: u32,
    /// The last entry that is in it: its term.
    pub term: u64,
    /// And its index.
    pub index: u64,
    /// And its time.
    pub time_ms: u64,
    /// The last entry that changed its keys, or one behind it.
    pub changed: Changed,
    keys: u64,
    keys_with_deadline: u64,
}

impl Head {
    /// A file that holds the same keys, as the file of this state.
    pub fn of(&self, file: &RangeFile) -> RangeFile {
        RangeFile {
            term: self.term,
            index: self.index,
            time_ms: self.time_ms,
            changed: self.changed,
            ..file.clone()
        }
    }
}

fn silent(error: &io::Error) -> Trouble {
    Trouble::Node(in_words(error))
}

fn refused(reply: &Reply) -> Trouble {
    Trouble::Node(match reply {
        Reply::Error(text) if text.contains("unknown subcommand") => {
            "it is of a version that cannot be backed up".to_owned()
        }
        Reply::Error(text) => text.strip_prefix("ERR ").unwrap_or(text).to_owned(),
        _ => "what it says is not understood".to_owned(),
    })
}

/// Has a node pin a range.
pub fn open(client: &mut Client, range: u32) -> Result<Head, Trouble> {
    let range = range.to_string();
    let reply = client.ask(&["RING", "BACKUP", "OPEN", &range]);
    let reply = reply.map_err(|error| silent(&error))?;
    let head = match &reply {
        Reply::Bulk(text) => serde_json::from_slice(text).ok(),
        _ => None,
    };
    head.ok_or_else(|| refused(&reply))
}

/// Has a node let go of it.
pub fn close(client: &mut Client) -> Result<(), Trouble> {
    match client.ask(&["RING", "BACKUP", "CLOSE"]) {
        Ok(Reply::Error(text)) => Err(refused(&Reply::Error(text))),
        Ok(_) => Ok(()),
        Err(error) => Err(silent(&error)),
    }
}

/// Writes the range that was opened to a file, which is complete and synced when this returns.
pub fn write(client: &mut Client, head: &Head, folder: &Path) -> Result<RangeFile, Trouble> {
    let name = format!("{}-{}.rdb", head.range, head.index);
    let written = block_on(write_file(client, head, folder, &name))?;
    let mut file = RangeFile {
        range: head.range,
        file: name,
        term: head.term,
        index: head.index,
        time_ms: head.time_ms,
        changed: head.changed,
        keys: written.keys,
        bytes: written.bytes,
        crc64: String::new(),
    };
    let sum = ending(&file.path(folder));
    file.crc64 = sum.map_err(|error| Trouble::Here(cannot_write(folder, &error)))?;
    Ok(file)
}

async fn write_file(
    client: &mut Client,
    head: &Head,
    folder: &Path,
    name: &str,
) -> Result<trilith::archive::rdb::Written, Trouble> {
    let here = |error: trilith::Error| {
        let error = io::Error::other(error.to_string());
        Trouble::Here(cannot_write(folder, &error))
    };
    let sizes = Sizes {
        keys: head.keys,
        keys_with_deadline: head.keys_with_deadline,
    };
    let time_s = (head.time_ms / 1000).to_string();
    let at = format!("{}={}", head.range, head.index);
    let aux: [(&str, &[u8]); 3] = [
        ("ctime", time_s.as_bytes()),
        ("trilith-ver", env!("CARGO_PKG_VERSION").as_bytes()),
        ("trilith-at", at.as_bytes()),
    ];
    let storage = Folder::new(folder.join(RANGES));
    let writer = Writer::create(storage, name, EncodeOptions::default(), &aux, sizes);
    let mut writer = writer.await.map_err(here)?;
    loop {
        let reply = client.ask(&["RING", "BACKUP", "NEXT"]);
        let reply = reply.map_err(|error| silent(&error))?;
        let Reply::Array(words) = &reply else {
            return Err(refused(&reply));
        };
        if words.is_empty() {
            return writer.finish().await.map_err(here);
        }
        let (entries, rest) = words.as_chunks::<3>();
        if !rest.is_empty() {
            return Err(refused(&Reply::Null));
        }
        for entry in entries {
            let [
                Reply::Bulk(key),
                Reply::Bulk(value),
                Reply::Int(deadline_ms),
            ] = entry
            else {
                return Err(refused(&Reply::Null));
            };
            let deadline_ms = deadline_ms.unsigned_abs();
            writer.entry(key, value, deadline_ms).await.map_err(here)?;
        }
    }
}

//! The files of the AOF: appending to the last of them, beginning others, and the manifest that names them.
//!
//! A file is named in the manifest only once its beginning is synced. What is written at a time ends with the positions
//! that the file has reached, and a checksum over all of it: what lies behind the last sound one of these is cut off when
//! the file is opened again. A file is ended when it is large, so that no more than that is read when the store is
//! opened.
//!
//! Where commands do not tell everything (a *gap*), or nothing could be written for a while, the next file stays
//! *hidden*, which is to say that no manifest names it, until there is a base to go before it.

mod open;

use std::collections::BTreeMap;

use super::aof::{File, Kind, Manifest, Positions, checksum, encode, names};
use super::draft_of;
use super::feed::Batch;
use crate::storage::{Durability, Writer as _};
use crate::{Error, ErrorKind, Result, Storage};

/// A file that is this long is ended, and another one begun.
const FILE_BYTES: u64 = if cfg!(test) { 12 << 10 } else { 64 << 20 };

/// How much is appended at once.
const PIECE_BYTES: usize = 1 << 20;

/// See the [module](self).
pub(crate) struct Appender<S: Storage> {
    storage: S,
    /// As it is stored.
    manifest: Manifest,
    current: Option<Current<S::Writer>>,
    /// Up to which entry the files have everything of each range.
    at: BTreeMap<u32, u64>,
    time_s: u64,
    /// Since when something is missing that commands do not tell, unless a base has been written since.
    gap_s: Option<u64>,
    /// The same, of what a base that is being written will have.
    gap_before_s: Option<u64>,
    /// The numbers that were given last.
    last_base: u64,
    last_increment: u64,
    /// The present file goes on where the last named one ends.
    follows: bool,
    /// The file that was begun where a base is to take over.
    cut: Option<u64>,
    /// Lengths of the files that the manifest names, but for the present one's.
    sizes: BTreeMap<String, u64>,
    /// Positions on their way to the file.
    lines: Vec<u8>,
    /// A file that could not be ended yet.
    unended: Option<Unended>,
}

/// A file that is not appended to any more: its name, how far it is whole, and since when something is missing.
struct Unended {
    name: String,
    whole: u64,
    gap_s: u64,
}

/// The file that is appended to.
struct Current<W> {
    file: File,
    writer: W,
    /// The manifest does not name it yet.
    is_hidden: bool,
    bytes: u64,
    synced: u64,
    /// Where what was written last ends.
    whole: u64,
}

impl<S: Storage> Appender<S> {
    /// Whether there is a file to append to.
    pub fn is_open(&self) -> bool {
        self.current.is_some()
    }

    /// Since when something is missing that commands do not tell.
    pub fn gap_s(&self) -> Option<u64> {
        self.gap_before_s.or(self.gap_s)
    }

    /// Bytes that are read for the newest state: the base's, and all of them.
    pub fn sizes(&self) -> (u64, u64) {
        let size = |file: &File| self.sizes.get(&file.name).copied().unwrap_or(0);
        let base = self.manifest.base.as_ref().map_or(0, size);
        let increments: u64 = self.manifest.increments.iter().map(size).sum();
        let current = self.current.as_ref().map_or(0, |current| current.bytes);
        (base, base + increments + current)
    }

    /// Bytes of files that a base has replaced, and how many they are.
    pub fn history(&self) -> (u64, usize) {
        let files = &self.manifest.history;
        let bytes = files.iter().filter_map(|file| self.sizes.get(&file.name));
        (bytes.sum(), files.len())
    }

    /// The number of the file that was begun last where a base is to take over; once.
    pub fn take_cut(&mut self) -> Option<u64> {
        self.cut.take()
    }

    /// Appends a batch, and begins another file where one is due.
    ///
    /// # Errors
    /// Those of storage: then [`Self::close`] is all that may be called.
    pub async fn write(&mut self, batch: &Batch) -> Result<()> {
        let Some(current) = &mut self.current else {
            return Err(not_open());
        };
        self.at.extend(batch.at.iter().copied());
        self.time_s = self.time_s.max(batch.time_s);
        self.gap_s = self.gap_s.or(batch.gap_s);
        self.lines.clear();
        Positions::encode(&mut self.lines, batch.at.iter().copied());
        checksum::end(&mut self.lines, &batch.bytes);
        // In pieces, so that the storage need not buffer all of it.
        for piece in batch.bytes.chunks(PIECE_BYTES) {
            current.writer.append(piece)?;
        }
        current.bytes = current.writer.append(&self.lines)?;
        let settled = current.writer.settle(current.bytes, Durability::Written);
        settled.await?;
        current.whole = current.bytes;
        let (is_long, is_hidden) = (current.bytes >= FILE_BYTES, current.is_hidden);
        if batch.ends_file {
            self.next_file(self.gap_s.is_some()).await?;
            self.cut = self.current.as_ref().map(|current| current.file.seq);
        } else if is_long && !is_hidden {
            self.next_file(false).await?;
        }
        Ok(())
    }

    /// Syncs what was written.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub async fn sync(&mut self) -> Result<()> {
        let Some(current) = &mut self.current else {
            return Err(not_open());
        };
        if current.synced < current.bytes {
            let settled = current.writer.settle(current.bytes, Durability::Synced);
            settled.await?;
            current.synced = current.bytes;
        }
        Ok(())
    }

    /// Begins a file behind the present one.
    async fn next_file(&mut self, hidden: bool) -> Result<()> {
        // Only the last file may be torn.
        self.sync().await?;
        let seq = self.last_increment + 1;
        let current = self.create(seq, hidden).await?;
        if !hidden {
            let mut next = self.manifest.clone();
            next.increments.push(current.file.clone());
            self.commit(next).await?;
        }
        self.last_increment = seq;
        if let Some(before) = self.current.replace(current) {
            self.sizes.insert(before.file.name, before.bytes);
        }
        if hidden {
            self.gap_before_s = self.gap_s.take();
        }
        Ok(())
    }

    /// Begins a hidden file, from which on everything is there, for ranges that stand where `at` says.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub async fn begin(&mut self, at: BTreeMap<u32, u64>, time_s: u64) -> Result<()> {
        (self.at, self.time_s) = (at, time_s);
        (self.gap_s, self.gap_before_s) = (None, None);
        self.end_file().await;
        // Where the file before does not say that something is missing, the missing number does.
        let seq = self.last_increment + if self.follows { 1 } else { 2 };
        let seq = if self.last_increment == 0 { 1 } else { seq };
        self.current = Some(self.create(seq, true).await?);
        self.cut = Some(seq);
        Ok(())
    }

    async fn create(&mut self, seq: u64, is_hidden: bool) -> Result<Current<S::Writer>> {
        let file = File {
            time: Some(self.time_s),
            ..File::new(names::increment(seq), seq, Kind::Increment)
        };
        self.lines.clear();
        encode::timestamp(&mut self.lines, self.time_s);
        let at: Positions = self
            .at
            .iter()
            .map(|(&range, &index)| (range, index))
            .collect();
        at.encode_all(&mut self.lines);
        if let (false, Some(gap_s)) = (is_hidden, self.gap_s) {
            encode::gap(&mut self.lines, gap_s);
        }
        checksum::end(&mut self.lines, b"");
        let mut writer = self.storage.create(names::in_folder(&file.name)).await?;
        let bytes = writer.append(&self.lines)?;
        writer.settle(bytes, Durability::Synced).await?;
        Ok(Current {
            file,
            writer,
            is_hidden,
            bytes,
            synced: bytes,
            whole: bytes,
        })
    }

    /// Ends the present file, which may have failed: cuts off what is not whole, and says that from there on something
    /// is missing. A hidden one is removed.
    pub async fn close(&mut self, gap_s: u64) {
        let Some(current) = self.current.take() else {
            return;
        };
        let object = names::in_folder(&current.file.name);
        if current.is_hidden {
            drop(current);
            if let Err(error) = self.storage.remove(vec![object]).await {
                tracing::warn!(%error, "could not remove a file of the AOF that is not used");
            }
            return;
        }
        self.sizes.insert(current.file.name.clone(), current.whole);
        self.unended = Some(Unended {
            name: current.file.name,
            whole: current.whole,
            gap_s,
        });
        self.end_file().await;
    }

    /// Ends a file that is not appended to any more, if there is one.
    async fn end_file(&mut self) {
        let Some(file) = self.unended.take() else {
            return;
        };
        self.lines.clear();
        encode::gap(&mut self.lines, file.gap_s);
        checksum::end(&mut self.lines, b"");
        let object = names::in_folder(&file.name);
        let ended = async {
            let mut writer = self.storage.resume(object, file.whole).await?;
            let bytes = writer.append(&self.lines)?;
            writer.settle(bytes, Durability::Synced).await?;
            Ok::<u64, Error>(bytes)
        };
        let ended = ended.await;
        self.follows = ended.is_ok();
        match ended {
            Ok(bytes) => _ = self.sizes.insert(file.name, bytes),
            Err(error) => {
                tracing::debug!(%error, "the AOF's last file cannot be ended");
                self.unended = Some(file);
            }
        }
    }

    /// The name of the next base, and its number.
    pub fn next_base(&self) -> (String, u64) {
        let seq = self.last_base + 1;
        (names::base(seq), seq)
    }

    /// A base is complete, synced, and has its name: it takes the place of every file before `first`, which are kept
    /// as history.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub async fn install_base(
        &mut self,
        seq: u64,
        bytes: u64,
        time_s: u64,
        first: u64,
    ) -> Result<()> {
        let is_hidden = self
            .current
            .as_ref()
            .is_some_and(|current| current.is_hidden);
        if is_hidden {
            self.sync().await?;
        }
        let mut next = self.manifest.clone();
        let (before, since): (Vec<File>, Vec<File>) = std::mem::take(&mut next.increments)
            .into_iter()
            .partition(|file| file.seq < first);
        for file in next.base.take().into_iter().chain(before) {
            next.history.push(File {
                kind: Kind::History,
                until: Some(time_s),
                ..file
            });
        }
        next.increments = since;
        if let Some(current) = self.current.as_ref().filter(|_| is_hidden) {
            next.increments.push(current.file.clone());
        }
        let base = File {
            time: Some(time_s),
            incr: Some(first),
            ..File::new(names::base(seq), seq, Kind::Base)
        };
        self.sizes.insert(base.name.clone(), bytes);
        next.base = Some(base);
        self.commit(next).await?;
        self.last_base = seq;
        if let Some(current) = self.current.as_mut().filter(|_| is_hidden) {
            current.is_hidden = false;
            self.last_increment = current.file.seq;
            self.gap_before_s = None;
        }
        self.follows = true;
        self.unended = None;
        Ok(())
    }

    /// There will be no base for now: names the present file if it is hidden, and says in it that something is missing.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub async fn go_on_without_base(&mut self) -> Result<()> {
        let Some(current) = self.current.as_mut().filter(|current| current.is_hidden) else {
            return Ok(());
        };
        self.gap_s = self.gap_before_s.take().or(self.gap_s);
        let gap_s = self.gap_s.unwrap_or(self.time_s);
        self.lines.clear();
        encode::gap(&mut self.lines, gap_s);
        checksum::end(&mut self.lines, b"");
        current.bytes = current.writer.append(&self.lines)?;
        let settled = current.writer.settle(current.bytes, Durability::Synced);
        settled.await?;
        (current.whole, current.synced) = (current.bytes, current.bytes);
        let mut next = self.manifest.clone();
        next.increments.push(current.file.clone());
        let seq = current.file.seq;
        self.commit(next).await?;
        self.last_increment = seq;
        if let Some(current) = &mut self.current {
            current.is_hidden = false;
        }
        Ok(())
    }

    /// Forgets the oldest history that is older than `oldest_s` or more than `bytes_most`, and removes its files. What
    /// begins with one base goes as a whole.
    ///
    /// # Errors
    /// Those of storage; the manifest names what is there.
    pub async fn retain(&mut self, oldest_s: u64, bytes_most: u64) -> Result<()> {
        let gone = super::retain::too_much(&self.manifest.history, oldest_s, bytes_most, |file| {
            self.sizes.get(&file.name).copied().unwrap_or(0)
        });
        if gone.is_empty() {
            return Ok(());
        }
        let mut next = self.manifest.clone();
        next.history.retain(|file| !gone.contains(&file.name));
        self.commit(next).await?;
        for name in &gone {
            self.sizes.remove(name);
        }
        let objects = gone.iter().map(|name| names::in_folder(name)).collect();
        self.storage.remove(objects).await
    }

    async fn commit(&mut self, next: Manifest) -> Result<()> {
        let object = names::manifest();
        let name = format!("{}/{}", names::FOLDER, names::manifest_name(names::STEM));
        let draft = draft_of(&name);
        let mut writer = self.storage.create(draft.clone()).await?;
        let bytes = writer.append(&next.encode())?;
        writer.settle(bytes, Durability::Synced).await?;
        drop(writer);
        self.storage.replace(draft, object).await?;
        self.manifest = next;
        Ok(())
    }
}

fn not_open() -> Error {
    Error::new(ErrorKind::Closed, "writing the AOF", "no file is open")
}

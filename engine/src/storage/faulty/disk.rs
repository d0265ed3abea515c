//! What the disk holds: for each object what a process sees and what a power loss would leave.
//!
//! Two maps lead from names to files, the live one and the durable one. A file keeps one image, since
//! objects are only appended to: its durable part is a prefix, and where a cut is not durable yet, the
//! tail that would come back is kept beside it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::storage::{Durability, Object};
use crate::{Error, ErrorKind, Result};

pub(super) type FileId = u64;

#[derive(Clone, Default)]
pub(super) struct File {
    /// What a process sees.
    pub(super) live: Vec<u8>,
    /// What was appended behind it and is not written yet.
    pub(super) buffer: Vec<u8>,
    /// So much of `live` is synced.
    pub(super) synced: usize,
    /// Synced bytes that a cut has dropped from behind `synced`, until the cut is durable.
    pub(super) cut_tail: Option<Vec<u8>>,
    /// Where each append that is not synced ends.
    pub(super) appends: Vec<usize>,
    /// What those who wait at this moment have asked for.
    pub(super) wanted_written: usize,
    pub(super) wanted_synced: usize,
    /// Which writer may append.
    pub(super) writer: u64,
    /// Why a write failed: the file's writer is of no more use.
    pub(super) broken: Option<Error>,
    pub(super) unsyncable: Option<Error>,
    /// Whether the name has become durable with the file.
    pub(super) named: bool,
    /// Writers, readers and settles that have it open.
    pub(super) handles: u32,
}

#[derive(Clone)]
pub(super) struct Disk {
    pub(super) files: BTreeMap<FileId, File>,
    pub(super) live: BTreeMap<Object, FileId>,
    pub(super) durable: BTreeMap<Object, FileId>,
    /// Removed names that no commit has followed.
    pub(super) removed: BTreeSet<(Object, FileId)>,
    pub(super) meta: Option<Bytes>,
    pub(super) host_epoch: u128,
    pub(super) capacity_bytes: Option<u64>,
    pub(super) full: bool,
    pub(super) syncs: u64,
    pub(super) last_id: u64,
}

impl Default for Disk {
    fn default() -> Self {
        Self {
            files: BTreeMap::new(),
            live: BTreeMap::new(),
            durable: BTreeMap::new(),
            removed: BTreeSet::new(),
            meta: None,
            host_epoch: 1,
            capacity_bytes: None,
            full: false,
            syncs: 0,
            last_id: 0,
        }
    }
}

impl File {
    pub(super) fn appended(&self) -> usize {
        self.live.len() + self.buffer.len()
    }

    /// What a power loss leaves at worst.
    pub(super) fn durable(&self) -> Vec<u8> {
        let tail = self.cut_tail.as_deref().unwrap_or_default();
        [&self.live[..self.synced], tail].concat()
    }

    /// Why this writer has no say any more, if so.
    pub(super) fn refusal(&self, writer: u64) -> Option<Error> {
        let detail = "another writer has taken over";
        (self.writer != writer).then(|| Error::new(ErrorKind::Invalid, "appending", detail))
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> u64 {
        self.buffer.extend_from_slice(bytes);
        self.appends.push(self.appended());
        self.appended() as u64
    }

    /// Hands the file to a new writer that appends behind `cut_at`.
    fn cut(&mut self, cut_at: usize, writer: u64) {
        self.buffer.clear();
        if cut_at < self.synced {
            let mut tail = self.live[cut_at..self.synced].to_vec();
            tail.extend(self.cut_tail.take().unwrap_or_default());
            self.cut_tail = Some(tail);
            self.synced = cut_at;
        }
        self.live.truncate(cut_at);
        self.appends.retain(|&end| end <= cut_at);
        self.writer = writer;
        self.broken = None;
        self.wanted_written = 0;
        self.wanted_synced = 0;
    }

    pub(super) fn want(&mut self, upto: usize, to: Durability) {
        self.wanted_written = self.wanted_written.max(upto);
        if to == Durability::Synced {
            self.wanted_synced = self.wanted_synced.max(upto);
        }
    }

    pub(super) fn tamper(&mut self, change: impl FnOnce(&mut Vec<u8>)) {
        let all_synced = self.synced == self.live.len();
        change(&mut self.live);
        let len = self.live.len();
        self.synced = if all_synced {
            len
        } else {
            self.synced.min(len)
        };
        self.appends.retain(|&end| end <= len);
    }

    /// Wanted bytes that are not written.
    fn unwritten(&self) -> usize {
        self.wanted_written.saturating_sub(self.live.len())
    }

    fn write(&mut self, bytes: usize) {
        if bytes > 0 {
            self.live.extend(self.buffer.drain(..bytes));
            // The cut is durable before what comes behind it settles.
            self.cut_tail = None;
        }
    }
}

impl Disk {
    pub(super) fn file_named(&self, object: &Object) -> Option<&File> {
        self.files.get(self.live.get(object)?)
    }

    pub(super) fn file_named_mut(&mut self, object: &Object) -> Option<&mut File> {
        self.files.get_mut(self.live.get(object)?)
    }

    pub(super) fn objects(&self) -> Vec<(Object, u64)> {
        let len = |id| self.files[id].live.len() as u64;
        let live = self.live.iter();
        live.map(|(object, id)| (object.clone(), len(id))).collect()
    }

    pub(super) fn durable_objects(&self) -> Vec<(Object, u64)> {
        let len = |id| self.files[id].durable().len() as u64;
        let durable = self.durable.iter();
        durable
            .map(|(object, id)| (object.clone(), len(id)))
            .collect()
    }

    pub(super) fn durable_bytes_of(&self, object: &Object) -> Option<Vec<u8>> {
        Some(self.files.get(self.durable.get(object)?)?.durable())
    }

    fn used_bytes(&self) -> u64 {
        let files: u64 = self.objects().iter().map(|(_, len)| len).sum();
        files + self.meta.as_ref().map_or(0, |meta| meta.len() as u64)
    }

    /// Bytes that fit; `None` for any number.
    pub(super) fn room(&self) -> Option<u64> {
        if self.full {
            return Some(0);
        }
        let capacity_bytes = self.capacity_bytes?;
        Some(capacity_bytes.saturating_sub(self.used_bytes()))
    }

    fn need_room(&self, bytes: u64, doing: &'static str) -> Result<()> {
        match self.room() {
            Some(room) if room < bytes => Err(full(doing, room)),
            _ => Ok(()),
        }
    }

    pub(super) fn commit(&mut self, meta: Bytes) -> Result<()> {
        let before = self.meta.as_ref().map_or(0, Bytes::len);
        let more = meta.len().saturating_sub(before) as u64;
        // A full disk has no room for the copy that is to replace the old one.
        self.need_room(more.max(u64::from(self.full)), "committing the meta blob")?;
        self.meta = Some(meta);
        for (object, id) in std::mem::take(&mut self.removed) {
            if self.durable.get(&object) == Some(&id) {
                self.durable.remove(&object);
            }
        }
        self.collect();
        Ok(())
    }

    pub(super) fn create(&mut self, object: Object) -> Result<(FileId, u64)> {
        object.check_name()?;
        self.need_room(u64::from(self.full), "creating an object")?;
        let id = self.fresh_id();
        let writer = self.fresh_id();
        let file = File {
            writer,
            handles: 1,
            ..File::default()
        };
        self.files.insert(id, file);
        self.live.insert(object, id);
        self.collect();
        Ok((id, writer))
    }

    pub(super) fn resume(&mut self, object: &Object, cut_at: u64) -> Result<(FileId, u64)> {
        const DOING: &str = "resuming an object";
        let (id, len) = self.find(object, DOING)?;
        if cut_at > len {
            let detail = format!("it is {len} bytes long");
            return Err(Error::new(ErrorKind::Invalid, DOING, detail).at(cut_at));
        }
        let writer = self.fresh_id();
        let file = self.file(id);
        file.cut(cut_at as usize, writer);
        file.handles += 1;
        Ok((id, writer))
    }

    pub(super) fn open(&mut self, object: &Object) -> Result<(FileId, u64)> {
        let found = self.find(object, "opening an object")?;
        self.file(found.0).handles += 1;
        Ok(found)
    }

    fn find(&self, object: &Object, doing: &'static str) -> Result<(FileId, u64)> {
        match self.live.get(object) {
            Some(id) => Ok((*id, self.files[id].live.len() as u64)),
            None => {
                let detail = "there is no such object";
                Err(Error::new(ErrorKind::Missing, doing, detail).on(object.clone()))
            }
        }
    }

    pub(super) fn replace(&mut self, from: &Object, to: Object) -> Result<()> {
        to.check_name()?;
        let (id, _) = self.find(from, "replacing an object")?;
        self.live.remove(from);
        self.durable.remove(from);
        self.live.insert(to.clone(), id);
        self.durable.insert(to, id);
        self.file(id).named = true;
        self.collect();
        Ok(())
    }

    pub(super) fn remove(&mut self, objects: &[Object]) {
        for object in objects {
            if let Some(id) = self.live.remove(object) {
                self.removed.insert((object.clone(), id));
            }
        }
    }

    pub(super) fn copies(&self, objects: &[(Object, u64)]) -> Result<Vec<(Object, Vec<u8>)>> {
        const DOING: &str = "making a checkpoint";
        let copy = |(object, len): &(Object, u64)| {
            let (id, held) = self.find(object, DOING)?;
            if *len > held {
                let detail = format!("{len} bytes were asked for and it has {held}");
                return Err(Error::new(ErrorKind::Invalid, DOING, detail).on(object.clone()));
            }
            let bytes = self.files[&id].live[..*len as usize].to_vec();
            Ok((object.clone(), bytes))
        };
        objects.iter().map(copy).collect()
    }

    /// Becomes a checkpoint; one without meta is what a crash leaves of it.
    pub(super) fn receive(
        &mut self,
        copies: Vec<(Object, Vec<u8>)>,
        meta: Option<Bytes>,
    ) -> Result<()> {
        const DOING: &str = "making a checkpoint";
        if self.meta.is_some() || !self.live.is_empty() {
            let detail = "the place is not empty";
            return Err(Error::new(ErrorKind::Invalid, DOING, detail));
        }
        let bytes: usize = copies.iter().map(|(_, bytes)| bytes.len()).sum();
        let meta_bytes = meta.as_ref().map_or(0, Bytes::len);
        self.need_room((bytes + meta_bytes) as u64, DOING)?;
        for (object, live) in copies {
            let id = self.fresh_id();
            let synced = live.len();
            let file = File {
                live,
                synced,
                named: true,
                ..File::default()
            };
            self.files.insert(id, file);
            self.live.insert(object.clone(), id);
            self.durable.insert(object, id);
        }
        self.meta = meta;
        Ok(())
    }

    /// Writes what is wanted of a file, as far as there is room.
    pub(super) fn write(&mut self, id: FileId) -> Result<()> {
        let room = self.room();
        let file = self.file(id);
        let bytes = file.unwritten();
        if bytes == 0 {
            return Ok(());
        }
        if let Some(error) = &file.broken {
            return Err(error.clone());
        }
        if let Some(room) = room.filter(|&room| room < bytes as u64) {
            file.write(room as usize);
            let error = full("writing", room).at(file.live.len() as u64);
            file.broken = Some(error.clone());
            return Err(error);
        }
        file.write(bytes);
        Ok(())
    }

    /// Fails a write by plan: half of it is done, and the writer can do no more.
    pub(super) fn break_writer(&mut self, id: FileId, error: &Error) {
        let file = self.file(id);
        if file.broken.is_none() && file.unwritten() > 0 {
            file.write(file.unwritten() / 2);
            file.broken = Some(error.clone());
        }
    }

    /// Stops half-way through a settle, as a crash does.
    pub(super) fn settle_half(&mut self, id: FileId, to: Durability) {
        if to == Durability::Written {
            let file = self.file(id);
            if file.broken.is_none() {
                file.write(file.unwritten() / 2);
            }
            return;
        }
        // A write that fails has left what it could.
        let _ = self.write(id);
        let file = self.file(id);
        let unsynced = file.wanted_synced.min(file.live.len());
        let half = unsynced.saturating_sub(file.synced) / 2;
        if half > 0 && file.unsyncable.is_none() {
            file.synced += half;
            file.cut_tail = None;
        }
    }

    /// Syncs what is wanted of a file, and its name.
    pub(super) fn sync(&mut self, id: FileId) {
        let file = self.file(id);
        let upto = file.wanted_synced.min(file.live.len());
        let nothing_new = upto <= file.synced && file.named && file.cut_tail.is_none();
        if nothing_new {
            return;
        }
        file.synced = file.synced.max(upto);
        file.cut_tail = None;
        file.named = true;
        let synced = file.synced;
        file.appends.retain(|&end| end > synced);
        let names: Vec<Object> = self
            .live
            .iter()
            .filter(|(_, named)| **named == id)
            .map(|(object, _)| object.clone())
            .collect();
        for object in names {
            self.durable.insert(object, id);
        }
        self.syncs += 1;
        self.collect();
    }

    pub(super) fn file(&mut self, id: FileId) -> &mut File {
        self.files
            .get_mut(&id)
            .expect("a file with a name or a handle is kept")
    }

    pub(super) fn close(&mut self, id: FileId) {
        let file = self.file(id);
        file.handles = file.handles.saturating_sub(1);
        if file.handles == 0 {
            self.collect();
        }
    }

    fn fresh_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// Forgets files that nothing leads to.
    pub(super) fn collect(&mut self) {
        let named: BTreeSet<FileId> = self
            .live
            .values()
            .chain(self.durable.values())
            .chain(self.removed.iter().map(|(_, id)| id))
            .copied()
            .collect();
        self.files
            .retain(|id, file| file.handles > 0 || named.contains(id));
    }
}

fn full(doing: &'static str, room: u64) -> Error {
    Error::new(
        ErrorKind::Full,
        doing,
        format!("there is room for {room} bytes"),
    )
}

//! Opening the files of an AOF: what a manifest names, how far the last file is whole, and what a crash has left.

use std::collections::{BTreeMap, BTreeSet};

use super::{Appender, Current};
use crate::archive::DRAFT_SUFFIX;
use crate::archive::aof::{File, Item, Line, Manifest, Positions, Reader, checksum, names};
use crate::storage::Reader as _;
use crate::{Error, ErrorKind, Object, Result, Storage};

/// What a manifest is called that cannot be used.
const ASIDE: &str = "appendonly.aof.manifest.damaged";

/// What was found when the files were opened.
pub(crate) struct Found {
    /// Up to which entry they have everything of each range; `None` if nobody can go on with them.
    pub at: Option<BTreeMap<u32, u64>>,
    /// Something is missing in them.
    pub has_gap: bool,
    /// The newest second in them.
    pub time_s: u64,
}

impl<S: Storage> Appender<S> {
    /// Opens what is there, of `objects` and their lengths, to go on with it. What nobody can go on with is left as it is.
    pub async fn open(storage: S, objects: &[(Object, u64)]) -> (Self, Found) {
        let mut this = Self {
            storage,
            manifest: Manifest::default(),
            current: None,
            at: BTreeMap::new(),
            time_s: 0,
            gap_s: None,
            gap_before_s: None,
            last_base: 0,
            last_increment: 0,
            follows: false,
            cut: None,
            sizes: BTreeMap::new(),
            lines: Vec::new(),
            unended: None,
        };
        let there: BTreeMap<&str, u64> = objects.iter().filter_map(in_folder).collect();
        for name in there.keys() {
            this.note_number(name);
        }
        if there.contains_key(names::manifest_name(names::STEM).as_str()) {
            let mut opened = this.read_manifest(&there).await;
            match &opened {
                Ok(()) => opened = this.resume(&there).await,
                Err(_) => this.lay_aside().await,
            }
            if let Err(error) = opened {
                tracing::error!(%error, "the AOF cannot be gone on with: a new base is written");
            }
        }
        let found = Found {
            at: this.current.is_some().then(|| this.at.clone()),
            has_gap: this.gap_s.is_some(),
            time_s: this.time_s,
        };
        (this, found)
    }

    /// Leaves what a manifest that cannot be used may name for people to look at.
    async fn lay_aside(&mut self) {
        self.manifest = Manifest::default();
        self.sizes.clear();
        let aside = names::in_folder(ASIDE);
        if let Err(error) = self.storage.replace(names::manifest(), aside).await {
            tracing::warn!(%error, "could not lay the AOF's manifest aside");
        }
    }

    fn note_number(&mut self, name: &str) {
        if let Some((seq, is_base)) = number_of(name) {
            let last = match is_base {
                true => &mut self.last_base,
                false => &mut self.last_increment,
            };
            *last = seq.max(*last);
        }
    }

    async fn read_manifest(&mut self, there: &BTreeMap<&str, u64>) -> Result<()> {
        let reader = self.storage.open(names::manifest()).await?;
        let len = u32::try_from(reader.len())
            .map_err(|_| Error::corrupt("opening the AOF", "its manifest is too long"))?;
        let text = match len {
            0 => bytes::Bytes::new(),
            len => reader.read_at(0, len).await?,
        };
        let manifest = Manifest::decode(&text).map_err(|error| error.on(names::manifest()))?;
        for file in manifest.base.iter().chain(&manifest.increments) {
            if !there.contains_key(file.name.as_str()) {
                let detail = "the manifest of the AOF names it, and it is missing";
                return Err(Error::new(ErrorKind::Missing, "opening the AOF", detail)
                    .on(names::in_folder(&file.name)));
            }
        }
        let numbers = |files: &[&File]| files.iter().map(|file| file.seq).max().unwrap_or(0);
        let all: Vec<&File> = manifest.files().collect();
        let (bases, others): (Vec<&File>, Vec<&File>) = all.iter().partition(|file| file.is_base());
        let last = (numbers(&bases), numbers(&others));
        for file in all {
            let bytes = there.get(file.name.as_str()).copied().unwrap_or(0);
            self.sizes.insert(file.name.clone(), bytes);
        }
        self.manifest = manifest;
        self.remove_unnamed(there, last).await?;
        // They are gone, so their numbers may be given again.
        (self.last_base, self.last_increment) = last;
        Ok(())
    }

    /// Removes what a crash has left of work that was under way.
    async fn remove_unnamed(&self, there: &BTreeMap<&str, u64>, last: (u64, u64)) -> Result<()> {
        let named: BTreeSet<&str> = self
            .manifest
            .files()
            .map(|file| file.name.as_str())
            .collect();
        let is_aside = there.contains_key(ASIDE);
        let is_left = |name: &str| match number_of(name) {
            Some((seq, is_base)) => {
                let last = if is_base { last.0 } else { last.1 };
                // What has a lower number may be named by a manifest that was laid aside.
                !named.contains(name) && (seq > last || !is_aside)
            }
            None => name.ends_with(DRAFT_SUFFIX),
        };
        let left = there.keys().filter(|name| is_left(name));
        let left: Vec<Object> = left.map(|name| names::in_folder(name)).collect();
        if left.is_empty() {
            return Ok(());
        }
        self.storage.remove(left).await
    }

    /// Finds out how far the last file is whole, and goes on behind that.
    async fn resume(&mut self, there: &BTreeMap<&str, u64>) -> Result<()> {
        let Some(file) = self.manifest.increments.last().cloned() else {
            return Ok(());
        };
        let object = names::in_folder(&file.name);
        let bytes = self.storage.open(object.clone()).await?;
        let mut reader = Reader::new(bytes.clone(), object.clone());
        let mut whole = 0;
        let mut seen = Seen::default();
        let mut found = None;
        loop {
            match reader.next().await {
                Ok(Some(Item::Annotation { offset, text, line })) => match line {
                    Line::Timestamp(second) => seen.time_s = seen.time_s.max(second),
                    Line::Gap(second) => seen.gap_s = seen.gap_s.or(Some(second)),
                    Line::Positions => _ = seen.at.read(&text),
                    Line::Other | Line::Damaged => {
                        let Some(sum) = checksum::of_line(&text) else {
                            continue;
                        };
                        if sum != checksum::of_bytes(&bytes, whole, offset).await? {
                            break;
                        }
                        whole = reader.offset();
                        found = Some(seen.clone());
                    }
                },
                Ok(Some(Item::Command(_))) => {}
                // What follows may be what a power loss has made of it.
                Err(error) if error.kind() == ErrorKind::Corrupt => break,
                Err(error) => return Err(error),
                Ok(None) => break,
            }
        }
        let Some(found) = found else {
            tracing::warn!(%object, "the AOF is not one of this store's; a new base is written");
            return Ok(());
        };
        let len = there.get(file.name.as_str()).copied().unwrap_or(whole);
        if len > whole {
            tracing::warn!(%object, offset = whole, bytes = len - whole, "the torn tail of the AOF is cut off");
        }
        let writer = self.storage.resume(object, whole).await?;
        self.at = found.at.iter().collect();
        self.time_s = found.time_s.max(file.time.unwrap_or(0));
        self.gap_s = found.gap_s;
        self.sizes.remove(&file.name);
        self.follows = true;
        self.current = Some(Current {
            file,
            writer,
            is_hidden: false,
            bytes: whole,
            synced: 0,
            whole,
        });
        Ok(())
    }
}

/// What has been read of a file.
#[derive(Clone, Default)]
struct Seen {
    at: Positions,
    time_s: u64,
    gap_s: Option<u64>,
}

/// The name of a file in the folder of the AOF, and its length.
fn in_folder((object, bytes): &(Object, u64)) -> Option<(&str, u64)> {
    let Object::Archive(name) = object else {
        return None;
    };
    let (folder, name) = name.split_once('/')?;
    (folder == names::FOLDER).then_some((name, *bytes))
}

/// The number of a file of ours, and whether it is a base.
fn number_of(name: &str) -> Option<(u64, bool)> {
    let rest = name.strip_prefix(names::STEM)?.strip_prefix('.')?;
    let (seq, kind) = rest.split_once('.')?;
    let seq = seq.parse().ok()?;
    match kind {
        "base.rdb" => Some((seq, true)),
        "incr.aof" => Some((seq, false)),
        _ => None,
    }
}

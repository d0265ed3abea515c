//! The newest state that a node's archive has, of whatever is sound in it.
//!
//! In the best case that is the newest base and the append-only files since. Where one of them is damaged, other files
//! may have the same: an older base that is kept for going back in time and the files since, or the snapshot and the
//! files since. Otherwise it is what leads up to the damage, or the snapshot alone, whichever is newer. Everything is
//! read and checked before anything is loaded: what is loaded is a state that the node has had, as a whole.

mod choose;
mod sound;

use std::collections::BTreeMap;

use super::load::{Loader, Options, begins_with_rdb};
use super::log::Log;
use super::report::{Progress, Report};
use super::sink::Sink;
use super::survey::{SnapshotFound, look_at_rdb};
use crate::archive::DUMP;
use crate::archive::aof::{File, names};
use crate::storage::{Object, Reader as _};
use crate::{Error, ErrorKind, MaybeSend, Result, Storage};

use choose::Choice;
use sound::{Sound, Stop};

/// Something in the archive that is not loaded, and why.
#[derive(Clone, Debug)]
pub struct PassedOver {
    /// The file.
    pub object: Object,
    /// From where on; nothing for the whole file.
    pub offset: Option<u64>,
    /// Why.
    pub why: String,
}

/// What was found in a file.
#[derive(Clone, Debug)]
struct Looked {
    object: Object,
    bytes: u64,
    /// A snapshot that is sound, which the file is or begins with.
    snapshot: Option<SnapshotFound>,
    /// Commands.
    commands: Option<Sound>,
}

impl Looked {
    /// Where its commands begin.
    fn start(&self) -> u64 {
        let whole = self
            .snapshot
            .as_ref()
            .and_then(|found| found.whole.as_ref());
        whole.map_or(0, |whole| whole.end)
    }

    /// Why it is not loaded to its end, and from where on.
    fn stopped(&self) -> Option<PassedOver> {
        let commands = self.commands.as_ref()?;
        let why = match commands.stop.as_ref()? {
            Stop::Torn(tear) => {
                let bytes = self.bytes.saturating_sub(commands.upto);
                format!("it {}: {bytes} bytes are left out", tear.name())
            }
            Stop::Damaged(error) => error.to_string(),
            Stop::Gap(second) => {
                format!("something changed in second {second} that commands do not tell")
            }
        };
        Some(PassedOver {
            object: self.object.clone(),
            offset: Some(commands.upto),
            why,
        })
    }
}

/// An archive that was looked at, and what is to be loaded of it. Only read.
#[derive(Clone, Debug)]
pub struct Recovery<S> {
    storage: S,
    choice: Choice,
    passed_over: Vec<PassedOver>,
}

impl<S: Storage> Recovery<S> {
    /// Looks at the append-only files and at the snapshot, every byte of them. `None` if there is neither.
    ///
    /// # Errors
    /// `Corrupt` if there is something, and no state can be made of it; it says of each file why. Those of storage.
    pub async fn look(
        storage: S,
        progress: impl FnMut(Progress) + MaybeSend,
    ) -> Result<Option<Self>> {
        let mut looking = Looking {
            storage: &storage,
            progress,
            told: Progress::default(),
            before: 0,
            passed_over: Vec::new(),
        };
        let log = match Log::open(storage.clone(), names::manifest()).await {
            Ok(log) => Some(log),
            Err(error) => {
                looking.note(names::manifest(), error)?;
                None
            }
        };
        let dump = Object::Archive(DUMP.into());
        looking.measure(log.as_ref(), &dump).await?;
        let mut files = BTreeMap::new();
        for file in log.iter().flat_map(|log| log.manifest().files()) {
            let object = names::in_folder(&file.name);
            if let Some(looked) = looking.file(object, Some(file)).await? {
                files.insert(file.name.clone(), looked);
            }
        }
        let dump = looking.file(dump, None).await?;
        let mut passed_over = looking.passed_over;
        let manifest = log.as_ref().map(Log::manifest);
        let Some(mut choice) = choose::choose(manifest, &files, dump.as_ref()) else {
            return match passed_over.is_empty() {
                true => Ok(None),
                false => Err(hopeless(&passed_over)),
            };
        };
        passed_over.extend(choice.steps.iter().filter_map(Looked::stopped));
        passed_over.append(&mut choice.left);
        Ok(Some(Self {
            storage,
            choice,
            passed_over,
        }))
    }

    /// The last second of which something is loaded; `None` if the files do not say.
    pub fn until(&self) -> Option<u64> {
        self.choice.until
    }

    /// Whether it is all that the archive was ever told, but for a torn tail.
    pub fn is_whole(&self) -> bool {
        self.choice.is_whole
    }

    /// The files that are loaded, in order.
    pub fn files(&self) -> impl Iterator<Item = &Object> {
        self.choice.steps.iter().map(|step| &step.object)
    }

    /// What there is that is not loaded: damaged files, and what is behind a damage, a gap or a torn tail.
    pub fn passed_over(&self) -> &[PassedOver] {
        &self.passed_over
    }

    /// Loads it.
    ///
    /// # Errors
    /// `Invalid` for what is not held here, unless it is passed over; those of storage and of the sink. The sink then
    /// holds a part.
    pub async fn load<K: Sink>(
        &self,
        options: Options,
        sink: &mut K,
        progress: impl FnMut(Progress) + MaybeSend,
    ) -> Result<Report> {
        if options.to.is_some() {
            let detail = "what is recovered is the newest state, not that of a second";
            return Err(Error::new(ErrorKind::Invalid, "recovering", detail));
        }
        let steps = &self.choice.steps;
        let of_bytes = steps.iter().map(|step| step.bytes).sum();
        let mut loader = Loader::new(options, sink, of_bytes, progress);
        let mut commands = steps.iter().filter_map(|step| step.commands.as_ref());
        // The commands of others may depend on what is there.
        loader.interpreter.holds_back = commands.any(|commands| commands.at.is_none());
        for step in steps {
            let reader = self.storage.open(step.object.clone()).await?;
            if step.snapshot.is_some() {
                loader.rdb(reader.clone(), step.object.clone()).await?;
            }
            if let Some(commands) = &step.commands {
                let (object, start) = (step.object.clone(), step.start());
                loader.aof(reader, object, start, &commands.scan()).await?;
            }
        }
        loader.finish().await
    }
}

/// Reads files, and takes note of those that are no use.
struct Looking<'a, S, P> {
    storage: &'a S,
    progress: P,
    told: Progress,
    /// Bytes of files that are done.
    before: u64,
    passed_over: Vec<PassedOver>,
}

impl<S: Storage, P: FnMut(Progress) + MaybeSend> Looking<'_, S, P> {
    /// Finds out how much there is to be read.
    async fn measure(&mut self, log: Option<&Log<S>>, dump: &Object) -> Result<()> {
        let files = log.iter().flat_map(|log| log.manifest().files());
        let files = files.map(|file| names::in_folder(&file.name));
        for object in files.chain([dump.clone()]) {
            if let Ok(reader) = self.storage.open(object).await {
                self.told.of_bytes += reader.len();
            }
        }
        Ok(())
    }

    /// Takes note of a file that is no use. One that is not there and that nobody names is none at all.
    fn note(&mut self, object: Object, error: Error) -> Result<()> {
        match error.kind() {
            ErrorKind::Missing => Ok(()),
            ErrorKind::Corrupt | ErrorKind::Newer | ErrorKind::Invalid => {
                self.passed_over.push(PassedOver {
                    object,
                    offset: None,
                    why: error.to_string(),
                });
                Ok(())
            }
            _ => Err(error),
        }
    }

    /// Looks at a file: one that the manifest names, or the snapshot.
    async fn file(&mut self, object: Object, file: Option<&File>) -> Result<Option<Looked>> {
        let reader = match self.storage.open(object.clone()).await {
            Ok(reader) => reader,
            Err(error) if error.kind() == ErrorKind::Missing && file.is_some() => {
                self.passed_over.push(PassedOver {
                    object,
                    offset: None,
                    why: "the manifest names it, and it is missing".to_owned(),
                });
                return Ok(None);
            }
            Err(error) => {
                self.note(object, error)?;
                return Ok(None);
            }
        };
        let bytes = reader.len();
        let is_rdb = file.is_none_or(File::is_rdb);
        let looked = self.contents(reader, object.clone(), is_rdb).await;
        self.before += bytes;
        self.told.bytes = self.before;
        (self.progress)(self.told);
        match looked {
            Ok(looked) => Ok(Some(looked)),
            Err(error) => {
                self.note(object, error)?;
                Ok(None)
            }
        }
    }

    async fn contents(
        &mut self,
        reader: S::Reader,
        object: Object,
        is_rdb: bool,
    ) -> Result<Looked> {
        let mut looked = Looked {
            object: object.clone(),
            bytes: reader.len(),
            snapshot: None,
            commands: None,
        };
        if is_rdb || begins_with_rdb(&reader).await? {
            looked.snapshot = Some(look_at_rdb(reader.clone(), object.clone(), true).await?);
        }
        if !is_rdb {
            let tell = |offset| {
                self.told.bytes = self.before + offset;
                (self.progress)(self.told);
            };
            looked.commands = Some(sound::look(reader, object, looked.start(), tell).await?);
        }
        Ok(looked)
    }
}

/// There are files, and none is any use.
fn hopeless(passed_over: &[PassedOver]) -> Error {
    let each = passed_over.iter();
    let each: Vec<String> = each
        .map(|passed| format!("{}: {}", passed.object, passed.why))
        .collect();
    Error::corrupt("recovering from the archive", each.join("; "))
}

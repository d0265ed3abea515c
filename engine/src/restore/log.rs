//! A folder of append-only files: what is there, and loading it.

use super::load::{Loader, Options};
use super::report::{Progress, Report};
use super::sink::Sink;
use super::survey::{Found, Survey, Surveyed, look};
use crate::archive::aof::{Chain, Covered, File, Manifest};
use crate::storage::{Object, Reader as _};
use crate::{Error, ErrorKind, MaybeSend, Result, Storage};

const DOING: &str = "restoring from the append-only files";
/// No manifest is longer.
const MANIFEST_BYTES_MAX: u64 = 16 << 20;

/// How closely a log is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// What the newest state is loaded from.
    Newest,
    /// What was replaced, too; of snapshots only the beginning.
    Times,
    /// Everything.
    Whole,
}

/// Append-only files and their manifest. Only read.
#[derive(Clone, Debug)]
pub struct Log<S> {
    storage: S,
    /// What comes before a file's name.
    folder: String,
    manifest: Manifest,
}

impl<S: Storage> Log<S> {
    /// Reads the manifest, which lies in the folder of the files.
    ///
    /// # Errors
    /// `Corrupt`; those of storage.
    pub async fn open(storage: S, manifest: Object) -> Result<Self> {
        let reader = storage.open(manifest.clone()).await?;
        let bytes = reader.len();
        if bytes > MANIFEST_BYTES_MAX {
            let detail = format!("{bytes} bytes are no manifest");
            return Err(Error::corrupt("reading the manifest", detail).on(manifest));
        }
        let text = reader.read_at(0, bytes as u32).await?;
        let folder = match &manifest {
            Object::Archive(name) => name.rsplit_once('/').map_or("", |(folder, _)| folder),
            _ => "",
        };
        let folder = match folder {
            "" => String::new(),
            folder => format!("{folder}/"),
        };
        let decoded = Manifest::decode(&text).map_err(|error| error.on(manifest.clone()))?;
        Ok(Self {
            storage,
            folder,
            manifest: decoded,
        })
    }

    /// Which files there are.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// A file as an object.
    pub fn object(&self, file: &File) -> Object {
        Object::Archive(format!("{}{}", self.folder, file.name).into())
    }

    /// Looks at the files, for the state of a second or the newest. What is wrong with one is told with it.
    ///
    /// # Errors
    /// `Missing` where the manifest does not name what it should.
    pub async fn survey(
        &self,
        depth: Depth,
        until: Option<u64>,
        mut progress: impl FnMut(Progress) + MaybeSend,
    ) -> Result<Survey> {
        let chains = match depth {
            Depth::Newest => self.manifest.chains()?.into_iter().take(1).collect(),
            Depth::Times | Depth::Whole => self.manifest.chains()?,
        };
        let mut survey = Survey {
            files: Vec::new(),
            chains,
            until,
        };
        let newest: Vec<&File> = survey
            .chains
            .iter()
            .take(1)
            .flat_map(Chain::files)
            .collect();
        let is_wanted = |file: &&File| depth != Depth::Newest || newest.contains(file);
        let files: Vec<File> = self.manifest.files().filter(is_wanted).cloned().collect();
        let mut readers = Vec::new();
        for file in &files {
            readers.push(self.storage.open(self.object(file)).await);
        }
        let length = |reader: &Result<S::Reader>| reader.as_ref().map_or(0, |reader| reader.len());
        let mut told = Progress {
            of_bytes: readers.iter().map(length).sum(),
            ..Progress::default()
        };
        let mut before = 0;
        for (file, reader) in files.into_iter().zip(readers) {
            let bytes = length(&reader);
            let found: Result<Found> = match reader {
                Err(error) => Err(error),
                Ok(reader) => {
                    let object = self.object(&file);
                    let tell = |offset| {
                        told.bytes = before + offset;
                        progress(told);
                    };
                    look(
                        reader,
                        object,
                        file.is_rdb(),
                        until,
                        depth == Depth::Whole,
                        tell,
                    )
                    .await
                }
            };
            before += bytes;
            told.bytes = before;
            progress(told);
            survey.files.push(Surveyed { file, bytes, found });
        }
        Ok(survey)
    }

    /// Loads the state that `survey` was made for.
    ///
    /// # Errors
    /// `Invalid` for a second that is not covered, and for what is not held here, unless it is passed over; `Corrupt`;
    /// those of storage and of the sink. The sink then holds a part.
    pub async fn load<K: Sink>(
        &self,
        survey: &Survey,
        options: Options,
        sink: &mut K,
        progress: impl FnMut(Progress) + MaybeSend,
    ) -> Result<Report> {
        if options.to != survey.until {
            let detail = "the survey was made for another second";
            return Err(Error::new(ErrorKind::Invalid, DOING, detail));
        }
        let Some(chain) = survey.chain(options.to) else {
            return Err(not_covered(options.to, &survey.covered()));
        };
        self.load_chain(survey, chain, options, sink, progress)
            .await
    }

    /// Loads a chain whose files were surveyed: one without its base goes on from what the sink holds.
    ///
    /// # Errors
    /// As [`Log::load`].
    pub async fn load_chain<K: Sink>(
        &self,
        survey: &Survey,
        chain: &Chain,
        options: Options,
        sink: &mut K,
        progress: impl FnMut(Progress) + MaybeSend,
    ) -> Result<Report> {
        if let Some(error) = survey.fault(chain, DOING) {
            return Err(error);
        }
        let of_bytes = chain.files().filter_map(|file| survey.of(&file.name));
        let of_bytes = of_bytes.map(|surveyed| surveyed.bytes).sum();
        let mut loader = Loader::new(options, sink, of_bytes, progress);
        loader.report.covered = survey.covered();
        loader.interpreter.holds_back = chain.increments.iter().any(|file| !is_ours(survey, file));
        for file in chain.files() {
            let object = self.object(file);
            let reader = self.storage.open(object.clone()).await?;
            let mut start = 0;
            let found = survey.of(&file.name).map(|surveyed| &surveyed.found);
            let Some(Ok(found)) = found else {
                let detail = format!("{object} was not looked at");
                return Err(Error::new(ErrorKind::Invalid, DOING, detail));
            };
            if found.snapshot.is_some() {
                start = loader.rdb(reader.clone(), object.clone()).await?;
            }
            let Some(scan) = &found.commands else {
                continue;
            };
            let end = scan.end();
            if let Some(gap) = scan.gaps.iter().find(|gap| gap.offset < end) {
                let why = format!(
                    "from second {} on it is incomplete, until there is a new base; covered is {}",
                    gap.seconds,
                    listed(&survey.covered())
                );
                return Err(Error::new(ErrorKind::Invalid, DOING, why)
                    .on(object)
                    .at(gap.offset));
            }
            loader.aof(reader, object, start, scan).await?;
            if scan.cut.is_some() {
                break;
            }
        }
        loader.finish().await
    }
}

/// Whether a file is our own: its commands do not depend on what is there.
fn is_ours(survey: &Survey, file: &File) -> bool {
    let Some(Ok(found)) = survey.of(&file.name).map(|surveyed| &surveyed.found) else {
        return false;
    };
    let scan = found.commands.as_ref();
    scan.is_some_and(|scan| scan.positions.is_complete())
}

fn not_covered(to: Option<u64>, covered: &[Covered]) -> Error {
    let detail = match to {
        Some(to) => format!("second {to} is not covered; covered is {}", listed(covered)),
        None => "there is nothing to restore from".to_owned(),
    };
    Error::new(ErrorKind::Invalid, DOING, detail)
}

fn listed(covered: &[Covered]) -> String {
    if covered.is_empty() {
        return "nothing".to_owned();
    }
    let each = covered.iter();
    let each: Vec<String> = each
        .map(|covered| format!("{} to {}", covered.from, covered.to))
        .collect();
    each.join(" and ")
}

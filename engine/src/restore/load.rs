//! Loading single files into a sink.

use bytes::Bytes;

use super::interpret::Interpreter;
use super::report::{FileReport, Loaded, Progress, Report, Torn};
use super::sink::Sink;
use crate::archive::aof::{Item, Line, Reader, Scan, Scanner};
use crate::archive::rdb;
use crate::storage::{self, Object};
use crate::{MaybeSend, Result};

/// How often progress is told: after so many keys or commands.
const TELL_EVERY: u64 = 4096;
/// What an RDB file begins with.
const RDB_MAGIC: &[u8] = b"REDIS";

/// How files are loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Whether what Trilith does not hold is counted and passed over. Otherwise it is an error that names it.
    pub skip_unsupported: bool,
    /// The second whose state is wanted; `None` for the newest.
    pub to: Option<u64>,
    /// The time by the host's clock, in milliseconds: keys whose deadline is not later have expired.
    pub now_ms: u64,
}

/// Loads a snapshot.
///
/// # Errors
/// `Invalid` for what is not held here, unless it is passed over; `Corrupt`; those of storage and of the sink.
pub async fn load_rdb<R: storage::Reader, K: Sink>(
    reader: R,
    object: Object,
    options: Options,
    sink: &mut K,
    progress: impl FnMut(Progress) + MaybeSend,
) -> Result<Report> {
    let mut loader = Loader::new(options, sink, reader.len(), progress);
    loader.rdb(reader, object).await?;
    loader.finish().await
}

/// Loads a file of commands, which may begin with a snapshot, as those of Redis before version 7 do. A torn tail is
/// reported and not loaded.
///
/// # Errors
/// As [`load_rdb`].
pub async fn load_aof<R: storage::Reader, K: Sink>(
    reader: R,
    object: Object,
    options: Options,
    sink: &mut K,
    progress: impl FnMut(Progress) + MaybeSend,
) -> Result<Report> {
    let mut loader = Loader::new(options, sink, 2 * reader.len(), progress);
    let mut start = 0;
    loader.interpreter.holds_back = true;
    if begins_with_rdb(&reader).await? {
        start = loader.rdb(reader.clone(), object.clone()).await?;
    }
    let scanned = Reader::new(reader.clone(), object.clone()).from(start);
    let scan = Scanner::new(scanned).until(options.to).run(|_| {}).await?;
    loader.interpreter.holds_back = !scan.positions.is_complete();
    loader.aof(reader, object, start, &scan).await?;
    loader.finish().await
}

/// Whether a file of commands begins with a snapshot.
pub(super) async fn begins_with_rdb<R: storage::Reader>(reader: &R) -> Result<bool> {
    let bytes = reader.len().min(RDB_MAGIC.len() as u64) as u32;
    Ok(reader.read_at(0, bytes).await? == RDB_MAGIC)
}

/// Loads files one after the other.
pub(super) struct Loader<'a, K, P> {
    pub(super) interpreter: Interpreter<'a, K>,
    progress: P,
    told: Progress,
    /// Bytes of files that are done.
    before: u64,
    pub(super) report: Report,
}

impl<'a, K: Sink, P: FnMut(Progress) + MaybeSend> Loader<'a, K, P> {
    pub(super) fn new(options: Options, sink: &'a mut K, of_bytes: u64, progress: P) -> Self {
        Self {
            interpreter: Interpreter::new(sink, options.skip_unsupported, options.now_ms),
            progress,
            told: Progress {
                of_bytes,
                ..Progress::default()
            },
            before: 0,
            report: Report::default(),
        }
    }

    /// Counts something that was read, up to this offset.
    fn count(&mut self, offset: u64) {
        self.told.items += 1;
        if self.told.items.is_multiple_of(TELL_EVERY) {
            self.told.bytes = self.before + offset;
            (self.progress)(self.told);
        }
    }

    /// Loads a snapshot; tells where it ends.
    pub(super) async fn rdb<R: storage::Reader>(
        &mut self,
        reader: R,
        object: Object,
    ) -> Result<u64> {
        self.interpreter.begin(object.clone());
        let (bytes, first) = (reader.len(), self.told.items);
        let mut rdb = rdb::Reader::open(reader, object.clone()).await?;
        let mut seconds = None;
        loop {
            let at = rdb.offset();
            let Some(item) = rdb.next().await? else { break };
            match item {
                rdb::Item::Aux { name, value } => {
                    if name == b"ctime" {
                        seconds = std::str::from_utf8(value)
                            .ok()
                            .and_then(|text| text.parse().ok());
                    }
                }
                rdb::Item::Entry {
                    offset,
                    database,
                    key,
                    value,
                    deadline_ms,
                } => {
                    let (key, value) = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
                    self.interpreter
                        .entry(offset, database, key, value, deadline_ms)
                        .await?;
                    self.count(at);
                }
                rdb::Item::Unsupported {
                    offset, key, kind, ..
                } => {
                    let why = format!("key {}", String::from_utf8_lossy(key).escape_debug());
                    let what = format!("type {kind}");
                    self.interpreter.unsupported(offset, &what, &why)?;
                }
                // They are no keys.
                rdb::Item::Functions { .. } => self.interpreter.pass_over("library of functions"),
                rdb::Item::Module { name, .. } => {
                    let what = format!("data of module {}", String::from_utf8_lossy(&name));
                    self.interpreter.pass_over(&what);
                }
                rdb::Item::Select(_) | rdb::Item::Sizes(_) => {}
            }
        }
        let (end, checked) = rdb
            .ending()
            .map_or((bytes, false), |end| (end.offset, end.checked));
        self.interpreter.flush().await?;
        self.done(end, seconds);
        self.report.files.push(FileReport {
            object,
            loaded: Loaded::Rdb { checked },
            bytes,
            items: self.told.items - first,
            times: seconds.map(|seconds| (seconds, seconds)),
            skipped: std::mem::take(&mut self.interpreter.skipped),
            torn: None,
            cut: None,
        });
        Ok(end)
    }

    /// Loads commands from `start` on, as far as they are whole and wanted.
    pub(super) async fn aof<R: storage::Reader>(
        &mut self,
        reader: R,
        object: Object,
        start: u64,
        scan: &Scan,
    ) -> Result<()> {
        self.interpreter.begin(object.clone());
        let (bytes, first) = (reader.len(), self.told.items);
        let end = scan.end();
        let mut commands = Reader::new(reader, object.clone()).from(start).upto(end);
        let mut times: Option<(u64, u64)> = None;
        while let Some(item) = commands.next().await? {
            match item {
                Item::Command(command) => {
                    let offset = command.offset;
                    self.interpreter.command(command).await?;
                    self.count(offset);
                }
                Item::Annotation {
                    line: Line::Timestamp(seconds),
                    ..
                } => {
                    let (earliest, latest) = times.unwrap_or((seconds, seconds));
                    times = Some((earliest.min(seconds), latest.max(seconds)));
                    self.interpreter.seconds = Some(seconds);
                }
                Item::Annotation { .. } => {}
            }
        }
        self.interpreter.flush().await?;
        self.done(end, times.map(|(_, latest)| latest));
        let torn = scan.tear.filter(|_| scan.cut.is_none());
        self.report.files.push(FileReport {
            object,
            loaded: Loaded::Aof,
            bytes,
            items: self.told.items - first,
            times,
            skipped: std::mem::take(&mut self.interpreter.skipped),
            torn: torn.map(|tear| Torn {
                offset: scan.whole,
                bytes: bytes - scan.whole,
                tear,
            }),
            cut: scan.cut,
        });
        Ok(())
    }

    fn done(&mut self, bytes: u64, seconds: Option<u64>) {
        self.before += bytes;
        self.told.bytes = self.before;
        (self.progress)(self.told);
        self.report.last = self.report.last.max(seconds);
    }

    /// All has been read.
    pub(super) async fn finish(mut self) -> Result<Report> {
        self.interpreter.finish(&mut self.report).await?;
        self.told.bytes = self.told.of_bytes;
        (self.progress)(self.told);
        Ok(self.report)
    }
}

//! `trilith check-archive`.

use serde_json::{Value, json};
use trilith::archive::aof::Scan;
use trilith::restore::{Depth, Found, Log, Mended, Survey, inspect, mend};
use trilith::{Object, Reader as _, Result, Storage};

use super::args::CheckArchiveArgs;
use super::backup;
use super::folder::Folder;
use super::progress::Bar;
use super::restore::failed;
use super::show;
use super::source::Source;
use crate::block_on;
use crate::operate::table::{Cell, Paint, Table, Tone, plain};
use crate::operate::{Problem, put_out};
use crate::server::human;

/// What was found in one file.
struct Checked {
    name: String,
    kind: &'static str,
    bytes: u64,
    found: Result<Found>,
    /// Whether it is the newest, whose tail may be torn.
    is_newest: bool,
    mended: Option<Mended>,
}

/// What was found in one place.
struct Place {
    source: Source,
    files: Vec<Checked>,
    survey: Option<Survey>,
}

/// Does what the command line asks for, and prints what was found.
///
/// # Errors
/// What is wrong with the files, or why they cannot be read.
pub fn check(args: &CheckArchiveArgs) -> Result<(), Problem> {
    let sources = Source::all(&args.path)?;
    if sources.is_empty() {
        // It says what could have been named.
        Source::find(&args.path)?;
    }
    if let [Source::Backup(folder)] = &sources[..] {
        return backup::check(folder, args.json);
    }
    let mut places = Vec::new();
    for source in sources {
        places.push(block_on(look(source, args.mend))?);
    }
    put_out(match args.json {
        true => places.iter().map(place_json).collect::<Value>().to_string(),
        false => places.iter().map(place_text).collect::<Vec<_>>().join("\n"),
    })?;
    let all = || places.iter().flat_map(|place| &place.files);
    let damaged = all().filter(|file| file.is_damaged()).count();
    let torn = all().filter(|file| file.is_torn()).count();
    match (damaged, torn) {
        (0, 0) => Ok(()),
        (0, _) => Err(Problem::failed(
            "The newest file has a torn tail, as a crash leaves it.",
            format!(
                "It does no harm: it is left out when the file is loaded. To cut it off: trilith check-archive --mend {}",
                args.path.display()
            ),
        )),
        _ => Err(Problem::failed(
            format!("{damaged} files are damaged."),
            "Restore a time before the damage with trilith restore --to, or from another copy",
        )),
    }
}

async fn look(source: Source, mends: bool) -> Result<Place, Problem> {
    let (folder, object) = source.open()?;
    let (mut files, mut survey) = (Vec::new(), None);
    let bar = Bar::new("Reading");
    if let Source::Log(_) = source {
        let fail = |error| failed(&source, &error);
        let log = Log::open(folder.clone(), object).await.map_err(fail)?;
        let found = log
            .survey(Depth::Whole, None, |progress| bar.show(progress))
            .await;
        let found = found.map_err(fail)?;
        let newest = log.manifest().increments.last();
        for surveyed in &found.files {
            files.push(Checked {
                name: surveyed.file.name.clone(),
                kind: match surveyed.file.kind {
                    trilith::archive::aof::Kind::Base => "base",
                    trilith::archive::aof::Kind::Increment => "incremental",
                    trilith::archive::aof::Kind::History => "replaced",
                },
                bytes: surveyed.bytes,
                found: surveyed.found.clone(),
                is_newest: newest == Some(&surveyed.file),
                mended: None,
            });
        }
        survey = Some(found);
    } else {
        let reader = folder.open(object.clone()).await;
        let reader = reader.map_err(|error| failed(&source, &error))?;
        let is_rdb = matches!(source, Source::Rdb(_));
        let of_bytes = reader.len();
        let tell = |bytes| {
            bar.show(trilith::restore::Progress {
                bytes,
                of_bytes,
                items: 0,
            });
        };
        files.push(Checked {
            name: name_of(&object),
            kind: if is_rdb { "snapshot" } else { "commands" },
            bytes: of_bytes,
            found: inspect(reader, object, is_rdb, tell).await,
            is_newest: true,
            mended: None,
        });
    }
    drop(bar);
    if mends {
        for file in &mut files {
            mend_file(&source, &folder, file).await?;
        }
    }
    Ok(Place {
        source,
        files,
        survey,
    })
}

fn name_of(object: &Object) -> String {
    match object {
        Object::Archive(name) => name.to_string(),
        other => other.to_string(),
    }
}

async fn mend_file(source: &Source, folder: &Folder, file: &mut Checked) -> Result<(), Problem> {
    if !file.is_torn() {
        return Ok(());
    }
    let whole = file.commands().map_or(0, |scan| scan.whole);
    let object = Object::Archive(file.name.as_str().into());
    let mended = mend(folder, object, whole).await;
    file.mended = Some(mended.map_err(|error| failed(source, &error))?);
    Ok(())
}

impl Checked {
    fn commands(&self) -> Option<&Scan> {
        self.found.as_ref().ok()?.commands.as_ref()
    }

    fn has_tear(&self) -> bool {
        self.commands().is_some_and(|scan| scan.tear.is_some())
    }

    /// Whether its tail is torn as a crash leaves it.
    fn is_torn(&self) -> bool {
        self.is_newest && self.has_tear() && self.mended.is_none()
    }

    fn is_damaged(&self) -> bool {
        self.found.is_err() || (self.has_tear() && !self.is_newest)
    }

    fn times(&self) -> Option<(u64, u64)> {
        let found = self.found.as_ref().ok()?;
        let snapshot = found
            .snapshot
            .as_ref()
            .and_then(|snapshot| snapshot.seconds);
        let commands = found.commands.as_ref().and_then(|scan| scan.times);
        commands.or(snapshot.map(|seconds| (seconds, seconds)))
    }

    fn state(&self) -> Cell {
        let found = match &self.found {
            Err(error) => return Cell::new(error, Tone::Bad),
            Ok(found) => found,
        };
        if let Some(mended) = &self.mended {
            let text = format!(
                "mended: {} bytes cut off, kept in {}",
                mended.cut,
                name_of(&mended.kept)
            );
            return Cell::new(text, Tone::Warn);
        }
        if let Some(scan) = &found.commands
            && let Some(tear) = scan.tear
        {
            let text = format!(
                "{} at byte {}, {} bytes",
                tear.name(),
                scan.whole,
                self.bytes - scan.whole
            );
            return Cell::new(
                text,
                if self.is_newest {
                    Tone::Warn
                } else {
                    Tone::Bad
                },
            );
        }
        let snapshot = found
            .snapshot
            .as_ref()
            .and_then(|snapshot| snapshot.whole.as_ref());
        match (snapshot, &found.commands) {
            (Some(whole), _) if !whole.checked => plain("sound, without a checksum"),
            (Some(_), _) => Cell::new("sound, checksum right", Tone::Good),
            (None, Some(scan)) if !scan.gaps.is_empty() => {
                Cell::new(format!("sound, with {} gaps", scan.gaps.len()), Tone::Warn)
            }
            _ => Cell::new("sound", Tone::Good),
        }
    }

    fn keys(&self) -> Option<u64> {
        let snapshot = self.found.as_ref().ok()?.snapshot.as_ref()?;
        Some(snapshot.whole.as_ref()?.keys)
    }
}

fn place_text(place: &Place) -> String {
    let mut text = format!("{}\n", place.source.path().display());
    let mut table = Table::new(&[
        "file",
        "kind",
        "#bytes",
        "#keys",
        "#commands",
        "from",
        "to",
        "state",
    ]);
    let or_blank =
        |number: Option<u64>| plain(number.map_or_else(String::new, |number| number.to_string()));
    for file in &place.files {
        let (from, to) = show::moments(file.times());
        table.row(vec![
            plain(&file.name),
            plain(file.kind),
            plain(human(file.bytes)),
            or_blank(file.keys()),
            or_blank(file.commands().map(|scan| scan.commands)),
            plain(from),
            plain(to),
            file.state(),
        ]);
    }
    text.push_str(&table.text(Paint::for_stdout()));
    for (what, count) in place.files.iter().flat_map(unsupported) {
        text.push_str(&format!("Not held by Trilith: {what}, {count} times.\n"));
    }
    if let Some(survey) = &place.survey {
        let covered = show::covered(&survey.covered());
        text.push_str(&match covered.is_empty() {
            true => "No time is covered: only the newest state can be restored.\n".to_owned(),
            false => format!("Covered: {covered}.\n"),
        });
    }
    text
}

fn unsupported(file: &Checked) -> Vec<(String, u64)> {
    let found = file.found.as_ref().ok();
    let snapshot = found.and_then(|found| found.snapshot.as_ref()?.whole.clone());
    snapshot.map_or_else(Vec::new, |whole| whole.unsupported.into_iter().collect())
}

fn place_json(place: &Place) -> Value {
    let file = |file: &Checked| {
        let times = file.times();
        let tear = file.commands().and_then(|scan| Some((scan, scan.tear?)));
        json!({
            "file": file.name,
            "kind": file.kind,
            "bytes": file.bytes,
            "keys": file.keys(),
            "commands": file.commands().map(|scan| scan.commands),
            "from": times.map(|(from, _)| from),
            "to": times.map(|(_, to)| to),
            "gaps": file.commands().map(|scan| scan.gaps.iter().map(|gap| gap.seconds).collect::<Vec<_>>()),
            "torn": tear.map(|(scan, tear)| json!({
                "offset": scan.whole,
                "bytes": file.bytes - scan.whole,
                "why": tear.name(),
            })),
            "mended": file.mended.as_ref().map(|mended| name_of(&mended.kept)),
            "checksum": file.found.as_ref().ok().and_then(|found| Some(found.snapshot.as_ref()?.whole.as_ref()?.checked)),
            "unsupported": unsupported(file).into_iter().map(|(what, count)| (what, Value::from(count))).collect::<serde_json::Map<_, _>>(),
            "error": file.found.as_ref().err().map(ToString::to_string),
        })
    };
    json!({
        "path": place.source.path().display().to_string(),
        "files": place.files.iter().map(file).collect::<Value>(),
        "covered": place.survey.as_ref().map(|survey| show::covered_json(&survey.covered())),
    })
}

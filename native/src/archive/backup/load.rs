//! A backup on its way back: checked as a whole, then loaded file by file.

use std::path::Path;

use trilith::restore::{Options, Progress, Report, Sink, inspect, load_rdb};
use trilith::{Object, Reader as _, Runtime, Storage};

use super::manifest::{Manifest, RANGES, RangeFile};
use super::target::ending;
use crate::NativeRuntime;
use crate::archive::folder::Folder;
use crate::archive::progress::Bar;
use crate::archive::restore::{Wanted, failed};
use crate::archive::source::Source;
use crate::archive::time;
use crate::operate::Problem;

/// What was found in a range's file.
pub struct Checked<'a> {
    /// What the manifest says.
    pub file: &'a RangeFile,
    /// What is wrong with it.
    pub error: Option<String>,
}

/// Reads all files, and compares them with the manifest.
pub async fn check_files<'a>(folder: &Path, manifest: &'a Manifest) -> Vec<Checked<'a>> {
    let bar = Bar::new("Checking");
    let (mut bytes, of_bytes) = (0, manifest.bytes());
    let mut checked = Vec::with_capacity(manifest.ranges.len());
    for file in &manifest.ranges {
        let error = check_file(folder, file).await.err();
        checked.push(Checked { file, error });
        bytes += file.bytes;
        bar.show(Progress {
            bytes,
            of_bytes,
            items: 0,
        });
    }
    checked
}

async fn check_file(folder: &Path, file: &RangeFile) -> Result<(), String> {
    let storage = Folder::new(folder.join(RANGES));
    let object = Object::Archive(file.file.as_str().into());
    let reader = storage.open(object.clone()).await;
    let reader = reader.map_err(|error| error.to_string())?;
    if reader.len() != file.bytes {
        return Err(format!(
            "it has {} bytes, and the manifest says {}",
            reader.len(),
            file.bytes
        ));
    }
    let sum = ending(&file.path(folder)).map_err(|error| error.to_string())?;
    if sum != file.crc64 {
        return Err("its checksum is not the one that the manifest says".to_owned());
    }
    let found = inspect(reader, object, true, |_| {}).await;
    let found = found.map_err(|error| error.to_string())?;
    let whole = found.snapshot.and_then(|snapshot| snapshot.whole);
    let whole = whole.filter(|whole| whole.checked && whole.end == file.bytes);
    let whole = whole.ok_or("it has no checksum where one should be")?;
    if whole.keys != file.keys || !whole.unsupported.is_empty() {
        return Err(format!(
            "it has {} keys, and the manifest says {}",
            whole.keys, file.keys
        ));
    }
    Ok(())
}

/// Loads a backup into a sink, once all of it is known to be sound.
pub async fn load<K: Sink>(folder: &Path, wanted: Wanted, sink: &mut K) -> Result<Report, Problem> {
    if let Some(to) = wanted.to {
        return Err(Problem::failed(
            format!(
                "{} is a backup, which does not cover {}.",
                folder.display(),
                time::show(to)
            ),
            "Leave out --to; going back in time takes a node's own archive",
        ));
    }
    let manifest = Manifest::read(folder)?;
    let checked = check_files(folder, &manifest).await;
    if let Some((file, why)) = checked
        .into_iter()
        .find_map(|checked| Some((checked.file, checked.error?)))
    {
        return Err(damaged(folder, file, &why));
    }
    let source = Source::Backup(folder.to_owned());
    let storage = Folder::new(folder.join(RANGES));
    let options = Options {
        skip_unsupported: wanted.skip_unsupported,
        to: None,
        now_ms: NativeRuntime::new().wall_ms(),
    };
    let bar = Bar::new("Loading");
    let (mut all, of_bytes) = (Report::default(), manifest.bytes());
    for file in &manifest.ranges {
        let before: u64 = all.files.iter().map(|file| file.bytes).sum();
        let items = all.items();
        let tell = |progress: Progress| {
            bar.show(Progress {
                bytes: before + progress.bytes,
                of_bytes,
                items: items + progress.items,
            });
        };
        let object = Object::Archive(file.file.as_str().into());
        let loaded = async {
            let reader = storage.open(object.clone()).await?;
            load_rdb(reader, object, options, sink, tell).await
        };
        let report = loaded.await.map_err(|error| failed(&source, &error))?;
        all.files.extend(report.files);
        all.expired += report.expired;
        all.last = all.last.max(report.last);
    }
    Ok(all)
}

fn damaged(folder: &Path, file: &RangeFile, why: &str) -> Problem {
    Problem::failed(
        format!(
            "{} is damaged ({why}), so nothing was loaded.",
            file.path(folder).display()
        ),
        format!(
            "Put the file of another copy of the backup there, or load another backup; trilith check-archive {} says what else is damaged, and trilith import takes each sound file by itself",
            folder.display()
        ),
    )
}

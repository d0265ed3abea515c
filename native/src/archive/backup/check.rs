//! `trilith check-archive` on a backup.

use std::path::Path;

use serde_json::{Value, json};

use super::load::{Checked, check_files};
use super::manifest::Manifest;
use crate::archive::time;
use crate::block_on;
use crate::operate::table::{Cell, Paint, Table, Tone, plain};
use crate::operate::{Problem, put_out};
use crate::server::human;

/// Says whether every range is there and sound.
///
/// # Errors
/// What is wrong with it.
pub fn check(folder: &Path, in_json: bool) -> Result<(), Problem> {
    let manifest = Manifest::read(folder)?;
    let checked = block_on(check_files(folder, &manifest));
    put_out(match in_json {
        true => json_of(folder, &manifest, &checked).to_string(),
        false => text_of(folder, &manifest, &checked),
    })?;
    match checked.iter().filter(|file| file.error.is_some()).count() {
        0 => Ok(()),
        count => Err(Problem::failed(
            format!("{count} of {} files are damaged.", checked.len()),
            "Put those of another copy of the backup there, or use another backup; trilith import takes each sound file by itself",
        )),
    }
}

fn text_of(folder: &Path, manifest: &Manifest, checked: &[Checked<'_>]) -> String {
    let mut text = format!(
        "{}: a backup of {} ranges, {} keys, {}.\nBegun {}, complete {}.\n",
        folder.display(),
        manifest.ranges.len(),
        manifest.keys(),
        human(manifest.bytes()),
        time::show(manifest.begun_ms / 1000),
        time::show(manifest.ended_ms / 1000),
    );
    let mut table = Table::new(&["#range", "file", "#index", "#keys", "#bytes", "state"]);
    let mut any = false;
    for Checked { file, error } in checked {
        let Some(error) = error else { continue };
        any = true;
        table.row(vec![
            plain(file.range),
            plain(&file.file),
            plain(file.index),
            plain(file.keys),
            plain(human(file.bytes)),
            Cell::new(error, Tone::Bad),
        ]);
    }
    match any {
        true => text.push_str(&table.text(Paint::for_stdout())),
        false => text.push_str("All files are sound, their checksums right.\n"),
    }
    text
}

fn json_of(folder: &Path, manifest: &Manifest, checked: &[Checked<'_>]) -> Value {
    let file = |checked: &Checked<'_>| {
        let file = checked.file;
        json!({
            "range": file.range,
            "file": file.file,
            "term": file.term,
            "index": file.index,
            "time_ms": file.time_ms,
            "keys": file.keys,
            "bytes": file.bytes,
            "error": checked.error,
        })
    };
    json!({
        "backup": folder.display().to_string(),
        "begun_ms": manifest.begun_ms,
        "ended_ms": manifest.ended_ms,
        "keys": manifest.keys(),
        "bytes": manifest.bytes(),
        "ranges": checked.iter().map(file).collect::<Value>(),
    })
}

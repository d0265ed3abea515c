//! What was done and found, for people and for programs.

use serde_json::{Value, json};
use trilith::archive::aof::Covered;
use trilith::restore::{FileReport, Loaded, Report};

use super::source::Source;
use super::time;
use crate::operate::table::{Cell, Paint, Table, Tone, plain};
use crate::server::human;

/// Covered seconds in words; empty if there are none.
pub fn covered(all: &[Covered]) -> String {
    let each = all.iter();
    let each: Vec<String> = each
        .map(|covered| format!("{} to {}", time::show(covered.from), time::show(covered.to)))
        .collect();
    each.join(", and ")
}

/// Covered seconds for programs.
pub fn covered_json(all: &[Covered]) -> Value {
    let one = |covered: &Covered| json!({ "from": covered.from, "to": covered.to });
    all.iter().map(one).collect()
}

/// What came from where.
pub fn report(source: &Source, report: &Report, keys: u64, where_to: &str) -> String {
    let mut text = format!(
        "Loaded {} {where_to}: {keys} keys.\n",
        source.path().display()
    );
    if let Some(last) = report.last {
        text.push_str(&format!("The newest change is of {}.\n", time::show(last)));
    }
    if !report.covered.is_empty() {
        text.push_str(&format!("The log covers {}.\n", covered(&report.covered)));
    }
    let mut table = Table::new(&[
        "file",
        "holds",
        "#keys, commands",
        "#bytes",
        "from",
        "to",
        "note",
    ]);
    for file in &report.files {
        let (from, to) = moments(file.times);
        table.row(vec![
            plain(name(file)),
            plain(holds(file)),
            plain(file.items),
            plain(human(file.bytes)),
            plain(from),
            plain(to),
            note(file),
        ]);
    }
    match source {
        Source::Backup(_) => text.push_str(&format!("{} files were loaded.\n", report.files.len())),
        _ => text.push_str(&table.text(Paint::for_stdout())),
    }
    if report.expired > 0 {
        text.push_str(&format!(
            "{} keys had expired since, and are not there.\n",
            report.expired
        ));
    }
    for (what, count) in report.skipped() {
        text.push_str(&format!("Passed over: {what}, {count} times.\n"));
    }
    text
}

/// A time from and one to, if they are known.
pub fn moments(times: Option<(u64, u64)>) -> (String, String) {
    times.map_or_else(Default::default, |(from, to)| {
        (time::show(from), time::show(to))
    })
}

fn name(file: &FileReport) -> String {
    match &file.object {
        trilith::Object::Archive(name) => name.to_string(),
        other => other.to_string(),
    }
}

fn holds(file: &FileReport) -> &'static str {
    match file.loaded {
        Loaded::Rdb { .. } => "snapshot",
        Loaded::Aof => "commands",
    }
}

fn note(file: &FileReport) -> Cell {
    if let Some(torn) = file.torn {
        let text = format!(
            "{} at byte {}: {} bytes were left out",
            torn.tear.name(),
            torn.offset,
            torn.bytes
        );
        return Cell::new(text, Tone::Warn);
    }
    match (file.cut, file.loaded) {
        (Some(cut), _) => plain(format!("read up to byte {cut}: what follows is later")),
        (None, Loaded::Rdb { checked: false }) => plain("without a checksum"),
        _ => plain(""),
    }
}

/// What came from where, for programs.
pub fn report_json(source: &Source, report: &Report, keys: u64) -> Value {
    let file = |file: &FileReport| {
        json!({
            "file": name(file),
            "holds": holds(file),
            "items": file.items,
            "bytes": file.bytes,
            "from": file.times.map(|(from, _)| from),
            "to": file.times.map(|(_, to)| to),
            "torn": file.torn.map(|torn| json!({
                "offset": torn.offset,
                "bytes": torn.bytes,
                "why": torn.tear.name(),
            })),
            "cut": file.cut,
        })
    };
    json!({
        "source": source.path().display().to_string(),
        "keys": keys,
        "expired": report.expired,
        "last": report.last,
        "covered": covered_json(&report.covered),
        "skipped": report.skipped(),
        "files": report.files.iter().map(file).collect::<Value>(),
    })
}

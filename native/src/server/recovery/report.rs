//! What came from where, for the one who will ask what was lost.

use std::path::Path;

use trilith::restore::{FileReport, Loaded, Recovery, Report};
use trilith::{Error, Object};

use crate::archive::folder::Folder;
use crate::archive::time;

/// A recovery that is about to be complete.
pub(super) struct Recovered<'a> {
    /// The directory of the store.
    pub data: &'a Path,
    /// The folder in it that has what was there before.
    pub aside: &'a str,
    /// Why there had to be one.
    pub why: &'a Error,
    /// What was found in the archive.
    pub recovery: &'a Recovery<Folder>,
    /// What was loaded of it.
    pub loaded: &'a Report,
    /// How many keys that made.
    pub keys: u64,
}

/// In lines; the first one says the most.
pub(super) fn text(of: &Recovered<'_>) -> String {
    let until = match of.recovery.until() {
        Some(second) => format!("as of {}", time::show(second)),
        None => "of a time that the archive does not tell".to_owned(),
    };
    let data = of.data.display();
    let mut text = format!(
        "The store in {data} was recovered from its archive: {} keys, {until}.\n",
        of.keys
    );
    let mut line = |what: &str, said: &str| text.push_str(&format!("  {what:<9}{said}\n"));
    line("why", &of.why.to_string());
    for file in &of.loaded.files {
        line("from", &came_from(file));
    }
    for passed in of.recovery.passed_over() {
        let from = passed
            .offset
            .map(|offset| format!(" from byte {offset} on"));
        let from = from.unwrap_or_default();
        line(
            "not from",
            &format!("{}{from}: {}", name(&passed.object), passed.why),
        );
    }
    if of.loaded.expired > 0 {
        line(
            "expired",
            &format!("{} keys, whose time had come since", of.loaded.expired),
        );
    }
    for (what, count) in of.loaded.skipped() {
        line("left out", &format!("{what}, {count} times"));
    }
    line(
        "lost",
        match of.recovery.is_whole() {
            true => {
                "what had not been written to the archive when the node ended: a second's writes, by default"
            }
            false => "what was written after that, or was only in what is named above as not used",
        },
    );
    line(
        "kept",
        &format!(
            "{data}/{}: all that was there, and this text; it is for you to remove",
            of.aside
        ),
    );
    text
}

fn name(object: &Object) -> String {
    match object {
        Object::Archive(name) => name.to_string(),
        other => other.to_string(),
    }
}

fn came_from(file: &FileReport) -> String {
    let (items, checked) = match file.loaded {
        Loaded::Rdb { checked: true } => ("keys", ""),
        Loaded::Rdb { checked: false } => ("keys", ", without a checksum"),
        Loaded::Aof => ("commands", ""),
    };
    let times = match file.times {
        Some((from, to)) if from == to => format!(", of {}", time::show(to)),
        Some((from, to)) => format!(", of {} to {}", time::show(from), time::show(to)),
        None => String::new(),
    };
    format!(
        "{}: {} {items}{times}{checked}",
        name(&file.object),
        file.items
    )
}

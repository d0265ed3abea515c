//! The arrows between the engine's modules run one way: who may use whom.

use crate::source::SourceFile;

use super::code::{code_outside_tests, is_test, test_modules};
use super::{Breach, hold, made_up};

/// What every module may use: the words of the language that they speak to each other.
const GROUND: [&str; 8] = [
    "codec", "error", "random", "record", "runtime", "signal", "slot", "striped",
];

/// Each room of the engine and the rooms that it may use, besides itself, the ground and storage.
const MAY_USE: [(&str, &[&str]); 10] = [
    ("storage", &[]),
    ("memory", &[]),
    ("log", &[]),
    // Memtables lie in the arena.
    ("lsm", &["memory"]),
    ("archive", &[]),
    ("db", &["memory", "log", "lsm", "archive"]),
    ("command", &["db"]),
    ("ring", &["command", "db"]),
    // What an archive's content does to a keyspace.
    ("restore", &["archive", "command", "db", "ring"]),
    ("sim", &["ring", "command", "db"]),
];

/// The modules at the crate's top that `line` names, seen from a file whose own module path is `depth`
/// names long.
fn modules_named(line: &str, depth: usize) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in line.match_indices("crate::") {
        let partial = line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$');
        if !partial {
            heads(&line[at + "crate::".len()..], &mut found);
        }
    }
    // As many `super::` as there are names leave the room.
    let climb = "super::".repeat(depth);
    if depth > 0
        && let Some(at) = line.find(&climb)
    {
        heads(&line[at + climb.len()..], &mut found);
    }
    found
}

/// The first name of a path, or of each path of a group: `a::b` is a, `{a, b::{c, d}}` is a and b.
fn heads(rest: &str, found: &mut Vec<String>) {
    let Some(group) = rest.strip_prefix('{') else {
        let end = rest
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        found.push(rest[..end].to_owned());
        return;
    };
    let mut level = 0;
    let mut start = 0;
    for (at, c) in group.char_indices() {
        match c {
            '{' => level += 1,
            '}' if level > 0 => level -= 1,
            ',' | '}' if level == 0 => {
                heads(group[start..at].trim(), found);
                start = at + 1;
                if c == '}' {
                    return;
                }
            }
            _ => {}
        }
    }
}

/// The statements of a file, each `use` in one piece and with the line that it begins on.
fn statements(file: &SourceFile) -> Vec<(usize, String)> {
    let mut out: Vec<(usize, String)> = Vec::new();
    let mut open = false;
    for (number, line) in code_outside_tests(file).into_iter().enumerate() {
        let line = line.trim();
        match out.last_mut() {
            Some((_, statement)) if open => statement.push_str(line),
            _ => out.push((number + 1, line.to_owned())),
        }
        let begins =
            line.starts_with("use ") || line.starts_with("pub use ") || line.starts_with("pub(");
        open = (open || (begins && line.contains("use "))) && !line.ends_with(';');
    }
    out
}

fn forbidden_arrows(files: &[SourceFile]) -> Vec<Breach> {
    let mut breaches = Vec::new();
    let tests = test_modules(files);
    for file in files {
        let Some(inside) = file
            .path
            .strip_prefix("engine/src/")
            .and_then(|p| p.strip_suffix(".rs"))
        else {
            continue;
        };
        if inside == "lib" || is_test(&file.path, &tests) {
            continue;
        }
        let path: Vec<&str> = inside.split('/').filter(|name| *name != "mod").collect();
        let room = path[0];
        let Some(may_use) = allowed(room) else {
            breaches.push(Breach::new(
                file,
                1,
                format!("{room} is no room of the engine: add its arrows"),
            ));
            continue;
        };
        for (line, statement) in statements(file) {
            for other in modules_named(&statement, path.len()) {
                let is_room = MAY_USE.iter().any(|(name, _)| *name == other);
                if is_room && other != room && !may_use.contains(&other.as_str()) {
                    breaches.push(Breach::new(
                        file,
                        line,
                        format!("{room} must not know {other}"),
                    ));
                }
            }
        }
    }
    breaches
}

/// The rooms that `room` may use; `None` when there is no such room.
fn allowed(room: &str) -> Option<Vec<&'static str>> {
    if GROUND.contains(&room) {
        // Errors name objects; the runtime shares storage's bounds.
        return Some(vec!["storage"]);
    }
    let (_, rooms) = MAY_USE.iter().find(|(name, _)| *name == room)?;
    Some(rooms.iter().copied().chain(["storage"]).collect())
}

#[test]
fn the_arrows_run_one_way() {
    hold(forbidden_arrows);
    for (path, text) in [
        ("engine/src/memory/table.rs", "use crate::lsm::levels;"),
        (
            "engine/src/memory/table.rs",
            "    let x = crate::lsm::levels();",
        ),
        (
            "engine/src/lsm/sstable/block.rs",
            "use crate::{Result, db::{Db, Stats}, record};",
        ),
        (
            "engine/src/lsm/sstable/block.rs",
            "use super::super::super::db::Db;",
        ),
        ("engine/src/lsm/mod.rs", "use super::db::Db;"),
        (
            "engine/src/db.rs",
            "pub(crate) use crate::{\n    command::Table,\n};",
        ),
        ("engine/src/storage/mod.rs", "use crate::log::Segment;"),
        ("engine/src/attic.rs", "use crate::Result;"),
    ] {
        assert_eq!(
            forbidden_arrows(&[made_up(path, text)]).len(),
            1,
            "{path}: {text}"
        );
    }
    for (path, text) in [
        (
            "engine/src/db.rs",
            "use crate::{Result, lsm::{Lsm, db}, memory::Table};",
        ),
        (
            "engine/src/lsm/sstable/block.rs",
            "use super::super::levels;",
        ),
        (
            "engine/src/lsm/sstable/block.rs",
            "/// As crate::db says.\nuse crate::storage::Object;",
        ),
        (
            "engine/src/lsm/a.rs",
            "#[cfg(test)]\nmod tests {\nuse crate::db::Db;\n}",
        ),
    ] {
        assert_eq!(
            forbidden_arrows(&[made_up(path, text)]),
            [],
            "{path}: {text}"
        );
    }
}

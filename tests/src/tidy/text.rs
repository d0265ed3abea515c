//! Rules for every text file: length, names of machines and registries, whitespace, links.

use std::path::{Component, Path, PathBuf};

use crate::source::{self, SourceFile};

use super::{Breach, hold, made_up};

const LINES_MAX: usize = 600;

/// Hand-written files that may be longer, and why.
const LONGER: [(&str, &str); 0] = [];

/// Not written by hand.
const GENERATED: [&str; 4] = [
    "Cargo.lock",
    "package-lock.json",
    "LICENSE-MIT",
    "LICENSE-APACHE",
];

fn is_generated(path: &str) -> bool {
    GENERATED.iter().any(|name| path.ends_with(name))
}

fn long_files(files: &[SourceFile]) -> Vec<Breach> {
    let too_long = |file: &&SourceFile| {
        !is_generated(&file.path)
            && !file.path.ends_with(".md")
            && !LONGER.iter().any(|(path, _)| *path == file.path)
            && file.text.lines().count() > LINES_MAX
    };
    let breach = |file| Breach::new(file, LINES_MAX + 1, "too long: one concept a file");
    files.iter().filter(too_long).map(breach).collect()
}

fn stale_entries(files: &[SourceFile]) -> Vec<Breach> {
    let is_long = |path: &str| {
        files
            .iter()
            .any(|file| file.path == path && file.text.lines().count() > LINES_MAX)
    };
    let stale = LONGER.iter().filter(|(path, _)| !is_long(path));
    stale
        .map(|(path, _)| Breach {
            path: (*path).into(),
            line: 1,
            what: "needs no entry".into(),
        })
        .collect()
}

/// Whether `path` is spelled out in `line` as the start of an absolute path.
fn names_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        // A letter, a dot or a variable before it makes it a relative path or a part of a URL.
        !before.is_some_and(|c| c.is_alphanumeric() || "._-/}$:".contains(c))
    })
}

fn machine_paths(files: &[SourceFile]) -> Vec<Breach> {
    // Spelled in two parts, or this file would break its own rule.
    let paths = ["tmp", "work", "home", "root", "Users"].map(|name| format!("/{name}/"));
    each_line(files, |line| {
        let found = paths.iter().find(|path| names_path(line, path))?;
        Some(format!("names a path of one machine: {found}"))
    })
}

fn registry_hosts(files: &[SourceFile]) -> Vec<Breach> {
    let locks: Vec<SourceFile> = files
        .iter()
        .filter(|file| file.path.ends_with("lock.json"))
        .cloned()
        .collect();
    let mut breaches = each_line(&locks, |line| {
        let tells = line.contains("\"resolved\"") && line.contains("http");
        tells.then(|| "says which host a package came from".into())
    });
    let crates = "registry+https://github.com/rust-lang/crates.io-index";
    let locks: Vec<SourceFile> = files
        .iter()
        .filter(|file| file.path.ends_with("Cargo.lock"))
        .cloned()
        .collect();
    breaches.extend(each_line(&locks, |line| {
        let other = line.starts_with("source = ") && !line.contains(crates);
        other.then(|| "a crate that does not come from crates.io".into())
    }));
    breaches
}

fn whitespace(files: &[SourceFile]) -> Vec<Breach> {
    let files: Vec<SourceFile> = files
        .iter()
        .filter(|file| !is_generated(&file.path))
        .cloned()
        .collect();
    let mut breaches = each_line(&files, |line| {
        if line.contains('\r') {
            Some("a carriage return".into())
        } else if line.ends_with([' ', '\t']) {
            Some("blanks at the end of the line".into())
        } else {
            None
        }
    });
    for file in &files {
        if !file.text.is_empty() && !file.text.ends_with('\n') {
            breaches.push(Breach::new(
                file,
                file.text.lines().count(),
                "no newline at the end",
            ));
        }
    }
    breaches
}

/// The targets of `[text](target)` in a line of Markdown that point into the repository.
fn local_links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| {
        let target = rest.split([')', '#', ' ']).next()?;
        let elsewhere =
            target.is_empty() || target.contains("://") || target.starts_with("mailto:");
        (!elsewhere).then_some(target)
    })
}

fn dead_links(files: &[SourceFile]) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with(".md")) {
        for (number, line) in file.text.lines().enumerate() {
            for target in local_links(line) {
                let from = Path::new(&file.path).parent().unwrap_or(Path::new(""));
                if !source::root().join(normal(&from.join(target))).exists() {
                    let what = format!("links to what is not there: {target}");
                    breaches.push(Breach::new(file, number + 1, what));
                }
            }
        }
    }
    breaches
}

/// `a/../b` as `b`, without asking the file system.
fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                out.pop();
            }
            Component::Normal(name) => out.push(name),
            _ => {}
        }
    }
    out
}

fn each_line(files: &[SourceFile], rule: impl Fn(&str) -> Option<String>) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for file in files {
        for (number, line) in file.text.split('\n').enumerate() {
            if let Some(what) = rule(line) {
                breaches.push(Breach::new(file, number + 1, what));
            }
        }
    }
    breaches
}

#[test]
fn no_file_is_longer_than_600_lines() {
    hold(long_files);
    let long = "\n".repeat(LINES_MAX + 1);
    assert_eq!(long_files(&[made_up("a.rs", &long)]).len(), 1);
    assert_eq!(long_files(&[made_up("a.rs", &long[1..])]), []);
}

#[test]
fn the_list_of_longer_files_is_no_longer_than_needed() {
    hold(stale_entries);
}

#[test]
fn no_file_names_a_path_of_one_machine() {
    hold(machine_paths);
    let line = format!("let path = \"/{}/store\";", "tmp");
    assert_eq!(machine_paths(&[made_up("a.rs", &line)]).len(), 1);
    assert_eq!(
        machine_paths(&[made_up("a.md", &format!("see engine/src/{}/mod.rs", "tmp"))]),
        []
    );
}

#[test]
fn lock_files_name_no_registry_host() {
    hold(registry_hosts);
    let npm = "  \"resolved\": \"https://registry.example/a.tgz\",";
    assert_eq!(
        registry_hosts(&[made_up("www/package-lock.json", npm)]).len(),
        1
    );
    let cargo = "source = \"registry+https://mirror.example/index\"";
    assert_eq!(registry_hosts(&[made_up("Cargo.lock", cargo)]).len(), 1);
}

#[test]
fn lines_end_in_a_newline_and_nothing_else() {
    hold(whitespace);
    for text in ["a \n", "a\t\n", "a\r\n", "a"] {
        assert_eq!(whitespace(&[made_up("a.md", text)]).len(), 1, "{text:?}");
    }
    assert_eq!(whitespace(&[made_up("a.md", "a\n\nb\n")]), []);
}

#[test]
fn links_in_the_docs_lead_somewhere() {
    hold(dead_links);
    let page = |text| made_up("docs/page.md", text);
    assert_eq!(dead_links(&[page("[x](../nowhere.md)")]).len(), 1);
    assert_eq!(
        dead_links(&[page("[x](../Cargo.toml#a) [y](https://example.org/x)")]),
        []
    );
}

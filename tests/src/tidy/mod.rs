//! The rules of the house, as far as a program can check them.
//!
//! Each rule is a function from the repository's files to the places that break it, so that each is also
//! tested against files made up to break it: a rule that cannot fail is no rule.

mod arrows;
mod code;
mod text;

use crate::source::{self, SourceFile};

/// A place that breaks a rule: path, line (from 1), and what is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Breach {
    path: String,
    line: usize,
    what: String,
}

impl Breach {
    fn new(file: &SourceFile, line: usize, what: impl Into<String>) -> Self {
        Self {
            path: file.path.clone(),
            line,
            what: what.into(),
        }
    }
}

/// Fails with every breach in the repository, not just the first.
#[track_caller]
fn hold(rule: impl Fn(&[SourceFile]) -> Vec<Breach>) {
    let files = source::files();
    assert!(
        files.iter().any(|file| file.path == "engine/src/lib.rs"),
        "the sources were not found"
    );
    let breaches = rule(&files);
    let lines: Vec<String> = breaches
        .iter()
        .map(|b| format!("{}:{}: {}", b.path, b.line, b.what))
        .collect();
    assert!(lines.is_empty(), "\n{}\n", lines.join("\n"));
}

/// A file made up for a test of a rule.
fn made_up(path: &str, text: &str) -> SourceFile {
    SourceFile {
        path: path.into(),
        text: text.into(),
    }
}

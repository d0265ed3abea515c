//! Rules for Rust code: what is left over, what panics, what a module says of itself.

use crate::source::SourceFile;

use super::{Breach, hold, made_up};

/// The code of a file without its comments and without the tests at its end: comments and tests are
/// blanked, so that line numbers stay.
pub(super) fn code_outside_tests(file: &SourceFile) -> Vec<String> {
    let mut out = Vec::new();
    let mut lines = file.text.lines().peekable();
    while let Some(line) = lines.next() {
        let opens_tests = line.starts_with("#[cfg(test)]")
            && lines
                .peek()
                .is_some_and(|next| next.starts_with("mod ") && next.ends_with('{'));
        if opens_tests {
            break;
        }
        let comment = line.trim_start().starts_with("//");
        out.push(if comment {
            String::new()
        } else {
            strip_comment(line).to_owned()
        });
    }
    out
}

/// Cuts a comment that follows code. A `//` within a string is a URL's, behind a colon.
fn strip_comment(line: &str) -> &str {
    match line.find(" // ") {
        Some(at) => &line[..at],
        None => line,
    }
}

/// Code that ships: the sources of the crates, without files that hold tests only.
fn ships(path: &str) -> bool {
    let test_file = path.ends_with("/tests.rs") || path.contains("/tests/");
    path.ends_with(".rs")
        && !test_file
        && ["engine/src/", "native/src/", "web/src/"]
            .iter()
            .any(|root| path.starts_with(root))
}

fn search(files: &[SourceFile], which: impl Fn(&str) -> bool, words: &[String]) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for file in files.iter().filter(|file| which(&file.path)) {
        for (number, line) in code_outside_tests(file).iter().enumerate() {
            for word in words.iter().filter(|word| line.contains(word.as_str())) {
                breaches.push(Breach::new(
                    file,
                    number + 1,
                    format!("{word:?} does not belong here"),
                ));
            }
        }
    }
    breaches
}

fn left_open(files: &[SourceFile]) -> Vec<Breach> {
    // In two parts each, or this file would break its own rule.
    let words = [
        ("TO", "DO"),
        ("FIX", "ME"),
        ("XX", "X"),
        ("to", "do!("),
        ("unimple", "mented!("),
    ]
    .map(|(a, b)| format!("{a}{b}"));
    let mut breaches = Vec::new();
    let text = |path: &str| !path.ends_with(".md") && !path.ends_with("lock.json");
    for file in files.iter().filter(|file| text(&file.path)) {
        for (number, line) in file.text.lines().enumerate() {
            for word in words.iter().filter(|word| names_word(line, word)) {
                breaches.push(Breach::new(file, number + 1, format!("left open: {word}")));
            }
        }
    }
    breaches
}

/// Whether `word` stands in `line` by itself, and not as a part of a longer one.
fn names_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let touches = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        !touches(line[..at].chars().next_back())
            && (word.ends_with('(') || !touches(line[at + word.len()..].chars().next()))
    })
}

fn debris(files: &[SourceFile]) -> Vec<Breach> {
    search(
        files,
        |path| path.ends_with(".rs"),
        &[concat!("dbg", "!(").into()],
    )
}

fn panics(files: &[SourceFile]) -> Vec<Breach> {
    let words = [".unwrap()", "allow(clippy::unwrap_used", "expect(\"\")"].map(String::from);
    search(files, ships, &words)
}

fn host_in_the_engine(files: &[SourceFile]) -> Vec<Breach> {
    let words = [
        "std::fs",
        "std::net",
        "std::thread",
        "std::process",
        "std::env",
        "tokio",
    ];
    let engine = |path: &str| ships(path) && path.starts_with("engine/");
    search(files, engine, &words.map(String::from))
}

fn silent_modules(files: &[SourceFile]) -> Vec<Breach> {
    let silent = |file: &&SourceFile| {
        let rust = file.path.ends_with(".rs") && !file.path.contains("/fuzz_targets/");
        rust && !file.path.ends_with("/tests.rs") && !file.text.starts_with("//!")
    };
    let breach = |file| Breach::new(file, 1, "does not open with what it is for (//!)");
    files.iter().filter(silent).map(breach).collect()
}

#[test]
fn nothing_is_left_open() {
    hold(left_open);
    assert_eq!(
        left_open(&[made_up("a.rs", concat!("// TO", "DO: more"))]).len(),
        1
    );
    assert_eq!(
        left_open(&[made_up("a.rs", concat!("to", "do!()"))]).len(),
        1
    );
    assert_eq!(
        left_open(&[made_up("a.rs", concat!("let MYTO", "DOS = 1;"))]),
        []
    );
}

#[test]
fn nothing_is_left_from_debugging() {
    hold(debris);
    assert_eq!(
        debris(&[made_up("a.rs", concat!("let x = dbg", "!(y);"))]).len(),
        1
    );
}

#[test]
fn what_ships_does_not_unwrap() {
    hold(panics);
    let text = "fn a() { b().unwrap(); }\n";
    assert_eq!(panics(&[made_up("engine/src/a.rs", text)]).len(), 1);
    let tested = format!("/// x.unwrap()\n#[cfg(test)]\nmod tests {{\n{text}}}\n");
    assert_eq!(panics(&[made_up("engine/src/a.rs", &tested)]), []);
}

#[test]
fn the_engine_knows_no_operating_system() {
    hold(host_in_the_engine);
    let file = made_up("engine/src/a.rs", "use std::fs::File;\n");
    assert_eq!(host_in_the_engine(&[file]).len(), 1);
    let file = made_up("engine/src/a.rs", "//! Under tokio, say.\n");
    assert_eq!(host_in_the_engine(&[file]), []);
}

#[test]
fn every_module_says_what_it_is_for() {
    hold(silent_modules);
    assert_eq!(
        silent_modules(&[made_up("engine/src/a.rs", "use x;\n")]).len(),
        1
    );
}

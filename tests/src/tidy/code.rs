//! Rules for Rust code: what is left over, what panics, what a module says of itself.

use std::ops::Range;

use crate::source::SourceFile;

use super::{Breach, hold, made_up};

/// The code of a file without comments and without what is compiled for tests only. What is left out is
/// blank, so that line numbers stay.
pub(super) fn code_outside_tests(file: &SourceFile) -> Vec<String> {
    let mut lines: Vec<String> = file
        .text
        .lines()
        .map(|line| code_of(line).to_owned())
        .collect();
    for range in test_items(&file.text) {
        for line in &mut lines[range] {
            line.clear();
        }
    }
    lines
}

/// The lines of each item under `#[cfg(test)]`. rustfmt has put the brace that ends an item under its start.
fn test_items(text: &str) -> Vec<Range<usize>> {
    let lines: Vec<&str> = text.lines().collect();
    let mut items = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at];
        if !is_for_tests(line) {
            at += 1;
            continue;
        }
        let end_of_block = format!("{}}}", &line[..line.len() - line.trim_start().len()]);
        let is_item = |line: &&str| !line.trim_start().starts_with('#');
        let first = at + lines[at..].iter().take_while(|line| !is_item(line)).count();
        let ends_at_once = lines.get(first).is_none_or(|line| line.ends_with(';'));
        let rest = lines[first.min(lines.len())..].iter();
        let last = match ends_at_once {
            true => first,
            false => {
                first
                    + rest
                        .take_while(|line| !line.starts_with(&end_of_block))
                        .count()
            }
        };
        items.push(at..(last + 1).min(lines.len()));
        at = last + 1;
    }
    items
}

/// Whether `line` is an attribute that leaves the item under it to tests.
fn is_for_tests(line: &str) -> bool {
    let line = line.trim_start();
    line == "#[cfg(test)]" || line.starts_with("#[cfg(all(test, ")
}

/// The modules that are compiled for tests only, as paths without `.rs`: those declared under
/// `#[cfg(test)]`.
pub(super) fn test_modules(files: &[SourceFile]) -> Vec<String> {
    let mut found = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with(".rs")) {
        let (folder, name) = file.path.rsplit_once('/').unwrap_or(("", &file.path));
        let inside = match name {
            "lib.rs" | "main.rs" | "mod.rs" => folder.to_owned(),
            _ => file.path[..file.path.len() - ".rs".len()].to_owned(),
        };
        let lines: Vec<&str> = file.text.lines().collect();
        for range in test_items(&file.text) {
            let last = lines[range.end - 1].trim();
            if let Some((_, module)) = last
                .strip_suffix(';')
                .and_then(|line| line.split_once("mod "))
            {
                found.push(format!("{inside}/{module}"));
            }
        }
    }
    found
}

/// A line without its comment. The `//` of a URL in a string has a colon before it, and no blank.
fn code_of(line: &str) -> &str {
    if line.trim_start().starts_with("//") {
        return "";
    }
    line.find(" // ").map_or(line, |at| &line[..at])
}

/// Whether `path` belongs to one of the modules that [`test_modules`] found.
pub(super) fn is_test(path: &str, modules: &[String]) -> bool {
    let path = path.strip_suffix(".rs").unwrap_or(path);
    modules.iter().any(|module| {
        let rest = path.strip_prefix(module.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// The sources that ship: those of the crates, without files that are for tests only.
fn shipped(files: &[SourceFile]) -> impl Iterator<Item = &SourceFile> {
    let roots = ["engine/src/", "native/src/", "web/src/"];
    let tests = test_modules(files);
    files.iter().filter(move |file| {
        let path = &file.path;
        path.ends_with(".rs")
            && roots.iter().any(|root| path.starts_with(root))
            && !is_test(path, &tests)
    })
}

fn search<'a>(files: impl Iterator<Item = &'a SourceFile>, words: &[&str]) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for file in files {
        for (number, line) in code_outside_tests(file).iter().enumerate() {
            for word in words.iter().filter(|word| line.contains(**word)) {
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
        files.iter().filter(|file| file.path.ends_with(".rs")),
        &[concat!("dbg", "!(")],
    )
}

fn panics(files: &[SourceFile]) -> Vec<Breach> {
    search(
        shipped(files),
        &[".unwrap()", "allow(clippy::unwrap_used", "expect(\"\")"],
    )
}

fn host_in_the_engine(files: &[SourceFile]) -> Vec<Breach> {
    let engine = shipped(files).filter(|file| file.path.starts_with("engine/"));
    let words = [
        "std::fs",
        "std::net",
        "thread::spawn",
        "thread::sleep",
        "thread::scope",
        "std::process",
        "std::env",
        "tokio",
    ];
    search(engine, &words)
}

fn silent_modules(files: &[SourceFile]) -> Vec<Breach> {
    let tests = test_modules(files);
    let silent = |file: &&SourceFile| {
        let rust = file.path.ends_with(".rs") && !file.path.contains("/fuzz_targets/");
        rust && !is_test(&file.path, &tests) && !file.text.starts_with("//!")
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
    for tested in [
        format!("/// x.unwrap()\n#[cfg(test)]\nmod tests {{\n{text}}}\n"),
        "    #[cfg(all(test, unix))]\n    #[inline]\n    fn a() {\n        b().unwrap();\n    }\n"
            .into(),
    ] {
        assert_eq!(
            panics(&[made_up("engine/src/a.rs", &tested)]),
            [],
            "{tested}"
        );
    }
    let after = format!("#[cfg(test)]\nmod tests {{\n}}\n{text}");
    assert_eq!(panics(&[made_up("engine/src/a.rs", &after)]).len(), 1);
    let declared = made_up(
        "engine/src/lsm/mod.rs",
        "#[cfg(test)]\npub(crate) mod testing;\n",
    );
    let testing = made_up("engine/src/lsm/testing.rs", text);
    assert_eq!(panics(&[declared, testing]), []);
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

//! Replaying corpora: the files of `corpus/TARGET`, in order of name.

use std::path::Path;

/// What came of a replay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Files in the corpus.
    pub files: usize,
    /// Files that the real encoders wrote.
    pub seeds: usize,
    /// Those of them that the target understood.
    pub understood: usize,
}

/// Runs `target` over every file of its corpus. A file that panics is the last that is printed.
pub fn replay(name: &str, target: impl Fn(&[u8]) -> bool) -> Replayed {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(name);
    let entries = std::fs::read_dir(&folder).expect("every target has a corpus");
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("it can be listed").path())
        .collect();
    files.sort();
    let mut replayed = Replayed {
        files: files.len(),
        ..Replayed::default()
    };
    for file in &files {
        println!("{}", file.display());
        let understood = target(&std::fs::read(file).expect("it can be read"));
        if file
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"seed-"))
        {
            replayed.seeds += 1;
            replayed.understood += usize::from(understood);
        }
    }
    replayed
}

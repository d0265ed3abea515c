//! The repository's own files, as the tidy test and the corpora see them.

use std::path::{Path, PathBuf};

/// What no one wrote by hand, or what holds test inputs. (In a worktree, `.git` is a file.)
const NOT_SOURCE: [&str; 8] = [
    ".git",
    "target",
    "node_modules",
    "dist",
    "pkg",
    "corpus",
    "artifacts",
    "fixtures",
];

/// The repository's root.
pub fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests
        .parent()
        .expect("the tests crate lies in the repository")
        .to_path_buf()
}

/// One text file of the repository.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// From the root, with `/` on every system.
    pub path: String,
    /// What it holds.
    pub text: String,
}

/// Every text file of the repository, in order of path.
pub fn files() -> Vec<SourceFile> {
    let root = root();
    let mut found = Vec::new();
    let mut open = vec![root.clone()];
    while let Some(directory) = open.pop() {
        let entries = std::fs::read_dir(&directory).expect("the repository can be read");
        for entry in entries {
            let path = entry.expect("the repository can be read").path();
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            if NOT_SOURCE.contains(&name) {
                continue;
            }
            if path.is_dir() && !path.is_symlink() {
                open.push(path);
            } else if let Ok(text) = std::fs::read_to_string(&path) {
                let path = path
                    .strip_prefix(&root)
                    .expect("it was found under the root");
                let path = path.to_string_lossy().replace('\\', "/");
                found.push(SourceFile { path, text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

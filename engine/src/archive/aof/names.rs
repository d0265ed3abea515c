//! What the archive's files are called.

use crate::storage::Object;

/// The folder of the append-only files.
pub const FOLDER: &str = "appendonlydir";
/// The name that all append-only files begin with.
pub const STEM: &str = "appendonly.aof";
/// The manifest.
pub fn manifest() -> Object {
    in_folder(&manifest_name(STEM))
}

/// The name of the manifest of files that begin with `stem`.
pub fn manifest_name(stem: &str) -> String {
    format!("{stem}{MANIFEST}")
}

/// The end of a manifest's name.
pub const MANIFEST: &str = ".manifest";

/// The name of the base file of this number.
pub fn base(seq: u64) -> String {
    format!("{STEM}.{seq}.base.rdb")
}

/// The name of the incremental file of this number.
pub fn increment(seq: u64) -> String {
    format!("{STEM}.{seq}.incr.aof")
}

/// The object of a file that the manifest names.
pub fn in_folder(name: &str) -> Object {
    Object::Archive(format!("{FOLDER}/{name}").into())
}

/// Where what was cut off a file at `offset` is kept.
pub fn cut(object: &Object, offset: u64) -> Object {
    match object {
        Object::Archive(name) => Object::Archive(format!("{name}.cut-{offset}").into()),
        other => other.clone(),
    }
}

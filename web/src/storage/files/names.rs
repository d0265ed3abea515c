//! Which file holds which object: as the native storage has it, so that each opens what the other has written.

use trilith::Object;

const ARCHIVE: &str = "archive/";

/// The file that holds `object`.
pub(super) fn name_of(object: &Object) -> String {
    match object {
        Object::Table(id) => format!("{id:06}.table"),
        Object::Segment(id) => format!("{id:06}.segment"),
        Object::Archive(name) => format!("{ARCHIVE}{name}"),
    }
}

/// `None` for a file that is somebody else's.
pub(super) fn object_of(name: &str) -> Option<Object> {
    if let Some(name) = name.strip_prefix(ARCHIVE) {
        let object = Object::Archive(name.into());
        return object.check_name().is_ok().then_some(object);
    }
    let (stem, extension) = name.split_once('.')?;
    let id = stem.parse().ok()?;
    // One object has one name: `12` and `+00012` are somebody else's.
    if format!("{id:06}") != stem {
        return None;
    }
    match extension {
        "table" => Some(Object::Table(id)),
        "segment" => Some(Object::Segment(id)),
        _ => None,
    }
}

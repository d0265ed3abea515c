//! Cutting off a torn tail. What is cut off is kept beside the file.

use crate::archive::aof::names;
use crate::archive::draft_of;
use crate::storage::{Durability, Object, Reader, Writer};
use crate::{Error, ErrorKind, Result, Storage};

/// How much is copied at once.
const PIECE_BYTES: u64 = 1 << 20;

/// A file that has been mended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mended {
    /// The file.
    pub object: Object,
    /// How long it is now.
    pub bytes: u64,
    /// How much was cut off.
    pub cut: u64,
    /// Where that is kept.
    pub kept: Object,
}

/// Cuts a file of the archive at `offset`, and keeps what was behind it in a file of its own, which is complete and
/// synced before anything is cut.
///
/// # Errors
/// `Invalid` if there is nothing to cut; those of storage.
pub async fn mend<S: Storage>(storage: &S, object: Object, offset: u64) -> Result<Mended> {
    let reader = storage.open(object.clone()).await?;
    let cut = reader.len().saturating_sub(offset);
    if cut == 0 {
        let detail = "nothing lies behind that";
        let error = Error::new(ErrorKind::Invalid, "cutting off a torn tail", detail);
        return Err(error.on(object).at(offset));
    }
    let kept = names::cut(&object, offset);
    let draft = match &kept {
        Object::Archive(name) => draft_of(name),
        other => other.clone(),
    };
    let mut writer = storage.create(draft.clone()).await?;
    let (mut at, mut end) = (offset, 0);
    while at < reader.len() {
        let bytes = (reader.len() - at).min(PIECE_BYTES);
        end = writer.append(&reader.read_at(at, bytes as u32).await?)?;
        writer.settle(end, Durability::Written).await?;
        at += bytes;
    }
    writer.settle(end, Durability::Synced).await?;
    drop(writer);
    storage.replace(draft, kept.clone()).await?;
    let resumed = storage.resume(object.clone(), offset).await?;
    resumed.settle(offset, Durability::Synced).await?;
    Ok(Mended {
        object,
        bytes: offset,
        cut,
        kept,
    })
}

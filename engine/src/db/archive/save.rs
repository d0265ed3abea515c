//! Snapshots: the whole state as one RDB file, which takes the place of the one before when it is complete.

use super::super::core::Core;
use super::super::machine::Machine;
use super::job::Kind;
use crate::archive::rdb::{Item, Reader};
use crate::archive::{DUMP, POSITIONS_FIELD};
use crate::{Object, Result, Runtime, Storage};

/// What a snapshot says of itself.
#[derive(Default)]
pub(super) struct Dumped {
    /// The second of its newest entry.
    pub time_s: u64,
    /// The entries that it has, as written.
    pub at: Vec<u8>,
}

impl<S: Storage, R: Runtime, M: Machine> Core<S, R, M> {
    /// Writes a snapshot.
    pub(super) async fn save(&self) -> Result<()> {
        self.check_room().await?;
        let (start, changes) = {
            let _applying = self.begin_apply().await?;
            (self.start()?, self.archive.feed.changes())
        };
        self.write_rdb(Kind::Save, DUMP, &start).await?;
        let mut standing = self.archive.standing.lock();
        standing.saved_s = self.runtime.wall_ms() / 1000;
        standing.saved_changes = changes;
        standing.was_changed = false;
        Ok(())
    }

    /// What the snapshot that is there says of itself.
    pub(super) async fn read_dump(&self) -> Result<Dumped> {
        let object = Object::Archive(DUMP.into());
        let reader = self.storage.open(object.clone()).await?;
        let mut reader = Reader::open(reader, object).await?;
        let mut dumped = Dumped::default();
        // These come first.
        while let Some(Item::Aux { name, value }) = reader.next().await? {
            if name == b"ctime" {
                let text = std::str::from_utf8(value).unwrap_or_default();
                dumped.time_s = text.parse().unwrap_or(0);
            } else if name == POSITIONS_FIELD.as_bytes() {
                dumped.at = value.to_vec();
            }
        }
        Ok(dumped)
    }
}

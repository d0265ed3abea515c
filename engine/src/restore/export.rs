//! A node's keys as a snapshot that Redis reads.

use super::report::Progress;
use crate::archive::rdb::{self, Sizes, Written};
use crate::command::{KEYS_PREFIX_BYTES, PlaceKind, place_kind};
use crate::db::Range;
use crate::ring::store::RangeStore;
use crate::{MaybeSend, Result, Runtime, Storage};

/// How often progress is told: after so many keys.
const TELL_EVERY: u64 = 4096;

/// What was exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exported {
    /// What was written.
    pub written: Written,
    /// Keys that were left out, as their time had come.
    pub expired: u64,
}

/// Writes all live keys of a store, as they are at one moment, to the file `name` of the archive in `to`. `seconds` is
/// the moment's own time. Progress is told in bytes written; how many there will be is not known.
///
/// # Errors
/// Those of both storages.
pub async fn export_rdb<S: Storage, R: Runtime, T: Storage>(
    store: &RangeStore<S, R>,
    to: T,
    name: &str,
    options: rdb::EncodeOptions,
    now_ms: u64,
    mut progress: impl FnMut(Progress) + MaybeSend,
) -> Result<Exported> {
    let machine = store.db().machine();
    let sizes = Sizes {
        keys: machine.keys(),
        keys_with_deadline: machine.keys_with_deadline(),
    };
    let seconds = (now_ms / 1000).to_string();
    let aux: [(&str, &[u8]); 1] = [("ctime", seconds.as_bytes())];
    let mut scan = store.db().snapshot().scan(Range::all())?;
    let mut writer = rdb::Writer::create(to, name, options, &aux, sizes).await?;
    let (mut told, mut expired) = (Progress::default(), 0);
    loop {
        let (place, value) = match scan.next().await {
            Ok(Some(pair)) => pair,
            Ok(None) => break,
            Err(error) => {
                writer.abandon().await?;
                return Err(error);
            }
        };
        if place_kind(place) != Some(PlaceKind::Key) {
            continue;
        }
        let (place, value) = (place.to_vec(), bytes::Bytes::copy_from_slice(value));
        let deadline_ms = scan.deadline_ms();
        if deadline_ms != 0 && deadline_ms <= now_ms {
            expired += 1;
            continue;
        }
        writer
            .entry(&place[KEYS_PREFIX_BYTES..], &value, deadline_ms)
            .await?;
        told.items += 1;
        if told.items.is_multiple_of(TELL_EVERY) {
            told.bytes = writer.bytes();
            progress(told);
        }
    }
    let written = writer.finish().await?;
    Ok(Exported { written, expired })
}

//! A second store beside the first: a database of another name, whose meta blob is written last.

use bytes::Bytes;
use js_sys::Uint8Array;
use trilith::{Error, ErrorKind, Object, Reader as _, Result};

use super::queue::Request;
use super::read::RowReader;
use super::rows::ROW_BYTES;
use super::transaction::Mode;
use super::{IndexedDb, name_of};

const DOING: &str = "making a checkpoint";
/// Rows that are copied with one transaction.
const ROWS_AT_ONCE: usize = 16;

impl IndexedDb {
    pub(in crate::storage) async fn checkpoint(
        &self,
        to: String,
        objects: Vec<(Object, u64)>,
        meta: Bytes,
    ) -> Result<()> {
        let copy = Self::new(to, 0, self.0.open_timeout, self.0.releases.clone());
        let there = copy.load().await?;
        if there.meta.is_some() {
            return Err(Error::new(
                ErrorKind::Invalid,
                DOING,
                format!("there is a store in {:?} already", copy.0.name),
            ));
        }
        // What is there without a blob was left by an attempt that did not come to an end.
        copy.remove(
            there
                .objects
                .into_iter()
                .map(|(object, _)| object)
                .collect(),
        )
        .await?;
        for (object, len) in objects {
            self.copy_object(&copy, &object, len)
                .await
                .map_err(|error| error.on(object))?;
        }
        copy.commit(meta).await
    }

    async fn copy_object(&self, copy: &Self, object: &Object, len: u64) -> Result<()> {
        let file = self.find(object, DOING)?;
        if file.len.get() < len {
            let detail = format!("it has {} bytes and should have {len}", file.len.get());
            return Err(Error::corrupt(DOING, detail).at(file.len.get()));
        }
        let reader = RowReader::new(file, self.0.connection.clone());
        let id = copy.0.next_file.replace(copy.0.next_file.get() + 1);
        let mut at = 0;
        let mut requests = Vec::new();
        loop {
            let row = (len - at).min(ROW_BYTES as u64);
            if row > 0 {
                let bytes = reader.read_at(at, row as u32).await?;
                requests.push(Request::PutRow {
                    file: id,
                    start: at,
                    bytes: Uint8Array::from(&bytes[..]),
                });
                at += row;
            }
            if at == len {
                requests.push(Request::PutObject {
                    name: name_of(object),
                    file: id,
                    len,
                });
            }
            if requests.len() >= ROWS_AT_ONCE || at == len {
                let written = copy
                    .change(std::mem::take(&mut requests), Mode::Relaxed)
                    .await;
                written.map_err(|failure| failure.into_error(DOING))?;
            }
            if at == len {
                return Ok(());
            }
        }
    }
}

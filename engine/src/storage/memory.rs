//! A complete storage in memory: for stores that need not outlive the process, and for tests that do
//! not test the disk.
//!
//! Everything is settled the moment it is appended, and nothing ever fails for lack of a disk. What
//! breaks is the business of [`FaultyStorage`](super::FaultyStorage).

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

use super::hold::{Hold, Lock};
use super::{Contents, Durability, MaybeSend, Object, Reader, Storage, Writer};
use crate::{Error, ErrorKind, Result};

/// Objects in memory. Clones share them; a checkpoint goes to another, empty `MemoryStorage`.
///
/// The store is locked from [`load`](Storage::load) until the handle that loaded it and all clones
/// made of that handle since are dropped:
///
/// ```
/// # futures_lite::future::block_on(async {
/// use trilith::{ErrorKind, MemoryStorage, Storage};
/// let kept = MemoryStorage::new();
/// let open = kept.clone();
/// open.load().await?;
/// assert_eq!(kept.clone().load().await.unwrap_err().kind(), ErrorKind::Locked);
/// drop(open);
/// kept.clone().load().await?;
/// # Ok::<(), trilith::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Debug, Default)]
pub struct MemoryStorage {
    store: Arc<Store>,
    hold: Hold,
}

#[derive(Debug, Default)]
struct Store {
    held: Mutex<Holdings>,
    lock: Lock,
}

#[derive(Debug, Default)]
struct Holdings {
    objects: BTreeMap<Object, Data>,
    meta: Option<Bytes>,
}

type Data = Arc<RwLock<Vec<u8>>>;

impl MemoryStorage {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes in all objects and the meta blob.
    pub fn bytes(&self) -> u64 {
        let held = self.store.held.lock();
        let objects: usize = held.objects.values().map(|data| data.read().len()).sum();
        (objects + held.meta.as_ref().map_or(0, Bytes::len)) as u64
    }

    /// Frees the store, as if the process that holds it had ended.
    pub fn unlock(&self) {
        self.store.lock.force();
    }

    fn find(&self, object: &Object, doing: &'static str) -> Result<Data> {
        let found = self.store.held.lock().objects.get(object).cloned();
        found.ok_or_else(|| missing(doing, object))
    }
}

fn missing(doing: &'static str, object: &Object) -> Error {
    Error::new(ErrorKind::Missing, doing, "there is no such object").on(object.clone())
}

impl Storage for MemoryStorage {
    type Writer = MemoryWriter;
    type Reader = MemoryReader;
    type Place = MemoryStorage;

    async fn load(&self) -> Result<Contents> {
        self.hold.take(&self.store.lock)?;
        let held = self.store.held.lock();
        let objects = held.objects.iter();
        Ok(Contents {
            meta: held.meta.clone(),
            objects: objects
                .map(|(object, data)| (object.clone(), data.read().len() as u64))
                .collect(),
            // Nothing here outlives a boot, so the boot never changes.
            host_epoch: Some(0),
        })
    }

    async fn commit(&self, meta: Bytes) -> Result<()> {
        self.store.held.lock().meta = Some(meta);
        Ok(())
    }

    async fn create(&self, object: Object) -> Result<MemoryWriter> {
        object.check_name()?;
        let data = Data::default();
        self.store
            .held
            .lock()
            .objects
            .insert(object.clone(), data.clone());
        Ok(MemoryWriter { object, data })
    }

    async fn resume(&self, object: Object, cut_at: u64) -> Result<MemoryWriter> {
        let data = self.find(&object, "resuming an object")?;
        {
            let mut bytes = data.write();
            let len = bytes.len() as u64;
            if cut_at > len {
                let detail = format!("it is {len} bytes long");
                return Err(Error::new(ErrorKind::Invalid, "resuming an object", detail)
                    .on(object)
                    .at(cut_at));
            }
            bytes.truncate(cut_at as usize);
        }
        Ok(MemoryWriter { object, data })
    }

    async fn open(&self, object: Object) -> Result<MemoryReader> {
        let data = self.find(&object, "opening an object")?;
        let len = data.read().len() as u64;
        Ok(MemoryReader { object, data, len })
    }

    async fn replace(&self, from: Object, to: Object) -> Result<()> {
        to.check_name()?;
        let mut held = self.store.held.lock();
        match held.objects.remove(&from) {
            Some(data) => held.objects.insert(to, data),
            None => return Err(missing("replacing an object", &from)),
        };
        Ok(())
    }

    async fn remove(&self, objects: Vec<Object>) -> Result<()> {
        let mut held = self.store.held.lock();
        for object in &objects {
            held.objects.remove(object);
        }
        Ok(())
    }

    async fn checkpoint(
        &self,
        to: MemoryStorage,
        objects: Vec<(Object, u64)>,
        meta: Bytes,
    ) -> Result<()> {
        const DOING: &str = "making a checkpoint";
        let mut copies = BTreeMap::new();
        for (object, len) in objects {
            let data = self.find(&object, DOING)?;
            let copy = data.read().get(..len as usize).map(<[u8]>::to_vec);
            let Some(copy) = copy else {
                let detail = format!("it has no {len} bytes");
                return Err(Error::new(ErrorKind::Invalid, DOING, detail).on(object));
            };
            copies.insert(object, Arc::new(RwLock::new(copy)));
        }
        let mut there = to.store.held.lock();
        if there.meta.is_some() || !there.objects.is_empty() {
            return Err(Error::new(
                ErrorKind::Invalid,
                DOING,
                "the place is not empty",
            ));
        }
        there.objects = copies;
        there.meta = Some(meta);
        Ok(())
    }

    async fn room(&self) -> Result<Option<u64>> {
        Ok(None)
    }
}

/// Appends to an object in memory.
#[derive(Debug)]
pub struct MemoryWriter {
    object: Object,
    data: Data,
}

impl Writer for MemoryWriter {
    fn append(&mut self, bytes: &[u8]) -> Result<u64> {
        let mut data = self.data.write();
        data.extend_from_slice(bytes);
        Ok(data.len() as u64)
    }

    fn settle(
        &self,
        upto: u64,
        _to: Durability,
    ) -> impl Future<Output = Result<()>> + MaybeSend + use<> {
        let len = self.data.read().len() as u64;
        let result = if upto <= len {
            Ok(())
        } else {
            let detail = format!("only {len} bytes were appended");
            Err(Error::new(ErrorKind::Invalid, "settling", detail)
                .on(self.object.clone())
                .at(upto))
        };
        std::future::ready(result)
    }
}

/// Reads an object in memory.
#[derive(Clone, Debug)]
pub struct MemoryReader {
    object: Object,
    data: Data,
    len: u64,
}

impl MemoryReader {
    fn read(&self, offset: u64, len: u32) -> Result<Bytes> {
        let data = self.data.read();
        slice(&data, offset, len)
            .map(Bytes::copy_from_slice)
            .ok_or_else(|| past_end(&self.object, offset, len, data.len()))
    }
}

/// The bytes asked for, if they are all there.
pub(super) fn slice(bytes: &[u8], offset: u64, len: u32) -> Option<&[u8]> {
    let start = usize::try_from(offset).ok()?;
    bytes.get(start..start.checked_add(len as usize)?)
}

/// The error of a read that [`slice`] has no bytes for.
pub(super) fn past_end(object: &Object, offset: u64, len: u32, held: usize) -> Error {
    let detail = format!("{len} bytes were asked for and the object ends at {held}");
    Error::corrupt("reading", detail)
        .on(object.clone())
        .at(offset)
}

impl Reader for MemoryReader {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_now(&self, offset: u64, len: u32) -> Option<Result<Bytes>> {
        Some(self.read(offset, len))
    }

    async fn read_at(&self, offset: u64, len: u32) -> Result<Bytes> {
        self.read(offset, len)
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::block_on;

    use super::*;

    async fn segment(bytes: &[u8]) -> (MemoryStorage, MemoryWriter) {
        let storage = MemoryStorage::new();
        let mut writer = storage.create(Object::Segment(1)).await.unwrap();
        writer.append(bytes).unwrap();
        (storage, writer)
    }

    fn kind_of<T>(result: Result<T>) -> ErrorKind {
        match result {
            Ok(_) => panic!("it succeeded"),
            Err(error) => error.kind(),
        }
    }

    #[test]
    fn what_was_appended_is_settled_and_read_at_once() {
        block_on(async {
            let (storage, mut writer) = segment(b"first").await;
            assert_eq!(writer.append(b" second").unwrap(), 12);
            writer.settle(12, Durability::Synced).await.unwrap();
            let past = writer.settle(13, Durability::Written).await;
            assert_eq!(kind_of(past), ErrorKind::Invalid);
            let reader = storage.open(Object::Segment(1)).await.unwrap();
            assert_eq!(reader.len(), 12);
            assert_eq!(reader.read_now(6, 6).unwrap().unwrap(), "second");
            assert_eq!(reader.read_at(0, 5).await.unwrap(), "first");
            for (offset, len) in [(7, 6), (13, 0), (u64::MAX, 1)] {
                let read = reader.read_at(offset, len).await;
                assert_eq!(kind_of(read), ErrorKind::Corrupt);
            }
        });
    }

    #[test]
    fn the_next_load_finds_objects_and_meta() {
        block_on(async {
            let (storage, _writer) = segment(b"five!").await;
            storage.create(Object::Table(9)).await.unwrap();
            storage.commit("old".into()).await.unwrap();
            storage.commit("new".into()).await.unwrap();
            let contents = storage.load().await.unwrap();
            assert_eq!(contents.meta.unwrap(), "new");
            let expected = [(Object::Table(9), 0), (Object::Segment(1), 5)];
            assert_eq!(contents.objects, expected);
            assert_eq!(storage.bytes(), 8);
        });
    }

    #[test]
    fn resuming_cuts_what_lies_behind() {
        block_on(async {
            let (storage, _writer) = segment(b"torn").await;
            let past = storage.resume(Object::Segment(1), 5).await;
            assert_eq!(kind_of(past), ErrorKind::Invalid);
            let mut writer = storage.resume(Object::Segment(1), 2).await.unwrap();
            assert_eq!(writer.append(b"ol").unwrap(), 4);
            let reader = storage.open(Object::Segment(1)).await.unwrap();
            assert_eq!(reader.read_at(0, 4).await.unwrap(), "tool");
        });
    }

    #[test]
    fn open_readers_go_on_after_remove_create_and_replace() {
        block_on(async {
            let (storage, _writer) = segment(b"old").await;
            let old = storage.open(Object::Segment(1)).await.unwrap();
            let mut writer = storage.create(Object::Segment(2)).await.unwrap();
            writer.append(b"new").unwrap();
            storage
                .replace(Object::Segment(2), Object::Segment(1))
                .await
                .unwrap();
            let new = storage.open(Object::Segment(1)).await.unwrap();
            let removed = vec![Object::Segment(1), Object::Table(5)];
            storage.remove(removed).await.unwrap();
            assert_eq!(old.read_at(0, 3).await.unwrap(), "old");
            assert_eq!(new.read_at(0, 3).await.unwrap(), "new");
            for id in [1, 2] {
                let open = storage.open(Object::Segment(id)).await;
                assert_eq!(kind_of(open), ErrorKind::Missing);
            }
            let replace = storage.replace(Object::Segment(2), Object::Table(1));
            assert_eq!(kind_of(replace.await), ErrorKind::Missing);
        });
    }

    #[test]
    fn a_checkpoint_shares_nothing_with_its_source() {
        block_on(async {
            let (storage, mut writer) = segment(b"bytes").await;
            let place = MemoryStorage::new();
            let objects = vec![(Object::Segment(1), 3)];
            let make = |objects| storage.checkpoint(place.clone(), objects, "meta".into());
            make(objects.clone()).await.unwrap();
            writer.append(b"more").unwrap();
            assert_eq!(place.bytes(), 7);
            assert_eq!(kind_of(make(objects).await), ErrorKind::Invalid);
            let missing = vec![(Object::Table(1), 0)];
            assert_eq!(kind_of(make(missing).await), ErrorKind::Missing);
        });
    }

    #[test]
    fn a_store_is_locked_while_a_clone_of_the_handle_that_loaded_it_lives() {
        block_on(async {
            let kept = MemoryStorage::new();
            let first = kept.clone();
            first.load().await.unwrap();
            let shared = first.clone();
            drop(first);
            assert_eq!(kind_of(kept.load().await), ErrorKind::Locked);
            assert_eq!(kind_of(shared.load().await), ErrorKind::Locked);
            drop(shared);
            let second = kept.clone();
            second.load().await.unwrap();
            kept.unlock();
            kept.load().await.unwrap();
            drop(second);
            assert_eq!(kind_of(kept.clone().load().await), ErrorKind::Locked);
        });
    }
}

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
use super::{Contents, Durability, Object, Reader, Storage, Writer};
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
/// # trilith::Result::Ok(()) }).unwrap();
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
    ) -> impl Future<Output = Result<()>> + Send + use<> {
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

//! A sorted map behind a lock: the floor under any store, and what the workloads are tested with.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use parking_lot::RwLock;

use super::target::Target;

/// A target that keeps everything in memory and nothing else.
#[derive(Default)]
pub struct Model {
    map: RwLock<BTreeMap<Bytes, Bytes>>,
}

impl Target for Model {
    fn name(&self) -> &str {
        "model"
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), String> {
        self.map
            .write()
            .insert(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
        Ok(())
    }

    fn get(&self, key: &[u8], each: &mut dyn FnMut(&[u8])) -> Result<bool, String> {
        let value = self.map.read().get(key).cloned();
        if let Some(value) = &value {
            each(value);
        }
        Ok(value.is_some())
    }

    fn delete(&self, key: &[u8]) -> Result<(), String> {
        self.map.write().remove(key);
        Ok(())
    }

    fn scan(
        &self,
        from: Option<&[u8]>,
        limit: u64,
        each: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<u64, String> {
        let start = from.map_or(Bound::Unbounded, Bound::Included);
        let map = self.map.read();
        let mut count = 0;
        for (key, value) in map.range::<[u8], _>((start, Bound::Unbounded)) {
            if count == limit {
                break;
            }
            each(key, value);
            count += 1;
        }
        Ok(count)
    }

    fn settle(&self) -> Result<(), String> {
        Ok(())
    }
}

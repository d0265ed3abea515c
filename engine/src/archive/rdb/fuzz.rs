//! A door for the fuzzer: it takes any bytes, and must neither panic nor allocate out of proportion.

use super::window::{READ_BYTES, Window};
use super::{Item, Reader};
use crate::storage;
use crate::{Object, Result};

/// A whole file, read to its end in large pieces and in small ones, which must come to the same; answers how many keys
/// it has.
pub async fn read<R: storage::Reader>(reader: R) -> Result<u64> {
    let small = read_in(reader.clone(), 1).await;
    let large = read_in(reader, READ_BYTES).await;
    match (&small, &large) {
        (Ok(small), Ok(large)) => assert_eq!(small, large),
        (Err(small), Err(large)) => assert_eq!(small.to_string(), large.to_string()),
        _ => panic!("in small pieces {small:?}, in large ones {large:?}"),
    }
    large
}

async fn read_in<R: storage::Reader>(reader: R, read_bytes: usize) -> Result<u64> {
    let len = reader.len();
    let object = Object::Archive("dump.rdb".into());
    let mut file = Reader::begin(Window::new(reader, object, read_bytes)).await?;
    let mut keys = 0;
    let mut last = 0;
    while let Some(item) = file.next().await? {
        if let Item::Entry { offset, .. } | Item::Unsupported { offset, .. } = item {
            assert!(last < offset, "offsets go forward");
            last = offset;
            keys += 1;
        }
        assert!(file.offset() <= len, "nothing is read behind the end");
    }
    assert!(file.ending().is_some(), "who says that it ended, says how");
    Ok(keys)
}

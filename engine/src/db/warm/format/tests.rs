use std::collections::BTreeSet;

use futures_lite::future::block_on;
use proptest::prelude::*;

use super::*;
use crate::{Durability, MemoryStorage, Storage, Writer};

/// A file of bytes.
fn file(bytes: &[u8]) -> impl Reader {
    block_on(async {
        let storage = MemoryStorage::new();
        storage.load().await.unwrap();
        let mut writer = storage.create(object()).await.unwrap();
        let end = writer.append(bytes).unwrap();
        writer.settle(end, Durability::Written).await.unwrap();
        storage.open(object()).await.unwrap()
    })
}

fn written(keys: &BTreeSet<Vec<u8>>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = KeysWriter::begin(&mut out);
    for key in keys {
        writer.add(key, &mut out);
    }
    writer.finish(&mut out);
    out
}

/// The keys up to the end, or up to what is wrong.
fn read(bytes: &[u8]) -> (Vec<Vec<u8>>, Result<u64>) {
    let mut keys = Vec::new();
    let ended = block_on(async {
        let mut reader = KeysReader::open(file(bytes)).await?;
        loop {
            match reader.next().await? {
                Next::Keys(mut section) => {
                    while let Some(key) = section.next() {
                        keys.push(key.to_vec());
                    }
                }
                Next::End(count) => return Ok(count),
            }
        }
    });
    (keys, ended)
}

fn some_keys(count: u32) -> BTreeSet<Vec<u8>> {
    let key = |i: u32| format!("user:{:08}:{}", i.wrapping_mul(7919) % count, i % 7).into_bytes();
    (0..count).map(key).collect()
}

proptest! {
    #[test]
    fn keys_come_back_as_they_were_written(
        keys in prop::collection::btree_set(prop::collection::vec(any::<u8>(), 0..40), 0..200)
    ) {
        let (found, ended) = read(&written(&keys));
        prop_assert_eq!(ended.unwrap(), keys.len() as u64);
        prop_assert!(found.iter().eq(&keys));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let sound = written(&BTreeSet::new());
        let _ = read(&bytes);
        let _ = read(&[&sound[..HEADER_BYTES], &bytes].concat());
    }

    #[test]
    fn a_section_of_any_bytes_behind_its_checksum_is_read_or_refused(
        body in prop::collection::vec(any::<u8>(), 0..300), kind in 0_u8..4
    ) {
        let mut file = Vec::new();
        let mut writer = KeysWriter::begin(&mut file);
        writer.push_section(kind, &body, &mut file);
        let (keys, _) = read(&file);
        prop_assert!(keys.is_sorted());
        prop_assert!(keys.iter().map(Vec::len).max().unwrap_or(0) <= body.len() * body.len());
    }
}

#[test]
fn many_keys_take_several_sections_and_less_room_than_they_have_bytes() {
    let keys = some_keys(60_000);
    let bytes = written(&keys);
    assert!(bytes.len() > 2 * SECTION_BYTES);
    assert!(bytes.len() < keys.iter().map(Vec::len).sum::<usize>() / 2);
    let (found, ended) = read(&bytes);
    assert_eq!(ended.unwrap(), keys.len() as u64);
    assert!(found.iter().eq(&keys));
}

#[test]
fn the_longest_keys_fit() {
    let keys = (0..4).map(|last| [&vec![7; KEY_BYTES_MAX - 1][..], &[last]].concat());
    let keys: BTreeSet<_> = keys.chain([vec![0; KEY_BYTES_MAX]]).collect();
    let (found, ended) = read(&written(&keys));
    assert_eq!((found.len(), ended.unwrap()), (5, 5));
}

#[test]
fn what_is_cut_anywhere_is_refused_behind_its_sound_sections() {
    let keys = some_keys(9_000);
    let bytes = written(&keys);
    for cut in (0..bytes.len()).step_by(997).chain([bytes.len() - 1]) {
        let (found, ended) = read(&bytes[..cut]);
        assert_eq!(
            ended.unwrap_err().kind(),
            ErrorKind::Corrupt,
            "cut at {cut}"
        );
        assert!(keys.iter().zip(&found).all(|(key, found)| key == found));
    }
}

#[test]
fn every_flipped_bit_is_noticed() {
    let bytes = written(&some_keys(40));
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let (_, ended) = read(&flipped);
        assert!(ended.is_err(), "bit {bit}");
    }
}

#[test]
fn another_version_is_refused_by_name() {
    let mut bytes = written(&some_keys(3));
    bytes[8] = 2;
    let error = read(&bytes).1.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Newer);
    assert!(error.to_string().contains("warm/hot.keys"), "{error}");
}

#[test]
fn a_section_that_grows_out_of_proportion_takes_no_memory() {
    // One long key, and then many that share all but a byte of it: 16 bytes more each time it doubles.
    let mut file = Vec::new();
    let mut writer = KeysWriter::begin(&mut file);
    let long = vec![1; 60_000];
    writer.add(&long, &mut file);
    for i in 0_u16..1000 {
        writer.add(&[&long[..], &i.to_be_bytes()].concat(), &mut file);
    }
    writer.finish(&mut file);
    assert!(file.len() < 70_000);
    let mut reader = block_on(KeysReader::open(super::tests::file(&file))).unwrap();
    let Next::Keys(section) = block_on(reader.next()).unwrap() else {
        panic!("there are keys");
    };
    assert_eq!(section.count(), Ok(1001));
    assert!(section.body.len() < 70_000 && section.key.capacity() == 0);
}

//! What is not what it should be is refused, by name and place, and costs nothing.

use proptest::prelude::*;

use super::*;
use crate::ErrorKind;
use crate::record::VALUE_BYTES_MAX;

fn sample() -> Vec<u8> {
    let entries: Vec<Entry> = (0..20u32)
        .map(|i| {
            let value = vec![b'a' + i as u8; 3 * i as usize];
            (i.to_string().into(), value, u64::from(i % 3))
        })
        .collect();
    encoded(EncodeOptions::default(), &entries)
}

#[test]
fn a_version_that_is_not_written_is_refused() {
    for version in [0, 8, 12, u16::MAX] {
        let options = EncodeOptions {
            version,
            compress: true,
        };
        let error = Encoder::new(options).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
}

#[test]
fn a_newer_version_is_refused_as_newer_and_other_files_as_none() {
    for version in [13, 80, 9999] {
        assert_eq!(refused(&file_of(version, &[])).kind(), ErrorKind::Newer);
    }
    for head in [
        "REDIS0000",
        "REDIS+009",
        "REDIS 009",
        "REDIS00x9",
        "VALKEY080",
        "redis0009",
        "REDIS000",
        "",
    ] {
        let error = refused(format!("{head}\u{ff}").as_bytes());
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{head}");
    }
    for version in 1..=12 {
        let ending = read(&file_of(version, &[])).unwrap().ending;
        assert!(!ending.checked);
        assert_eq!(ending.offset, if version < 5 { 10 } else { 18 });
    }
}

#[test]
fn a_file_that_was_cut_anywhere_is_corrupt() {
    let file = sample();
    for len in 0..file.len() {
        let error = refused(&file[..len]);
        assert_eq!(error.kind(), ErrorKind::Corrupt, "cut at {len}: {error}");
    }
}

#[test]
fn no_flipped_bit_changes_what_is_given_out_unnoticed() {
    let file = sample();
    let sound = read(&file).unwrap();
    for bit in 0..file.len() * 8 {
        let mut flipped = file.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        // Where the version is changed to one that has no checksum, the content is what it was.
        if let Ok(content) = read_in(&flipped, READ_BYTES) {
            assert_eq!(content.items, sound.items, "bit {bit}");
            assert!(content.ending.offset < file.len() as u64, "bit {bit}");
        }
    }
}

#[test]
fn a_wrong_checksum_is_reported_and_none_is_accepted() {
    let mut file = sample();
    let at = file.len() - 8;
    file[at] ^= 1;
    let error = refused(&file);
    assert!(error.to_string().contains("checksum"), "{error}");
    file[at..].fill(0);
    assert!(!read(&file).unwrap().ending.checked);
}

#[test]
fn an_error_names_the_object_and_where_the_item_began() {
    let error = refused(&file_of(9, b"\x00\x01k\x01v\x00\x01k\xc4"));
    assert_eq!(
        error.to_string(),
        "reading an item of archive dump.rdb at offset 14: corrupt: no such length"
    );
}

#[test]
fn lengths_beyond_the_file_take_no_memory() {
    for string in [
        &b"\x80\xff\xff\xff\xff"[..],
        b"\x81\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x7f\xff",
        b"\xc3\x80\xff\xff\xff\xff\x01",
        b"\xc3\x81\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        // Says that it comes to more than so few bytes can.
        b"\xc3\x02\x80\x1f\xff\xff\xff\x00a",
    ] {
        let mut items = b"\x00\x01k".to_vec();
        items.extend_from_slice(string);
        assert_eq!(refused(&file_of(9, &items)).kind(), ErrorKind::Corrupt);
        // As a key of any type, and within a value of another.
        for before in [
            &b"\x00"[..],
            b"\x01",
            b"\x02\x01k\x02\x01a",
            b"\x0f\x01k\x01",
        ] {
            let mut items = before.to_vec();
            items.extend_from_slice(string);
            let content = read(&file_of(9, &items));
            if string[0] != 0xc3 || content.is_err() {
                assert_eq!(content.unwrap_err().kind(), ErrorKind::Corrupt);
            }
        }
    }
}

#[test]
fn a_string_that_is_longer_than_a_value_may_be_is_refused_as_invalid() {
    let mut items = b"\x00\x01k\xc3\x02\x80".to_vec();
    items.extend((VALUE_BYTES_MAX as u32 + 1).to_be_bytes());
    items.extend(b"\x00a");
    let error = refused(&file_of(9, &items));
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
}

#[test]
fn deadlines_that_have_passed_long_ago_are_not_taken_for_none() {
    for (bytes, deadline_ms) in [
        (&b"\xfd\x00\x00\x00\x00"[..], 1),
        (b"\xfd\xff\xff\xff\xff", 1),
        (b"\xfd\x02\x00\x00\x00", 2000),
        (b"\xfc\x00\x00\x00\x00\x00\x00\x00\x00", 1),
        (b"\xfc\xff\xff\xff\xff\xff\xff\xff\xff", 1),
        (b"\xfc\x02\x00\x00\x00\x00\x00\x00\x00", 2),
    ] {
        let mut items = bytes.to_vec();
        items.extend(b"\x00\x01k\x01v\x00\x01l\x01v");
        let content = read(&file_of(9, &items)).unwrap();
        let deadlines: Vec<u64> = content.entries.iter().map(|entry| entry.2).collect();
        assert_eq!(deadlines, [deadline_ms, 0]);
    }
}

proptest! {
    #[test]
    fn any_bytes_are_taken_without_panic(
        version in 1u16..=12,
        items in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let _ = read(&file_of(version, &items));
    }

    #[test]
    fn bytes_that_look_like_items_are_taken_without_panic(
        version in 1u16..=12,
        items in prop::collection::vec(
            prop_oneof![
                prop::sample::select(vec![
                    0u8, 1, 2, 3, 4, 5, 7, 14, 15, 18, 19, 21, 22, 24, 25, 244, 245, 247, 248,
                    249, 250, 251, 252, 253, 254, 255, 0x80, 0x81, 0xc0, 0xc1, 0xc2, 0xc3,
                ]),
                0u8..8,
            ],
            0..100,
        ),
    ) {
        let _ = read(&file_of(version, &items));
    }
}

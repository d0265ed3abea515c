//! What is written is what the format says, and comes back.

use proptest::prelude::*;

use super::*;

fn plain(version: u16) -> EncodeOptions {
    EncodeOptions {
        version,
        compress: false,
    }
}

#[test]
fn a_file_is_byte_for_byte_what_the_documentation_says() {
    let mut encoder = Encoder::new(EncodeOptions::default()).unwrap();
    let mut out = Vec::new();
    let sizes = Sizes {
        keys: 2,
        keys_with_deadline: 1,
    };
    encoder.header(&mut out, &[("ctime", b"1700000000")], sizes);
    encoder.entry(&mut out, b"key", b"value", 0);
    encoder.entry(&mut out, b"12", &[b'a'; 30], 0x0123_4567_89ab);
    encoder.end(&mut out);

    let mut expected = b"REDIS0009".to_vec();
    expected.extend(b"\xfa\x05ctime\xc2");
    expected.extend(1_700_000_000u32.to_le_bytes());
    expected.extend(b"\xfe\x00\xfb\x02\x01");
    expected.extend(b"\x00\x03key\x05value");
    expected.extend(b"\xfc\xab\x89\x67\x45\x23\x01\x00\x00");
    // 30 times the same letter: the letter, and 29 more of it from one byte back.
    expected.extend(b"\x00\xc0\x0c\xc3\x05\x1e\x00a\xe0\x14\x00");
    expected.push(0xff);
    let crc = crate::archive::crc64::update(0, &expected);
    expected.extend(crc.to_le_bytes());
    assert_eq!(out, expected);
}

#[test]
fn every_version_that_is_written_has_the_same_content() {
    let entries = vec![(b"key".to_vec(), b"value".to_vec(), 5)];
    let files = [9, 10, 11].map(|version| encoded(plain(version), &entries));
    for (file, version) in files.iter().zip([9, 10, 11]) {
        assert_eq!(file[..9], *format!("REDIS{version:04}").as_bytes());
        assert_eq!(file[9..file.len() - 8], files[0][9..files[0].len() - 8]);
        assert_eq!(read(file).unwrap().entries, entries);
    }
}

#[test]
fn only_a_number_that_can_be_written_in_one_way_is_stored_as_one() {
    for (text, stored) in [
        ("0", 2),
        ("-1", 2),
        ("127", 2),
        ("-128", 2),
        ("128", 3),
        ("-129", 3),
        ("32767", 3),
        ("-32768", 3),
        ("32768", 5),
        ("2147483647", 5),
        ("-2147483648", 5),
        // Too large, or with another way to write it, or not a number.
        ("2147483648", 11),
        ("-2147483649", 12),
        ("99999999999", 12),
        ("00", 3),
        ("-0", 3),
        ("01", 3),
        ("+1", 3),
        ("-", 2),
        ("1a", 3),
        (" 1", 3),
        ("", 1),
    ] {
        let entries = vec![(b"key".to_vec(), text.into(), 0)];
        let file = encoded(plain(9), &entries);
        let without = encoded(plain(9), &[]);
        assert_eq!(file.len() - without.len(), 5 + stored, "{text:?}");
        assert_eq!(read(&file).unwrap().entries, entries, "{text:?}");
    }
}

#[test]
fn lengths_of_every_form_come_back() {
    for len in [
        0,
        1,
        63,
        64,
        16_383,
        16_384,
        70_000,
        READ_BYTES,
        READ_BYTES + 1,
    ] {
        let value: Vec<u8> = (0..len as u64).map(|i| ((i * i) >> 3) as u8).collect();
        let entries = vec![
            (b"before".to_vec(), b"b".to_vec(), 0),
            (vec![b'k'; len.min(65_000)], value, 7),
            (b"after".to_vec(), b"a".to_vec(), 0),
        ];
        for compress in [false, true] {
            let options = EncodeOptions {
                compress,
                ..EncodeOptions::default()
            };
            let file = encoded(options, &entries);
            assert_eq!(read_in(&file, READ_BYTES).unwrap().entries, entries);
            assert_eq!(read_in(&file, 1000).unwrap().entries, entries);
        }
    }
}

#[test]
fn a_deadline_that_readers_would_take_for_negative_is_the_latest_there_is() {
    let entries = [(b"k".to_vec(), b"v".to_vec(), u64::MAX)];
    let content = read(&encoded(plain(9), &entries)).unwrap();
    assert_eq!(content.entries[0].2, i64::MAX as u64);
}

#[test]
fn a_file_is_read_in_its_order_with_offsets() {
    let mut encoder = Encoder::new(plain(10)).unwrap();
    let mut file = Vec::new();
    let sizes = Sizes {
        keys: 70,
        keys_with_deadline: 1 << 40,
    };
    encoder.header(&mut file, &[("redis-ver", b"7.0.15"), ("n", b"5")], sizes);
    let first = file.len() as u64;
    encoder.entry(&mut file, b"a", b"1", 9);
    let second = file.len() as u64;
    encoder.entry(&mut file, b"b", b"2", 0);
    encoder.end(&mut file);
    let content = read(&file).unwrap();
    let expected = [
        Item::Aux {
            name: b"redis-ver",
            value: b"7.0.15",
        },
        Item::Aux {
            name: b"n",
            value: b"5",
        },
        Item::Select(0),
        Item::Sizes(sizes),
        Item::Entry {
            offset: first,
            database: 0,
            key: b"a",
            value: b"1",
            deadline_ms: 9,
        },
        Item::Entry {
            offset: second,
            database: 0,
            key: b"b",
            value: b"2",
            deadline_ms: 0,
        },
    ];
    assert_eq!(content.items, expected.map(|item| format!("{item:?}")));
    let offset = file.len() as u64;
    assert_eq!(
        content.ending,
        Ending {
            offset,
            checked: true
        }
    );
}

#[test]
fn what_stands_behind_the_end_is_not_read() {
    let mut file = encoded(plain(9), &[(b"k".to_vec(), b"v".to_vec(), 0)]);
    let offset = file.len() as u64;
    file.extend(b"*1\r\n$4\r\nPING\r\n");
    assert_eq!(read(&file).unwrap().ending.offset, offset);
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        any::<i64>().prop_map(|number| number.to_string().into_bytes()),
        any::<i16>().prop_map(|number| number.to_string().into_bytes()),
        (prop::collection::vec(0u8..3, 1..20), 0usize..400)
            .prop_map(|(piece, times)| piece.repeat(times)),
    ]
}

proptest! {
    #[test]
    fn what_is_written_comes_back(
        entries in prop::collection::vec(
            (bytes(), bytes(), prop_oneof![Just(0), 0..=i64::MAX as u64]),
            0..20,
        ),
        version in 9u16..=11,
        compress in any::<bool>(),
        read_bytes in 1usize..2000,
    ) {
        let file = encoded(EncodeOptions { version, compress }, &entries);
        let content = read_in(&file, read_bytes).unwrap();
        prop_assert_eq!(content.entries, entries);
        let offset = file.len() as u64;
        prop_assert_eq!(content.ending, Ending { offset, checked: true });
    }
}

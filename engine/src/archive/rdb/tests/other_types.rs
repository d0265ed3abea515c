//! Values that only Redis has are named and passed over, whatever is in them.

use super::*;
use crate::ErrorKind;

/// A string of a file.
fn text(bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![bytes.len() as u8];
    out.extend_from_slice(bytes);
    out
}

/// A value of every type, as the type's number, TYPE's name for it, and what follows the key. Made by the format's
/// description, with strings in every form that strings have.
fn values() -> Vec<(u8, &'static str, Vec<u8>)> {
    // Plain, number of one, two and four bytes, compressed.
    let texts = [
        &b"\x02ab"[..],
        b"\xc0\x07",
        b"\xc1\x07\x07",
        b"\xc2\x07\x07\x07\x07",
        b"\xc3\x05\x1e\x00a\xe0\x14\x00",
        b"\x40\x03xyz",
    ]
    .concat();
    let raw = |len: usize| vec![0xff; len];
    let mut with_scores = vec![3];
    let mut with_scores_as_text = vec![4];
    for member in [b"a", b"b", b"c"] {
        with_scores.extend([text(member), raw(8)].concat());
        with_scores_as_text.extend([text(member), text(b"1.5")].concat());
    }
    with_scores_as_text.extend(b"\x01d\xfe");
    let fields = b"\x02\x00\x01f\x01v\x81\x00\x00\x01\x00\x00\x00\x00\x00\x01g\xc0\x01".to_vec();
    let packed = text(b"some listpack");
    vec![
        (1, "list", [vec![6], texts.clone()].concat()),
        (2, "set", [vec![6], texts.clone()].concat()),
        (3, "zset", with_scores_as_text),
        (4, "hash", [vec![3], texts.clone()].concat()),
        (5, "zset", with_scores),
        (7, "ReJSON-RL", module()),
        (9, "hash", packed.clone()),
        (10, "list", packed.clone()),
        (11, "set", packed.clone()),
        (12, "zset", packed.clone()),
        (13, "hash", packed.clone()),
        (14, "list", [vec![6], texts].concat()),
        (15, "stream", stream(1)),
        (16, "hash", packed.clone()),
        (17, "zset", packed.clone()),
        (18, "list", b"\x02\x01\x03big\x02\x04pack".to_vec()),
        (19, "stream", stream(2)),
        (20, "set", packed.clone()),
        (21, "stream", stream(3)),
        (22, "hash", fields.clone()),
        (23, "hash", packed.clone()),
        (24, "hash", [raw(8), fields].concat()),
        (25, "hash", [raw(8), packed].concat()),
    ]
}

/// ReJSON-RL, version 3, with a part of every sort.
fn module() -> Vec<u8> {
    let mut number = 0u64;
    for letter in [17, 30, 9, 18, 14, 13, 62, 17, 11] {
        number = number << 6 | letter;
    }
    let mut out = vec![0x81];
    out.extend((number << 10 | 3).to_be_bytes());
    out.extend(parts());
    out
}

fn parts() -> Vec<u8> {
    b"\x01\x05\x02\x40\x80\x03\xff\xff\xff\xff\x04\xff\xff\xff\xff\xff\xff\xff\xff\x05\x03abc\x00"
        .to_vec()
}

fn stream(version: u8) -> Vec<u8> {
    let mut out = vec![2];
    for _ in 0..2 {
        out.extend([text(&[0xff; 16]), text(b"entries")].concat());
    }
    out.extend(b"\x05\x81\x00\x00\x01\x8b\xcf\xe5\x68\x00\x03");
    if version >= 2 {
        out.extend([1, 2, 3, 4, 5]);
    }
    out.push(2);
    for group in [b"one", b"two"] {
        out.extend(text(group));
        out.extend([7, 8]);
        if version >= 2 {
            out.extend(b"\x81\xff\xff\xff\xff\xff\xff\xff\xff");
        }
        // Two deliveries, and one consumer who has them.
        out.push(2);
        out.extend([[0xff; 24].as_slice(), b"\x01", &[0xff; 24], b"\x02"].concat());
        out.push(1);
        out.extend(text(b"consumer"));
        out.extend(vec![0xff; if version >= 3 { 16 } else { 8 }]);
        out.push(2);
        out.extend([0xff; 32]);
    }
    out
}

#[test]
fn a_value_of_every_type_is_named_and_passed_over() {
    for (number, name, value) in values() {
        let mut items = b"\x00\x01a\x011\xfc\x05\x00\x00\x00\x00\x00\x00\x00\xf9\x07".to_vec();
        items.push(number);
        items.extend(text(b"other"));
        items.extend(&value);
        items.extend(b"\xf8\x40\xff\x00\x01z\x011");
        let content =
            read(&file_of(12, &items)).unwrap_or_else(|error| panic!("{number}: {error}"));
        let entry = |key: &[u8]| (key.to_vec(), b"1".to_vec(), 0);
        assert_eq!(content.entries, [entry(b"a"), entry(b"z")], "{number}");
        assert_eq!(content.items.len(), 3);
        let kind = super::super::ValueKind::Module(*b"ReJSON-RL");
        let expected = if number == 7 {
            format!("{kind:?}")
        } else {
            let kinds = [
                ("list", "List"),
                ("set", "Set"),
                ("zset", "SortedSet"),
                ("hash", "Hash"),
                ("stream", "Stream"),
            ];
            kinds.iter().find(|kind| kind.0 == name).unwrap().1.into()
        };
        let item = &content.items[1];
        assert!(item.ends_with(&format!("kind: {expected} }}")), "{item}");
        // Where it begins is where its deadline stands.
        assert!(item.contains("offset: 14,"), "{item}");
    }
}

#[test]
fn a_value_of_any_type_that_was_cut_is_corrupt() {
    for (number, _, value) in values() {
        let mut file = b"REDIS0012".to_vec();
        file.push(number);
        file.extend(text(b"other"));
        file.extend(&value);
        for len in 10..file.len() {
            assert_eq!(
                refused(&file[..len]).kind(),
                ErrorKind::Corrupt,
                "{number} cut at {len}"
            );
        }
    }
}

#[test]
fn a_count_that_no_file_has_ends_with_the_file() {
    for number in [1, 2, 3, 4, 5, 14, 15, 18, 19, 21, 22, 24] {
        let mut items = vec![number];
        items.extend(text(b"k"));
        if number == 24 {
            items.extend([0; 8]);
        }
        items.extend(b"\x81\xff\xff\xff\xff\xff\xff\xff\xff");
        items.extend([1; 100]);
        assert_eq!(refused(&file_of(12, &items)).kind(), ErrorKind::Corrupt);
    }
}

#[test]
fn functions_modules_data_and_slots_are_passed_over() {
    let mut items = b"\xf5".to_vec();
    items.extend(text(b"#!lua name=mylib"));
    items.push(247);
    items.extend(&module()[..9]);
    items.extend(b"\x02\x02");
    items.extend(parts());
    items.extend(b"\xfe\x03\xf4\x01\x02\x03\x00\x01k\x01v");
    let content = read(&file_of(12, &items)).unwrap();
    assert_eq!(
        content.items[..3],
        [
            "Functions { offset: 9 }".to_owned(),
            format!("Module {{ offset: 27, name: {:?} }}", b"ReJSON-RL"),
            "Select(3)".to_owned()
        ]
    );
    assert!(content.items[3].contains("database: 3"), "{content:?}");
    assert_eq!(content.items.len(), 4);
}

#[test]
fn what_cannot_be_passed_over_is_refused() {
    let error = refused(&file_of(8, b"\x06\x01k"));
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    for number in [8, 26, 100, 246] {
        let error = refused(&file_of(12, &[number, 1, b'k', 1, b'v']));
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    }
    // A part of a module that there is not.
    let mut items = b"\x07\x01k".to_vec();
    items.extend(&module()[..9]);
    items.push(6);
    assert_eq!(refused(&file_of(12, &items)).kind(), ErrorKind::Corrupt);
}

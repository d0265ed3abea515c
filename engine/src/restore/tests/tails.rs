//! Files whose tail is torn, and gaps.

use futures_lite::future::block_on;

use crate::archive::aof::{
    Covered, File, Kind, Manifest, Positions, Tear, checksum, encode, names,
};
use crate::restore::testing::{error_of, folder, load, load_file};
use crate::restore::{Torn, mend};
use crate::storage::{Object, Reader, Storage};
use crate::{ErrorKind, FaultyStorage};

const NOW_MS: u64 = 1_700_000_000_000;

fn manifest(seqs: &[u64]) -> Manifest {
    let mut manifest = Manifest::default();
    for &seq in seqs {
        let file = File::new(names::increment(seq), seq, Kind::Increment);
        manifest.increments.push(file);
    }
    manifest
}

fn increment(pairs: &[(u64, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    Positions::from_iter([(0, 1)]).encode_all(&mut out);
    for (second, key) in pairs {
        encode::timestamp(&mut out, *second);
        encode::set(&mut out, key.as_bytes(), b"v", 0);
    }
    out
}

#[test]
fn a_tail_torn_at_any_byte_is_left_out_and_reported() {
    let mut bytes = Vec::new();
    let mut ends = vec![0];
    for round in 0..6 {
        match round {
            2 => {
                encode::command(&mut bytes, &["MULTI"]);
                encode::set(&mut bytes, b"in", b"1", 0);
                encode::command(&mut bytes, &["EXEC"]);
            }
            4 => encode::timestamp(&mut bytes, 5),
            _ => encode::set(&mut bytes, format!("k{round}").as_bytes(), b"v", 0),
        }
        ends.push(bytes.len());
    }
    for cut in 0..bytes.len() {
        let whole = ends.iter().rposition(|&end| end <= cut).unwrap();
        let (found, report) = load_file(&bytes[..cut], false, NOW_MS).unwrap();
        let (expected, _) = load_file(&bytes[..ends[whole]], false, NOW_MS).unwrap();
        assert_eq!(found, expected, "cut at {cut}");
        let torn = report.files[0].torn;
        assert_eq!(torn.is_some(), cut != ends[whole]);
        if let Some(torn) = torn {
            let tail = (ends[whole] as u64, (cut - ends[whole]) as u64);
            assert_eq!((torn.offset, torn.bytes), tail);
        }
    }
}

#[test]
fn only_the_newest_file_may_have_a_torn_tail() {
    let [first, second] = [increment(&[(10, "a"), (11, "b")]), increment(&[(12, "c")])];
    let torn = &first[..first.len() - 3];
    let names = [names::increment(1), names::increment(2)];
    let files = |first, second| {
        folder(
            &manifest(&[1, 2]),
            &[(&names[0], first), (&names[1], second)],
        )
    };
    let error = error_of(load(&files(torn, &second), None, NOW_MS));
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    // What was before is there.
    let (found, _) = load(&files(torn, &second), Some(10), NOW_MS).unwrap();
    assert_eq!(found.len(), 1);
    let error = error_of(load(&files(torn, &second), Some(12), NOW_MS));
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    let (found, report) = load(&files(&first, &second[..second.len() - 1]), None, NOW_MS).unwrap();
    assert_eq!(found.len(), 2);
    let (object, torn) = report.torn().unwrap();
    assert_eq!(*object, names::in_folder(&names[1]));
    assert_eq!(torn.tear, Tear::Command);
}

#[test]
fn from_a_gap_on_nothing_is_covered_until_there_is_a_new_base() {
    let mut gap = increment(&[(10, "a"), (12, "b")]);
    encode::gap(&mut gap, 14);
    encode::timestamp(&mut gap, 16);
    encode::set(&mut gap, b"c", b"v", 0);
    let mut base = Vec::new();
    encode::timestamp(&mut base, 20);
    for key in [b"a", b"b", b"c", b"d"] {
        encode::set(&mut base, key, b"v", 0);
    }
    let after = increment(&[(21, "e"), (25, "f")]);
    let first = names::increment(1);
    let storage = folder(&manifest(&[1]), &[(&first, &gap)]);
    let error = error_of(load(&storage, None, NOW_MS));
    assert!(error.to_string().contains("covered is 10 to 13"), "{error}");
    assert_eq!(load(&storage, Some(13), NOW_MS).unwrap().0.len(), 2);
    assert_eq!(
        error_of(load(&storage, Some(14), NOW_MS)).kind(),
        ErrorKind::Invalid
    );

    let mut whole = Manifest {
        base: Some(File {
            time: Some(20),
            incr: Some(2),
            ..File::new("x.1.base.aof", 1, Kind::Base)
        }),
        ..Manifest::default()
    };
    whole.history.push(File {
        time: Some(10),
        incr: Some(1),
        ..File::new("x.0.base.aof", 1, Kind::History)
    });
    whole
        .history
        .push(File::new(names::increment(1), 1, Kind::History));
    whole
        .increments
        .push(File::new(names::increment(2), 2, Kind::Increment));
    let second = names::increment(2);
    let files: [(&str, &[u8]); 4] = [
        (&first, &gap),
        (&second, &after),
        ("x.1.base.aof", &base),
        ("x.0.base.aof", b""),
    ];
    let storage = folder(&whole, &files);
    for (to, keys) in [
        (10, Some(1)),
        (13, Some(2)),
        (14, None),
        (19, None),
        (20, Some(4)),
        (21, Some(5)),
        (25, Some(6)),
        (26, None),
    ] {
        let found = load(&storage, Some(to), NOW_MS)
            .ok()
            .map(|(found, _)| found.len());
        assert_eq!(found, keys, "second {to}");
    }
    let (found, report) = load(&storage, None, NOW_MS).unwrap();
    assert_eq!(found.len(), 6);
    // The newest state needs nothing that was replaced, and so does not know of it.
    assert_eq!(report.covered, [Covered { from: 20, to: 25 }]);
    let (_, report) = load(&storage, Some(20), NOW_MS).unwrap();
    assert_eq!(
        report.covered,
        [Covered { from: 10, to: 13 }, Covered { from: 20, to: 25 }]
    );
}

#[test]
fn what_is_mended_is_cut_and_what_was_cut_is_kept() {
    let storage = FaultyStorage::new();
    let object = Object::Archive("appendonlydir/x.aof".into());
    block_on(async {
        use crate::storage::{Durability, Writer};
        storage.load().await.unwrap();
        let mut writer = storage.create(object.clone()).await.unwrap();
        let end = writer.append(b"whole and torn").unwrap();
        writer.settle(end, Durability::Synced).await.unwrap();
        drop(writer);
        let mended = mend(&storage, object.clone(), 5).await.unwrap();
        assert_eq!((mended.bytes, mended.cut), (5, 9));
        let all = |object: Object| {
            let storage = storage.clone();
            async move {
                let reader = storage.open(object).await.unwrap();
                reader.read_at(0, reader.len() as u32).await.unwrap()
            }
        };
        assert_eq!(all(object.clone()).await, "whole");
        assert_eq!(all(mended.kept).await, " and torn");
        let again = mend(&storage, object, 5).await.unwrap_err();
        assert_eq!(again.kind(), ErrorKind::Invalid);
    });
}

#[test]
fn a_wrong_checksum_is_damage_unless_nothing_that_is_right_follows() {
    let mut bytes = Vec::new();
    let mut ends = Vec::new();
    for (second, key) in [(10, "a"), (11, "b"), (12, "c")] {
        let mut written = increment(&[(second, key)]);
        let mut last = Vec::new();
        checksum::end(&mut last, &written);
        bytes.append(&mut written);
        bytes.append(&mut last);
        ends.push(bytes.len());
    }
    assert_eq!(load_file(&bytes, false, NOW_MS).unwrap().0.len(), 3);
    for (place, &end) in ends.iter().enumerate() {
        // The value, which ends the last command.
        let at = bytes[..end].windows(3).rposition(|found| found == b"v\r\n");
        let mut damaged = bytes.clone();
        damaged[at.unwrap()] ^= 1;
        let loaded = load_file(&damaged, false, NOW_MS);
        if place < 2 {
            let error = error_of(loaded);
            assert_eq!(error.kind(), ErrorKind::Corrupt);
            let begins = place.checked_sub(1).map_or(0, |before| ends[before]);
            assert_eq!(error.offset(), Some(begins as u64));
            continue;
        }
        let (found, report) = loaded.unwrap();
        assert_eq!(found.len(), 2);
        let torn = report.files[0].torn.unwrap();
        assert_eq!((torn.offset, torn.tear), (ends[1] as u64, Tear::Checksum));
    }
}

#[test]
fn zeros_behind_the_last_command_are_a_torn_tail() {
    let mut bytes = increment(&[(10, "a")]);
    let whole = bytes.len() as u64;
    bytes.extend_from_slice(&[0; 300_000]);
    let (_, report) = load_file(&bytes, false, NOW_MS).unwrap();
    let torn = Torn {
        offset: whole,
        bytes: 300_000,
        tear: Tear::Zeros,
    };
    assert_eq!(report.files[0].torn, Some(torn));
}

//! The manifest there and back, and against damage.

use proptest::prelude::*;

use super::super::levels::tests::table;
use super::*;

fn range_record(number: u32) -> impl Strategy<Value = RangeRecord> {
    let numbers = proptest::array::uniform6(any::<u64>());
    let rest = (
        any::<Option<u64>>(),
        proptest::collection::vec(any::<u8>(), 0..20),
        any::<i64>(),
        any::<u32>(),
    );
    (numbers, rest).prop_map(move |(n, (vote, configuration, keys, flags))| RangeRecord {
        range: number,
        term: n[0],
        vote,
        configuration: configuration.into(),
        applied_index: n[1],
        applied_term: n[2],
        applied_time_ms: n[3],
        log_start_index: n[4],
        incarnation: u128::from(n[5]) << 64 | u128::from(n[4]),
        keys,
        flags,
    })
}

/// Levels with some of everything, from a few dice.
fn levels(tables: Vec<(u8, u8, u64, u64)>) -> Levels {
    let mut edit = Edit {
        values: vec![ValuesFile {
            id: 1000,
            bytes: 500,
        }],
        ..Edit::default()
    };
    for (i, (level, shape, bytes, deadline)) in tables.into_iter().enumerate() {
        let id = i as u64 + 1;
        // Disjoint in keys and sequence numbers, so that every level takes it.
        let mut table = table(
            id,
            &format!("k{i:03}"),
            &format!("k{i:03}x"),
            id * 10..=id * 10 + 9,
        );
        table.bytes = bytes;
        table.range_deletes = u64::from(shape % 3);
        table.largest = match shape % 3 {
            0 => table.largest,
            _ => Bound::Excluded(format!("k{i:03}y").into_bytes().into()),
        };
        if shape % 2 == 0 {
            table.deadlines = Deadlines {
                count: 3,
                min_ms: deadline,
                max_ms: deadline.saturating_add(77),
            };
        }
        if i == 0 || shape % 5 == 0 {
            table.values = vec![ValuesRef { id: 1000, bytes: 7 }];
        }
        edit.add
            .push((usize::from(level) % LEVELS, Arc::new(table)));
    }
    Levels::default().apply(&edit).unwrap().levels
}

fn manifest() -> impl Strategy<Value = Manifest> {
    let tables = proptest::collection::vec(
        (any::<u8>(), any::<u8>(), 0..u64::MAX >> 8, any::<u64>()),
        0..12,
    );
    let ranges = (0u32..6)
        .prop_flat_map(|count| (0..count).map(|n| range_record(n * 7)).collect::<Vec<_>>());
    let ids = (any::<u128>(), any::<Option<u128>>(), any::<bool>());
    let numbers = proptest::array::uniform5(any::<u64>());
    let settings = proptest::collection::vec(any::<u8>(), 0..40);
    (tables, ranges, ids, numbers, settings).prop_map(|(tables, ranges, ids, n, settings)| {
        Manifest {
            store_id: ids.0,
            host_epoch: ids.1,
            clean: ids.2,
            next_object: n[0].max(1001),
            applied_seq: n[1],
            log_start: n[2],
            log_synced: LogPosition {
                segment: n[3],
                offset: n[4],
            },
            ranges,
            settings: settings.into(),
            levels: levels(tables),
        }
    })
}

fn sealed(mut blob: Vec<u8>) -> Vec<u8> {
    let crc = crc32fast::hash(&blob[VERSION_AT..]);
    blob[CRC_AT..VERSION_AT].copy_from_slice(&crc.to_le_bytes());
    blob
}

#[test]
fn a_new_store_round_trips() {
    let manifest = Manifest::default();
    assert_eq!(Manifest::decode(&manifest.encode()).unwrap(), manifest);
}

#[test]
fn an_endless_table_round_trips() {
    let mut endless = table(3, "a", "b", 1..=5);
    endless.largest = Bound::Unbounded;
    let manifest = Manifest {
        next_object: 4,
        levels: super::super::levels::tests::tree(vec![(6, endless)]),
        ..Manifest::default()
    };
    assert_eq!(Manifest::decode(&manifest.encode()).unwrap(), manifest);
}

#[test]
fn a_newer_version_is_told_from_damage_and_both_are_named() {
    let mut blob = Manifest::default().encode().to_vec();
    blob[VERSION_AT] = 9;
    assert_eq!(
        Manifest::decode(&blob).unwrap_err().kind(),
        ErrorKind::Corrupt
    );
    let error = Manifest::decode(&sealed(blob)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Newer);
    assert!(error.to_string().contains("version 9") && error.to_string().contains("version 1"));
}

#[test]
fn ids_that_are_still_to_be_given_out_are_refused() {
    let manifest = Manifest {
        next_object: 3,
        levels: super::super::levels::tests::tree(vec![(1, table(3, "a", "b", 1..=5))]),
        ..Manifest::default()
    };
    assert_eq!(
        Manifest::decode(&manifest.encode()).unwrap_err().kind(),
        ErrorKind::Corrupt
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_manifest_round_trips(manifest in manifest()) {
        prop_assert_eq!(Manifest::decode(&manifest.encode()).unwrap(), manifest);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed(manifest in manifest(), bit in 0u8..8) {
        let blob = manifest.encode();
        for at in 0..blob.len() {
            let mut flipped = blob.to_vec();
            flipped[at] ^= 1 << bit;
            prop_assert_eq!(Manifest::decode(&flipped).unwrap_err().kind(), ErrorKind::Corrupt);
            prop_assert_eq!(Manifest::decode(&blob[..at]).unwrap_err().kind(), ErrorKind::Corrupt);
        }
    }

    #[test]
    fn bytes_with_a_valid_checksum_never_panic(manifest in manifest(), changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8), cut: prop::sample::Index) {
        let mut blob = manifest.encode().to_vec();
        for (at, byte) in changes {
            let at = BODY_AT + at.index(blob.len() - BODY_AT);
            blob[at] = byte;
        }
        let _ = Manifest::decode(&sealed(blob.clone()));
        blob.truncate(BODY_AT + cut.index(blob.len() - BODY_AT));
        let _ = Manifest::decode(&sealed(blob));
    }

    #[test]
    fn arbitrary_bytes_never_panic(body in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = Manifest::decode(&body);
        let mut blob = MAGIC.to_vec();
        blob.extend_from_slice(&[0; 4]);
        blob.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        blob.extend_from_slice(&body);
        let _ = Manifest::decode(&sealed(blob));
    }
}

//! A table against a sorted list, and a table against every kind of damage.

use std::sync::Arc;

use futures_lite::future::block_on;
use proptest::prelude::*;

use super::testing::{MemReader, MemWriter};
use super::*;
use crate::lsm::cache::BlockCache;
use crate::lsm::cursor::{Cursor, Direction, Position};
use crate::lsm::trace::{BlockKind, BlockRead, BlockSource, Trace};
use crate::lsm::values::ValueRef;
use crate::record::{Kind, RangeDelete, Record, hash_key};
use crate::{ErrorKind, Result};

mod reads;

const ID: u64 = 7;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Owned {
    key: Vec<u8>,
    seq: u64,
    kind: Kind,
    deadline_ms: u64,
    value: Vec<u8>,
}

impl Owned {
    fn record(&self) -> Record<'_> {
        Record {
            key: &self.key,
            seq: self.seq,
            kind: self.kind,
            deadline_ms: self.deadline_ms,
            value: &self.value,
        }
    }

    fn of(record: Record<'_>) -> Self {
        Self {
            key: record.key.to_vec(),
            seq: record.seq,
            kind: record.kind,
            deadline_ms: record.deadline_ms,
            value: record.value.to_vec(),
        }
    }
}

fn put(key: impl AsRef<[u8]>, seq: u64, value: impl AsRef<[u8]>) -> Owned {
    Owned {
        key: key.as_ref().to_vec(),
        seq,
        kind: Kind::Put,
        deadline_ms: 0,
        value: value.as_ref().to_vec(),
    }
}

fn small_blocks() -> TableOptions {
    TableOptions {
        block_bytes: 100,
        restart_interval: 3,
        ..TableOptions::default()
    }
}

fn write(
    records: &[Owned],
    ranges: &[RangeDelete],
    options: TableOptions,
) -> (Vec<u8>, TableSummary) {
    let file = MemWriter::default();
    let mut writer = TableWriter::new(file.clone(), ID, options);
    for record in records {
        writer.add(record.record()).unwrap();
    }
    for range in ranges {
        writer.add_range_delete(range).unwrap();
    }
    let summary = block_on(writer.finish()).unwrap();
    (file.bytes(), summary)
}

fn open_with(reader: MemReader, cache_bytes: u64) -> Result<Table<MemReader>> {
    block_on(Table::open(
        reader,
        ID,
        Arc::new(BlockCache::new(cache_bytes)),
    ))
}

fn open(bytes: &[u8]) -> Result<Table<MemReader>> {
    open_with(MemReader::new(bytes), 1 << 20)
}

fn get<R: crate::Reader>(table: &Table<R>, key: &[u8], seq: u64) -> Result<Option<Found>> {
    block_on(table.get(hash_key(key), key, seq, &mut ()))
}

/// Everything from `from` on, and how many refills that took.
fn walk(cursor: &mut TableCursor<MemReader>, from: Option<&[u8]>) -> Result<(Vec<Owned>, usize)> {
    let (mut seen, mut refills) = (Vec::new(), 0);
    let mut position = cursor.seek(from)?;
    loop {
        position = match position {
            Position::Record => {
                assert_eq!(cursor.value(), cursor.record().value);
                seen.push(Owned::of(cursor.record()));
                cursor.step()?
            }
            Position::Refill => {
                refills += 1;
                block_on(cursor.refill())?
            }
            Position::End => return Ok((seen, refills)),
        };
    }
}

fn any_record() -> impl Strategy<Value = Owned> {
    let key = prop_oneof![
        prop::collection::vec(0u8..3, 0..5),
        prop::collection::vec(any::<u8>(), 0..40),
    ];
    let value = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..30),
        prop::collection::vec(0u8..2, 0..400),
    ];
    (
        key,
        0u64..1 << 50,
        0u64..3,
        prop_oneof![Just(0u64), 1u64..1 << 45],
        value,
        any::<u64>(),
    )
        .prop_map(|(key, seq, kind, deadline_ms, mut value, word)| {
            let seq = seq >> (word % 50);
            let kind = [Kind::Put, Kind::Delete, Kind::PutApart][kind as usize];
            match kind {
                Kind::Delete => value.clear(),
                Kind::PutApart => {
                    value.clear();
                    let (file, offset) = (word % 3, word % 1000);
                    ValueRef {
                        file,
                        offset,
                        stored_len: 30,
                        len: 20,
                    }
                    .encode(&mut value);
                }
                Kind::Put => {}
            }
            Owned {
                key,
                seq,
                kind,
                deadline_ms,
                value,
            }
        })
}

fn sorted(mut records: Vec<Owned>) -> Vec<Owned> {
    records.sort_by(|a, b| a.record().position().cmp(&b.record().position()));
    records.dedup_by(|a, b| a.record().position() == b.record().position());
    records
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_table_agrees_with_a_sorted_list(
        records in prop::collection::vec(any_record(), 0..120),
        probes in prop::collection::vec((prop::collection::vec(0u8..4, 0..5), any::<u64>()), 0..20),
        packed: bool,
        waits: bool,
        cache_bytes in prop_oneof![Just(0u64), Just(1 << 20)],
        fill_cache: bool,
        read_ahead_bytes in prop_oneof![Just(0u32), Just(1 << 18)],
        block_bytes in 50usize..600,
        filter_bits_per_key in prop_oneof![Just(0u32), Just(10), 1u32..20],
    ) {
        let records = sorted(records);
        let options = TableOptions {
            block_bytes,
            filter_bits_per_key,
            compression: if packed { Compression::Lz4 } else { Compression::None },
            ..small_blocks()
        };
        let (bytes, summary) = write(&records, &[], options);
        prop_assert_eq!(summary.file_bytes, bytes.len() as u64);
        let reader = if waits { MemReader::waiting(&bytes) } else { MemReader::new(&bytes) };
        let table = open_with(reader, cache_bytes).unwrap();
        prop_assert_eq!(table.properties(), &summary.properties);
        prop_assert_eq!(block_on(table.verify()).len(), 0);

        let known = records.iter().map(|record| (record.key.clone(), record.seq));
        let probes: Vec<_> = known.chain(probes).collect();
        for (key, seq) in &probes {
            for seq_max in [*seq, seq.saturating_sub(1), u64::MAX] {
                let expected = records.iter().find(|record| record.key == *key && record.seq <= seq_max);
                let found = get(&table, key, seq_max).unwrap();
                let found = found.map(|found| Owned {
                    key: key.clone(),
                    seq: found.seq,
                    kind: found.kind,
                    deadline_ms: found.deadline_ms,
                    value: found.value.to_vec(),
                });
                prop_assert_eq!(found.as_ref(), expected);
            }
        }

        let options = CursorOptions { fill_cache, read_ahead_bytes };
        let mut forward = table.cursor(Direction::Forward, options);
        let mut backward = table.cursor(Direction::Backward, options);
        prop_assert_eq!(&walk(&mut forward, None).unwrap().0, &records);
        let mut reversed = walk(&mut backward, None).unwrap().0;
        reversed.reverse();
        prop_assert_eq!(&reversed, &records);
        for (key, _) in probes.iter().rev().take(30) {
            let split = records.partition_point(|record| record.key < *key);
            prop_assert_eq!(&walk(&mut forward, Some(key)).unwrap().0[..], &records[split..]);
            let mut before = walk(&mut backward, Some(key)).unwrap().0;
            before.reverse();
            prop_assert_eq!(&before[..], &records[..split]);
        }
    }

    #[test]
    fn any_bytes_are_decoded_without_a_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        restarts in 0u32..4,
        key in prop::collection::vec(any::<u8>(), 0..3),
    ) {
        fuzz::small_parts(&bytes);
        let _ = block_on(fuzz::table_of(MemReader::new(&bytes), ID, &key));
        let mut bytes = bytes;
        for restart in 0..restarts {
            bytes.extend_from_slice(&(restart * 7).to_le_bytes());
        }
        bytes.extend_from_slice(&restarts.to_le_bytes());
        fuzz::block(&bytes, &key);
    }

    /// Damage under a checksum that was made to fit: what an attacker can hand in.
    #[test]
    fn tables_forged_with_right_checksums_are_read_without_a_panic(
        block in any::<prop::sample::Index>(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        key in prop_oneof![Just(b"key05".to_vec()), prop::collection::vec(any::<u8>(), 0..4)],
    ) {
        let (records, ranges) = sample();
        let options = TableOptions { compression: Compression::None, ..small_blocks() };
        let (mut bytes, _) = write(&records, &ranges, options);
        let handles = stored_blocks(&bytes);
        let handle = handles[block.index(handles.len())];
        let (start, end) = (handle.offset as usize, handle.end() as usize);
        let body = start..end - frame::TRAILER_BYTES;
        for (index, byte) in damage {
            let index = index.index(body.len());
            bytes[start + index] = byte;
        }
        let crc = frame::checksum(&bytes[body], 0, ID, handle.offset);
        bytes[end - 4..end].copy_from_slice(&crc.to_le_bytes());
        let _ = block_on(fuzz::table_of(MemReader::new(&bytes), ID, &key));
    }

    /// Blocks that are almost right reach further into the decoders than noise does.
    #[test]
    fn damaged_blocks_are_decoded_without_a_panic(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        key in prop::collection::vec(0u8..3, 0..4),
    ) {
        let mut builder = block::BlockBuilder::new(3);
        for i in 0..20u8 {
            let record = put([i / 9, i / 3 % 3, i % 3], 9, [i; 3]);
            let common = block::common_prefix(builder.last_key(), &record.key);
            builder.push(&record.record(), common);
        }
        let mut bytes = builder.finish().clone();
        for (index, byte) in damage {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        fuzz::block(&bytes, &key);
    }
}

/// Where every stored block of a table lies, its data blocks first.
fn stored_blocks(bytes: &[u8]) -> Vec<index::Handle> {
    let table = open(bytes).unwrap();
    let table = table.inner();
    let mut handles = Vec::new();
    let index = handles_in(table.top.clone());
    for handle in &index {
        let stored = bytes[handle.offset as usize..handle.end() as usize].to_vec();
        let block = frame::unseal(&stored.into(), ID, handle.offset).unwrap();
        handles.extend(handles_in(block::Block::new(block).unwrap()));
    }
    handles.extend(index);
    let footer = &table.footer;
    handles.extend([footer.top, footer.ranges, footer.properties]);
    handles
}

fn handles_in(block: block::Block) -> Vec<index::Handle> {
    let mut cursor = block_cursor::BlockCursor::new(Direction::Forward);
    cursor.reset(block);
    let mut found = cursor.first().unwrap();
    let mut handles = Vec::new();
    while found {
        let value = cursor.record().unwrap().value;
        handles.push(index::Handle::decode(value, &(0..u64::MAX)).unwrap());
        found = cursor.advance().unwrap();
    }
    handles
}

fn sample() -> (Vec<Owned>, Vec<RangeDelete>) {
    let mut records = Vec::new();
    for i in 0..12u64 {
        for seq in (0..1 + i % 3).rev() {
            let mut record = put(format!("key{i:02}"), 10 * seq + i, vec![i as u8; 20]);
            record.deadline_ms = i % 2 * 1000;
            records.push(record);
        }
    }
    let end = Some(b"y".as_slice().into());
    let range = RangeDelete {
        start: b"x".as_slice().into(),
        end,
        seq: 50,
    };
    (records, vec![range])
}

#[test]
fn every_flipped_bit_is_reported_and_never_served() {
    let (records, ranges) = sample();
    let (bytes, summary) = write(&records, &ranges, small_blocks());
    for bit in 0..bytes.len() * 8 {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let table = match open(&bytes) {
            Ok(table) => table,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corrupt, "bit {bit}: {error}");
                assert_eq!(error.object(), Some(&crate::Object::Table(ID)));
                continue;
            }
        };
        assert_eq!(table.properties(), &summary.properties);
        assert_eq!(table.range_deletes(), &ranges);
        assert!(!block_on(table.verify()).is_empty(), "bit {bit}");
        for record in &records {
            match get(&table, &record.key, record.seq) {
                Ok(found) => assert_eq!(found.unwrap().value, record.value, "bit {bit}"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt),
            }
        }
        for direction in [Direction::Forward, Direction::Backward] {
            let mut cursor = table.cursor(direction, CursorOptions::whole_table());
            if let Ok((mut seen, _)) = walk(&mut cursor, None) {
                if direction == Direction::Backward {
                    seen.reverse();
                }
                assert_eq!(seen, records, "bit {bit}");
            }
        }
    }
}

#[test]
fn a_table_cut_short_does_not_open() {
    let (records, ranges) = sample();
    let (bytes, _) = write(&records, &ranges, small_blocks());
    for len in 0..bytes.len() {
        assert_eq!(
            open(&bytes[..len]).unwrap_err().kind(),
            ErrorKind::Corrupt,
            "{len} bytes"
        );
    }
}

#[test]
fn a_file_served_for_another_is_refused() {
    let (bytes, _) = write(&sample().0, &[], small_blocks());
    let cache = Arc::new(BlockCache::new(1 << 20));
    let error = block_on(Table::open(MemReader::new(&bytes), ID + 1, cache)).unwrap_err();
    assert!(error.to_string().contains("footer of table 7"), "{error}");
}

#[test]
fn properties_tell_what_the_table_holds() {
    let (mut records, ranges) = sample();
    let mut value = Vec::new();
    ValueRef {
        file: 3,
        offset: 24,
        stored_len: 109,
        len: 100,
    }
    .encode(&mut value);
    records.push(Owned {
        kind: Kind::PutApart,
        ..put("z", 90, &value)
    });
    records.push(Owned {
        kind: Kind::Delete,
        ..put("zz", 91, "")
    });
    let options = TableOptions {
        created_ms: 5,
        creator: "flush".into(),
        ..small_blocks()
    };
    let (bytes, summary) = write(&records, &ranges, options);
    let properties = open(&bytes).unwrap().properties().clone();
    assert_eq!(properties, summary.properties);
    assert_eq!(properties.entries, records.len() as u64);
    assert_eq!((properties.deletes, properties.values_apart), (1, 1));
    assert_eq!(
        properties.apart,
        [ApartUse {
            file: 3,
            bytes: 109,
            count: 1
        }]
    );
    assert_eq!((properties.smallest_seq, properties.largest_seq), (0, 91));
    assert_eq!(
        (&*properties.smallest_key, &*properties.largest_key),
        (&b"key00"[..], &b"zz"[..])
    );
    assert_eq!(
        (
            properties.smallest_deadline_ms,
            properties.largest_deadline_ms
        ),
        (1000, 1000)
    );
    assert_eq!((properties.created_ms, &*properties.creator), (5, "flush"));
    let span = summary.range_span.unwrap();
    assert_eq!(
        (&*span.start, span.end.as_deref()),
        (&b"x"[..], Some(&b"y"[..]))
    );
}

#[test]
fn a_table_of_range_deletes_alone_has_no_records() {
    let (_, ranges) = sample();
    let (bytes, summary) = write(&[], &ranges, TableOptions::default());
    let table = open(&bytes).unwrap();
    assert_eq!(
        (table.range_deletes(), summary.properties.entries),
        (&ranges[..], 0)
    );
    assert_eq!(
        (
            summary.properties.smallest_seq,
            summary.properties.largest_seq
        ),
        (50, 50)
    );
    assert_eq!(get(&table, b"x", u64::MAX).unwrap(), None);
    let mut cursor = table.cursor(Direction::Forward, CursorOptions::default());
    assert_eq!(cursor.seek(None).unwrap(), Position::End);
    assert!(block_on(table.verify()).is_empty());
}

#[test]
fn records_out_of_order_are_refused() {
    let mut writer = TableWriter::new(MemWriter::default(), ID, TableOptions::default());
    writer.add(put("b", 5, "").record()).unwrap();
    for wrong in [
        put("a", 9, ""),
        put("b", 5, ""),
        put("b", 6, ""),
        put("", 1, ""),
    ] {
        let error = writer.add(wrong.record()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
    writer.add(put("b", 4, "").record()).unwrap();
    writer.add(put("ba", 9, "").record()).unwrap();
}

#[test]
fn what_exceeds_the_limits_is_refused() {
    let mut writer = TableWriter::new(MemWriter::default(), ID, TableOptions::default());
    let huge = vec![0; INLINE_VALUE_BYTES_MAX + 1];
    let wrong = [
        put(vec![0; crate::record::KEY_BYTES_MAX + 1], 1, ""),
        put("a", crate::record::SEQ_MAX + 1, ""),
        put("a", 1, huge),
        Owned {
            kind: Kind::PutApart,
            ..put("a", 1, "no reference")
        },
    ];
    for record in wrong {
        assert_eq!(
            writer.add(record.record()).unwrap_err().kind(),
            ErrorKind::Invalid
        );
    }
    let empty = RangeDelete {
        start: b"a".as_slice().into(),
        end: Some(b"a".as_slice().into()),
        seq: 1,
    };
    assert!(writer.add_range_delete(&empty).is_err());
    let longest = put(
        vec![1; crate::record::KEY_BYTES_MAX],
        crate::record::SEQ_MAX,
        "v",
    );
    writer.add(longest.record()).unwrap();
}

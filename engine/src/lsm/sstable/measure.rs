//! Quick figures, by hand: `cargo test --release -p trilith measure_tables -- --ignored --nocapture`.

use std::sync::Arc;
use std::time::Instant;

use futures_lite::future::block_on;

use super::testing::{MemReader, MemWriter};
use super::*;
use crate::lsm::cache::BlockCache;
use crate::lsm::cursor::{Cursor, Direction, Position};
use crate::record::{Kind, Record, hash_key};

fn value(i: u64) -> [u8; 100] {
    // Half noise, half constant: compresses about two to one.
    let mut value = [b'v'; 100];
    let mut state = i.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for chunk in value[..48].chunks_exact_mut(8) {
        state = state.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(1);
        chunk.copy_from_slice(&(state ^ state >> 29).to_le_bytes());
    }
    value
}

#[test]
#[ignore = "a measurement, not a test"]
fn measure_tables() {
    // The first fits into the processor's caches: what the code costs. The second does not.
    for keys in [10_000, 500_000] {
        for compression in [Compression::None, Compression::Lz4] {
            measure(keys, compression);
        }
    }
}

fn measure(count: u64, compression: Compression) {
    let keys: Vec<[u8; 16]> = (0..count)
        .map(|i| {
            format!("user:{:011}", i * 7)
                .into_bytes()
                .try_into()
                .unwrap()
        })
        .collect();
    let values: Vec<_> = (0..count).map(value).collect();
    {
        println!("{compression:?}, {count} keys of 16, values of 100 bytes");
        let file = MemWriter::default();
        let options = TableOptions {
            compression,
            ..TableOptions::default()
        };
        let start = Instant::now();
        let mut writer = TableWriter::new(file.clone(), 7, options);
        for (i, (key, value)) in keys.iter().zip(&values).enumerate() {
            let (seq, kind) = (1_000_000 + i as u64, Kind::Put);
            writer
                .add(Record {
                    key,
                    seq,
                    kind,
                    deadline_ms: 0,
                    value,
                })
                .unwrap();
        }
        let summary = block_on(writer.finish()).unwrap();
        let seconds = start.elapsed().as_secs_f64();
        let megabytes = (count * 116) as f64 / 1e6;
        println!(
            "  write {:.0} MB/s of input, file {:.1} MB",
            megabytes / seconds,
            summary.file_bytes as f64 / 1e6
        );

        let cache = Arc::new(BlockCache::new(256 << 20));
        let table = block_on(Table::open(MemReader::new(&file.bytes()), 7, cache)).unwrap();
        for round in ["cold cache", "warm cache"] {
            let start = Instant::now();
            let mut cursor = table.cursor(Direction::Forward, CursorOptions::default());
            print_steps(&mut cursor, &format!("forward, {round}"), start);
        }
        let start = Instant::now();
        let mut cursor = table.cursor(Direction::Backward, CursorOptions::default());
        print_steps(&mut cursor, "backward, warm cache", start);
        let start = Instant::now();
        let mut cursor = table.cursor(Direction::Forward, CursorOptions::whole_table());
        print_steps(&mut cursor, "forward, whole table, no fill", start);

        for (label, suffix) in [("present", None), ("absent", Some(b'x'))] {
            let wanted: Vec<Vec<u8>> = (0..count)
                .map(|i| {
                    let mut key = keys[(i * 7_919 % count) as usize].to_vec();
                    key.extend(suffix);
                    key
                })
                .collect();
            // The best of a few rounds: the others tell of the machine's other work.
            let best = (0..6)
                .map(|_| {
                    let start = Instant::now();
                    let mut found = 0;
                    for key in &wanted {
                        let got = table.get_now(hash_key(key), key, u64::MAX, &mut ());
                        found += u64::from(got.unwrap().unwrap().is_some());
                    }
                    assert_eq!(found, if suffix.is_none() { count } else { 0 });
                    start.elapsed().as_nanos() as f64 / count as f64
                })
                .fold(f64::MAX, f64::min);
            println!("  get {label}: {best:.0} ns");
        }
        println!("  {:?}", table.inner().cache.stats());
        let start = Instant::now();
        assert!(block_on(table.verify()).is_empty());
        println!("  verify {:.0} ms", start.elapsed().as_secs_f64() * 1e3);
    }
}

fn print_steps(cursor: &mut TableCursor<MemReader>, label: &str, start: Instant) {
    let mut position = cursor.seek(None).unwrap();
    let (mut count, mut bytes) = (0, 0);
    while position == Position::Record {
        count += 1;
        bytes += cursor.record().value.len();
        position = cursor.step().unwrap();
    }
    let nanos = start.elapsed().as_nanos() as f64 / f64::from(count);
    println!("  step {label}: {nanos:.1} ns ({count} entries, {bytes} bytes)");
}

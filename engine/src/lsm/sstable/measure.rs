//! Quick figures, by hand: `cargo test --release -p trilith measure_tables -- --ignored --nocapture`.

use std::sync::Arc;
use std::time::Instant;

use futures_lite::future::block_on;

use super::testing::{MemReader, MemWriter};
use super::*;
use crate::lsm::cache::BlockCache;
use crate::lsm::cursor::{Cursor, Direction, Position};
use crate::record::{Kind, Record, hash_key};

const KEYS: u64 = 500_000;

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
    let keys: Vec<[u8; 16]> = (0..KEYS)
        .map(|i| {
            format!("user:{:011}", i * 7)
                .into_bytes()
                .try_into()
                .unwrap()
        })
        .collect();
    let values: Vec<_> = (0..KEYS).map(value).collect();
    for compression in [Compression::None, Compression::Lz4] {
        println!("{compression:?}, {KEYS} keys of 16, values of 100 bytes");
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
        let megabytes = (KEYS * 116) as f64 / 1e6;
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
            let wanted: Vec<Vec<u8>> = (0..KEYS)
                .map(|i| {
                    let mut key = keys[(i * 7_919 % KEYS) as usize].to_vec();
                    key.extend(suffix);
                    key
                })
                .collect();
            for _ in 0..2 {
                let start = Instant::now();
                let mut found = 0;
                for key in &wanted {
                    let got = table.get_now(hash_key(key), key, u64::MAX, &mut ());
                    found += u64::from(got.unwrap().unwrap().is_some());
                }
                let nanos = start.elapsed().as_nanos() as f64 / KEYS as f64;
                println!("  get {label}: {nanos:.0} ns ({found} found)");
            }
        }
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

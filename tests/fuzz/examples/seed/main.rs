//! Writes the first files of every corpus with the real encoders: the same files on every machine.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures_lite::future::block_on;
use trilith::command::{Command, Parsed, parse};
use trilith::log::{LogKind, LogRecord};
use trilith::lsm::levels::{Deadlines, Edit, TableMeta};
use trilith::lsm::manifest::{Manifest, RangeRecord};
use trilith::lsm::sstable::{Compression, TableOptions, TableWriter};
use trilith::lsm::values::ValuesWriter;
use trilith::random::Random;
use trilith::record::{Kind, RangeDelete, Record};
use trilith::{MemoryStorage, Object, Reader, Storage};
use trilith_fuzz::{ID, STORE};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

mod aof;
mod bus;
mod rdb;

const FILES: u64 = 110;

/// One of each form of each command, and forms that are refused.
const LINES: &str = include_str!("commands.txt");

fn main() -> Outcome {
    let lines: Vec<&str> = LINES.lines().filter(|line| !line.is_empty()).collect();
    for number in 0..FILES {
        let mut random = Random::new(number);
        write("resp", number, &resp(&mut random, &lines))?;
        write("log_replay", number, &log(&mut random, &lines)?)?;
        write("manifest", number, &manifest(&mut random)?)?;
        write("sstable", number, &sstable(&mut random)?)?;
        write("values", number, &values(&mut random)?)?;
        write("bus", number, &bus::bus(&mut random))?;
        write("rdb", number, &rdb::rdb(&mut random)?)?;
        write("aof", number, &aof::aof(&mut random, &lines))?;
        write("hot_keys", number, &hot_keys(&mut random))?;
    }
    let commands = lines.iter().filter_map(|line| command(line));
    for (number, command) in commands.enumerate() {
        let mut encoded = Vec::new();
        command.encode(&mut encoded);
        write("command_decode", number as u64, &encoded)?;
    }
    Ok(())
}

fn write(target: &str, number: u64, bytes: &[u8]) -> Outcome {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target);
    std::fs::create_dir_all(&folder)?;
    Ok(std::fs::write(
        folder.join(format!("seed-{number:03}")),
        bytes,
    )?)
}

/// The bytes of an object that `fill` wrote.
fn object(
    object: Object,
    fill: impl AsyncFnOnce(<MemoryStorage as Storage>::Writer) -> trilith::Result<()>,
) -> Outcome<Bytes> {
    let storage = MemoryStorage::new();
    Ok(block_on(async {
        storage.load().await?;
        fill(storage.create(object.clone()).await?).await?;
        let reader = storage.open(object).await?;
        reader.read_at(0, reader.len() as u32).await
    })?)
}

/// Keys of a node, in order, of one section and of several.
fn hot_keys(random: &mut Random) -> Vec<u8> {
    let count = [0, 1, 7, 100, 600][random.index(5)];
    let longest = [3, 30, 300][random.index(3)];
    let keys: BTreeSet<Vec<u8>> = (0..count)
        .map(|_| {
            let mut key = vec![0, random.below(4) as u8, 0];
            key.extend((0..random.below(longest)).map(|_| b'a' + random.below(4) as u8));
            key
        })
        .collect();
    trilith::db::warm::fuzz::write(keys.iter().map(|key| &key[..]))
}

fn words(line: &str) -> Vec<Bytes> {
    line.split(' ')
        .map(|word| Bytes::copy_from_slice(word.as_bytes()))
        .collect()
}

fn command(line: &str) -> Option<Command> {
    match parse(&mut words(line)) {
        Ok(Parsed::Store(command)) => Some(command),
        _ => None,
    }
}

/// A cut, then a pipeline of some commands, some of them inline.
fn resp(random: &mut Random, lines: &[&str]) -> Vec<u8> {
    let mut out = vec![random.below(256) as u8];
    for _ in 0..=random.below(6) {
        let line = pick(random, lines);
        if random.below(4) == 0 {
            out.extend_from_slice(format!("{line}\r\n").as_bytes());
            continue;
        }
        let words = words(line);
        out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
        for word in words {
            out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            out.extend_from_slice(&word);
            out.extend_from_slice(b"\r\n");
        }
    }
    out
}

fn pick<'a>(random: &mut Random, lines: &[&'a str]) -> &'a str {
    lines[random.below(lines.len() as u64) as usize]
}

fn log(random: &mut Random, lines: &[&str]) -> Outcome<Vec<u8>> {
    let payloads: Vec<Vec<u8>> = (0..random.below(12))
        .filter_map(|_| command(pick(random, lines)))
        .map(|command| {
            let mut payload = Vec::new();
            command.encode(&mut payload);
            payload
        })
        .collect();
    let kinds = [
        LogKind::Entry,
        LogKind::HardState,
        LogKind::Truncate,
        LogKind::Config,
        LogKind::Snapshot,
    ];
    let records: Vec<LogRecord<'_>> = (1..)
        .zip(&payloads)
        .map(|(index, payload)| LogRecord {
            kind: kinds[random.below(9).saturating_sub(4) as usize],
            range: random.below(3) as u32,
            term: 1 + index / 4,
            index,
            time_ms: 1_700_000_000_000 + index * 17,
            seed: random.next() >> random.below(64),
            payload,
        })
        .collect();
    let fill = async |writer| trilith::log::fuzz::write(writer, ID, STORE, &records);
    let mut bytes = object(Object::Segment(ID), fill)?.to_vec();
    match random.below(4) {
        0 => bytes.truncate(bytes.len() - (bytes.len() as u64).min(random.below(20)) as usize),
        1 => bytes.resize(bytes.len() + random.below(64) as usize, 0),
        _ => {}
    }
    Ok(bytes)
}

fn table_meta(random: &mut Random, id: u64, start: String, end: String) -> Arc<TableMeta> {
    let smallest_seq = random.below(1000);
    Arc::new(TableMeta {
        id,
        bytes: 1 + random.below(1 << 26),
        smallest: start.into_bytes().into(),
        largest: Bound::Included(end.into_bytes().into()),
        smallest_seq,
        largest_seq: smallest_seq + random.below(1000),
        entries: 1 + random.below(10_000),
        deletes: random.below(10),
        range_deletes: 0,
        deadlines: Deadlines::default(),
        values: Vec::new(),
    })
}

fn manifest(random: &mut Random) -> Outcome<Bytes> {
    let mut edit = Edit::default();
    let mut id = 1;
    for level in 0..random.below(6) as usize {
        for table in 0..random.below(4) {
            let (start, end) = (format!("k{table}{level}"), format!("k{table}{level}z"));
            edit.add.push((level, table_meta(random, id, start, end)));
            id += 1;
        }
    }
    let ranges: Vec<RangeRecord> = (0..random.below(4))
        .map(|range| RangeRecord {
            range: range as u32,
            term: random.below(9),
            vote: (random.below(2) == 0).then(|| random.below(5)),
            configuration: Bytes::from_static(b"members"),
            applied_index: random.below(1 << 40),
            keys: random.below(2000) as i64 - 1000,
            ..RangeRecord::default()
        })
        .collect();
    let manifest = Manifest {
        store_id: STORE,
        host_epoch: (random.below(2) == 0).then_some(7),
        next_object: id,
        applied_seq: random.below(1 << 50),
        log_start: random.below(9),
        clean: random.below(2) == 0,
        ranges,
        settings: Bytes::from_static(b"settings"),
        levels: Manifest::default().levels.apply(&edit)?.levels,
        ..Manifest::default()
    };
    Ok(manifest.encode())
}

/// A key to ask for, its length in front, and a table.
fn sstable(random: &mut Random) -> Outcome<Vec<u8>> {
    let options = TableOptions {
        block_bytes: 64 << random.below(5),
        compression: if random.below(2) == 0 {
            Compression::Lz4
        } else {
            Compression::None
        },
        restart_interval: 1 + random.below(16) as u32,
        ..TableOptions::default()
    };
    let keys = random.below(60);
    let fill = async |writer| {
        let mut table = TableWriter::new(writer, ID, options);
        for key in 0..keys {
            let (key, value) = (
                format!("key:{:03}", key * 3),
                "value ".repeat(random.below(9) as usize),
            );
            let kind = if random.below(8) == 0 {
                Kind::Delete
            } else {
                Kind::Put
            };
            table.add(Record {
                key: key.as_bytes(),
                seq: 1 + random.below(1000),
                kind,
                deadline_ms: if kind == Kind::Put {
                    random.below(2) * 1_700_000_000_000
                } else {
                    0
                },
                value: if kind == Kind::Put {
                    value.as_bytes()
                } else {
                    b""
                },
            })?;
        }
        if keys == 0 || random.below(3) == 0 {
            table.add_range_delete(&RangeDelete {
                start: Box::from(&b"key:010"[..]),
                end: Some(Box::from(&b"key:020"[..])),
                seq: 2000,
            })?;
        }
        table.finish().await.map(drop)
    };
    let mut out = vec![7];
    out.extend_from_slice(format!("key:{:03}", keys / 2 * 3).as_bytes());
    out.extend_from_slice(&object(Object::Table(ID), fill)?);
    Ok(out)
}

/// A reference, its length in front, and the file that it refers to.
fn values(random: &mut Random) -> Outcome<Vec<u8>> {
    let compression = if random.below(2) == 0 {
        Compression::Lz4
    } else {
        Compression::None
    };
    let mut place = Vec::new();
    let fill = async |writer| {
        let mut file = ValuesWriter::new(writer, ID, compression)?;
        for value in 0..random.below(6) {
            let text = format!("a large value, number {value}; ").repeat(random.below(20) as usize);
            let reference = file.add(text.as_bytes())?;
            if place.is_empty() || random.below(2) == 0 {
                place.clear();
                reference.encode(&mut place);
            }
        }
        file.finish().await.map(drop)
    };
    let file = object(Object::Table(ID), fill)?;
    let mut out = vec![place.len() as u8];
    out.extend_from_slice(&place);
    out.extend_from_slice(&file);
    Ok(out)
}

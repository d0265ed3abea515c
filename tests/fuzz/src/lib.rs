//! What the fuzz targets do with their input: one function each, the same for the fuzzer and for the
//! replay of the corpora by `cargo test`.
//!
//! Each takes any bytes. It must not panic, must not allocate out of proportion, and where something was
//! decoded, encoding and decoding it again must give the same. A function that catches an error and goes
//! on is right; one that catches a panic would hide what the fuzzer looks for. It returns whether the input
//! was understood, so that a corpus that no longer is what its target reads does not go unnoticed.

mod input;
mod replay;

use bytes::{Bytes, BytesMut};
use futures_lite::future::block_on;
use trilith::command::{Command, Reply, parse};
use trilith::lsm::manifest::Manifest;
use trilith::lsm::values::{ValueRef, ValuesReader};
use trilith::restore::{Options, Sink, load_aof};
use trilith::ring::node::Packet;
use trilith::{Object, Result};
use trilith_server::bus::fuzz as wire;
use trilith_server::resp::{RequestReader, Requests};

use input::{SliceReader, split_first_byte};
pub use replay::replay;

/// The id of the file that a target reads, which stands in the file too.
pub const ID: u64 = 1;

/// The store that the log's segment belongs to.
pub const STORE: u128 = 1;

/// How many bytes one reading may hold that was never given more than a small input.
const REQUESTS_AT_ONCE: usize = 64;

/// A connection's bytes, whole and in two pieces: where they are cut changes nothing. What is read
/// is then parsed as commands.
pub fn resp(data: &[u8]) -> bool {
    let (cut, data) = split_first_byte(data);
    let cut = usize::from(cut).min(data.len());
    let whole = requests(&[data]);
    let pieces = requests(&[&data[..cut], &data[cut..]]);
    assert_eq!(whole, pieces, "cut at {cut}");
    let mut understood = false;
    for mut words in whole.0 {
        understood |= parse(&mut words).is_ok();
    }
    understood
}

/// Every request in `pieces`, and the error that ended them.
fn requests(pieces: &[&[u8]]) -> (Vec<Vec<Bytes>>, Option<String>) {
    let mut reader = RequestReader::default();
    let mut taken = Requests::default();
    let mut input = BytesMut::new();
    let mut all = Vec::new();
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            reader.read(&input, REQUESTS_AT_ONCE);
            if reader.complete() == 0 {
                break;
            }
            reader.take(&mut input, &mut taken);
            let mut words = Vec::new();
            while taken.next_into(&mut words) {
                all.push(words.clone());
            }
        }
    }
    (all, reader.error().map(ToString::to_string))
}

/// A command as a log entry holds it.
pub fn command_decode(data: &[u8]) -> bool {
    let Ok(command) = Command::decode(data) else {
        return false;
    };
    let mut encoded = Vec::new();
    command.encode(&mut encoded);
    let again = Command::decode(&encoded).expect("what was encoded decodes");
    assert_eq!(command, again);
    assert!(command.keys().count() <= data.len());
    true
}

/// Append-only files: by the first byte a manifest, or a file of commands, which is walked and then loaded.
pub fn aof(data: &[u8]) -> bool {
    let (how, data) = split_first_byte(data);
    if how % 4 == 0 {
        return trilith::archive::aof::fuzz::manifest(data);
    }
    let whole = block_on(trilith::archive::aof::fuzz::file(SliceReader::new(data)));
    let options = Options {
        skip_unsupported: how % 2 == 0,
        to: None,
        now_ms: 1_700_000_000_000,
    };
    let object = Object::Archive("fuzzed".into());
    let reader = SliceReader::new(data);
    let _ = block_on(load_aof(reader, object, options, &mut Mute, |_| {}));
    whole.is_ok()
}

/// Takes whatever is loaded, and has no key.
struct Mute;

impl Sink for Mute {
    async fn run(&mut self, batch: Vec<Command>) -> Result<Vec<Reply>> {
        Ok(vec![Reply::Null; batch.len()])
    }
}

/// What another node sends: by the first byte its first words, a connection's bytes behind the handshake, or frames
/// that get the seals that they should have, so that more of them hold.
pub fn bus(data: &[u8]) -> bool {
    let (how, data) = split_first_byte(data);
    match how % 3 {
        0 => wire::greet(data),
        1 => hear(data, usize::from(how / 3)),
        _ => hear(&wire::frames(cut(data)), usize::from(how)),
    }
}

/// Hears bytes whole and in two pieces: where they are cut changes nothing.
fn hear(bytes: &[u8], cut: usize) -> bool {
    let cut = cut.min(bytes.len());
    let whole = wire::hear(&[bytes]);
    let pieces = wire::hear(&[&bytes[..cut], &bytes[cut..]]);
    assert_eq!(whole, pieces, "cut at {cut}");
    for packet in &whole.packets {
        assert_eq!(written_and_read(packet), packet.said);
    }
    !whole.packets.is_empty()
}

/// What a packet says when it has been sent on, as several packets if it is long.
fn written_and_read(packet: &Packet) -> Vec<trilith::ring::node::Said> {
    let pieces = wire::write(packet.clone()).into_iter();
    pieces
        .flat_map(|bytes| wire::read(&bytes).expect("what was written is read").said)
        .collect()
}

/// Frames out of any bytes: a kind, the payload's length in two bytes, the payload.
fn cut(mut data: &[u8]) -> Vec<(u8, &[u8])> {
    let mut frames = Vec::new();
    while let Some((&[kind, a, b], rest)) = data.split_first_chunk::<3>() {
        let length = usize::from(u16::from_le_bytes([a, b])).min(rest.len());
        let (payload, rest) = rest.split_at(length);
        frames.push((kind, payload));
        data = rest;
    }
    frames
}

/// The manifest, behind its checksum: as it is, and with the checksum that it should have.
pub fn manifest(data: &[u8]) -> bool {
    let mut understood = manifest_as_it_is(data);
    let mut sealed = data.to_vec();
    if let Some((crc, rest)) = sealed
        .get_mut(8..)
        .and_then(|tail| tail.split_at_mut_checked(4))
    {
        crc.copy_from_slice(&crc32fast::hash(rest).to_le_bytes());
        understood |= manifest_as_it_is(&sealed);
    }
    understood
}

fn manifest_as_it_is(blob: &[u8]) -> bool {
    let Ok(manifest) = Manifest::decode(blob) else {
        return false;
    };
    let again = Manifest::decode(&manifest.encode()).expect("what was encoded decodes");
    assert_eq!(manifest, again);
    true
}

/// A sorted table: as a whole file, as one block behind its checksum, and as its small parts.
pub fn sstable(data: &[u8]) -> bool {
    let (key_bytes, data) = split_first_byte(data);
    let (key, file) = data.split_at(usize::from(key_bytes % 16).min(data.len()));
    trilith::lsm::sstable::fuzz::small_parts(file);
    trilith::lsm::sstable::fuzz::block(file, key);
    block_on(trilith::lsm::sstable::fuzz::table_of(
        SliceReader::new(file),
        ID,
        key,
    ))
    .is_ok()
}

/// A file of large values: opened, verified, and read at places that its own bytes name.
pub fn values(data: &[u8]) -> bool {
    if let Ok(reference) = ValueRef::decode_in(data, ID) {
        let mut encoded = Vec::new();
        reference.encode(&mut encoded);
        assert_eq!(ValueRef::decode_in(&encoded, ID).ok(), Some(reference));
    }
    let (place_bytes, rest) = split_first_byte(data);
    let (place, file) = rest.split_at(usize::from(place_bytes % 32).min(rest.len()));
    let Ok(reader) = block_on(ValuesReader::open(SliceReader::new(file), ID)) else {
        return false;
    };
    let _ = block_on(reader.verify());
    if let Ok(reference) = ValueRef::decode_in(place, ID)
        && let Ok(value) = block_on(reader.get(&reference))
    {
        assert_eq!(value.len() as u64, reference.len);
    }
    true
}

/// A file of keys in use: as it is, and as one section behind the checksum that it should have.
pub fn hot_keys(data: &[u8]) -> bool {
    let (kind, body) = split_first_byte(data);
    let _ = block_on(trilith::db::warm::fuzz::section(kind % 4, body));
    block_on(trilith::db::warm::fuzz::keys(SliceReader::new(data))).is_ok()
}

/// A segment of the log: as the last one, where a torn tail is cut, and as an earlier one, where
/// nothing may be missing.
pub fn log_replay(data: &[u8]) -> bool {
    trilith::log::fuzz::record_body(data);
    let [as_last, _] = [true, false].map(|last| {
        let reader = SliceReader::new(data);
        block_on(trilith::log::fuzz::replay(reader, ID, STORE, last)).is_ok()
    });
    as_last
}

/// A snapshot as Redis writes it, read in large pieces and byte by byte.
pub fn rdb(data: &[u8]) -> bool {
    block_on(trilith::archive::rdb::fuzz::read(SliceReader::new(data))).is_ok()
}

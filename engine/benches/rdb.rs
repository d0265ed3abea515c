//! How fast RDB files are made and read in memory, on one thread.
//!
//! 1 M keys of 16 bytes with values of 100: of random bytes, half of which repeat, and of text. The best of five rounds
//! is shown, in millions of keys a second and in megabytes a second of keys and values.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

use std::time::{Duration, Instant};

use futures_lite::future::block_on;
use trilith::archive::rdb::{EncodeOptions, Encoder, Item, Reader, Sizes};
use trilith::random::Random;
use trilith::{Durability, MemoryStorage, Object, Storage, Writer};

const KEYS: usize = 1_000_000;
const KEY_BYTES: usize = 16;
const VALUE_BYTES: usize = 100;
const ROUNDS: usize = 5;
const PIECE_BYTES: usize = 1 << 20;

type Value = [u8; VALUE_BYTES];
/// Makes a value of one kind.
type Make = fn(&mut Random) -> Value;

fn random(from: &mut Random) -> Value {
    std::array::from_fn(|_| from.next() as u8)
}

fn half(from: &mut Random) -> Value {
    let mut value = random(from);
    value.copy_within(..VALUE_BYTES / 2, VALUE_BYTES / 2);
    value
}

fn text(from: &mut Random) -> Value {
    let words = [
        "name", "value", "user", "session", "expires", "the", "of", "and",
    ];
    let mut value = Vec::new();
    while value.len() < VALUE_BYTES {
        value.extend_from_slice(words[from.below(8) as usize].as_bytes());
        value.extend_from_slice(format!("={};", from.below(1000)).as_bytes());
    }
    std::array::from_fn(|i| value[i])
}

fn key(number: usize) -> [u8; KEY_BYTES] {
    let mut key = *b"user:0000000000:";
    key[5..13].copy_from_slice(&(number as u64).to_be_bytes());
    key
}

fn encode(values: &[Value], options: EncodeOptions, mut sink: impl FnMut(&[u8])) {
    let mut encoder = Encoder::new(options).expect("the version is one that is written");
    let mut out = Vec::with_capacity(2 * PIECE_BYTES);
    encoder.header(&mut out, &[], Sizes::default());
    for (number, value) in values.iter().enumerate() {
        encoder.entry(&mut out, &key(number), value, 0);
        if out.len() >= PIECE_BYTES {
            sink(&out);
            out.clear();
        }
    }
    encoder.end(&mut out);
    sink(&out);
}

async fn stored(file: &[u8]) -> trilith::Result<(MemoryStorage, Object)> {
    let storage = MemoryStorage::new();
    let object = Object::Archive("dump.rdb".into());
    let mut writer = storage.create(object.clone()).await?;
    let len = writer.append(file)?;
    writer.settle(len, Durability::Written).await?;
    Ok((storage, object))
}

async fn decode(storage: &MemoryStorage, object: &Object) -> trilith::Result<usize> {
    let reader = storage.open(object.clone()).await?;
    let mut file = Reader::open(reader, object.clone()).await?;
    let (mut keys, mut bytes) = (0, 0);
    while let Some(item) = file.next().await? {
        if let Item::Entry { key, value, .. } = item {
            keys += 1;
            bytes += key.len() + value.len();
        }
    }
    assert_eq!(bytes, keys * (KEY_BYTES + VALUE_BYTES));
    Ok(keys)
}

fn best(mut round: impl FnMut()) -> Duration {
    let time = |_| {
        let start = Instant::now();
        round();
        start.elapsed()
    };
    (0..ROUNDS).map(time).min().unwrap_or_default()
}

fn show(what: &str, time: Duration, file_bytes: usize) {
    let keys = KEYS as f64 / time.as_secs_f64();
    println!(
        "{what:32} {:6.2} M keys/s  {:6.0} MB/s  {:5.1} bytes a key in the file",
        keys / 1e6,
        keys * (KEY_BYTES + VALUE_BYTES) as f64 / 1e6,
        file_bytes as f64 / KEYS as f64
    );
}

fn main() {
    let kinds: [(&str, Make); 3] = [("random", random), ("half", half), ("text", text)];
    for (name, make) in kinds {
        let mut source = Random::new(1);
        let values: Vec<Value> = (0..KEYS).map(|_| make(&mut source)).collect();
        for compress in [true, false] {
            let options = EncodeOptions {
                compress,
                ..EncodeOptions::default()
            };
            let mut file = Vec::new();
            encode(&values, options, |piece| file.extend_from_slice(piece));
            let how = if compress { "LZF" } else { "plain" };
            let time = best(|| encode(&values, options, |piece| _ = std::hint::black_box(piece)));
            show(&format!("encode, {name}, {how}"), time, file.len());
            let (storage, object) = block_on(stored(&file)).expect("memory does not fail");
            let time = best(|| assert_eq!(block_on(decode(&storage, &object)).ok(), Some(KEYS)));
            show(&format!("decode, {name}, {how}"), time, file.len());
        }
    }
}

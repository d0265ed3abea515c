//! Keys of every kind, and whether a server has them.

use std::collections::BTreeMap;
use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use trilith::random::Random;
use trilith_tests::{Client, Reply};

/// How many are asked for at once.
const BATCH: usize = 1000;

/// Keys, their values and when they expire, in milliseconds; 0 is never.
pub type Pairs = BTreeMap<Vec<u8>, (Vec<u8>, u64)>;

/// The time by the machine's clock.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_millis() as u64
}

/// Some bytes.
pub fn bytes(random: &mut Random, most: u64) -> Vec<u8> {
    let length = random.below(most + 1);
    match random.below(3) {
        0 => random.next().to_string().into_bytes(),
        1 => vec![b'a' + random.below(26) as u8; length as usize],
        _ => (0..length).map(|_| random.below(256) as u8).collect(),
    }
}

/// So many random keys, binary ones too; a third expires, none before tomorrow.
pub fn random_pairs(random: &mut Random, count: usize) -> Pairs {
    let tomorrow = now_ms() + 86_400_000;
    let mut pairs = Pairs::new();
    while pairs.len() < count {
        let deadline_ms = match random.below(3) {
            0 => tomorrow + random.below(1 << 40),
            _ => 0,
        };
        let value = match random.below(10_000) {
            0 => bytes(random, 300_000),
            _ => bytes(random, 60),
        };
        pairs.insert(bytes(random, 40), (value, deadline_ms));
    }
    pairs
}

/// Everything that a server holds, its deadlines included.
pub fn all_of(client: &mut Client) -> io::Result<Pairs> {
    let Reply::Array(keys) = client.call(&["KEYS", "*"])? else {
        return Err(io::Error::other("KEYS has no list"));
    };
    let mut pairs = Pairs::new();
    for keys in keys.chunks(BATCH) {
        let keys: Vec<Vec<u8>> = keys
            .iter()
            .filter_map(|key| match key {
                Reply::Bulk(key) => Some(key.clone()),
                _ => None,
            })
            .collect();
        let ask = |name: &'static str| -> Vec<Vec<Vec<u8>>> {
            keys.iter()
                .map(|key| vec![name.into(), key.clone()])
                .collect()
        };
        let values = client.pipeline(&ask("GET"))?;
        let deadlines = client.pipeline(&ask("PEXPIRETIME"))?;
        for (key, replies) in keys.into_iter().zip(values.into_iter().zip(deadlines)) {
            match replies {
                (Reply::Bulk(value), Reply::Integer(deadline)) => {
                    pairs.insert(key, (value, u64::try_from(deadline).unwrap_or(0)));
                }
                // Of another type, or it has expired meanwhile.
                (Reply::Error(_) | Reply::Nil, _) => {}
                other => return Err(io::Error::other(format!("{other:?}"))),
            }
        }
    }
    Ok(pairs)
}

/// Fails at the first key that is not as it should be.
pub fn assert_same(found: &Pairs, expected: &Pairs) {
    for (key, pair) in expected {
        let is = found.get(key);
        assert_eq!(is, Some(pair), "key {}", key.escape_ascii());
    }
    let more = found.keys().find(|key| !expected.contains_key(*key));
    assert_eq!(
        more,
        None,
        "{} keys instead of {}",
        found.len(),
        expected.len()
    );
}

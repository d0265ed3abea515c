//! Writers that know what was acknowledged, and whether a backup fits that.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use trilith_tests::{Client, Reply};

use crate::keys::Pairs;

/// Pairs of keys that are written to. Both of a pair are in one range.
pub const COUNTERS: usize = 400;

/// What was sent and what was acknowledged of each pair.
pub struct Counters {
    sent: Vec<AtomicU64>,
    acknowledged: Vec<AtomicU64>,
    pub ends: AtomicBool,
}

impl Counters {
    pub fn new() -> Self {
        let zeros = || (0..COUNTERS).map(|_| AtomicU64::new(0)).collect();
        Self {
            sent: zeros(),
            acknowledged: zeros(),
            ends: AtomicBool::new(false),
        }
    }

    /// Counts up every `writers`th pair from `first` on, until told to end: one key of it, then the other. Where a
    /// write fails the number is written again: it may or may not have happened.
    pub fn write(&self, addresses: &[SocketAddr], first: usize, writers: usize) {
        let mut at = first;
        let mut client = Client::connect(addresses[at % addresses.len()]);
        let mut pair = first;
        while !self.ends.load(SeqCst) {
            let number = self.acknowledged[pair].load(SeqCst) + 1;
            self.sent[pair].store(number, SeqCst);
            let done = client
                .as_mut()
                .is_ok_and(|client| set_pair(client, pair, number).unwrap_or(false));
            if done {
                self.acknowledged[pair].store(number, SeqCst);
                pair = (pair + writers) % COUNTERS;
            } else {
                at += 1;
                client = Client::connect(addresses[at % addresses.len()]);
            }
        }
    }

    pub fn acknowledged(&self) -> Vec<u64> {
        let numbers = self.acknowledged.iter();
        numbers.map(|number| number.load(SeqCst)).collect()
    }

    pub fn sent(&self) -> Vec<u64> {
        self.sent.iter().map(|number| number.load(SeqCst)).collect()
    }
}

fn set_pair(client: &mut Client, pair: usize, number: u64) -> io::Result<bool> {
    let number = number.to_string();
    let [one, other] = keys_of(pair);
    let commands = [vec!["SET", &one, &number], vec!["SET", &other, &number]];
    let replies = client.pipeline(&commands)?;
    Ok(replies.iter().all(|reply| *reply == Reply::ok()))
}

fn keys_of(pair: usize) -> [String; 2] {
    [format!("{{count:{pair}}}:1"), format!("{{count:{pair}}}:2")]
}

/// Takes the counters out of what was found. Each has at least what was acknowledged before the backup began and at most
/// what was sent before it ended, and of each pair the second is not ahead of the first, and not further behind than by
/// one: a range is as it was at one moment.
pub fn take_counters(found: &mut Pairs, before: &[u64], after: &[u64]) {
    for pair in 0..COUNTERS {
        let number = |key: String| {
            let value = found.remove(key.as_bytes()).map(|(value, _)| value);
            let text = String::from_utf8(value.unwrap_or(b"0".to_vec())).expect("a number");
            text.parse::<u64>().expect("a number")
        };
        let [one, other] = keys_of(pair).map(number);
        let (least, most) = (before[pair], after[pair]);
        assert!(
            (least..=most).contains(&one) && (least..=most).contains(&other),
            "pair {pair}: {one} and {other}, between {least} and {most}"
        );
        assert!(
            one == other || one == other + 1,
            "pair {pair}: {one} and {other} at one index"
        );
    }
}

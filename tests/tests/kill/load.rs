//! One client: what it asks for, what it was told, and what must therefore be there.
//!
//! A client owns its keys, and its commands take effect in order. So when the server dies, what is there
//! is what was acknowledged and then some prefix of what was still unanswered: each is tried. A command about
//! keys of several slots is carried out slot by slot, so a prefix may end within it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use trilith::slot::slot_of;
use trilith_tests::{Client, Reply, client::encode};

/// When keys that expire soon do.
pub const SOON: Duration = Duration::from_millis(100);

/// The most that is sent before the replies are read.
const PIPELINE: u64 = 16;

type State = BTreeMap<String, Vec<u8>>;

/// A small generator: the same seed, the same commands.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

#[derive(Clone, Debug)]
enum Op {
    Set(String, Vec<u8>),
    /// Expires in an hour, which no test lives to see.
    SetForAnHour(String, Vec<u8>),
    /// Expires before anybody looks.
    SetForAMoment(String, Vec<u8>),
    Mset(Vec<(String, Vec<u8>)>),
    Del(Vec<String>),
    Incr(String),
}

impl Op {
    fn words(&self) -> Vec<Vec<u8>> {
        let word = |text: &str| text.as_bytes().to_vec();
        match self {
            Self::Set(key, value) => vec![word("SET"), word(key), value.clone()],
            Self::SetForAnHour(key, value) => vec![
                word("SET"),
                word(key),
                value.clone(),
                word("EX"),
                word("3600"),
            ],
            Self::SetForAMoment(key, value) => {
                let ms = SOON.as_millis().to_string();
                vec![word("SET"), word(key), value.clone(), word("PX"), word(&ms)]
            }
            Self::Mset(pairs) => {
                let pairs = pairs
                    .iter()
                    .flat_map(|(key, value)| [word(key), value.clone()]);
                [word("MSET")].into_iter().chain(pairs).collect()
            }
            Self::Del(keys) => {
                let keys = keys.iter().map(|key| word(key));
                [word("DEL")].into_iter().chain(keys).collect()
            }
            Self::Incr(key) => vec![word("INCR"), word(key)],
        }
    }

    fn keys(&self) -> Vec<&String> {
        match self {
            Self::Set(key, _) | Self::SetForAnHour(key, _) | Self::SetForAMoment(key, _) => {
                vec![key]
            }
            Self::Incr(key) => vec![key],
            Self::Mset(pairs) => pairs.iter().map(|(key, _)| key).collect(),
            Self::Del(keys) => keys.iter().collect(),
        }
    }

    /// What it asks of each slot, in the order in which that is done.
    fn parts(&self) -> Vec<Self> {
        fn by_slot<T: Clone>(all: &[T], key: impl Fn(&T) -> &String) -> Vec<Vec<T>> {
            let mut slots: BTreeMap<u16, Vec<T>> = BTreeMap::new();
            for one in all {
                let slot = slot_of(key(one).as_bytes());
                slots.entry(slot).or_default().push(one.clone());
            }
            slots.into_values().collect()
        }
        match self {
            Self::Mset(pairs) => {
                let parts = by_slot(pairs, |(key, _)| key).into_iter();
                parts.map(Self::Mset).collect()
            }
            Self::Del(keys) => {
                let parts = by_slot(keys, |key| key).into_iter();
                parts.map(Self::Del).collect()
            }
            whole => vec![whole.clone()],
        }
    }

    /// Does it, and answers as the server has to.
    fn apply(&self, state: &mut State) -> Reply {
        match self {
            Self::Set(key, value) | Self::SetForAnHour(key, value) => {
                state.insert(key.clone(), value.clone());
                Reply::ok()
            }
            // Gone by the time of the comparison.
            Self::SetForAMoment(..) => Reply::ok(),
            Self::Mset(pairs) => {
                state.extend(pairs.iter().cloned());
                Reply::ok()
            }
            Self::Del(keys) => {
                let there = keys.iter().filter(|key| state.remove(*key).is_some());
                Reply::Integer(there.count() as i64)
            }
            Self::Incr(key) => {
                let before = state.get(key).map_or("0".into(), |value| {
                    String::from_utf8_lossy(value).into_owned()
                });
                let now = before.parse::<i64>().unwrap() + 1;
                state.insert(key.clone(), now.to_string().into_bytes());
                Reply::Integer(now)
            }
        }
    }
}

pub struct Load {
    client: usize,
    dice: Dice,
    /// What was acknowledged.
    state: State,
    /// Sent and not answered, in order.
    unanswered: Vec<Op>,
    /// Every key that was ever written.
    known: BTreeSet<String>,
    pub acknowledged: u64,
}

impl Load {
    pub fn new(client: usize, seed: u64) -> Self {
        Self {
            client,
            dice: Dice::new(seed * 1000 + client as u64),
            state: State::new(),
            unanswered: Vec::new(),
            known: BTreeSet::new(),
            acknowledged: 0,
        }
    }

    /// How many keys there must be.
    pub fn keys(&self) -> usize {
        self.state.len()
    }

    /// Sends commands until the connection breaks.
    pub fn run(&mut self, address: SocketAddr) {
        let Ok(mut connection) = Client::connect(address) else {
            return;
        };
        loop {
            let ops: Vec<Op> = (0..=self.dice.below(PIPELINE)).map(|_| self.op()).collect();
            if self.send(&mut connection, &ops).is_err() {
                return;
            }
        }
    }

    fn send(&mut self, connection: &mut Client, ops: &[Op]) -> io::Result<()> {
        let bytes: Vec<u8> = ops.iter().flat_map(|op| encode(&op.words())).collect();
        self.known
            .extend(ops.iter().flat_map(Op::keys).map(String::clone));
        self.unanswered = ops.to_vec();
        connection.send(&bytes)?;
        for op in ops {
            let reply = connection.receive()?;
            assert_eq!(reply, op.apply(&mut self.state), "{op:?}");
            self.unanswered.remove(0);
            self.acknowledged += 1;
        }
        Ok(())
    }

    fn op(&mut self) -> Op {
        match self.dice.below(20) {
            0..10 => Op::Set(self.key("s", 2000), self.value()),
            10 => Op::SetForAnHour(self.key("h", 200), self.value()),
            11 => Op::SetForAMoment(self.key("m", 200), self.value()),
            12..14 => Op::Mset(
                (0..=self.dice.below(5))
                    .map(|_| (self.key("s", 2000), self.value()))
                    .collect(),
            ),
            14..17 => Op::Del(
                (0..=self.dice.below(3))
                    .map(|_| self.key("s", 2000))
                    .collect(),
            ),
            _ => Op::Incr(self.key("n", 50)),
        }
    }

    fn key(&mut self, family: &str, count: u64) -> String {
        format!("{}:{family}:{}", self.client, self.dice.below(count))
    }

    /// Mostly small, now and then so large that it lies apart from its key.
    fn value(&mut self) -> Vec<u8> {
        let len = match self.dice.below(50) {
            0 => 4096 + self.dice.below(40_000),
            1..5 => 1000 + self.dice.below(2000),
            _ => self.dice.below(300),
        };
        let (a, b) = (self.dice.below(1 << 30), self.dice.below(251));
        let mut value = format!("{a:x}:").into_bytes();
        value.extend((0..len).map(|i| (i * b + i / 7) as u8));
        value
    }

    /// Reads everything back. Fails the test if something differs, and with an error if the server is gone.
    pub fn compare(&mut self, connection: &mut Client) -> io::Result<()> {
        let found = self.read_back(connection)?;
        let mut expected = self.state.clone();
        let touched: BTreeSet<String> = self
            .unanswered
            .iter()
            .flat_map(Op::keys)
            .map(String::clone)
            .collect();
        for key in self.known.difference(&touched) {
            assert!(
                found.get(key) == expected.get(key),
                "{}",
                self.difference(key, &found)
            );
        }
        let mut rest = self.unanswered.iter().flat_map(Op::parts);
        while !touched
            .iter()
            .all(|key| found.get(key) == expected.get(key))
        {
            let Some(op) = rest.next() else {
                let lost = touched
                    .iter()
                    .find(|key| found.get(*key) != self.state.get(*key));
                let key = lost.expect("no prefix fits, the empty one neither");
                panic!(
                    "no prefix of what was unanswered fits: {}",
                    self.difference(key, &found)
                );
            };
            op.apply(&mut expected);
        }
        self.state = expected;
        self.unanswered.clear();
        self.check_deadlines(connection)
    }

    fn difference(&self, key: &str, found: &State) -> String {
        let text = |value: Option<&Vec<u8>>| {
            value.map_or("nothing".to_owned(), |value| {
                let head = String::from_utf8_lossy(&value[..value.len().min(20)]).into_owned();
                format!("{} bytes, {head:?}", value.len())
            })
        };
        let (is, should) = (text(found.get(key)), text(self.state.get(key)));
        format!("{key} is {is}; acknowledged was {should}")
    }

    fn read_back(&self, connection: &mut Client) -> io::Result<State> {
        let keys: Vec<&String> = self.known.iter().collect();
        let mut found = State::new();
        for some in keys.chunks(200) {
            let mut words = vec!["MGET"];
            words.extend(some.iter().map(|key| key.as_str()));
            let Reply::Array(values) = connection.call(&words)? else {
                panic!("MGET answers with an array");
            };
            assert_eq!(values.len(), some.len());
            for (key, value) in some.iter().zip(values) {
                match value {
                    Reply::Bulk(value) => drop(found.insert((*key).clone(), value)),
                    Reply::Nil => {}
                    other => panic!("{key}: {other:?}"),
                }
            }
        }
        Ok(found)
    }

    fn check_deadlines(&self, connection: &mut Client) -> io::Result<()> {
        let prefix = format!("{}:h:", self.client);
        for key in self.state.keys().filter(|key| key.starts_with(&prefix)) {
            match connection.call(&["TTL", key.as_str()])? {
                Reply::Integer(1..=3600) => {}
                other => panic!("the TTL of {key} is {other:?}"),
            }
        }
        Ok(())
    }
}

//! Files of random strings, written and read by the codec under test.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use futures_lite::future::block_on;
use trilith::archive::rdb::{EncodeOptions, Item, Reader, Sizes, Writer};
use trilith::random::Random;
use trilith::storage::Reader as _;
use trilith::{Durability, MemoryStorage, Object, Storage, Writer as _};

/// Values and their deadlines (0 is never), by key.
pub type Dump = BTreeMap<Vec<u8>, (Vec<u8>, u64)>;

/// All of a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// What is in database 0.
    pub strings: Dump,
    /// Strings of other databases.
    pub elsewhere: BTreeMap<(u64, Vec<u8>), Vec<u8>>,
    /// The types of what is no string, by database and key.
    pub others: BTreeMap<(u64, Vec<u8>), String>,
    pub aux: BTreeMap<String, Vec<u8>>,
    pub functions: usize,
    pub checked: bool,
}

impl Content {
    /// So much that a failure can be understood.
    pub fn summary(&self) -> String {
        format!(
            "{} strings, elsewhere {:?}, others {:?}, {} functions",
            self.strings.len(),
            self.elsewhere,
            self.others,
            self.functions
        )
    }
}

/// Random keys and values of all sorts: short and long, text, numbers of every width, bytes that compress or not.
pub fn random_dump(seed: u64, keys: usize) -> Dump {
    let mut random = Random::new(seed);
    let mut dump = Dump::new();
    while dump.len() < keys {
        let number = dump.len() as u64;
        let deadline_ms = match random.below(3) {
            0 => 4_000_000_000_000 + random.below(1 << 40),
            _ => 0,
        };
        let key = key(&mut random, number);
        dump.insert(key, (value(&mut random), deadline_ms));
    }
    dump
}

fn key(random: &mut Random, number: u64) -> Vec<u8> {
    match random.below(5) {
        0 => format!("key:{number}").into(),
        1 => integer(random),
        2 => {
            let len = random.below(40);
            bytes(random, len)
        }
        3 => [b"\r\n\0$-1\r\n".as_slice(), &number.to_le_bytes()].concat(),
        _ => format!("a rather long key of many words, words, words {number}").into(),
    }
}

fn value(random: &mut Random) -> Vec<u8> {
    match random.below(1000) {
        0 => bytes(random, 200_000),
        1 => b"long and compressible, ".repeat(random.below(9000) as usize),
        2..100 => Vec::new(),
        100..400 => integer(random),
        400..600 => {
            let len = random.below(300);
            bytes(random, len)
        }
        600..800 => text(random),
        _ => vec![b'a' + random.below(26) as u8; random.below(1000) as usize],
    }
}

/// A number of up to so many bits, or what looks like one.
fn integer(random: &mut Random) -> Vec<u8> {
    let number = random.next() as i64 >> random.below(64);
    match random.below(8) {
        0 => format!("0{number}").into(),
        1 => format!("+{number}").into(),
        _ => number.to_string().into(),
    }
}

fn bytes(random: &mut Random, len: u64) -> Vec<u8> {
    (0..len).map(|_| random.next() as u8).collect()
}

fn text(random: &mut Random) -> Vec<u8> {
    let words = ["name", "value", "user", "session", "expires", "the"];
    (0..random.below(60))
        .map(|_| format!("{}={};", words[random.below(6) as usize], random.below(300)))
        .collect::<String>()
        .into()
}

/// Writes a file of these entries.
pub fn write(file: &Path, options: EncodeOptions, dump: &Dump) -> io::Result<()> {
    let written = block_on(async {
        let storage = MemoryStorage::new();
        let expire = dump.values().filter(|(_, deadline_ms)| *deadline_ms > 0);
        let sizes = Sizes {
            keys: dump.len() as u64,
            keys_with_deadline: expire.count() as u64,
        };
        let aux: [(&str, &[u8]); 2] = [("ctime", b"1700000000"), ("trilith-at", b"1=2,3=4")];
        let mut out = Writer::create(storage.clone(), "dump.rdb", options, &aux, sizes).await?;
        for (key, (value, deadline_ms)) in dump {
            out.entry(key, value, *deadline_ms).await?;
        }
        out.finish().await?;
        let reader = storage.open(object()).await?;
        reader.read_at(0, reader.len() as u32).await
    });
    std::fs::write(file, written.map_err(io::Error::other)?)
}

fn object() -> Object {
    Object::Archive("dump.rdb".into())
}

/// Reads a file.
pub fn read(file: &Path) -> io::Result<Content> {
    let bytes = std::fs::read(file)?;
    block_on(read_bytes(&bytes)).map_err(io::Error::other)
}

async fn read_bytes(bytes: &[u8]) -> trilith::Result<Content> {
    let storage = MemoryStorage::new();
    let mut writer = storage.create(object()).await?;
    let len = writer.append(bytes)?;
    writer.settle(len, Durability::Written).await?;
    let mut file = Reader::open(storage.open(object()).await?, object()).await?;
    let mut content = Content::default();
    while let Some(item) = file.next().await? {
        content.add(item);
    }
    let ending = file.ending().expect("it has ended");
    assert_eq!(ending.offset, len);
    content.checked = ending.checked;
    Ok(content)
}

impl Content {
    fn add(&mut self, item: Item<'_>) {
        match item {
            Item::Entry {
                database: 0,
                key,
                value,
                deadline_ms,
                ..
            } => {
                let before = self.strings.insert(key.into(), (value.into(), deadline_ms));
                assert_eq!(before, None, "a key that is there twice");
            }
            Item::Entry {
                database,
                key,
                value,
                ..
            } => {
                self.elsewhere.insert((database, key.into()), value.into());
            }
            Item::Unsupported {
                database,
                key,
                kind,
                ..
            } => {
                let place = (database, key.to_vec());
                self.others.insert(place, kind.to_string());
            }
            Item::Aux { name, value } => {
                let name = String::from_utf8_lossy(name).into_owned();
                self.aux.insert(name, value.into());
            }
            Item::Functions { .. } => self.functions += 1,
            Item::Select(_) | Item::Sizes(_) | Item::Module { .. } => {}
        }
    }
}

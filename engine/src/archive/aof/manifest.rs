//! The manifest: which files there are, and in which order they are read.
//!
//! One line a file, as Redis 7 writes it: `file NAME seq NUMBER type b`, where the type is `b` for the base, `i` for an
//! incremental file and `h` for one that is not needed any more. Redis passes over lines that begin with `#`; what we
//! know of a file besides stands in such a line before it:
//!
//! ```text
//! # of appendonly.aof.2.base.rdb: time 1700000000 incr 7
//! file appendonly.aof.2.base.rdb seq 2 type b
//! ```

use crate::storage::Object;
use crate::{Error, Result};

const DOING: &str = "reading the manifest of the append-only files";
/// The longest line, as Redis has it.
const LINE_BYTES_MAX: usize = 1023;
const FACTS: &str = "# of ";

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The keyspace when the incremental files were begun.
    Base,
    /// Commands since.
    Increment,
    /// Replaced by a newer base: needed only to go back in time.
    History,
}

impl Kind {
    fn letter(self) -> char {
        match self {
            Self::Base => 'b',
            Self::Increment => 'i',
            Self::History => 'h',
        }
    }
}

/// A file that the manifest names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its name in the folder of the manifest.
    pub name: String,
    /// Its number among the bases, or among the incremental files.
    pub seq: u64,
    /// What it is for.
    pub kind: Kind,
    /// The second of the newest entry that a base holds, or of the first that an incremental file may hold; if known.
    pub time: Option<u64>,
    /// The number of the first incremental file that goes on from a base; if known.
    pub incr: Option<u64>,
    /// The second in which it became history; if known.
    pub until: Option<u64>,
}

impl File {
    /// A file of which nothing else is known.
    pub fn new(name: impl Into<String>, seq: u64, kind: Kind) -> Self {
        Self {
            name: name.into(),
            seq,
            kind,
            time: None,
            incr: None,
            until: None,
        }
    }

    /// Whether it is, or was, a base.
    pub fn is_base(&self) -> bool {
        match self.kind {
            Kind::Base => true,
            Kind::Increment => false,
            // Redis keeps what it was only in the name.
            Kind::History => self.name.contains(".base."),
        }
    }

    /// Whether it holds a snapshot rather than commands.
    pub fn is_rdb(&self) -> bool {
        self.name.ends_with(".rdb")
    }
}

/// The files of an append-only log.
///
/// ```
/// use trilith::archive::aof::{File, Kind, Manifest, names};
/// let mut manifest = Manifest::default();
/// manifest.base = Some(File { time: Some(1_700_000_000), incr: Some(2), ..File::new(names::base(1), 1, Kind::Base) });
/// manifest.increments.push(File::new(names::increment(2), 2, Kind::Increment));
/// assert_eq!(
///     std::str::from_utf8(&manifest.encode()).unwrap(),
///     "# of appendonly.aof.1.base.rdb: time 1700000000 incr 2\n\
///      file appendonly.aof.1.base.rdb seq 1 type b\n\
///      file appendonly.aof.2.incr.aof seq 2 type i\n"
/// );
/// assert_eq!(Manifest::decode(&manifest.encode())?, manifest);
/// # Ok::<(), trilith::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// The keyspace when the first of the incremental files was begun; without one, it was empty.
    pub base: Option<File>,
    /// What the base replaced, in any order.
    pub history: Vec<File>,
    /// The commands since the base, in order.
    pub increments: Vec<File>,
}

impl Manifest {
    /// Every file, in the order of the lines.
    pub fn files(&self) -> impl Iterator<Item = &File> {
        self.base
            .iter()
            .chain(&self.history)
            .chain(&self.increments)
    }

    /// Every file, to be changed.
    pub fn files_mut(&mut self) -> impl Iterator<Item = &mut File> {
        self.base
            .iter_mut()
            .chain(&mut self.history)
            .chain(&mut self.increments)
    }

    /// The text.
    pub fn encode(&self) -> Vec<u8> {
        let mut text = String::new();
        for file in self.files() {
            let name = quote(&file.name);
            let facts = [
                ("time", file.time),
                ("incr", file.incr),
                ("until", file.until),
            ];
            let known = facts
                .iter()
                .filter_map(|(key, value)| Some((key, (*value)?)));
            let facts: String = known
                .map(|(key, value)| format!(" {key} {value}"))
                .collect();
            if !facts.is_empty() {
                text.push_str(&format!("{FACTS}{name}:{facts}\n"));
            }
            let letter = file.kind.letter();
            text.push_str(&format!("file {name} seq {} type {letter}\n", file.seq));
        }
        text.into_bytes()
    }

    /// The manifest that `text` holds.
    ///
    /// # Errors
    /// `Corrupt` where Redis would not read it either.
    pub fn decode(text: &[u8]) -> Result<Self> {
        let mut manifest = Self::default();
        let mut facts: Vec<(String, Vec<(String, u64)>)> = Vec::new();
        let mut offset = 0;
        for line in text.split_inclusive(|&byte| byte == b'\n') {
            let wrong = |why: &str| Error::corrupt(DOING, why).at(offset);
            if line.len() > LINE_BYTES_MAX {
                return Err(wrong("a line is too long"));
            }
            let line = std::str::from_utf8(line).map_err(|_| wrong("a line is no text"))?;
            if line.starts_with('#') {
                facts.extend(read_facts(line.trim()));
            } else {
                let mut file = read_file(line.trim()).map_err(wrong)?;
                if let Some((_, facts)) = facts.iter().find(|(name, _)| *name == file.name) {
                    file.learn(facts);
                }
                manifest.add(file).map_err(wrong)?;
            }
            offset += line.len() as u64;
        }
        if manifest.files().next().is_none() {
            return Err(Error::corrupt(DOING, "it names no file"));
        }
        Ok(manifest)
    }

    fn add(&mut self, file: File) -> Result<(), &'static str> {
        match file.kind {
            Kind::Base if self.base.is_some() => return Err("there are two bases"),
            Kind::Base => self.base = Some(file),
            Kind::History => self.history.push(file),
            Kind::Increment => {
                if self
                    .increments
                    .last()
                    .is_some_and(|last| last.seq >= file.seq)
                {
                    return Err("incremental files are not in order");
                }
                self.increments.push(file);
            }
        }
        Ok(())
    }
}

impl File {
    fn learn(&mut self, facts: &[(String, u64)]) {
        for (key, value) in facts {
            match key.as_str() {
                "time" => self.time = Some(*value),
                "incr" => self.incr = Some(*value),
                "until" => self.until = Some(*value),
                _ => {}
            }
        }
    }
}

/// A comment of ours: a file's name, and what it says. Any other says nothing.
fn read_facts(line: &str) -> Option<(String, Vec<(String, u64)>)> {
    let rest = line.strip_prefix(FACTS)?;
    let (name, pairs) = rest.rsplit_once(':')?;
    let [name] = <[String; 1]>::try_from(words(name)?).ok()?;
    let pairs: Vec<&str> = pairs.split_ascii_whitespace().collect();
    let pair = |pair: &[&str]| Some((pair[0].to_owned(), pair.get(1)?.parse().ok()?));
    Some((name, pairs.chunks(2).map(pair).collect::<Option<_>>()?))
}

fn read_file(line: &str) -> Result<File, &'static str> {
    let words = words(line).ok_or("a line's quotes do not end")?;
    if words.len() < 6 || !words.len().is_multiple_of(2) {
        return Err("a line has to have pairs of words");
    }
    let value = |key: &str| {
        let mut pairs = words.chunks(2);
        pairs
            .find(|pair| pair[0].eq_ignore_ascii_case(key))
            .map(|pair| pair[1].as_str())
    };
    let name = value("file").ok_or("a line without a file")?;
    let is_plain = !name.contains('/') && Object::Archive(name.into()).check_name().is_ok();
    if !is_plain {
        return Err("a file's name has to be plain");
    }
    let seq = value("seq").ok_or("a line without a number")?;
    let seq = seq.parse().map_err(|_| "a file's number is none")?;
    let kind = match value("type").ok_or("a line without a type")? {
        "b" => Kind::Base,
        "i" => Kind::Increment,
        "h" => Kind::History,
        _ => return Err("an unknown type of file"),
    };
    if seq == 0 {
        return Err("a file's number is none");
    }
    Ok(File::new(name, seq, kind))
}

/// Whether a name can stand without quotes.
fn is_bare(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'\\'))
}

fn quote(name: &str) -> String {
    if is_bare(name) {
        return name.to_owned();
    }
    let mut quoted = String::from("\"");
    for byte in name.bytes() {
        match byte {
            b'"' | b'\\' => quoted.extend(['\\', byte.into()]),
            b' '..=b'~' => quoted.push(byte.into()),
            _ => quoted.push_str(&format!("\\x{byte:02x}")),
        }
    }
    quoted.push('"');
    quoted
}

/// The words of a line: bare, in double quotes with escapes, or in single quotes.
fn words(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut rest = line.trim_ascii_start().as_bytes();
    while let Some(&first) = rest.first() {
        let mut word = Vec::new();
        rest = match first {
            b'"' => double_quoted(&rest[1..], &mut word)?,
            b'\'' => single_quoted(&rest[1..], &mut word)?,
            _ => {
                let end = rest.iter().position(u8::is_ascii_whitespace);
                let (bare, behind) = rest.split_at(end.unwrap_or(rest.len()));
                word.extend_from_slice(bare);
                behind
            }
        };
        // Nothing but a blank may stand behind a quote.
        if rest.first().is_some_and(|byte| !byte.is_ascii_whitespace()) {
            return None;
        }
        words.push(String::from_utf8(word).ok()?);
        rest = rest.trim_ascii_start();
    }
    Some(words)
}

fn double_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        rest = match rest {
            [b'"', behind @ ..] => return Some(behind),
            [b'\\', b'x', high, low, behind @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                word.push((digit(*high)? << 4 | digit(*low)?) as u8);
                behind
            }
            [b'\\', escaped, behind @ ..] => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => *other,
                });
                behind
            }
            [byte, behind @ ..] => {
                word.push(*byte);
                behind
            }
            [] => return None,
        };
    }
}

fn single_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        rest = match rest {
            [b'\'', behind @ ..] => return Some(behind),
            [b'\\', b'\'', behind @ ..] => {
                word.push(b'\'');
                behind
            }
            [byte, behind @ ..] => {
                word.push(*byte);
                behind
            }
            [] => return None,
        };
    }
}

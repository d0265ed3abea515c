//! Reading an RDB file, with bounded memory.

use super::kind::{self, Layout};
use super::scan::{Scan, Stop, Text};
use super::window::{READ_BYTES, Window};
use super::{
    CHECKSUM_BYTES, HEADER_BYTES, MAGIC, Sizes, VERSION_CHECKED, VERSION_READ_MAX, ValueKind,
    opcode, skip,
};
use crate::storage::{self, Object};
use crate::{Error, ErrorKind, Result};

/// What errors say was being done.
pub(super) const READING: &str = "reading an item";

/// What is kept for the next string that is not in the file as it is.
const SCRATCH_BYTES: usize = 1 << 20;

/// What a file holds, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A field about the file.
    Aux {
        /// Its name.
        name: &'a [u8],
        /// What it says.
        value: &'a [u8],
    },
    /// What follows belongs to this database.
    Select(u64),
    /// How much is to come in this database.
    Sizes(Sizes),
    /// A string.
    Entry {
        /// Where it begins in the file.
        offset: u64,
        /// The database that it is in.
        database: u64,
        /// Its key.
        key: &'a [u8],
        /// Its value.
        value: &'a [u8],
        /// When it expires, in milliseconds since 1970; 0 is never. It may have passed.
        deadline_ms: u64,
    },
    /// A value of a type that Trilith does not hold. The next call of [`Reader::next`] passes over it.
    Unsupported {
        /// Where it begins in the file.
        offset: u64,
        /// The database that it is in.
        database: u64,
        /// Its key.
        key: &'a [u8],
        /// Its type.
        kind: ValueKind,
    },
    /// A library of functions, passed over.
    Functions {
        /// Where it begins in the file.
        offset: u64,
    },
    /// A module's own data, passed over.
    Module {
        /// Where it begins in the file.
        offset: u64,
        /// The nine characters of the module type's name.
        name: [u8; 9],
    },
}

/// How a file ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Where the file ends. An object may go on behind it: an old AOF begins with an RDB file.
    pub offset: u64,
    /// Whether it had a checksum, and that was right. Redis writes none when told so, nor before version 5.
    pub checked: bool,
}

/// Reads one file from its beginning to its end. Holds about a megabyte, or the longest entry if that is more.
///
/// What was given out before the end is not yet known to be sound: the checksum comes last.
pub struct Reader<R> {
    window: Window<R>,
    version: u16,
    database: u64,
    /// When the key that comes next expires; 0 is never.
    deadline_ms: u64,
    /// Where the key that comes next began, if something was said of it before.
    began: Option<u64>,
    /// What has to be passed over before the next item.
    pending: Option<Layout>,
    key: Vec<u8>,
    value: Vec<u8>,
    ending: Option<Ending>,
    failed: Option<Error>,
}

/// An item whose bytes are just behind.
struct Found {
    what: What,
    offset: u64,
    bytes: usize,
    deadline_ms: u64,
}

enum What {
    Aux { name: Text, value: Text },
    Select,
    Sizes(Sizes),
    Entry { key: Text, value: Text },
    Unsupported { key: Text, kind: ValueKind },
    Functions,
    Module([u8; 9]),
}

/// How far one step came.
enum Step {
    Item(What),
    /// It said something of what follows.
    On,
    End,
}

impl<R: storage::Reader> Reader<R> {
    /// Begins to read; `object` is what errors name.
    ///
    /// # Errors
    /// `Corrupt` if this is no RDB file, `Newer` if its version is not known; those of the storage.
    pub async fn open(reader: R, object: Object) -> Result<Self> {
        Self::begin(Window::new(reader, object, READ_BYTES)).await
    }

    pub(super) async fn begin(mut window: Window<R>) -> Result<Self> {
        window.fill(HEADER_BYTES).await?;
        let version = read_version(&window)?;
        window.take(HEADER_BYTES);
        Ok(Self {
            window,
            version,
            database: 0,
            deadline_ms: 0,
            began: None,
            pending: None,
            key: Vec::new(),
            value: Vec::new(),
            ending: None,
            failed: None,
        })
    }

    /// The file's version.
    pub fn version(&self) -> u16 {
        self.version
    }

    /// How far the file has been read.
    pub fn offset(&self) -> u64 {
        self.window.offset()
    }

    /// How the file ended, once [`next`](Self::next) has answered `None`.
    pub fn ending(&self) -> Option<Ending> {
        self.ending
    }

    /// The next item; `None` at the end of a file whose checksum is right. After an error it is the same error again.
    ///
    /// # Errors
    /// `Corrupt`, naming object and offset; `Invalid` for a string that is longer than a value may be, and for what
    /// cannot be passed over; those of the storage.
    pub async fn next(&mut self) -> Result<Option<Item<'_>>> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        match self.advance().await {
            Ok(found) => Ok(found.map(|found| self.item(found))),
            Err(error) => {
                self.failed = Some(error.clone());
                Err(error)
            }
        }
    }

    async fn advance(&mut self) -> Result<Option<Found>> {
        if self.ending.is_some() {
            return Ok(None);
        }
        // After a long string.
        self.value.shrink_to(SCRATCH_BYTES);
        if let Some(layout) = self.pending.take() {
            skip::value(&mut self.window, layout).await?;
        }
        loop {
            let offset = self.window.offset();
            let (step, bytes) = match self.step() {
                Ok(step) => step,
                Err(stop) => {
                    skip::resolve(&mut self.window, stop).await?;
                    continue;
                }
            };
            self.window.take(bytes);
            match step {
                Step::Item(what) => {
                    return Ok(Some(Found {
                        what,
                        offset: self.began.take().unwrap_or(offset),
                        bytes,
                        deadline_ms: std::mem::take(&mut self.deadline_ms),
                    }));
                }
                Step::On => {
                    self.began.get_or_insert(offset);
                }
                Step::End => {
                    self.end().await?;
                    return Ok(None);
                }
            }
        }
    }

    /// Takes apart what comes next, and says how many bytes it has. Does nothing that could not be done again.
    #[inline]
    fn step(&mut self) -> Result<(Step, usize), Stop> {
        let bytes = self.window.rest();
        let mut scan = Scan::new(bytes, self.window.left());
        let number = scan.byte()?;
        if number != 0 {
            return self.rare_step(number);
        }
        let (key, value) = (scan.text()?, scan.text()?);
        key.unpack(bytes, &mut self.key)?;
        value.unpack(bytes, &mut self.value)?;
        Ok((Step::Item(What::Entry { key, value }), scan.at()))
    }

    /// What is no string.
    fn rare_step(&mut self, number: u8) -> Result<(Step, usize), Stop> {
        let bytes = self.window.rest();
        let mut scan = Scan::new(bytes, self.window.left());
        scan.byte()?;
        let step = match number {
            opcode::AUX => {
                let (name, value) = (scan.text()?, scan.text()?);
                name.unpack(bytes, &mut self.key)?;
                value.unpack(bytes, &mut self.value)?;
                Step::Item(What::Aux { name, value })
            }
            opcode::SELECT => {
                self.database = scan.number()?;
                Step::Item(What::Select)
            }
            opcode::SIZES => {
                let (keys, keys_with_deadline) = (scan.number()?, scan.number()?);
                Step::Item(What::Sizes(Sizes {
                    keys,
                    keys_with_deadline,
                }))
            }
            opcode::DEADLINE_MS => {
                self.deadline_ms = deadline_of(i64::from_le_bytes(scan.array()?));
                Step::On
            }
            opcode::DEADLINE_S => {
                let seconds = i64::from(i32::from_le_bytes(scan.array()?));
                self.deadline_ms = deadline_of(seconds * 1000);
                Step::On
            }
            opcode::IDLE => {
                scan.number()?;
                Step::On
            }
            opcode::FREQUENCY => {
                scan.byte()?;
                Step::On
            }
            opcode::SLOT_INFO => {
                // The slot, its keys, those of them that expire.
                for _ in 0..3 {
                    scan.number()?;
                }
                Step::On
            }
            opcode::FUNCTIONS => {
                self.pending = Some(Layout::Packed);
                Step::Item(What::Functions)
            }
            opcode::MODULE_AUX => {
                let name = kind::module_name(scan.number()?);
                self.pending = Some(Layout::ModuleAux);
                Step::Item(What::Module(name))
            }
            opcode::END => Step::End,
            kind::SEALED => return Err(Stop::Sealed),
            number => {
                let (mut kind, layout) =
                    kind::layout_of(number).ok_or(Stop::Damage("no such type of item"))?;
                let key = scan.text()?;
                key.unpack(bytes, &mut self.key)?;
                if layout == Layout::Module {
                    kind = ValueKind::Module(kind::module_name(scan.number()?));
                }
                self.pending = Some(layout);
                Step::Item(What::Unsupported { key, kind })
            }
        };
        Ok((step, scan.at()))
    }

    /// What was found, with its bytes.
    #[inline]
    fn item(&self, found: Found) -> Item<'_> {
        let bytes = self.window.before(found.bytes);
        let (offset, database) = (found.offset, self.database);
        match found.what {
            What::Entry { key, value } => Item::Entry {
                offset,
                database,
                key: key.bytes(bytes, &self.key),
                value: value.bytes(bytes, &self.value),
                deadline_ms: found.deadline_ms,
            },
            What::Aux { name, value } => Item::Aux {
                name: name.bytes(bytes, &self.key),
                value: value.bytes(bytes, &self.value),
            },
            What::Select => Item::Select(database),
            What::Sizes(sizes) => Item::Sizes(sizes),
            What::Unsupported { key, kind } => Item::Unsupported {
                offset,
                database,
                key: key.bytes(bytes, &self.key),
                kind,
            },
            What::Functions => Item::Functions { offset },
            What::Module(name) => Item::Module { offset, name },
        }
    }

    /// Compares the checksum, if there is one.
    async fn end(&mut self) -> Result<()> {
        let made = self.window.checksum();
        let mut checked = false;
        if self.version >= VERSION_CHECKED {
            self.window.fill(CHECKSUM_BYTES).await?;
            let said = self.window.rest().first_chunk().copied();
            let said = u64::from_le_bytes(said.unwrap_or_default());
            if said != 0 && said != made {
                let detail =
                    format!("the checksum is {said:016x}, but what was read comes to {made:016x}");
                return Err(self.window.corrupt(detail));
            }
            checked = said != 0;
            self.window.take(CHECKSUM_BYTES);
        }
        let offset = self.window.offset();
        self.ending = Some(Ending { offset, checked });
        Ok(())
    }
}

fn read_version<R: storage::Reader>(window: &Window<R>) -> Result<u16> {
    let (magic, digits) = window.rest()[..HEADER_BYTES].split_at(MAGIC.len());
    let version = std::str::from_utf8(digits).ok();
    let version = version.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()));
    match version.and_then(|digits| digits.parse().ok()) {
        Some(version @ 1..=VERSION_READ_MAX) if magic == MAGIC => Ok(version),
        Some(version) if magic == MAGIC && version > 0 => {
            let detail =
                format!("version {version}, but those up to {VERSION_READ_MAX} are known here");
            Err(window.error(ErrorKind::Newer, detail))
        }
        _ => Err(window.corrupt("this is no RDB file")),
    }
}

/// A deadline as it is given out. 0 is never there, and what lies before 1970 has passed like everything else.
fn deadline_of(ms: i64) -> u64 {
    ms.max(1) as u64
}

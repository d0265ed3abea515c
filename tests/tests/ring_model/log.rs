//! A replica's log: at most eight entries, packed into one word so that states are small and quick to hash.

use std::fmt;

pub type Index = u8;
pub type Term = u8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Payload {
    /// Begins a term (rule 3).
    Empty = 1,
    /// The client's first write, of the value 1.
    WriteOne = 2,
    /// The client's second write, of the value 2.
    WriteTwo = 3,
    /// From here on both configurations count (rule 8).
    Joint = 4,
    /// From here on only the new one does.
    Leave = 5,
}

impl Payload {
    /// The value that this entry gives the register.
    pub fn value(self) -> Option<u8> {
        match self {
            Self::WriteOne => Some(1),
            Self::WriteTwo => Some(2),
            Self::Empty | Self::Joint | Self::Leave => None,
        }
    }

    pub fn write(value: u8) -> Self {
        match value {
            1 => Self::WriteOne,
            _ => Self::WriteTwo,
        }
    }

    fn from_code(code: u8) -> Self {
        match code {
            1 => Self::Empty,
            2 => Self::WriteOne,
            3 => Self::WriteTwo,
            4 => Self::Joint,
            _ => Self::Leave,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub term: Term,
    pub payload: Payload,
}

/// Entries from index 1 on, one a byte: the term in the high half, the payload in the low one.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Log(u64);

impl Log {
    pub const EMPTY: Self = Self(0);
    pub const MAX: Index = 8;

    pub fn of(entries: &[(Term, Payload)]) -> Self {
        let mut log = Self::default();
        for &(term, payload) in entries {
            log = log.with(Entry { term, payload });
        }
        log
    }

    pub fn last_index(self) -> Index {
        8 - (self.0.leading_zeros() / 8) as Index
    }

    pub fn last_term(self) -> Term {
        self.term_at(self.last_index())
    }

    /// The term of the entry at `index`, 0 for index 0.
    pub fn term_at(self, index: Index) -> Term {
        self.get(index).map_or(0, |entry| entry.term)
    }

    pub fn get(self, index: Index) -> Option<Entry> {
        if index == 0 || index > self.last_index() {
            return None;
        }
        let byte = self.0.to_le_bytes()[usize::from(index - 1)];
        Some(Entry {
            term: byte >> 4,
            payload: Payload::from_code(byte & 15),
        })
    }

    pub fn entries(self) -> impl DoubleEndedIterator<Item = Entry> {
        (1..=self.last_index()).filter_map(move |index| self.get(index))
    }

    pub fn with(self, entry: Entry) -> Self {
        let at = self.last_index();
        assert!(at < Self::MAX, "the bounds of a model keep its logs short");
        let byte = u64::from(entry.term << 4 | entry.payload as u8);
        Self(self.0 | byte << (8 * at))
    }

    /// The first `length` entries.
    pub fn prefix(self, length: Index) -> Self {
        match length {
            0 => Self(0),
            1..Self::MAX => Self(self.0 & ((1 << (8 * length)) - 1)),
            _ => self,
        }
    }

    pub fn starts_with(self, prefix: Self) -> bool {
        self.prefix(prefix.last_index()) == prefix
    }

    /// How many entries the two have in common, from the first on.
    pub fn common(self, other: Self) -> Index {
        let same = ((self.0 ^ other.0).trailing_zeros() / 8) as Index;
        same.min(self.last_index()).min(other.last_index())
    }

    /// Whether a candidate with this log may have the vote of a replica with `other`.
    pub fn is_up_to_date_with(last: (Term, Index), other: Self) -> bool {
        last >= (other.last_term(), other.last_index())
    }

    pub fn holds_value(self, value: u8) -> bool {
        self.entries().any(|e| e.payload.value() == Some(value))
    }

    /// What the register holds once all of it is applied: 0 before the first write.
    pub fn register(self) -> u8 {
        self.entries()
            .rev()
            .find_map(|e| e.payload.value())
            .unwrap_or(0)
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for entry in self.entries() {
            write!(f, " {}:{:?}", entry.term, entry.payload)?;
        }
        f.write_str(" ]")
    }
}

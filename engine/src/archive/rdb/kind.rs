//! The types of values that only Redis has, and how each is laid out as far as one has to know to pass over it.

use std::fmt;

/// A type of value that Trilith does not hold. Displayed by the name that Redis's TYPE answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ValueKind {
    /// A list.
    List,
    /// A set.
    Set,
    /// A sorted set.
    SortedSet,
    /// A hash.
    Hash,
    /// A stream.
    Stream,
    /// A module's own type, by the nine characters of its name.
    Module([u8; 9]),
}

impl fmt::Display for ValueKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::List => "list",
            Self::Set => "set",
            Self::SortedSet => "zset",
            Self::Hash => "hash",
            Self::Stream => "stream",
            Self::Module(name) => return f.write_str(&String::from_utf8_lossy(name)),
        })
    }
}

/// What follows the key of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// One string that holds everything: ziplist, listpack, intset, zipmap.
    Packed,
    /// Eight bytes (the earliest deadline), then one string.
    PackedWithDeadlines,
    /// A count, and so many times this many strings.
    Strings(u64),
    /// A count, and so many times a string and a number as text.
    ScoresAsText,
    /// A count, and so many times a string and eight bytes.
    Scores,
    /// A count, and so many times a number and a string.
    Nodes,
    /// A count, and so many times a number and two strings; eight bytes before the count if so.
    FieldsWithDeadlines { earliest_first: bool },
    /// A stream, as the first, second or third version of that type has it.
    Stream(u8),
    /// What a module wrote, in parts that say what they are.
    Module,
    /// Two numbers, then the same.
    ModuleAux,
}

/// A type as the file numbers it; `None` if no version up to 12 has it. Type 0, strings, is not among them; nor is 6, the
/// first format of modules ([`SEALED`]).
pub(super) fn layout_of(number: u8) -> Option<(ValueKind, Layout)> {
    use Layout::{
        FieldsWithDeadlines, Module, Nodes, Packed, PackedWithDeadlines, Scores, ScoresAsText,
        Stream, Strings,
    };
    use ValueKind::{Hash, List, Set, SortedSet};
    Some(match number {
        1 => (List, Strings(1)),
        2 => (Set, Strings(1)),
        3 => (SortedSet, ScoresAsText),
        4 => (Hash, Strings(2)),
        5 => (SortedSet, Scores),
        7 => (ValueKind::Module([0; 9]), Module),
        9 | 13 | 16 => (Hash, Packed),
        10 => (List, Packed),
        11 | 20 => (Set, Packed),
        12 | 17 => (SortedSet, Packed),
        14 => (List, Strings(1)),
        15 => (ValueKind::Stream, Stream(1)),
        18 => (List, Nodes),
        19 => (ValueKind::Stream, Stream(2)),
        21 => (ValueKind::Stream, Stream(3)),
        22 => (
            Hash,
            FieldsWithDeadlines {
                earliest_first: false,
            },
        ),
        23 => (Hash, Packed),
        24 => (
            Hash,
            FieldsWithDeadlines {
                earliest_first: true,
            },
        ),
        25 => (Hash, PackedWithDeadlines),
        _ => return None,
    })
}

/// The type of a module's value in Redis 4's release candidates: only the module itself can tell where it ends.
pub(super) const SEALED: u8 = 6;

/// The name in a module type's number: nine characters of six bits each, above ten bits for its version.
pub(super) fn module_name(number: u64) -> [u8; 9] {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    std::array::from_fn(|i| {
        let bits = number >> (10 + 6 * (8 - i));
        LETTERS[(bits & 0x3f) as usize]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_modules_type_has_its_name_in_its_number() {
        assert_eq!(module_name(0), *b"AAAAAAAAA");
        assert_eq!(module_name(u64::MAX), *b"_________");
        // ReJSON-RL, version 3.
        let mut number = 0u64;
        for letter in [17, 30, 9, 18, 14, 13, 62, 17, 11] {
            number = number << 6 | letter;
        }
        let kind = ValueKind::Module(module_name(number << 10 | 3));
        assert_eq!(kind.to_string(), "ReJSON-RL");
    }

    #[test]
    fn types_have_the_names_that_redis_gives_them() {
        let names = [1u8, 2, 3, 4, 21].map(|number| layout_of(number).unwrap().0.to_string());
        assert_eq!(names, ["list", "set", "zset", "hash", "stream"]);
        for unknown in [0, 6, 8, 26, 242, 255] {
            assert_eq!(layout_of(unknown), None);
        }
    }
}

//! Replies as another node has written them. Lists lie in lists, and whoever wrote the bytes chose how deep: no deeper
//! is followed than a stack can take.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use serde::de::{DeserializeSeed, EnumAccess, Error, SeqAccess, VariantAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::reply::Reply;

/// Lists within each other, at most. Commands answer with two at most.
pub(super) const DEPTH_MAX: usize = 16;

/// What is taken at once for a list; the rest as its elements come.
const ELEMENTS_AHEAD: usize = 1024;

/// The kinds, in the order of [`Reply`]'s.
#[derive(Deserialize)]
#[serde(variant_identifier)]
enum Kind {
    Simple,
    Error,
    Int,
    Bulk,
    Null,
    NullArray,
    Array,
    Map,
}

const KINDS: &[&str] = &[
    "Simple",
    "Error",
    "Int",
    "Bulk",
    "Null",
    "NullArray",
    "Array",
    "Map",
];

impl<'de> Deserialize<'de> for Reply {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        One { depth: 0 }.deserialize(deserializer)
    }
}

/// A reply within so many lists.
#[derive(Clone, Copy)]
struct One {
    depth: usize,
}

impl One {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        if self.depth == DEPTH_MAX {
            return Err(E::custom("a reply has too many lists within each other"));
        }
        Ok(Self {
            depth: self.depth + 1,
        })
    }
}

impl<'de> DeserializeSeed<'de> for One {
    type Value = Reply;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Reply, D::Error> {
        deserializer.deserialize_enum("Reply", KINDS, self)
    }
}

impl<'de> Visitor<'de> for One {
    type Value = Reply;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a reply")
    }

    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<Reply, A::Error> {
        let (kind, content) = data.variant::<Kind>()?;
        Ok(match kind {
            Kind::Simple => Reply::Simple(content.newtype_variant::<Cow<'static, str>>()?),
            Kind::Error => Reply::Error(content.newtype_variant::<Cow<'static, str>>()?),
            Kind::Int => Reply::Int(content.newtype_variant()?),
            Kind::Bulk => Reply::Bulk(content.newtype_variant::<Bytes>()?),
            Kind::Null => {
                content.unit_variant()?;
                Reply::Null
            }
            Kind::NullArray => {
                content.unit_variant()?;
                Reply::NullArray
            }
            Kind::Array => {
                let each = self.deeper()?;
                Reply::Array(content.newtype_variant_seed(Many::of(each))?)
            }
            Kind::Map => {
                let each = Pair(self.deeper()?);
                Reply::Map(content.newtype_variant_seed(Many::of(each))?)
            }
        })
    }
}

/// A key and what belongs to it.
#[derive(Clone, Copy)]
struct Pair(One);

impl<'de> DeserializeSeed<'de> for Pair {
    type Value = (Reply, Reply);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_tuple(2, self)
    }
}

impl<'de> Visitor<'de> for Pair {
    type Value = (Reply, Reply);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a pair of replies")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Self::Value, A::Error> {
        let mut next = |number| {
            let found = all.next_element_seed(self.0)?;
            found.ok_or_else(|| A::Error::invalid_length(number, &self))
        };
        Ok((next(0)?, next(1)?))
    }
}

/// A list, each element of which is read in the same way.
struct Many<S, T> {
    each: S,
    read: PhantomData<T>,
}

impl<S, T> Many<S, T> {
    fn of(each: S) -> Self {
        Self {
            each,
            read: PhantomData,
        }
    }
}

impl<'de, T, S: DeserializeSeed<'de, Value = T> + Copy> DeserializeSeed<'de> for Many<S, T> {
    type Value = Vec<T>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<T>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, T, S: DeserializeSeed<'de, Value = T> + Copy> Visitor<'de> for Many<S, T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of replies")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Vec<T>, A::Error> {
        let announced = elements.size_hint().unwrap_or(0);
        let mut all = Vec::with_capacity(announced.min(ELEMENTS_AHEAD));
        while let Some(element) = elements.next_element_seed(self.each)? {
            all.push(element);
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again(reply: &Reply) -> Result<Reply, postcard::Error> {
        postcard::from_bytes(&postcard::to_allocvec(reply).unwrap())
    }

    #[test]
    fn every_kind_of_reply_is_read_as_it_was_written() {
        let flat = vec![
            Reply::OK,
            Reply::SYNTAX,
            Reply::Int(-7),
            Reply::text("some"),
            Reply::Null,
            Reply::NullArray,
        ];
        let pairs = vec![(Reply::Int(1), Reply::Array(flat.clone()))];
        for reply in flat.into_iter().chain([Reply::Map(pairs)]) {
            assert_eq!(again(&reply).unwrap(), reply);
        }
    }

    #[test]
    fn lists_within_lists_are_followed_so_far_only() {
        let mut reply = Reply::Null;
        for _ in 0..DEPTH_MAX {
            reply = Reply::Array(vec![reply]);
        }
        assert_eq!(again(&reply).unwrap(), reply);
        assert!(again(&Reply::Array(vec![reply.clone()])).is_err());
        assert!(again(&Reply::Map(vec![(Reply::Null, reply)])).is_err());
    }

    #[test]
    fn lists_without_end_do_not_take_the_stack() {
        // An array of one array of one, a million times over.
        let bytes = [6, 1].repeat(1 << 20);
        assert!(postcard::from_bytes::<Reply>(&bytes).is_err());
        // And maps whose keys are maps.
        let bytes = [7, 1].repeat(1 << 20);
        assert!(postcard::from_bytes::<Reply>(&bytes).is_err());
    }

    #[test]
    fn a_list_that_is_announced_takes_no_room() {
        // An array of 2^60 elements, of which none follows.
        let bytes = [6, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10];
        assert!(postcard::from_bytes::<Reply>(&bytes).is_err());
    }
}

//! How operators name nodes and ranges.

use std::fmt;
use std::str::FromStr;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use trilith::ring::META;

use super::problem::Problem;
use super::status::Member;

/// Digits of an id.
const ID_DIGITS: usize = 16;

/// Digits of an id as Redis Cluster writes it: the same number, with zeros before it.
const CLUSTER_ID_DIGITS: usize = 40;

/// A node's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub u64);

impl Id {
    /// So many of its first digits.
    pub fn prefix(self, digits: usize) -> String {
        let mut text = self.to_string();
        text.truncate(digits);
        text
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Written::deserialize(deserializer)? {
            Written::Number(number) => Ok(Self(number)),
            Written::Text(text) => u64::from_str_radix(digits_of(&text), 16)
                .map(Self)
                .map_err(|_| D::Error::custom(format!("{text:?} is no id"))),
        }
    }
}

/// As a node may write an id or a range.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Number(u64),
    Text(String),
}

/// Without the zeros that Redis Cluster's ids begin with.
fn digits_of(text: &str) -> &str {
    let zeros = CLUSTER_ID_DIGITS - ID_DIGITS;
    match text.split_at_checked(zeros) {
        Some((zeros, digits))
            if text.len() == CLUSTER_ID_DIGITS && zeros.bytes().all(|digit| digit == b'0') =>
        {
            digits
        }
        _ => text,
    }
}

/// A range: the number of its arc, or meta.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RangeName(pub u32);

impl RangeName {
    /// The range that holds members, zones, placement and settings.
    pub const META: Self = Self(META);
}

impl fmt::Display for RangeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::META => f.write_str("meta"),
            Self(number) => number.fmt(f),
        }
    }
}

impl FromStr for RangeName {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word.parse() {
            _ if word == "meta" => Ok(Self::META),
            Ok(number) => Ok(Self(number)),
            Err(_) => Err("a range is a number or `meta`".to_owned()),
        }
    }
}

impl Serialize for RangeName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self::META => serializer.serialize_str("meta"),
            Self(number) => serializer.serialize_u32(number),
        }
    }
}

impl<'de> Deserialize<'de> for RangeName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Written::deserialize(deserializer)? {
            Written::Number(number) => u32::try_from(number).map(Self).map_err(D::Error::custom),
            Written::Text(text) => text.parse().map_err(D::Error::custom),
        }
    }
}

/// The member that `word` means: its address, its id, or the beginning of its id if no other's begins so.
pub fn resolve(word: &str, members: &[Member], at: &str) -> Result<Id, Problem> {
    if let Some(member) = members.iter().find(|member| member.address == word) {
        return Ok(member.id);
    }
    let list = format!("List the members: trilith cluster nodes --at {at}");
    let lower = word.to_ascii_lowercase();
    let prefix = digits_of(&lower);
    if prefix.is_empty() || !prefix.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(Problem::usage(
            format!("{word:?} is neither a member's address nor the beginning of an id."),
            list,
        ));
    }
    let begins: Vec<Id> = members
        .iter()
        .map(|member| member.id)
        .filter(|id| id.to_string().starts_with(prefix))
        .collect();
    match begins[..] {
        [id] => Ok(id),
        [] => Err(Problem::usage(
            format!("No member's id begins with {prefix}."),
            list,
        )),
        _ => {
            let ids: Vec<String> = begins.iter().map(ToString::to_string).collect();
            Err(Problem::usage(
                format!("The ids of {} members begin with {prefix}.", ids.len()),
                format!("Write more digits of one of {}", ids.join(", ")),
            ))
        }
    }
}

/// How many digits tell the members apart, and are enough to be recognised.
pub fn digits_needed(ids: impl IntoIterator<Item = Id>) -> usize {
    let mut ids: Vec<String> = ids.into_iter().map(|id| id.to_string()).collect();
    ids.sort_unstable();
    ids.dedup();
    let shared = |pair: &[String]| {
        let same = pair[0].bytes().zip(pair[1].bytes());
        same.take_while(|(a, b)| a == b).count()
    };
    let most = ids.windows(2).map(shared).max().unwrap_or(0);
    (most + 1).clamp(6, ID_DIGITS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operate::testing::member;

    fn members() -> Vec<Member> {
        vec![
            member(0x4f2a_9c01_d3e5_8b76, "10.0.0.1:6379"),
            member(0x4f2b_0000_0000_0001, "10.0.0.2:6379"),
            member(0x00c0_ffee_0000_0002, "10.0.0.3:6379"),
        ]
    }

    fn resolved(word: &str) -> Result<String, String> {
        resolve(word, &members(), "h:1")
            .map(|id| id.to_string())
            .map_err(|problem| {
                assert_eq!(problem.exit_code(), 2);
                problem.failure.what
            })
    }

    #[test]
    fn the_beginning_of_an_id_will_do_if_it_is_one_members_only() {
        assert_eq!(resolved("4f2a"), Ok("4f2a9c01d3e58b76".into()));
        assert_eq!(resolved("4F2A9C01D3E58B76"), Ok("4f2a9c01d3e58b76".into()));
        assert_eq!(resolved("0"), Ok("00c0ffee00000002".into()));
        assert_eq!(resolved("10.0.0.2:6379"), Ok("4f2b000000000001".into()));
        assert_eq!(
            resolved("4f2"),
            Err("The ids of 2 members begin with 4f2.".into())
        );
        assert_eq!(resolved("5"), Err("No member's id begins with 5.".into()));
        assert!(resolved("").is_err());
        assert!(resolved("node-1").is_err());
        assert!(resolved("4f2a9c01d3e58b760").is_err());
    }

    #[test]
    fn an_id_as_redis_cluster_writes_it_is_the_same_id() {
        let long = format!("{}4f2a9c01d3e58b76", "0".repeat(24));
        assert_eq!(resolved(&long), Ok("4f2a9c01d3e58b76".into()));
        let read = |json: &str| serde_json::from_str::<Id>(json).unwrap();
        assert_eq!(read(&format!("{long:?}")), Id(0x4f2a_9c01_d3e5_8b76));
        assert_eq!(read("\"00c0ffee00000002\""), read("54324593195745282"));
        assert!(serde_json::from_str::<Id>("\"n1\"").is_err());
    }

    #[test]
    fn ids_are_shortened_as_far_as_they_stay_apart() {
        let needed = |ids: &[u64]| digits_needed(ids.iter().copied().map(Id));
        assert_eq!(needed(&[]), 6);
        assert_eq!(needed(&[0x4f2a_9c01_d3e5_8b76, 0x4f2b << 48]), 6);
        assert_eq!(needed(&[0x1234_5678_0000_0000, 0x1234_5679_0000_0000]), 8);
        assert_eq!(needed(&[1, 2]), 16);
    }

    #[test]
    fn meta_has_a_name() {
        assert_eq!("meta".parse(), Ok(RangeName::META));
        assert_eq!(RangeName::META.to_string(), "meta");
        assert_eq!(
            serde_json::from_str::<RangeName>("4294967295").unwrap(),
            RangeName::META
        );
        assert_eq!(
            serde_json::from_str::<RangeName>("\"meta\"").unwrap(),
            RangeName::META
        );
        assert_eq!("17".parse(), Ok(RangeName(17)));
        assert!("-1".parse::<RangeName>().is_err());
    }
}

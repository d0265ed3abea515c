//! What may be done to a ring, as data: what a visitor does is written down, and can be done again.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use bytes::Bytes;

use super::options::{invalid, quorum_of};
use crate::ring::Quorum;
use crate::ring::driver::Consistency;
use crate::{Error, Result};

/// A machine, by its number: the first is 1.
pub type Number = u32;

/// What is done to a ring. Its text is a verb and what it is about, parted by blanks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// `ask NODE W/R WORD..`: a client asks a node. W and R are 0 for the cluster's setting; `0/weak` reads at once.
    Ask {
        /// Which node.
        node: Number,
        /// By how many copies it wants to be answered.
        how: Consistency,
        /// The command and its arguments. In the text what is no letter, digit or one of `_-.:{}*` is `%` and two
        /// hexadecimal digits.
        words: Vec<Bytes>,
    },
    /// `load RATE KEYS PATTERN READS BYTES`: clients ask by themselves; `load 0` ends that.
    Load(Load),
    /// `kill NODE`: its process ends; what it has written stays. `kill NODE power`: its machine loses power, and with
    /// it what was not synced.
    Kill {
        /// Which.
        node: Number,
        /// What was not synced goes, too.
        power: bool,
    },
    /// `restart NODE`: a process starts on what is on the disk; where one runs, it is killed first.
    Restart(Number),
    /// `pause NODE`: its process stands still, and nothing that is sent to it is lost.
    Pause(Number),
    /// `resume NODE`: it goes on.
    Resume(Number),
    /// `wipe NODE`: its disk is lost. The machine comes back as a new node, and the cluster forgets the old one.
    Wipe(Number),
    /// `partition 1,2/3`: packets between these groups are lost. Nodes that are not named are a group of their own,
    /// and so are all that are added later. Another partition takes the place of the last.
    Partition(Vec<Vec<Number>>),
    /// `heal`: the partition is over.
    Heal,
    /// `delay MS [NODE]`: packets take up to so much longer: all, or those from and to one node. 0 ends it.
    Delay {
        /// Milliseconds.
        ms: u32,
        /// Whose.
        node: Option<Number>,
    },
    /// `drop PERMILLE [NODE]`: so many of a thousand packets are lost. 0 ends it.
    Drop {
        /// Of a thousand.
        permille: u32,
        /// Whose.
        node: Option<Number>,
    },
    /// `skew NODE MS`: its wall clock is off by so much.
    Skew {
        /// Which.
        node: Number,
        /// Milliseconds; ahead, if positive.
        ms: i64,
    },
    /// `add`: a machine joins the cluster.
    Add,
    /// `drain NODE`: it gives up what it holds, and goes.
    Drain(Number),
    /// `quorum N W R`: other quorums.
    Quorum(Quorum),
}

/// What clients ask by themselves: one request after the other, whether the last was answered or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Requests a second; 0 for none.
    pub per_s: u32,
    /// Keys: `user:000` and so on.
    pub keys: u32,
    /// Which of them.
    pub pattern: Pattern,
    /// Of a hundred requests, those that read.
    pub reads_percent: u8,
    /// Bytes of a value.
    pub value_bytes: u32,
}

/// Which keys clients ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pattern {
    /// `uniform`: any.
    #[default]
    Uniform,
    /// `hot`: the first in half of all cases, and any in the other.
    Hot,
    /// `sequence`: each once, in order; then the load ends.
    Sequence,
}

impl Pattern {
    const ALL: [Self; 3] = [Self::Uniform, Self::Hot, Self::Sequence];

    /// Its name in a script.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Hot => "hot",
            Self::Sequence => "sequence",
        }
    }

    /// The pattern of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|pattern| pattern.name() == name)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let about = |f: &mut fmt::Formatter<'_>, node: &Option<Number>| match node {
            Some(node) => write!(f, " {node}"),
            None => Ok(()),
        };
        match self {
            Self::Ask { node, how, words } => {
                write!(f, "ask {node} {}/", how.w)?;
                match how.weak {
                    true => f.write_str("weak")?,
                    false => write!(f, "{}", how.r)?,
                }
                words.iter().try_for_each(|word| {
                    f.write_char(' ')?;
                    write_word(word, f)
                })
            }
            Self::Load(Load { per_s: 0, .. }) => f.write_str("load 0"),
            Self::Load(load) => write!(
                f,
                "load {} {} {} {} {}",
                load.per_s,
                load.keys,
                load.pattern.name(),
                load.reads_percent,
                load.value_bytes
            ),
            Self::Kill { node, power: false } => write!(f, "kill {node}"),
            Self::Kill { node, power: true } => write!(f, "kill {node} power"),
            Self::Restart(node) => write!(f, "restart {node}"),
            Self::Pause(node) => write!(f, "pause {node}"),
            Self::Resume(node) => write!(f, "resume {node}"),
            Self::Wipe(node) => write!(f, "wipe {node}"),
            Self::Partition(groups) => {
                let names = |group: &Vec<Number>| {
                    let names: Vec<String> = group.iter().map(Number::to_string).collect();
                    names.join(",")
                };
                let groups: Vec<String> = groups.iter().map(names).collect();
                write!(f, "partition {}", groups.join("/"))
            }
            Self::Heal => f.write_str("heal"),
            Self::Delay { ms, node } => {
                write!(f, "delay {ms}")?;
                about(f, node)
            }
            Self::Drop { permille, node } => {
                write!(f, "drop {permille}")?;
                about(f, node)
            }
            Self::Skew { node, ms } => write!(f, "skew {node} {ms}"),
            Self::Add => f.write_str("add"),
            Self::Drain(node) => write!(f, "drain {node}"),
            Self::Quorum(quorum) => write!(
                f,
                "quorum {} {} {}",
                quorum.replicas(),
                quorum.acknowledge(),
                quorum.read()
            ),
        }
    }
}

fn write_word(word: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if word.is_empty() {
        // A blank that ends a word is none.
        return f.write_str("%");
    }
    word.iter().try_for_each(|&byte| match byte {
        b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => f.write_char(char::from(byte)),
        b'_' | b'-' | b'.' | b':' | b'{' | b'}' | b'*' => f.write_char(char::from(byte)),
        byte => write!(f, "%{byte:02x}"),
    })
}

fn read_word(text: &str) -> Option<Bytes> {
    if text == "%" {
        return Some(Bytes::new());
    }
    let mut word = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        if byte != b'%' {
            word.push(byte);
            continue;
        }
        let (digits, behind) = rest.split_at_checked(2)?;
        word.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = behind;
    }
    Some(word.into())
}

impl FromStr for Action {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        read(&words).ok_or_else(|| invalid("reading a script", format!("{text:?} is no action")))
    }
}

fn read(words: &[&str]) -> Option<Action> {
    let (&verb, rest) = words.split_first()?;
    let number = |place: usize| rest.get(place)?.parse::<u32>().ok();
    let exactly = |count: usize, action: Option<Action>| action.filter(|_| rest.len() == count);
    // One more word names the node that it is about, if there is one.
    let about = || match rest {
        [_] => Some(None),
        [_, node] => Some(Some(node.parse().ok()?)),
        _ => None,
    };
    match verb {
        "ask" => read_ask(rest),
        "load" if rest == ["0"] => Some(Action::Load(Load::default())),
        "load" => {
            let load = Load {
                per_s: number(0)?,
                keys: number(1)?,
                pattern: Pattern::named(rest.get(2)?)?,
                reads_percent: u8::try_from(number(3)?).ok()?,
                value_bytes: number(4)?,
            };
            exactly(5, Some(Action::Load(load)))
        }
        "kill" => match rest {
            [node] => Some((node, false)),
            [node, "power"] => Some((node, true)),
            _ => None,
        }
        .and_then(|(node, power)| {
            let node = node.parse().ok()?;
            Some(Action::Kill { node, power })
        }),
        "restart" => exactly(1, number(0).map(Action::Restart)),
        "pause" => exactly(1, number(0).map(Action::Pause)),
        "resume" => exactly(1, number(0).map(Action::Resume)),
        "wipe" => exactly(1, number(0).map(Action::Wipe)),
        "partition" => {
            let group = |group: &str| -> Option<Vec<Number>> {
                group.split(',').map(|node| node.parse().ok()).collect()
            };
            let groups: Option<Vec<_>> = rest.first()?.split('/').map(group).collect();
            exactly(1, groups.map(Action::Partition))
        }
        "heal" => exactly(0, Some(Action::Heal)),
        "delay" => Some(Action::Delay {
            ms: number(0)?,
            node: about()?,
        }),
        "drop" => Some(Action::Drop {
            permille: number(0)?,
            node: about()?,
        }),
        "skew" => {
            let (node, ms) = (number(0)?, rest.get(1)?.parse().ok()?);
            exactly(2, Some(Action::Skew { node, ms }))
        }
        "add" => exactly(0, Some(Action::Add)),
        "drain" => exactly(1, number(0).map(Action::Drain)),
        "quorum" => exactly(3, quorum_of(rest.iter().copied()).map(Action::Quorum)),
        _ => None,
    }
}

fn read_ask(rest: &[&str]) -> Option<Action> {
    let (&[node, how], words) = rest.split_first_chunk()?;
    let (w, r) = how.split_once('/')?;
    let weak = r == "weak";
    let how = Consistency {
        w: w.parse().ok()?,
        r: if weak { 0 } else { r.parse().ok()? },
        weak,
    };
    let words: Vec<Bytes> = words
        .iter()
        .copied()
        .map(read_word)
        .collect::<Option<_>>()?;
    (!words.is_empty()).then_some(Action::Ask {
        node: node.parse().ok()?,
        how,
        words,
    })
}

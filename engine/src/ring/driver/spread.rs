//! Commands about keys of several slots: their parts, one for each slot, and the one reply of them.
//!
//! Each part is atomic, all of them together are not. Clients that know where slots are ask for one slot at a time;
//! who does not know that there are any is spared the difference.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::command::{Command, Reply};
use crate::slot::slot_of;

const HALF_DONE: Reply = Reply::error(
    "UNKNOWN a part of this write took effect, and of another part that is not known: its keys are in several slots",
);

/// The parts of a command.
pub(super) struct Spread {
    /// The command's place in its batch.
    pub(super) place: usize,
    pub(super) parts: Vec<Part>,
}

/// What a command asks of one slot.
pub(super) struct Part {
    pub(super) command: Command,
    /// Which of the command's keys it has.
    keys: Vec<usize>,
}

impl Spread {
    /// The parts of a command, if its keys are in several slots and it can be parted.
    pub(super) fn of(place: usize, command: &Command) -> Option<Self> {
        match command {
            Command::MGet(keys) | Command::Del(keys) | Command::Exists(keys) if keys.len() > 1 => {}
            Command::MSet(pairs) if pairs.len() > 2 => {}
            _ => return None,
        }
        let mut slots: BTreeMap<u16, Vec<usize>> = BTreeMap::new();
        for (number, key) in command.keys().enumerate() {
            slots.entry(slot_of(key)).or_default().push(number);
        }
        if slots.len() < 2 {
            return None;
        }
        let part = |keys: Vec<usize>| {
            let command = part_of(command, &keys)?;
            Some(Part { command, keys })
        };
        let parts = slots.into_values().map(part).collect::<Option<_>>()?;
        Some(Self { place, parts })
    }

    /// The reply to the command, of those to its parts.
    pub(super) fn join(&self, command: &Command, replies: Vec<Reply>) -> Reply {
        let failed = replies.iter().filter(|reply| reply.is_error()).count();
        if failed > 0 {
            // What some of them say, that nothing was written, is not true of them all.
            if command.is_write() && failed < replies.len() {
                return HALF_DONE;
            }
            let first = replies.into_iter().find(Reply::is_error);
            return first.unwrap_or(HALF_DONE);
        }
        match command {
            Command::MGet(keys) => {
                let mut values = vec![Reply::Null; keys.len()];
                for (part, reply) in self.parts.iter().zip(replies) {
                    let Reply::Array(found) = reply else {
                        continue;
                    };
                    for (&key, value) in part.keys.iter().zip(found) {
                        values[key] = value;
                    }
                }
                Reply::Array(values)
            }
            Command::MSet(_) => Reply::OK,
            _ => {
                let counts = replies.iter().map(|reply| match reply {
                    Reply::Int(count) => *count,
                    _ => 0,
                });
                Reply::Int(counts.sum())
            }
        }
    }
}

/// The same command for some of its keys.
fn part_of(command: &Command, numbers: &[usize]) -> Option<Command> {
    let of = |keys: &[Bytes]| numbers.iter().map(|&number| keys[number].clone()).collect();
    Some(match command {
        Command::MGet(keys) => Command::MGet(of(keys)),
        Command::Del(keys) => Command::Del(of(keys)),
        Command::Exists(keys) => Command::Exists(of(keys)),
        Command::MSet(pairs) => {
            let pairs = numbers
                .iter()
                .flat_map(|&number| &pairs[2 * number..2 * number + 2]);
            Command::MSet(pairs.cloned().collect())
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::testing::words;

    #[test]
    fn keys_of_one_slot_stay_together_and_in_order() {
        // foo is in slot 12182, bar in 5061.
        let command = Command::MSet(words("foo 1 bar 2 {foo}x 3"));
        let spread = Spread::of(0, &command).unwrap();
        let parts: Vec<_> = spread
            .parts
            .iter()
            .map(|part| part.command.clone())
            .collect();
        let wanted = [words("bar 2"), words("foo 1 {foo}x 3")].map(Command::MSet);
        assert_eq!(parts, wanted);
        assert!(Spread::of(0, &Command::Del(words("foo {foo}y"))).is_none());
    }

    #[test]
    fn values_come_back_in_the_order_of_the_keys() {
        let command = Command::MGet(words("foo bar {foo}x"));
        let spread = Spread::of(0, &command).unwrap();
        let array =
            |values: &[i64]| Reply::Array(values.iter().map(|&of| Reply::Int(of)).collect());
        let joined = spread.join(&command, vec![array(&[2]), array(&[1, 3])]);
        assert_eq!(joined, array(&[1, 2, 3]));
    }

    #[test]
    fn a_write_that_is_half_done_is_not_called_undone() {
        let refused = Reply::error("NOREPLICAS not enough replicas to write");
        let command = Command::Del(words("foo bar"));
        let spread = Spread::of(0, &command).unwrap();
        assert_eq!(
            spread.join(&command, vec![Reply::Int(1), Reply::Int(1)]),
            Reply::Int(2)
        );
        assert_eq!(
            spread.join(&command, vec![Reply::Int(1), refused.clone()]),
            HALF_DONE
        );
        assert_eq!(
            spread.join(&command, vec![refused.clone(), refused.clone()]),
            refused
        );
    }
}

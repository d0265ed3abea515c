//! What the checkers say of everything that was done so far, at any moment and without disturbing the run.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use serde::Serialize;

use super::action::Number;
use super::record::Slot;
use super::ring::Ring;
use crate::command::{Command, Reply};
use crate::ring::driver::RangeStatus;
use crate::ring::{Quorum, RangeId};
use crate::sim::checkers::{Key, Op, OpId, Value, Verdict as Order, durability, linearizable};
use crate::slot::arc_of;

/// Choices that the search for an order may make for one slot.
const BUDGET: u64 = 200_000;
/// Lost writes and stale reads that are named.
const NAMED_MOST: usize = 20;
/// Looks at a future that only rests now and then.
const POLLS_MOST: usize = 1_000;

/// See the module.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// When, in virtual milliseconds.
    pub at_ms: f64,
    /// Whether N, W and R promised, all the time, that nothing is lost and nothing stale.
    pub promises: bool,
    /// What was accepted that they do not promise to outlive ([`Ring::price`]), if anything.
    pub paid: Option<String>,
    /// Whether nothing is lost, nothing was stale, and all that clients saw looks as if done one at a time.
    pub green: bool,
    /// Whether it does so; none where the search took too long.
    pub linearizable: Option<bool>,
    /// Requests of clients.
    pub operations: u64,
    /// Of these, writes that were acknowledged.
    pub acknowledged: u64,
    /// Reads that were answered.
    pub answered: u64,
    /// Requests that were refused: nothing was done.
    pub refused: u64,
    /// Writes whose outcome their clients do not know.
    pub unknown: u64,
    /// Requests that wait for an answer.
    pub open: u64,
    /// Acknowledged writes of which nothing is left.
    pub lost: u64,
    /// Reads that were behind.
    pub stale: u64,
    /// The first of those that were lost.
    pub lost_writes: Vec<Finding>,
    /// The first of those that were stale.
    pub stale_reads: Vec<Finding>,
    /// What else must not be, in words.
    pub violations: Vec<String>,
    /// Slots that were written to in ways which are not judged.
    pub left_out: u64,
}

/// One write that was lost, or one read that was behind.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// The key.
    pub key: String,
    /// Its arc.
    pub range: RangeId,
    /// The node that answered.
    pub node: Number,
    /// When the client asked, in virtual milliseconds.
    pub asked_ms: f64,
    /// When it heard.
    pub answered_ms: f64,
    /// What was written, or read.
    pub value: String,
    /// What should have been read, or is there instead.
    pub instead: String,
    /// All of it, in a sentence.
    pub text: String,
}

/// What was found in a slot when it was looked at last.
#[derive(Default)]
pub(super) struct Found {
    order: Option<Order>,
    stale: Vec<Finding>,
    /// Lost for good, by operation.
    lost: BTreeMap<OpId, Finding>,
    /// Lost as things stand: a copy that is away may still have it.
    missing: Vec<Finding>,
}

/// What a range comes to, seen from all of its copies at once.
enum Standing {
    /// Nobody is known to lead it.
    Open,
    /// The machine that leads it, and whether all of its copies agree.
    Led { place: usize, is_calm: bool },
}

impl Ring {
    /// Judges everything that was done so far. Changes nothing about the run.
    pub fn check(&mut self) -> Verdict {
        self.look_for_lost();
        let mut slots = std::mem::take(&mut self.record.slots);
        for (number, slot) in &mut slots {
            if !std::mem::take(&mut slot.is_new) {
                continue;
            }
            let found = self.found.entry(*number).or_default();
            found.order = Some(linearizable::check(&slot.history, BUDGET));
            let stale = durability::stale_reads(&slot.history);
            found.stale = (stale.iter())
                .map(|read| stale_read(slot, *number, read))
                .collect();
        }
        self.record.slots = slots;
        self.sum_up()
    }

    fn sum_up(&self) -> Verdict {
        let counts = self.clients.counts;
        let mut verdict = Verdict {
            at_ms: self.now_us as f64 / 1000.0,
            promises: self.has_promised && self.paid.is_none(),
            paid: self.paid.clone(),
            linearizable: Some(true),
            operations: counts.asked,
            acknowledged: counts.acknowledged,
            answered: counts.answered,
            refused: counts.refused,
            unknown: counts.unknown,
            open: self.clients.open() as u64,
            violations: self.invariants.violations().to_vec(),
            ..Verdict::default()
        };
        verdict.left_out = (self.record.slots.values())
            .filter(|slot| slot.is_left_out)
            .count() as u64;
        for found in self.found.values() {
            let lost = found.lost.values().chain(&found.missing);
            verdict.lost += lost.clone().count() as u64;
            verdict.stale += found.stale.len() as u64;
            take(&mut verdict.lost_writes, lost);
            take(&mut verdict.stale_reads, found.stale.iter());
            match &found.order {
                Some(Order::Violation(violation)) => {
                    verdict.linearizable = Some(false);
                    if verdict.violations.len() < NAMED_MOST {
                        verdict.violations.push(violation.to_string());
                    }
                }
                Some(Order::Undecided) if verdict.linearizable == Some(true) => {
                    verdict.linearizable = None;
                }
                _ => {}
            }
        }
        verdict.green = verdict.lost == 0 && verdict.stale == 0 && verdict.violations.is_empty();
        verdict
    }

    /// Looks for acknowledged writes that are gone, in ranges whose masters may have lost some.
    fn look_for_lost(&mut self) {
        if self.shaken.is_empty() {
            return;
        }
        let copies = self.copies();
        let mut slots = std::mem::take(&mut self.record.slots);
        let mut calm = BTreeSet::new();
        for range in std::mem::take(&mut self.shaken) {
            let standing = self.standing(range, copies.get(&range).map_or(&[], Vec::as_slice));
            if let Standing::Led { is_calm: true, .. } = standing {
                calm.insert(range);
            } else {
                self.shaken.insert(range);
            }
            let Standing::Led { place, is_calm } = standing else {
                continue;
            };
            let its = slots.iter_mut().filter(|(number, slot)| {
                RangeId::from(arc_of(**number)) == range && !slot.is_left_out
            });
            for (number, slot) in its {
                let last = self.read_slot(place, slot);
                let lost = durability::lost_writes(&slot.history, &last);
                let found = self.found.entry(*number).or_default();
                found.missing.clear();
                for write in lost {
                    if found.lost.contains_key(&write.op) {
                        continue;
                    }
                    let finding = lost_write(slot, *number, &write, last.get(&write.key));
                    match is_calm {
                        true => {
                            found.lost.insert(write.op, finding);
                        }
                        false => found.missing.push(finding),
                    }
                }
            }
        }
        self.record.slots = slots;
    }

    /// What every copy says of itself, by range.
    fn copies(&self) -> BTreeMap<RangeId, Vec<(usize, RangeStatus)>> {
        let mut copies: BTreeMap<RangeId, Vec<(usize, RangeStatus)>> = BTreeMap::new();
        for (place, machine) in self.machines.iter().enumerate() {
            for status in machine.node.iter().flat_map(|node| node.ranges()) {
                copies
                    .entry(status.range)
                    .or_default()
                    .push((place, status));
            }
        }
        copies
    }

    /// A master counts if every copy that runs follows it, enough of those that vote for there to be no newer one, and
    /// if it has applied an entry of its own term: then its state is the range's.
    fn standing(&self, range: RangeId, copies: &[(usize, RangeStatus)]) -> Standing {
        let masters = copies.iter().filter(|(_, copy)| copy.role == "master");
        let Some((place, master)) = masters.max_by_key(|(_, copy)| copy.term) else {
            return Standing::Open;
        };
        let follows = |copy: &RangeStatus| copy.term == master.term && copy.master == master.master;
        let votes = |place: usize| {
            let node = self.machines[place].id;
            node.is_some_and(|node| master.voters.contains(&node))
        };
        let voting = copies.iter().filter(|(place, _)| votes(*place)).count();
        let all_follow = copies.iter().all(|(_, copy)| follows(copy));
        let Ok(quorum) = Quorum::new(master.n, master.w, master.r) else {
            return Standing::Open;
        };
        let began_at = self.offices.began_at(range, master.term);
        if !all_follow || voting < usize::from(quorum.confirm()) || master.applied < began_at {
            return Standing::Open;
        }
        let is_equal = |copy: &RangeStatus| copy.last == master.last && copy.applied == master.last;
        let all_equal = copies.iter().all(|(_, copy)| is_equal(copy));
        Standing::Led {
            place: *place,
            is_calm: all_equal && voting == master.voters.len(),
        }
    }

    /// What a machine's applied state holds of a slot's keys.
    fn read_slot(&self, place: usize, slot: &mut Slot) -> BTreeMap<Key, Option<Value>> {
        let Some(node) = &self.machines[place].node else {
            return BTreeMap::new();
        };
        let mut last = BTreeMap::new();
        for key in 0..slot.keys.len() {
            let command = Command::Get(slot.keys[key].clone());
            if let Some(Ok(reply)) = poll_now(node.store().read(&command, 0))
                && let Some(value) = slot.seen(&reply)
            {
                last.insert(key as Key, value);
            }
        }
        last
    }
}

/// Takes as many as are named in all.
fn take<'a>(into: &mut Vec<Finding>, from: impl Iterator<Item = &'a Finding>) {
    let room = NAMED_MOST.saturating_sub(into.len());
    into.extend(from.take(room).cloned());
}

/// The end of work that waits for nobody: without the ring's scheduler, so that looking changes nothing.
pub(super) fn poll_now<F: Future>(work: F) -> Option<F::Output> {
    let mut work = pin!(work);
    let mut context = Context::from_waker(Waker::noop());
    (0..POLLS_MOST).find_map(|_| match work.as_mut().poll(&mut context) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    })
}

fn finding(slot: &Slot, number: u16, op: OpId, key: Key) -> Finding {
    let operation = slot.history.operations().get(op);
    let name = slot.keys.get(key as usize).cloned().unwrap_or_default();
    let of = |us: Option<u64>| us.map_or(0.0, |us| us as f64 / 1000.0);
    Finding {
        key: String::from_utf8_lossy(&name).into_owned(),
        range: RangeId::from(arc_of(number)),
        node: operation.map_or(0, |operation| operation.client),
        asked_ms: of(operation.map(|operation| operation.invoked_at)),
        answered_ms: of(operation.and_then(|operation| operation.returned_at)),
        value: String::new(),
        instead: String::new(),
        text: String::new(),
    }
}

fn lost_write(
    slot: &Slot,
    number: u16,
    write: &durability::LostWrite,
    last: Option<&Option<Value>>,
) -> Finding {
    let mut found = finding(slot, number, write.op, write.key);
    found.value = slot.text(write.wrote.as_ref());
    found.instead = slot.text(last.and_then(Option::as_ref));
    let what = match write.wrote {
        Some(_) => format!("SET {} {}", found.key, found.value),
        None => format!("DEL {}", found.key),
    };
    found.text = format!(
        "{what}, acknowledged by node {} at {:.1} ms, is lost: {} holds {}",
        found.node, found.answered_ms, found.key, found.instead
    );
    found
}

fn stale_read(slot: &Slot, number: u16, read: &durability::StaleRead) -> Finding {
    let mut found = finding(slot, number, read.op, read.key);
    found.value = slot.text(read.saw.as_ref());
    let missed = slot.history.operations().get(read.missed);
    found.instead = missed.map_or_else(String::new, |missed| match &missed.op {
        Op::Set(_, value) => slot.text(Some(&Value::Register(*value))),
        Op::Delete(_) => "nothing".to_owned(),
        _ => "what another client had read before".to_owned(),
    });
    found.text = format!(
        "GET {}, answered by node {} at {:.1} ms, is stale: it gave {}, and {} was there before it was asked",
        found.key, found.node, found.answered_ms, found.value, found.instead
    );
    found
}

/// Whether a reply says that nothing is known of a write.
pub(super) fn is_unknown(reply: &Reply) -> bool {
    matches!(reply, Reply::Error(text) if text.starts_with("UNKNOWN"))
}

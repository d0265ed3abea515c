//! Which operation fails, and how: a plan is a list of rules, each a condition and a fault.
//!
//! A plan draws nothing from outside: the same plan over the same operations decides the same.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::random::Random;
use crate::storage::{Durability, Object};
use crate::{Error, ErrorKind};

/// The operations of a storage, its writers and its readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum OpKind {
    Load,
    Commit,
    Create,
    Resume,
    Open,
    Replace,
    Remove,
    Checkpoint,
    Room,
    Append,
    SettleWritten,
    SettleSynced,
    Read,
}

impl OpKind {
    pub(super) fn settle(to: Durability) -> Self {
        match to {
            Durability::Written => Self::SettleWritten,
            Durability::Synced => Self::SettleSynced,
        }
    }

    pub(super) fn doing(self) -> &'static str {
        match self {
            Self::Load => "loading the store",
            Self::Commit => "committing the meta blob",
            Self::Create => "creating an object",
            Self::Resume => "resuming an object",
            Self::Open => "opening an object",
            Self::Replace => "replacing an object",
            Self::Remove => "removing objects",
            Self::Checkpoint => "making a checkpoint",
            Self::Room => "asking for room",
            Self::Append => "appending",
            Self::SettleWritten => "writing",
            Self::SettleSynced => "syncing",
            Self::Read => "reading",
        }
    }
}

/// One operation, as the storage's log has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Op {
    /// Its place among all operations, from zero.
    pub index: u64,
    /// What was asked for.
    pub kind: OpKind,
    /// The objects it touches; `replace` has the old name first.
    pub objects: Vec<Object>,
    /// Bytes appended, asked to be settled that were not yet, committed, copied or read.
    pub bytes: u64,
    /// How it failed, if it has.
    pub failed: Option<ErrorKind>,
}

/// When a crash comes, seen from one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Moment {
    /// The operation has had no effect.
    Before,
    /// It has had half of its effect, where it is not atomic.
    During,
    /// It has had its effect, but nobody heard of it.
    After,
}

impl Moment {
    /// Every moment, in order.
    pub const ALL: [Self; 3] = [Self::Before, Self::During, Self::After];
}

/// What goes wrong with an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The process or the machine ends here: [`FaultyStorage::restart`](super::FaultyStorage::restart)
    /// says which.
    Crash(Moment),
    /// The operation fails with `Failed`, as on an I/O error.
    Fail,
    /// The operation fails with `Full`.
    Full,
    /// A read gives its bytes with this bit flipped (counted through them, modulo their number); so
    /// does a load with the meta blob.
    FlipRead(u64),
    /// The operation stays pending for so many polls, the number drawn from the range by the seed.
    Delay {
        /// How many polls.
        polls: RangeInclusive<u64>,
        /// Decides, with the operation's index.
        seed: u64,
    },
    /// The operation stays pending until it is released.
    Hold,
}

/// A condition on an operation. Narrowed step by step from [`When::any`].
#[derive(Clone)]
pub struct When {
    index: Option<u64>,
    kinds: Vec<OpKind>,
    object: Option<Object>,
    test: Option<Arc<Test>>,
    skip: u64,
}

type Test = dyn Fn(&Op) -> bool + Send + Sync;

impl When {
    /// Every operation.
    pub fn any() -> Self {
        Self {
            index: None,
            kinds: Vec::new(),
            object: None,
            test: None,
            skip: 0,
        }
    }

    /// The operation with this index.
    pub fn index(index: u64) -> Self {
        Self {
            index: Some(index),
            ..Self::any()
        }
    }

    /// Every operation of this kind.
    pub fn kind(kind: OpKind) -> Self {
        Self::any().or_kind(kind)
    }

    /// Of this kind too.
    #[must_use]
    pub fn or_kind(mut self, kind: OpKind) -> Self {
        self.kinds.push(kind);
        self
    }

    /// Only on this object.
    #[must_use]
    pub fn of(mut self, object: Object) -> Self {
        self.object = Some(object);
        self
    }

    /// Only where `test` holds.
    #[must_use]
    pub fn matching(mut self, test: impl Fn(&Op) -> bool + Send + Sync + 'static) -> Self {
        self.test = Some(Arc::new(test));
        self
    }

    /// Not for the first `skip` operations that match.
    #[must_use]
    pub fn after(mut self, skip: u64) -> Self {
        self.skip = skip;
        self
    }

    fn holds(&mut self, op: &Op) -> bool {
        let matches = self.index.is_none_or(|index| index == op.index)
            && (self.kinds.is_empty() || self.kinds.contains(&op.kind))
            && self.object.as_ref().is_none_or(|o| op.objects.contains(o))
            && self.test.as_ref().is_none_or(|test| test(op));
        if matches && self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        matches
    }
}

impl fmt::Debug for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("When")
            .field("index", &self.index)
            .field("kinds", &self.kinds)
            .field("object", &self.object)
            .field("test", &self.test.is_some())
            .field("skip", &self.skip)
            .finish()
    }
}

/// The faults to come.
///
/// All rules that hold for an operation act on it: delays add up, of several crashes, errors or flips
/// the first rule's counts.
///
/// ```
/// use trilith::Object;
/// use trilith::storage::faulty::{Fault, OpKind, Plan, When};
/// let plan = Plan::new()
///     .once(When::kind(OpKind::SettleSynced).of(Object::Segment(1)).after(2), Fault::Fail)
///     .always(When::kind(OpKind::Read), Fault::Delay { polls: 0..=3, seed: 7 });
/// # let _ = plan;
/// ```
#[derive(Clone, Debug, Default)]
pub struct Plan {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    when: When,
    fault: Fault,
    once: bool,
    spent: bool,
}

/// A place where a workload can crash: one operation, one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrashPoint {
    /// The operation's index.
    pub index: u64,
    /// Before, during or after it.
    pub moment: Moment,
}

impl CrashPoint {
    /// The plan that crashes here and does nothing else.
    pub fn plan(self) -> Plan {
        Plan::new().once(When::index(self.index), Fault::Crash(self.moment))
    }
}

impl Plan {
    /// No faults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Every point where a workload of so many operations can crash.
    pub fn every_crash(operations: u64) -> impl Iterator<Item = CrashPoint> {
        (0..operations).flat_map(|index| Moment::ALL.map(|moment| CrashPoint { index, moment }))
    }

    /// Makes every operation pend for up to `most` polls, drawn by the seed: tasks overlap in ways
    /// that differ by seed.
    pub fn slow(seed: u64, most: u64) -> Self {
        let polls = 0..=most;
        Self::new().always(When::any(), Fault::Delay { polls, seed })
    }

    /// Adds a fault for the first operation that matches.
    #[must_use]
    pub fn once(self, when: When, fault: Fault) -> Self {
        self.rule(when, fault, true)
    }

    /// Adds a fault for every operation that matches, until another plan is set.
    #[must_use]
    pub fn always(self, when: When, fault: Fault) -> Self {
        self.rule(when, fault, false)
    }

    fn rule(mut self, when: When, fault: Fault, once: bool) -> Self {
        self.rules.push(Rule {
            when,
            fault,
            once,
            spent: false,
        });
        self
    }

    pub(super) fn decide(&mut self, op: &Op) -> Ticket {
        let mut ticket = Ticket {
            index: op.index,
            kind: op.kind,
            crash: None,
            error: None,
            flip: None,
            polls: 0,
            hold: false,
        };
        for rule in &mut self.rules {
            if rule.spent || !rule.when.holds(op) {
                continue;
            }
            rule.spent = rule.once;
            ticket.add(&rule.fault);
        }
        ticket
    }
}

/// What the plan has for one operation.
#[derive(Clone, Debug)]
pub(super) struct Ticket {
    pub(super) index: u64,
    pub(super) kind: OpKind,
    pub(super) crash: Option<Moment>,
    pub(super) error: Option<ErrorKind>,
    pub(super) flip: Option<u64>,
    pub(super) polls: u64,
    pub(super) hold: bool,
}

impl Ticket {
    fn add(&mut self, fault: &Fault) {
        match fault {
            Fault::Crash(moment) => _ = self.crash.get_or_insert(*moment),
            Fault::Fail => _ = self.error.get_or_insert(ErrorKind::Failed),
            Fault::Full => _ = self.error.get_or_insert(ErrorKind::Full),
            Fault::FlipRead(bit) => _ = self.flip.get_or_insert(*bit),
            Fault::Hold => self.hold = true,
            Fault::Delay { polls, seed } => {
                let mut random = Random::new(seed ^ self.index.rotate_left(32));
                let span = polls.end().saturating_sub(*polls.start());
                self.polls += polls.start() + random.below(span.saturating_add(1));
            }
        }
    }

    pub(super) fn planned_error(&self) -> Option<Error> {
        let error = |kind| Error::new(kind, self.kind.doing(), "the plan has it fail");
        self.error.map(error)
    }

    pub(super) fn crashes_during(&self) -> bool {
        self.crash == Some(Moment::During)
    }

    /// Does to what was read what the plan has for it.
    pub(super) fn spoil(&self, bytes: &mut [u8]) {
        if let (Some(bit), false) = (self.flip, bytes.is_empty()) {
            let bit = bit % (bytes.len() as u64 * 8);
            bytes[(bit / 8) as usize] ^= 1 << (bit % 8);
        }
    }
}

//! One search to be done: operations on keys that belong together, with their windows in time.
//!
//! An operation of unknown outcome whose effect somebody saw did take effect, before whoever saw it
//! returned; one whose effect nobody can have seen is left out. What remains may happen or not.

use super::super::history::{Key, NEVER, OpId};
use super::cell::{Cell, Sight};
use super::steps::{Action, KeyFacts, Map, Set, Step};

/// An operation with the window in which it must take effect.
pub(super) struct Timed {
    pub(super) id: OpId,
    pub(super) steps: Vec<Step>,
    pub(super) invoked: u64,
    /// The event by which it took effect; [`NEVER`] if it need not.
    pub(super) deadline: u64,
}

impl Timed {
    pub(super) fn required(&self) -> bool {
        self.deadline != NEVER
    }

    /// What each key must hold before the operation, where that is known exactly.
    pub(super) fn sights<'a>(&'a self, keys: &'a [KeyTraits]) -> impl Iterator<Item = Sight> + 'a {
        let first = |place: usize, step: &Step| {
            !self.steps[..place]
                .iter()
                .any(|earlier| earlier.key == step.key)
        };
        self.steps
            .iter()
            .enumerate()
            .filter_map(move |(place, step)| {
                let sight = match step.action {
                    Action::Expect(cell) => cell.sight(step.key),
                    Action::Length(len) => Sight::of_length(step.key, len),
                    _ => return None,
                };
                (keys[step.key as usize].unique && first(place, step)).then_some(sight)
            })
    }
}

/// A key, and what the search may assume of it.
#[derive(Clone, Copy)]
pub(super) struct KeyTraits {
    pub(super) key: Key,
    /// No value comes back once it is gone.
    pub(super) unique: bool,
    /// Operations may depend on its value in other ways than by expecting it.
    pub(super) conditional: bool,
}

/// Keys and all operations on them, in the order of their calls.
pub(super) struct Problem {
    pub(super) keys: Vec<KeyTraits>,
    pub(super) ops: Vec<Timed>,
}

impl Problem {
    /// The operations `ops` on `keys`, given by their places in the slot, and on no others.
    pub(super) fn new(slot: &[KeyFacts<'_>], keys: &[u32], ops: Vec<Timed>) -> Self {
        let traits = |&key: &u32| {
            let facts = &slot[key as usize];
            KeyTraits {
                key: facts.key,
                unique: facts.unique,
                conditional: facts.conditional,
            }
        };
        let places = (0..).zip(keys).map(|(place, &key)| (key, place));
        let places: Map<u32, u32> = places.collect();
        let mut problem = Self {
            ops,
            keys: keys.iter().map(traits).collect(),
        };
        for step in problem.ops.iter_mut().flat_map(|op| &mut op.steps) {
            step.key = places[&step.key];
        }
        problem.narrow_windows();
        problem.drop_the_unseen();
        problem
    }

    /// Whoever saw a value returned after it was written.
    fn narrow_windows(&mut self) {
        let mut seen_by: Map<Sight, u64> = Map::default();
        let note = |op: &Timed, keys: &[KeyTraits], seen_by: &mut Map<Sight, u64>| {
            for sight in op.sights(keys) {
                let by = seen_by.entry(sight).or_insert(NEVER);
                *by = op.deadline.min(*by);
            }
        };
        for op in self.ops.iter().filter(|op| op.required()) {
            note(op, &self.keys, &mut seen_by);
        }
        // Each round follows chains of writes that saw each other; more rounds only narrow more.
        for _ in 0..8 {
            let mut narrowed = false;
            for op in self.ops.iter_mut().rev() {
                let by = op.steps.iter().filter_map(|step| match step.action {
                    Action::Put(cell) if self.keys[step.key as usize].unique => {
                        seen_by.get(&cell.sight(step.key)).copied()
                    }
                    _ => None,
                });
                let Some(by) = by.min().filter(|&by| by < op.deadline && by > op.invoked) else {
                    continue;
                };
                op.deadline = by;
                narrowed = true;
                note(op, &self.keys, &mut seen_by);
            }
            if !narrowed {
                break;
            }
        }
    }

    /// A write that nobody saw need not have been, unless something depends on what is not there.
    fn drop_the_unseen(&mut self) {
        if self.ops.iter().all(Timed::required) {
            return;
        }
        let mut seen = Set::default();
        for op in &self.ops {
            seen.extend(op.sights(&self.keys));
        }
        let keys = &self.keys;
        self.ops.retain(|op| {
            let unseen = |step: &Step| match step.action {
                Action::Put(cell @ Cell::Register(_)) => {
                    let traits = keys[step.key as usize];
                    traits.unique && !traits.conditional && !seen.contains(&cell.sight(step.key))
                }
                action => !action.writes(),
            };
            op.required() || !op.steps.iter().all(unseen)
        });
    }

    /// For each optional operation the one of the same steps that was called just before it: there is
    /// no use in taking the later one first.
    pub(super) fn twins(&self) -> Vec<Option<u32>> {
        let mut last: Map<&[Step], u32> = Map::default();
        let mut twins = vec![None; self.ops.len()];
        for (place, op) in self.ops.iter().enumerate() {
            if !op.required() {
                twins[place] = last.insert(&op.steps, place as u32);
            }
        }
        twins
    }
}

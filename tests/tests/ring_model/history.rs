//! What the client did and saw, and whether one register could have answered so.

/// The operations: the writes of the values 1 and 2, then two reads.
pub const OPERATIONS: usize = 4;
const WRITES: usize = 2;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Outcome {
    #[default]
    NotBegun,
    /// No answer yet, and perhaps never one.
    Open,
    /// Acknowledged, or answered with this value.
    Done(u8),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Operation {
    outcome: Outcome,
    /// Those that were done before this one began, one a bit.
    after: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct History {
    operations: [Operation; OPERATIONS],
}

/// The operation that writes `value`.
fn write(value: u8) -> usize {
    usize::from(value) - 1
}

/// The operation that is the read `read`.
fn read(read: u8) -> usize {
    WRITES + usize::from(read)
}

impl History {
    pub fn begin_write(&mut self, value: u8) {
        self.begin(write(value));
    }

    pub fn begin_read(&mut self, number: u8) {
        self.begin(read(number));
    }

    pub fn acknowledge(&mut self, value: u8) {
        self.operations[write(value)].outcome = Outcome::Done(value);
    }

    pub fn answer(&mut self, number: u8, value: u8) {
        self.operations[read(number)].outcome = Outcome::Done(value);
    }

    pub fn has_begun_write(&self, value: u8) -> bool {
        self.operations[write(value)].outcome != Outcome::NotBegun
    }

    pub fn awaits_write(&self, value: u8) -> bool {
        self.operations[write(value)].outcome == Outcome::Open
    }

    pub fn acknowledged(&self) -> impl Iterator<Item = u8> {
        [1, 2]
            .into_iter()
            .filter(|value| matches!(self.operations[write(*value)].outcome, Outcome::Done(_)))
    }

    pub fn answers(&self) -> impl Iterator<Item = u8> {
        self.operations[WRITES..]
            .iter()
            .filter_map(|read| match read.outcome {
                Outcome::Done(value) => Some(value),
                Outcome::NotBegun | Outcome::Open => None,
            })
    }

    fn begin(&mut self, operation: usize) {
        let done = |at: &usize| matches!(self.operations[*at].outcome, Outcome::Done(_));
        let after = (0..OPERATIONS)
            .filter(done)
            .fold(0, |set, at| set | 1 << at);
        self.operations[operation] = Operation {
            outcome: Outcome::Open,
            after,
        };
    }

    /// Whether some order of the operations, each at a moment between its beginning and its end, explains
    /// every answer. Open ones may have happened or not.
    pub fn is_linearizable(&self) -> bool {
        self.can_continue(0, 0)
    }

    fn can_continue(&self, placed: u8, register: u8) -> bool {
        let is_left = |at: &usize| placed & 1 << at == 0;
        let mut left = (0..OPERATIONS).filter(is_left);
        if left
            .clone()
            .all(|at| !matches!(self.operations[at].outcome, Outcome::Done(_)))
        {
            return true;
        }
        left.any(|at| {
            let operation = self.operations[at];
            let next = placed | 1 << at;
            operation.after & !placed == 0
                && match operation.outcome {
                    Outcome::NotBegun => false,
                    _ if at < WRITES => self.can_continue(next, at as u8 + 1),
                    Outcome::Open => false,
                    Outcome::Done(value) => value == register && self.can_continue(next, register),
                }
        })
    }
}

#[test]
fn a_read_of_what_was_there_before_an_acknowledged_write_is_not_linearizable() {
    let mut history = History::default();
    history.begin_write(1);
    history.acknowledge(1);
    history.begin_read(0);
    history.answer(0, 0);
    assert!(!history.is_linearizable());
}

#[test]
fn an_open_write_may_be_seen_but_not_be_unseen_again() {
    let mut history = History::default();
    history.begin_write(1);
    history.begin_read(0);
    history.answer(0, 1);
    assert!(history.is_linearizable());
    history.begin_read(1);
    let mut again = history;
    history.answer(1, 0);
    assert!(!history.is_linearizable());
    again.answer(1, 1);
    assert!(again.is_linearizable());
}

#[test]
fn a_read_beside_a_write_may_see_either() {
    let mut history = History::default();
    history.begin_write(1);
    history.begin_read(0);
    history.acknowledge(1);
    for value in [0, 1] {
        let mut answered = history;
        answered.answer(0, value);
        assert!(answered.is_linearizable());
    }
}

//! What may happen next, within bounds, and what must hold whatever happens.

use stateright::{Model, Property};

use crate::log::{Log, Payload, Term};
use crate::mutation::Mutation;
use crate::quorum::{Id, REPLICAS, Set};
use crate::state::{Message, Read, Role, State};
use crate::step::Step;

pub const ONE_LEADER: &str = "a term has one leader";
pub const LOGS_MATCH: &str = "logs with an entry in common have all before it in common";
pub const STATES_AGREE: &str = "no two replicas apply different entries at one index";
pub const LEADERS_COMPLETE: &str = "the newest leader has all that is committed";
pub const NOTHING_LOST: &str = "the newest leader has every acknowledged write";
pub const ON_W_DISKS: &str = "an acknowledged write is on W disks";
pub const LINEARIZABLE: &str = "reads and writes are linearizable";
pub const READ_UNDER_SECOND: &str =
    "reached: a write is acknowledged, and read under the next leader";
pub const FLAG_CLEARED: &str = "reached: a replica has lost entries, and is trusted again";
pub const CHANGED: &str = "reached: a change of the configuration is committed";

/// How much may happen. Terms, messages and logs follow from it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bounds {
    pub max_term: Term,
    pub writes: u8,
    pub reads: u8,
    pub process_crashes: u8,
    /// Under `everysec`. Under `always` they are crashes of the process.
    pub machine_crashes: u8,
    /// Whether the configuration changes from the first to the second.
    pub changes: bool,
    /// Whether a message may carry only the first part of the leader's log.
    pub parts: bool,
}

#[derive(Clone, Debug)]
pub struct Ring {
    pub start: State,
    pub bounds: Bounds,
    pub mutation: Option<Mutation>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Campaign(Id),
    Deliver(Message, Id),
    Settle(Id),
    Write(Id, u8),
    Read(Id, u8),
    ReadWeakly(Id, u8),
    AnswerRead(Id, u8),
    CrashProcess(Id),
    CrashMachine(Id, Log),
    Change(Id, Payload),
}

impl Ring {
    fn step(&self, state: &State) -> Step {
        Step {
            state: state.clone(),
            mutation: self.mutation,
        }
    }

    fn deliveries(&self, state: &State, actions: &mut Vec<Action>) {
        for message in &state.network {
            for id in 0..REPLICAS {
                if !message.goes_to(id) {
                    continue;
                }
                actions.push(Action::Deliver(*message, id));
                if let Message::Append {
                    term,
                    from,
                    log,
                    commit,
                } = *message
                    && self.bounds.parts
                {
                    let parts = (1..log.last_index()).map(|length| Message::Append {
                        term,
                        from,
                        log: log.prefix(length),
                        commit,
                    });
                    actions.extend(parts.map(|part| Action::Deliver(part, id)));
                }
            }
        }
    }

    fn client(&self, state: &State, id: Id, actions: &mut Vec<Action>) {
        let replica = state.replica(id);
        let next_write = (1..=self.bounds.writes).find(|v| !state.history.has_begun_write(*v));
        if let Some(value) = next_write
            && replica.role == Role::Leader
        {
            actions.push(Action::Write(id, value));
        }
        let next_read =
            (0..self.bounds.reads).find(|read| state.reads[usize::from(*read)] == Read::Unsent);
        if let Some(read) = next_read {
            let may_read = replica.has_committed_in_its_term()
                || self.mutation == Some(Mutation::ReadBeforeOwnTerm);
            // The weak reads of a row that promises no strong ones.
            if !state.configs[0].reads_are_strong() {
                actions.push(Action::ReadWeakly(id, read));
            } else if replica.role == Role::Leader && may_read {
                actions.push(Action::Read(id, read));
            }
        }
        let step = self.step(state);
        for (read, number) in state.reads.iter().zip(0..) {
            if let Read::Ready { index } = *read
                && index <= step.applied(id)
            {
                actions.push(Action::AnswerRead(id, number));
            }
        }
    }

    fn crashes(&self, state: &State, id: Id, actions: &mut Vec<Action>) {
        if state.process_crashes < self.bounds.process_crashes {
            actions.push(Action::CrashProcess(id));
        }
        if state.machine_crashes < self.bounds.machine_crashes {
            let remains = state.replica(id).remains();
            actions.extend(
                remains
                    .into_iter()
                    .map(|kept| Action::CrashMachine(id, kept)),
            );
        }
    }
}

impl Model for Ring {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.start.clone()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.deliveries(state, actions);
        for id in 0..REPLICAS {
            let replica = state.replica(id);
            if replica.stored < replica.log.last_index() {
                actions.push(Action::Settle(id));
            }
            self.client(state, id, actions);
            let step = self.step(state);
            if let Some(payload) = step.next_change(id).filter(|_| self.bounds.changes) {
                actions.push(Action::Change(id, payload));
            }
            if replica.role != Role::Leader
                && replica.ballot.term < self.bounds.max_term
                && step.sides(id).has_member(id)
            {
                actions.push(Action::Campaign(id));
            }
            self.crashes(state, id, actions);
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut step = self.step(state);
        match action {
            Action::Campaign(id) => step.campaign(id),
            Action::Deliver(message, id) => step.deliver(message, id),
            Action::Settle(id) => step.settle(id),
            Action::Write(id, value) => {
                step.state.history.begin_write(value);
                step.append(id, Payload::write(value));
            }
            Action::Read(id, read) => step.begin_read(id, read),
            Action::ReadWeakly(id, read) => step.read_weakly(id, read),
            Action::AnswerRead(id, read) => step.answer_read(id, read),
            Action::CrashProcess(id) => step.crash_process(id),
            Action::CrashMachine(id, kept) => step.crash_machine(id, kept),
            Action::Change(id, payload) => step.append(id, payload),
        }
        step.state.tidy(self.mutation);
        (step.state != *state).then_some(step.state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always(ONE_LEADER, |_, state: &State| {
                state.seen.leaders.iter().all(|who| who.count() <= 1)
            }),
            Property::always(LOGS_MATCH, |_, state: &State| logs_match(state)),
            Property::always(STATES_AGREE, |_, state: &State| {
                !state.seen.diverged || state.seen.flagged_at_once > 1
            }),
            Property::always(LEADERS_COMPLETE, |_, state: &State| {
                let committed = state.seen.committed;
                state.seen.flagged_at_once > 1
                    || newest_leader_has(state, |log| log.starts_with(committed))
            }),
            Property::always(NOTHING_LOST, |_, state: &State| {
                let w = state.configs[0].w.min(state.configs[1].w);
                let mut acknowledged = state.history.acknowledged();
                state.seen.flagged_at_once >= w.max(2)
                    || acknowledged
                        .all(|value| newest_leader_has(state, |log| log.holds_value(value)))
            }),
            Property::always(LINEARIZABLE, |_, state: &State| {
                state.seen.linearizable || state.seen.flagged_at_once > 1
            }),
            Property::sometimes(READ_UNDER_SECOND, |_, state: &State| {
                let mut acknowledged = state.history.acknowledged();
                let first = state.seen.leaders.iter().position(|who| *who != Set(0));
                let newest = state.newest_leader().map(|r| usize::from(r.ballot.term));
                newest > first
                    && acknowledged
                        .any(|value| state.history.answers().any(|answer| answer == value))
            }),
        ];
        if self.bounds.machine_crashes > 0 {
            properties.push(Property::sometimes(FLAG_CLEARED, |_, state: &State| {
                state.machine_crashes > 0 && state.replicas.iter().all(|r| !r.flagged)
            }));
        } else if !self.bounds.changes {
            properties.push(Property::always(ON_W_DISKS, |_, state: &State| {
                is_on_w_disks(state)
            }));
        }
        if self.bounds.changes {
            properties.push(Property::sometimes(CHANGED, |_, state: &State| {
                let mut entries = state.seen.committed.entries();
                entries.any(|entry| entry.payload == Payload::Leave)
            }));
        }
        properties
    }
}

fn newest_leader_has(state: &State, what: impl Fn(Log) -> bool) -> bool {
    state.newest_leader().is_none_or(|leader| what(leader.log))
}

fn logs_match(state: &State) -> bool {
    let pairs = [(0, 1), (0, 2), (1, 2)];
    pairs.iter().all(|(one, other)| {
        let (one, other) = (state.replica(*one).log, state.replica(*other).log);
        let shorter = one.last_index().min(other.last_index());
        let common = one.common(other);
        (common + 1..=shorter).all(|index| one.term_at(index) != other.term_at(index))
    })
}

fn is_on_w_disks(state: &State) -> bool {
    let mut acknowledged = state.history.acknowledged();
    acknowledged.all(|value| {
        let holders = state
            .replicas
            .iter()
            .filter(|r| r.log.prefix(r.stored).holds_value(value));
        holders.count() >= usize::from(state.configs[0].w)
    })
}

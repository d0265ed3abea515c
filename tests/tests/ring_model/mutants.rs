//! Each broken rule is caught, in the row and from the start that shows it soonest; with the rule whole,
//! nothing is found there.

use std::collections::BTreeSet;

use stateright::HasDiscoveries;

use crate::check::explore;
use crate::log::{Log, Payload::Empty, Payload::WriteOne, Payload::WriteTwo};
use crate::model::{
    Bounds, LEADERS_COMPLETE, LINEARIZABLE, NOTHING_LOST, ON_W_DISKS, ONE_LEADER, Ring,
    STATES_AGREE,
};
use crate::mutation::Mutation::{self, *};
use crate::quorum::{Config, Set};
use crate::rows::{led, row};
use crate::state::{Message, Role, State};

/// Deep enough for all of them; the search ends when the mutant is caught.
const DEPTH: usize = 16;

fn is_caught(mutation: Mutation, start: State, bounds: Bounds, property: &'static str) {
    let name = format!("{mutation:?}");
    let whole = Ring {
        start,
        bounds,
        mutation: None,
    };
    let broken = Ring {
        mutation: Some(mutation),
        ..whole.clone()
    };
    let caught = HasDiscoveries::AllOf(BTreeSet::from([property]));
    let report = explore(&name, broken, DEPTH, caught);
    assert!(report.failed.contains(property), "{name} was not caught");
    let depth = report.steps[property];
    let report = explore("  whole", whole, depth, HasDiscoveries::AnyFailures);
    assert!(report.failed.is_empty(), "{}", report.text);
}

/// Two leaders, one write, one read.
const SMALL: Bounds = Bounds {
    max_term: 2,
    writes: 1,
    reads: 1,
    process_crashes: 0,
    machine_crashes: 0,
    changes: false,
    parts: false,
};

const WITHOUT_READS: Bounds = Bounds { reads: 0, ..SMALL };

#[test]
fn rule_1_a_vote_is_synced_before_it_leaves() {
    let bounds = Bounds {
        max_term: 1,
        process_crashes: 1,
        ..Bounds::default()
    };
    is_caught(VoteBeforeSync, State::new(row(2, 2)), bounds, ONE_LEADER);
}

#[test]
fn rule_1_an_entry_is_stored_before_it_counts() {
    let bounds = Bounds {
        process_crashes: 1,
        ..WITHOUT_READS
    };
    is_caught(AckBeforeSettling, led(row(2, 2)), bounds, NOTHING_LOST);
}

#[test]
fn rule_2_e_elect() {
    is_caught(ElectByMajority, led(row(1, 3)), WITHOUT_READS, NOTHING_LOST);
}

#[test]
fn rule_2_w_acknowledge() {
    is_caught(AcknowledgeByC, led(row(3, 1)), WITHOUT_READS, ON_W_DISKS);
}

/// As in figure 8 of the Raft paper: one has an entry of term 1 that nobody else has, another one of term 2.
#[test]
fn rule_3_only_entries_of_the_own_term_are_counted() {
    let mut start = State::new(row(2, 2));
    let replica = start.replicas[0];
    start.replicas = [
        replica.in_term(2, None).with_log(Log::of(&[(1, WriteOne)])),
        replica.in_term(2, None),
        replica.in_term(2, None).with_log(Log::of(&[(2, WriteTwo)])),
    ];
    let bounds = Bounds {
        max_term: 4,
        parts: true,
        ..Bounds::default()
    };
    is_caught(CountOlderTerms, start, bounds, LEADERS_COMPLETE);
}

#[test]
fn rule_3_a_leader_commits_in_its_term_before_it_reads() {
    is_caught(ReadBeforeOwnTerm, led(row(2, 2)), SMALL, LINEARIZABLE);
}

#[test]
fn rule_4_only_what_is_committed_is_applied() {
    is_caught(ApplyBeforeCommit, led(row(2, 2)), SMALL, STATES_AGREE);
}

#[test]
fn rule_4_reads_are_not_dirty() {
    let bounds = Bounds { reads: 2, ..SMALL };
    is_caught(ApplyBeforeCommit, led(row(2, 2)), bounds, LINEARIZABLE);
}

#[test]
fn rule_5_a_strong_read_is_confirmed() {
    is_caught(ReadUnconfirmed, led(row(2, 2)), SMALL, LINEARIZABLE);
}

#[test]
fn rule_5_a_confirmation_is_younger_than_the_read() {
    is_caught(OldConfirmation, led(row(2, 2)), SMALL, LINEARIZABLE);
}

const CHANGING: Bounds = Bounds {
    changes: true,
    ..WITHOUT_READS
};

/// W from 2 to 1: what elects in the one need not meet what commits in the other.
fn changing() -> State {
    led([Config::row(2, 2), Config::row(1, 3)])
}

#[test]
fn rule_8_a_change_goes_through_a_joint_configuration() {
    is_caught(SingleStep, changing(), CHANGING, NOTHING_LOST);
}

#[test]
fn rule_8_both_sides_count() {
    is_caught(NewSideOnly, changing(), CHANGING, NOTHING_LOST);
}

/// Who has both entries of the change, and forgets in a crash that they were committed, is still bound by
/// them.
#[test]
fn rule_8_a_configuration_is_in_effect_when_it_is_appended() {
    let bounds = Bounds {
        process_crashes: 1,
        ..CHANGING
    };
    is_caught(ActOnCommit, changing(), bounds, NOTHING_LOST);
}

const LOSING: Bounds = Bounds {
    machine_crashes: 1,
    ..WITHOUT_READS
};

#[test]
fn rule_9_a_flagged_replica_does_not_vote() {
    is_caught(FlaggedVotes, led(row(2, 2)), LOSING, NOTHING_LOST);
}

/// One replica has been flagged before, and its question was answered.
#[test]
fn rule_9_only_a_fresh_answer_clears_the_flag() {
    let mut start = led(row(2, 2));
    start.replicas[2].nonce = 1;
    start.replicas[2].flagged = true;
    start.send(Message::Answer {
        term: 1,
        to: 2,
        nonce: 1,
        last: 1,
    });
    is_caught(AnyNonce, start, LOSING, NOTHING_LOST);
}

/// The leader of term 2 has cut a write of term 1 from a replica's log, and a crash undoes the cut.
#[test]
fn rule_9_only_the_leaders_own_log_clears_the_flag() {
    let mut start = State::new(row(2, 2));
    start.replicas = start.replicas.map(|r| r.in_term(2, Some(1)));
    let log = Log::of(&[(2, Empty)]);
    let leader = &mut start.replicas[1];
    *leader = leader.with_log(log);
    leader.role = Role::Leader;
    leader.matched[1] = 1;
    let forgotten = Log::of(&[(1, Empty), (1, WriteTwo)]);
    start.replicas[2] = start.replicas[2].with_log(forgotten);
    start.seen.leaders = [0, 0b100, 0b010, 0, 0, 0, 0, 0].map(Set);
    start.send(Message::Append {
        term: 2,
        from: 1,
        log,
        commit: 0,
    });
    let bounds = Bounds {
        max_term: 3,
        ..LOSING
    };
    is_caught(ClearByLength, start, bounds, NOTHING_LOST);
}

//! What a range must do, rule by rule, and whether the checks notice when it does not.

mod agreement;
mod membership;
mod mutants;
mod read_only;
mod recover;
mod scrub;
mod small;
mod storage;
mod walks;

use super::mutation::Mutation;
use super::testing::{Cluster, Command, Faults, Policy, Walk};
use crate::ring::effect::{Change, Outcome, ReadLevel, Refusal};
use crate::ring::ids::NodeId;
use crate::ring::message::Body;
use crate::ring::quorum::Quorum;

const STRONG: ReadLevel = ReadLevel::Strong { at_least: 0 };

/// Three nodes and more, the first of which is the master and has acknowledged a write.
fn cluster(row: (u8, u8, u8), machines: u64, mutation: Option<Mutation>) -> Cluster {
    cluster_with(row, machines, mutation, Policy::Always)
}

fn cluster_with(
    row: (u8, u8, u8),
    machines: u64,
    mutation: Option<Mutation>,
    policy: Policy,
) -> Cluster {
    let mut cluster = Cluster::new(row, machines, mutation, policy);
    cluster.elect(1);
    let write = cluster.push(1);
    cluster.run(100);
    assert!(cluster.is_done(write), "{:?}", cluster.outcome(write));
    cluster
}

/// Whether the checks are content.
fn assert_sound(cluster: &Cluster) {
    assert!(
        cluster.violations().is_empty(),
        "{:#?}",
        cluster.violations()
    );
}

/// Whether a schedule is clean when no rule is broken, and noticed when this one is.
fn assert_noticed(mutation: Mutation, name: &str, schedule: impl Fn(Option<Mutation>) -> Cluster) {
    assert_sound(&schedule(None));
    let broken = schedule(Some(mutation));
    let found = broken.violations();
    assert!(
        found.iter().any(|what| what.starts_with(name)),
        "{mutation:?} is not noticed: {found:?}"
    );
}

fn nodes(ids: &[u64]) -> Vec<NodeId> {
    ids.iter().copied().map(NodeId).collect()
}

fn voters(ids: &[u64], (n, w, r): (u8, u8, u8)) -> Change {
    Change::Voters {
        nodes: nodes(ids),
        quorum: Quorum::new(n, w, r).unwrap(),
    }
}

fn learners(add: &[u64], remove: &[u64]) -> Change {
    Change::Learners {
        add: nodes(add),
        remove: nodes(remove),
    }
}

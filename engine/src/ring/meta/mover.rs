//! What a range's master does next to bring the range to where the table wants it.
//!
//! Pure: a configuration and a target in, at most one change out. Carried out by whoever is the master, again
//! and again, it ends where the table says, whatever crashes on the way.

use crate::ring::effect::Change;
use crate::ring::ids::NodeId;
use crate::ring::membership::Configuration;
use crate::ring::quorum::Quorum;

/// The next change, or `None` if there is nothing to do, or nothing yet.
///
/// A cluster of fewer than N nodes has one voter; the others learn until there are enough of them, and then
/// all vote at once.
///
/// ```
/// use trilith::ring::effect::Change;
/// use trilith::ring::membership::Configuration;
/// use trilith::ring::meta::mover::next_change;
/// use trilith::ring::{NodeId, Quorum};
/// let alone = Configuration::founding(&[NodeId(1)], Quorum::ALONE);
/// let add = next_change(&alone, &[NodeId(1), NodeId(2)], Quorum::new(3, 2, 2)?, |_| false);
/// assert_eq!(add, Some(Change::Learners { add: vec![NodeId(2)], remove: vec![] }));
/// # Ok::<(), trilith::Error>(())
/// ```
pub fn next_change(
    configuration: &Configuration,
    target: &[NodeId],
    quorum: Quorum,
    has_caught_up: impl Fn(NodeId) -> bool,
) -> Option<Change> {
    if configuration.is_joint() || target.is_empty() {
        return None;
    }
    let is_member = |node: &NodeId| configuration.member(*node).is_some();
    let missing: Vec<NodeId> = target
        .iter()
        .copied()
        .filter(|node| !is_member(node))
        .collect();
    if !missing.is_empty() {
        return Some(Change::Learners {
            add: missing,
            remove: Vec::new(),
        });
    }
    let (voters, quorum) = wanted_voters(configuration, target, quorum);
    let current: Vec<NodeId> = configuration
        .voters
        .members
        .iter()
        .map(|member| member.node)
        .collect();
    if current != voters || configuration.voters.quorum != quorum {
        let ready = voters
            .iter()
            .all(|&node| configuration.is_voter(node) || has_caught_up(node));
        let nodes = voters;
        return ready.then_some(Change::Voters { nodes, quorum });
    }
    let learners = configuration.learners.iter().map(|learner| learner.node);
    let remove: Vec<NodeId> = learners.filter(|node| !target.contains(node)).collect();
    (!remove.is_empty()).then_some(Change::Learners {
        add: Vec::new(),
        remove,
    })
}

/// Who should vote, and by which quorums.
fn wanted_voters(
    configuration: &Configuration,
    target: &[NodeId],
    quorum: Quorum,
) -> (Vec<NodeId>, Quorum) {
    let n = usize::from(quorum.replicas());
    if target.len() >= n {
        return (target[..n].to_vec(), quorum);
    }
    // Whoever votes already goes on, rather than wait for another to catch up.
    let stays = |node: &&NodeId| configuration.is_voter(**node);
    let alone = target.iter().find(stays).or(target.first());
    (alone.copied().into_iter().collect(), Quorum::ALONE)
}

/// Whether a range is where the table wants it.
pub fn is_in_place(configuration: &Configuration, target: &[NodeId], quorum: Quorum) -> bool {
    !configuration.is_joint() && next_change(configuration, target, quorum, |_| true).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::ids::LogId;
    use crate::ring::membership::{Member, Voters};

    fn nodes(ids: &[u64]) -> Vec<NodeId> {
        ids.iter().copied().map(NodeId).collect()
    }

    fn balanced() -> Quorum {
        Quorum::new(3, 2, 2).unwrap()
    }

    /// What a master makes of a change, once it is committed.
    fn carry_out(configuration: &mut Configuration, change: Change) {
        let member = |&node: &NodeId| Member {
            node,
            incarnation: LogId::default(),
        };
        match change {
            Change::Learners { add, remove } => {
                configuration.learners.extend(add.iter().map(member));
                configuration
                    .learners
                    .retain(|learner| !remove.contains(&learner.node));
            }
            Change::Voters { nodes, quorum } => {
                configuration
                    .learners
                    .retain(|learner| !nodes.contains(&learner.node));
                configuration.voters = Voters {
                    members: nodes.iter().map(member).collect(),
                    quorum,
                };
            }
            Change::Semantics(_) => {}
        }
    }

    fn moved(from: &[u64], quorum: Quorum, to: &[u64]) -> (Configuration, usize) {
        let mut configuration = Configuration::founding(&nodes(from), quorum);
        let mut steps = 0;
        while let Some(change) = next_change(&configuration, &nodes(to), balanced(), |_| true) {
            carry_out(&mut configuration, change);
            steps += 1;
            assert!(steps < 10, "{configuration:?}");
        }
        (configuration, steps)
    }

    #[test]
    fn a_copy_is_made_before_another_is_given_up() {
        let (moved, steps) = moved(&[1, 2, 3], balanced(), &[1, 2, 4]);
        assert_eq!(
            moved,
            Configuration::founding(&nodes(&[1, 2, 4]), balanced())
        );
        assert_eq!(steps, 2);
    }

    #[test]
    fn two_nodes_have_one_voter_and_three_have_three() {
        let (two, _) = moved(&[1], Quorum::ALONE, &[2, 1]);
        assert_eq!(two.voters.members.len(), 1);
        assert!(two.is_voter(NodeId(1)));
        let (three, _) = moved(&[1], Quorum::ALONE, &[2, 1, 3]);
        assert_eq!(three.voters.quorum, balanced());
        assert_eq!(three.rank(NodeId(2)), Some(0));
    }

    #[test]
    fn nobody_votes_who_has_not_caught_up() {
        let mut configuration = Configuration::founding(&nodes(&[1, 2, 3]), balanced());
        let target = nodes(&[1, 2, 4]);
        let learn = next_change(&configuration, &target, balanced(), |_| false);
        carry_out(&mut configuration, learn.unwrap());
        assert_eq!(
            next_change(&configuration, &target, balanced(), |_| false),
            None
        );
    }
}

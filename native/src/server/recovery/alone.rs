//! Whether a node was alone. One that was not must not be recovered from its archive: what the others have acknowledged
//! since would be missing, and nobody would know.
//!
//! The last map of the cluster and the store's manifest tell. Where neither can be read, a node that could be of a cluster
//! with others, because it is to join one or has credentials for one, is taken to be; one without could not have been
//! reached by any from elsewhere.

use std::fs;

use trilith::ring::Named;
use trilith::ring::meta::Map;

use super::super::config::Config;
use super::super::failure::Failure;
use super::super::last_map;

/// Why a node is not taken to be alone.
#[derive(Debug, PartialEq, Eq)]
enum Company {
    /// It has so many members, this one included.
    Members(usize),
    /// It is told to join one.
    Joins,
    /// Nothing tells, and it has credentials.
    Untold,
}

/// Fails if the node's store is one of several, or could be. `what` says what is wrong with it.
///
/// # Errors
/// What is wrong, and how a node of a cluster comes back.
pub(super) fn check(config: &Config, what: &str) -> Result<(), Failure> {
    let map = last_map::read(&config.data);
    let meta = fs::read(config.data.join("META")).ok();
    let named = meta.and_then(|meta| Named::by(&meta).ok());
    let membership = &config.membership;
    let found = company(
        map.as_ref(),
        named.as_ref(),
        membership.join.is_some(),
        !membership.has_no_credentials(),
    );
    let Some(company) = found else {
        return Ok(());
    };
    let why = match company {
        Company::Members(count) => format!("It is one of a cluster of {count} nodes"),
        Company::Joins => "It is to be one of a cluster (--join)".to_owned(),
        Company::Untold => {
            "It has a --secret-file or certificates, and no file is left that says whether it is one of a cluster"
                .to_owned()
        }
    };
    let id = named.map_or("ID".to_owned(), |named| format!("{:016x}", named.node.0));
    let data = config.data.display();
    Err(Failure::new(
        format!(
            "{what} {why}, whose other nodes have what has happened since: it is not recovered from its archive."
        ),
        format!(
            "Start it as a new node, with an empty --data and --join HOST:PORT of another, then give up the old one: \
             trilith cluster remove {id} --yes. If there are no others: trilith restore --from {data} --into NEW"
        ),
    ))
}

fn company(
    map: Option<&Map>,
    named: Option<&Named>,
    joins: bool,
    has_credentials: bool,
) -> Option<Company> {
    if let Some(map) = map.filter(|map| map.members.len() > 1) {
        return Some(Company::Members(map.members.len()));
    }
    if let Some(named) = named {
        let mut all = named.members.clone();
        all.insert(named.node);
        all.extend(map.iter().flat_map(|map| map.members.keys().copied()));
        if all.len() > 1 {
            return Some(Company::Members(all.len()));
        }
    }
    if joins {
        return Some(Company::Joins);
    }
    // The one member of a map that others were removed from may be another than this node.
    let told = match (map, named) {
        (Some(map), None) => map.removed.is_empty(),
        (Some(_), Some(_)) => true,
        (None, _) => false,
    };
    (!told && has_credentials).then_some(Company::Untold)
}

#[cfg(test)]
mod tests {
    use trilith::ring::meta::Proposal;
    use trilith::ring::{NodeId, Quorum};

    use super::*;

    fn map(others: &[u64]) -> Map {
        let quorum = Quorum::new(3, 2, 2).unwrap();
        let mut map = Map::alone(NodeId(1), "a:1".into(), "z".into(), quorum);
        for &id in others {
            let join = Proposal::join(NodeId(id), format!("{id}:1"), "z".into());
            map.apply(&join).unwrap();
        }
        map
    }

    fn named(node: u64, members: &[u64]) -> Named {
        Named {
            node: NodeId(node),
            members: members.iter().copied().map(NodeId).collect(),
        }
    }

    #[test]
    fn a_node_is_alone_if_what_is_there_says_so() {
        let alone = map(&[]);
        let me = named(1, &[1]);
        assert_eq!(company(Some(&alone), Some(&me), false, true), None);
        assert_eq!(company(Some(&alone), None, false, true), None);
        assert_eq!(
            company(Some(&alone), Some(&named(1, &[])), false, true),
            None
        );
        assert_eq!(company(None, Some(&me), false, false), None);
    }

    #[test]
    fn whatever_names_another_node_counts() {
        let several = Some(Company::Members(3));
        assert_eq!(company(Some(&map(&[2, 3])), None, false, false), several);
        assert_eq!(
            company(None, Some(&named(1, &[1, 2, 3])), false, false),
            several
        );
        // The map of a cluster that this node was removed from.
        let (alone, two) = (map(&[]), Some(Company::Members(2)));
        assert_eq!(
            company(Some(&alone), Some(&named(2, &[])), false, false),
            two
        );
    }

    #[test]
    fn where_nothing_tells_it_counts_whether_there_could_be_others() {
        assert_eq!(company(None, None, false, false), None);
        assert_eq!(company(None, None, false, true), Some(Company::Untold));
        assert_eq!(company(None, None, true, false), Some(Company::Joins));
        // The manifest alone is not enough: the log may know of newer members.
        let me = named(1, &[1]);
        assert_eq!(company(None, Some(&me), false, true), Some(Company::Untold));
        // Of two, one is left, and nothing says which.
        let mut left = map(&[]);
        left.removed.insert(NodeId(2));
        assert_eq!(
            company(Some(&left), None, false, true),
            Some(Company::Untold)
        );
        assert_eq!(company(Some(&left), Some(&me), false, true), None);
    }
}

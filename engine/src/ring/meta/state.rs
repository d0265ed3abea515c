//! The map as the state of the meta range: what its entries make of it.

use bytes::Bytes;

use super::map::{Map, Proposal};
use crate::command::Reply;
use crate::ring::entry::{Content, Entry};
use crate::{Error, Result};

/// A proposal as the payload of an entry.
pub fn encode_proposal(proposal: &Proposal) -> Bytes {
    let encoded = postcard::to_allocvec(proposal);
    encoded
        .map(Bytes::from)
        .expect("a proposal has nothing that cannot be written")
}

/// The map in the meta range's state; `None` before the first.
///
/// # Errors
///
/// `Corrupt` if it is damaged.
pub fn decode_map(state: &[u8]) -> Result<Option<Map>> {
    if state.is_empty() {
        return Ok(None);
    }
    let map = postcard::from_bytes(state);
    map.map(Some)
        .map_err(|error| Error::corrupt("reading the map", format!("it is damaged: {error}")))
}

/// The state behind an entry, and what the entry answers: the version of the map, or why nothing has changed.
///
/// # Errors
///
/// The state is damaged.
pub fn apply_entry(state: Option<Bytes>, entry: &Entry) -> Result<(Bytes, Reply)> {
    let before = decode_map(state.as_deref().unwrap_or_default())?;
    let proposal = match &entry.content {
        Content::Command(payload) => postcard::from_bytes(payload).ok(),
        Content::Empty | Content::Configuration(_) => None,
    };
    let (map, reply) = match (before, proposal) {
        (None, Some(Proposal::Found(map))) => (*map, Reply::OK),
        // Nothing here may fail: what is in the log has to take the same effect everywhere.
        (None, _) => return Ok((Bytes::new(), Reply::error("ERR there is no map yet"))),
        (Some(map), None) => (map, Reply::error("ERR this is no proposal")),
        (Some(mut map), Some(proposal)) => {
            let reply = match map.apply(&proposal) {
                Ok(()) => Reply::Int(i64::try_from(map.version).unwrap_or(i64::MAX)),
                Err(refused) => Reply::Error(format!("ERR {refused}").into()),
            };
            (map, reply)
        }
    };
    let state = postcard::to_allocvec(&map).expect("a map has nothing that cannot be written");
    Ok((state.into(), reply))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::{NodeId, Quorum};

    fn entry(proposal: &Proposal) -> Entry {
        Entry {
            term: 1,
            index: 1,
            time_ms: 0,
            seed: 0,
            content: Content::Command(encode_proposal(proposal)),
        }
    }

    #[test]
    fn the_first_map_counts_and_every_proposal_says_what_it_did() {
        let map = Map::alone(NodeId(1), "1:6379".into(), "a".into(), Quorum::ALONE);
        let found = entry(&Proposal::Found(Box::new(map.clone())));
        let (state, reply) = apply_entry(None, &found).unwrap();
        assert_eq!((decode_map(&state).unwrap(), reply), (Some(map), Reply::OK));
        let join = Proposal::join(NodeId(2), "2:6379".into(), "a".into());
        let (state, reply) = apply_entry(Some(state), &entry(&join)).unwrap();
        assert_eq!(reply, Reply::Int(2));
        let (again, _) = apply_entry(Some(state.clone()), &found).unwrap();
        assert_eq!(again, state);
        let (after, reply) =
            apply_entry(Some(state.clone()), &entry(&Proposal::Remove(NodeId(9)))).unwrap();
        assert!(after == state && matches!(reply, Reply::Error(_)));
    }

    #[test]
    fn a_proposal_before_the_first_map_changes_nothing() {
        let join = Proposal::join(NodeId(2), "2:6379".into(), "a".into());
        let (state, reply) = apply_entry(None, &entry(&join)).unwrap();
        assert_eq!(decode_map(&state).unwrap(), None);
        assert!(matches!(reply, Reply::Error(_)));
    }
}

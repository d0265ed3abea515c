//! The cluster as this node knows it: the map, who leads what, and what is told of it to clients and to others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use super::inner::Inner;
use super::options::Transport;
use super::view::View;
use crate::ring::ids::{NodeId, RangeId, Term};
use crate::ring::meta::{Map, MemberInfo, Proposal};
use crate::ring::node::{Others, Packet, Progress, Said};
use crate::ring::placement::State;
use crate::{Runtime, Storage};

/// What has been made known last.
#[derive(Default)]
pub(super) struct Known {
    map: Option<Arc<Map>>,
    /// What this node was the master of at the last look.
    led: Vec<(RangeId, Term)>,
    /// When the others are to be told again.
    tell_ms: u64,
    /// The newest term of each range that was heard of: who was its master before says nothing about who is.
    terms: BTreeMap<RangeId, Term>,
}

impl Known {
    /// The version of the map; 0 for none.
    pub(super) fn version(&self) -> u64 {
        self.map.as_ref().map_or(0, |map| map.version)
    }

    /// Drops claims of terms that are over. So whoever was the master, and is not any more, sends nobody to one
    /// who was it before.
    fn leave_out_old(&mut self, looked: &Looked, claims: &mut BTreeMap<RangeId, (Term, NodeId)>) {
        let claimed = claims.iter().map(|(&range, &(term, _))| (range, term));
        for (range, term) in claimed.chain(looked.terms.iter().copied()) {
            let newest = self.terms.entry(range).or_default();
            *newest = term.max(*newest);
        }
        claims
            .retain(|range, (term, _)| self.terms.get(range).is_none_or(|newest| *term >= *newest));
    }
}

impl View {
    /// Nothing is known yet.
    pub(super) fn unknown(me: NodeId) -> Self {
        Self {
            me,
            map: None,
            routes: Vec::new(),
            mastered: Vec::new(),
            silent: BTreeSet::new(),
            progress: Progress::default(),
        }
    }
}

/// What the shards say at one look.
#[derive(Default)]
struct Looked {
    /// Who is the master of a range, in which term, as far as its copy here knows.
    claims: BTreeMap<RangeId, (Term, NodeId)>,
    /// The term of each copy that is here.
    terms: Vec<(RangeId, Term)>,
    /// What is mastered here.
    led: Vec<(RangeId, Term)>,
    /// Of each shard.
    progress: Vec<Progress>,
}

impl Looked {
    fn progress(&self) -> Progress {
        let each = self.progress.iter();
        each.fold(Progress::default(), |sum, progress| Progress {
            mastered: sum.mastered + progress.mastered,
            in_place: sum.in_place + progress.in_place,
            moving: sum.moving + progress.moving,
            sent_bytes: sum.sent_bytes + progress.sent_bytes,
        })
    }
}

impl<S: Storage, R: Runtime, T: Transport> Inner<S, R, T> {
    /// The newest map.
    pub(super) fn map(&self) -> Option<Arc<Map>> {
        self.known.lock().map.clone()
    }

    /// A shard has a map that may be newer than the one known.
    pub(super) fn spread(self: &Arc<Self>, map: &Map) {
        {
            let mut known = self.known.lock();
            if map.version <= known.version() {
                return;
            }
            known.map = Some(Arc::new(map.clone()));
            self.heard.lock().adopt(map, self.now_ms());
            // Held, so that the transport learns maps in their order.
            self.transport.learn(map);
        }
        for shard in &self.shards {
            shard.lock().node.learn(map.clone());
        }
        self.look();
    }

    /// Looks at what the ranges are like now, and makes it known.
    pub(super) fn look(self: &Arc<Self>) {
        let mut known = self.known.lock();
        let now_ms = self.now_ms();
        self.looked_ms.store(now_ms, SeqCst);
        self.must_look.store(false, SeqCst);
        let looked = self.look_at_shards();
        let is_new = |led: &&(RangeId, Term)| known.led.binary_search(led).is_err();
        let elections = looked.led.iter().filter(is_new).count() as u64;
        if elections > 0 {
            self.counters.elections.add(elections);
            // Keys of these ranges may have expired long ago.
            self.store.db().machine().note_deadline(0);
        }
        let patience_ms = 2 * self.options.ring.election_ms;
        let (mut silent, mut claims) = {
            let heard = self.heard.lock();
            let mut claims = looked.claims.clone();
            for (range, term, node) in heard.led() {
                let claim = claims.entry(range).or_insert((term, node));
                *claim = (*claim).max((term, node));
            }
            // Members tell members: one that is none hears from nobody unless it asks.
            let is_member = |map: &Arc<Map>| map.members.contains_key(&self.id);
            let silent = match known.map.as_ref().is_some_and(is_member) {
                true => {
                    let mut silent = heard.silent(self.id, now_ms, patience_ms);
                    let members = known.map.iter().flat_map(|map| map.members.keys());
                    let cut =
                        members.filter(|&&node| node != self.id && self.transport.is_cut(node));
                    silent.extend(cut);
                    silent
                }
                false => BTreeSet::new(),
            };
            (silent, claims)
        };
        known.leave_out_old(&looked, &mut claims);
        let has_failed = self.failure().is_some();
        if has_failed {
            silent.insert(self.id);
        }
        self.tell_shards(&claims, &silent, &looked);
        if let Some(map) = &known.map {
            self.publish(map, &claims, silent, looked.progress());
            let must_tell = !has_failed && (looked.led != known.led || now_ms >= known.tell_ms);
            if must_tell {
                self.tell_led(map, &looked.led);
                known.tell_ms = now_ms + self.options.ring.election_ms / 2;
            }
        }
        known.led = looked.led;
    }

    fn look_at_shards(&self) -> Looked {
        let mut looked = Looked::default();
        for shard in &self.shards {
            let shard = shard.lock();
            for range in shard.node.ranges() {
                looked.terms.push((range.id(), range.term()));
                if let Some(master) = range.master() {
                    looked.claims.insert(range.id(), (range.term(), master));
                }
                if range.is_master() {
                    looked.led.push((range.id(), range.term()));
                }
            }
            looked.progress.push(shard.node.progress());
        }
        looked.led.sort_unstable();
        looked
    }

    /// Lets the shards know what other nodes have said.
    fn tell_shards(
        &self,
        claims: &BTreeMap<RangeId, (Term, NodeId)>,
        silent: &BTreeSet<NodeId>,
        looked: &Looked,
    ) {
        let moving = looked.progress().moving;
        let elsewhere = claims.iter().filter(|(_, (_, node))| *node != self.id);
        let masters: BTreeMap<RangeId, NodeId> = elsewhere
            .map(|(&range, &(_, node))| (range, node))
            .collect();
        for (shard, progress) in self.shards.iter().zip(&looked.progress) {
            let others = Others {
                masters: masters.clone(),
                silent: silent.clone(),
                moving: moving - progress.moving,
            };
            shard.lock().node.note_others(others);
        }
    }

    fn publish(
        &self,
        map: &Map,
        claims: &BTreeMap<RangeId, (Term, NodeId)>,
        silent: BTreeSet<NodeId>,
        progress: Progress,
    ) {
        let rows = map.table.rows().enumerate();
        let routes = rows.map(|(range, holders)| {
            let is_heard = |node: &NodeId| !silent.contains(node);
            let claim = claims.get(&(range as RangeId)).map(|&(_, node)| node);
            let master = claim.filter(|node| map.members.contains_key(node) && is_heard(node));
            let heard = || holders.iter().copied().find(is_heard);
            let route = master.or_else(heard).unwrap_or(holders[0]);
            (route, master.is_some())
        });
        let (routes, mastered): (Vec<NodeId>, Vec<bool>) = routes.unzip();
        let before = self.view.load();
        let is_same = before.map.as_ref().map(|map| map.version) == Some(map.version)
            && before.routes == routes
            && before.mastered == mastered
            && before.silent == silent
            && before.progress == progress;
        if !is_same {
            self.view.store(Arc::new(View {
                me: self.id,
                map: Some(map.clone()),
                routes,
                mastered,
                silent,
                progress,
            }));
        }
    }

    /// Tells every member what is mastered here; that this node is there at all, if nothing is.
    fn tell_led(&self, map: &Map, led: &[(RangeId, Term)]) {
        for &to in map.members.keys().filter(|&&node| node != self.id) {
            self.send(Packet {
                from: self.id,
                to,
                map_version: map.version,
                said: vec![Said::Led(led.to_vec())],
            });
        }
    }

    /// Joins, if the map does not say of this node what it should.
    pub(super) fn join(self: &Arc<Self>) {
        let Some(map) = self.map() else {
            return;
        };
        let Some(info) = self.wants_to_be(&map) else {
            return;
        };
        if self.is_joining.swap(true, SeqCst) {
            return;
        }
        let this = Arc::clone(self);
        self.run(async move {
            let node = this.id;
            if let Err(error) = this.propose(&Proposal::Join { node, info }).await {
                tracing::warn!(%error, "could not join the cluster yet");
            }
            this.is_joining.store(false, SeqCst);
        });
    }

    /// What the map should say of this node, and does not.
    fn wants_to_be(&self, map: &Map) -> Option<MemberInfo> {
        if map.removed.contains(&self.id) {
            return None;
        }
        let present = map.members.get(&self.id);
        let info = MemberInfo {
            address: self.options.address.clone(),
            zone: self.options.zone.clone(),
            weight: self.options.weight,
            state: present.map_or(State::Active, |member| member.state),
        };
        (present != Some(&info)).then_some(info)
    }

    /// Whether a packet's sender may have another map.
    pub(super) fn differs(&self, map_version: u64) -> bool {
        self.known.lock().version() != map_version
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_to_who_was_the_master_before() {
        let mut known = Known::default();
        let looked = |term| Looked {
            terms: vec![(7, term)],
            ..Looked::default()
        };
        let mut claims = BTreeMap::from([(7, (3, NodeId(1))), (8, (5, NodeId(2)))]);
        known.leave_out_old(&looked(3), &mut claims);
        assert_eq!(claims.len(), 2);
        // The copy here is in a newer term, in which nobody is known to be the master.
        known.leave_out_old(&looked(4), &mut claims);
        assert_eq!(claims, BTreeMap::from([(8, (5, NodeId(2)))]));
        // It is gone, and somebody still says to be the master of a term that is over.
        let mut claims = BTreeMap::from([(7, (3, NodeId(1)))]);
        known.leave_out_old(&Looked::default(), &mut claims);
        assert!(claims.is_empty());
        let mut claims = BTreeMap::from([(7, (4, NodeId(3)))]);
        known.leave_out_old(&Looked::default(), &mut claims);
        assert_eq!(claims[&7], (4, NodeId(3)));
    }
}

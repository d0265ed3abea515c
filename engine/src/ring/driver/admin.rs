//! What operators ask of a node, and what its other parts ask in their stead.

use std::sync::Arc;

use parking_lot::Mutex;

use super::clients::PATIENCE_MS;
use super::inner::Inner;
use super::options::Transport;
use super::shard::Shard;
use super::view::RangeStatus;
use crate::command::Reply;
use crate::ring::effect::{Input, Outcome, Refusal};
use crate::ring::ids::{META, NodeId, RangeId};
use crate::ring::membership::Member;
use crate::ring::meta::{Proposal, encode_proposal};
use crate::ring::node::{NodeInput, Packet, Said};
use crate::ring::range::Range;
use crate::{Error, ErrorKind, Result, Runtime, Storage};

/// How long a planned stop waits for others to take over.
const LEAVING_MS: u64 = 3_000;
/// How long a node that has handed over still answers.
const LINGERING_MS: u64 = 100;
/// How often to look whether a node has caught up with its own log.
const CATCH_UP_MS: u64 = 5;
/// How long the news of a proposal may take to this node.
const NEWS_MS: u64 = 2_000;

fn failed(kind: ErrorKind, detail: impl Into<String>) -> Error {
    Error::new(kind, "changing the cluster", detail)
}

impl<S: Storage, R: Runtime, T: Transport> Inner<S, R, T> {
    pub(super) fn meet(self: &Arc<Self>, contacts: Vec<NodeId>) {
        self.step(0, |shard, _| shard.node.meet(contacts));
    }

    /// Takes a packet: each shard what is about its ranges, the first one what is about the node.
    pub(super) fn receive(self: &Arc<Self>, packet: Packet) {
        if packet.to != self.id || self.is_closed() {
            return;
        }
        let from = packet.from;
        self.heard.lock().note(from, self.now_ms());
        if self.failure().is_some() {
            // Where clients are to be sent is all that still matters.
            for said in packet.said {
                if let Said::Led(led) = said {
                    self.heard.lock().note_led(from, led);
                }
            }
            return;
        }
        let mut shares: Vec<Vec<Said>> = self.shards.iter().map(|_| Vec::new()).collect();
        for said in packet.said {
            let shard = match &said {
                Said::Replica(message) => self.shard_of(message.range),
                Said::Asked(asked) => self.shard_of(asked.range),
                Said::Knock(range, _) => self.shard_of(*range),
                // The shard that has asked, as its numbers show.
                Said::Answered { request, .. } => (*request % self.shards.len() as u64) as usize,
                _ => 0,
            };
            match said {
                Said::Led(led) => {
                    if self.heard.lock().note_led(from, led) {
                        self.look_soon();
                    }
                }
                Said::AskedToRead(asked) => self.serve(from, asked),
                Said::AnsweredRead { request, outcome } => {
                    self.take_answered_read(request, outcome);
                }
                said => shares[shard].push(said),
            }
        }
        let is_news = self.differs(packet.map_version);
        for (shard, said) in shares.into_iter().enumerate() {
            if said.is_empty() && !(shard == 0 && is_news) {
                continue;
            }
            let share = Packet {
                from,
                to: self.id,
                // The first shard compares maps, and nobody else.
                map_version: if shard == 0 {
                    packet.map_version
                } else {
                    u64::MAX
                },
                said,
            };
            self.step(shard, |shard, now| {
                for said in &share.said {
                    if let Said::Asked(asked) = said
                        && let Some(lane) = shard.lanes.get_mut(&asked.range)
                    {
                        lane.writes += 1;
                    }
                }
                shard.step(now, NodeInput::Packet(share));
            });
        }
    }

    pub(super) async fn catch_up(self: &Arc<Self>) {
        let is_behind = |range: &Range| {
            let can_lead = range.votes_alone() && !range.state().void && !range.has_ended();
            can_lead && !range.may_read_alone()
        };
        while self.trouble().is_none() {
            let are_behind = |shard: &Mutex<Shard<S, R>>| shard.lock().node.ranges().any(is_behind);
            // Whoever founds a cluster also awaits its first map.
            let founds = || self.masters(META) && self.map().is_none();
            if !self.shards.iter().any(are_behind) && !founds() {
                break;
            }
            self.sleep_ms(CATCH_UP_MS).await;
        }
        for place in 0..self.shards.len() {
            self.step(place, |shard, _| shard.lend(&self.lent));
        }
    }

    pub(super) fn range_statuses(&self) -> Vec<RangeStatus> {
        let mut statuses = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock();
            for range in shard.node.ranges() {
                let lane = shard.lanes.get(&range.id());
                let (writes, reads) = lane.map_or((0, 0), |lane| (lane.writes, lane.reads));
                let lent = self.lent.heat(range.id());
                let mut status = status(range, (writes + lent.0, reads + lent.1));
                if let Some(last) = self.lent.last(range.id()) {
                    (status.last, status.commit, status.applied) =
                        (last.index, last.index, last.index);
                }
                statuses.push(status);
            }
        }
        statuses.sort_unstable_by_key(|status| status.range);
        statuses
    }

    pub(super) async fn propose(self: &Arc<Self>, proposal: &Proposal) -> Result<()> {
        let began_ms = self.now_ms();
        loop {
            if let Some(error) = self.trouble() {
                return Err(error);
            }
            let payload = encode_proposal(proposal);
            let write = |request| NodeInput::Write {
                request,
                range: META,
                payload,
                at_least: 0,
            };
            match self.ask_one(META, Outcome::Unknown, write).await {
                Outcome::Done {
                    reply: Reply::Error(refused),
                    ..
                } => {
                    let refused = refused.strip_prefix("ERR ").unwrap_or(&refused);
                    return Err(failed(ErrorKind::Invalid, refused));
                }
                Outcome::Done { reply, .. } => {
                    if let Reply::Int(version) = reply {
                        self.await_map(version.unsigned_abs()).await;
                    }
                    return Ok(());
                }
                Outcome::Unknown => {
                    let detail = "whether the proposal was taken is not known: look at the map";
                    return Err(failed(ErrorKind::Unknown, detail));
                }
                _ if self.now_ms() >= began_ms + PATIENCE_MS / 2 => {
                    let detail = "the meta range had no master that could take the proposal";
                    return Err(failed(ErrorKind::Failed, detail));
                }
                _ => self.sleep_ms(50).await,
            }
        }
    }

    /// Waits a little for the news of a map: whoever has changed it sees what came of it here, and goes on from there.
    async fn await_map(&self, version: u64) {
        let began_ms = self.now_ms();
        let is_known = || {
            let view = self.view.load();
            view.map.as_ref().is_some_and(|map| map.version >= version)
        };
        while !is_known() && self.now_ms() < began_ms + NEWS_MS && self.trouble().is_none() {
            self.sleep_ms(5).await;
        }
    }

    pub(super) fn hand_over(self: &Arc<Self>, range: RangeId, to: Option<NodeId>) {
        self.step(self.shard_of(range), |shard, now| {
            shard.step(now, NodeInput::Range(range, Input::Handover { to }));
        });
    }

    /// Ranges that are mastered here and that another voter could take.
    fn to_hand_over(&self) -> Vec<RangeId> {
        let view = self.view.load();
        let is_there = |voter: &Member| voter.node != self.id && !view.silent.contains(&voter.node);
        let can_go = |range: &&Range| {
            let voters = &range.configuration().voters.members;
            range.is_master() && voters.iter().any(is_there)
        };
        let mut ranges = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock();
            ranges.extend(shard.node.ranges().filter(can_go).map(|range| range.id()));
        }
        ranges
    }

    pub(super) async fn leave_office(self: &Arc<Self>) {
        let began_ms = self.now_ms();
        loop {
            let ranges = self.to_hand_over();
            let is_late = self.now_ms() >= began_ms + LEAVING_MS;
            if ranges.is_empty() || is_late || self.trouble().is_some() {
                return;
            }
            for range in ranges {
                self.hand_over(range, None);
            }
            self.sleep_ms(20).await;
        }
    }

    pub(super) async fn recover(self: &Arc<Self>, range: RangeId) -> Result<()> {
        let failed = |kind, detail| Err(Error::new(kind, "recovering a range", detail));
        let shard = self.shard_of(range);
        if self.shards[shard].lock().node.range(range).is_none() {
            return failed(ErrorKind::Invalid, "no copy of it is here");
        }
        let recover = |request| NodeInput::Range(range, Input::Recover { request });
        match self.ask_one(range, Outcome::Unknown, recover).await {
            Outcome::Changed(_) => Ok(()),
            Outcome::Refused(Refusal::Led) => {
                failed(ErrorKind::Invalid, "it has a master, so nothing is lost")
            }
            Outcome::Refused(_) | Outcome::NotMaster(_) => {
                failed(ErrorKind::Invalid, "this copy holds nothing of it")
            }
            _ => failed(
                ErrorKind::Unknown,
                "it did not come about: look at the range, and try again",
            ),
        }
    }

    pub(super) async fn close(self: &Arc<Self>) -> Result<()> {
        let has_left = !self.to_hand_over().is_empty();
        self.leave_office().await;
        if has_left {
            // Requests that are on their way here hear who leads now: dropped, they would be called unknown.
            self.sleep_ms(LINGERING_MS).await;
        }
        if self.set_closed() {
            // What was appended is settled, so that nobody waits in vain.
            self.recall_all();
            let began_ms = self.now_ms();
            let is_idle = || {
                let are_idle = self.shards.iter().all(|shard| shard.lock().is_idle());
                are_idle && self.lent.is_empty()
            };
            while !is_idle() && self.now_ms() < began_ms + LEAVING_MS {
                self.sleep_ms(5).await;
            }
            let mut wakers = Vec::new();
            for shard in &self.shards {
                shard.lock().waiting.give_up(&mut wakers);
            }
            wakers.into_iter().for_each(|waker| waker.wake());
            self.forget_remote();
        }
        self.store.close().await
    }
}

fn status(range: &Range, (writes, reads): (u64, u64)) -> RangeStatus {
    let configuration = range.configuration();
    let nodes = |members: &[Member]| members.iter().map(|member| member.node).collect();
    let quorum = configuration.voters.quorum;
    RangeStatus {
        range: range.id(),
        role: role(range).to_owned(),
        master: range.master(),
        term: range.term(),
        last: range.last().index,
        commit: range.commit(),
        applied: range.applied().index,
        voters: nodes(&configuration.voters.members),
        learners: nodes(&configuration.learners),
        n: quorum.replicas(),
        w: quorum.acknowledge(),
        r: quorum.read(),
        writes,
        reads,
    }
}

fn role(range: &Range) -> &'static str {
    if range.is_master() {
        "master"
    } else if range.state().void {
        "void"
    } else if range.is_candidate() {
        "candidate"
    } else if range.configuration().is_voter(range.me().node) {
        "voter"
    } else {
        "learner"
    }
}

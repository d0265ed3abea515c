//! Reads of ranges that are not here: asked of a node that holds one, which reads as for a client of its own.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use super::clients::Op;
use super::inner::Inner;
use super::options::Transport;
use super::requests::{Round, Waiter, Waiting};
use crate::command::{Command, Reply};
use crate::ring::effect::{Input, Outcome, ReadLevel, Refusal};
use crate::ring::ids::{Index, LogId, NodeId, RangeId, RequestId};
use crate::ring::node::{ForwardedRead, NodeInput, Packet, Said};
use crate::ring::store::Seen;
use crate::{Result, Runtime, Storage};

/// How long one node is waited for before another one is asked.
const PATIENCE_MS: u64 = 1_500;

/// Reads for other nodes that are carried out at a time, at most.
const SERVED_MOST: usize = 4096;

/// Reads that were sent on.
pub(super) struct Remote(Waiting);

impl Remote {
    /// `salt` sets this life's numbers apart from those of others.
    pub(super) fn new(salt: u64) -> Self {
        Self(Waiting::new(salt))
    }
}

/// What a read has come to.
pub(super) enum Read {
    Answer(Reply),
    /// A key's time may have come: the log's clock has to move on first.
    Elapses,
    /// The copy that was read is being replaced.
    Again,
}

impl<S: Storage, R: Runtime, T: Transport> Inner<S, R, T> {
    /// Who may be asked about a range, the likeliest first.
    pub(super) fn holders_elsewhere(&self, range: RangeId) -> Vec<NodeId> {
        let view = self.view.load();
        let route = view.routes.get(range as usize).copied();
        let holders = view.map.iter().flat_map(|map| map.wanted(range).0);
        let mut nodes: Vec<NodeId> = Vec::new();
        for node in route.into_iter().chain(holders) {
            if node != self.id && !view.silent.contains(&node) && !nodes.contains(&node) {
                nodes.push(node);
            }
        }
        nodes
    }

    /// Sends a read on to another node: another one at each try.
    pub(super) fn read_elsewhere(
        &self,
        op: &Op<'_>,
        level: ReadLevel,
        place: usize,
        round: &Arc<Round>,
    ) {
        let holders = self.holders_elsewhere(op.range);
        let next = || holders.get(op.tries % holders.len().max(1)).copied();
        let Some(to) = op.hint.filter(|&node| node != self.id).or_else(next) else {
            if let Some(waker) = round.put(place, Outcome::NotMaster(None)) {
                waker.wake();
            }
            return;
        };
        let request = self.remote.lock().0.add(Waiter {
            round: Arc::clone(round),
            place,
            until_ms: self.now_ms() + PATIENCE_MS,
            at_last: Outcome::NotMaster(None),
        });
        let asked = ForwardedRead {
            request,
            range: op.range,
            level,
            payload: op.payload.clone(),
        };
        self.tell(to, Said::AskedToRead(asked));
    }

    /// Sends one thing to another node.
    pub(super) fn tell(&self, to: NodeId, said: Said) {
        self.send(Packet {
            from: self.id,
            to,
            map_version: self.known.lock().version(),
            said: vec![said],
        });
    }

    pub(super) fn take_answered_read(&self, request: RequestId, outcome: Outcome) {
        let waker = self.remote.lock().0.answer(request, outcome);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(super) fn expire_remote(&self) {
        let mut wakers = Vec::new();
        self.remote.lock().0.expire(self.now_ms(), &mut wakers);
        wakers.into_iter().for_each(|waker| waker.wake());
    }

    pub(super) fn forget_remote(&self) {
        let mut wakers = Vec::new();
        self.remote.lock().0.give_up(&mut wakers);
        wakers.into_iter().for_each(|waker| waker.wake());
    }

    /// Another node asks for a read.
    pub(super) fn serve(self: &Arc<Self>, to: NodeId, asked: ForwardedRead) {
        let request = asked.request;
        if self.serving.fetch_add(1, SeqCst) >= SERVED_MOST || self.trouble().is_some() {
            self.serving.fetch_sub(1, SeqCst);
            let outcome = Outcome::Refused(Refusal::Busy);
            return self.tell(to, Said::AnsweredRead { request, outcome });
        }
        let this = Arc::clone(self);
        self.run(async move {
            let outcome = this.read_here(&asked).await;
            this.serving.fetch_sub(1, SeqCst);
            this.tell(to, Said::AnsweredRead { request, outcome });
        });
    }

    async fn read_here(self: &Arc<Self>, asked: &ForwardedRead) -> Outcome {
        let (range, level) = (asked.range, asked.level);
        let command = asked
            .payload
            .split_first()
            .map(|(_, command)| Command::decode(command));
        let Some(Ok(command)) = command else {
            // By a later version, perhaps: another node may know it.
            return Outcome::NotMaster(None);
        };
        if let Some(lane) = self.shards[self.shard_of(range)]
            .lock()
            .lanes
            .get_mut(&range)
        {
            lane.reads += 1;
        }
        let mut has_elapsed = false;
        loop {
            let nobody = Outcome::NotMaster(None);
            let outcome = if has_elapsed {
                let elapse = |request| NodeInput::Range(range, Input::Elapse { request });
                self.ask_one(range, nobody, elapse).await
            } else {
                let read = |request| NodeInput::Read {
                    request,
                    range,
                    level,
                };
                self.ask_one(range, nobody, read).await
            };
            let Outcome::Read { index, behind_ms } = outcome else {
                return outcome;
            };
            let strong_at = behind_ms.is_none().then_some(index);
            match self
                .read_state(range, &command, strong_at, has_elapsed)
                .await
            {
                Ok(Read::Answer(reply)) => {
                    let at = LogId { term: 0, index };
                    return Outcome::Done { reply, at };
                }
                Ok(Read::Elapses) if self.masters(range) => has_elapsed = true,
                Ok(Read::Elapses) => return Outcome::NotMaster(self.master_of(range)),
                Ok(Read::Again) | Err(_) => return Outcome::NotMaster(None),
            }
        }
    }

    pub(super) fn master_of(&self, range: RangeId) -> Option<NodeId> {
        let shard = self.shards[self.shard_of(range)].lock();
        shard.node.master_of(range)
    }

    /// Reads the state of a range that is here, at an index that was confirmed for it, or as it is.
    pub(super) async fn read_state(
        &self,
        range: RangeId,
        command: &Command,
        strong_at: Option<Index>,
        has_elapsed: bool,
    ) -> Result<Read> {
        let wall_ms = self.runtime.wall_ms();
        let at_least = strong_at.unwrap_or(0);
        let seen = self
            .store
            .read_in(range, command, at_least, wall_ms)
            .await?;
        let Some(seen) = seen else {
            return Ok(Read::Again);
        };
        self.counters.hits.add(seen.hits);
        self.counters.misses.add(seen.misses);
        let Seen {
            reply,
            later,
            elapses,
            ..
        } = seen;
        Ok(match (elapses, strong_at) {
            (true, Some(_)) if !has_elapsed => Read::Elapses,
            // By the log's clock it is alive, and that is what counts.
            (true, Some(_)) => Read::Answer(reply),
            _ => Read::Answer(later.unwrap_or(reply)),
        })
    }
}

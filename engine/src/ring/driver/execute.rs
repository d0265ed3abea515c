//! Clients' commands: in rounds, so that what one connection asks of a range happens in its order, and everything
//! else at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use super::clients::{Kind, Op};
use super::inner::Inner;
use super::options::Transport;
use super::read::Read;
use super::spread::Spread;
use super::view::Consistency;
use crate::command::{Command, Reply, check_needs, command_payload, warm};
use crate::ring::effect::{Invalid, Outcome, Refusal};
use crate::ring::ids::{NodeId, RangeId};
use crate::slot::{arc_of, slot_of};
use crate::{Error, ErrorKind, Result, Runtime, Storage};

/// How long it is awaited that a range has a master.
const PATIENCE_MS: u64 = 5_000;
/// How long a rest is, at most, before it is tried again.
const AGAIN_MOST_MS: u64 = 16;
/// How long it is awaited that enough replicas are in reach of a write.
const QUORUM_PATIENCE_MS: u64 = 1_000;
/// The share of the store's memory that commands may take that are being carried out.
const OPEN_SHARE: usize = 4;
/// What a command takes besides its bytes, about.
const COMMAND_BYTES: usize = 512;

const CROSSSLOT: Reply = Reply::error("CROSSSLOT Keys in request don't hash to the same slot");
const NOREPLICAS: Reply = Reply::error("NOREPLICAS not enough replicas to write");
const READ_ONLY: Reply = Reply::error(
    "READONLY the node that leads this key takes no writes at present, and nothing was written: free space on its disk, writes resume by themselves",
);
const UNKNOWN: Reply =
    Reply::error("UNKNOWN the outcome of this write is unknown: it may or may not take effect");
const NO_MASTER: Reply = Reply::error(
    "TRYAGAIN no node could take this command in time: nothing was written, try again",
);
const TOO_BUSY: Reply =
    Reply::error("TRYAGAIN too many commands are open: nothing was written, try again");

/// What is to be done about an operation next.
enum Verdict<'a> {
    Answer(Reply),
    /// To be asked again.
    Again(Op<'a>),
    /// And at once.
    AtOnce(Op<'a>),
}

/// Bytes that a batch holds.
struct Held<'a>(&'a AtomicUsize, usize);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, SeqCst);
    }
}

/// What a node says that has stopped; clients of a cluster then look for another one.
fn has_stopped(error: &Error) -> Reply {
    let text = format!(
        "CLUSTERDOWN this node has stopped, and nothing was written: ask another one, and see this one's log ({error})"
    );
    Reply::Error(text.into())
}

/// The range of a command's keys, all of which have to be in one slot; `None` if it has none.
fn range_of(command: &Command) -> Result<Option<RangeId>, Reply> {
    let mut slots = command.keys().map(|key| slot_of(key));
    let Some(slot) = slots.next() else {
        return Ok(None);
    };
    if slots.any(|other| other != slot) {
        return Err(CROSSSLOT);
    }
    Ok(Some(RangeId::from(arc_of(slot))))
}

impl<S: Storage, R: Runtime, T: Transport> Inner<S, R, T> {
    pub(super) async fn execute(
        self: &Arc<Self>,
        batch: Vec<Command>,
        how: Consistency,
    ) -> Vec<Reply> {
        if let Some(error) = self.trouble() {
            return vec![has_stopped(&error); batch.len()];
        }
        let commands = batch.iter().enumerate();
        let spreads: Vec<Spread> = commands
            .filter_map(|(place, command)| Spread::of(place, command))
            .collect();
        let mut spread = spreads.iter().peekable();
        // Parts have their places behind those of whole commands.
        let parts: usize = spreads.iter().map(|spread| spread.parts.len()).sum();
        let mut replies: Vec<Option<Reply>> = vec![None; batch.len() + parts];
        let mut next_place = batch.len();
        let mut ops = Vec::with_capacity(replies.len());
        for (place, command) in batch.iter().enumerate() {
            if let Some(spread) = spread.next_if(|spread| spread.place == place) {
                for part in &spread.parts {
                    self.open(next_place, &part.command, &mut ops, &mut replies);
                    next_place += 1;
                }
                continue;
            }
            if command.is_for_store() || matches!(command, Command::Clear) {
                // It is about all keys: everything before it comes first, and everything behind it later.
                self.run_ops(std::mem::take(&mut ops), how, &mut replies)
                    .await;
                replies[place] = Some(self.execute_whole(command, how).await);
                continue;
            }
            self.open(place, command, &mut ops, &mut replies);
        }
        self.run_ops(ops, how, &mut replies).await;
        let mut replies = replies.into_iter().map(|reply| reply.unwrap_or(UNKNOWN));
        let mut whole: Vec<Reply> = replies.by_ref().take(batch.len()).collect();
        for spread in &spreads {
            let parts = replies.by_ref().take(spread.parts.len()).collect();
            whole[spread.place] = spread.join(&batch[spread.place], parts);
        }
        whole
    }

    /// Adds a command to those that are to be carried out, or says at once why not.
    fn open<'a>(
        &self,
        place: usize,
        command: &'a Command,
        ops: &mut Vec<Op<'a>>,
        replies: &mut [Option<Reply>],
    ) {
        match self.operation(place, command) {
            Ok(op) => ops.push(op),
            Err(reply) => replies[place] = Some(reply),
        }
    }

    fn operation<'a>(&self, place: usize, command: &'a Command) -> Result<Op<'a>, Reply> {
        let range = range_of(command)?;
        let range = range.ok_or(Reply::error("ERR this command names no key"))?;
        self.operation_on(range, place, command)
    }

    /// A command as an operation on a range.
    pub(super) fn operation_on<'a>(
        &self,
        range: RangeId,
        place: usize,
        command: &'a Command,
    ) -> Result<Op<'a>, Reply> {
        let payload = command_payload(command);
        let kind = if command.is_write() {
            check_needs(self.store.db(), command, &payload).map_err(|error| Reply::from(&error))?;
            Kind::Write
        } else {
            Kind::Read
        };
        Ok(Op {
            place,
            range,
            command: Some(command),
            payload,
            kind,
            has_elapsed: false,
            tries: 0,
            hint: None,
        })
    }

    /// Carries operations out, those of one range in order.
    pub(super) async fn run_ops(
        self: &Arc<Self>,
        mut ops: Vec<Op<'_>>,
        how: Consistency,
        replies: &mut [Option<Reply>],
    ) {
        if ops.is_empty() {
            return;
        }
        let began_ms = self.now_ms();
        let bytes: usize = ops.iter().map(|op| op.payload.len() + COMMAND_BYTES).sum();
        let Some(_held) = self.hold(bytes, began_ms).await else {
            return ops.iter().for_each(|op| replies[op.place] = Some(TOO_BUSY));
        };
        self.prepare(&mut ops, replies).await;
        let mut backoff_ms = 2;
        while !ops.is_empty() {
            let mut round = self.next_round(&mut ops);
            let outcomes = self.ask(&mut round, how).await;
            let mut again = Vec::new();
            let mut must_wait = false;
            for (op, outcome) in round.into_iter().zip(outcomes) {
                let place = op.place;
                match self.judge(op, outcome, began_ms).await {
                    Verdict::Answer(reply) => replies[place] = Some(reply),
                    Verdict::Again(op) => {
                        must_wait = true;
                        again.push(op);
                    }
                    Verdict::AtOnce(op) => again.push(op),
                }
            }
            // Before those of their ranges that have not been asked yet.
            again.append(&mut ops);
            ops = again;
            if must_wait {
                self.counters.waits.add(1);
                self.sleep_ms(backoff_ms).await;
                backoff_ms = (2 * backoff_ms).min(AGAIN_MOST_MS);
            }
        }
    }

    /// Takes what can be done at once: of each range the first operations that are of one kind. Where all ranges are
    /// here, all operations are done in their order, as in a store that is alone: a crash leaves a beginning of them.
    fn next_round<'a>(&self, ops: &mut Vec<Op<'a>>) -> Vec<Op<'a>> {
        let is_write = |op: &Op<'_>| op.kind == Kind::Write;
        let first = ops.first().map(is_write);
        let Some(others) = ops.iter().position(|op| Some(is_write(op)) != first) else {
            return std::mem::take(ops);
        };
        if ops.iter().all(|op| self.lent.has(op.range)) {
            return ops.drain(..others).collect();
        }
        // Of each range, what its first operation is, and whether one of the other kind has come.
        let mut seen: BTreeMap<RangeId, (bool, bool)> = BTreeMap::new();
        let goes_now = |op: &mut Op<'_>| {
            let (first, is_over) = seen.entry(op.range).or_insert((is_write(op), false));
            *is_over |= is_write(op) != *first;
            !*is_over
        };
        ops.extract_if(.., goes_now).collect()
    }

    /// Waits until there is room for a batch; `None` if there is not in time.
    async fn hold(&self, bytes: usize, began_ms: u64) -> Option<Held<'_>> {
        let most = self.options.store.memory_bytes / OPEN_SHARE;
        loop {
            let before = self.open_bytes.fetch_add(bytes, SeqCst);
            let held = Held(&self.open_bytes, bytes);
            // One that is too large by itself goes alone.
            if before == 0 || before + bytes <= most {
                return Some(held);
            }
            drop(held);
            if self.now_ms() >= began_ms + PATIENCE_MS {
                return None;
            }
            self.sleep_ms(5).await;
        }
    }

    /// Waits until the store lets writers in, and has what they will read in memory.
    async fn prepare(&self, ops: &mut Vec<Op<'_>>, replies: &mut [Option<Reply>]) {
        let is_write = |op: &&Op<'_>| op.kind == Kind::Write;
        let bytes: usize = ops.iter().filter(is_write).map(|op| op.payload.len()).sum();
        if bytes == 0 {
            return;
        }
        let mut ready = self.store.admit(bytes).await;
        if ready.is_ok() && self.store.db().outgrows_cache() {
            for command in ops.iter().filter(is_write).filter_map(|op| op.command) {
                ready = ready.and(warm(self.store.db(), command).await);
            }
        }
        if let Err(error) = ready {
            ops.retain(|op| {
                // Another node may take what is mastered there.
                let is_refused = op.kind == Kind::Write && self.masters(op.range);
                if is_refused {
                    replies[op.place] = Some(Reply::from(&error));
                }
                !is_refused
            });
        }
    }

    async fn judge<'a>(&self, op: Op<'a>, outcome: Outcome, began_ms: u64) -> Verdict<'a> {
        let is_write = op.kind == Kind::Write;
        match outcome {
            Outcome::Done { reply, .. } => Verdict::Answer(reply),
            Outcome::Read { index, behind_ms } => {
                let strong_at = behind_ms.is_none().then_some(index);
                match op.command {
                    Some(command) => self.answer_read(op, command, strong_at, began_ms).await,
                    None => Verdict::Answer(UNKNOWN),
                }
            }
            Outcome::Unknown if is_write => {
                self.counters.unknown.add(1);
                Verdict::Answer(UNKNOWN)
            }
            Outcome::Refused(Refusal::Invalid(Invalid::TooManyReplicas)) => Verdict::Answer(
                Reply::error("ERR more replicas were asked for than the range has"),
            ),
            Outcome::Refused(Refusal::ReadOnly) => Verdict::Answer(
                (self.store.trouble()).map_or(READ_ONLY, |error| Reply::from(&error)),
            ),
            Outcome::Refused(Refusal::TooFewReplicas) if is_write => {
                let late = self.now_ms() >= began_ms + QUORUM_PATIENCE_MS;
                self.again(op, late.then_some(NOREPLICAS), began_ms)
            }
            outcome if !is_write => {
                // Here, then at others, then here again.
                let is_here = op.hint.is_none() && self.is_here(op.range);
                let hint = match outcome {
                    Outcome::NotMaster(hint) => hint.filter(|&node| node != self.id),
                    _ => None,
                };
                let next = is_here.then(|| self.elsewhere(&op)).flatten();
                let op = Op {
                    hint: hint.or(next),
                    ..op
                };
                self.again(op, None, began_ms)
            }
            _ => self.again(Op { hint: None, ..op }, None, began_ms),
        }
    }

    /// To be asked again, unless there is a reply or no time is left.
    fn again<'a>(&self, op: Op<'a>, reply: Option<Reply>, began_ms: u64) -> Verdict<'a> {
        let is_late = self.now_ms() >= began_ms + PATIENCE_MS || self.trouble().is_some();
        match reply.or(is_late.then_some(NO_MASTER)) {
            Some(reply) => {
                self.counters.refused.add(1);
                Verdict::Answer(reply)
            }
            None => Verdict::Again(Op {
                tries: op.tries + 1,
                ..op
            }),
        }
    }

    async fn answer_read<'a>(
        &self,
        op: Op<'a>,
        command: &Command,
        strong_at: Option<u64>,
        began_ms: u64,
    ) -> Verdict<'a> {
        let read = self
            .read_state(op.range, command, strong_at, op.has_elapsed)
            .await;
        match read {
            Ok(Read::Answer(reply)) => Verdict::Answer(reply),
            Ok(Read::Elapses) => match self.master_of(op.range) {
                Some(master) if master == self.id => Verdict::AtOnce(Op {
                    kind: Kind::Elapse,
                    has_elapsed: true,
                    ..op
                }),
                None => self.again(op, None, began_ms),
                hint => Verdict::AtOnce(Op {
                    hint,
                    tries: op.tries + 1,
                    ..op
                }),
            },
            Ok(Read::Again) => self.again(op, None, began_ms),
            // The copy has just been destroyed.
            Err(error) if error.kind() == ErrorKind::Invalid && !self.is_here(op.range) => {
                self.again(op, None, began_ms)
            }
            Err(error) => Verdict::Answer(Reply::from(&error)),
        }
    }

    /// Another node that may read in the place of this one.
    fn elsewhere(&self, op: &Op<'_>) -> Option<NodeId> {
        let holders = self.holders_elsewhere(op.range);
        holders.get(op.tries % holders.len().max(1)).copied()
    }

    pub(super) fn is_here(&self, range: RangeId) -> bool {
        let shard = self.shards[self.shard_of(range)].lock();
        shard.node.range(range).is_some()
    }
}

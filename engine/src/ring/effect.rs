//! What goes into a range's core, and what it asks to be done.
//!
//! The core does no I/O: a driver carries effects out, in the order in which one range gave them, and
//! tells their ends as inputs. It may batch as it likes between `Append` and `Settled`.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::entry::Entry;
use super::ids::{Index, LogId, NodeId, RequestId, Term};
use super::membership::Configuration;
use super::message::{Message, SnapshotHead};
use super::quorum::Quorum;
use super::trace::Event;
use crate::command::Reply;

/// The host's clocks at the time of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds that never go back; says nothing across nodes.
    pub monotonic_ms: u64,
    /// Milliseconds since the Unix epoch, as far as the host knows.
    pub wall_ms: u64,
}

/// What a range must find again after a crash, besides its entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HardState {
    /// The latest term seen.
    pub term: Term,
    /// Whom this replica voted for in it.
    pub vote: Option<NodeId>,
    /// Entries may have been forgotten: neither vote nor count.
    pub amnesiac: bool,
    /// The state differs from the master's log: neither read, vote nor campaign.
    pub void: bool,
}

/// How a read wants its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReadLevel {
    /// As the range's quorums say.
    Configured,
    /// Linearizable, with at least this many replicas heard.
    Strong {
        /// Replicas to hear; what the quorums ask for is heard in any case.
        at_least: u8,
    },
    /// At once, however old.
    Weak,
}

/// What a configuration change is to bring about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Copies that follow and do not vote come and go.
    Learners {
        /// Nodes to start a copy on.
        add: Vec<NodeId>,
        /// Learners to drop.
        remove: Vec<NodeId>,
    },
    /// These nodes vote, the preferred master first. Those who do not yet must be learners that have
    /// caught up.
    Voters {
        /// The voters to be.
        nodes: Vec<NodeId>,
        /// The quorums to be.
        quorum: Quorum,
    },
    /// Every member supports these semantics of commands.
    Semantics(u16),
}

/// What happens to a range.
#[derive(Clone, Debug)]
pub enum Input {
    /// Time has passed.
    Tick,
    /// A replica has said something.
    Message(Message),
    /// Every append up to this number has settled.
    Settled {
        /// The number that its `Append` had.
        append: u64,
    },
    /// The log or the store has failed: nothing more will settle or be applied here.
    Failed,
    /// The store takes nothing for now, or does again. What was to be logged has kept its order, and settles then.
    ReadOnly(bool),
    /// A client wants something written.
    Propose {
        /// The client's request.
        request: RequestId,
        /// The command.
        payload: Bytes,
        /// Replicas that must store it at least; W in any case.
        at_least: u8,
    },
    /// A client wants to read.
    Read {
        /// The client's request.
        request: RequestId,
        /// How.
        level: ReadLevel,
    },
    /// A read has found that a key's time may have come by the clock and not by the log. Asked by the
    /// master only; whoever waits reads again at the index of the answer.
    Elapse {
        /// The client's request.
        request: RequestId,
    },
    /// Entries have been applied.
    Applied {
        /// The last of them.
        upto: LogId,
        /// What the commands among them answer, in order.
        replies: Vec<(Index, Reply)>,
    },
    /// The store's own files hold everything up to here.
    Flushed {
        /// The last entry that is in them.
        upto: Index,
    },
    /// Change members or quorums.
    Change {
        /// Who asks.
        request: RequestId,
        /// What is wanted.
        change: Change,
    },
    /// Hand leadership over, to a voter or to the best one.
    Handover {
        /// To whom.
        to: Option<NodeId>,
    },
    /// An operator makes this copy the whole range, whatever the others hold. What only they know is lost.
    Recover {
        /// Who asks.
        request: RequestId,
    },
    /// Compare the copies' states; asked of the master.
    Scrub,
    /// The range's state has been summed up.
    Digested {
        /// The last entry that was applied then.
        at: Index,
        /// The sum.
        digest: u64,
    },
    /// The snapshot that was asked for is open.
    SnapshotOpened {
        /// Its number.
        id: u64,
        /// The last entry applied in it.
        at: LogId,
        /// That entry's time.
        time_ms: u64,
    },
    /// A part of it has been read.
    SnapshotRead {
        /// Its number.
        id: u64,
        /// The part's.
        number: u64,
        /// What it holds.
        bytes: Bytes,
        /// Whether it is the last.
        last: bool,
    },
    /// A part of a master's snapshot has been laid aside.
    ChunkStored {
        /// The snapshot's number.
        id: u64,
        /// The part's.
        number: u64,
    },
    /// The range's state has been replaced.
    SnapshotInstalled {
        /// The snapshot's number.
        id: u64,
    },
}

/// What is to be logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// An entry; it replaces whatever was at its index.
    Entry(Arc<Entry>),
    /// Term, vote and flags.
    HardState(HardState),
    /// Entries from this index on are void.
    Truncate(Index),
}

/// What a client hears.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Done: acknowledged by as many replicas as it takes, and applied.
    Done {
        /// What the command answers.
        reply: Reply,
        /// Its entry.
        at: LogId,
    },
    /// Read now: applied state is recent enough.
    Read {
        /// The index that it was confirmed for, or that is applied.
        index: Index,
        /// For a weak read, milliseconds since a master was last heard.
        behind_ms: Option<u64>,
    },
    /// The members have changed.
    Changed(Configuration),
    /// Nothing was appended: ask the master, if it is known.
    NotMaster(Option<NodeId>),
    /// Nothing was appended, and why.
    Refused(Refusal),
    /// It may or may not take effect.
    Unknown,
}

/// Why nothing was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// Fewer replicas are in reach than have to store it.
    TooFewReplicas,
    /// Too much waits to be committed.
    Busy,
    /// Leadership is being handed over, or members are changing.
    Changing,
    /// This copy has to be replaced first.
    Void,
    /// The master's store takes nothing at present, and there is nobody to take over.
    ReadOnly,
    /// There is a master, so there is nothing to recover from.
    Led,
    /// The request makes no sense for this range.
    Invalid(Invalid),
}

/// What makes no sense about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Invalid {
    /// It asks for more replicas than the range has.
    TooManyReplicas,
    /// There must be as many voters as N says.
    WrongNumberOfVoters,
    /// A voter has to be a learner first.
    NotALearner,
    /// A node is named twice.
    NamedTwice,
}

/// What a range asks its driver to do.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Tell another replica.
    Send(Message),
    /// Log these records, in order; answer with `Settled`.
    Append {
        /// Numbers the range's appends.
        append: u64,
        /// The records.
        records: Vec<Record>,
        /// They must survive a power loss before they have settled, whatever `appendfsync` says.
        synced: bool,
    },
    /// Apply these, in order, and answer with `Applied`.
    Apply(Vec<Arc<Entry>>),
    /// Sum up the range's applied state as it is now, with nothing applied behind this entry; answer with
    /// `Digested`.
    Digest {
        /// The last entry applied.
        at: Index,
    },
    /// Tell a client.
    Reply {
        /// Its request.
        request: RequestId,
        /// What it hears.
        outcome: Outcome,
    },
    /// Pin the applied state; answer with `SnapshotOpened`.
    SnapshotOpen {
        /// Numbers the master's snapshots.
        id: u64,
    },
    /// Read a part; answer with `SnapshotRead`.
    SnapshotRead {
        /// The snapshot.
        id: u64,
        /// The part.
        number: u64,
    },
    /// Nobody needs the snapshot any more.
    SnapshotClose {
        /// The snapshot.
        id: u64,
    },
    /// Lay a part of a master's snapshot aside, and answer with `ChunkStored`. Part 0 begins anew.
    ChunkStore {
        /// The snapshot's number.
        id: u64,
        /// The part's.
        number: u64,
        /// What it holds.
        bytes: Bytes,
    },
    /// Replace the range's state by the parts laid aside, in one commit together with `head` and
    /// `state`, and answer with `SnapshotInstalled`. The range's log is empty behind it.
    SnapshotInstall {
        /// What it is a snapshot of.
        head: SnapshotHead,
        /// The hard state from then on.
        state: HardState,
    },
    /// Write these entries to the lost-writes file and sync it, before anything that follows.
    WriteLost {
        /// The entries, which the range's log will not contain.
        entries: Vec<Arc<Entry>>,
        /// The last entry that both logs have.
        behind: LogId,
    },
    /// Destroy this copy, and remember its incarnation for good.
    Destroy,
    /// Something that may interest an observer.
    Trace(Event),
}

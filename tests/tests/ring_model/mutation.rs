//! The rules, broken one at a time. A model that does not notice does not watch that rule.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// Rule 1: a vote leaves before it is synced.
    VoteBeforeSync,
    /// Rule 1: a follower answers before the append has settled.
    AckBeforeSettling,
    /// Rule 2: a majority elects, where E is more.
    ElectByMajority,
    /// Rule 2: a write is acknowledged when C replicas hold it, where W is more.
    AcknowledgeByC,
    /// Rule 3: entries of older terms are committed by counting.
    CountOlderTerms,
    /// Rule 3: a leader reads before it has committed an entry of its own term.
    ReadBeforeOwnTerm,
    /// Rule 4: entries are applied when they are stored.
    ApplyBeforeCommit,
    /// Rule 5: a master answers without asking whether it still is one.
    ReadUnconfirmed,
    /// Rule 5: confirmations from before the read's arrival count.
    OldConfirmation,
    /// Rule 8: the new configuration follows the old one without a joint one between.
    SingleStep,
    /// Rule 8: only the new side counts while both should.
    NewSideOnly,
    /// Rule 8: a configuration is in effect when it is committed, not when it is appended.
    ActOnCommit,
    /// Rule 9: the vote of a flagged replica counts like any other.
    FlaggedVotes,
    /// Rule 9: an answer to an old nonce clears the flag.
    AnyNonce,
    /// Rule 9: a flag is cleared once the log is long enough, whatever is in it.
    ClearByLength,
}

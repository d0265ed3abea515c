//! Switches that break a rule each, so that the tests can be seen to notice.

/// A rule that is broken on purpose. Only tests and the simulator set one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mutation {
    /// Rule 1: votes and reports leave, and entries count, before they have settled.
    CountUnsynced,
    /// Rule 2: a master is elected by a majority, whatever W is.
    ElectByMajority,
    /// Rule 3: entries of older terms are committed by counting.
    CommitOlderTerms,
    /// Rule 4: a master applies and answers before anything is committed.
    ApplyUncommitted,
    /// Rule 5: a master reads without being confirmed.
    ReadUnconfirmed,
    /// Rule 6: losing office says of pending writes that they were not written.
    CallItNotWritten,
    /// Rule 7: a master that nobody confirms stays.
    NeverStepDown,
    /// Rule 8: voters change at once, without a joint phase.
    ChangeAtOnce,
    /// Rule 8: messages of and for other incarnations are taken.
    IgnoreIncarnation,
    /// Rule 9: a replica that may have forgotten entries votes and counts.
    ForgetAmnesia,
    /// Rule 10: a replica that has diverged goes on behind the common part.
    KeepDiverged,
    /// Rule 11: an entry's time is the host's clock.
    TrustWallClock,
    /// Rule 12: after a restart everything in the log counts as committed.
    RunAhead,
    /// Rule 13: a snapshot is installed over what is there.
    MergeSnapshot,
}

impl Mutation {
    /// Every switch.
    pub const ALL: [Self; 14] = [
        Self::CountUnsynced,
        Self::ElectByMajority,
        Self::CommitOlderTerms,
        Self::ApplyUncommitted,
        Self::ReadUnconfirmed,
        Self::CallItNotWritten,
        Self::NeverStepDown,
        Self::ChangeAtOnce,
        Self::IgnoreIncarnation,
        Self::ForgetAmnesia,
        Self::KeepDiverged,
        Self::TrustWallClock,
        Self::RunAhead,
        Self::MergeSnapshot,
    ];

    /// The rule that it breaks.
    pub fn rule(self) -> u8 {
        match self {
            Self::CountUnsynced => 1,
            Self::ElectByMajority => 2,
            Self::CommitOlderTerms => 3,
            Self::ApplyUncommitted => 4,
            Self::ReadUnconfirmed => 5,
            Self::CallItNotWritten => 6,
            Self::NeverStepDown => 7,
            Self::ChangeAtOnce | Self::IgnoreIncarnation => 8,
            Self::ForgetAmnesia => 9,
            Self::KeepDiverged => 10,
            Self::TrustWallClock => 11,
            Self::RunAhead => 12,
            Self::MergeSnapshot => 13,
        }
    }
}

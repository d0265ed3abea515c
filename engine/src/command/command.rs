//! A command as data: what was asked for, parsed, owned, independent of when and where it runs.

use bytes::Bytes;

/// What a client asked of the store. Commands about the connection are [`super::Session`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// GET: the value of a key.
    Get(Bytes),
    /// SET and its relatives that answer OK.
    Set(Set),
    /// SETNX: set unless it exists; answers 1 or 0.
    SetNx {
        /// The key.
        key: Bytes,
        /// Its value, if there is none yet.
        value: Bytes,
    },
    /// GETSET: set, and answer the old value.
    GetSet {
        /// The key.
        key: Bytes,
        /// Its new value.
        value: Bytes,
    },
    /// GETDEL: delete, and answer the old value.
    GetDel(Bytes),
    /// GETEX: answer the value, and change when the key expires.
    GetEx {
        /// The key.
        key: Bytes,
        /// What becomes of its deadline.
        expiry: Expiry,
    },
    /// APPEND: add bytes at the end of a value; answers the new length.
    Append {
        /// The key.
        key: Bytes,
        /// What to add.
        value: Bytes,
    },
    /// STRLEN: the length of a value.
    StrLen(Bytes),
    /// INCR, DECR, INCRBY, DECRBY: add to a number; answers the sum.
    IncrBy {
        /// The key.
        key: Bytes,
        /// What to add.
        by: i64,
    },
    /// MGET: the values of several keys.
    MGet(Vec<Bytes>),
    /// MSET: set several keys at once. Keys and values alternate.
    MSet(Vec<Bytes>),
    /// DEL, UNLINK, DELETE: remove keys; answers how many there were.
    Del(Vec<Bytes>),
    /// EXISTS: how many of the keys there are.
    Exists(Vec<Bytes>),
    /// TYPE: what kind of value a key has.
    Type(Bytes),
    /// EXPIRE and its relatives: set when a key expires.
    Expire(Expire),
    /// PERSIST: let a key never expire.
    Persist(Bytes),
    /// TTL and its relatives: when a key expires.
    Ttl {
        /// The key.
        key: Bytes,
        /// In which unit, and counted from when.
        form: TtlForm,
    },
    /// FLUSHALL, FLUSHDB: remove every key.
    Clear,
    /// SCAN: some keys, and where to go on. Answered by the store, not by apply.
    Scan(ScanArgs),
    /// KEYS: every key that matches a pattern. Answered by the store.
    Keys(Bytes),
    /// DBSIZE: how many keys there are. Answered by the store.
    DbSize,
    /// EXPLAIN: run a command and answer with the path it took. Answered by the store. Never holds
    /// another `Explain`.
    Explain(Box<Command>),
}

/// What SET and its relatives do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// The key.
    pub key: Bytes,
    /// Its new value.
    pub value: Bytes,
    /// What becomes of its deadline.
    pub expiry: Expiry,
    /// Whether it is set at all.
    pub condition: Condition,
    /// Whether the old value is the answer.
    pub get: bool,
}

/// When a key shall expire. Relative times count from the time of the log entry, so that all
/// replicas agree on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadline {
    /// So many milliseconds from the entry's time.
    In(i64),
    /// At this many milliseconds since the Unix epoch.
    At(i64),
}

impl Deadline {
    /// The deadline for an entry of time `now_ms`; `None` when it has passed already.
    pub fn resolve(self, now_ms: u64) -> Option<u64> {
        let at_ms = match self {
            Self::In(ms) => now_ms.saturating_add_signed(ms),
            Self::At(ms) => u64::try_from(ms).unwrap_or(0),
        };
        (at_ms > now_ms).then_some(at_ms)
    }
}

/// What a write does to the deadline of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// The key never expires from now on.
    Clear,
    /// The key keeps the deadline it has.
    Keep,
    /// The key gets a deadline.
    Set(Deadline),
}

/// Whether SET sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Always.
    Always,
    /// NX: only if there is no such key.
    Absent,
    /// XX: only if there is such a key.
    Present,
}

/// What EXPIRE and its relatives do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expire {
    /// The key.
    pub key: Bytes,
    /// Its new deadline.
    pub deadline: Deadline,
    /// Whether it gets that deadline; all that are set must hold.
    pub condition: ExpireCondition,
}

/// Whether EXPIRE changes the deadline: every one that is set must hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExpireCondition {
    /// NX: only if the key has none.
    pub absent: bool,
    /// XX: only if the key has one.
    pub present: bool,
    /// GT: only if the new one is later (never is the latest).
    pub later: bool,
    /// LT: only if the new one is earlier.
    pub earlier: bool,
}

/// How TTL and its relatives answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TtlForm {
    /// TTL: seconds that are left.
    Seconds,
    /// PTTL: milliseconds that are left.
    Millis,
    /// EXPIRETIME: Unix time in seconds.
    AtSeconds,
    /// PEXPIRETIME: Unix time in milliseconds.
    AtMillis,
}

/// What SCAN was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanArgs {
    /// Where to go on; 0 begins.
    pub cursor: u64,
    /// Which keys to answer (see [`super::pattern`]); `None` for all.
    pub pattern: Option<Bytes>,
    /// About how many keys to look at.
    pub count: u64,
    /// Keep only keys of this type, in lower case.
    pub of_type: Option<Bytes>,
}

impl Command {
    /// SET without a condition.
    pub fn set(key: Bytes, value: Bytes, expiry: Expiry) -> Self {
        Self::Set(Set {
            key,
            value,
            expiry,
            condition: Condition::Always,
            get: false,
        })
    }

    /// The keys that it reads or writes, in the order it names them.
    pub fn keys(&self) -> impl Iterator<Item = &Bytes> {
        let command = match self {
            Self::Explain(inner) => inner,
            other => other,
        };
        let (slice, step): (&[Bytes], usize) = match command {
            Self::Get(key)
            | Self::SetNx { key, .. }
            | Self::GetSet { key, .. }
            | Self::GetDel(key)
            | Self::GetEx { key, .. }
            | Self::Append { key, .. }
            | Self::StrLen(key)
            | Self::IncrBy { key, .. }
            | Self::Type(key)
            | Self::Persist(key)
            | Self::Ttl { key, .. } => (std::slice::from_ref(key), 1),
            Self::Set(set) => (std::slice::from_ref(&set.key), 1),
            Self::Expire(expire) => (std::slice::from_ref(&expire.key), 1),
            Self::MGet(keys) | Self::Del(keys) | Self::Exists(keys) => (keys, 1),
            Self::MSet(pairs) => (pairs, 2),
            Self::Clear | Self::Scan(_) | Self::Keys(_) | Self::DbSize | Self::Explain(_) => {
                (&[], 1)
            }
        };
        slice.iter().step_by(step)
    }

    /// Whether it may change anything, and so has to go through the log.
    pub fn is_write(&self) -> bool {
        match self {
            Self::Set(_)
            | Self::SetNx { .. }
            | Self::GetSet { .. }
            | Self::GetDel(_)
            | Self::GetEx { .. }
            | Self::Append { .. }
            | Self::IncrBy { .. }
            | Self::MSet(_)
            | Self::Del(_)
            | Self::Expire(_)
            | Self::Persist(_)
            | Self::Clear => true,
            Self::Get(_)
            | Self::StrLen(_)
            | Self::MGet(_)
            | Self::Exists(_)
            | Self::Type(_)
            | Self::Ttl { .. }
            | Self::Scan(_)
            | Self::Keys(_)
            | Self::DbSize => false,
            Self::Explain(inner) => inner.is_write(),
        }
    }

    /// Whether it puts a value that does not depend on what was there, so that nothing has to be
    /// read before it.
    pub fn is_blind(&self) -> bool {
        match self {
            Self::Set(set) => {
                !set.get && set.condition == Condition::Always && set.expiry != Expiry::Keep
            }
            Self::MSet(_) | Self::Clear => true,
            _ => false,
        }
    }

    /// Whether the store answers it by itself: it is about all keys, or about the path of a request,
    /// and [`super::apply()`] does not know it.
    pub fn is_for_store(&self) -> bool {
        matches!(
            self,
            Self::Scan(_) | Self::Keys(_) | Self::DbSize | Self::Explain(_)
        )
    }
}

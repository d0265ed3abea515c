//! The one table of commands. It drives dispatch, checks of arity and keys, the COMMAND replies and
//! docs/commands.md; a command that has no row does not exist.

use bytes::Bytes;

use super::args::Args;
use super::{Command, KEY_BYTES_MAX, Reply, expiry, keys, strings};
use Flag::{Admin, Dangerous, DenyOom, Fast, Loading, NoScript, ReadOnly, Stale, Write};
use Group::{Cluster, Connection, Generic, Server};
use Handler::{Session as ForSession, Store};

/// Everything that is known of one command before it runs.
#[derive(Debug)]
pub struct Spec {
    /// Its name, in lower case.
    pub name: &'static str,
    /// How many words it has, its name included; negative for at least so many.
    pub arity: i32,
    /// What family it belongs to.
    pub group: Group,
    /// What can be said of every use of it.
    pub flags: &'static [Flag],
    /// Which of its words are keys.
    pub keys: KeyWords,
    /// The version of Redis that brought it; for those that Redis does not know, of Trilith.
    pub since: &'static str,
    /// How its time grows.
    pub complexity: &'static str,
    /// The words behind its name.
    pub arguments: &'static str,
    /// What it does, in one sentence.
    pub summary: &'static str,
    /// Who runs it.
    pub handler: Handler,
}

/// Who runs a command.
#[derive(Clone, Copy, Debug)]
pub enum Handler {
    /// The store, after this function has read the words.
    Store(fn(&mut Args<'_>) -> Result<Command, Reply>),
    /// The connection.
    Session(Session),
}

/// A command about the connection or the server, answered where the connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Session {
    /// ASKING.
    Asking,
    /// BGREWRITEAOF.
    BgRewriteAof,
    /// BGSAVE.
    BgSave,
    /// CLIENT and its subcommands.
    Client,
    /// CLUSTER and its subcommands.
    Cluster,
    /// COMMAND and its subcommands; see [`super::answer_command`].
    Command,
    /// CONFIG and its subcommands.
    Config,
    /// CONSISTENCY.
    Consistency,
    /// ECHO.
    Echo,
    /// HELLO.
    Hello,
    /// INFO.
    Info,
    /// LASTSAVE.
    LastSave,
    /// PING.
    Ping,
    /// QUIT.
    Quit,
    /// READONLY.
    ReadOnly,
    /// READWRITE.
    ReadWrite,
    /// RESET.
    Reset,
    /// RING and its subcommands.
    Ring,
    /// SAVE.
    Save,
    /// SELECT.
    Select,
    /// SHUTDOWN.
    Shutdown,
    /// WAIT.
    Wait,
}

/// A property of a command, by Redis's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
    /// Changes keys.
    Write,
    /// Reads keys.
    ReadOnly,
    /// May take room, so it is refused when there is none.
    DenyOom,
    /// For those who run the server.
    Admin,
    /// Takes constant or logarithmic time.
    Fast,
    /// Allowed while the store is still being opened.
    Loading,
    /// Allowed on a replica that lags.
    Stale,
    /// Not for scripts.
    NoScript,
    /// Reveals or destroys much: an access category, not listed among the flags.
    Dangerous,
}

impl Flag {
    /// The flag as COMMAND INFO shows it; `None` for those that only put it into a category.
    pub fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::Write => "write",
            Self::ReadOnly => "readonly",
            Self::DenyOom => "denyoom",
            Self::Admin => "admin",
            Self::Fast => "fast",
            Self::Loading => "loading",
            Self::Stale => "stale",
            Self::NoScript => "noscript",
            Self::Dangerous => return None,
        })
    }
}

/// A family of commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// On strings.
    String,
    /// On keys whatever they hold.
    Generic,
    /// About the connection.
    Connection,
    /// About the server.
    Server,
    /// About the cluster.
    Cluster,
}

impl Group {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 5] = [
        Self::String,
        Self::Generic,
        Self::Connection,
        Self::Server,
        Self::Cluster,
    ];

    /// The family's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Generic => "generic",
            Self::Connection => "connection",
            Self::Server => "server",
            Self::Cluster => "cluster",
        }
    }
}

/// Which words are keys, counted from the command's name, which is word 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyWords {
    /// The first; 0 if there is none.
    pub first: usize,
    /// The last; negative counts from the end.
    pub last: isize,
    /// How far apart they are.
    pub step: usize,
}

impl KeyWords {
    /// Where the keys are among `words` words.
    pub fn positions(self, words: usize) -> impl Iterator<Item = usize> {
        let last = if self.last < 0 {
            words.saturating_sub(self.last.unsigned_abs())
        } else {
            self.last.unsigned_abs().min(words.saturating_sub(1))
        };
        let end = if self.first == 0 { 0 } else { last + 1 };
        (self.first..end).step_by(self.step.max(1))
    }
}

const NO_KEY: KeyWords = KeyWords {
    first: 0,
    last: 0,
    step: 0,
};
const ONE_KEY: KeyWords = KeyWords {
    first: 1,
    last: 1,
    step: 1,
};
const ALL_KEYS: KeyWords = KeyWords {
    first: 1,
    last: -1,
    step: 1,
};
const KEY_VALUES: KeyWords = KeyWords {
    first: 1,
    last: -1,
    step: 2,
};

const STRING: Group = Group::String;

const SET_ARGUMENTS: &str = "key value [NX | XX] [GET] [EX seconds | PX milliseconds | EXAT unix-seconds | PXAT unix-milliseconds | KEEPTTL]";
const EXPIRE_CONDITIONS: &str = "key seconds [NX | XX | GT | LT]";
const PEXPIRE_CONDITIONS: &str = "key milliseconds [NX | XX | GT | LT]";

/// All commands, in order of name.
#[rustfmt::skip]
pub static TABLE: &[Spec] = &[
    Spec { name: "append", arity: 3, group: STRING, flags: &[Write, DenyOom, Fast], keys: ONE_KEY, since: "2.0.0", complexity: "O(N), N the length of the value", handler: Store(strings::parse_append),
        arguments: "key value", summary: "Adds bytes at the end of a value, or sets it. Answers the new length." },
    Spec { name: "asking", arity: 1, group: Cluster, flags: &[Fast], keys: NO_KEY, since: "3.0.0", complexity: "O(1)", handler: ForSession(Session::Asking),
        arguments: "", summary: "Refused: slots move whole, so that nobody is ever redirected by ASK." },
    Spec { name: "bgrewriteaof", arity: 1, group: Server, flags: &[Admin, NoScript, Dangerous], keys: NO_KEY, since: "1.0.0", complexity: "O(N), N the number of keys, in the background", handler: ForSession(Session::BgRewriteAof),
        arguments: "", summary: "Rewrites this node's AOF in the background: a base with the keys as they are, and what comes since." },
    Spec { name: "bgsave", arity: -1, group: Server, flags: &[Admin, NoScript, Dangerous], keys: NO_KEY, since: "1.0.0", complexity: "O(N), N the number of keys, in the background", handler: ForSession(Session::BgSave),
        arguments: "[SCHEDULE]", summary: "Writes a snapshot (RDB) of this node's keys in the background. SCHEDULE: later, if the AOF is being rewritten." },
    Spec { name: "client", arity: -2, group: Connection, flags: &[NoScript, Loading, Stale], keys: NO_KEY, since: "2.4.0", complexity: "O(1)", handler: ForSession(Session::Client),
        arguments: "subcommand [argument ...]", summary: "Tells the server about the client, or the client about its connection." },
    Spec { name: "cluster", arity: -2, group: Cluster, flags: &[Stale, Loading], keys: NO_KEY, since: "3.0.0", complexity: "O(N), N the number of nodes", handler: ForSession(Session::Cluster),
        arguments: "subcommand [argument ...]", summary: "Tells Redis Cluster's clients who masters which slots. A connection that has asked for SLOTS, SHARDS or NODES is answered MOVED for the slots of other nodes; for all others the node forwards. Subcommands that would change the cluster are refused: RING does that." },
    Spec { name: "command", arity: -1, group: Server, flags: &[Loading, Stale], keys: NO_KEY, since: "2.8.13", complexity: "O(N), N the number of commands", handler: ForSession(Session::Command),
        arguments: "[subcommand [argument ...]]", summary: "Describes the commands. Without a subcommand: every one with its arity, flags and keys." },
    Spec { name: "config", arity: -2, group: Server, flags: &[Admin, NoScript, Loading, Stale], keys: NO_KEY, since: "2.0.0", complexity: "O(N), N the number of settings", handler: ForSession(Session::Config),
        arguments: "subcommand [argument ...]", summary: "Answers the settings the server was started with." },
    Spec { name: "consistency", arity: -1, group: Cluster, flags: &[NoScript, Loading, Stale, Fast], keys: NO_KEY, since: "0.1.0", complexity: "O(1)", handler: ForSession(Session::Consistency),
        arguments: "[DEFAULT | [W copies] [R copies | WEAK]]", summary: "Says by how many copies this connection's writes are stored and its reads confirmed, where that is more than the cluster's W and R; WEAK reads are answered at once, however old. What is not named is as the cluster is set. Without words: answers what holds." },
    Spec { name: "dbsize", arity: 1, group: Server, flags: &[ReadOnly, Fast], keys: NO_KEY, since: "1.0.0", complexity: "O(1)", handler: Store(keys::parse_dbsize),
        arguments: "", summary: "Answers the number of keys." },
    Spec { name: "decr", arity: 2, group: STRING, flags: &[Write, DenyOom, Fast], keys: ONE_KEY, since: "1.0.0", complexity: "O(1)", handler: Store(strings::parse_decr),
        arguments: "key", summary: "Takes one from a number. Answers the result." },
    Spec { name: "decrby", arity: 3, group: STRING, flags: &[Write, DenyOom, Fast], keys: ONE_KEY, since: "1.0.0", complexity: "O(1)", handler: Store(strings::parse_decrby),
        arguments: "key decrement", summary: "Subtracts from a number. Answers the result." },
    Spec { name: "del", arity: -2, group: Generic, flags: &[Write], keys: ALL_KEYS, since: "1.0.0", complexity: "O(N), N the number of keys", handler: Store(keys::parse_del),
        arguments: "key [key ...]", summary: "Deletes keys. Answers how many there were." },
    Spec { name: "delete", arity: -2, group: Generic, flags: &[Write], keys: ALL_KEYS, since: "0.1.0", complexity: "O(N), N the number of keys", handler: Store(keys::parse_del),
        arguments: "key [key ...]", summary: "Deletes keys: DEL by another name." },
    Spec { name: "echo", arity: 2, group: Connection, flags: &[Loading, Stale, Fast], keys: NO_KEY, since: "1.0.0", complexity: "O(1)", handler: ForSession(Session::Echo),
        arguments: "message", summary: "Answers the message." },
    Spec { name: "exists", arity: -2, group: Generic, flags: &[ReadOnly, Fast], keys: ALL_KEYS, since: "1.0.0", complexity: "O(N), N the number of keys", handler: Store(keys::parse_exists),
        arguments: "key [key ...]", summary: "Answers how many of the keys there are; one named twice counts twice." },
    Spec { name: "expire", arity: -3, group: Generic, flags: &[Write, Fast], keys: ONE_KEY, since: "1.0.0", complexity: "O(1)", handler: Store(expiry::parse_expire),
        arguments: EXPIRE_CONDITIONS, summary: "Lets a key expire in so many seconds. Answers 1, or 0 if nothing changed." },
    Spec { name: "expireat", arity: -3, group: Generic, flags: &[Write, Fast], keys: ONE_KEY, since: "1.2.0", complexity: "O(1)", handler: Store(expiry::parse_expireat),
        arguments: EXPIRE_CONDITIONS, summary: "Lets a key expire at a Unix time in seconds. Answers 1, or 0 if nothing changed." },
    Spec { name: "expiretime", arity: 2, group: Generic, flags: &[ReadOnly, Fast], keys: ONE_KEY, since: "7.0.0", complexity: "O(1)", handler: Store(expiry::parse_expiretime),
        arguments: "key", summary: "Answers the Unix time in seconds at which a key expires, -1 for never, -2 if there is no key." },
    Spec { name: "explain", arity: -2, group: Server, flags: &[], keys: NO_KEY, since: "0.1.0", complexity: "that of the command", handler: Store(keys::parse_explain),
        arguments: "command [argument ...]", summary: "Runs a command and answers with the path it took through the layers, and the times." },
    Spec { name: "flushall", arity: -1, group: Server, flags: &[Write, Dangerous], keys: NO_KEY, since: "1.0.0", complexity: "O(1)", handler: Store(keys::parse_flush),
        arguments: "[ASYNC | SYNC]", summary: "Deletes every key." },
    Spec { name: "flushdb", arity: -1, group: Server, flags: &[Write, Dangerous], keys: NO_KEY, since: "1.0.0", complexity: "O(1)", handler: Store(keys::parse_flush),
        arguments: "[ASYNC | SYNC]", summary: "Deletes every key: there is one database." },
    Spec { name: "get", arity: 2, group: STRING, flags: &[ReadOnly, Fast], keys: ONE_KEY, since: "1.0.0", complexity: "O(1)", handler: Store(strings::parse_get),
        arguments: "key", summary: "Answers the value of a key." },
    Spec { name: "getdel", arity: 2, group: STRING, flags: &[Write, Fast], keys: ONE_KEY, since: "6.2.0", complexity: "O(1)", handler: Store(strings::parse_getdel),
        arguments: "key", summary: "Deletes a key and answers the value it had." },
    Spec { name: "getex", arity: -2, group: STRING, flags: &[Write, Fast], keys: ONE_KEY, since: "6.2.0", complexity: "O(1)", handler: Store(strings::parse_getex),
        arguments: "key [EX seconds | PX milliseconds | EXAT unix-seconds | PXAT unix-milliseconds | PERSIST]", summary: "Answers the value of a key and sets when it expires." },
    Spec { name: "getset", arity: 3, group: STRING, flags: &[Write, DenyOom, Fast], keys: ONE_KEY, since: "1.0.0", complexity: "O(1)", handler: Store(strings::parse_getset),
        arguments: "key value", summary: "Sets a key and answers the value it had." },
    Spec { name: "hello", arity: -1, group: Connection, flags: &[NoScript, Loading, Stale, Fast], keys: NO_KEY, since: "6.0.0", complexity: "O(1)", handler: ForSession(Session::Hello),
        arguments: "[2 | 3 [SETNAME name]]", summary: "Chooses the protocol and answers what the server is." },
    Spec { name: "incr", arity: 2, group: STRING, flags: &[Write, DenyOom, Fast], keys: ONE_KEY, since: "1.0.0", complexity: "O(1)", handler: Store(strings::parse_incr),
        arguments: "key", summary: "Adds one to a number; a key that is not there counts as 0. Answers the sum." },
    Spec { name: "incrby", arity: 3, group: STRING, flags: &[Write, DenyOom, Fast], keys: ONE_KEY, since: "1.0.0", complexity: "O(1)", handler: Store(strings::parse_incrby),
        arguments: "key increment", summary: "Adds to a number. Answers the sum." },
    Spec { name: "info", arity: -1, group: Server, flags: &[Loading, Stale, Dangerous], keys: NO_KEY, since: "1.0.0", complexity: "O(1)", handler: ForSession(Session::Info),
        arguments: "[section ...]", summary: "Answers figures about the server, for people and monitors." },
    Spec { name: "keys", arity: 2, group: Generic, flags: &[ReadOnly, Dangerous], keys: NO_KEY, since: "1.0.0", complexity: "O(N), N the number of keys in the store", handler: Store(keys::parse_keys),
        arguments: "pattern", summary: "Answers every key that matches a pattern. SCAN does the same in small steps." },
    Spec { name: "lastsave", arity: 1, group: Server, flags: &[Loading, Stale, Fast, Admin, Dangerous], keys: NO_KEY, since: "1.0.0", complexity: "O(1)", handler: ForSession(Session::LastSave),
        arguments: "", summary: "Answers when the last snapshot (RDB) was complete, in seconds of Unix time." },
    Spec { name: "mget", arity: -2, group: STRING, flags: &[ReadOnly, Fast], keys: ALL_KEYS, since: "1.0.0", complexity: "O(N), N the number of keys", handler: Store(strings::parse_mget),
        arguments: "key [key ...]", summary: "Answers the values of keys." },
    Spec { name: "mset", arity: -3, group: STRING, flags: &[Write, DenyOom], keys: KEY_VALUES, since: "1.0.1", complexity: "O(N), N the number of keys", handler: Store(strings::parse_mset),
        arguments: "key value [key value ...]", summary: "Sets several keys at once: all of them or none." },
    Spec { name: "persist", arity: 2, group: Generic, flags: &[Write, Fast], keys: ONE_KEY, since: "2.2.0", complexity: "O(1)", handler: Store(expiry::parse_persist),
        arguments: "key", summary: "Lets a key never expire. Answers 1, or 0 if nothing changed." },
    Spec { name: "pexpire", arity: -3, group: Generic, flags: &[Write, Fast], keys: ONE_KEY, since: "2.6.0", complexity: "O(1)", handler: Store(expiry::parse_pexpire),
        arguments: PEXPIRE_CONDITIONS, summary: "Lets a key expire in so many milliseconds. Answers 1, or 0 if nothing changed." },
    Spec { name: "pexpireat", arity: -3, group: Generic, flags: &[Write, Fast], keys: ONE_KEY, since: "2.6.0", complexity: "O(1)", handler: Store(expiry::parse_pexpireat),
        arguments: PEXPIRE_CONDITIONS, summary: "Lets a key expire at a Unix time in milliseconds. Answers 1, or 0 if nothing changed." },
    Spec { name: "pexpiretime", arity: 2, group: Generic, flags: &[ReadOnly, Fast], keys: ONE_KEY, since: "7.0.0", complexity: "O(1)", handler: Store(expiry::parse_pexpiretime),
        arguments: "key", summary: "Answers the Unix time in milliseconds at which a key expires, -1 for never, -2 if there is no key." },
    Spec { name: "ping", arity: -1, group: Connection, flags: &[Fast], keys: NO_KEY, since: "1.0.0", complexity: "O(1)", handler: ForSession(Session::Ping),
        arguments: "[message]", summary: "Answers PONG, or the message." },
    Spec { name: "psetex", arity: 4, group: STRING, flags: &[Write, DenyOom], keys: ONE_KEY, since: "2.6.0", complexity: "O(1)", handler: Store(strings::parse_psetex),
        arguments: "key milliseconds value", summary: "Sets a key that expires in so many milliseconds." },
    Spec { name: "pttl", arity: 2, group: Generic, flags: &[ReadOnly, Fast], keys: ONE_KEY, since: "2.6.0", complexity: "O(1)", handler: Store(expiry::parse_pttl),
        arguments: "key", summary: "Answers how many milliseconds a key has left, -1 for ever, -2 if there is no key." },
    Spec { name: "put", arity: -3, group: STRING, flags: &[Write, DenyOom], keys: ONE_KEY, since: "0.1.0", complexity: "O(1)", handler: Store(strings::parse_set),
        arguments: SET_ARGUMENTS, summary: "Sets a key: SET by another name." },
    Spec { name: "quit", arity: -1, group: Connection, flags: &[Fast, NoScript, Loading, Stale], keys: NO_KEY, since: "1.0.0", complexity: "O(1)", handler: ForSession(Session::Quit),
        arguments: "", summary: "Ends the connection, after the replies of what was sent before." },
    Spec { name: "readonly", arity: 1, group: Cluster, flags: &[Fast, Loading, Stale], keys: NO_KEY, since: "3.0.0", complexity: "O(1)", handler: ForSession(Session::ReadOnly),
        arguments: "", summary: "Lets this connection read from the copies on this node that it does not master, instead of being redirected. The reads are as strong as ever." },
    Spec { name: "readwrite", arity: 1, group: Cluster, flags: &[Fast, Loading, Stale], keys: NO_KEY, since: "3.0.0", complexity: "O(1)", handler: ForSession(Session::ReadWrite),
        arguments: "", summary: "Takes READONLY back." },
    Spec { name: "reset", arity: 1, group: Connection, flags: &[Fast, NoScript, Loading, Stale], keys: NO_KEY, since: "6.2.0", complexity: "O(1)", handler: ForSession(Session::Reset),
        arguments: "", summary: "Makes the connection as it was when it began." },
    Spec { name: "ring", arity: -2, group: Cluster, flags: &[Admin, NoScript, Loading, Stale], keys: NO_KEY, since: "0.1.0", complexity: "O(N), N the number of nodes or ranges", handler: ForSession(Session::Ring),
        arguments: "subcommand [argument ...]", summary: "Operates the cluster: who is a member, how copies move, N, W and R." },
    Spec { name: "save", arity: 1, group: Server, flags: &[Admin, NoScript, Dangerous], keys: NO_KEY, since: "1.0.0", complexity: "O(N), N the number of keys", handler: ForSession(Session::Save),
        arguments: "", summary: "Writes a snapshot (RDB) of this node's keys, and answers when it is complete. Other clients go on." },
    Spec { name: "scan", arity: -2, group: Generic, flags: &[ReadOnly], keys: NO_KEY, since: "2.8.0", complexity: "O(COUNT) a call", handler: Store(keys::parse_scan),
        arguments: "cursor [MATCH pattern] [COUNT count] [TYPE type]", summary: "Answers some keys and the cursor to go on with; 0 begins, and 0 ends." },
    Spec { name: "select", arity: 2, group: Connection, flags: &[Loading, Stale, Fast], keys: NO_KEY, since: "1.0.0", complexity: "O(1)", handler: ForSession(Session::Select),
        arguments: "index", summary: "Chooses the database. There is one, 0." },
    Spec { name: "set", arity: -3, group: STRING, flags: &[Write, DenyOom], keys: ONE_KEY, since: "1.0.0", complexity: "O(1)", handler: Store(strings::parse_set),
        arguments: SET_ARGUMENTS, summary: "Sets a key, on conditions if wanted, and when it expires." },
    Spec { name: "setex", arity: 4, group: STRING, flags: &[Write, DenyOom], keys: ONE_KEY, since: "2.0.0", complexity: "O(1)", handler: Store(strings::parse_setex),
        arguments: "key seconds value", summary: "Sets a key that expires in so many seconds." },
    Spec { name: "setnx", arity: 3, group: STRING, flags: &[Write, DenyOom, Fast], keys: ONE_KEY, since: "1.0.0", complexity: "O(1)", handler: Store(strings::parse_setnx),
        arguments: "key value", summary: "Sets a key if there is none of that name. Answers 1 or 0." },
    Spec { name: "shutdown", arity: -1, group: Server, flags: &[Admin, NoScript, Loading, Stale], keys: NO_KEY, since: "1.0.0", complexity: "O(1)", handler: ForSession(Session::Shutdown),
        arguments: "[NOSAVE | SAVE]", summary: "Ends the server. What was acknowledged is kept either way." },
    Spec { name: "strlen", arity: 2, group: STRING, flags: &[ReadOnly, Fast], keys: ONE_KEY, since: "2.2.0", complexity: "O(1)", handler: Store(strings::parse_strlen),
        arguments: "key", summary: "Answers the length of a value." },
    Spec { name: "ttl", arity: 2, group: Generic, flags: &[ReadOnly, Fast], keys: ONE_KEY, since: "1.0.0", complexity: "O(1)", handler: Store(expiry::parse_ttl),
        arguments: "key", summary: "Answers how many seconds a key has left, -1 for ever, -2 if there is no key." },
    Spec { name: "type", arity: 2, group: Generic, flags: &[ReadOnly, Fast], keys: ONE_KEY, since: "1.0.0", complexity: "O(1)", handler: Store(keys::parse_type),
        arguments: "key", summary: "Answers what kind of value a key has: string, or none." },
    Spec { name: "unlink", arity: -2, group: Generic, flags: &[Write, Fast], keys: ALL_KEYS, since: "4.0.0", complexity: "O(N), N the number of keys", handler: Store(keys::parse_del),
        arguments: "key [key ...]", summary: "Deletes keys. The room comes back in the background, as it does with DEL." },
    Spec { name: "wait", arity: 3, group: Connection, flags: &[NoScript], keys: NO_KEY, since: "3.0.0", complexity: "O(N), N the number of ranges", handler: ForSession(Session::Wait),
        arguments: "copies timeout", summary: "Answers on how many other copies this connection's acknowledged writes are for certain: W - 1. It does so at once, whatever was asked for, as nothing more can be learned by waiting: ask before the write, with CONSISTENCY W." },
];

/// A name as a number: its letters in lower case, from the top. Comparing two numbers compares the
/// names, and costs less. 0, which no name has, for what is too long to be one.
const fn pack(name: &[u8]) -> u128 {
    if name.len() > 16 {
        return 0;
    }
    let mut packed = [0; 16];
    let mut at = 0;
    while at < name.len() {
        packed[at] = name[at].to_ascii_lowercase();
        at += 1;
    }
    u128::from_be_bytes(packed)
}

static NAMES: [u128; TABLE.len()] = {
    let mut names = [0; TABLE.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = pack(TABLE[at].name.as_bytes());
        assert!(
            at == 0 || names[at - 1] < names[at],
            "the table is in order of name"
        );
        at += 1;
    }
    names
};

/// The row of the command with this name, in whatever case.
pub fn find(name: &[u8]) -> Option<&'static Spec> {
    let spec = &TABLE[NAMES.binary_search(&pack(name)).ok()?];
    // A name that ends in zero bytes packs like one without them.
    (spec.name.len() == name.len()).then_some(spec)
}

/// Whether so many words fit an arity.
pub(super) fn accepts(arity: i32, words: usize) -> bool {
    let wanted = arity.unsigned_abs() as usize;
    if arity < 0 {
        words >= wanted
    } else {
        words == wanted
    }
}

impl Spec {
    /// Whether a command of so many words, its name included, can be right.
    pub fn accepts(&self, words: usize) -> bool {
        accepts(self.arity, words)
    }

    /// Whether it has a flag.
    pub fn is(&self, flag: Flag) -> bool {
        self.flags.contains(&flag)
    }

    /// The access categories that it is in, by Redis's names.
    pub fn categories(&self) -> Vec<&'static str> {
        let mut categories = Vec::new();
        match self.group {
            Group::String => categories.push("@string"),
            Group::Generic => categories.push("@keyspace"),
            Group::Connection => categories.push("@connection"),
            Group::Server if self.is(Write) || self.is(ReadOnly) => categories.push("@keyspace"),
            Group::Server | Group::Cluster => {}
        }
        if self.is(Write) {
            categories.push("@write");
        }
        if self.is(ReadOnly) {
            categories.push("@read");
        }
        if self.is(Admin) {
            categories.push("@admin");
        }
        categories.push(if self.is(Fast) { "@fast" } else { "@slow" });
        if self.is(Admin) || self.is(Dangerous) {
            categories.push("@dangerous");
        }
        categories
    }
}

/// A command that has been read, and who runs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// The store runs it.
    Store(Command),
    /// The connection answers it; its words are untouched.
    Session(Session),
}

/// Reads a command from its words, the first of which is its name. Words are moved out of `words` into
/// the command. The error is the reply to send.
pub fn parse(words: &mut [Bytes]) -> Result<Parsed, Reply> {
    let Some(spec) = words.first().and_then(|name| find(name)) else {
        return Err(unknown_command(words));
    };
    if !spec.accepts(words.len()) {
        return Err(Reply::wrong_arity(spec.name));
    }
    let read = match spec.handler {
        Handler::Session(session) => return Ok(Parsed::Session(session)),
        Handler::Store(read) => read,
    };
    for position in spec.keys.positions(words.len()) {
        if words[position].len() > KEY_BYTES_MAX {
            return Err(key_too_long(words[position].len()));
        }
    }
    read(&mut Args::new(spec.name, &mut words[1..])).map(Parsed::Store)
}

#[cold]
fn key_too_long(len: usize) -> Reply {
    Reply::Error(
        format!("ERR key of {len} bytes is too long: the longest is {KEY_BYTES_MAX}").into(),
    )
}

/// Names the command and the first of its arguments, 128 bytes of each, as Redis does.
#[cold]
fn unknown_command(words: &[Bytes]) -> Reply {
    const SHOWN: usize = 128;
    let cut = |word: &[u8], len: usize| {
        String::from_utf8_lossy(&word[..word.len().min(len)]).into_owned()
    };
    let Some((name, arguments)) = words.split_first() else {
        return Reply::error("ERR empty command");
    };
    let mut shown = String::new();
    for argument in arguments {
        if shown.len() >= SHOWN {
            break;
        }
        shown += &format!("'{}' ", cut(argument, SHOWN - shown.len()));
    }
    let name = cut(name, SHOWN);
    Reply::Error(format!("ERR unknown command '{name}', with args beginning with: {shown}").into())
}

#[cfg(test)]
mod tests {
    use super::super::testing::words;
    use super::*;

    #[test]
    fn names_are_found_in_any_case() {
        for spec in TABLE {
            assert_eq!(find(spec.name.as_bytes()).unwrap().name, spec.name);
            assert_eq!(
                find(spec.name.to_uppercase().as_bytes()).unwrap().name,
                spec.name
            );
        }
        assert!(find(b"").is_none());
        assert!(find(b"ge").is_none());
        assert!(find(b"get\0").is_none());
        assert!(find(b"averyveryverylongname").is_none());
    }

    #[test]
    fn rows_agree_with_the_commands_they_read() {
        for spec in TABLE {
            let Handler::Store(_) = spec.handler else {
                continue;
            };
            // The least that the arity asks for. A number is a fine key, value, cursor and pattern.
            let mut line = vec![Bytes::from_static(spec.name.as_bytes())];
            line.resize(spec.arity.unsigned_abs() as usize, Bytes::from_static(b"7"));
            if spec.name == "explain" {
                line[1] = Bytes::from_static(b"dbsize");
            }
            let count = spec.keys.positions(line.len()).count();
            let Ok(Parsed::Store(command)) = parse(&mut line) else {
                panic!("{} does not take its least arity", spec.name);
            };
            assert_eq!(command.keys().count(), count, "keys of {}", spec.name);
            if spec.name != "explain" {
                assert_eq!(command.is_write(), spec.is(Write), "{}", spec.name);
                assert_eq!(!command.is_write(), spec.is(ReadOnly), "{}", spec.name);
            }
        }
    }

    #[test]
    fn arity_is_exact_or_at_least() {
        for (line, name) in [
            ("GET", "get"),
            ("GET a b", "get"),
            ("DEL", "del"),
            ("PING a b c", ""),
        ] {
            match parse(&mut words(line)) {
                Err(reply) => assert_eq!(reply, Reply::wrong_arity(name)),
                Ok(parsed) => assert_eq!(parsed, Parsed::Session(Session::Ping)),
            }
        }
    }

    #[test]
    fn an_unknown_command_is_named_with_its_first_arguments() {
        assert_eq!(
            parse(&mut words("FOO a b")),
            Err(Reply::error(
                "ERR unknown command 'FOO', with args beginning with: 'a' 'b' "
            ))
        );
        let long = "x".repeat(1000);
        let Err(Reply::Error(text)) = parse(&mut words(&format!("{long} {long} {long}"))) else {
            panic!("known");
        };
        assert!(text.len() < 400, "{}", text.len());
        assert_eq!(parse(&mut []), Err(Reply::error("ERR empty command")));
    }

    #[test]
    fn keys_are_where_the_row_says() {
        let at = |keys: KeyWords, words| keys.positions(words).collect::<Vec<_>>();
        assert_eq!(at(NO_KEY, 3), Vec::<usize>::new());
        assert_eq!(at(ONE_KEY, 3), [1]);
        assert_eq!(at(ALL_KEYS, 4), [1, 2, 3]);
        assert_eq!(at(KEY_VALUES, 5), [1, 3]);
        assert_eq!(at(ONE_KEY, 1), Vec::<usize>::new());
    }

    #[test]
    fn a_key_that_no_record_can_hold_is_refused() {
        let mut fits = vec![
            Bytes::from_static(b"GET"),
            Bytes::from(vec![b'k'; KEY_BYTES_MAX]),
        ];
        assert!(parse(&mut fits).is_ok());
        let mut long = vec![
            Bytes::from_static(b"GET"),
            Bytes::from(vec![b'k'; KEY_BYTES_MAX + 1]),
        ];
        assert!(parse(&mut long).is_err());
    }
}

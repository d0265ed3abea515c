//! What the server asks of the store.

use trilith::archive::ArchiveStats;
use trilith::command::{Command, Encoder, Reply};
use trilith::ring::driver::Consistency;

use super::archive::Asked;
use super::cluster::Cluster;

/// A store that runs commands. Cloning shares it.
pub trait Backend: Clone + Send + Sync + 'static {
    /// The cluster that it is a node of; [`Infallible`](std::convert::Infallible) where it never is.
    type Cluster: Cluster;

    /// The cluster that it is a node of. The same answer for ever.
    fn cluster(&self) -> Option<&Self::Cluster>;

    /// Runs commands in order and answers each, by as many copies as `how` wants. A read sees the writes
    /// before it in the same batch, and the writes share one settle. What fails is answered with an error;
    /// nothing is left out. In a cluster, commands for other nodes' ranges are forwarded to them.
    fn execute(
        &self,
        batch: Vec<Command>,
        how: Consistency,
    ) -> impl Future<Output = Vec<Reply>> + Send;

    /// Answers a read at once if memory suffices, and if that is as strong as `how` wants. False, and
    /// nothing written, if not.
    fn execute_now(&self, command: &Command, how: Consistency, out: &mut Encoder<'_>) -> bool;

    /// Has the archive do something, or tell when it did, as Redis answers it.
    fn archive(&self, asked: Asked) -> impl Future<Output = Reply> + Send {
        let _ = asked;
        async { Reply::error("ERR there is no archive") }
    }

    /// Figures for INFO and the metrics.
    fn stats(&self) -> impl Future<Output = Stats> + Send;

    /// Makes everything durable and closes the store. Nothing is executed after.
    fn close(&self) -> impl Future<Output = trilith::Result<()>> + Send;
}

/// Figures of a store.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// How many keys there are.
    pub keys: u64,
    /// How many of them expire.
    pub keys_with_deadline: u64,
    /// Reads that found their key.
    pub hits: u64,
    /// Reads that found no key.
    pub misses: u64,
    /// Keys removed because their time had come.
    pub expired: u64,
    /// Memory that the store has taken from its budget.
    pub memory_bytes: u64,
    /// Bytes on disk.
    pub disk_bytes: u64,
    /// Why the store takes no writes, if it takes none.
    pub read_only: Option<String>,
    /// There is no room for writes.
    pub disk_full: bool,
    /// How the archive stands.
    pub archive: ArchiveStats,
    /// Everything else that is worth watching: in INFO under `Store`, and among the metrics.
    pub more: Vec<Figure>,
}

/// One more figure of a store.
#[derive(Clone, Debug)]
pub struct Figure {
    /// Its name as a metric has it, unit last, without a prefix: `compaction_written_bytes`.
    pub name: &'static str,
    /// What it says, in a few words.
    pub help: &'static str,
    /// Whether it only ever grows.
    pub is_counter: bool,
    /// Its value.
    pub value: u64,
}

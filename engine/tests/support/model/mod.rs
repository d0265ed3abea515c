//! The model test: a store and a `BTreeMap` are taken through the same steps, and must agree.
//!
//! Knows no host. A [`World`] says where the store lies, how time passes and what a killed process is,
//! so that the same steps run in memory, over files and on wasm32.

// Proptest does not compile for a page: there the steps are drawn in another way.
#[cfg(not(all(target_arch = "wasm32", target_os = "unknown")))]
mod draw;
mod oracle;
mod steps;

use std::collections::BTreeMap;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use trilith::{Batch, Db, Options, Range, Runtime, Snapshot, Storage, Sync};

#[allow(unused_imports, reason = "not every test draws steps")]
#[cfg(not(all(target_arch = "wasm32", target_os = "unknown")))]
pub use draw::steps;
pub use oracle::Oracle;
#[allow(unused_imports, reason = "not every test makes up keys")]
pub use steps::{KEYS, Step, Write, key, value};

/// Where a store lives. One world has one store, opened and closed many times.
pub trait World {
    /// Where its bytes are.
    type Storage: Storage;
    /// What runs it.
    type Runtime: Runtime;

    /// The store's home, as a process finds it that comes to open it.
    fn storage(&self) -> Self::Storage;
    /// The host of the process that runs now.
    fn runtime(&self) -> Self::Runtime;
    /// The process has ended, in good order or not; another one begins.
    fn next_process(&mut self);
    /// An empty place for a copy, and the copy's home.
    fn place(&mut self) -> (<Self::Storage as Storage>::Place, Self::Storage);
    /// Lets about so much time pass, or less.
    fn pass(&self, time: Duration) -> impl Future<Output = ()>;
}

/// A store so small that a few hundred steps freeze, flush, merge, evict and change segments.
pub fn options(sync: Sync) -> Options {
    let mut compaction = trilith::lsm::compaction::CompactionOptions::for_memtables_of(12 << 10);
    compaction.base_bytes = 32 << 10;
    Options {
        sync,
        memory_bytes: 1 << 20,
        memtable_bytes: Some(12 << 10),
        large_value_bytes: 700,
        segment_bytes: 16 << 10,
        compaction: Some(compaction),
        ..Options::default()
    }
}

/// What a run has met, to be asserted over many runs.
#[derive(Clone, Copy, Debug, Default)]
#[allow(dead_code, reason = "each host asserts what it can")]
pub struct Met {
    pub flushes: u64,
    pub compactions: u64,
    pub moves: u64,
    pub evicted: u64,
    pub cold_reads: u64,
    pub reopenings: u64,
    pub checkpoints: u64,
    pub large_values: u64,
    pub range_deletes: u64,
    pub snapshot_reads: u64,
    pub expired: u64,
    pub dropped_writes: u64,
}

impl Met {
    #[allow(dead_code, reason = "each host asserts what it can")]
    pub fn add(&mut self, other: &Self) {
        self.flushes += other.flushes;
        self.compactions += other.compactions;
        self.moves += other.moves;
        self.evicted += other.evicted;
        self.cold_reads += other.cold_reads;
        self.reopenings += other.reopenings;
        self.checkpoints += other.checkpoints;
        self.large_values += other.large_values;
        self.range_deletes += other.range_deletes;
        self.snapshot_reads += other.snapshot_reads;
        self.expired += other.expired;
        self.dropped_writes += other.dropped_writes;
    }
}

type StoreOf<W> = Db<<W as World>::Storage, <W as World>::Runtime>;
type SnapshotOf<W> =
    Snapshot<<W as World>::Storage, <W as World>::Runtime, trilith::db::BatchesOnly>;

/// One run.
pub struct Run<W: World> {
    world: W,
    sync: Sync,
    /// `None` between two processes.
    db: Option<StoreOf<W>>,
    oracle: Oracle,
    snapshots: Vec<(SnapshotOf<W>, Oracle, (u64, u64))>,
    met: Met,
}

/// Takes a store in `world` through `steps`. Panics where it and the model differ.
pub async fn run<W: World>(world: W, sync: Sync, steps: &[Step]) -> Met {
    let db = open::<W>(world.storage(), world.runtime(), sync).await;
    let oracle = Oracle::default();
    let mut run = Run {
        world,
        sync,
        db: Some(db),
        oracle,
        snapshots: Vec::new(),
        met: Met::default(),
    };
    for (at, step) in steps.iter().enumerate() {
        run.step(at, step).await;
    }
    run.check_all("at the end").await;
    run.snapshots.clear();
    run.db().close().await.unwrap();
    run.count();
    run.met
}

async fn open<W: World>(storage: W::Storage, runtime: W::Runtime, sync: Sync) -> StoreOf<W> {
    Db::open(storage, runtime, options(sync)).await.unwrap()
}

impl<W: World> Run<W> {
    async fn step(&mut self, at: usize, step: &Step) {
        match step {
            Step::Write(write) => self.write(write).await,
            Step::Fill { first, count, len } => self.fill(at, *first, *count, *len).await,
            Step::Together(puts) => self.together(at, puts).await,
            Step::Dropped(put) => self.dropped(*put).await,
            Step::Get(index) => self.get(&key(*index)).await,
            Step::GetAll => self.get_all().await,
            Step::Scan { range, writes } => self.scan(range.clone(), writes).await,
            Step::Snapshot => self.snapshot(),
            Step::ReadSnapshot { which, range } => self.read_snapshot(*which, range.clone()).await,
            Step::DropSnapshot(which) => self.drop_snapshot(*which),
            Step::Pass(ms) => self.world.pass(Duration::from_millis(*ms)).await,
            Step::Flush => self.db().flush().await.unwrap(),
            Step::Compact => self.db().compact().await.unwrap(),
            Step::Sync => self.db().sync().await.unwrap(),
            Step::Checkpoint => self.checkpoint().await,
            Step::Reopen { close } => self.reopen(*close).await,
            Step::Verify => self.verify().await,
        }
    }

    fn db(&self) -> &StoreOf<W> {
        self.db.as_ref().unwrap()
    }

    fn now(&self) -> u64 {
        self.world.runtime().wall_ms()
    }

    async fn write(&mut self, write: &Write) {
        let before = self.now();
        match write {
            Write::Put { at, len, seed } => {
                self.met.large_values += u64::from(*len >= 700);
                self.db().put(&key(*at), &value(*len, *seed)).await.unwrap();
            }
            Write::PutFor {
                at,
                len,
                seed,
                ttl_ms,
            } => {
                let ttl = Duration::from_millis(*ttl_ms);
                self.db()
                    .put_for(&key(*at), &value(*len, *seed), ttl)
                    .await
                    .unwrap();
            }
            Write::Delete { at } => self.db().delete(&key(*at)).await.unwrap(),
            Write::DeleteRange { start, end } => {
                self.met.range_deletes += 1;
                let end = end.map(key);
                self.db()
                    .delete_range(&key(*start), end.as_deref())
                    .await
                    .unwrap();
            }
            Write::Batch(writes) => {
                let mut batch = Batch::new();
                writes
                    .iter()
                    .for_each(|write| write.add_to(&mut batch, before));
                self.db().write(batch).await.unwrap();
            }
        }
        let after = self.now();
        self.oracle.write(write, (before, after));
    }

    async fn fill(&mut self, seed: usize, first: u16, count: u16, len: u16) {
        for i in 0..count {
            let at = first.wrapping_add(i.wrapping_mul(37)) % steps::KEYS;
            self.write(&Write::Put {
                at,
                len,
                seed: (seed as u64) << 16 | u64::from(i),
            })
            .await;
        }
    }

    /// Writers that wait at one time, each of another key.
    async fn together(&mut self, seed: usize, puts: &BTreeMap<u16, u16>) {
        let pairs: Vec<_> = puts
            .iter()
            .map(|(&at, &len)| (key(at), value(len, seed as u64)))
            .collect();
        let mut waiting: Vec<_> = pairs
            .iter()
            .map(|(key, value)| Some(Box::pin(self.db().put(key, value))))
            .collect();
        std::future::poll_fn(|context| {
            for slot in &mut waiting {
                if let Some(put) = slot
                    && let Poll::Ready(done) = put.as_mut().poll(context)
                {
                    done.unwrap();
                    *slot = None;
                }
            }
            if waiting.iter().all(Option::is_none) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
        drop(waiting);
        let now = self.now();
        for (&at, &len) in puts {
            self.oracle.write(
                &Write::Put {
                    at,
                    len,
                    seed: seed as u64,
                },
                (now, now),
            );
        }
    }

    /// A writer that gives up after one look. Its write happens whole or not at all, before the next.
    async fn dropped(&mut self, (at, len): (u16, u16)) {
        let wanted = value(len, 77);
        let key = key(at);
        {
            let mut put = pin!(self.db().put(&key, &wanted));
            let _ = put.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        }
        self.db().put(b"~behind", b"").await.unwrap();
        let now = self.now();
        self.oracle.put(b"~behind", b"", None);
        let found = self.db().get(&key).await.unwrap();
        if found.as_deref() == Some(&wanted[..]) {
            self.oracle.put(&key, &wanted, None);
            self.met.dropped_writes += 1;
        }
        self.oracle
            .check_get(&key, found.as_deref(), (now, self.now()));
    }

    async fn get(&self, key: &[u8]) {
        let before = self.now();
        let found = self.db().get(key).await.unwrap();
        self.oracle
            .check_get(key, found.as_deref(), (before, self.now()));
        let before = self.now();
        let mut out = b"before".to_vec();
        if let Some(there) = self.db().get_now(key, &mut out).unwrap() {
            let found = there.then(|| out.strip_prefix(b"before").unwrap());
            self.oracle.check_get(key, found, (before, self.now()));
        }
        let before = self.now();
        let explained = self.db().explain(key).await.unwrap();
        let found = explained.found.then_some(explained.value_bytes);
        self.oracle.check_len(key, found, (before, self.now()));
    }

    async fn get_all(&self) {
        for at in 0..steps::KEYS {
            let (key, before) = (key(at), self.now());
            let found = self.db().get(&key).await.unwrap();
            self.oracle
                .check_get(&key, found.as_deref(), (before, self.now()));
        }
        let (keys, before) = ((0..steps::KEYS).map(key).collect::<Vec<_>>(), self.now());
        let found = self.db().get_many(&keys).await.unwrap();
        assert_eq!(found.len(), keys.len());
        for (key, found) in keys.iter().zip(found) {
            self.oracle
                .check_get(key, found.as_deref(), (before, self.now()));
        }
    }

    /// A walk with writes in between; it must not see them.
    async fn scan(&mut self, range: Range, writes: &[Write]) {
        let oracle = self.oracle.clone();
        let before = self.now();
        let mut scan = self.db().scan(range.clone()).unwrap();
        let clock = (before, self.now());
        let mut found = Vec::new();
        let mut writes = writes.iter();
        while let Some((key, value)) = scan.next().await.unwrap() {
            found.push((key.to_vec(), value.to_vec()));
            if found.len() % 5 == 1
                && let Some(write) = writes.next()
            {
                self.write(write).await;
            }
        }
        oracle.check_scan(&range, &found, clock);
        self.met.expired += oracle.expired(clock.0);
    }

    fn snapshot(&mut self) {
        if self.snapshots.len() < 3 {
            let before = self.now();
            let snapshot = self.db().snapshot();
            self.snapshots
                .push((snapshot, self.oracle.clone(), (before, self.now())));
        }
    }

    async fn read_snapshot(&mut self, which: usize, range: Range) {
        if self.snapshots.is_empty() {
            return;
        }
        self.met.snapshot_reads += 1;
        let (snapshot, oracle, clock) = &self.snapshots[which % self.snapshots.len()];
        let mut scan = snapshot.scan(range.clone()).unwrap();
        let mut found = Vec::new();
        while let Some((key, value)) = scan.next().await.unwrap() {
            found.push((key.to_vec(), value.to_vec()));
        }
        oracle.check_scan(&range, &found, *clock);
        for at in (0..steps::KEYS).step_by(11) {
            let key = key(at);
            let found = snapshot.get(&key).await.unwrap();
            oracle.check_get(&key, found.as_deref(), *clock);
        }
    }

    fn drop_snapshot(&mut self, which: usize) {
        if !self.snapshots.is_empty() {
            let which = which % self.snapshots.len();
            self.snapshots.swap_remove(which);
        }
    }

    async fn checkpoint(&mut self) {
        self.met.checkpoints += 1;
        let (place, home) = self.world.place();
        self.db().checkpoint(place).await.unwrap();
        let copy = open::<W>(home, self.world.runtime(), self.sync).await;
        check_store(&copy, &self.oracle, &self.world.runtime(), "in the copy").await;
        // A copy is a store of its own.
        copy.put(b"only in the copy", b"v").await.unwrap();
        assert_eq!(self.db().get(b"only in the copy").await.unwrap(), None);
        copy.close().await.unwrap();
    }

    async fn reopen(&mut self, close: bool) {
        self.met.reopenings += 1;
        self.snapshots.clear();
        if close {
            self.db().close().await.unwrap();
        }
        self.count();
        self.db = None;
        self.world.next_process();
        self.db = Some(open::<W>(self.world.storage(), self.world.runtime(), self.sync).await);
        assert!(
            self.db().stats().cuts.is_empty(),
            "{:?}",
            self.db().stats().cuts
        );
        self.check_all("after reopening").await;
    }

    async fn verify(&self) {
        let verified = self.db().verify().await.unwrap();
        assert!(verified.is_sound(), "{:?}", verified.problems);
    }

    async fn check_all(&self, when: &str) {
        check_store(self.db(), &self.oracle, &self.world.runtime(), when).await;
    }

    fn count(&mut self) {
        let stats = self.db().stats();
        self.met.flushes += stats.flushes;
        self.met.compactions += stats.compactions;
        self.met.moves += stats.moves;
        self.met.evicted += stats.memory.evicted;
        self.met.cold_reads += stats.cold_reads;
    }
}

/// Everything, forwards and backwards, and every checksum.
async fn check_store<S: Storage, R: Runtime>(
    db: &Db<S, R>,
    oracle: &Oracle,
    runtime: &R,
    when: &str,
) {
    for range in [Range::all(), Range::all().reversed()] {
        let before = runtime.wall_ms();
        let mut scan = db.scan(range.clone()).unwrap();
        let clock = (before, runtime.wall_ms());
        let mut found = Vec::new();
        while let Some((key, value)) = scan.next().await.unwrap() {
            found.push((key.to_vec(), value.to_vec()));
        }
        oracle.check_scan(&range, &found, clock);
    }
    let verified = db.verify().await.unwrap();
    assert!(verified.is_sound(), "{when}: {:?}", verified.problems);
}

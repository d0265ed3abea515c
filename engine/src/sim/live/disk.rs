//! A disk that takes its time: any storage, where what is handed to it settles a little later. So a write has a
//! duration that can be seen, and a crash has something to lose.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::random::Random;
use crate::sim::TestRuntime;
use crate::{Contents, Durability, MaybeSend, Object, Result, Runtime, Storage, Writer};

/// What a sync takes at least, and how much more at most, in microseconds.
const SYNC_US: (u64, u64) = (300, 1_500);
/// The same for a write that is not synced.
const WRITE_US: (u64, u64) = (20, 100);

/// See the module.
#[derive(Clone)]
pub(super) struct Paced<S> {
    inner: S,
    clock: Clock,
}

#[derive(Clone)]
struct Clock {
    process: TestRuntime,
    dice: Arc<Mutex<Random>>,
}

impl Clock {
    fn takes(&self, to: Durability) -> Duration {
        let (least_us, spread_us) = match to {
            Durability::Synced => SYNC_US,
            Durability::Written => WRITE_US,
        };
        Duration::from_micros(least_us + self.dice.lock().below(spread_us))
    }
}

impl<S> Paced<S> {
    /// A disk of a process.
    pub(super) fn new(inner: S, process: TestRuntime, seed: u64) -> Self {
        let dice = Arc::new(Mutex::new(Random::new(seed)));
        Self {
            inner,
            clock: Clock { process, dice },
        }
    }

    fn pace<W>(&self, inner: W) -> PacedWriter<W> {
        PacedWriter {
            inner,
            clock: self.clock.clone(),
        }
    }
}

impl<S: Storage> Storage for Paced<S> {
    type Writer = PacedWriter<S::Writer>;
    type Reader = S::Reader;
    type Place = S::Place;

    async fn load(&self) -> Result<Contents> {
        self.inner.load().await
    }

    async fn commit(&self, meta: Bytes) -> Result<()> {
        self.inner.commit(meta).await
    }

    async fn create(&self, object: Object) -> Result<Self::Writer> {
        Ok(self.pace(self.inner.create(object).await?))
    }

    async fn resume(&self, object: Object, cut_at: u64) -> Result<Self::Writer> {
        Ok(self.pace(self.inner.resume(object, cut_at).await?))
    }

    async fn open(&self, object: Object) -> Result<Self::Reader> {
        self.inner.open(object).await
    }

    async fn replace(&self, from: Object, to: Object) -> Result<()> {
        self.inner.replace(from, to).await
    }

    async fn remove(&self, objects: Vec<Object>) -> Result<()> {
        self.inner.remove(objects).await
    }

    async fn checkpoint(
        &self,
        to: Self::Place,
        objects: Vec<(Object, u64)>,
        meta: Bytes,
    ) -> Result<()> {
        self.inner.checkpoint(to, objects, meta).await
    }

    async fn room(&self) -> Result<Option<u64>> {
        self.inner.room().await
    }
}

/// Appends to an object of such a disk.
pub(super) struct PacedWriter<W> {
    inner: W,
    clock: Clock,
}

impl<W: Writer> Writer for PacedWriter<W> {
    fn append(&mut self, bytes: &[u8]) -> Result<u64> {
        self.inner.append(bytes)
    }

    fn settle(
        &self,
        upto: u64,
        to: Durability,
    ) -> impl Future<Output = Result<()>> + MaybeSend + use<W> {
        let (takes, process) = (self.clock.takes(to), self.clock.process.clone());
        let settled = self.inner.settle(upto, to);
        async move {
            process.sleep(takes).await;
            settled.await
        }
    }
}

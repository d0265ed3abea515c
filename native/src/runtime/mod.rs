//! The engine's host on threads of its own: a clock, dice, timers, and a thread for each kind of work.
//!
//! Flushes, compactions and upkeep never run on the workers of an async runtime, and never on each
//! other's threads: a long compaction delays no flush. Tasks may block there.

mod lane;
mod timer;

use std::future::Future;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use trilith::{Runtime, Work};

use crate::sys;
use lane::Lane;
use timer::{Sleep, Timer};

/// The host of an engine on this machine. See [`trilith::Runtime`]; clones share it.
///
/// Its threads start when first needed and end with [`shutdown`](Self::shutdown) or the last clone;
/// tasks that are not done by then are dropped.
#[derive(Clone)]
pub struct NativeRuntime(Arc<Shared>);

/// How many threads each kind of work gets.
#[derive(Clone, Copy, Debug)]
pub struct Threads {
    /// For flushes.
    pub flush: usize,
    /// For compactions.
    pub compaction: usize,
}

impl Default for Threads {
    fn default() -> Self {
        Self {
            flush: 1,
            compaction: 1,
        }
    }
}

struct Shared {
    started: Instant,
    timer: Arc<Timer>,
    flush: Lane,
    compaction: Lane,
    upkeep: Lane,
    ring: Lane,
    archive: Lane,
    warm: Lane,
}

impl NativeRuntime {
    /// A runtime with one thread for each kind of work.
    pub fn new() -> Self {
        Self::with_threads(Threads::default())
    }

    /// A runtime with so many threads; each kind of work has one at least.
    pub fn with_threads(threads: Threads) -> Self {
        Self(Arc::new(Shared {
            started: Instant::now(),
            timer: Arc::default(),
            flush: Lane::new("trilith-flush", threads.flush),
            compaction: Lane::new("trilith-compact", threads.compaction),
            upkeep: Lane::new("trilith-upkeep", 1),
            ring: Lane::unblocked("trilith-ring"),
            // One that writes a little each second, and one that writes for long.
            archive: Lane::new("trilith-archive", 2),
            warm: Lane::new("trilith-warm", 1),
        }))
    }

    /// Drops all tasks and ends their threads: waits for the polls that are under way, unless called
    /// from within one. Tasks that are spawned later are dropped at once.
    pub fn shutdown(&self) {
        let Shared {
            ring,
            archive,
            warm,
            upkeep,
            compaction,
            flush,
            ..
        } = &*self.0;
        for lane in [ring, archive, warm, upkeep, compaction, flush] {
            lane.close();
        }
    }

    fn lane(&self, work: Work) -> &Lane {
        match work {
            Work::Flush => &self.0.flush,
            Work::Compaction => &self.0.compaction,
            Work::Upkeep => &self.0.upkeep,
            Work::Ring => &self.0.ring,
            Work::Archive => &self.0.archive,
            Work::Warm => &self.0.warm,
        }
    }
}

impl Default for NativeRuntime {
    fn default() -> Self {
        Self::new()
    }
}

impl Runtime for NativeRuntime {
    fn monotonic(&self) -> Duration {
        self.0.started.elapsed()
    }

    fn wall_ms(&self) -> u64 {
        sys::wall_ms()
    }

    fn seed(&self) -> u64 {
        // Keyed from the system's entropy, and differently each time.
        RandomState::new().build_hasher().finish()
    }

    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send {
        Sleep::new(self.0.timer.clone(), time)
    }

    fn breathe(&self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }

    fn spawn<F: Future<Output = ()> + Send + 'static>(&self, work: Work, task: F) {
        self.lane(work).spawn(task);
    }

    fn advise_huge(&self, start: *const u8, bytes: usize) {
        sys::advise_huge(start, bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::mpsc;
    use std::thread;
    use std::time::SystemTime;

    use super::*;
    use crate::{block_on, blocking};

    #[test]
    fn each_kind_of_work_has_its_own_thread_which_may_block() {
        let runtime = NativeRuntime::new();
        let (send, receive) = mpsc::channel();
        for work in [
            Work::Flush,
            Work::Compaction,
            Work::Upkeep,
            Work::Archive,
            Work::Warm,
        ] {
            let send = send.clone();
            runtime.spawn(work, async move {
                let name = thread::current().name().unwrap().to_owned();
                send.send((name, blocking::is_allowed())).unwrap();
            });
        }
        let ran: HashSet<_> = receive.iter().take(5).collect();
        let names = [
            "trilith-flush",
            "trilith-compact",
            "trilith-upkeep",
            "trilith-archive",
            "trilith-warm",
        ];
        assert_eq!(ran, names.map(|name| (name.to_owned(), true)).into());
    }

    #[test]
    fn the_rings_thread_never_blocks() {
        let runtime = NativeRuntime::new();
        let (send, receive) = mpsc::channel();
        runtime.spawn(Work::Ring, async move {
            send.send(blocking::is_allowed()).unwrap();
        });
        assert!(!receive.recv().unwrap());
    }

    #[test]
    fn many_tasks_sleep_on_one_thread_at_once() {
        let runtime = NativeRuntime::new();
        let (send, receive) = mpsc::channel();
        let before = Instant::now();
        for n in (0..50).rev() {
            let (send, sleeper) = (send.clone(), runtime.clone());
            runtime.spawn(Work::Upkeep, async move {
                sleeper.sleep(Duration::from_millis(50 + n)).await;
                send.send(n).unwrap();
            });
        }
        assert_eq!(receive.iter().take(50).count(), 50);
        let took = before.elapsed();
        assert!(took >= Duration::from_millis(99), "{took:?}");
        assert!(
            took < Duration::from_millis(1500),
            "one after another: {took:?}"
        );
        runtime.shutdown();
    }

    #[test]
    fn sleep_works_without_the_runtimes_threads() {
        let runtime = NativeRuntime::new();
        runtime.shutdown();
        let before = Instant::now();
        block_on(runtime.sleep(Duration::from_millis(10)));
        assert!(before.elapsed() >= Duration::from_millis(9));
    }

    #[test]
    fn shutdown_drops_the_tasks_that_wait() {
        let runtime = NativeRuntime::new();
        let (send, receive) = mpsc::channel::<()>();
        let (started, has_started) = mpsc::channel();
        let held = runtime.clone();
        runtime.spawn(Work::Upkeep, async move {
            let _send = send;
            started.send(()).unwrap();
            held.sleep(Duration::from_secs(3600)).await;
        });
        has_started.recv().unwrap();
        runtime.shutdown();
        assert_eq!(receive.try_recv(), Err(mpsc::TryRecvError::Disconnected));
        runtime.spawn(Work::Flush, async {
            unreachable!("spawned after shutdown")
        });
    }

    #[test]
    fn a_task_may_shut_its_own_runtime_down() {
        let runtime = NativeRuntime::new();
        let (send, receive) = mpsc::channel();
        let inside = runtime.clone();
        runtime.spawn(Work::Upkeep, async move {
            inside.shutdown();
            drop(inside);
            send.send(()).unwrap();
        });
        drop(runtime);
        receive.recv_timeout(Duration::from_secs(10)).unwrap();
    }

    #[test]
    fn a_panicking_task_leaves_its_thread_to_the_others() {
        let runtime = NativeRuntime::new();
        runtime.spawn(Work::Flush, async { panic!("on purpose") });
        let (send, receive) = mpsc::channel();
        runtime.spawn(Work::Flush, async move { send.send(()).unwrap() });
        receive.recv_timeout(Duration::from_secs(10)).unwrap();
    }

    #[test]
    fn the_clock_and_the_dice_are_plausible() {
        let runtime = NativeRuntime::new();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now_ms = now.unwrap().as_millis() as u64;
        assert!(runtime.wall_ms().abs_diff(now_ms) < 1000);
        let seeds: HashSet<u64> = (0..1000).map(|_| runtime.seed()).collect();
        assert_eq!(seeds.len(), 1000);
    }

    #[test]
    fn advice_does_not_change_what_a_region_holds() {
        let region = vec![7_u8; 5 << 20];
        NativeRuntime::new().advise_huge(region[1..].as_ptr(), region.len() - 1);
        assert!(region.iter().all(|byte| *byte == 7));
    }
}

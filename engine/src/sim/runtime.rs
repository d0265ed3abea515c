//! A deterministic, single-threaded runtime for tests: virtual time, seeded dice, a seeded scheduler.
//!
//! Time stands still while any task is ready and jumps to the next timer when none is. Which ready
//! task runs next is drawn from the seed, so another seed is another schedule and the same seed the
//! same one. Being a host for tests, it panics where a test has hung: when nothing is ready and no
//! timer is set, when virtual time runs past its limit, when tasks spin without time passing. It must
//! never be used from two threads at once.
//!
//! ```
//! use std::time::Duration;
//! use trilith::{Runtime, Work, sim::TestRuntime};
//!
//! let runtime = TestRuntime::new(42);
//! let inner = runtime.clone();
//! let slept = runtime.block_on(async move {
//!     let start = inner.monotonic();
//!     inner.sleep(Duration::from_secs(3600)).await; // takes no real time
//!     inner.monotonic() - start
//! });
//! assert_eq!(slept, Duration::from_secs(3600));
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use parking_lot::Mutex;

use crate::random::Random;
use crate::runtime::{Runtime, Work};
use crate::storage::MaybeSend;

/// Polls without time passing after which tasks are held to spin.
const SPIN_LIMIT: u64 = 10_000_000;
/// Virtual time one `block_on` may take, unless told otherwise.
const TIME_LIMIT: Duration = Duration::from_secs(24 * 3600);
/// Where the wall clock starts: a fixed day, so that nothing depends on today.
const WALL_START_MS: u64 = 1_700_000_000_000;

/// The runtime of one or more simulated processes that share time and scheduler. Clones share all.
///
/// Tasks that never end keep their clone of the runtime, and through it themselves, alive: end them
/// with [`kill`](Self::kill) or [`kill_all`](Self::kill_all).
#[derive(Clone)]
pub struct TestRuntime {
    inner: Arc<Inner>,
    process: u32,
}

struct Inner {
    state: Mutex<State>,
    ready: Arc<Ready>,
}

struct State {
    now: Duration,
    limit: Duration,
    timers: BTreeMap<(Duration, u64), Waker>,
    last_id: u64,
    tasks: BTreeMap<u64, Spawned>,
    /// The task that is being polled, to be dropped afterwards if it was killed meanwhile.
    polled: Option<(u64, u32)>,
    polled_is_dead: bool,
    blocking: bool,
    schedule: Random,
    dice: Random,
    fingerprint: u64,
    polls: u64,
    polls_at_last_tick: u64,
    processes: u32,
    wall_skew_ms: BTreeMap<u32, i64>,
    /// Processes whose tasks are not run for now.
    paused: BTreeSet<u32>,
}

struct Spawned {
    process: u32,
    work: Work,
    task: Pin<Box<dyn Task>>,
}

/// A future that can be kept: `Send` where the host has threads.
trait Task: Future<Output = ()> + MaybeSend {}
impl<F: Future<Output = ()> + MaybeSend> Task for F {}

/// The tasks that were woken. Apart from the tasks themselves, which no waker may own.
#[derive(Default)]
struct Ready {
    woken: Mutex<BTreeSet<u64>>,
}

struct TaskWaker {
    id: u64,
    ready: Arc<Ready>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ready.woken.lock().insert(self.id);
    }
}

impl TestRuntime {
    /// A runtime at virtual time zero.
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let state = State {
            now: Duration::ZERO,
            limit: TIME_LIMIT,
            timers: BTreeMap::new(),
            last_id: 0,
            tasks: BTreeMap::new(),
            polled: None,
            polled_is_dead: false,
            blocking: false,
            schedule: random.fork(),
            dice: random.fork(),
            fingerprint: 0,
            polls: 0,
            polls_at_last_tick: 0,
            processes: 0,
            wall_skew_ms: BTreeMap::new(),
            paused: BTreeSet::new(),
        };
        let inner = Inner {
            state: Mutex::new(state),
            ready: Arc::default(),
        };
        Self {
            inner: Arc::new(inner),
            process: 0,
        }
    }

    /// A handle for another simulated process: the same time and scheduler, tasks and a wall clock of
    /// its own.
    #[must_use]
    pub fn process(&self) -> Self {
        let mut state = self.inner.state.lock();
        state.processes += 1;
        Self {
            inner: self.inner.clone(),
            process: state.processes,
        }
    }

    /// Ends this process: drops every task spawned through its handles. The task that calls this is
    /// dropped at its next await.
    pub fn kill(&self) {
        self.drop_tasks(|process| process == self.process);
    }

    /// Runs none of this process's tasks until [`resume`](Self::resume): time goes on without it.
    pub fn pause(&self) {
        self.inner.state.lock().paused.insert(self.process);
    }

    /// Lets a process that was paused go on.
    pub fn resume(&self) {
        self.inner.state.lock().paused.remove(&self.process);
    }

    /// Drops every task of every process.
    pub fn kill_all(&self) {
        self.drop_tasks(|_| true);
    }

    fn drop_tasks(&self, of: impl Fn(u32) -> bool) {
        let mut state = self.inner.state.lock();
        if state.polled.is_some_and(|(_, process)| of(process)) {
            state.polled_is_dead = true;
        }
        let dead: Vec<_> = state.tasks.extract_if(.., |_, t| of(t.process)).collect();
        // Destructors may come back to the runtime.
        drop(state);
        drop(dead);
    }

    /// Virtual time that one `block_on` may take before the test is held to hang; a day at first.
    pub fn set_time_limit(&self, limit: Duration) {
        self.inner.state.lock().limit = limit;
    }

    /// Moves this process's wall clock, back or forth; monotonic time goes on as it was.
    pub fn skew_wall(&self, by_ms: i64) {
        let mut state = self.inner.state.lock();
        let skew_ms = state.wall_skew_ms.entry(self.process).or_default();
        *skew_ms = skew_ms.saturating_add(by_ms);
    }

    /// A digest of every scheduling decision so far: equal for equal runs.
    pub fn fingerprint(&self) -> u64 {
        self.inner.state.lock().fingerprint
    }

    /// When the next timer is due, if any is set.
    pub fn next_timer(&self) -> Option<Duration> {
        let state = self.inner.state.lock();
        let first = state.timers.first_key_value();
        first.map(|(&(due, _), _)| due)
    }

    /// Tasks that have been spawned and have not ended.
    pub fn tasks(&self) -> usize {
        self.inner.state.lock().tasks.len()
    }

    /// Runs `future` and the spawned tasks until `future` is done; what else is not done waits for the
    /// next call.
    ///
    /// # Panics
    ///
    /// When nothing can ever make `future` ready: the test has hung.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        let (main, start) = {
            let mut state = self.inner.state.lock();
            assert!(!state.blocking, "block_on inside block_on");
            state.blocking = true;
            (state.next_id(), state.now)
        };
        let _blocking = Blocking(&self.inner);
        let waker = self.waker(main);
        waker.wake_by_ref();
        let mut future = pin!(future);
        loop {
            match self.choose(Some(main)) {
                Some(id) if id == main => {
                    let mut context = Context::from_waker(&waker);
                    if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
                        return output;
                    }
                }
                Some(id) => self.poll_task(id),
                None => {
                    let woke = self.skip_to_next_timer(None);
                    assert!(woke, "deadlock: {self:?}");
                    let state = self.inner.state.lock();
                    let taken = state.now - start;
                    let limit = state.limit;
                    drop(state);
                    assert!(taken <= limit, "not done after {taken:?}: {self:?}");
                }
            }
        }
    }

    /// Runs tasks until none is ready; time stands still.
    pub fn run_until_idle(&self) {
        while let Some(id) = self.choose(None) {
            self.poll_task(id);
        }
    }

    /// Lets `time` pass, running what becomes ready on the way.
    pub fn advance(&self, time: Duration) {
        let target = self.inner.state.lock().now.saturating_add(time);
        self.run_until_idle();
        while self.skip_to_next_timer(Some(target)) {
            self.run_until_idle();
        }
        self.inner.state.lock().now = target;
    }

    fn waker(&self, id: u64) -> Waker {
        Waker::from(Arc::new(TaskWaker {
            id,
            ready: self.inner.ready.clone(),
        }))
    }

    /// Draws one of the ready tasks.
    fn choose(&self, main: Option<u64>) -> Option<u64> {
        let mut state = self.inner.state.lock();
        let mut woken = self.inner.ready.woken.lock();
        // Wakers outlive their tasks.
        woken.retain(|id| Some(*id) == main || state.tasks.contains_key(id));
        let id = if state.paused.is_empty() {
            if woken.is_empty() {
                return None;
            }
            let place = state.schedule.index(woken.len());
            woken.iter().nth(place).copied()?
        } else {
            let runs = |id: &u64| {
                let of = state.tasks.get(id).map(|task| task.process);
                of.is_none_or(|process| !state.paused.contains(&process))
            };
            let able: Vec<u64> = woken.iter().copied().filter(runs).collect();
            if able.is_empty() {
                return None;
            }
            able[state.schedule.index(able.len())]
        };
        woken.remove(&id);
        state.note_poll(id);
        let spun = state.polls - state.polls_at_last_tick;
        drop((state, woken));
        assert!(spun < SPIN_LIMIT, "tasks spin: {self:?}");
        Some(id)
    }

    fn poll_task(&self, id: u64) {
        let mut spawned = {
            let mut state = self.inner.state.lock();
            let Some(spawned) = state.tasks.remove(&id) else {
                return;
            };
            state.polled = Some((id, spawned.process));
            spawned
        };
        let waker = self.waker(id);
        let poll = spawned.task.as_mut().poll(&mut Context::from_waker(&waker));
        let mut state = self.inner.state.lock();
        state.polled = None;
        let dead = std::mem::take(&mut state.polled_is_dead);
        if poll.is_pending() && !dead {
            state.tasks.insert(id, spawned);
        } else {
            drop(state);
            drop(spawned);
        }
    }

    /// Moves time to the next timer (if it is due by `target`) and wakes what waits for that moment.
    fn skip_to_next_timer(&self, target: Option<Duration>) -> bool {
        let mut state = self.inner.state.lock();
        let Some((&(due, _), _)) = state.timers.first_key_value() else {
            return false;
        };
        if target.is_some_and(|target| due > target) {
            return false;
        }
        state.now = state.now.max(due);
        state.polls_at_last_tick = state.polls;
        let later = state.timers.split_off(&(due, u64::MAX));
        let fired = std::mem::replace(&mut state.timers, later);
        drop(state);
        for waker in fired.into_values() {
            waker.wake();
        }
        true
    }
}

impl State {
    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    fn note_poll(&mut self, id: u64) {
        self.polls += 1;
        let what = id ^ (self.now.as_nanos() as u64).rotate_left(32);
        self.fingerprint = Random::new(self.fingerprint ^ what).next();
    }
}

struct Blocking<'a>(&'a Inner);

impl Drop for Blocking<'_> {
    fn drop(&mut self) {
        self.0.state.lock().blocking = false;
    }
}

impl fmt::Debug for TestRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.inner.state.lock();
        let waiting: Vec<_> = state
            .tasks
            .iter()
            .map(|(id, spawned)| (id, spawned.process, spawned.work))
            .collect();
        f.debug_struct("TestRuntime")
            .field("now", &state.now)
            .field("timers", &state.timers.len())
            .field("waiting_id_process_work", &waiting)
            .finish()
    }
}

impl Runtime for TestRuntime {
    fn monotonic(&self) -> Duration {
        self.inner.state.lock().now
    }

    fn wall_ms(&self) -> u64 {
        let state = self.inner.state.lock();
        let skew_ms = state.wall_skew_ms.get(&self.process).copied().unwrap_or(0);
        let true_ms = WALL_START_MS.saturating_add(state.now.as_millis() as u64);
        true_ms.saturating_add_signed(skew_ms)
    }

    fn seed(&self) -> u64 {
        self.inner.state.lock().dice.next()
    }

    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + MaybeSend {
        let now = self.inner.state.lock().now;
        Sleep {
            inner: self.inner.clone(),
            due: now.saturating_add(time),
            timer: None,
        }
    }

    fn breathe(&self) -> impl Future<Output = ()> + MaybeSend {
        let mut breathed = false;
        std::future::poll_fn(move |context| {
            if std::mem::replace(&mut breathed, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
    }

    fn spawn<F: Future<Output = ()> + MaybeSend + 'static>(&self, work: Work, task: F) {
        let mut state = self.inner.state.lock();
        let id = state.next_id();
        let spawned = Spawned {
            process: self.process,
            work,
            task: Box::pin(task),
        };
        state.tasks.insert(id, spawned);
        self.inner.ready.woken.lock().insert(id);
    }
}

struct Sleep {
    inner: Arc<Inner>,
    due: Duration,
    timer: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let inner = self.inner.clone();
        let mut state = inner.state.lock();
        if state.now >= self.due {
            return Poll::Ready(());
        }
        let timer = *self.timer.get_or_insert_with(|| state.next_id());
        state
            .timers
            .insert((self.due, timer), context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(timer) = self.timer {
            self.inner.state.lock().timers.remove(&(self.due, timer));
        }
    }
}

#[cfg(test)]
mod tests;

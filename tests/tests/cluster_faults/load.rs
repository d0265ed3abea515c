//! Clients that ask and record until they are told to stop.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use trilith::sim::checkers::{Key, Op, OpId};
use trilith_tests::cluster::await_some;

use crate::caller::Caller;
use crate::dice::Dice;
use crate::keys::{self, KEYS};
use crate::recorder::{Ended, Recorder};

/// How long a client rests between two requests: a history of many requests a key is slow to judge.
const REST: Duration = Duration::from_millis(2);

/// How long every key may take to be written, or read, a few times more.
const PROGRESS_WITHIN: Duration = Duration::from_secs(30);

pub struct Load {
    pub recorder: Arc<Recorder>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// For each node one client that knows the map and one that does not.
    pub fn start(nodes: &[SocketAddr]) -> Self {
        let nodes: Arc<[SocketAddr]> = nodes.into();
        let recorder = Arc::new(Recorder::new());
        let stop = Arc::new(AtomicBool::new(false));
        let plain = (0..nodes.len()).map(|at| Caller::plain(Arc::clone(&nodes), at));
        let routing = (0..nodes.len()).map(|at| Caller::routing(Arc::clone(&nodes), at));
        let threads = plain.chain(routing).enumerate().map(|(number, caller)| {
            let (recorder, stop) = (Arc::clone(&recorder), Arc::clone(&stop));
            thread::spawn(move || run(number as u32, caller, &recorder, &stop))
        });
        let threads = threads.collect();
        Self {
            recorder,
            stop,
            threads,
        }
    }

    /// Waits until each of these keys was written so many times more.
    pub fn await_writes(&self, when: &str, keys: &[Key], more: u64) -> io::Result<()> {
        await_more(when, keys, more, || self.recorder.writes())
    }

    /// Waits until each of these keys was read so many times more.
    pub fn await_reads(&self, when: &str, keys: &[Key], more: u64) -> io::Result<()> {
        await_more(when, keys, more, || self.recorder.reads())
    }

    /// Has every client finish what it is at.
    pub fn end(&mut self) {
        self.stop.store(true, Relaxed);
        for thread in self.threads.drain(..) {
            // One that panicked has said so, and has left its operation open.
            let _ended = thread.join();
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.end();
    }
}

fn await_more(when: &str, keys: &[Key], more: u64, count: impl Fn() -> Vec<u64>) -> io::Result<()> {
    let before = count();
    let enough = || {
        let now = count();
        let has_more = |&&key: &&Key| now[key as usize] >= before[key as usize] + more;
        (keys.iter().filter(has_more).count() == keys.len()).then_some(())
    };
    let progress = await_some(when, PROGRESS_WITHIN, enough);
    progress.map_err(|error| {
        let now = count().into_iter().zip(&before);
        let counts: Vec<u64> = now.map(|(now, before)| now - before).collect();
        io::Error::other(format!(
            "{error}: {more} of each of {keys:?}, but {counts:?}"
        ))
    })
}

fn run(number: u32, mut caller: Caller, recorder: &Recorder, stop: &AtomicBool) {
    let mut dice = Dice::new(u64::from(number) + 100);
    while !stop.load(Relaxed) {
        let key = dice.below(u64::from(KEYS)) as Key;
        let op = keys::draw(key, dice.below(10), recorder.unique());
        ask(number, &mut caller, recorder, op);
        thread::sleep(REST);
    }
}

/// Asks for one operation and records it.
pub fn ask(number: u32, caller: &mut Caller, recorder: &Recorder, op: Op) -> (OpId, Ended) {
    let id = recorder.invoke(number, op.clone());
    let ended = caller.call(keys::slot(keys::key_of(&op)), &keys::command(&op));
    recorder.finish(id, &op, &ended);
    (id, ended)
}

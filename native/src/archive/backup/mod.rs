//! `trilith backup`: all keys of a cluster, each range at an index that is stated, in files that Redis reads.
//!
//! ```text
//! DIR/manifest.json              what is there; written last
//! DIR/ranges/RANGE-INDEX.rdb     the keys of a range
//! ```
//!
//! A range comes from any node that can show that its copy has everything that was acknowledged (`RING BACKUP`). What has
//! not changed since the backup before is linked from there.

mod check;
mod holders;
mod load;
mod manifest;
mod previous;
mod target;
mod transfer;

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::json;
use trilith::Runtime;
use trilith::restore::Progress;
use trilith::slot::ARCS;

use super::args::BackupArgs;
use super::progress::Bar;
use crate::NativeRuntime;
use crate::operate::{Client, Patience, Problem, put_out};
use crate::server::human;

pub use check::check;
pub use load::load;
pub use target::is_backup;

use holders::Holders;
use manifest::{Manifest, RangeFile};
use previous::{Previous, Taken};
use target::{Target, cannot_write};
use transfer::Trouble;

/// How long a range is asked for that nobody gives: longer than it takes to elect another master.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two rounds of asking.
const AGAIN: Duration = Duration::from_millis(500);
/// How long a node is waited for.
const OF_NODE: Patience = Patience {
    connect: Duration::from_secs(2),
    answer: Duration::from_secs(30),
};

/// Where a range's file came from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Node,
    Before(Taken),
    /// An earlier attempt at this backup.
    Attempt,
}

/// Does what the command line asks for, and prints what came of it.
///
/// # Errors
/// What was being done, to what, and what to do next. There is no manifest then.
pub fn backup(args: &BackupArgs) -> Result<(), Problem> {
    let (begun, began) = (NativeRuntime::new().wall_ms(), Instant::now());
    let (holders, status) = Holders::ask(&format!("{}:{}", args.host, args.port))?;
    let previous = match (&args.from_last, args.full) {
        (_, true) => None,
        (Some(folder), _) => Some(Previous::of(folder)?),
        (None, _) => Previous::beside(&args.to),
    };
    let target = Target::open(&args.to)?;
    let ranges = 0..u32::from(ARCS);
    let job = Job {
        holders: &holders,
        target: &target,
        previous: previous.as_ref(),
        queue: Mutex::new(ranges.collect()),
        done: Mutex::default(),
        failed: Mutex::default(),
        ends: AtomicBool::new(false),
        bar: Bar::of_ranges("Backing up"),
    };
    thread::scope(|scope| {
        for _ in 0..args.parallel {
            scope.spawn(|| job.work());
        }
    });
    let Job { done, failed, .. } = job;
    if let Some(problem) = failed.into_inner() {
        return Err(problem);
    }
    let done = done.into_inner();
    let summary = Summary::of(&done, previous.as_ref().map(|previous| &*previous.folder));
    let files = done.into_iter().map(|(file, _)| file).collect();
    let manifest = Manifest {
        map_version: status.version,
        n: status.quorum.n,
        w: status.quorum.w,
        r: status.quorum.r,
        ..Manifest::new(begun, NativeRuntime::new().wall_ms(), files)
    };
    target.finish(&manifest)?;
    put_out(match args.json {
        true => summary.json(args, &manifest, began.elapsed()).to_string(),
        false => summary.text(args, &manifest, began.elapsed()),
    })
}

/// What the workers share.
struct Job<'a> {
    holders: &'a Holders,
    target: &'a Target,
    previous: Option<&'a Previous>,
    queue: Mutex<VecDeque<u32>>,
    done: Mutex<Vec<(RangeFile, Origin)>>,
    failed: Mutex<Option<Problem>>,
    ends: AtomicBool,
    bar: Bar,
}

impl Job<'_> {
    /// Backs ranges up until none is left, or until somebody has failed.
    fn work(&self) {
        let mut clients = BTreeMap::new();
        while !self.ends.load(Relaxed) {
            let Some(range) = self.queue.lock().pop_front() else {
                return;
            };
            if let Err(problem) = self.range(range, &mut clients) {
                self.failed.lock().get_or_insert(problem);
                self.ends.store(true, Relaxed);
            }
        }
    }

    fn range(&self, range: u32, clients: &mut BTreeMap<String, Client>) -> Result<(), Problem> {
        let mut why = "no node that answers has a copy".to_owned();
        let mut failing_since = None;
        while !self.ends.load(Relaxed) {
            for node in self.holders.of(range) {
                match self.take_from(range, &node, clients) {
                    Ok((file, origin)) => return self.note(file, origin),
                    Err(Trouble::Here(problem)) => return Err(problem),
                    Err(Trouble::Node(what)) => {
                        clients.remove(&node);
                        why = format!("{node}: {what}");
                    }
                }
            }
            if failing_since.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
                return Err(self.nobody_gives(range, &why));
            }
            thread::sleep(AGAIN);
            self.holders.look_again();
        }
        Ok(())
    }

    fn take_from(
        &self,
        range: u32,
        node: &str,
        clients: &mut BTreeMap<String, Client>,
    ) -> Result<(RangeFile, Origin), Trouble> {
        if !clients.contains_key(node) {
            let client = Client::connect(node, OF_NODE);
            let client = client.map_err(|error| Trouble::Node(crate::operate::in_words(&error)))?;
            clients.insert(node.to_owned(), client);
        }
        let Some(client) = clients.get_mut(node) else {
            return Err(Trouble::Node("there is no connection".to_owned()));
        };
        let head = transfer::open(client, range)?;
        let folder = self.target.folder();
        let earlier = self.target.earlier(range);
        if let Some(file) = earlier.filter(|file| file.changed == head.changed)
            && target::has_ending(&file.path(folder), file).unwrap_or(false)
        {
            transfer::close(client)?;
            return Ok((head.of(file), Origin::Attempt));
        }
        if let Some(previous) = self.previous
            && let Some(file) = previous.unchanged(range, head.changed)
        {
            transfer::close(client)?;
            let taken = previous.take(file, folder);
            let taken = taken.map_err(|error| Trouble::Here(cannot_write(folder, &error)))?;
            return Ok((head.of(file), Origin::Before(taken)));
        }
        Ok((transfer::write(client, &head, folder)?, Origin::Node))
    }

    fn note(&self, file: RangeFile, origin: Origin) -> Result<(), Problem> {
        self.target.note(&file)?;
        let mut done = self.done.lock();
        done.push((file, origin));
        self.bar.show(Progress {
            bytes: done.len() as u64,
            of_bytes: u64::from(ARCS),
            items: done.iter().map(|(file, _)| file.keys).sum(),
        });
        Ok(())
    }

    fn nobody_gives(&self, range: u32, why: &str) -> Problem {
        let done = self.done.lock().len();
        Problem::failed(
            format!("Range {range} cannot be had from any node ({why}), so there is no backup."),
            format!(
                "See how the cluster is with trilith cluster status, then give the same command: it goes on with the {done} ranges that are in {}",
                self.target.folder().display()
            ),
        )
    }
}

/// How many ranges came from somewhere, and their bytes.
#[derive(Clone, Copy, Default)]
struct Count {
    ranges: u64,
    bytes: u64,
}

/// What came from where.
struct Summary<'a> {
    transferred: Count,
    linked: Count,
    copied: Count,
    earlier: Count,
    previous: Option<&'a Path>,
}

impl<'a> Summary<'a> {
    fn of(done: &[(RangeFile, Origin)], previous: Option<&'a Path>) -> Self {
        let count = |wanted: Origin| {
            let files = done.iter().filter(|(_, origin)| *origin == wanted);
            files.fold(Count::default(), |sum, (file, _)| Count {
                ranges: sum.ranges + 1,
                bytes: sum.bytes + file.bytes,
            })
        };
        Self {
            transferred: count(Origin::Node),
            linked: count(Origin::Before(Taken::Linked)),
            copied: count(Origin::Before(Taken::Copied)),
            earlier: count(Origin::Attempt),
            previous,
        }
    }

    fn text(&self, args: &BackupArgs, manifest: &Manifest, took: Duration) -> String {
        let mut text = format!(
            "Backed up {} keys of {} ranges to {}: {}, in {:.1} s.\n",
            manifest.keys(),
            manifest.ranges.len(),
            args.to.display(),
            human(manifest.bytes()),
            took.as_secs_f64(),
        );
        let before = self.previous.map(|folder| folder.display().to_string());
        let before = before.unwrap_or_default();
        for (count, how) in [
            (self.transferred, "came from nodes".to_owned()),
            (
                self.linked,
                format!("have not changed since {before} and are linked from there"),
            ),
            (
                self.copied,
                format!("have not changed since {before} and are copied from there"),
            ),
            (self.earlier, "were there from an attempt before".to_owned()),
        ] {
            if count.ranges > 0 {
                text.push_str(&format!(
                    "{} ranges ({}) {how}.\n",
                    count.ranges,
                    human(count.bytes)
                ));
            }
        }
        text
    }

    fn json(&self, args: &BackupArgs, manifest: &Manifest, took: Duration) -> serde_json::Value {
        let count = |count: Count| json!({ "ranges": count.ranges, "bytes": count.bytes });
        json!({
            "to": args.to.display().to_string(),
            "from_last": self.previous.map(|folder| folder.display().to_string()),
            "ranges": manifest.ranges.len(),
            "keys": manifest.keys(),
            "bytes": manifest.bytes(),
            "transferred": count(self.transferred),
            "linked": count(self.linked),
            "copied": count(self.copied),
            "earlier": count(self.earlier),
            "seconds": took.as_secs_f64(),
        })
    }
}

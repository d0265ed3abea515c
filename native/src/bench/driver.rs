//! Runs workloads one after the other and reports on each.

use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::gaps;
use super::keys::{Permutation, Zipfian, mix};
use super::process;
use super::report::{Latency, PhaseReport};
use super::target::{Target, WriteStats};
use super::values::Values;
use super::worker::{Shared, Tally, Worker};
use super::workload::Workload;

const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// What all workloads of a session have in common.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Settings {
    /// How many keys a fill writes.
    pub keys: u64,
    /// The length of a key.
    pub key_bytes: usize,
    /// The length of a value.
    pub value_bytes: usize,
    /// Determines every choice.
    pub seed: u64,
    /// How long nothing may be completed before it counts as a stall.
    pub stall_window_ms: u64,
}

/// How long one workload goes on, and on how many threads.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
pub struct Extent {
    /// Threads that run the workload.
    pub threads: usize,
    /// Operations of all threads together, except where the workload says it itself; as many as keys if not given.
    pub operations: Option<u64>,
    /// At most so long; the workload then goes on until the time is up unless `operations` is given too.
    pub seconds: Option<f64>,
}

/// Settings and what follows from them.
pub struct Session {
    pub(super) settings: Settings,
    pub(super) permutation: Permutation,
    pub(super) values: Values,
    pub(super) next_key: AtomicU64,
    zipfian: OnceLock<Zipfian>,
}

impl Session {
    /// A session on a store with nothing in it.
    pub fn new(settings: Settings) -> Result<Self, String> {
        if settings.keys == 0 || settings.key_bytes == 0 {
            return Err("there have to be keys, and they have to have a length".into());
        }
        let digits = 8 * settings.key_bytes.min(8) as u32;
        if digits < 64 && settings.keys >> digits != 0 {
            return Err(format!(
                "{} keys do not fit into {} bytes each",
                settings.keys, settings.key_bytes
            ));
        }
        Ok(Self {
            permutation: Permutation::new(settings.keys, mix(settings.seed)),
            values: Values::new(settings.value_bytes, mix(settings.seed ^ 1)),
            next_key: AtomicU64::new(settings.keys),
            zipfian: OnceLock::new(),
            settings,
        })
    }

    pub(super) fn zipfian(&self) -> &Zipfian {
        self.zipfian
            .get_or_init(|| Zipfian::new(self.settings.keys, Zipfian::THETA))
    }

    /// How many operations a workload will take, unless time runs out first.
    #[must_use]
    pub fn operations(&self, workload: Workload, extent: &Extent) -> u64 {
        let keys = self.settings.keys;
        match workload {
            _ if workload.fills() => keys,
            Workload::ReadSeq => keys * extent.threads as u64,
            Workload::DeleteRandom => extent.operations.unwrap_or(keys).min(keys),
            _ => match (extent.operations, extent.seconds) {
                (Some(operations), _) => operations,
                (None, Some(_)) => u64::MAX,
                (None, None) => keys,
            },
        }
    }

    /// Runs one workload; a fill expects an empty store. `progress` hears how many operations are done.
    pub fn run(
        &self,
        target: &dyn Target,
        directory: &Path,
        workload: Workload,
        extent: &Extent,
        progress: &mut dyn FnMut(u64),
    ) -> Result<PhaseReport, String> {
        if extent.threads == 0 {
            return Err("there has to be a thread".into());
        }
        if workload.fills() {
            self.next_key.store(self.settings.keys, Ordering::Relaxed);
        }
        if workload.is_skewed() {
            self.zipfian();
        }
        let written_before = process::bytes_written();
        let stats_before = target.write_stats();
        let shared = Shared {
            session: self,
            target,
            workload,
            start: Instant::now(),
            stop: AtomicBool::new(false),
            done: AtomicU64::new(0),
            limit_ns: extent
                .seconds
                .filter(|_| !workload.fills())
                .map(|seconds| (seconds * 1e9) as u64),
        };
        let (tallies, background) = self.run_threads(&shared, extent, progress)?;

        let settling = Instant::now();
        if workload.writes() {
            target.settle()?;
        }
        let mut report = self.summarise(&shared, tallies, background)?;
        report.settle_seconds = settling.elapsed().as_secs_f64();
        report.written_bytes = process::bytes_written().saturating_sub(written_before);
        report.write_stats = difference(stats_before, target.write_stats());
        report.disk_bytes = process::disk_bytes(directory);
        report.peak_resident_bytes = process::peak_resident_bytes();
        Ok(report)
    }

    fn run_threads(
        &self,
        shared: &Shared<'_>,
        extent: &Extent,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(Vec<Tally>, Option<Tally>), String> {
        let operations = self.operations(shared.workload, extent);
        let threads = extent.threads as u64;
        let seed = mix(self.settings.seed ^ ((shared.workload as u64 + 1) << 32));
        let waiting = thread::current();
        thread::scope(|scope| {
            let spawn = |workload, index: u64, share| {
                let waiting = waiting.clone();
                scope.spawn(move || {
                    let result = Worker::new(shared, workload, mix(seed ^ index)).run(share);
                    if result.is_err() {
                        shared.stop.store(true, Ordering::Relaxed);
                    }
                    waiting.unpark();
                    result
                })
            };
            let workers = (0..threads)
                .map(|index| {
                    let place = |index| {
                        (u128::from(operations) * u128::from(index) / u128::from(threads)) as u64
                    };
                    spawn(shared.workload, index, place(index)..place(index + 1))
                })
                .collect::<Vec<_>>();
            let writer = (shared.workload == Workload::ReadWhileWriting)
                .then(|| spawn(Workload::Overwrite, threads, 0..u64::MAX));

            while !workers.iter().all(thread::ScopedJoinHandle::is_finished) {
                thread::park_timeout(PROGRESS_EVERY);
                progress(shared.done.load(Ordering::Relaxed));
            }
            shared.stop.store(true, Ordering::Relaxed);
            let join = |worker: thread::ScopedJoinHandle<'_, Result<Tally, String>>| {
                worker
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            let tallies = workers.into_iter().map(join).collect::<Result<_, _>>()?;
            Ok((tallies, writer.map(join).transpose()?))
        })
    }

    fn summarise(
        &self,
        shared: &Shared<'_>,
        tallies: Vec<Tally>,
        background: Option<Tally>,
    ) -> Result<PhaseReport, String> {
        let sum = |field: fn(&Tally) -> u64| tallies.iter().map(field).sum::<u64>();
        let end_ns = tallies
            .iter()
            .map(|tally| tally.end_ns)
            .max()
            .unwrap_or(0)
            .max(1);
        let seconds = end_ns as f64 / 1e9;
        let operations = sum(|tally| tally.operations);
        let written = sum(|tally| tally.written_bytes);
        let read = sum(|tally| tally.read_bytes);
        let (mut reads, mut writes) = (empty_histogram(), empty_histogram());
        for tally in tallies.iter().chain(&background) {
            reads.add(&tally.reads).map_err(|error| error.to_string())?;
            writes
                .add(&tally.writes)
                .map_err(|error| error.to_string())?;
        }
        let mixes = shared.workload.mixes();
        let (read_latency, write_latency) = (Latency::of(&reads), Latency::of(&writes));
        if background.is_none() {
            reads.add(&writes).map_err(|error| error.to_string())?;
        }
        let background_writes = background.as_ref().map_or(0, |tally| tally.operations);
        let background_bytes = background.as_ref().map_or(0, |tally| tally.written_bytes);
        let found = sum(|tally| tally.found);
        let threads = tallies.len();
        let gaps = gaps::common(
            tallies.into_iter().map(|tally| tally.gaps).collect(),
            end_ns,
        );
        let window_ns = self.settings.stall_window_ms * 1_000_000;
        let lengths = || gaps.iter().map(|(from, to)| to - from);
        Ok(PhaseReport {
            target: shared.target.name().to_owned(),
            workload: shared.workload,
            threads,
            operations,
            found,
            seconds,
            operations_per_second: operations as f64 / seconds,
            megabytes_per_second: (read + written) as f64 / seconds / 1e6,
            latency: Latency::of(&reads),
            read_latency: read_latency.filter(|_| mixes),
            write_latency: write_latency.filter(|_| mixes),
            background_writes,
            longest_gap_ms: lengths().max().unwrap_or(0) as f64 / 1e6,
            stalls: lengths().filter(|length| *length >= window_ns).count() as u64,
            stall_window_ms: self.settings.stall_window_ms,
            settle_seconds: 0.0,
            user_bytes: written + background_bytes,
            written_bytes: 0,
            write_stats: None,
            disk_bytes: 0,
            peak_resident_bytes: 0,
        })
    }
}

fn empty_histogram() -> Histogram<u64> {
    Histogram::new(3).expect("three significant digits are allowed")
}

fn difference(before: Option<WriteStats>, after: Option<WriteStats>) -> Option<WriteStats> {
    let (before, after) = (before?, after?);
    Some(WriteStats {
        log_bytes: after.log_bytes.saturating_sub(before.log_bytes),
        table_bytes: after.table_bytes.saturating_sub(before.table_bytes),
    })
}

#[cfg(test)]
mod tests {
    use super::super::model::Model;
    use super::super::workload::ALL;
    use super::*;

    fn session() -> Session {
        Session::new(Settings {
            keys: 1000,
            key_bytes: 16,
            value_bytes: 100,
            seed: 5,
            stall_window_ms: 100,
        })
        .unwrap()
    }

    fn run(session: &Session, model: &Model, workload: Workload, threads: usize) -> PhaseReport {
        let extent = Extent {
            threads,
            operations: None,
            seconds: None,
        };
        session
            .run(model, Path::new("nowhere"), workload, &extent, &mut |_| ())
            .unwrap()
    }

    #[test]
    fn every_workload_runs_on_one_thread_and_on_four() {
        for threads in [1, 4] {
            for (workload, _) in ALL {
                let (session, model) = (session(), Model::default());
                if !workload.fills() {
                    run(&session, &model, Workload::FillRandom, threads);
                }
                let report = run(&session, &model, workload, threads);
                let scans = u64::from(workload == Workload::ReadSeq);
                assert_eq!(
                    report.operations,
                    1000 * (1 + scans * (threads as u64 - 1)),
                    "{workload}"
                );
            }
        }
    }

    #[test]
    fn a_random_fill_writes_every_key_so_that_every_read_finds_one() {
        let (session, model) = (session(), Model::default());
        let fill = run(&session, &model, Workload::FillRandom, 3);
        assert_eq!(fill.user_bytes, 1000 * 116);
        for workload in [
            Workload::ReadRandom,
            Workload::ReadSeq,
            Workload::SeekRandom,
            Workload::YcsbC,
        ] {
            assert_eq!(run(&session, &model, workload, 1).found, 1000, "{workload}");
        }
        assert_eq!(run(&session, &model, Workload::ReadMissing, 1).found, 0);
    }

    #[test]
    fn deleting_all_keys_leaves_none() {
        let (session, model) = (session(), Model::default());
        run(&session, &model, Workload::FillSeq, 2);
        run(&session, &model, Workload::DeleteRandom, 2);
        assert_eq!(run(&session, &model, Workload::ReadRandom, 1).found, 0);
    }

    #[test]
    fn a_time_limit_ends_a_workload() {
        let (session, model) = (session(), Model::default());
        run(&session, &model, Workload::FillSeq, 1);
        let extent = Extent {
            threads: 2,
            operations: None,
            seconds: Some(0.05),
        };
        let report = session
            .run(
                &model,
                Path::new("nowhere"),
                Workload::ReadWhileWriting,
                &extent,
                &mut |_| (),
            )
            .unwrap();
        assert!(report.seconds >= 0.05 && report.operations > 0);
        assert!(report.background_writes > 0);
    }

    #[test]
    fn keys_too_many_for_their_length_are_refused() {
        let settings = Settings {
            keys: 257,
            key_bytes: 1,
            ..session().settings.clone()
        };
        assert!(Session::new(settings).is_err());
    }
}

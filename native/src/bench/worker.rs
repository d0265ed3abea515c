//! One thread of a phase: chooses keys, does the operations, keeps the time.
//!
//! It reads the clock once an operation, so the time of an operation includes the choice of its key.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use hdrhistogram::Histogram;

use super::driver::Session;
use super::gaps::Gaps;
use super::keys::{Random, write_key};
use super::target::Target;
use super::workload::Workload;

/// How many operations pass between two reports of progress, or pairs of a scan between two looks at the clock.
const STRIDE: u64 = 256;
const PAIRS_PER_SEEK: u64 = 10;
const LONGEST_YCSB_SCAN: u64 = 100;
const LONGEST_LATENCY_NS: u64 = 600_000_000_000;

/// What the threads of a phase share.
pub(super) struct Shared<'a> {
    pub session: &'a Session,
    pub target: &'a dyn Target,
    pub workload: Workload,
    pub start: Instant,
    pub stop: AtomicBool,
    pub done: AtomicU64,
    /// Stop after so many nanoseconds.
    pub limit_ns: Option<u64>,
}

/// What a thread found out.
pub(super) struct Tally {
    pub operations: u64,
    pub found: u64,
    pub read_bytes: u64,
    pub written_bytes: u64,
    pub reads: Histogram<u64>,
    pub writes: Histogram<u64>,
    pub gaps: Gaps,
    pub end_ns: u64,
}

pub(super) struct Worker<'a> {
    shared: &'a Shared<'a>,
    workload: Workload,
    random: Random,
    key: Vec<u8>,
    out: Vec<u8>,
    value_at: usize,
    last_ns: u64,
    tally: Tally,
}

enum Kind {
    Read,
    Write,
}

impl<'a> Worker<'a> {
    pub(super) fn new(shared: &'a Shared<'a>, workload: Workload, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let histogram = || {
            Histogram::new_with_bounds(1, LONGEST_LATENCY_NS, 3)
                .expect("the bounds are constants and in order")
        };
        Self {
            value_at: shared.session.values.start(&mut random),
            shared,
            workload,
            random,
            key: Vec::new(),
            out: Vec::new(),
            last_ns: 0,
            tally: Tally {
                operations: 0,
                found: 0,
                read_bytes: 0,
                written_bytes: 0,
                reads: histogram(),
                writes: histogram(),
                gaps: Gaps::default(),
                end_ns: 0,
            },
        }
    }

    /// Does the operations of a share of the workload.
    pub(super) fn run(mut self, share: std::ops::Range<u64>) -> Result<Tally, String> {
        self.last_ns = self.now_ns();
        if self.workload == Workload::ReadSeq {
            self.walk_over_everything()?;
        } else {
            for place in share {
                let kind = self.step(place)?;
                self.tally.operations += 1;
                if self.finish_operation(kind) {
                    break;
                }
            }
        }
        self.shared
            .done
            .fetch_add(self.tally.operations % STRIDE, Ordering::Relaxed);
        self.tally.end_ns = self.last_ns;
        self.tally.gaps.finish(self.last_ns);
        Ok(self.tally)
    }

    fn now_ns(&self) -> u64 {
        self.shared.start.elapsed().as_nanos() as u64
    }

    /// Takes the time; true when the phase is over.
    fn finish_operation(&mut self, kind: Kind) -> bool {
        let now = self.now_ns();
        let histogram = match kind {
            Kind::Read => &mut self.tally.reads,
            Kind::Write => &mut self.tally.writes,
        };
        histogram.saturating_record(now - self.last_ns);
        self.note_progress(now);
        self.shared.limit_ns.is_some_and(|limit| now >= limit)
            || self.shared.stop.load(Ordering::Relaxed)
    }

    fn note_progress(&mut self, now: u64) {
        self.tally.gaps.note(self.last_ns, now);
        self.last_ns = now;
        if self.tally.operations.is_multiple_of(STRIDE) {
            self.shared.done.fetch_add(STRIDE, Ordering::Relaxed);
        }
    }

    fn step(&mut self, place: u64) -> Result<Kind, String> {
        use Workload::*;
        let session = self.shared.session;
        match self.workload {
            FillSeq => self.put(place),
            FillRandom => self.put(session.permutation.at(place)),
            Overwrite => {
                let number = self.uniform();
                self.put(number)
            }
            ReadRandom | ReadWhileWriting => {
                let number = self.uniform();
                self.get(number)
            }
            ReadHot => {
                let number = self.random.below(session.settings.keys.div_ceil(100));
                self.get(number)
            }
            ReadMissing => self.get_missing(),
            SeekRandom => {
                let number = self.uniform();
                self.seek(number, PAIRS_PER_SEEK)
            }
            DeleteRandom => self.delete(session.permutation.at(place)),
            _ => self.step_of_ycsb(),
        }
    }

    fn step_of_ycsb(&mut self) -> Result<Kind, String> {
        use Workload::*;
        let reads = self.random.below(100) < self.workload.reads_of_100();
        let inserts = matches!(self.workload, YcsbD | YcsbE);
        if !reads && inserts {
            let number = self.shared.session.next_key.fetch_add(1, Ordering::Relaxed);
            return self.put(number);
        }
        let number = self.skewed();
        match (self.workload, reads) {
            (YcsbE, _) => {
                let pairs = 1 + self.random.below(LONGEST_YCSB_SCAN);
                self.seek(number, pairs)
            }
            (_, true) => self.get(number),
            (YcsbF, false) => {
                self.get(number)?;
                self.put(number)
            }
            (_, false) => self.put(number),
        }
    }

    fn uniform(&mut self) -> u64 {
        self.random.below(self.shared.session.settings.keys)
    }

    /// A key by a zipfian choice: of the latest for ycsb-d, of any, scattered, for the others.
    fn skewed(&mut self) -> u64 {
        let session = self.shared.session;
        let rank = session.zipfian().next(&mut self.random);
        if self.workload == Workload::YcsbD {
            let last = session.next_key.load(Ordering::Relaxed) - 1;
            last.saturating_sub(rank)
        } else {
            session.permutation.at(rank.min(session.settings.keys - 1))
        }
    }

    fn key(&mut self, number: u64) {
        write_key(
            number,
            self.shared.session.settings.key_bytes,
            &mut self.key,
        );
    }

    fn put(&mut self, number: u64) -> Result<Kind, String> {
        self.key(number);
        let value = self.shared.session.values.next(&mut self.value_at);
        self.shared.target.put(&self.key, value)?;
        self.tally.written_bytes += (self.key.len() + value.len()) as u64;
        Ok(Kind::Write)
    }

    fn delete(&mut self, number: u64) -> Result<Kind, String> {
        self.key(number);
        self.shared.target.delete(&self.key)?;
        self.tally.written_bytes += self.key.len() as u64;
        Ok(Kind::Write)
    }

    fn get(&mut self, number: u64) -> Result<Kind, String> {
        self.key(number);
        self.read_key()
    }

    /// As db_bench has it: a key that is there, and one more byte.
    fn get_missing(&mut self) -> Result<Kind, String> {
        let number = self.uniform();
        self.key(number);
        self.key.push(b'.');
        self.read_key()
    }

    fn read_key(&mut self) -> Result<Kind, String> {
        self.out.clear();
        let out = &mut self.out;
        let mut copy = |value: &[u8]| out.extend_from_slice(value);
        if self.shared.target.get(&self.key, &mut copy)? {
            self.tally.found += 1;
            self.tally.read_bytes += (self.key.len() + self.out.len()) as u64;
        }
        Ok(Kind::Read)
    }

    fn seek(&mut self, number: u64, limit: u64) -> Result<Kind, String> {
        self.key(number);
        let mut bytes = 0;
        let mut look = |key: &[u8], value: &[u8]| bytes += touch(key, value);
        let pairs = self.shared.target.scan(Some(&self.key), limit, &mut look)?;
        self.tally.found += u64::from(pairs > 0);
        self.tally.read_bytes += bytes;
        Ok(Kind::Read)
    }

    /// Single pairs pass too fast to time, so there are no percentiles.
    fn walk_over_everything(&mut self) -> Result<(), String> {
        let shared = self.shared;
        let (mut pairs, mut bytes) = (0u64, 0);
        let mut look = |key: &[u8], value: &[u8]| {
            bytes += touch(key, value);
            pairs += 1;
            if pairs.is_multiple_of(STRIDE) {
                let now = shared.start.elapsed().as_nanos() as u64;
                self.tally.gaps.note(self.last_ns, now);
                self.last_ns = now;
                shared.done.fetch_add(STRIDE, Ordering::Relaxed);
            }
        };
        shared.target.scan(None, u64::MAX, &mut look)?;
        self.last_ns = self.now_ns();
        self.tally.operations = pairs;
        self.tally.found = pairs;
        self.tally.read_bytes = bytes;
        Ok(())
    }
}

/// Reads a byte of the value, so that a store that hands out what it has not loaded gains nothing.
fn touch(key: &[u8], value: &[u8]) -> u64 {
    std::hint::black_box(value.last());
    (key.len() + value.len()) as u64
}

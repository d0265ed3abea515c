//! What one load costs that waits for the one before and misses every cache: the yardstick for hot gets.

use std::hint::black_box;
use std::time::Instant;

use trilith_server::bench::keys::Random;

/// Measure dependent random loads.
#[derive(Clone, Debug, clap::Args)]
pub struct RandomLoadArgs {
    /// How much memory the loads are spread over.
    #[arg(long, default_value = "256MiB", value_parser = trilith_server::bench::command::parse_bytes)]
    pub bytes: u64,

    /// Loads a round.
    #[arg(long, default_value_t = 5_000_000)]
    pub loads: u64,
}

const LINE_BYTES: usize = 64;
const HUGE_PAGE_BYTES: usize = 2 << 20;

pub fn run(args: &RandomLoadArgs) -> Result<(), String> {
    for huge in [true, false] {
        let pages = if huge {
            "huge pages advised"
        } else {
            "small pages"
        };
        let cost = Chain::new(args.bytes as usize, huge)?.nanoseconds_a_load(args.loads);
        println!(
            "one dependent random load over {} bytes, {pages}: {cost:.1} ns",
            args.bytes
        );
    }
    Ok(())
}

/// Memory in which every cache line holds the number of the next, all in one cycle.
pub struct Chain {
    memory: *mut u64,
    mapped_bytes: usize,
    lines: usize,
}

impl Chain {
    pub fn new(bytes: usize, huge: bool) -> Result<Self, String> {
        let mapped_bytes =
            bytes.max(LINE_BYTES * 2).next_multiple_of(HUGE_PAGE_BYTES) + HUGE_PAGE_BYTES;
        // SAFETY: a new private mapping that belongs to nothing else; the advice changes no contents.
        let memory = unsafe {
            let memory = libc::mmap(
                std::ptr::null_mut(),
                mapped_bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            );
            if memory == libc::MAP_FAILED {
                return Err(std::io::Error::last_os_error().to_string());
            }
            let advice = if huge {
                libc::MADV_HUGEPAGE
            } else {
                libc::MADV_NOHUGEPAGE
            };
            libc::madvise(memory, mapped_bytes, advice);
            memory.cast::<u64>()
        };
        let chain = Self {
            memory,
            mapped_bytes,
            lines: bytes / LINE_BYTES,
        };
        chain.link();
        Ok(chain)
    }

    /// Sattolo's shuffle: a permutation that is one cycle.
    fn link(&self) {
        let mut next = (0..self.lines as u32).collect::<Vec<_>>();
        let mut random = Random::new(9);
        for place in (1..next.len()).rev() {
            next.swap(place, random.below(place as u64) as usize);
        }
        for (line, next) in next.into_iter().enumerate() {
            // SAFETY: `line` is below `lines`, so it lies in the mapping.
            unsafe { *self.memory.add(line * LINE_BYTES / 8) = u64::from(next) };
        }
    }

    /// The best of three rounds, since others on the machine can only slow it down.
    pub fn nanoseconds_a_load(&self, loads: u64) -> f64 {
        let round = || {
            let start = Instant::now();
            let mut line = 0u64;
            for _ in 0..loads {
                // SAFETY: every line holds the number of a line.
                line = unsafe { *self.memory.add(line as usize * LINE_BYTES / 8) };
            }
            black_box(line);
            start.elapsed().as_nanos() as f64 / loads as f64
        };
        (0..3).map(|_| round()).fold(f64::INFINITY, f64::min)
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's and is used by nothing after it.
        unsafe { libc::munmap(self.memory.cast(), self.mapped_bytes) };
    }
}

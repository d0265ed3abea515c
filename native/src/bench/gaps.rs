//! The times in which nothing was completed, by any thread.

/// Shorter gaps are not kept.
pub const SHORTEST_NS: u64 = 1_000_000;

/// A span of time in nanoseconds since the phase began.
pub type Gap = (u64, u64);

/// One thread's gaps, in order.
#[derive(Debug, Default)]
pub struct Gaps(Vec<Gap>);

impl Gaps {
    /// Takes note of the time between two completed operations.
    pub fn note(&mut self, from_ns: u64, to_ns: u64) {
        if to_ns - from_ns >= SHORTEST_NS {
            self.0.push((from_ns, to_ns));
        }
    }

    /// A thread that has finished completes nothing more.
    pub fn finish(&mut self, thread_end_ns: u64) {
        self.0.push((thread_end_ns, u64::MAX));
    }
}

/// The gaps common to all threads, up to the end of the phase.
#[must_use]
pub fn common(threads: Vec<Gaps>, end_ns: u64) -> Vec<Gap> {
    let everything = vec![(0, end_ns)];
    threads
        .into_iter()
        .fold(everything, |common, gaps| intersect(&common, &gaps.0))
}

fn intersect(left: &[Gap], right: &[Gap]) -> Vec<Gap> {
    let (mut l, mut r) = (0, 0);
    let mut common = Vec::new();
    while l < left.len() && r < right.len() {
        let (from, to) = (left[l].0.max(right[r].0), left[l].1.min(right[r].1));
        if from < to && to - from >= SHORTEST_NS {
            common.push((from, to));
        }
        if left[l].1 < right[r].1 {
            l += 1;
        } else {
            r += 1;
        }
    }
    common
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn gaps(spans_ms: &[Gap], end_ms: u64) -> Gaps {
        let mut gaps = Gaps::default();
        for (from, to) in spans_ms {
            gaps.note(from * MS, to * MS);
        }
        gaps.finish(end_ms * MS);
        gaps
    }

    #[test]
    fn only_what_all_threads_wait_through_is_a_stall() {
        let first = gaps(&[(10, 50), (60, 70)], 100);
        let second = gaps(&[(0, 20), (40, 65)], 100);
        let common = common(vec![first, second], 100 * MS);
        assert_eq!(
            common,
            [(10 * MS, 20 * MS), (40 * MS, 50 * MS), (60 * MS, 65 * MS)]
        );
    }

    #[test]
    fn a_thread_that_has_finished_does_not_hide_a_stall() {
        let first = gaps(&[], 10);
        let second = gaps(&[(20, 90)], 100);
        assert_eq!(common(vec![first, second], 100 * MS), [(20 * MS, 90 * MS)]);
    }
}

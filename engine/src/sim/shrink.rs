//! Making a failing run small: fewer faults, less time, the same seed.

use super::faults::Fault;
use super::report::Report;
use super::setup::Setup;
use super::simulation::Simulation;

/// Runs that are tried at most.
const TRIES_MOST: u32 = 200;

struct Shrinker<F> {
    tries: u32,
    told: F,
}

impl<F: FnMut(&Setup)> Shrinker<F> {
    fn fails(&mut self, setup: &Setup) -> Option<Report> {
        self.tries += 1;
        if self.tries > TRIES_MOST {
            return None;
        }
        let report = Simulation::new(setup.clone()).run(|_| {});
        let failed = !report.is_clean();
        if failed {
            (self.told)(setup);
        }
        failed.then_some(report)
    }
}

/// Drops faults from a failing run's schedule and shortens it as long as it fails. Tells each setup that still
/// does; gives the last, and its report. None if it does not fail at all.
pub fn shrink(setup: &Setup, told: impl FnMut(&Setup)) -> Option<(Setup, Report)> {
    let mut shrinker = Shrinker { tries: 0, told };
    let mut best = Setup {
        schedule: Some(setup.faults_to_come()),
        ..setup.clone()
    };
    let mut report = shrinker.fails(&best)?;
    loop {
        let before = size(&best);
        let cut_short = [
            Setup {
                millis: best.millis / 2,
                ..best.clone()
            },
            Setup {
                millis: best.millis * 4 / 5,
                ..best.clone()
            },
        ];
        for shorter in cut_short.into_iter().map(within) {
            if shorter.millis >= 500
                && let Some(found) = shrinker.fails(&shorter)
            {
                (best, report) = (shorter, found);
                break;
            }
        }
        let mut part = best
            .schedule
            .as_ref()
            .map_or(0, Vec::len)
            .div_ceil(2)
            .max(1);
        loop {
            let mut start = 0;
            while start < best.schedule.as_ref().map_or(0, Vec::len) {
                let fewer = without(&best, start, part);
                match shrinker.fails(&fewer) {
                    Some(found) => (best, report) = (fewer, found),
                    None => start += part,
                }
            }
            if part == 1 {
                break;
            }
            part = part.div_ceil(2);
        }
        if size(&best) == before || shrinker.tries > TRIES_MOST {
            return Some((best, report));
        }
    }
}

fn size(setup: &Setup) -> (usize, u64) {
    (setup.schedule.as_ref().map_or(0, Vec::len), setup.millis)
}

/// Without the faults that come after its end.
fn within(setup: Setup) -> Setup {
    let mut faults: Vec<Fault> = setup.schedule.clone().unwrap_or_default();
    faults.retain(|fault| fault.at_ms < setup.millis);
    Setup {
        schedule: Some(faults),
        ..setup
    }
}

fn without(setup: &Setup, start: usize, count: usize) -> Setup {
    let mut faults = setup.schedule.clone().unwrap_or_default();
    let end = (start + count).min(faults.len());
    faults.drain(start..end);
    Setup {
        schedule: Some(faults),
        ..setup.clone()
    }
}

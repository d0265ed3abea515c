//! Where a test has this process killed.
//!
//! `TRILITH_KILL_AT=commit:3` in the environment ends the process at the third commit, in the middle of
//! it, by SIGKILL: nothing is flushed, nothing is dropped, no handler runs. Kills from outside land between
//! two steps of a commit only by rare luck. Without the variable nothing here does anything.

use std::io::Write;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use trilith::Object;

use crate::sys;

const VARIABLE: &str = "TRILITH_KILL_AT";

/// The places, named as in the variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Point {
    /// A flush has written half of a piece of a table.
    Flush,
    /// A compaction has.
    Compaction,
    /// Half of what is written to the log at once is written.
    Log,
    /// A segment of the log has its name and no byte yet.
    Rotation,
    /// META.new is written and synced, and META still the old one.
    Prepare,
    /// META is the new one, and its name not synced.
    Commit,
    /// A file, or a folder, has moved while a recovered store is put in its place.
    Exchange,
}

struct Plan {
    point: Point,
    left: AtomicU64,
}

static PLAN: LazyLock<Option<Plan>> =
    LazyLock::new(|| std::env::var(VARIABLE).ok().and_then(|text| parse(&text)));

fn parse(text: &str) -> Option<Plan> {
    let (name, count) = text.split_once(':')?;
    let point = match name {
        "flush" => Point::Flush,
        "compaction" => Point::Compaction,
        "log" => Point::Log,
        "rotation" => Point::Rotation,
        "prepare" => Point::Prepare,
        "commit" => Point::Commit,
        "exchange" => Point::Exchange,
        _ => return None,
    };
    let left = AtomicU64::new(count.parse().ok()?);
    Some(Plan { point, left })
}

/// Kills the process if it is to end here.
#[inline]
pub(super) fn reach(point: Point) {
    if is_due(point) {
        die(point);
    }
}

/// Before `bytes` are written to `object`: if the process is to end within, writes half of them by `write`
/// and kills it.
#[inline]
pub(super) fn reach_write(object: &Object, bytes: &[u8], write: impl FnOnce(&[u8])) {
    if PLAN.is_none() {
        return;
    }
    if let Some(point) = point_of(object)
        && is_due(point)
    {
        write(&bytes[..bytes.len() / 2]);
        die(point);
    }
}

/// Which point a write belongs to: tables are written by the threads of flushes and compactions.
fn point_of(object: &Object) -> Option<Point> {
    match object {
        Object::Segment(_) => Some(Point::Log),
        Object::Table(_) => match thread::current().name()? {
            "trilith-flush" => Some(Point::Flush),
            "trilith-compact" => Some(Point::Compaction),
            _ => None,
        },
        Object::Archive(_) => None,
    }
}

/// Counts this time; true when it is the one.
fn is_due(point: Point) -> bool {
    match &*PLAN {
        Some(plan) if plan.point == point => plan.left.fetch_sub(1, Ordering::Relaxed) == 1,
        _ => false,
    }
}

fn die(point: Point) -> ! {
    // Straight to the descriptor: whoever planned this looks for it.
    let _told = writeln!(std::io::stderr(), "killed at {point:?}");
    sys::kill_this_process()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_a_point_and_a_count() {
        let plan = parse("commit:3").unwrap();
        assert_eq!((plan.point, plan.left.into_inner()), (Point::Commit, 3));
        for text in ["", "commit", "commit:", "commit:x", "lunch:1"] {
            assert!(parse(text).is_none(), "{text:?}");
        }
    }
}

//! Augmenting paths: how room somewhere else makes room here.
//!
//! A path starts at an arc that lacks something and ends at a member with room for it. In between
//! members that are full take over one thing and pass on another.

use std::collections::VecDeque;

use hashbrown::{HashMap, HashSet};

type Hasher = foldhash::fast::FixedState;

/// A point that paths lead through. What arrives there is one thing too many for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Point {
    /// An arc, before it is decided in which zone.
    Arc(usize),
    /// An arc's part in a zone.
    Spot { arc: usize, zone: usize },
    /// A member.
    Member(usize),
}

/// Points that are known to lead nowhere at cost 0.
pub(super) type DeadEnds = HashSet<Point, Hasher>;

/// A way to pass something on.
pub(super) struct Step {
    pub to: Point,
    /// 1 if it gives a member what that one did not have in the old table, -1 if it takes that back.
    pub cost: i32,
}

/// The ways that the present state of affairs leaves open.
pub(super) trait Ways {
    /// Appends the steps that are possible from `point`: all, or those that cost nothing.
    fn steps(&self, point: Point, free_only: bool, out: &mut Vec<Step>);

    /// Whether a path can end here.
    fn has_room(&self, point: Point) -> bool;
}

/// A path from `start` to room that costs at most `limit`, if there is one.
///
/// Paths taken one by one, none before all cheaper ones are used up, add up to the least cost there is
/// (successive shortest paths). So callers raise the limit from 0.
///
/// At limit 0 nothing has moved yet, so no step wins a move back; and what leads nowhere then is led to by
/// no path, so no path changes it. It is added to `dead_ends`, where no later search need go.
pub(super) fn find(
    ways: &impl Ways,
    start: Point,
    limit: i32,
    dead_ends: &mut DeadEnds,
) -> Option<Vec<Point>> {
    let mut reached = Reached::default();
    reached.insert(start, (0, start));
    // Cheapest first, then shortest, more or less; a point that turns out cheaper is visited again.
    let (mut now, mut later) = (VecDeque::from([(start, 0)]), VecDeque::new());
    let mut steps = Vec::new();
    loop {
        let Some((point, cost)) = now.pop_front() else {
            if later.is_empty() {
                break;
            }
            std::mem::swap(&mut now, &mut later);
            continue;
        };
        if reached[&point].0 < cost {
            continue;
        }
        ways.steps(point, limit == 0, &mut steps);
        for step in steps.drain(..) {
            let (to, total) = (step.to, cost + step.cost);
            if limit == 0 && dead_ends.contains(&to) {
                continue;
            }
            if let Some(known) = reached.get(&to)
                && (known.0 <= total || trace(&reached, point).contains(&to))
            {
                continue;
            }
            reached.insert(to, (total, point));
            if total <= limit && ways.has_room(to) {
                return Some(trace(&reached, to));
            }
            let queue = if step.cost > 0 { &mut later } else { &mut now };
            queue.push_back((to, total));
        }
    }
    if limit == 0 {
        dead_ends.extend(reached.into_keys());
    }
    None
}

/// What it costs to get to a point, and from which other one. The start comes from itself.
type Reached = HashMap<Point, (i32, Point), Hasher>;

/// The points up to `end`, from the start.
fn trace(reached: &Reached, end: Point) -> Vec<Point> {
    let mut path = vec![end];
    let mut point = end;
    while reached[&point].1 != point {
        point = reached[&point].1;
        path.push(point);
    }
    path.reverse();
    path
}

//! Copies: who holds each arc. Old copies stay where they fit, and each missing one gets a path.

use super::path::{self, DeadEnds, Point, Step, Ways};
use super::shares::{self, CopyShares};
use super::{OldRow, Roster};

/// The holders of each arc, `copies` of them, in no order that matters.
pub(super) fn assign(roster: &Roster, old: &[OldRow], copies: usize) -> Vec<Vec<usize>> {
    let mut draft = Draft::new(roster, old, copies);
    draft.shed_by_arc();
    draft.shed_by_member();
    // No path gives more than one copy to each member, so none costs more than this.
    let is_complete = (0..=roster.len() as i32).any(|limit| draft.fill(limit));
    debug_assert!(is_complete);
    draft.rows
}

struct Draft<'a> {
    roster: &'a Roster,
    old: &'a [OldRow],
    copies: usize,
    shares: CopyShares,
    /// Zones that hold copies of every arc: never more than there are copies.
    required_zones: Vec<usize>,
    /// The members that hold copies of each arc, and the arcs of which each member does.
    rows: Vec<Vec<usize>>,
    held: Vec<Vec<usize>>,
}

impl<'a> Draft<'a> {
    fn new(roster: &'a Roster, old: &'a [OldRow], copies: usize) -> Self {
        let shares = shares::of_copies(roster, old, copies);
        let rows: Vec<Vec<usize>> = old.iter().map(|row| row.holders.clone()).collect();
        let mut held = vec![Vec::new(); roster.len()];
        for (arc, row) in rows.iter().enumerate() {
            row.iter().for_each(|&member| held[member].push(arc));
        }
        Self {
            required_zones: (0..shares.zones.len())
                .filter(|&zone| *shares.zones[zone].start() > 0)
                .collect(),
            roster,
            old,
            copies,
            shares,
            rows,
            held,
        }
    }

    fn zone_count(&self, arc: usize, zone: usize) -> usize {
        let in_zone = |&&member: &&usize| self.roster.zones[member] == zone;
        self.rows[arc].iter().filter(in_zone).count()
    }

    /// How many copies of the arc a zone still has to get.
    fn zone_lack(&self, arc: usize, zone: usize) -> usize {
        let least = *self.shares.zones[zone].start();
        least.saturating_sub(self.zone_count(arc, zone))
    }

    /// The copies of an arc, counting those that zones still have to get.
    fn promised(&self, arc: usize) -> usize {
        let lacks = self.required_zones.iter();
        self.rows[arc].len() + lacks.map(|&zone| self.zone_lack(arc, zone)).sum::<usize>()
    }

    fn room(&self, member: usize) -> usize {
        self.shares.members[member].saturating_sub(self.held[member].len())
    }

    /// The moves that it takes to have the member hold the arc.
    fn cost(&self, arc: usize, member: usize) -> i32 {
        i32::from(!self.old[arc].holders.contains(&member))
    }

    fn add(&mut self, arc: usize, member: usize) {
        self.rows[arc].push(member);
        self.held[member].push(arc);
    }

    fn remove(&mut self, arc: usize, member: usize) {
        self.rows[arc].retain(|&other| other != member);
        self.held[member].retain(|&other| other != arc);
    }

    /// Drops copies that an arc has too many of, altogether or in one zone.
    fn shed_by_arc(&mut self) {
        for arc in 0..self.rows.len() {
            while let Some(member) = self.surplus_holder(arc) {
                self.remove(arc, member);
            }
        }
    }

    /// Who should give its copy of the arc up, if anyone has to: rather who has more than its share.
    fn surplus_holder(&self, arc: usize) -> Option<usize> {
        let zone_is = |too_many: fn(usize, usize, usize) -> bool, member: usize| {
            let zone = self.roster.zones[member];
            let bounds = &self.shares.zones[zone];
            too_many(self.zone_count(arc, zone), *bounds.start(), *bounds.end())
        };
        let too_many: fn(usize, usize, usize) -> bool = if self.promised(arc) > self.copies {
            |count, least, _| count > least
        } else {
            |count, _, most| count > most
        };
        let candidates = self.rows[arc].iter().copied();
        candidates
            .filter(|&member| zone_is(too_many, member))
            .max_by_key(|&member| {
                let surplus = self.held[member].len() as i64 - self.shares.members[member] as i64;
                let is_master = self.old[arc].master == Some(member);
                (surplus, !is_master, self.roster.scatter(arc, member))
            })
    }

    /// Drops copies that a member has beyond its share.
    ///
    /// Where it leads too many arcs as well it drops some that it leads, so that whoever gets the copy
    /// can take the lead with it; else it keeps what it leads. Of these it drops copies of arcs
    /// that have most left, so that no arc has to look for several at once.
    fn shed_by_member(&mut self) {
        for member in 0..self.roster.len() {
            let share = self.shares.members[member];
            let surplus = self.held[member].len().saturating_sub(share);
            if surplus == 0 {
                continue;
            }
            let mut arcs = std::mem::take(&mut self.held[member]);
            arcs.sort_by_cached_key(|&arc| {
                (self.rows[arc].len(), self.roster.scatter(arc, member))
            });
            let is_led = |&arc: &usize| self.old[arc].master == Some(member);
            let (mut led, mut followed): (Vec<usize>, Vec<usize>) =
                arcs.into_iter().partition(is_led);
            let fewest = surplus.saturating_sub(followed.len());
            let led_share = share.div_ceil(self.copies);
            let led_surplus = led.len().saturating_sub(led_share).clamp(fewest, surplus);
            let dropped = led.split_off(led.len() - led_surplus);
            let others = followed.split_off(followed.len() - (surplus - led_surplus));
            for arc in dropped.into_iter().chain(others) {
                self.rows[arc].retain(|&other| other != member);
            }
            led.append(&mut followed);
            self.held[member] = led;
        }
    }

    /// Finds members for missing copies by paths that cost at most `limit` moves: first for copies that
    /// a certain zone has to have, then for those that may be anywhere. Says whether none is missing.
    fn fill(&mut self, limit: i32) -> bool {
        let mut dead_ends = DeadEnds::default();
        for arc in 0..self.rows.len() {
            for at in 0..self.required_zones.len() {
                let zone = self.required_zones[at];
                let spot = Point::Spot { arc, zone };
                while self.zone_lack(arc, zone) > 0 && self.give(spot, limit, &mut dead_ends) {}
            }
        }
        for arc in 0..self.rows.len() {
            let point = Point::Arc(arc);
            while self.promised(arc) < self.copies && self.give(point, limit, &mut dead_ends) {}
        }
        self.rows.iter().all(|row| row.len() == self.copies)
    }

    /// Gives a copy that `point` lacks to a member, if a path within the limit leads to one.
    fn give(&mut self, point: Point, limit: i32, dead_ends: &mut DeadEnds) -> bool {
        if limit > 0
            && let Some((arc, member)) = self.freest(point)
        {
            self.add(arc, member);
            return true;
        }
        let Some(path) = path::find(self, point, limit, dead_ends) else {
            return false;
        };
        for step in path.windows(2) {
            match *step {
                [
                    Point::Arc(arc) | Point::Spot { arc, .. },
                    Point::Member(member),
                ] => {
                    self.add(arc, member);
                }
                [Point::Member(member), Point::Spot { arc, .. }] => self.remove(arc, member),
                _ => {}
            }
        }
        true
    }

    /// The member with most room of those who can take the copy at once.
    fn freest(&self, point: Point) -> Option<(usize, usize)> {
        let (arc, only_zone) = match point {
            Point::Arc(arc) => (arc, None),
            Point::Spot { arc, zone } => (arc, Some(zone)),
            Point::Member(_) => return None,
        };
        let is_open = |member: usize| {
            let zone = self.roster.zones[member];
            match only_zone {
                Some(only) => zone == only,
                None => self.zone_count(arc, zone) < *self.shares.zones[zone].end(),
            }
        };
        (0..self.roster.len())
            .filter(|&member| self.room(member) > 0 && !self.rows[arc].contains(&member))
            .filter(|&member| is_open(member))
            .max_by_key(|&member| (self.room(member), self.roster.scatter(arc, member)))
            .map(|member| (arc, member))
    }

    /// The steps from an arc to those members of a zone that have no copy of it.
    fn steps_into(&self, zone: usize, arc: usize, free_only: bool, out: &mut Vec<Step>) {
        let mut push = |member: usize| {
            if self.roster.zones[member] == zone && !self.rows[arc].contains(&member) {
                let (to, cost) = (Point::Member(member), self.cost(arc, member));
                out.push(Step { to, cost });
            }
        };
        if free_only {
            self.old[arc].holders.iter().copied().for_each(&mut push);
        } else {
            self.roster.by_zone[zone]
                .iter()
                .copied()
                .for_each(&mut push);
        }
    }
}

/// The ways that a draft leaves open: an arc looks for a member in a zone that may have more of its copies,
/// or in the one zone where one is missing; a member that is full sends another of its copies back to
/// where that one's zone has to find a member for it, or else, if the zone can spare it, the arc.
impl Ways for Draft<'_> {
    fn steps(&self, point: Point, free_only: bool, out: &mut Vec<Step>) {
        match point {
            Point::Arc(arc) => {
                let zones = self.shares.zones.iter().enumerate();
                zones
                    .filter(|&(zone, bounds)| self.zone_count(arc, zone) < *bounds.end())
                    .for_each(|(zone, _)| self.steps_into(zone, arc, free_only, out));
            }
            Point::Spot { arc, zone } => {
                if self.zone_count(arc, zone) > *self.shares.zones[zone].start() {
                    let to = Point::Arc(arc);
                    out.push(Step { to, cost: 0 });
                }
                self.steps_into(zone, arc, free_only, out);
            }
            Point::Member(member) => {
                let zone = self.roster.zones[member];
                out.extend(self.held[member].iter().map(|&arc| Step {
                    to: Point::Spot { arc, zone },
                    cost: -self.cost(arc, member),
                }));
            }
        }
    }

    fn has_room(&self, point: Point) -> bool {
        matches!(point, Point::Member(member) if self.room(member) > 0)
    }
}

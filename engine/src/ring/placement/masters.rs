//! Masters: which of its holders leads each arc. Old masters stay where they fit, and each arc without
//! one gets a path.

use super::path::{self, DeadEnds, Point, Step, Ways};
use super::shares::{self, Ideal};
use super::{OldRow, Roster};

/// The master of each arc, one of its `rows`.
pub(super) fn assign(roster: &Roster, old: &[OldRow], rows: &[Vec<usize>]) -> Vec<usize> {
    let mut draft = Draft::new(roster, old, rows);
    draft.hand_over();
    let is_complete = (1..=roster.len() as i32).any(|limit| draft.fill(limit));
    debug_assert!(is_complete);
    let masters = draft.masters.iter().zip(rows);
    masters
        .map(|(master, row)| master.unwrap_or(row[0]))
        .collect()
}

struct Draft<'a> {
    roster: &'a Roster,
    old: &'a [OldRow],
    rows: &'a [Vec<usize>],
    ideals: Vec<Ideal>,
    /// How many arcs each member is to lead: the floor or the ceiling of its ideal. Not every choice
    /// of those who get the ceiling can be met, so a path may pass one on.
    shares: Vec<usize>,
    /// The master of each arc, and the arcs that each member is master of.
    masters: Vec<Option<usize>>,
    led: Vec<Vec<usize>>,
}

impl<'a> Draft<'a> {
    fn new(roster: &'a Roster, old: &'a [OldRow], rows: &'a [Vec<usize>]) -> Self {
        let still_holds =
            |(old, row): (&OldRow, &Vec<usize>)| old.master.filter(|master| row.contains(master));
        let masters: Vec<Option<usize>> = old.iter().zip(rows).map(still_holds).collect();
        let mut led = vec![Vec::new(); roster.len()];
        for (arc, master) in masters.iter().enumerate() {
            if let Some(master) = *master {
                led[master].push(arc);
            }
        }
        let held: Vec<usize> = led.iter().map(Vec::len).collect();
        let ideals = shares::of_masters(roster, rows, &held);
        Self {
            shares: shares::apportion(rows.len(), &ideals),
            roster,
            old,
            rows,
            ideals,
            masters,
            led,
        }
    }

    fn room(&self, member: usize) -> usize {
        self.shares[member].saturating_sub(self.led[member].len())
    }

    /// Whether the member's share is the ceiling of its ideal, not the floor.
    fn is_raised(&self, member: usize) -> bool {
        self.shares[member] > self.ideals[member].floor
    }

    /// The changes that it takes to have the member lead the arc.
    fn cost(&self, arc: usize, member: usize) -> i32 {
        i32::from(self.old[arc].master != Some(member))
    }

    fn appoint(&mut self, arc: usize, member: usize) {
        self.dismiss(arc);
        self.masters[arc] = Some(member);
        self.led[member].push(arc);
    }

    fn dismiss(&mut self, arc: usize) {
        if let Some(master) = self.masters[arc].take() {
            self.led[master].retain(|&other| other != arc);
        }
    }

    /// Takes from members what they lead beyond their share: first where another holder has room for it.
    fn hand_over(&mut self) {
        for member in 0..self.roster.len() {
            if self.led[member].len() <= self.shares[member] {
                continue;
            }
            let mut arcs = self.led[member].clone();
            arcs.sort_by_cached_key(|&arc| self.roster.scatter(arc, member));
            let mut surplus = arcs.len() - self.shares[member];
            for &arc in &arcs {
                if surplus > 0
                    && let Some(successor) = self.freest(arc)
                {
                    self.appoint(arc, successor);
                    surplus -= 1;
                }
            }
            arcs.retain(|&arc| self.masters[arc] == Some(member));
            arcs.truncate(surplus);
            arcs.into_iter().for_each(|arc| self.dismiss(arc));
        }
    }

    /// Finds masters for arcs that have none, by paths that change at most `limit` masters. Says whether
    /// every arc has one.
    fn fill(&mut self, limit: i32) -> bool {
        for arc in 0..self.rows.len() {
            if self.masters[arc].is_some() {
                continue;
            }
            if let Some(member) = self.freest(arc) {
                self.appoint(arc, member);
                continue;
            }
            let path = path::find(self, Point::Arc(arc), limit, &mut DeadEnds::default());
            for step in path.unwrap_or_default().windows(2) {
                match *step {
                    [Point::Arc(arc), Point::Member(member)] => self.appoint(arc, member),
                    [Point::Member(raised), Point::Member(lowered)] => {
                        self.shares[raised] += 1;
                        self.shares[lowered] -= 1;
                    }
                    _ => {}
                }
            }
        }
        self.masters.iter().all(Option::is_some)
    }

    /// The holder of the arc with most room to lead it.
    fn freest(&self, arc: usize) -> Option<usize> {
        let holders = self.rows[arc].iter().copied();
        holders
            .filter(|&member| self.room(member) > 0)
            .max_by_key(|&member| (self.room(member), self.roster.scatter(arc, member)))
    }
}

/// The ways that a draft leaves open: an arc looks for a master among its holders; a member that leads
/// its share gives up another arc, or takes over what a raised member has more than its floor.
impl Ways for Draft<'_> {
    fn steps(&self, point: Point, free_only: bool, out: &mut Vec<Step>) {
        match point {
            Point::Arc(arc) => {
                let is_other = |&member: &usize| self.masters[arc] != Some(member);
                let others = self.rows[arc].iter().copied().filter(is_other);
                out.extend(others.map(|member| Step {
                    to: Point::Member(member),
                    cost: self.cost(arc, member),
                }));
            }
            Point::Member(member) => {
                out.extend(self.led[member].iter().map(|&arc| Step {
                    to: Point::Arc(arc),
                    cost: -self.cost(arc, member),
                }));
                if self.ideals[member].rest > 0 && !self.is_raised(member) {
                    let raised = (0..self.roster.len()).filter(|&other| self.is_raised(other));
                    let to = raised.map(Point::Member);
                    out.extend(to.map(|to| Step { to, cost: 0 }));
                }
            }
            Point::Spot { .. } => {}
        }
        out.retain(|step| !free_only || step.cost == 0);
    }

    fn has_room(&self, point: Point) -> bool {
        matches!(point, Point::Member(member) if self.room(member) > 0)
    }
}

//! Shares: how many copies and masters each member is to have, and how many copies of an arc a zone.
//!
//! Ideals are fractions, kept as a floor and a remainder over a denominator that all have in common, so
//! that sums and comparisons are exact.

use std::cmp::Reverse;
use std::ops::RangeInclusive;

use super::{OldRow, Roster};

/// What somebody would have if things could be divided.
#[derive(Clone, Copy, Default)]
pub(super) struct Ideal {
    pub floor: usize,
    /// What the floor leaves, as the numerator over the common denominator.
    pub rest: u128,
    /// What there is at present.
    pub held: usize,
}

impl Ideal {
    fn new(whole: usize, numerator: u128, denominator: u128, held: usize) -> Self {
        Self {
            floor: whole + (numerator / denominator) as usize,
            rest: numerator % denominator,
            held,
        }
    }
}

/// Deals out `total`: to each the floor or the ceiling of its ideal. What the floors leave goes first
/// to those who hold more than their floor, as then nothing has to move, then by the largest remainder.
pub(super) fn apportion(total: usize, ideals: &[Ideal]) -> Vec<usize> {
    let mut shares: Vec<usize> = ideals.iter().map(|ideal| ideal.floor).collect();
    let left = total - shares.iter().sum::<usize>();
    let mut order: Vec<usize> = (0..ideals.len())
        .filter(|&at| ideals[at].rest > 0)
        .collect();
    order.sort_by_key(|&at| {
        let Ideal { floor, rest, held } = ideals[at];
        Reverse((held > floor, rest))
    });
    for at in order.into_iter().take(left) {
        shares[at] += 1;
    }
    shares
}

/// Weights, with those set apart whose weight entitles them to more than one copy of each arc: they
/// hold one of each, and the others share what is left.
struct Weights<'a> {
    all: &'a [u32],
    is_full: Vec<bool>,
    /// Copies of each arc that the others share, and their weight, never 0.
    rest_copies: u128,
    rest_weight: u128,
}

impl<'a> Weights<'a> {
    fn new(all: &'a [u32], copies: usize) -> Self {
        let mut is_full = vec![false; all.len()];
        let mut rest_copies = copies as u128;
        let mut rest_weight: u128 = all.iter().copied().map(u128::from).sum();
        let mut heaviest_first: Vec<usize> = (0..all.len()).collect();
        heaviest_first.sort_by_key(|&member| Reverse(all[member]));
        for member in heaviest_first {
            let weight = u128::from(all[member]);
            if rest_copies * weight < rest_weight || rest_copies == 0 {
                break;
            }
            is_full[member] = true;
            rest_copies -= 1;
            rest_weight -= weight;
        }
        Self {
            all,
            is_full,
            rest_copies,
            rest_weight: rest_weight.max(1),
        }
    }

    /// The ideal number of copies of some members together.
    fn copies(&self, members: &[usize], arcs: usize, held: usize) -> Ideal {
        let full = members.iter().filter(|&&member| self.is_full[member]);
        let others = members.iter().filter(|&&member| !self.is_full[member]);
        let weight: u128 = others.map(|&member| u128::from(self.all[member])).sum();
        let numerator = arcs as u128 * self.rest_copies * weight;
        Ideal::new(full.count() * arcs, numerator, self.rest_weight, held)
    }
}

/// How copies are dealt out.
pub(super) struct CopyShares {
    /// The copies of each member.
    pub members: Vec<usize>,
    /// How many copies of one arc are in each zone.
    pub zones: Vec<RangeInclusive<usize>>,
}

/// Deals copies out to zones, and within each to its members. A zone's copies are spread evenly over the
/// arcs, which makes the zones of an arc as many as they can be.
pub(super) fn of_copies(roster: &Roster, old: &[OldRow], copies: usize) -> CopyShares {
    let arcs = old.len();
    let weights = Weights::new(&roster.weights, copies);
    let mut held = vec![0; roster.len()];
    for &member in old.iter().flat_map(|row| &row.holders) {
        held[member] += 1;
    }
    let zone_ideals: Vec<Ideal> = roster
        .by_zone
        .iter()
        .map(|zone| weights.copies(zone, arcs, zone.iter().map(|&member| held[member]).sum()))
        .collect();
    let zone_shares = apportion(arcs * copies, &zone_ideals);

    let mut shares = vec![0; roster.len()];
    for (zone, &total) in roster.by_zone.iter().zip(&zone_shares) {
        let ideal_of = |&member: &usize| weights.copies(&[member], arcs, held[member]);
        let ideals: Vec<Ideal> = zone.iter().map(ideal_of).collect();
        for (&member, share) in zone.iter().zip(apportion(total, &ideals)) {
            shares[member] = share;
        }
    }
    CopyShares {
        members: shares,
        zones: zone_shares
            .iter()
            .map(|share| share / arcs..=share.div_ceil(arcs))
            .collect(),
    }
}

/// The ideal number of arcs that each member is master of: a full member's by its weight, another's
/// by the copies that it has come to hold.
pub(super) fn of_masters(roster: &Roster, rows: &[Vec<usize>], held: &[usize]) -> Vec<Ideal> {
    let arcs = rows.len() as u128;
    let weights = Weights::new(&roster.weights, rows[0].len());
    let total: u128 = roster.weights.iter().copied().map(u128::from).sum();
    let denominator = total * weights.rest_copies.max(1);
    let mut copies = vec![0_u128; roster.len()];
    for &member in rows.iter().flatten() {
        copies[member] += 1;
    }
    (0..roster.len())
        .map(|member| {
            let numerator = if weights.is_full[member] {
                arcs * u128::from(roster.weights[member]) * weights.rest_copies.max(1)
            } else {
                copies[member] * weights.rest_weight
            };
            Ideal::new(0, numerator, denominator, held[member])
        })
        .collect()
}

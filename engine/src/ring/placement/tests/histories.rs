//! Clusters that live through whatever comes, and what holds of the table after every change.

use proptest::prelude::*;

use super::fewest::{fewest_master_changes, fewest_moves};
use super::*;

#[derive(Clone, Debug)]
enum Event {
    Join { zone: u64, weight: u32 },
    Leave(usize),
    Drain(usize),
    Return(usize),
    Rezone(usize, u64),
    Reweigh(usize, u32),
    Copies(usize),
}

/// What happens to a cluster. With `weight` 1 all members weigh the same.
fn event(weight: u32) -> impl Strategy<Value = Event> {
    let at = 0..16_usize;
    prop_oneof![
        4 => (0..4_u64, 1..=weight).prop_map(|(zone, weight)| Event::Join { zone, weight }),
        2 => at.clone().prop_map(Event::Leave),
        1 => at.clone().prop_map(Event::Drain),
        1 => at.clone().prop_map(Event::Return),
        1 => (at.clone(), 0..4_u64).prop_map(|(at, zone)| Event::Rezone(at, zone)),
        1 => (at, 1..=weight).prop_map(|(at, weight)| Event::Reweigh(at, weight)),
        1 => (1..5_usize).prop_map(Event::Copies),
    ]
}

struct Cluster {
    members: Vec<Member>,
    copies: usize,
    table: Table,
    last_id: u64,
}

impl Cluster {
    fn new(arcs: u16) -> Self {
        Self {
            members: cluster(1, 1),
            copies: 3,
            table: single(arcs),
            last_id: 1,
        }
    }

    fn suffer(&mut self, event: &Event) {
        let len = self.members.len();
        match *event {
            Event::Join { zone, weight } => {
                self.last_id += 1;
                self.members.push(member(self.last_id, zone, weight));
            }
            Event::Leave(at) if len > 1 => drop(self.members.remove(at % len)),
            Event::Leave(_) => {}
            Event::Drain(at) => self.members[at % len].state = State::Draining,
            Event::Return(at) => self.members[at % len].state = State::Active,
            Event::Rezone(at, zone) => self.members[at % len].zone = format!("zone {zone}"),
            Event::Reweigh(at, weight) => self.members[at % len].weight = weight,
            Event::Copies(copies) => self.copies = copies,
        }
    }

    fn active(&self) -> Vec<&Member> {
        self.members
            .iter()
            .filter(|member| member.state == State::Active)
            .collect()
    }

    /// Makes the next table and asserts all that holds whatever happened.
    fn place(&mut self) {
        let new = place(&self.table, &self.members, self.copies);
        new.check().unwrap();
        assert_eq!(new.arcs(), self.table.arcs());
        let backwards: Vec<Member> = self.members.iter().rev().cloned().collect();
        assert_eq!(
            place(&self.table, &backwards, self.copies),
            new,
            "order decides nothing"
        );
        assert_eq!(
            place(&new, &self.members, self.copies),
            new,
            "and what is placed stays"
        );
        if self.active().is_empty() {
            assert_eq!(new, self.table);
        } else {
            assert_eq!(new.copies(), self.copies.min(self.active().len()));
            self.assert_shares(&new);
            self.assert_spread(&new);
            let made = moves(&self.table, &new).added.len();
            let fewest = fewest_moves(&self.table, &new, &self.members);
            assert_eq!(made, fewest, "copies made, and the fewest");
            let changed = moves(&self.table, &new).masters.len();
            let fewest = fewest_master_changes(&self.table, &new);
            assert_eq!(changed, fewest, "masters changed, and the fewest");
        }
        self.table = new;
    }

    /// Copies are the floor or ceiling of a member's share by weight, where nobody has more than one of
    /// each arc; masters are less than two off theirs.
    fn assert_shares(&self, table: &Table) {
        let arcs = f64::from(table.arcs());
        let (copies, masters) = (copies_of(table), masters_of(table));
        assert!(
            copies
                .keys()
                .all(|id| self.active().iter().any(|member| member.id == *id))
        );
        let weights: f64 = self
            .active()
            .iter()
            .map(|member| f64::from(member.weight))
            .sum();
        let fill = self.fill(table.copies());
        for member in self.active() {
            let weight = f64::from(member.weight);
            let ideal = arcs * (fill * weight).min(1.0);
            let has = copies.get(&member.id).copied().unwrap_or(0) as f64;
            assert!(
                (ideal - 1e-6).floor() <= has && has <= (ideal + 1e-6).ceil(),
                "{has} of {ideal}"
            );
            let ideal = arcs * weight / weights;
            let leads = masters.get(&member.id).copied().unwrap_or(0) as f64;
            assert!((leads - ideal).abs() < 2.0, "leads {leads}, not {ideal}");
        }
    }

    /// The copies of an arc per unit of weight, found by halving.
    fn fill(&self, copies: usize) -> f64 {
        let held = |fill: f64| -> f64 {
            self.active()
                .iter()
                .map(|member| (fill * f64::from(member.weight)).min(1.0))
                .sum()
        };
        let (mut low, mut high) = (0.0, 1.0);
        for _ in 0..60 {
            let middle = (low + high) / 2.0;
            if held(middle) < copies as f64 - 1e-12 {
                low = middle
            } else {
                high = middle
            }
        }
        high
    }

    /// The copies in each zone are spread evenly over arcs, so arcs are in as many zones as they can be.
    fn assert_spread(&self, table: &Table) {
        let arcs = usize::from(table.arcs());
        let zones: BTreeMap<NodeId, &str> = self
            .members
            .iter()
            .map(|member| (member.id, &*member.zone))
            .collect();
        let mut most = 0;
        for zone in zones.values().collect::<BTreeSet<_>>() {
            let in_zone = |row: &[NodeId]| row.iter().filter(|id| zones[id] == *zone).count();
            let counts: Vec<usize> = table.rows().map(in_zone).collect();
            let total: usize = counts.iter().sum();
            assert!(
                counts
                    .iter()
                    .all(|&count| (total / arcs..=total.div_ceil(arcs)).contains(&count))
            );
            most += total.min(arcs);
        }
        assert_eq!(
            zones_of_arcs(table, &self.members).iter().sum::<usize>(),
            most
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_cluster_of_equals_is_always_even(events in proptest::collection::vec(event(1), 1..16)) {
        let mut cluster = Cluster::new(32);
        for event in &events {
            cluster.suffer(event);
            cluster.place();
            if cluster.active().is_empty() {
                continue;
            }
            let nodes = cluster.active().len();
            assert_even(&copies_of(&cluster.table), nodes, 32 * cluster.table.copies());
            assert_even(&masters_of(&cluster.table), nodes, 32);
        }
    }

    #[test]
    fn a_cluster_of_unequals_is_always_even_by_weight(events in proptest::collection::vec(event(9), 1..16)) {
        let mut cluster = Cluster::new(32);
        for event in &events {
            cluster.suffer(event);
            cluster.place();
        }
    }
}

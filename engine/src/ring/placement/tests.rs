//! Placement as a whole: what holds of every table, and what each kind of change moves.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

mod fewest;
mod histories;

fn member(id: u64, zone: u64, weight: u32) -> Member {
    Member {
        id: NodeId(id),
        zone: format!("zone {zone}"),
        weight,
        state: State::Active,
    }
}

/// Members of equal weight, dealt out over `zones` zones.
fn cluster(nodes: u64, zones: u64) -> Vec<Member> {
    (1..=nodes).map(|id| member(id, id % zones, 1)).collect()
}

fn single(arcs: u16) -> Table {
    Table::with_arcs(NodeId(1), arcs).unwrap()
}

fn count<'a>(nodes: impl Iterator<Item = &'a NodeId>) -> BTreeMap<NodeId, usize> {
    let mut counts = BTreeMap::new();
    for &node in nodes {
        *counts.entry(node).or_default() += 1;
    }
    counts
}

fn copies_of(table: &Table) -> BTreeMap<NodeId, usize> {
    count(table.rows().flatten())
}

fn masters_of(table: &Table) -> BTreeMap<NodeId, usize> {
    count(table.rows().map(|row| &row[0]))
}

/// Asserts that `nodes` nodes have the floor or the ceiling of `total / nodes` each.
fn assert_even(counts: &BTreeMap<NodeId, usize>, nodes: usize, total: usize) {
    let bounds = total / nodes..=total.div_ceil(nodes);
    let held: usize = counts.values().sum();
    assert_eq!(held, total);
    let least = if counts.len() < nodes {
        0
    } else {
        *counts.values().min().unwrap()
    };
    let most = *counts.values().max().unwrap();
    assert!(
        bounds.contains(&least) && bounds.contains(&most),
        "{least}..={most} of {bounds:?}"
    );
}

#[test]
fn the_fifth_node_takes_one_fifth_and_nothing_else_moves() {
    let four = place(&single(256), &cluster(4, 1), 3);
    let five = place(&four, &cluster(5, 1), 3);
    let moves = moves(&four, &five);
    assert!(
        (153..=154).contains(&moves.added.len()),
        "{}",
        moves.added.len()
    );
    assert!(moves.added.iter().all(|copy| copy.node == NodeId(5)));
    assert_eq!(moves.dropped.len(), moves.added.len());
    assert!(
        (51..=52).contains(&moves.masters.len()),
        "{}",
        moves.masters.len()
    );
    assert!(moves.masters.iter().all(|change| change.to == NodeId(5)));
}

#[test]
fn hash_modulo_nodes_moves_most_of_what_placement_leaves() {
    let naive = |nodes: u64| {
        let row = move |arc: u64| (0..3).map(|at| NodeId((arc * 7919 + at) % nodes)).collect();
        Table::try_from((0..256).map(row).collect::<Vec<Vec<NodeId>>>()).unwrap()
    };
    let moved = moves(&naive(9), &naive(10)).added.len();
    assert!(moved > 256 * 3 / 2, "{moved}");
    let nine = place(&single(256), &cluster(9, 1), 3);
    let ten = place(&nine, &cluster(10, 1), 3);
    assert_eq!(moves(&nine, &ten).added.len(), 256 * 3 / 10);
}

#[test]
fn a_node_that_leaves_moves_what_it_held_and_no_more() {
    let five = place(&single(256), &cluster(5, 1), 3);
    for gone in 1..=5 {
        let mut members = cluster(5, 1);
        members.retain(|member| member.id != NodeId(gone));
        let four = place(&five, &members, 3);
        let moves = moves(&five, &four);
        assert_eq!(moves.added.len(), copies_of(&five)[&NodeId(gone)]);
        assert!(moves.dropped.iter().all(|copy| copy.node == NodeId(gone)));
        assert_eq!(moves.masters.len(), masters_of(&five)[&NodeId(gone)]);
    }
}

#[test]
fn loads_are_even_to_the_integer_at_256_arcs_from_one_node_to_200() {
    let mut table = single(256);
    for nodes in 1..=200 {
        table = place(&table, &cluster(nodes as u64, 1), 3);
        assert_even(&copies_of(&table), nodes, 256 * 3.min(nodes));
        assert_even(&masters_of(&table), nodes, 256);
    }
}

#[test]
fn no_node_has_more_than_three_percent_beyond_the_mean_at_8192_arcs() {
    let mut table = single(8192);
    for nodes in (3..30).chain((30..=200).step_by(17)).chain([200]) {
        table = place(&table, &cluster(nodes, 3), 3);
        for (counts, total) in [(copies_of(&table), 3 * 8192), (masters_of(&table), 8192)] {
            let max = *counts.values().max().unwrap() as u64;
            assert!(
                max * nodes * 100 <= 103 * total,
                "{nodes} nodes: {max} of {total}"
            );
        }
    }
}

#[test]
fn three_even_zones_have_a_copy_of_every_arc_each() {
    let mut table = single(256);
    for nodes in 3..=30 {
        let members = cluster(nodes, 3);
        table = place(&table, &members, 3);
        if nodes % 3 == 0 {
            assert!(
                zones_of_arcs(&table, &members)
                    .iter()
                    .all(|&zones| zones == 3),
                "{nodes}"
            );
        }
    }
}

#[test]
fn a_zone_too_small_for_every_arc_is_in_as_many_as_it_can_hold() {
    // One node of nine in the first zone: its third of arcs has three zones, the rest two.
    let members: Vec<Member> = (0..9)
        .map(|id| member(id, (id > 0) as u64 + (id > 4) as u64, 1))
        .collect();
    let table = place(&single(256), &members, 3);
    let zones = zones_of_arcs(&table, &members);
    assert_eq!(zones.iter().filter(|&&zones| zones == 3).count(), 86);
    assert!(zones.iter().all(|&zones| zones >= 2));
}

#[test]
fn loads_follow_weights() {
    let members: Vec<Member> = (1..=4).map(|id| member(id, id, id as u32)).collect();
    let table = place(&single(1024), &members, 2);
    let tenth = 1024 * 2 / 10;
    for (id, &copies) in &copies_of(&table) {
        assert!(
            copies.abs_diff(tenth * id.0 as usize) <= id.0 as usize,
            "{id:?}: {copies}"
        );
    }
    for (id, &masters) in &masters_of(&table) {
        assert!(
            masters.abs_diff(tenth / 2 * id.0 as usize) <= id.0 as usize,
            "{id:?}: {masters}"
        );
    }
}

#[test]
fn a_node_heavier_than_all_others_holds_one_copy_of_each_arc() {
    let members = [
        member(1, 1, 100),
        member(2, 1, 1),
        member(3, 1, 1),
        member(4, 1, 2),
    ];
    let table = place(&single(256), &members, 3);
    let copies: Vec<usize> = copies_of(&table).into_values().collect();
    assert_eq!(copies, [256, 128, 128, 256]);
}

#[test]
fn who_drains_joins_or_weighs_nothing_holds_nothing() {
    let four = place(&single(256), &cluster(4, 1), 3);
    for change in [
        |member: &mut Member| member.state = State::Draining,
        |member: &mut Member| member.state = State::Joining,
        |member: &mut Member| member.weight = 0,
    ] {
        let mut members = cluster(4, 1);
        change(&mut members[1]);
        let table = place(&four, &members, 3);
        assert_eq!(copies_of(&table).get(&NodeId(2)), None);
        members.remove(1);
        assert_eq!(table, place(&four, &members, 3));
    }
}

#[test]
fn with_fewer_members_than_copies_each_holds_everything() {
    let two = place(&single(256), &cluster(2, 1), 3);
    assert_eq!(two.copies(), 2);
    assert_even(&masters_of(&two), 2, 256);
    let one = place(&two, &cluster(1, 1), 3);
    assert_eq!(one, Table::new_single(NodeId(1)));
}

#[test]
fn with_nobody_to_move_to_the_table_stays() {
    let mut members = cluster(3, 1);
    let table = place(&single(256), &members, 3);
    assert_eq!(place(&table, &[], 3), table);
    for member in &mut members {
        member.state = State::Draining;
    }
    assert_eq!(place(&table, &members, 3), table);
}

#[test]
fn those_who_share_arcs_with_a_node_are_all_the_others() {
    let table = place(&single(256), &cluster(10, 1), 3);
    let shared = table.rows().filter(|row| row.contains(&NodeId(4)));
    let peers = count(shared.flatten());
    assert_eq!(peers.len(), 10);
    assert!(peers.values().all(|&arcs| arcs >= 5), "{peers:?}");
}

/// In how many zones each arc is.
fn zones_of_arcs(table: &Table, members: &[Member]) -> Vec<usize> {
    let zones: BTreeMap<NodeId, &str> = members
        .iter()
        .map(|member| (member.id, &*member.zone))
        .collect();
    let zones_of = |row: &[NodeId]| {
        row.iter()
            .map(|id| zones[id])
            .collect::<BTreeSet<_>>()
            .len()
    };
    table.rows().map(zones_of).collect()
}

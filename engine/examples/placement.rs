//! What placement does as a cluster grows, beside what `hash(key) % nodes` would do.
//!
//! The figures of docs/placement.md: `cargo run --release -p trilith --example placement`.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "it measures"
)]

use std::collections::BTreeMap;
use std::time::Instant;

use trilith::Result;
use trilith::ring::placement::{Member, NodeId, State, Table, moves, place};

const COPIES: usize = 3;

fn main() -> Result<()> {
    for (arcs, sizes) in [
        (256, &[3, 4, 5, 6, 7, 8, 9, 10, 100][..]),
        (16384, &[3, 4, 5, 6, 7, 8, 9, 10, 100, 1000]),
    ] {
        println!("{arcs} arcs, {COPIES} copies of each\n");
        println!(
            "| nodes | copies moved | ideal | naive | masters moved | ideal | copies max/mean | masters max/mean | time |"
        );
        println!("|---|---|---|---|---|---|---|---|---|");
        for &nodes in sizes {
            grow_by_one(arcs, nodes)?;
        }
        println!();
    }
    Ok(())
}

/// Prints what happens when the last of `nodes` joins the others.
fn grow_by_one(arcs: u16, nodes: u64) -> Result<()> {
    let alone = Table::with_arcs(NodeId(1), arcs)?;
    let old = place(&alone, &members(nodes - 1), COPIES);
    let members = members(nodes);
    let start = Instant::now();
    let new = place(&old, &members, COPIES);
    let elapsed = start.elapsed();
    let moved = moves(&old, &new);

    let copies = usize::from(arcs) * COPIES;
    println!(
        "| {nodes} | {} | {:.1} | {} | {} | {:.1} | {:.3} | {:.3} | {:.2} ms |",
        moved.added.len(),
        copies as f64 / nodes as f64,
        naive_moves(arcs, nodes),
        moved.masters.len(),
        f64::from(arcs) / nodes as f64,
        max_to_mean(new.rows().flatten(), nodes),
        max_to_mean(new.rows().map(|row| &row[0]), nodes),
        elapsed.as_secs_f64() * 1e3,
    );
    Ok(())
}

fn members(nodes: u64) -> Vec<Member> {
    (1..=nodes)
        .map(|id| Member {
            id: NodeId(id),
            zone: "here".into(),
            weight: 1,
            state: State::Active,
        })
        .collect()
}

fn max_to_mean<'a>(holders: impl Iterator<Item = &'a NodeId>, nodes: u64) -> f64 {
    let mut loads = BTreeMap::new();
    for holder in holders {
        *loads.entry(holder).or_insert(0_u32) += 1;
    }
    let total: u32 = loads.values().sum();
    let max = loads.values().copied().max().unwrap_or_default();
    f64::from(max) * nodes as f64 / f64::from(total)
}

/// The copies that move if each arc's lie on the node of number `hash % nodes` and those that follow.
fn naive_moves(arcs: u16, nodes: u64) -> usize {
    let holds = |arc: u16, nodes: u64, node: u64| {
        let hash = u64::from(arc).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        (node + nodes - hash % nodes) % nodes < COPIES as u64
    };
    (0..arcs)
        .flat_map(|arc| (0..nodes).map(move |node| (arc, node)))
        .filter(|&(arc, node)| holds(arc, nodes, node))
        .filter(|&(arc, node)| node == nodes - 1 || !holds(arc, nodes - 1, node))
        .count()
}

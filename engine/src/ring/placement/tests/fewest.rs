//! The fewest copies that have to be made and masters that have to change, found in another way than placement does: a textbook minimum-cost
//! flow over the whole graph.

use super::*;

/// How many copies any table has to add to `old`, if it is to have the loads of `new` and its spread over
/// zones.
pub(super) fn fewest_moves(old: &Table, new: &Table, members: &[Member]) -> usize {
    let arcs = usize::from(new.arcs());
    let loads = copies_of(new);
    let members: Vec<&Member> = members
        .iter()
        .filter(|member| loads.contains_key(&member.id))
        .collect();
    let zones: Vec<&str> = members
        .iter()
        .map(|member| &*member.zone)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();

    let (source, sink) = (0, 1);
    let arc_node = |arc: usize| 2 + arc;
    let spot_node = |arc: usize, zone: usize| 2 + arcs + arc * zones.len() + zone;
    let member_node = |member: usize| 2 + arcs + arcs * zones.len() + member;
    let mut flow = Flow::new(member_node(members.len()));
    for (arc, row) in old.rows().enumerate() {
        flow.edge(source, arc_node(arc), new.copies() as i64, 0);
        for (at, zone) in zones.iter().enumerate() {
            let of_zone = members.iter().filter(|member| member.zone == **zone);
            let load: usize = of_zone.map(|member| loads[&member.id]).sum();
            // What has to flow here is rewarded beyond everything else.
            flow.edge(
                arc_node(arc),
                spot_node(arc, at),
                (load / arcs) as i64,
                -1_000_000,
            );
            flow.edge(
                arc_node(arc),
                spot_node(arc, at),
                (load.div_ceil(arcs) - load / arcs) as i64,
                0,
            );
        }
        for (at, member) in members.iter().enumerate() {
            let zone = zones.iter().position(|zone| **zone == member.zone).unwrap();
            let moves = !row.contains(&member.id);
            flow.edge(spot_node(arc, zone), member_node(at), 1, moves.into());
        }
    }
    for (at, member) in members.iter().enumerate() {
        flow.edge(member_node(at), sink, loads[&member.id] as i64, 0);
    }
    let (amount, cost) = flow.run(source, sink);
    assert_eq!(amount as usize, arcs * new.copies());
    cost.rem_euclid(1_000_000) as usize
}

/// How many masters any table has to change, if it is to have the copies of `new` and give each member as many
/// arcs to lead.
pub(super) fn fewest_master_changes(old: &Table, new: &Table) -> usize {
    let arcs = usize::from(new.arcs());
    let led = masters_of(new);
    let members: Vec<NodeId> = copies_of(new).into_keys().collect();
    let (source, sink) = (0, 1);
    let arc_node = |arc: usize| 2 + arc;
    let member_node = |member: usize| 2 + arcs + member;
    let mut flow = Flow::new(member_node(members.len()));
    for (arc, (old, new)) in old.rows().zip(new.rows()).enumerate() {
        flow.edge(source, arc_node(arc), 1, 0);
        for holder in new {
            let at = members.iter().position(|member| member == holder).unwrap();
            let changes = old[0] != *holder;
            flow.edge(arc_node(arc), member_node(at), 1, changes.into());
        }
    }
    for (at, member) in members.iter().enumerate() {
        let arcs = led.get(member).copied().unwrap_or(0);
        flow.edge(member_node(at), sink, arcs as i64, 0);
    }
    let (amount, cost) = flow.run(source, sink);
    assert_eq!(amount as usize, arcs);
    cost as usize
}

struct Edge {
    to: usize,
    capacity: i64,
    cost: i64,
}

/// Edges in pairs: each is followed by its reverse.
struct Flow {
    edges: Vec<Edge>,
    from: Vec<Vec<usize>>,
}

impl Flow {
    fn new(nodes: usize) -> Self {
        Self {
            edges: Vec::new(),
            from: vec![Vec::new(); nodes],
        }
    }

    fn edge(&mut self, from: usize, to: usize, capacity: i64, cost: i64) {
        for (from, to, capacity, cost) in [(from, to, capacity, cost), (to, from, 0, -cost)] {
            self.from[from].push(self.edges.len());
            self.edges.push(Edge { to, capacity, cost });
        }
    }

    /// The greatest flow there is and its least cost, by successive shortest paths.
    fn run(&mut self, source: usize, sink: usize) -> (i64, i64) {
        let (mut amount, mut total) = (0, 0);
        loop {
            let (cost, by) = self.shortest(source);
            if cost[sink] == i64::MAX {
                return (amount, total);
            }
            amount += 1;
            total += cost[sink];
            let mut node = sink;
            while node != source {
                self.edges[by[node]].capacity -= 1;
                self.edges[by[node] ^ 1].capacity += 1;
                node = self.edges[by[node] ^ 1].to;
            }
        }
    }

    /// The cost of reaching each node, and the edge that does, after Bellman and Ford.
    fn shortest(&self, source: usize) -> (Vec<i64>, Vec<usize>) {
        let mut cost = vec![i64::MAX; self.from.len()];
        let mut by = vec![usize::MAX; self.from.len()];
        cost[source] = 0;
        let mut queue = std::collections::VecDeque::from([source]);
        while let Some(node) = queue.pop_front() {
            for &at in &self.from[node] {
                let edge = &self.edges[at];
                if edge.capacity > 0 && cost[node] + edge.cost < cost[edge.to] {
                    cost[edge.to] = cost[node] + edge.cost;
                    by[edge.to] = at;
                    queue.push_back(edge.to);
                }
            }
        }
        (cost, by)
    }
}

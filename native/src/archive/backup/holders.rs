//! Which nodes have copies of a range, as the nodes say.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use crate::operate::{At, Cluster, Problem, Status};

/// Who has what. Asked for anew when nobody has it any more.
pub struct Holders {
    /// Nodes that are known, the one that was named first.
    nodes: Mutex<Vec<String>>,
    by_range: Mutex<BTreeMap<u32, Vec<String>>>,
}

impl Holders {
    /// Asks the node at `address`, and those that it names.
    pub fn ask(address: &str) -> Result<(Self, Status), Problem> {
        let this = Self {
            nodes: Mutex::new(vec![address.to_owned()]),
            by_range: Mutex::default(),
        };
        let status = this.ask_one(address)?;
        Ok((this, status))
    }

    fn ask_one(&self, address: &str) -> Result<Status, Problem> {
        let cluster = Cluster::at(&At {
            at: address.to_owned(),
            json: false,
        });
        let status = cluster.status()?;
        let mut by_range: BTreeMap<u32, Vec<String>> = BTreeMap::new();
        let mut nodes = Vec::new();
        for (id, copies) in cluster.copies(&status) {
            let member = status.members.iter().find(|member| member.id == id);
            let announced = member.map(|member| member.address.clone());
            let is_named = id == status.me;
            let Some(node) = announced
                .filter(|_| !is_named)
                .or(is_named.then(|| address.to_owned()))
            else {
                continue;
            };
            for copy in copies.iter().flatten().filter(|copy| !copy.is_void()) {
                let holders = by_range.entry(copy.range.0).or_default();
                // The master first: it need not ask another.
                let place = if copy.is_master() { 0 } else { holders.len() };
                holders.insert(place, node.clone());
            }
            nodes.push(node);
        }
        let mut known = self.nodes.lock();
        for node in nodes {
            if !known.contains(&node) {
                known.push(node);
            }
        }
        *self.by_range.lock() = by_range;
        Ok(status)
    }

    /// Looks again, by any node that answers.
    pub fn look_again(&self) {
        let nodes = self.nodes.lock().clone();
        // Where nobody answers, what was known stays.
        let _found = nodes.iter().find_map(|node| self.ask_one(node).ok());
    }

    /// The nodes with a copy of a range, its master first.
    pub fn of(&self, range: u32) -> Vec<String> {
        self.by_range
            .lock()
            .get(&range)
            .cloned()
            .unwrap_or_default()
    }
}

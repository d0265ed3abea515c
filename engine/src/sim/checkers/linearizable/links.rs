//! Rings of numbered nodes from which a node can be taken and, in reverse order, put back.

pub(super) struct Links {
    next: Vec<u32>,
    prev: Vec<u32>,
}

impl Links {
    /// Nodes below `count`, each a ring of its own.
    pub(super) fn new(count: usize) -> Self {
        let alone: Vec<u32> = (0..count as u32).collect();
        Self {
            next: alone.clone(),
            prev: alone,
        }
    }

    pub(super) fn next(&self, node: u32) -> u32 {
        self.next[node as usize]
    }

    /// Puts a lone node at the end of the ring of `head`.
    pub(super) fn push(&mut self, head: u32, node: u32) {
        let last = self.prev[head as usize];
        self.next[node as usize] = head;
        self.prev[node as usize] = last;
        self.restore(node);
    }

    pub(super) fn remove(&mut self, node: u32) {
        let (next, prev) = (self.next[node as usize], self.prev[node as usize]);
        self.next[prev as usize] = next;
        self.prev[next as usize] = prev;
    }

    /// Puts back the node that was removed last.
    pub(super) fn restore(&mut self, node: u32) {
        let (next, prev) = (self.next[node as usize], self.prev[node as usize]);
        self.next[prev as usize] = node;
        self.prev[next as usize] = node;
    }
}

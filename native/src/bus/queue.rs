//! What waits to be sent to one node: bounded by bytes, and the oldest goes first when it is full.
//!
//! The ring takes loss in its stride; it never takes a sender that waits.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Packets that have waited for a connection for longer are not worth sending: what they say has been said again
/// since, or is answered as unknown.
const STALE: Duration = Duration::from_secs(2);

/// Encoded packets on their way to one node.
#[derive(Debug)]
pub(super) struct Queue {
    bytes_most: usize,
    waiting: Mutex<Waiting>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    packets: VecDeque<(Instant, Vec<u8>)>,
    bytes: usize,
    dropped: u64,
}

impl Waiting {
    fn pop(&mut self) -> Option<Vec<u8>> {
        let (_, packet) = self.packets.pop_front()?;
        self.bytes -= packet.len();
        Some(packet)
    }

    fn drop_oldest(&mut self) {
        if self.pop().is_some() {
            self.dropped += 1;
        }
    }
}

impl Queue {
    /// A queue that holds so many bytes, or a single packet.
    pub(super) fn new(bytes_most: usize) -> Self {
        Self {
            bytes_most,
            waiting: Mutex::default(),
            filled: Notify::new(),
        }
    }

    /// Adds a packet, for which the oldest have to go if there is no room.
    pub(super) fn push(&self, packet: Vec<u8>) {
        let mut waiting = self.waiting.lock();
        while !waiting.packets.is_empty() && waiting.bytes + packet.len() > self.bytes_most {
            waiting.drop_oldest();
        }
        waiting.bytes += packet.len();
        waiting.packets.push_back((Instant::now(), packet));
        drop(waiting);
        self.filled.notify_one();
    }

    /// Takes the oldest packets: about so many bytes, and one at least if there is one.
    pub(super) fn take(&self, bytes: usize) -> Vec<Vec<u8>> {
        let mut waiting = self.waiting.lock();
        let mut taken = Vec::new();
        let mut sum = 0;
        while sum < bytes
            && let Some(packet) = waiting.pop()
        {
            sum += packet.len();
            taken.push(packet);
        }
        taken
    }

    /// Ready when something has been added since it was last ready.
    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Drops what has become stale while there was no connection.
    pub(super) fn drop_stale(&self) {
        let now = Instant::now();
        let mut waiting = self.waiting.lock();
        while let Some((since, _)) = waiting.packets.front()
            && now.duration_since(*since) > STALE
        {
            waiting.drop_oldest();
        }
    }

    /// Drops everything.
    pub(super) fn clear(&self) {
        let mut waiting = self.waiting.lock();
        while !waiting.packets.is_empty() {
            waiting.drop_oldest();
        }
    }

    /// Bytes that wait.
    pub(super) fn bytes(&self) -> u64 {
        self.waiting.lock().bytes as u64
    }

    /// Packets that were dropped.
    pub(super) fn dropped(&self) -> u64 {
        self.waiting.lock().dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_drops_the_oldest_and_counts_it() {
        let queue = Queue::new(10);
        for byte in 0..4 {
            queue.push(vec![byte; 4]);
        }
        assert_eq!((queue.bytes(), queue.dropped()), (8, 2));
        assert_eq!(queue.take(usize::MAX), [vec![2; 4], vec![3; 4]]);
        assert_eq!(queue.bytes(), 0);
    }

    #[test]
    fn a_packet_that_is_longer_than_the_queue_has_it_for_itself() {
        let queue = Queue::new(10);
        queue.push(vec![1; 4]);
        queue.push(vec![2; 100]);
        assert_eq!((queue.bytes(), queue.dropped()), (100, 1));
        queue.push(vec![3; 4]);
        assert_eq!(queue.take(1), [vec![3; 4]]);
    }

    #[test]
    fn packets_are_taken_in_order_and_by_the_batch() {
        let queue = Queue::new(100);
        for byte in 0..5 {
            queue.push(vec![byte; 4]);
        }
        assert_eq!(queue.take(5), [vec![0; 4], vec![1; 4]]);
        assert_eq!(queue.take(1), [vec![2; 4]]);
    }
}

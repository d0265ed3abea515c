//! The network between machines: each link delays, loses, doubles, reorders, stands still or is cut, as the
//! weather on it says. It decides when a packet arrives and never looks into it.

use crate::random::Random;
use crate::ring::node::Packet;

/// What goes on on some links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weather {
    /// So many of a thousand packets are lost.
    Loss(u64),
    /// Packets take up to so many microseconds more.
    Delay(u64),
    /// So many of a thousand packets arrive twice.
    Duplicate(u64),
    /// Packets overtake each other.
    Reorder,
    /// Packets wait until it is over.
    Clog,
    /// Every packet is lost.
    Cut,
}

struct Front {
    id: u64,
    weather: Weather,
    /// Machines whose packets it concerns, a bit each.
    from: u64,
    /// And to whom they go.
    to: u64,
}

/// See the module.
pub(super) struct Network {
    random: Random,
    fronts: Vec<Front>,
    next_front: u64,
    /// By link, when the last packet arrives: the next one comes no sooner.
    last_at: Vec<u64>,
    machines: usize,
    /// Packets that stand still, and the front they wait for.
    waiting: Vec<(u64, usize, usize, Packet)>,
}

/// What a packet takes in good weather, in microseconds.
const CALM_US: u64 = 300;
const CALM_SPREAD_US: u64 = 1_200;

impl Network {
    pub(super) fn new(machines: usize, random: Random) -> Self {
        Self {
            random,
            fronts: Vec::new(),
            next_front: 0,
            last_at: vec![0; machines * machines],
            machines,
            waiting: Vec::new(),
        }
    }

    /// Lets a front come up over the links from some machines to others. Gives its number.
    pub(super) fn begin(&mut self, weather: Weather, from: u64, to: u64) -> u64 {
        self.next_front += 1;
        let id = self.next_front;
        self.fronts.push(Front {
            id,
            weather,
            from,
            to,
        });
        id
    }

    /// Ends a front; what waited for it goes on.
    pub(super) fn end(
        &mut self,
        id: u64,
        now_us: u64,
        arrive: &mut impl FnMut(u64, usize, Packet),
    ) {
        self.fronts.retain(|front| front.id != id);
        let waiting = std::mem::take(&mut self.waiting);
        let (free, still): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|&(front, ..)| front == id);
        self.waiting = still;
        for (_, from, to, packet) in free {
            self.send(now_us, from, to, packet, arrive);
        }
    }

    /// Ends every front.
    pub(super) fn heal(&mut self, now_us: u64, arrive: &mut impl FnMut(u64, usize, Packet)) {
        let ids: Vec<u64> = self.fronts.iter().map(|front| front.id).collect();
        for id in ids {
            self.end(id, now_us, arrive);
        }
    }

    /// Sends a packet; says when it arrives, if it does, and perhaps twice.
    pub(super) fn send(
        &mut self,
        now_us: u64,
        from: usize,
        to: usize,
        packet: Packet,
        arrive: &mut impl FnMut(u64, usize, Packet),
    ) {
        let (mut loss, mut more_us, mut twice, mut overtakes) = (0, 0, 0, false);
        let mut clog = None;
        for front in &self.fronts {
            if (front.from >> from) & 1 == 0 || (front.to >> to) & 1 == 0 {
                continue;
            }
            match front.weather {
                Weather::Loss(permille) => loss = loss.max(permille),
                Weather::Delay(us) => more_us = more_us.max(us),
                Weather::Duplicate(permille) => twice = twice.max(permille),
                Weather::Reorder => overtakes = true,
                Weather::Clog => clog = Some(front.id),
                Weather::Cut => return,
            }
        }
        if let Some(front) = clog {
            return self.waiting.push((front, from, to, packet));
        }
        if loss > 0 && self.random.below(1000) < loss {
            return;
        }
        let copies = if twice > 0 && self.random.below(1000) < twice {
            2
        } else {
            1
        };
        let mut packet = Some(packet);
        for copy in (0..copies).rev() {
            let spread_us = CALM_SPREAD_US + more_us + if overtakes { 30_000 } else { 0 };
            let mut at_us = now_us + CALM_US + self.random.below(spread_us);
            let last = &mut self.last_at[from * self.machines + to];
            if !overtakes {
                at_us = at_us.max(*last);
            }
            *last = at_us.max(*last);
            let sent = if copy == 0 {
                packet.take()
            } else {
                packet.clone()
            };
            if let Some(sent) = sent {
                arrive(at_us, to, sent);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::NodeId;

    fn packet() -> Packet {
        Packet {
            from: NodeId(1),
            to: NodeId(2),
            said: Vec::new(),
            map_version: 0,
        }
    }

    fn sent(network: &mut Network, times: u32) -> Vec<u64> {
        let mut arrivals = Vec::new();
        for _ in 0..times {
            network.send(0, 0, 1, packet(), &mut |at, _, _| arrivals.push(at));
        }
        arrivals
    }

    #[test]
    fn a_calm_link_delivers_everything_in_order() {
        let arrivals = sent(&mut Network::new(2, Random::new(1)), 50);
        assert_eq!(arrivals.len(), 50);
        assert!(arrivals.is_sorted());
    }

    #[test]
    fn a_cut_link_loses_in_one_direction_only() {
        let mut network = Network::new(2, Random::new(1));
        network.begin(Weather::Cut, 1, 2);
        assert!(sent(&mut network, 9).is_empty());
        let mut back = 0;
        network.send(0, 1, 0, packet(), &mut |_, _, _| back += 1);
        assert_eq!(back, 1);
    }

    #[test]
    fn a_clogged_link_delivers_afterwards() {
        let mut network = Network::new(2, Random::new(1));
        let front = network.begin(Weather::Clog, 1, 2);
        assert!(sent(&mut network, 3).is_empty());
        let mut late = Vec::new();
        network.end(front, 7_000, &mut |at, _, _| late.push(at));
        assert!(late.len() == 3 && late.iter().all(|&at| at > 7_000));
    }

    #[test]
    fn packets_are_lost_doubled_and_reordered() {
        let mut network = Network::new(2, Random::new(1));
        let front = network.begin(Weather::Loss(500), 1, 2);
        let kept = sent(&mut network, 1000).len();
        assert!((400..600).contains(&kept), "{kept}");
        network.end(front, 0, &mut |_, _, _| {});
        network.begin(Weather::Duplicate(500), 1, 2);
        network.begin(Weather::Reorder, 1, 2);
        let arrivals = sent(&mut network, 1000);
        assert!(arrivals.len() > 1400 && !arrivals.is_sorted());
    }
}

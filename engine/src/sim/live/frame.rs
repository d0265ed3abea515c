//! What one frame of a picture needs, as one array of numbers.
//!
//! | part | numbers of a row | |
//! |---|---|---|
//! | head, once | 16 | layout (1), now_ms, nodes, arcs, packets, requests, acknowledged, answered, refused, unknown, open, N, W, R, rows in the trace so far, ranges without a master |
//! | nodes | 8 | number, state (0 dead, 1 running, 2 paused, 3 starting, 4 draining, 5 gone), ranges led, ranges held, skew_ms, memtable bytes, stored bytes, keys |
//! | arcs, and meta as the last | 4 | master (0 for none), term, holders (a bit each, the first node has the lowest), preferred master |
//! | packets under way | 8 | id, from, to, kind (a message kind), sent_ms, arrives_ms, range (-1 for none), index |
//! | requests without an answer | 4 | id, node, asked_ms, 1 for a write |

use super::events::arc_number;
use super::ring::Ring;

/// The layout's version.
const LAYOUT: f64 = 1.0;

/// Packets and requests that are shown, each.
const SHOWN_MOST: usize = 2_000;

impl Ring {
    /// A picture of this moment. `with_heartbeats` shows packets, too, that say no more than that their sender is there.
    pub fn frame(&self, with_heartbeats: bool) -> Vec<f64> {
        let counts = self.clients.counts;
        let shown = || {
            self.flights
                .iter()
                .filter(|(_, flight)| with_heartbeats || flight.news.is_some())
                .take(SHOWN_MOST)
        };
        let offices = self.offices.all();
        let leaderless = offices.iter().filter(|office| office.master == 0).count();
        let requests = self.clients.requests.iter().take(SHOWN_MOST);
        let mut frame = vec![
            LAYOUT,
            self.now_us as f64 / 1e3,
            self.machines.len() as f64,
            offices.len() as f64,
            shown().count() as f64,
            requests.len() as f64,
            counts.acknowledged as f64,
            counts.answered as f64,
            counts.refused as f64,
            counts.unknown as f64,
            self.clients.open() as f64,
            f64::from(self.quorum.replicas()),
            f64::from(self.quorum.acknowledge()),
            f64::from(self.quorum.read()),
            self.events.count as f64,
            leaderless as f64,
        ];
        self.add_nodes(&mut frame);
        let preferred = self.preferred();
        for (place, office) in offices.iter().enumerate() {
            frame.extend([
                f64::from(office.master),
                office.term as f64,
                office.holders as f64,
                preferred.get(place).copied().unwrap_or(0.0),
            ]);
        }
        for (id, flight) in shown() {
            let news = flight.news;
            frame.extend([
                *id as f64,
                f64::from(self.machines[flight.from].number),
                f64::from(self.machines[flight.to].number),
                news.map_or(0.0, |said| said.kind as f64),
                flight.sent_us as f64 / 1e3,
                flight.arrives_us as f64 / 1e3,
                news.and_then(|said| said.range).map_or(-1.0, arc_number),
                news.map_or(0.0, |said| said.index as f64),
            ]);
        }
        for (id, open) in requests {
            frame.extend([
                *id as f64,
                f64::from(self.machines[open.place].number),
                open.asked_us as f64 / 1e3,
                f64::from(u8::from(open.is_write)),
            ]);
        }
        frame
    }

    fn add_nodes(&self, frame: &mut Vec<f64>) {
        let led = self.offices.led();
        for machine in &self.machines {
            let held =
                |office: &&super::offices::Office| office.holders >> (machine.number - 1) & 1 == 1;
            let store = machine.node.as_ref().map(|node| node.store());
            let stats = store.map(|store| store.db().stats());
            frame.extend([
                f64::from(machine.number),
                f64::from(machine.state() as u8),
                f64::from(led.get(&machine.number).copied().unwrap_or(0)),
                self.offices.all().iter().filter(held).count() as f64,
                machine.skew_ms as f64,
                stats
                    .as_ref()
                    .map_or(0.0, |stats| stats.memtable_bytes as f64),
                stats
                    .as_ref()
                    .map_or(0.0, |stats| stats.stored_bytes() as f64),
                store.map_or(0.0, |store| store.dbsize() as f64),
            ]);
        }
    }

    /// Who should lead each arc by the newest map.
    fn preferred(&self) -> Vec<f64> {
        let nodes = self
            .machines
            .iter()
            .filter_map(|machine| machine.node.as_ref());
        let views = nodes.map(|node| node.view());
        let newest = views.max_by_key(|view| view.map.as_ref().map_or(0, |map| map.version));
        let map = newest.as_ref().and_then(|view| view.map.as_ref());
        let rows = map.into_iter().flat_map(|map| map.table.rows());
        rows.map(|row| {
            let first = row.first().map_or(0, |&node| self.number_of(node));
            f64::from(first)
        })
        .collect()
    }
}

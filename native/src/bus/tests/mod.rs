//! Buses on loopback ports, which speak to each other and to those who mean harm.

mod hostile;
mod links;
mod private;
mod rotation;

use std::time::Instant;

use bytes::Bytes;
use trilith::ring::Quorum;
use trilith::ring::meta::Proposal;
use trilith::ring::node::{Forwarded, Said};

use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

/// A packet that says as many things as there are sizes.
pub(super) fn packet(from: u64, to: u64, sizes: &[usize]) -> Packet {
    let say = |(number, &size): (usize, &usize)| {
        Said::Asked(Forwarded {
            request: number as u64,
            range: 0,
            payload: Bytes::from(vec![number as u8; size]),
            at_least: 1,
        })
    };
    Packet {
        from: NodeId(from),
        to: NodeId(to),
        map_version: 0,
        said: sizes.iter().enumerate().map(say).collect(),
    }
}

/// A small packet that is told apart by its number.
pub(super) fn packet_of(from: u64, to: u64, number: u64) -> Packet {
    Packet {
        map_version: number,
        ..packet(from, to, &[10])
    }
}

fn secret() -> Secret {
    Secret::new(b"what only the nodes know").unwrap()
}

/// As usual, but for tests that do not wait.
fn limits() -> Limits {
    Limits {
        backoff_least: Duration::from_millis(10),
        backoff_most: Duration::from_millis(50),
        ..Limits::default()
    }
}

fn config(node: u64, secret: Option<Secret>) -> BusConfig {
    BusConfig {
        secret,
        limits: limits(),
        ..BusConfig::new(NodeId(node), SocketAddr::from(([127, 0, 0, 1], 0)))
    }
}

/// A bus, and what it has heard.
struct TestNode {
    id: u64,
    bus: Bus,
    heard: Arc<Mutex<Vec<Packet>>>,
}

impl TestNode {
    fn start(config: BusConfig) -> Self {
        let id = config.node.0;
        let bus = Bus::bind(config).unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let hearing = Arc::clone(&heard);
        bus.start(move |packet| hearing.lock().push(packet));
        Self { id, bus, heard }
    }

    fn new(id: u64, secret: Option<Secret>) -> Self {
        Self::start(config(id, secret))
    }

    /// Its clients' address.
    fn address(&self) -> String {
        own_address(self.bus.local_address()).unwrap()
    }

    fn heard(&self) -> Vec<Packet> {
        self.heard.lock().clone()
    }

    fn link(&self, node: u64) -> Option<Link> {
        let links = self.bus.links();
        links.into_iter().find(|link| link.node == NodeId(node))
    }

    fn is_connected(&self, node: u64) -> bool {
        let link = self.link(node);
        link.is_some_and(|link| link.state == LinkState::Connected)
    }

    fn refused(&self, wanted: Refusal) -> u64 {
        let mut counts = self.bus.refusals().into_iter();
        counts
            .find(|(refusal, _)| *refusal == wanted)
            .map_or(0, |(_, count)| count)
    }

    /// Passes when a packet of a well-behaved node still arrives.
    async fn works_for_others(&self) {
        let Identity { secret, tls, .. } = self.bus.0.shared.identity.clone();
        let other = TestNode::start(BusConfig {
            tls,
            ..config(77, secret)
        });
        let began = Instant::now();
        while let Err(error) = other.bus.meet(&self.address()).await {
            assert!(began.elapsed() < PATIENCE, "{error}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        other.bus.send(packet_of(77, self.id, 1));
        let heard = || self.heard().contains(&packet_of(77, self.id, 1));
        until("a packet of another node", heard).await;
        other.bus.close().await;
    }
}

/// A map of members by id and clients' address.
fn map_of(members: &[(u64, &str)]) -> Map {
    let (id, address) = members[0];
    let mut map = Map::alone(NodeId(id), address.into(), "zone".into(), Quorum::ALONE);
    for (id, address) in &members[1..] {
        let join = Proposal::join(NodeId(*id), (*address).into(), "zone".into());
        map.apply(&join).unwrap();
    }
    map
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_bus_that_others_can_reach_wants_a_secret() {
    let open = BusConfig {
        listen: SocketAddr::from(([0, 0, 0, 0], 0)),
        ..config(1, None)
    };
    let failure = Bus::bind(open.clone()).unwrap_err();
    assert!(failure.remedy.contains("--secret-file"), "{failure}");
    let secret = Some(secret());
    assert!(Bus::bind(BusConfig { secret, ..open }).is_ok());
}

#[tokio::test]
async fn a_port_in_use_is_told_with_what_it_is_for() {
    let first = TestNode::new(1, None);
    let listen = first.bus.local_address();
    let failure = Bus::bind(BusConfig {
        listen,
        ..config(2, None)
    })
    .unwrap_err();
    assert!(failure.what.contains("bus between nodes"), "{failure}");
}

#[tokio::test]
async fn a_bus_does_not_show_its_secret() {
    let node = TestNode::new(1, Some(secret()));
    assert!(!format!("{:?}", node.bus).contains("only the nodes"));
}

//! What nodes that mean well see of the bus.

use super::*;

/// Two nodes that know each other by the map.
fn pair(secret: Option<Secret>) -> [TestNode; 2] {
    let nodes = [1, 2].map(|id| TestNode::new(id, secret.clone()));
    let map = map_of(&[(1, &nodes[0].address()), (2, &nodes[1].address())]);
    for node in &nodes {
        node.bus.learn(&map);
    }
    nodes
}

#[tokio::test]
async fn packets_go_both_ways() {
    for secret in [None, Some(secret())] {
        let [one, two] = pair(secret);
        one.bus.send(packet_of(1, 2, 7));
        two.bus.send(packet_of(2, 1, 8));
        until("a packet at two", || two.heard() == [packet_of(1, 2, 7)]).await;
        until("a packet at one", || one.heard() == [packet_of(2, 1, 8)]).await;
        until("the connection", || one.is_connected(2)).await;
        let link = one.link(2).unwrap();
        assert_eq!(link.address, two.address());
        assert!(link.sent_bytes > 0 && link.received_bytes > 0, "{link:?}");
    }
}

#[tokio::test]
async fn packets_arrive_in_the_order_they_were_sent_in() {
    let [one, two] = pair(Some(secret()));
    let sent: Vec<Packet> = (0..5_000).map(|number| packet_of(1, 2, number)).collect();
    for packet in &sent {
        one.bus.send(packet.clone());
    }
    until("all packets", || two.heard.lock().len() == sent.len()).await;
    assert_eq!(two.heard(), sent);
    assert_eq!(one.link(2).unwrap().dropped, 0);
}

#[tokio::test]
async fn a_long_packet_arrives_whole() {
    let [one, two] = pair(Some(secret()));
    let long = packet(1, 2, &[9 << 20]);
    one.bus.send(packet_of(1, 2, 1));
    one.bus.send(long.clone());
    one.bus.send(packet_of(1, 2, 2));
    until("three packets", || two.heard.lock().len() == 3).await;
    assert_eq!(two.heard(), [packet_of(1, 2, 1), long, packet_of(1, 2, 2)]);
}

#[tokio::test]
async fn who_joins_is_heard_and_answered_before_a_map_tells_of_it() {
    let (old, new) = (
        TestNode::new(1, Some(secret())),
        TestNode::new(2, Some(secret())),
    );
    old.bus.learn(&map_of(&[(1, &old.address())]));
    let met = new.bus.meet(&old.address()).await.unwrap();
    assert_eq!(met, NodeId(1));
    new.bus.send(packet_of(2, 1, 5));
    until("the knock", || old.heard() == [packet_of(2, 1, 5)]).await;
    old.bus.send(packet_of(1, 2, 6));
    until("the answer", || new.heard() == [packet_of(1, 2, 6)]).await;
}

#[tokio::test]
async fn a_node_that_starts_again_is_connected_again() {
    let [one, two] = pair(Some(secret()));
    until("both connections", || {
        one.is_connected(2) && two.is_connected(1)
    })
    .await;
    let (listen, map) = (
        two.bus.local_address(),
        map_of(&[(1, &one.address()), (2, &two.address())]),
    );
    two.bus.close().await;
    until("the loss", || !one.is_connected(2)).await;
    let again = TestNode::start(BusConfig {
        listen,
        ..config(2, Some(secret()))
    });
    again.bus.learn(&map);
    until("the connection", || {
        one.is_connected(2) && again.is_connected(1)
    })
    .await;
    one.bus.send(packet_of(1, 2, 1));
    again.bus.send(packet_of(2, 1, 2));
    until("a packet there", || again.heard() == [packet_of(1, 2, 1)]).await;
    until("a packet here", || one.heard() == [packet_of(2, 1, 2)]).await;
}

#[tokio::test]
async fn a_node_that_starts_again_elsewhere_is_found_by_what_it_says() {
    let [one, two] = pair(Some(secret()));
    until("the connection", || one.is_connected(2)).await;
    two.bus.close().await;
    let again = TestNode::new(2, Some(secret()));
    again
        .bus
        .learn(&map_of(&[(1, &one.address()), (2, &again.address())]));
    until("its connection", || again.is_connected(1)).await;
    until("the connection", || one.is_connected(2)).await;
    one.bus.send(packet_of(1, 2, 1));
    until("a packet there", || again.heard() == [packet_of(1, 2, 1)]).await;
}

#[tokio::test]
async fn a_queue_that_is_full_drops_and_counts_and_never_blocks() {
    // It takes connections and says nothing.
    let mute = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = own_address(mute.local_addr().unwrap()).unwrap();
    let mut config = config(1, None);
    config.limits.queue_bytes = 1000;
    let one = TestNode::start(config);
    one.bus
        .learn(&map_of(&[(1, &one.address()), (2, &address)]));
    for number in 0..1000 {
        one.bus.send(packet_of(1, 2, number));
    }
    let link = one.link(2).unwrap();
    assert!(link.queued_bytes <= 1000, "{link:?}");
    assert!(link.dropped > 900, "{link:?}");
    let state = || one.link(2).map(|link| link.state);
    until("an attempt", || state() == Some(LinkState::Connecting)).await;
    one.works_for_others().await;
}

#[tokio::test]
async fn who_has_left_the_map_is_dropped() {
    let [one, two] = pair(None);
    until("the connection", || one.is_connected(2)).await;
    two.bus.close().await;
    one.bus.learn(&map_of(&[(1, &one.address())]));
    until("its loss", || {
        one.bus.learn(&map_of(&[(1, &one.address())]));
        one.bus.links().is_empty()
    })
    .await;
    one.bus.send(packet_of(1, 2, 1));
    assert_eq!(one.bus.unaddressed(), 1);
}

#[tokio::test]
async fn a_connection_on_which_nothing_is_said_stays() {
    let mut configs = [1, 2].map(|id| config(id, Some(secret())));
    for config in &mut configs {
        config.limits.alive = Duration::from_millis(30);
        config.limits.silence = Duration::from_millis(300);
    }
    let [one, two] = configs.map(TestNode::start);
    let map = map_of(&[(1, &one.address()), (2, &two.address())]);
    one.bus.learn(&map);
    let stands = || one.link(2).is_some_and(|link| link.connected_for_ms > 700);
    until("a connection that stands", stands).await;
    assert_eq!(two.refused(Refusal::Silent), 0);
}

#[tokio::test]
async fn a_stranger_that_nobody_speaks_to_is_let_go() {
    let mut config = config(1, None);
    config.limits.alive = Duration::from_millis(20);
    config.limits.idle = Duration::from_millis(60);
    let one = TestNode::start(config);
    let two = TestNode::new(2, None);
    one.bus.meet(&two.address()).await.unwrap();
    one.bus.send(packet_of(1, 2, 1));
    until("the packet", || two.heard().len() == 1).await;
    let state = || one.link(2).map(|link| link.state);
    until("the end", || state() == Some(LinkState::Idle)).await;
    one.bus.send(packet_of(1, 2, 2));
    until("another packet", || two.heard().len() == 2).await;
}

#[tokio::test]
async fn a_bus_that_closes_lets_go_of_what_is_queued() {
    let [one, two] = pair(Some(secret()));
    until("the connection", || one.is_connected(2)).await;
    for number in 0..100 {
        one.bus.send(packet_of(1, 2, number));
    }
    one.bus.close().await;
    until("all packets", || two.heard().len() == 100).await;
    one.bus.send(packet_of(1, 2, 100));
    assert!(one.bus.links().is_empty());
}

//! What clients and monitors are told by a node that is one of three.

mod ring;

use tokio::net::TcpStream;
use trilith::command::Reply;
use trilith::ring::driver::{Consistency, View};
use trilith::ring::{META, NodeId};
use trilith::slot::{SLOTS, arc_of, slot_of};

use super::testing::{A, B, C, Puppet, ask, copy, in_blocks, interleaved, resp2};
use super::{Link, Stance, Topology};
use crate::server::tests::{expect, send, start};
use crate::server::volatile::Volatile;

const A_ID: &str = "00000000000000000000000000000000000000a1";
const B_ID: &str = "00000000000000000000000000000000000000b2";
const C_ID: &str = "00000000000000000000000000000000000000c3";

/// What SLOTS covers, slot by slot.
fn covered(slots: &Reply) -> Vec<(u16, String)> {
    let Reply::Array(rows) = slots else {
        panic!("not a list");
    };
    let mut covered = Vec::new();
    for row in rows {
        let Reply::Array(row) = row else {
            panic!("not a row");
        };
        let [Reply::Int(first), Reply::Int(last), Reply::Array(node)] = &row[..] else {
            panic!("not a run: {row:?}");
        };
        let [Reply::Bulk(host), Reply::Int(port), Reply::Bulk(id), _] = &node[..] else {
            panic!("not a node: {node:?}");
        };
        assert_eq!(id.len(), 40);
        let address = format!("{}:{port}", String::from_utf8_lossy(host));
        covered.extend((*first..=*last).map(|slot| (slot as u16, address.clone())));
    }
    covered
}

#[tokio::test]
async fn the_bytes_of_slots_are_masters_only_run_by_run() {
    let reply = Puppet::new(interleaved()).ask("CLUSTER SLOTS").await;
    let mut expected = "*256\r\n".to_owned();
    for arc in 0..256 {
        let (port, id) = [(7000, A_ID), (7001, B_ID), (7002, C_ID)][arc % 3];
        let (first, last) = (arc * 64, arc * 64 + 63);
        expected += &format!(
            "*3\r\n:{first}\r\n:{last}\r\n*4\r\n$9\r\n127.0.0.1\r\n:{port}\r\n$40\r\n{id}\r\n*0\r\n"
        );
    }
    assert_eq!(resp2(&reply), expected);
}

#[tokio::test]
async fn neighbours_of_one_master_are_one_run() {
    let reply = Puppet::new(in_blocks()).ask("CLUSTER SLOTS").await;
    let run = |first, last, port, id| {
        format!(
            "*3\r\n:{first}\r\n:{last}\r\n*4\r\n$9\r\n127.0.0.1\r\n:{port}\r\n$40\r\n{id}\r\n*0\r\n"
        )
    };
    let expected = [
        "*3\r\n".to_owned(),
        run(0, 8191, 7000, A_ID),
        run(8192, 12287, 7001, B_ID),
        run(12288, 16383, 7002, C_ID),
    ];
    assert_eq!(resp2(&reply), expected.concat());
}

#[tokio::test]
async fn every_slot_is_covered_whatever_is_not_known() {
    let views = [
        interleaved(),
        // Before the first map.
        View {
            map: None,
            routes: Vec::new(),
            ..interleaved()
        },
        // A master that is no member any more.
        View {
            routes: vec![NodeId(99); 256],
            ..interleaved()
        },
        // Everybody else is silent, and nothing is known of routes.
        View {
            routes: Vec::new(),
            silent: [B, C].into(),
            ..interleaved()
        },
        // A node that has been taken off the map.
        View {
            me: NodeId(7),
            ..interleaved()
        },
    ];
    for view in views {
        let puppet = Puppet::new(view);
        let slots = covered(&puppet.ask("CLUSTER SLOTS").await);
        assert!((0..SLOTS).eq(slots.iter().map(|(slot, _)| *slot)));
        let addresses = ["127.0.0.1:7000", "127.0.0.1:7001", "127.0.0.1:7002"];
        assert!(
            slots
                .iter()
                .all(|(_, address)| addresses.contains(&&**address))
        );
        let nodes = puppet.text("CLUSTER NODES").await;
        assert_eq!(nodes.matches("myself,").count(), 1, "{nodes}");
    }
}

#[tokio::test]
async fn the_lines_of_nodes_name_slots_and_who_is_silent() {
    let view = View {
        silent: [C].into(),
        ..in_blocks()
    };
    let puppet = Puppet::new(view);
    assert_eq!(
        puppet.text("CLUSTER NODES").await,
        format!(
            "{A_ID} 127.0.0.1:7000@17000 myself,master - 0 0 3 connected 0-8191\n\
             {B_ID} 127.0.0.1:7001@17001 master - 0 0 3 connected 8192-12287\n\
             {C_ID} 127.0.0.1:7002@17002 master,fail? - 0 0 3 disconnected 12288-16383\n"
        )
    );
    assert_eq!(puppet.text("CLUSTER MYID").await, A_ID);
}

#[tokio::test]
async fn shards_are_one_a_node() {
    let reply = Puppet::new(in_blocks()).ask("CLUSTER SHARDS").await;
    let shown = resp2(&reply);
    let first = format!(
        "*3\r\n*4\r\n$5\r\nslots\r\n*2\r\n:0\r\n:8191\r\n$5\r\nnodes\r\n*1\r\n*14\r\n$2\r\nid\r\n$40\r\n{A_ID}\r\n\
         $4\r\nport\r\n:7000\r\n$2\r\nip\r\n$9\r\n127.0.0.1\r\n$8\r\nendpoint\r\n$9\r\n127.0.0.1\r\n\
         $4\r\nrole\r\n$6\r\nmaster\r\n$18\r\nreplication-offset\r\n:0\r\n$6\r\nhealth\r\n$6\r\nonline\r\n"
    );
    assert!(shown.starts_with(&first), "{shown}");
}

#[tokio::test]
async fn the_state_is_ok_even_with_a_silent_master() {
    let view = View {
        silent: [C].into(),
        ..in_blocks()
    };
    let info = Puppet::new(view).text("CLUSTER INFO").await;
    assert!(info.starts_with("cluster_state:ok\r\n"), "{info}");
    for line in [
        "cluster_slots_assigned:16384",
        "cluster_slots_ok:12288",
        "cluster_slots_pfail:4096",
        "cluster_known_nodes:3",
        "cluster_size:3",
    ] {
        assert!(info.lines().any(|found| found == line), "{line}: {info}");
    }
}

#[tokio::test]
async fn moved_says_for_every_slot_what_slots_says() {
    for view in [interleaved(), in_blocks()] {
        let puppet = Puppet::new(view.clone());
        let topology = Topology::new(&view, "127.0.0.1:7000");
        let slots = covered(&puppet.ask("CLUSTER SLOTS").await);
        for (slot, address) in slots {
            let endpoint = topology.endpoint(topology.master(slot));
            assert_eq!(endpoint.to_string(), address);
        }
    }
}

/// A key of a slot that the node masters by this view.
fn key_of(node: NodeId, view: &View) -> String {
    let topology = Topology::new(view, "");
    let mut keys = (0..).map(|number| format!("key{number}"));
    keys.find(|key| topology.master(slot_of(key.as_bytes())) == node)
        .unwrap()
}

#[tokio::test]
async fn plain_clients_are_forwarded_and_those_who_know_the_map_are_moved_in_order() {
    let view = interleaved();
    let (own, other) = (key_of(A, &view), key_of(B, &view));
    let slot = slot_of(other.as_bytes());
    let server = start(Puppet::new(view), &[]).await;
    let mut client = server.connect().await;
    let pipeline = format!("SET {own} 1\r\nSET {other} 2\r\nGET {own}\r\nGET {other}\r\n");
    send(&mut client, pipeline.as_bytes()).await;
    expect(&mut client, "+OK\r\n+OK\r\n$1\r\n1\r\n$1\r\n2\r\n").await;
    // To ask about the cluster is not to know the map.
    send(
        &mut client,
        format!("CLUSTER MYID\r\nGET {other}\r\n").as_bytes(),
    )
    .await;
    expect(&mut client, &format!("$40\r\n{A_ID}\r\n$1\r\n2\r\n")).await;
    let mut client = server.connect().await;
    learn_the_map(&mut client).await;
    let pipeline = format!(
        "SET {own} 3\r\nSET {other} 4\r\nGET {own}\r\nPING\r\nINCR {own}\r\nMGET {own} {other}\r\nDEL {other}\r\nGET {own}\r\n"
    );
    send(&mut client, pipeline.as_bytes()).await;
    let moved = format!("-MOVED {slot} 127.0.0.1:7001\r\n");
    expect(
        &mut client,
        &format!(
            "+OK\r\n{moved}$1\r\n3\r\n+PONG\r\n:4\r\n\
             -CROSSSLOT Keys in request don't hash to the same slot\r\n{moved}$1\r\n4\r\n"
        ),
    )
    .await;
    // RESET makes it a plain client again.
    send(&mut client, format!("RESET\r\nGET {other}\r\n").as_bytes()).await;
    expect(&mut client, "+RESET\r\n$1\r\n2\r\n").await;
}

/// From now on the client is one that knows where slots are.
async fn learn_the_map(client: &mut TcpStream) {
    let nodes = Puppet::new(interleaved()).text("CLUSTER NODES").await;
    send(client, b"CLUSTER NODES\r\n").await;
    expect(client, &format!("${}\r\n{nodes}\r\n", nodes.len())).await;
}

#[tokio::test]
async fn who_has_just_taken_office_serves_whatever_the_view_says() {
    let view = interleaved();
    let other = key_of(B, &view);
    let puppet = Puppet::new(view);
    let arc = arc_of(slot_of(other.as_bytes()));
    puppet.held().ranges.push(copy(arc.into(), "master"));
    let server = start(puppet, &[]).await;
    let mut client = server.connect().await;
    learn_the_map(&mut client).await;
    send(&mut client, format!("SET {other} 1\r\n").as_bytes()).await;
    expect(&mut client, "+OK\r\n").await;
}

#[tokio::test]
async fn who_only_guesses_at_the_master_forwards() {
    let mut view = interleaved();
    let other = key_of(B, &view);
    view.mastered[usize::from(arc_of(slot_of(other.as_bytes())))] = false;
    let server = start(Puppet::new(view), &[]).await;
    let mut client = server.connect().await;
    learn_the_map(&mut client).await;
    send(&mut client, format!("SET {other} 1\r\n").as_bytes()).await;
    expect(&mut client, "+OK\r\n").await;
}

#[tokio::test]
async fn keys_of_several_slots_are_refused_to_those_who_know_of_slots() {
    let server = start(Puppet::new(interleaved()), &[]).await;
    let mut client = server.connect().await;
    send(
        &mut client,
        b"MSET {t}a 1 {t}b 2\r\nMSET a 1 b 2\r\nDBSIZE\r\n",
    )
    .await;
    expect(&mut client, "+OK\r\n+OK\r\n:4\r\n").await;
    learn_the_map(&mut client).await;
    send(&mut client, b"MSET a 1 b 2\r\n").await;
    let refused = "-CROSSSLOT Keys in request don't hash to the same slot\r\n";
    expect(&mut client, refused).await;
}

#[tokio::test]
async fn readonly_lets_a_copy_answer_reads_and_moves_writes() {
    let view = interleaved();
    let other = key_of(C, &view);
    let slot = slot_of(other.as_bytes());
    let server = start(Puppet::new(view), &[]).await;
    let mut client = server.connect().await;
    let moved = format!("-MOVED {slot} 127.0.0.1:7002\r\n");
    send(&mut client, b"CLUSTER MYID\r\nCLUSTER SLOTS\r\n").await;
    let slots = Puppet::new(interleaved()).ask("CLUSTER SLOTS").await;
    expect(&mut client, &format!("$40\r\n{A_ID}\r\n{}", resp2(&slots))).await;
    let pipeline = format!(
        "GET {other}\r\nREADONLY\r\nGET {other}\r\nSET {other} 1\r\nREADWRITE\r\nGET {other}\r\n"
    );
    send(&mut client, pipeline.as_bytes()).await;
    expect(
        &mut client,
        &format!("{moved}+OK\r\n$-1\r\n{moved}+OK\r\n{moved}"),
    )
    .await;
}

#[tokio::test]
async fn the_keys_of_a_slot_are_counted_and_listed() {
    let puppet = Puppet::new(in_blocks());
    let (own, other) = (key_of(A, &in_blocks()), key_of(B, &in_blocks()));
    let server = start(puppet.clone(), &[]).await;
    let mut client = server.connect().await;
    let pipeline = format!("MSET {{{own}}}1 x {{{own}}}2 y\r\nSET {other} z\r\n");
    send(&mut client, pipeline.as_bytes()).await;
    expect(&mut client, "+OK\r\n+OK\r\n").await;
    let (slot, foreign) = (slot_of(own.as_bytes()), slot_of(other.as_bytes()));
    let count = puppet.ask(&format!("CLUSTER COUNTKEYSINSLOT {slot}")).await;
    assert_eq!(count, Reply::Int(2));
    let count = puppet
        .ask(&format!("CLUSTER COUNTKEYSINSLOT {foreign}"))
        .await;
    assert_eq!(count, Reply::Int(0));
    let keys = puppet.ask(&format!("CLUSTER GETKEYSINSLOT {slot} 1")).await;
    assert_eq!(keys, Reply::Array(vec![Reply::text(format!("{{{own}}}1"))]));
    for line in ["CLUSTER COUNTKEYSINSLOT 16384", "CLUSTER COUNTKEYSINSLOT x"] {
        assert_eq!(puppet.refused(line).await, "ERR Invalid slot");
    }
}

#[tokio::test]
async fn links_say_where_they_lead() {
    let puppet = Puppet::new(interleaved());
    let link = |node, is_connected| Link {
        node,
        is_connected,
        ..Link::default()
    };
    puppet.held().links = vec![link(B, true), link(C, false)];
    let shown = resp2(&puppet.ask("CLUSTER LINKS").await);
    let expected =
        format!("*1\r\n*12\r\n$9\r\ndirection\r\n$2\r\nto\r\n$4\r\nnode\r\n$40\r\n{B_ID}\r\n");
    assert!(shown.starts_with(&expected), "{shown}");
}

#[tokio::test]
async fn what_redis_cluster_is_operated_by_is_refused_with_what_to_do() {
    let puppet = Puppet::new(interleaved());
    for (line, hint) in [
        ("CLUSTER MEET 127.0.0.1 7000", "--join"),
        ("CLUSTER RESET", "RING DRAIN"),
        ("CLUSTER ADDSLOTS 1", "RING TRANSFER"),
        ("CLUSTER FAILOVER", "RING TRANSFER"),
        ("CLUSTER REPLICATE x", "RING QUORUM"),
        ("CLUSTER NOPE", "Try CLUSTER HELP"),
        ("CLUSTER REPLICAS nobody", "Unknown node"),
        ("ASKING", "without ASKING"),
    ] {
        let text = puppet.refused(line).await;
        assert!(text.contains(hint), "{line}: {text}");
    }
    let none = puppet.ask(&format!("CLUSTER REPLICAS {B_ID}")).await;
    assert_eq!(none, Reply::Array(Vec::new()));
    assert!(matches!(puppet.ask("CLUSTER HELP").await, Reply::Array(_)));
}

#[tokio::test]
async fn a_store_that_is_alone_answers_as_redis_without_cluster_mode() {
    let alone = Volatile::default();
    let stance = &mut Stance::default();
    for line in ["CLUSTER SLOTS", "CLUSTER MEET a 1", "READONLY", "ASKING"] {
        assert_eq!(
            ask(&alone, line, stance).await,
            Reply::error("ERR This instance has cluster support disabled")
        );
    }
    assert_eq!(ask(&alone, "WAIT 0 0", stance).await, Reply::Int(0));
    assert_eq!(ask(&alone, "CONSISTENCY W 1 WEAK", stance).await, Reply::OK);
    assert!(ask(&alone, "CONSISTENCY W 2", stance).await.is_error());
    assert!(ask(&alone, "RING STATUS", stance).await.is_error());
    let server = start(alone, &[]).await;
    let mut client = server.connect().await;
    send(&mut client, b"MSET a 1 b 2\r\nINFO cluster\r\n").await;
    let info = "# Cluster\r\ncluster_enabled:0\r\n";
    expect(
        &mut client,
        &format!("+OK\r\n${}\r\n{info}\r\n", info.len()),
    )
    .await;
}

#[tokio::test]
async fn hello_and_info_tell_of_the_cluster() {
    let puppet = Puppet::new(interleaved());
    puppet.held().ranges.push(copy(META, "master"));
    let server = start(puppet, &[]).await;
    let mut client = server.connect().await;
    send(&mut client, b"HELLO 2\r\n").await;
    expect(
        &mut client,
        "*14\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n$5\r\nproto\r\n:2\r\n\
         $2\r\nid\r\n:1\r\n$4\r\nmode\r\n$7\r\ncluster\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n",
    )
    .await;
    send(&mut client, b"INFO replication cluster\r\n").await;
    let info = "# Replication\r\nrole:master\r\nconnected_slaves:0\r\nquorum_n:3\r\nquorum_w:2\r\nquorum_r:2\r\n\
                quorum_elect:2\r\nquorum_commit:2\r\nquorum_confirm:2\r\nreads_are_strong:1\r\nwrites_survive:1\r\n\
                ranges_held:2\r\nranges_mastered:1\r\nranges_learning:0\r\nranges_without_master:0\r\n\r\n\
                # Cluster\r\ncluster_enabled:1\r\nmap_version:3\r\nmembers:3\r\nmembers_silent:0\r\n\
                ranges_in_place:0\r\nranges_moving:0\r\nsnapshot_sent_bytes:0\r\nlinks:0\r\n";
    expect(&mut client, &format!("${}\r\n{info}\r\n", info.len())).await;
}

#[tokio::test]
async fn a_connection_may_ask_for_more_copies_but_not_for_fewer() {
    let puppet = Puppet::new(interleaved());
    let stance = &mut Stance::default();
    for line in ["CONSISTENCY W 3", "CONSISTENCY R 2 W 3", "CONSISTENCY weak"] {
        assert_eq!(puppet.ask_as(line, stance).await, Reply::OK, "{line}");
    }
    assert!(stance.consistency.weak && stance.consistency.w == 0);
    for line in [
        "CONSISTENCY W 1",
        "CONSISTENCY W 4",
        "CONSISTENCY R 0",
        "CONSISTENCY R",
        "CONSISTENCY W x",
        "CONSISTENCY R 3 WEAK",
        "CONSISTENCY DEFAULT W 2",
    ] {
        assert!(puppet.ask_as(line, stance).await.is_error(), "{line}");
    }
    // What was refused has changed nothing.
    assert!(stance.consistency.weak);
    assert_eq!(
        puppet.ask_as("CONSISTENCY DEFAULT", stance).await,
        Reply::OK
    );
    assert_eq!(stance.consistency, Consistency::default());
}

#[tokio::test]
async fn consistency_holds_from_its_place_in_the_pipeline_on() {
    let puppet = Puppet::new(interleaved());
    let server = start(puppet.clone(), &[]).await;
    let mut client = server.connect().await;
    send(
        &mut client,
        b"SET a 1\r\nCONSISTENCY W 3\r\nSET a 2\r\nCONSISTENCY\r\nWAIT 2 0\r\n",
    )
    .await;
    expect(
        &mut client,
        "+OK\r\n+OK\r\n+OK\r\n*6\r\n$1\r\nw\r\n:3\r\n$1\r\nr\r\n:2\r\n$4\r\nweak\r\n:0\r\n:1\r\n",
    )
    .await;
    let w: Vec<u8> = puppet.held().executed.iter().map(|how| how.w).collect();
    assert_eq!(w, [0, 3]);
}

#[tokio::test]
async fn wait_answers_how_many_others_are_sure_to_have_what_was_written() {
    let puppet = Puppet::new(interleaved());
    let stance = &mut Stance::default();
    assert_eq!(puppet.ask_as("WAIT 2 100", stance).await, Reply::Int(1));
    // A range that is still to be replicated acknowledges by itself.
    puppet.held().ranges[1].w = 1;
    assert_eq!(puppet.ask_as("WAIT 2 100", stance).await, Reply::Int(0));
    assert_eq!(puppet.ask_as("CONSISTENCY W 3", stance).await, Reply::OK);
    stance.writes();
    assert_eq!(puppet.ask_as("WAIT 2 100", stance).await, Reply::Int(2));
    for line in ["WAIT x 0", "WAIT 1 x", "WAIT 1 -1"] {
        assert!(puppet.ask(line).await.is_error(), "{line}");
    }
}

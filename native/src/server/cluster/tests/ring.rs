//! What operators are told, and what is done for them.

use trilith::ErrorKind;
use trilith::command::Reply;
use trilith::ring::Quorum;
use trilith::ring::driver::View;
use trilith::ring::meta::{Moving, Proposal};

use super::super::testing::{A, B, C, Puppet, in_blocks, interleaved};
use super::C_ID;

#[tokio::test]
async fn ring_status_is_one_object() {
    let view = View {
        silent: [C].into(),
        ..in_blocks()
    };
    let status = Puppet::new(view).text("RING STATUS").await;
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["me"], "00000000000000a1");
    assert_eq!(status["version"], 3);
    assert_eq!(
        status["quorum"],
        serde_json::json!({"n": 3, "w": 2, "r": 2})
    );
    assert_eq!(
        status["moving"],
        serde_json::json!({"paused": false, "bytes_per_second": 64 << 20, "at_once": 4})
    );
    assert_eq!(
        status["members"][2],
        serde_json::json!({
            "id": "00000000000000c3", "address": "127.0.0.1:7002", "zone": "west", "weight": 1,
            "state": "active", "silent": true, "masters": 64, "copies": 256
        })
    );
    assert_eq!(
        status["progress"],
        serde_json::json!({"mastered": 0, "in_place": 0, "moving": 0, "sent_bytes": 0})
    );
}

#[tokio::test]
async fn ring_ranges_are_rows_with_ids_as_texts() {
    let ranges = Puppet::new(interleaved()).text("RING RANGES").await;
    let ranges: serde_json::Value = serde_json::from_str(&ranges).unwrap();
    assert_eq!(
        ranges[1],
        serde_json::json!({
            "range": 2, "role": "voter", "master": "00000000000000c3", "term": 3, "last": 9, "commit": 8,
            "applied": 7, "voters": ["00000000000000a1", "00000000000000b2", "00000000000000c3"],
            "learners": [], "n": 3, "w": 2, "r": 2, "writes": 5, "reads": 6
        })
    );
}

#[tokio::test]
async fn ring_proposes_what_it_is_asked_to() {
    let puppet = Puppet::new(View {
        silent: [C].into(),
        ..interleaved()
    });
    for line in [
        "RING DRAIN 00000000000000b2",
        "RING DRAIN 127.0.0.1:7001",
        &format!("RING REMOVE {C_ID}"),
        "RING QUORUM 3 3 1",
        "RING MOVING PAUSE",
        "RING MOVING RATE 1000 2",
    ] {
        assert_eq!(puppet.ask(line).await, Reply::OK, "{line}");
    }
    let now = Moving::default();
    assert_eq!(
        puppet.held().proposed,
        [
            Proposal::Drain(B),
            Proposal::Drain(B),
            Proposal::Remove(C),
            Proposal::Quorum(Quorum::new(3, 3, 1).unwrap()),
            Proposal::Moving(Moving {
                paused: true,
                ..now
            }),
            Proposal::Moving(Moving {
                bytes_per_second: 1000,
                at_once: 2,
                ..now
            }),
        ]
    );
}

#[tokio::test]
async fn ring_refuses_with_what_to_do_and_proposes_nothing() {
    let puppet = Puppet::new(interleaved());
    for (line, hint) in [
        ("RING DRAIN 00000000000000dd", "RING STATUS"),
        ("RING DRAIN b2", "RING STATUS"),
        ("RING REMOVE 00000000000000b2", "RING DRAIN it first"),
        ("RING QUORUM 3 4 1", "from 1 to N"),
        ("RING MOVING RATE 0 1", "PAUSE"),
        ("RING MOVING FASTER", "syntax"),
        ("RING TRANSFER 256", "0 to 255"),
        ("RING TRANSFER 2", "ask 00000000000000c3 at 127.0.0.1:7002"),
        ("RING RECOVER 9", "RING RANGES"),
    ] {
        let text = puppet.refused(line).await;
        assert!(text.contains(hint), "{line}: {text}");
    }
    let held = puppet.held();
    assert!(held.proposed.is_empty() && held.handed_over.is_empty() && held.recovered.is_empty());
}

#[tokio::test]
async fn the_last_node_that_holds_anything_stays() {
    let mut view = interleaved();
    let map = view.map.as_mut().unwrap();
    map.apply(&Proposal::Drain(B)).unwrap();
    map.apply(&Proposal::Drain(C)).unwrap();
    let text = Puppet::new(view)
        .refused("RING DRAIN 00000000000000a1")
        .await;
    assert!(text.contains("--join"), "{text}");
}

#[tokio::test]
async fn ranges_are_handed_over_and_recovered_here() {
    let puppet = Puppet::new(interleaved());
    for line in [
        "RING TRANSFER 0",
        "RING TRANSFER 0 00000000000000c3",
        "RING RECOVER 2",
    ] {
        assert_eq!(puppet.ask(line).await, Reply::OK, "{line}");
    }
    assert_eq!(puppet.held().handed_over, [(0, None), (0, Some(C))]);
    assert_eq!(puppet.held().recovered, [2]);
    puppet.held().ranges[0].voters = vec![A, B];
    let text = puppet.refused("RING TRANSFER 0 00000000000000c3").await;
    assert!(text.contains("choose one of"), "{text}");
}

#[tokio::test]
async fn a_change_that_may_yet_be_made_is_called_unknown() {
    let puppet = Puppet::new(interleaved());
    for (kind, code) in [
        (ErrorKind::Unknown, "UNKNOWN "),
        (ErrorKind::Invalid, "ERR "),
        (ErrorKind::Failed, "ERR nothing was changed"),
    ] {
        puppet.fail(kind);
        let text = puppet.refused("RING DRAIN 00000000000000b2").await;
        assert!(text.starts_with(code), "{text}");
    }
}

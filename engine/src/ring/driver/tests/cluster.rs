//! Several nodes.

use super::*;

fn preferred(map: &Map) -> Vec<NodeId> {
    map.table.rows().map(|row| row[0]).collect()
}

fn three() -> Cluster {
    Cluster::of(3, BALANCED)
}

#[test]
fn three_nodes_that_join_hold_everything_and_any_of_them_serves() {
    let cluster = three();
    for place in 0..3 {
        let ranges = cluster.node(place).ranges();
        assert_eq!(ranges.len(), 257);
        assert!(ranges.iter().all(|range| range.voters.len() == 3));
        assert!(
            ranges
                .iter()
                .all(|range| (range.n, range.w, range.r) == (3, 2, 2))
        );
    }
    for n in 0..30 {
        assert_eq!(cluster.ask(n % 3, &format!("SET key{n} {n}")), Reply::OK);
        for place in 0..3 {
            let reply = cluster.ask(place, &format!("GET key{n}"));
            assert_eq!(reply, bulk(&n.to_string()), "key{n} at {place}");
        }
        let key = n + 100;
        cluster.ask(n % 3, &format!("SET key{key} {key}"));
        // What explains a read has read.
        for place in 0..3 {
            let explained = cluster.ask(place, &format!("EXPLAIN GET key{key}"));
            assert!(
                format!("{explained:?}").contains("\"found, 3 bytes"),
                "{explained:?}"
            );
        }
    }
    // Each answers for what it masters, and together they master everything.
    let keys: i64 = (0..3)
        .map(|place| match cluster.ask(place, "DBSIZE") {
            Reply::Int(keys) => keys,
            reply => panic!("{reply:?}"),
        })
        .sum();
    assert_eq!(keys, 60);
    for place in 0..3 {
        assert_eq!(cluster.ask(place, "FLUSHALL"), Reply::OK);
    }
    assert_eq!(cluster.ask(1, "GET key7"), Reply::Null);
    // Office goes where it is preferred, and everybody hears of it.
    cluster.await_that("clients are sent to the preferred masters", |cluster| {
        cluster.nodes().all(|node| {
            let view = node.view();
            let preferred: Vec<NodeId> = view.map.iter().flat_map(preferred).collect();
            view.routes == preferred
        })
    });
    let view = cluster.node(0).view();
    for node in cluster.nodes() {
        let routes = view.routes.iter();
        let its = routes.filter(|&&route| route == node.id()).count();
        assert!((85..=86).contains(&its), "{its}");
    }
}

#[test]
fn writes_go_on_when_a_master_is_gone_and_it_catches_up_when_it_is_back() {
    let mut cluster = three();
    assert_eq!(cluster.ask(0, "SET k 1"), Reply::OK);
    let gone = cluster.master_of(arc("k"));
    let dead = cluster.node(gone).id();
    let others: Vec<usize> = (0..3).filter(|&place| place != gone).collect();
    cluster.kill(gone);
    assert_eq!(cluster.insist(others[0], "SET k 2"), Reply::OK);
    for &place in &others {
        assert_eq!(cluster.ask(place, "GET k"), bulk("2"));
    }
    cluster.await_that("nobody is sent to the dead", |cluster| {
        let view = cluster.node(others[0]).view();
        view.silent.contains(&dead) && !view.routes.contains(&dead)
    });
    let contacts = vec![cluster.node(others[0]).id()];
    let machine = &mut cluster.machines[gone];
    machine.storage = machine
        .storage
        .restart(crate::storage::faulty::CrashMode::ProcessKilled);
    cluster.boot(gone, Start::Join { contacts });
    cluster.await_that("all is as it was", |cluster| cluster.are_in_place(3));
    assert_eq!(cluster.ask(gone, "GET k"), bulk("2"));
    cluster.await_that("all are heard", |cluster| {
        cluster.nodes().all(|node| node.view().silent.is_empty())
    });
}

#[test]
fn a_node_without_a_copy_serves_through_the_others() {
    let cluster = Cluster::of(5, BALANCED);
    cluster.await_that("copies that are not wanted are gone", |cluster| {
        let copies: usize = cluster.nodes().map(|node| node.ranges().len()).sum();
        copies == 256 * 3 + 5
    });
    let mut without = 0;
    for n in 0..40 {
        let key = format!("key{n}");
        for place in 0..5 {
            without += usize::from(cluster.range(place, arc(&key)).is_none());
            let (set, get) = (format!("SET {key} {place}"), format!("GET {key}"));
            assert_eq!(cluster.ask(place, &set), Reply::OK);
            let read = cluster.ask((place + 2) % 5, &get);
            assert_eq!(read, bulk(&place.to_string()), "{key} at {place}");
        }
    }
    assert_eq!(without, 80);
    let forwards: u64 = cluster.nodes().map(|node| node.stats().forwards).sum();
    assert!(forwards > 80, "{forwards}");
    // A batch is answered in its order, wherever its keys are.
    let sets: Vec<String> = (0..40).map(|n| format!("INCR n{n}")).collect();
    let lines: Vec<&str> = sets.iter().map(String::as_str).collect();
    assert_eq!(cluster.run(3, &lines), vec![Reply::Int(1); 40]);
    let weak = Consistency {
        weak: true,
        ..Consistency::default()
    };
    cluster.pass(200);
    assert_eq!(cluster.run_with(4, &["GET key1"], weak), [bulk("4")]);
}

#[test]
fn a_planned_stop_hands_over_first() {
    let mut cluster = three();
    // The founder is still the master of everything, or nearly so.
    cluster.ask(0, "SET k 1");
    let leaver = cluster.master_of(arc("k"));
    let other = (leaver + 1) % 3;
    let before = cluster.runtime.monotonic();
    cluster
        .runtime
        .block_on(cluster.node(leaver).leave_office());
    let took = cluster.runtime.monotonic() - before;
    assert!(took < Duration::from_millis(900), "{took:?}");
    let mastered = cluster.node(leaver).ranges();
    assert!(mastered.iter().all(|range| range.role != "master"));
    cluster
        .runtime
        .block_on(cluster.node(leaver).close())
        .unwrap();
    assert!(matches!(cluster.ask(leaver, "GET k"), Reply::Error(_)));
    let before = cluster.runtime.monotonic();
    assert_eq!(cluster.ask(other, "SET k 2"), Reply::OK);
    let took = cluster.runtime.monotonic() - before;
    assert!(took < Duration::from_millis(200), "{took:?}");
    cluster.kill(leaver);
    assert_eq!(cluster.ask(other, "GET k"), bulk("2"));
}

#[test]
fn a_node_that_is_drained_gives_up_all_it_holds() {
    let mut cluster = Cluster::of(4, BALANCED);
    for n in 0..20 {
        cluster.ask(0, &format!("SET key{n} {n}"));
    }
    let drained = cluster.node(3).id();
    cluster.propose(Proposal::Drain(drained));
    cluster.await_that("it holds nothing", |cluster| {
        cluster.node(3).ranges().is_empty()
    });
    assert_eq!(cluster.ask(3, "GET key7"), bulk("7"));
    cluster.propose(Proposal::Remove(drained));
    cluster.kill(3);
    cluster.await_that("it is forgotten", |cluster| {
        cluster
            .nodes()
            .all(|node| node.view().map.as_ref().unwrap().members.len() == 3)
    });
    for n in 0..20 {
        assert_eq!(
            cluster.ask(n % 3, &format!("GET key{n}")),
            bulk(&n.to_string())
        );
    }
}

#[test]
fn a_change_of_office_is_known_everywhere_at_once() {
    let cluster = three();
    let master = cluster.master_of(9);
    let other = cluster.node((master + 1) % 3).id();
    cluster.node(master).hand_over(9, Some(other));
    for _ in 0..200 {
        if cluster.node((master + 1) % 3).masters(9) {
            break;
        }
        cluster.pass(1);
    }
    // Less than from one regular look to the next.
    cluster.pass(60);
    for node in cluster.nodes() {
        assert_eq!(node.view().routes[9], other);
        assert!(node.view().mastered[9]);
    }
}

#[test]
fn where_nobody_is_known_to_be_the_master_none_is_named() {
    let mut cluster = three();
    assert_eq!(cluster.ask(0, "SET k 1"), Reply::OK);
    let gone = cluster.master_of(arc("k"));
    cluster.kill(gone);
    let other = (gone + 1) % 3;
    let place = arc("k") as usize;
    cluster.await_that("its master is known to be gone", |cluster| {
        !cluster.node(other).view().mastered[place]
    });
    cluster.await_that("there is another one", |cluster| {
        cluster.node(other).view().mastered[place]
    });
}

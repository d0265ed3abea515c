//! Rings that are driven by hand.

use super::*;

fn ring(options: &str) -> Ring {
    Ring::open(options.parse().unwrap()).unwrap()
}

/// Does things at their times, in virtual milliseconds from now.
fn play(ring: &mut Ring, steps: &[(u64, &str)]) {
    let since_us = ring.now_us();
    for (at_ms, action) in steps {
        ring.run_to(since_us + at_ms * 1_000);
        ring.act(action.parse().unwrap()).unwrap();
    }
}

fn is_green(ring: &mut Ring) -> Verdict {
    let verdict = ring.check();
    assert!(verdict.green, "{}\n{verdict:#?}", ring.script());
    assert_eq!(verdict.linearizable, Some(true));
    verdict
}

fn settle(ring: &mut Ring) {
    for _ in 0..600 {
        if ring.is_whole() {
            return;
        }
        ring.advance(100_000);
    }
    panic!("it is never whole again: {}", ring.script());
}

#[test]
fn a_ring_serves_through_any_node() {
    let mut ring = ring("nodes=5 seed=1");
    settle(&mut ring);
    for node in 1..=5 {
        play(
            &mut ring,
            &[(0, &format!("ask {node} 0/0 SET k{node} v{node}"))],
        );
    }
    ring.advance(200_000);
    for node in 1..=5 {
        play(
            &mut ring,
            &[(0, &format!("ask {node} 0/0 MGET k1 k2 k3 k4 k5"))],
        );
    }
    ring.advance(200_000);
    let answers = ring.take_answers();
    assert_eq!(answers.len(), 10);
    let all = (1..=5).map(|node| crate::command::Reply::text(format!("v{node}")));
    let all = crate::command::Reply::Array(all.collect());
    assert!(
        answers[5..].iter().all(|answer| answer.reply == all),
        "{answers:?}"
    );
    let verdict = is_green(&mut ring);
    assert_eq!((verdict.acknowledged, verdict.answered), (5, 5));
}

#[test]
fn a_killed_master_costs_a_moment_and_no_acknowledged_write() {
    let mut ring = ring("nodes=5 seed=2");
    ring.advance(1_500_000);
    play(
        &mut ring,
        &[
            (0, "load 200 50 uniform 30 16"),
            (1_003, "kill 2"),
            (3_000, "restart 2"),
            (4_001, "kill 4 power"),
            (6_000, "restart 4"),
            (7_000, "load 0"),
        ],
    );
    settle(&mut ring);
    let verdict = is_green(&mut ring);
    assert!(verdict.acknowledged > 500, "{verdict:#?}");
    assert_eq!(verdict.lost + verdict.stale, 0);
}

#[test]
fn a_partition_stops_the_smaller_side_and_nothing_is_lost() {
    let mut ring = ring("nodes=5 seed=3");
    ring.advance(1_500_000);
    play(
        &mut ring,
        &[
            (0, "load 100 40 hot 50 16"),
            (500, "partition 1,2/3,4,5"),
            (3_500, "heal"),
            (4_000, "delay 30"),
            (4_500, "drop 100 3"),
            (6_500, "delay 0"),
            (6_500, "drop 0 3"),
            (6_600, "skew 1 40000"),
            (6_700, "pause 5"),
            (8_700, "resume 5"),
            (9_000, "load 0"),
        ],
    );
    settle(&mut ring);
    assert!(is_green(&mut ring).acknowledged > 200);
}

#[test]
fn nodes_come_and_go_and_a_lost_disk_is_made_anew() {
    let mut ring = ring("nodes=4 seed=4");
    ring.advance(1_500_000);
    play(&mut ring, &[(0, "load 50 40 uniform 20 16"), (500, "add")]);
    settle(&mut ring);
    let held = |ring: &Ring, number| {
        let running = ring.inspect(number).unwrap().running.unwrap();
        running.ranges.len()
    };
    assert!((150..=156).contains(&held(&ring, 5)), "{}", held(&ring, 5));
    play(&mut ring, &[(0, "wipe 2")]);
    settle(&mut ring);
    play(&mut ring, &[(0, "drain 1")]);
    for _ in 0..600 {
        ring.advance(100_000);
        if ring.inspect(1).unwrap().state == "gone" {
            break;
        }
    }
    assert_eq!(ring.inspect(1).unwrap().state, "gone");
    play(&mut ring, &[(0, "quorum 3 3 1"), (2_000, "load 0")]);
    settle(&mut ring);
    let copies = ring.inspect(3).unwrap().running.unwrap().ranges;
    assert!(
        copies
            .iter()
            .filter(|copy| copy.range < 256)
            .all(|copy| copy.quorum == [3, 3, 1])
    );
    assert!(is_green(&mut ring).acknowledged > 100);
    assert!(ring.act("kill 1".parse().unwrap()).is_err());
}

/// The master alone acknowledges, and is cut off from the others before they have heard of it.
#[test]
fn at_3_1_1_a_master_that_is_cut_off_loses_what_it_acknowledged() {
    let mut ring = ring("nodes=3 quorum=3,1,1 seed=5");
    ring.advance(1_500_000);
    play(&mut ring, &[(0, "ask 1 0/0 SET user:001 first")]);
    ring.advance(200_000);
    let arc = crate::slot::arc_of(crate::slot::slot_of(b"user:001"));
    let master = ring.offices.all()[usize::from(arc)].master;
    let other = master % 3 + 1;
    play(
        &mut ring,
        &[
            (0, &format!("partition {master}")),
            (50, &format!("ask {master} 0/0 SET user:001 lost")),
            (2_500, &format!("ask {other} 0/0 GET user:001")),
            (2_600, "heal"),
        ],
    );
    settle(&mut ring);
    ring.advance(1_000_000);
    let verdict = ring.check();
    assert!(!verdict.promises && !verdict.green, "{verdict:#?}");
    assert_eq!((verdict.lost, verdict.stale), (1, 1), "{verdict:#?}");
    assert_eq!(verdict.lost_writes[0].value, "lost");
    assert!(
        verdict.lost_writes[0]
            .text
            .starts_with("SET user:001 lost, acknowledged by node")
    );
    assert_eq!(verdict.stale_reads[0].value, "first");
}

#[test]
fn a_script_does_again_what_was_done_however_often_one_looks() {
    let mut ring = ring("nodes=5 seed=6");
    let mut looks = 0;
    let mut pass = |ring: &mut Ring, ms: u64| {
        for _ in 0..ms / 17 {
            ring.advance(17_003);
            looks += 1;
            ring.frame(looks % 2 == 0);
            ring.take_events();
            if looks % 9 == 0 {
                ring.check();
                ring.inspect(1 + looks % 5).unwrap();
                ring.is_whole();
            }
        }
    };
    pass(&mut ring, 700);
    for action in [
        "load 60 30 hot 30 24",
        "kill 3",
        "ask 1 0/0 SET a%20key value",
        "partition 1,2/4",
        "heal",
        "restart 3",
        "wipe 5",
        "add",
        "pause 1",
        "resume 1",
        "quorum 3 3 1",
        "ask 2 3/3 GET a%20key",
    ] {
        ring.act(action.parse().unwrap()).unwrap();
        pass(&mut ring, 400);
    }
    let script = ring.script();
    let again = Ring::replay(&script.to_string().parse().unwrap()).unwrap();
    assert_eq!(again.trace_hash(), ring.trace_hash());
    assert_eq!(again.script(), script);
    let other = Script {
        options: RingOptions {
            seed: 7,
            ..script.options.clone()
        },
        ..script
    };
    assert_ne!(
        Ring::replay(&other).unwrap().trace_hash(),
        ring.trace_hash()
    );
}

#[test]
fn what_cannot_be_done_is_an_error_and_changes_nothing() {
    let mut ring = ring("nodes=3 seed=8");
    ring.advance(1_000_000);
    let script = ring.script();
    for (action, named) in [
        ("kill 9", "there is no node 9"),
        ("kill 0", "there is no node 0"),
        ("resume 1", "not paused"),
        ("partition 1/1", "named twice"),
        ("partition 1,7", "no node 7"),
        ("drop 1001", "1001"),
        ("delay 99999999", "60000"),
        ("skew 1 999999999999", "a day"),
        ("drain 2", "have to stay"),
        ("quorum 5 3 3", "needs 5 nodes"),
        ("ask 1 0/0 NOSUCH x", "unknown command"),
        ("ask 1 0/0 GET", "wrong number of arguments"),
        ("ask 1 0/0 PING", "connection"),
        ("load 99999 1 uniform 0 1", "10000"),
        ("load 5 0 uniform 0 1", "no keys"),
    ] {
        let error = ring.act(action.parse().unwrap()).unwrap_err().to_string();
        assert!(error.contains(named), "{action}: {error}");
    }
    assert_eq!(ring.script(), script);
    ring.act("kill 2".parse().unwrap()).unwrap();
    for (action, named) in [("kill 2", "dead already"), ("pause 2", "not running")] {
        let error = ring.act(action.parse().unwrap()).unwrap_err().to_string();
        assert!(error.contains(named), "{action}: {error}");
    }
    assert!(ring.inspect(4).is_err());
}

#[test]
fn a_request_to_a_dead_node_is_refused_and_one_that_loses_its_node_is_unknown() {
    let mut ring = ring("nodes=3 seed=9");
    ring.advance(1_500_000);
    play(
        &mut ring,
        &[
            (0, "ask 2 0/0 SET k v"),
            (0, "kill 2"),
            (1, "ask 2 0/0 SET k w"),
        ],
    );
    let answers = ring.take_answers();
    let text = |place: usize| format!("{:?}", answers[place].reply);
    assert!(text(0).contains("UNKNOWN"), "{answers:?}");
    assert!(text(1).contains("REFUSED"), "{answers:?}");
    let verdict = is_green(&mut ring);
    assert_eq!((verdict.unknown, verdict.refused), (1, 1));
}

#[test]
fn filling_freezes_flushes_and_merges() {
    let mut ring = ring("nodes=3 seed=10 memtable=8192 archive=yes");
    ring.advance(1_500_000);
    play(&mut ring, &[(0, "load 2000 3000 sequence 0 100")]);
    ring.advance(4_000_000);
    let running = ring.inspect(1).unwrap().running.unwrap();
    assert_eq!(running.keys, 3_000);
    assert!(running.flushes > 3 && running.levels.iter().flatten().count() > 0);
    let table = running.levels.iter().flatten().next().unwrap();
    assert!(table.filter_bytes > 0 && table.entries > 0, "{table:?}");
    assert!(running.hash_table.used > 0 && running.log.appended_bytes > 0);
    let archive = running.archive.unwrap();
    assert!(archive.tail.contains("user:"), "{archive:?}");
    is_green(&mut ring);
    play(&mut ring, &[(0, "ask 1 0/0 EXPLAIN GET user:007")]);
    ring.advance(200_000);
    let answer = format!("{:?}", ring.take_answers());
    assert!(
        answer.contains("ring position") && answer.contains("found, 100 bytes"),
        "{answer}"
    );
}

#[test]
fn a_message_under_way_can_be_seen_and_read() {
    let mut ring = ring("nodes=3 seed=11");
    ring.advance(1_500_000);
    play(
        &mut ring,
        &[(0, "delay 50"), (100, "ask 1 0/0 SET user:001 Alex")],
    );
    let mut seen = None;
    for _ in 0..200 {
        ring.advance(1_000);
        let frame = ring.frame(false);
        let (nodes, arcs, packets) = (frame[2] as usize, frame[3] as usize, frame[4] as usize);
        let from = 16 + nodes * 8 + arcs * 4;
        assert_eq!(frame.len(), from + packets * 8 + frame[5] as usize * 4);
        let mut rows = frame[from..from + packets * 8].chunks(8);
        let appended = rows.find(|row| message_kinds()[row[3] as usize] == "append");
        if let Some(row) = appended {
            assert!(row[4] <= frame[1] && frame[1] <= row[5], "{row:?}");
            seen = ring.packet(row[0] as u64);
            break;
        }
    }
    let packet = seen.expect("an append is under way");
    assert!(
        format!("{packet:?}").contains("SET user:001 Alex"),
        "{packet:?}"
    );
}

/// An action that 3 2 2 promises to outlive, as one's dice have it.
fn anything(ring: &Ring, dice: &mut crate::random::Random) -> String {
    let node = 1 + dice.below(ring.machines.len() as u64);
    match dice.below(16) {
        0 | 1 => format!("kill {node}"),
        2 => format!("kill {node} power"),
        3..=5 => format!("restart {node}"),
        6 => format!("pause {node}"),
        7 | 8 => format!("resume {node}"),
        // A second disk would be beyond the promise.
        9 if ring.is_whole() => format!("wipe {node}"),
        10 => format!("partition {node}"),
        11 => "heal".into(),
        12 => format!("delay {} {node}", dice.below(100)),
        13 => format!("drop {} {node}", dice.below(300)),
        14 => format!("skew {node} {}", dice.below(120_000) as i64 - 60_000),
        15 if ring.machines.len() < 7 => "add".into(),
        _ if dice.coin() => format!("drain {node}"),
        _ => ["quorum 3 2 2", "quorum 3 3 1"][dice.index(2)].into(),
    }
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config {
        cases: 6,
        failure_persistence: None,
        ..Default::default()
    })]

    #[test]
    fn whatever_is_done_to_it_a_ring_that_promises_stays_green(seed in 0_u64..1_000_000) {
        let mut ring = ring(&format!("nodes=5 seed={seed}"));
        let mut dice = crate::random::Random::new(seed ^ 0x9a9e);
        ring.advance(1_000_000);
        play(&mut ring, &[(0, "load 60 30 uniform 40 16")]);
        for _ in 0..24 {
            ring.advance(50_000 + dice.below(900_000));
            // What cannot be done is refused.
            let _ = ring.act(anything(&ring, &mut dice).parse().unwrap());
            is_green(&mut ring);
        }
        play(&mut ring, &[(0, "heal"), (0, "load 0")]);
        is_green(&mut ring);
    }
}

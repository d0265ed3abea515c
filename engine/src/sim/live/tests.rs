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
    ring.advance(1_500_000);
    assert!(ring.is_whole());
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

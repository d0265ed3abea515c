use proptest::prelude::*;

use super::super::super::history::Reply;
use super::super::super::testing::{Shape, draw, tamper};
use super::*;
use crate::random::Random;

fn shapes(most_ops: usize) -> impl Strategy<Value = Shape> {
    let sizes = (1..=most_ops, 1..6usize, 1..3u32, 2..12u64);
    (sizes, any::<bool>(), any::<bool>()).prop_map(
        |((ops, clients, keys, unknown_in), rich, recurring)| Shape {
            ops,
            clients,
            keys,
            unknown_in,
            rich,
            recurring,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn what_was_done_one_at_a_time_is_accepted(shape in shapes(120), seed: u64) {
        let verdict = check(&draw(shape, seed).0, BUDGET);
        prop_assert!(!matches!(verdict, Verdict::Violation(_)), "{verdict:?}");
    }

    #[test]
    fn a_tampered_history_is_judged_as_by_trying_every_order(shape in shapes(9), seed: u64) {
        let (mut history, _) = draw(shape, seed);
        if tamper(&mut history, &mut Random::new(seed)) {
            judge(&history);
        }
    }
}

#[test]
fn tampering_is_mostly_a_violation() {
    let shape = Shape {
        ops: 9,
        clients: 3,
        keys: 1,
        unknown_in: 9,
        rich: true,
        recurring: false,
    };
    let violations = (0..300).filter(|&seed| {
        let (mut history, _) = draw(shape, seed);
        tamper(&mut history, &mut Random::new(seed)) && judge(&history).is_some()
    });
    let count = violations.count();
    assert!((100..290).contains(&count), "{count}");
}

/// Not a measurement, but the figures are printed: `--nocapture`.
#[test]
fn twenty_thousand_operations_are_decided() {
    for (name, keys, clients, rich, unknown_in) in [
        ("plain keys", 20, 20, false, 500),
        ("tied keys", 20, 20, true, 500),
        ("hot keys", 2, 40, false, 200),
        ("hot tied keys", 2, 20, true, 500),
    ] {
        let shape = Shape {
            ops: 20_000,
            clients,
            keys,
            unknown_in,
            rich,
            recurring: false,
        };
        let (mut history, _) = draw(shape, 7);
        let start = std::time::Instant::now();
        let verdict = check(&history, BUDGET);
        let accepted = start.elapsed();
        assert_eq!(verdict, Verdict::Linearizable, "{name}");
        // A read far into the run that saw the first value of its key again.
        let stale = history
            .operations()
            .iter()
            .rposition(|op| matches!(op.op, Op::Get(key) if key < 100) && op.reply().is_some());
        history.set_reply(stale.unwrap(), Reply::Value(None));
        let start = std::time::Instant::now();
        let found = check(&history, BUDGET);
        let refused = start.elapsed();
        println!("{name}: accepted in {accepted:?}, a stale read found in {refused:?}");
        assert!(matches!(found, Verdict::Violation(_)), "{name}: {found:?}");
    }
}

//! Flushes, and what they let go of the log.

use super::*;

fn segments(process: &Process) -> usize {
    process.store.db().stats().segments
}

/// Commits `count` entries of a range, behind `from`, and gives the last index.
fn fill(process: &Process, range: RangeId, from: u64, count: u64) -> u64 {
    for index in from + 1..=from + count {
        process.commit(range, &[put(range, 1, index, &[index as u8; 500])]);
    }
    from + count
}

#[test]
fn a_flush_records_what_is_in_tables_and_tells() {
    let process = Process::with(&[1, 2]);
    let (seen, before) = process.store.flushed();
    assert_eq!(before, [(1, 0), (2, 0)]);
    process.log(1, &[Record::HardState(state(5, Some(7)))]);
    process.commit(1, &[put(1, 5, 1, b"x"), empty(5, 2)]);
    process.log(1, &as_records(&[put(1, 5, 3, b"later")]));
    let told = async {
        let told = process.store.flushed_since(seen);
        let flush = async { process.store.db().flush().await.unwrap() };
        futures_lite::future::zip(told, flush).await.0.unwrap()
    };
    assert_eq!(process.do_(told).1, [(1, 2), (2, 0)]);
    let process = process.kill();
    let found = process.range(1);
    assert_eq!(found.applied, LogId { term: 5, index: 2 });
    assert_eq!(found.applied_time_ms, NOW_MS + 2);
    assert_eq!(found.before, found.applied);
    assert_eq!(found.state, state(5, Some(7)));
    assert_eq!(process.ids(1), [(5, 3)]);
    assert_eq!(process.get(1, 1).unwrap(), b"x");
}

#[test]
fn an_idle_range_does_not_pin_the_log() {
    let process = Process::with(&[1, 2]);
    process.log(2, &[Record::HardState(state(9, Some(3)))]);
    let waiting = [put(2, 9, 1, b"waits"), put(2, 9, 2, b"waits too")];
    process.log(2, &as_records(&waiting));
    fill(&process, 1, 0, 100);
    process.flush();
    assert!(segments(&process) <= 2, "{}", segments(&process));
    let first = process
        .storage
        .objects()
        .into_iter()
        .find_map(|(object, _)| match object {
            Object::Segment(id) => Some(id),
            _ => None,
        });
    assert!(first.unwrap() > 1, "the first segment is still there");
    for mode in [CrashMode::ProcessKilled, CrashMode::PowerLoss] {
        let survivor = process.storage.survivor(mode);
        let again = Process::start(&survivor);
        assert_eq!(again.range(2).entries, waiting);
        assert_eq!(again.range(2).state.term, 9);
        assert_eq!(again.range(2).state.vote, Some(NodeId(3)));
        assert_eq!(again.range(1).applied.index, 100);
        again.runtime.kill_all();
    }
}

#[test]
fn what_was_replaced_does_not_come_back_when_its_segment_goes() {
    let process = Process::with(&[1, 2]);
    // Of two dead entries the first goes with its segment, the second does not.
    process.log(2, &as_records(&[put(2, 1, 1, b"dead")]));
    fill(&process, 1, 0, 20);
    process.log(2, &as_records(&[put(2, 1, 2, b"dead")]));
    process.log(2, &as_records(&[put(2, 2, 1, b"alive")]));
    assert!(segments(&process) > 1);
    process.flush();
    assert_eq!(segments(&process), 1);
    let process = process.kill();
    assert_eq!(process.ids(2), [(2, 1)]);
}

#[test]
fn a_store_in_which_nothing_changes_but_the_log_trims_it() {
    let process = Process::with(&[1]);
    for index in 1..=2000 {
        process.commit(1, &[empty(1, index)]);
    }
    process.runtime.run_until_idle();
    process.runtime.advance(std::time::Duration::from_secs(3));
    assert!(segments(&process) <= 6, "{}", segments(&process));
    let process = process.kill();
    assert!(process.range(1).applied.index > 0);
    let last = process.range(1).entries.last().map(|entry| entry.index);
    assert_eq!(last.unwrap_or(process.range(1).applied.index), 2000);
}

#[test]
fn too_much_that_waits_keeps_its_segments_and_is_not_copied() {
    let process = Process::with(&[1, 2]);
    for index in 1..=400 {
        process.log(2, &as_records(&[put(2, 1, index, &[1; 500])]));
    }
    let before = process.store.db().stats().log_bytes;
    fill(&process, 1, 0, 5);
    process.flush();
    let written = process.store.db().stats().log_bytes - before;
    assert!(written < 100 << 10, "{written} bytes were written again");
    let process = process.kill();
    assert_eq!(process.ids(2).len(), 400);
}

#[test]
fn compaction_and_flushes_leave_a_sound_store() {
    let process = Process::with(&[1, 2]);
    let mut upto = 0;
    for _ in 0..6 {
        upto = fill(&process, 1, upto, 50);
        process.flush();
    }
    process.do_(process.store.db().compact()).unwrap();
    let verified = process.do_(process.store.db().verify()).unwrap();
    assert!(verified.is_sound(), "{:?}", verified.problems);
    let process = process.restart(CrashMode::PowerLoss);
    assert_eq!(process.range(1).applied.index, upto);
    assert_eq!(process.store.dbsize(), upto);
}

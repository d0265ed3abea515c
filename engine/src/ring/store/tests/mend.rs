//! A log that has no room, or whose sync fails, and is mended while the store goes on.

use std::time::Duration;

use parking_lot::Mutex;

use super::*;
use crate::storage::faulty::{Fault, OpKind, When};
use crate::{Runtime, Work};

type Outcome = Arc<Mutex<Option<Result<()>>>>;

impl Process {
    fn pass(&self, time_ms: u64) {
        self.do_(self.runtime.sleep(Duration::from_millis(time_ms)));
    }

    /// Logs, and waits in the background.
    fn log_later(&self, range: RangeId, records: &[Record]) -> Outcome {
        let ticket = self.store.append(range, LogId::default(), records).unwrap();
        let store = self.store.clone();
        self.later(async move { store.settle(ticket, Durability::Written).await })
    }

    fn later(
        &self,
        work: impl Future<Output = Result<()>> + crate::MaybeSend + 'static,
    ) -> Outcome {
        let outcome = Outcome::default();
        let told = Arc::clone(&outcome);
        self.runtime.spawn(Work::Ring, async move {
            let done = work.await;
            *told.lock() = Some(done);
        });
        outcome
    }

    /// A store of two ranges, in which something is applied, something only logged, and something in tables.
    fn used() -> Self {
        let process = Self::with(&[5, 6]);
        process.log(5, &[Record::HardState(state(1, Some(7)))]);
        process.commit(5, &[put(5, 1, 1, b"in tables")]);
        process.commit(6, &[empty(1, 1)]);
        process.flush();
        process.commit(5, &[put(5, 1, 2, b"applied")]);
        process.log(
            5,
            &as_records(&[put(5, 1, 3, b"logged"), put(5, 1, 4, b"to be replaced")]),
        );
        process
    }
}

fn is_settled(outcome: &Outcome) -> bool {
    matches!(&*outcome.lock(), Some(Ok(())))
}

/// What every store here holds in the end, whatever became of it meanwhile.
fn check(process: Process, mode: CrashMode) {
    let process = process.restart(mode);
    assert_eq!(process.ids(5), [(1, 3), (2, 4), (2, 5)]);
    // Under this promise a loss of power takes what was only written, and so may have taken more.
    let amnesiac = mode == CrashMode::PowerLoss;
    let wanted = HardState {
        amnesiac,
        ..state(2, Some(7))
    };
    assert_eq!(process.range(5).state, wanted);
    assert_eq!(process.range(5).applied.index, 2);
    assert_eq!(process.ids(6), [(1, 2)]);
    assert_eq!(process.get(5, 1).as_deref(), Some(&b"in tables"[..]));
    assert_eq!(process.get(5, 2).as_deref(), Some(&b"applied"[..]));
    // It is a log like any other.
    process.log(5, &as_records(&[put(5, 3, 6, b"next")]));
    let process = process.kill();
    assert_eq!(process.ids(5).last(), Some(&(3, 6)));
}

#[test]
fn a_full_disk_holds_up_what_is_logged_and_goes_on_when_there_is_room() {
    for mode in [CrashMode::ProcessKilled, CrashMode::PowerLoss] {
        let process = Process::used();
        process.storage.set_full(true);
        let first = process.log_later(5, &as_records(&[put(5, 2, 4, &[1; 3000])]));
        process.pass(50);
        assert_eq!(
            process.store.trouble().map(|error| error.kind()),
            Some(ErrorKind::Full)
        );
        // What is asked for meanwhile keeps its order.
        let second = process.log_later(5, &[Record::HardState(state(2, Some(7)))]);
        let third = process.log_later(6, &as_records(&[empty(1, 2), empty(1, 3)]));
        let fourth = process.log_later(6, &[Record::Truncate(3)]);
        let fifth = process.log_later(5, &as_records(&[put(5, 2, 5, b"last")]));
        process.pass(10_000);
        let all = [&first, &second, &third, &fourth, &fifth];
        assert!(all.iter().all(|outcome| outcome.lock().is_none()));
        assert_eq!(process.get(5, 2).as_deref(), Some(&b"applied"[..]));
        process.storage.set_full(false);
        process.pass(3_000);
        assert!(all.iter().all(|outcome| is_settled(outcome)));
        assert!(process.store.trouble().is_none());
        check(process, mode);
    }
}

#[test]
fn what_a_full_disk_held_up_is_no_promise_if_the_process_ends() {
    let process = Process::used();
    process.storage.set_full(true);
    let lost = process.log_later(5, &as_records(&[put(5, 2, 4, &[1; 3000])]));
    process.pass(5_000);
    assert!(lost.lock().is_none());
    process.storage.set_full(false);
    let process = process.kill();
    assert_eq!(process.ids(5)[..2], [(1, 2), (1, 3)]);
}

#[test]
fn a_failed_sync_is_mended_and_nothing_is_forgotten() {
    for mode in [CrashMode::ProcessKilled, CrashMode::PowerLoss] {
        let process = Process::used();
        let failing = When::kind(OpKind::SettleSynced);
        process
            .storage
            .set_plan(Plan::new().once(failing, Fault::Fail));
        process.log(6, &as_records(&[empty(1, 2)]));
        let records = as_records(&[put(5, 2, 4, b"in doubt")]);
        process.log_until(5, &records, Durability::Synced).unwrap();
        assert!(process.store.trouble().is_none());
        process
            .log_until(
                5,
                &[Record::HardState(state(2, Some(7)))],
                Durability::Synced,
            )
            .unwrap();
        process
            .log_until(5, &as_records(&[put(5, 2, 5, b"last")]), Durability::Synced)
            .unwrap();
        check(process, mode);
    }
}

#[test]
fn what_replaces_a_range_waits_for_room() {
    let process = Process::used();
    process.storage.set_full(true);
    let store = process.store.clone();
    let destroyed = process.later(async move { store.destroy(6).await });
    let store = process.store.clone();
    let part = bytes::Bytes::from_static(b"part of a snapshot");
    let laid_aside = process.later(async move { store.chunk_store(5, 1, 0, part).await });
    process.pass(5_000);
    assert!(destroyed.lock().is_none() && laid_aside.lock().is_none());
    assert!(process.store.trouble().is_some());
    process.storage.set_full(false);
    process.pass(3_000);
    assert!(is_settled(&destroyed) && is_settled(&laid_aside));
    assert!(process.store.trouble().is_none());
    let process = process.kill();
    assert!(process.found.iter().all(|found| found.range != 6));
}

#[test]
fn a_store_can_be_closed_while_its_disk_is_full() {
    let process = Process::used();
    process.storage.set_full(true);
    let waits = process.log_later(5, &as_records(&[put(5, 2, 4, &[1; 3000])]));
    process.pass(2_000);
    let closed = process.do_(process.store.close());
    assert!(closed.is_err());
    process.pass(100);
    let told = waits.lock().take();
    assert_eq!(told.unwrap().unwrap_err().kind(), ErrorKind::Unknown);
}

use super::*;

fn noted() -> Arc<Mutex<Vec<u32>>> {
    Arc::default()
}

/// The order in which ten tasks that breathe between their steps take them.
fn schedule_of(seed: u64) -> (Vec<u32>, u64) {
    let runtime = TestRuntime::new(seed);
    let notes = noted();
    for task in 0..10 {
        let (inner, notes) = (runtime.clone(), notes.clone());
        runtime.spawn(Work::Upkeep, async move {
            for _ in 0..3 {
                notes.lock().push(task);
                inner.breathe().await;
            }
        });
    }
    runtime.run_until_idle();
    assert_eq!(runtime.tasks(), 0);
    let order = notes.lock().clone();
    (order, runtime.fingerprint())
}

#[test]
fn the_same_seed_gives_the_same_schedule_and_another_seed_another() {
    assert_eq!(schedule_of(1), schedule_of(1));
    let (one, other) = (schedule_of(1), schedule_of(2));
    assert_ne!(one.0, other.0);
    assert_ne!(one.1, other.1);
}

#[test]
fn a_paused_process_stands_still_while_others_go_on() {
    let runtime = TestRuntime::new(3);
    let notes = noted();
    let processes = [runtime.process(), runtime.process()];
    for (number, process) in processes.iter().enumerate() {
        let (clock, notes) = (process.clone(), notes.clone());
        process.spawn(Work::Upkeep, async move {
            clock.sleep(Duration::from_millis(10)).await;
            notes.lock().push(number as u32);
        });
    }
    runtime.run_until_idle();
    assert_eq!(runtime.next_timer(), Some(Duration::from_millis(10)));
    processes[0].pause();
    runtime.advance(Duration::from_millis(20));
    assert_eq!(*notes.lock(), [1]);
    processes[0].resume();
    runtime.run_until_idle();
    assert_eq!(*notes.lock(), [1, 0]);
}

#[test]
fn dice_do_not_disturb_the_schedule() {
    let runtime = TestRuntime::new(5);
    let first = (runtime.seed(), runtime.seed());
    let again = TestRuntime::new(5);
    assert_eq!(first, (again.seed(), again.seed()));
    assert_ne!(first.0, first.1);
}

#[test]
fn block_on_runs_spawned_tasks_and_skips_idle_time() {
    let runtime = TestRuntime::new(1);
    let notes = noted();
    let (inner, later) = (runtime.clone(), notes.clone());
    runtime.spawn(Work::Flush, async move {
        inner.sleep(Duration::from_secs(5)).await;
        later.lock().push(5);
    });
    let inner = runtime.clone();
    let now = runtime.block_on(async move {
        inner.sleep(Duration::from_secs(10)).await;
        inner.monotonic()
    });
    assert_eq!(now, Duration::from_secs(10));
    assert_eq!(*notes.lock(), [5]);
}

#[test]
fn advance_fires_timers_in_order_and_no_later_ones() {
    let runtime = TestRuntime::new(1);
    let notes = noted();
    for seconds in [3, 1, 2, 9] {
        let (inner, notes) = (runtime.clone(), notes.clone());
        runtime.spawn(Work::Upkeep, async move {
            inner.sleep(Duration::from_secs(u64::from(seconds))).await;
            notes.lock().push(seconds);
        });
    }
    runtime.advance(Duration::from_secs(4));
    assert_eq!(*notes.lock(), [1, 2, 3]);
    assert_eq!(runtime.monotonic(), Duration::from_secs(4));
    runtime.advance(Duration::from_secs(5));
    assert_eq!(*notes.lock(), [1, 2, 3, 9]);
}

#[test]
fn run_until_idle_lets_no_time_pass() {
    let runtime = TestRuntime::new(1);
    let inner = runtime.clone();
    runtime.spawn(Work::Upkeep, async move {
        inner.sleep(Duration::from_millis(1)).await;
    });
    runtime.run_until_idle();
    assert_eq!(runtime.monotonic(), Duration::ZERO);
    assert_eq!(runtime.tasks(), 1);
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_deadlock_is_an_error() {
    TestRuntime::new(1).block_on(std::future::pending::<()>());
}

#[test]
#[should_panic(expected = "not done after")]
fn a_test_that_only_ticks_is_an_error() {
    let runtime = TestRuntime::new(1);
    runtime.set_time_limit(Duration::from_secs(60));
    let inner = runtime.clone();
    runtime.spawn(Work::Upkeep, async move {
        loop {
            inner.sleep(Duration::from_secs(1)).await;
        }
    });
    runtime.block_on(std::future::pending::<()>());
}

#[test]
fn the_wall_clock_follows_virtual_time_and_jumps_alone() {
    let runtime = TestRuntime::new(1);
    let other = runtime.process();
    let start = runtime.wall_ms();
    runtime.advance(Duration::from_secs(2));
    assert_eq!(runtime.wall_ms(), start + 2000);
    runtime.skew_wall(-500);
    assert_eq!(runtime.wall_ms(), start + 1500);
    assert_eq!(other.wall_ms(), start + 2000);
    assert_eq!(runtime.monotonic(), Duration::from_secs(2));
}

#[test]
fn killing_a_process_drops_its_tasks_and_no_others() {
    let runtime = TestRuntime::new(1);
    let held = Arc::new(());
    let doomed = runtime.process();
    for handle in [&runtime, &doomed] {
        let (inner, held) = (handle.clone(), held.clone());
        handle.spawn(Work::Compaction, async move {
            inner.sleep(Duration::from_secs(1)).await;
            drop(held);
        });
    }
    runtime.run_until_idle();
    assert_eq!(Arc::strong_count(&held), 3);
    doomed.kill();
    assert_eq!(Arc::strong_count(&held), 2);
    runtime.kill_all();
    assert_eq!((runtime.tasks(), Arc::strong_count(&held)), (0, 1));
}

#[test]
fn a_task_can_kill_its_own_process() {
    let runtime = TestRuntime::new(1);
    let notes = noted();
    let (inner, later) = (runtime.clone(), notes.clone());
    runtime.spawn(Work::Upkeep, async move {
        inner.kill();
        later.lock().push(1);
        inner.breathe().await;
        later.lock().push(2);
    });
    runtime.run_until_idle();
    assert_eq!(*notes.lock(), [1]);
    assert_eq!(runtime.tasks(), 0);
}

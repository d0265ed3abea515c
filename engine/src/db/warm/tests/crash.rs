//! A crash at every operation of the storage while a note takes the place of another.

use super::*;
use crate::Object;
use crate::archive::draft_of;
use crate::storage::faulty::Plan;

/// A note of the first hundred keys is replaced by one of two hundred.
fn work(storage: &FaultyStorage) -> Result<()> {
    let process = Process::try_to_start(storage, options())?;
    let get = |keys: Range<usize>| async {
        for n in keys {
            process.db.get(&key(n)).await?;
        }
        Ok(())
    };
    process.do_(async {
        for n in 0..300 {
            process.db.put(&key(n), &value(n)).await?;
        }
        process.db.flush().await?;
        get(0..100).await?;
        process.runtime.sleep(EVERY + EVERY / 2).await;
        get(100..200).await?;
        process.db.close().await
    })?;
    process.end();
    Ok(())
}

fn check(survivor: &FaultyStorage, mode: CrashMode) {
    match noted(survivor) {
        None => {}
        Some(Ok(keys)) => assert!(
            keys == all(0..100) || keys == all(0..200),
            "{} keys",
            keys.len()
        ),
        // It was never synced.
        Some(Err(error)) => assert!(mode.loses_power(), "{error}"),
    }
    let process = Process::start(survivor).warmed();
    let verified = process.do_(process.db.verify()).unwrap();
    assert!(verified.is_sound(), "{:?}", verified.problems);
    // What is there is a prefix, and what is in memory is what is there.
    let there = (0..300).take_while(|&n| process.do_(process.db.get(&key(n))).unwrap().is_some());
    let there = there.count();
    process.read(0..there);
    for n in there..300 {
        assert_eq!(process.do_(process.db.get(&key(n))).unwrap(), None);
    }
    // The next note takes the place of what was left.
    let storage = process.close();
    assert_eq!(
        noted(&storage).map(|keys| keys.unwrap()),
        (there > 0).then(|| all(0..there))
    );
    let objects = storage.objects();
    let is_draft = |(object, _): &(Object, u64)| *object == draft_of(format::NAME);
    assert!(!objects.iter().any(is_draft));
}

#[test]
fn a_crash_at_any_operation_leaves_the_old_note_or_the_new_or_none_and_the_store_whole() {
    let calm = FaultyStorage::new();
    work(&calm).unwrap();
    let of_note = |object: &Object| matches!(object, Object::Archive(_));
    let is_about_note = |index: u64| {
        let op = &calm.log()[index as usize];
        op.objects.iter().any(of_note)
    };
    let mut crashes = 0;
    for point in Plan::every_crash(calm.operations()) {
        // Crashes elsewhere are what `tests/crash.rs` is about.
        if !is_about_note(point.index) {
            continue;
        }
        let storage = FaultyStorage::with_plan(point.plan());
        let _stopped = work(&storage);
        assert!(storage.is_crashed(), "{point:?}");
        crashes += 1;
        for mode in CrashMode::all(0..4) {
            check(&storage.restart(mode), mode);
        }
    }
    assert!(crashes >= 2 * 3 * 4, "{crashes}");
}

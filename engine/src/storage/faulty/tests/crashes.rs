//! What each crash leaves.

use super::*;

const MODES: [CrashMode; 2] = [CrashMode::ProcessKilled, CrashMode::PowerLoss];

/// Restarts with a hundred seeds each of the torn modes.
fn torn(storage: &FaultyStorage, power: bool) -> Vec<FaultyStorage> {
    let mode = |seed| match power {
        true => CrashMode::PowerLossTorn { seed },
        false => CrashMode::ProcessKilledTorn { seed },
    };
    (0..100).map(|seed| storage.survivor(mode(seed))).collect()
}

fn epoch_of(storage: &FaultyStorage) -> u128 {
    block_on(storage.load()).unwrap().host_epoch.unwrap()
}

#[test]
fn a_kill_leaves_what_was_written() {
    let (storage, _writer) = segment(b"sync", b"writ", b"append");
    let survivor = storage.survivor(CrashMode::ProcessKilled);
    assert_eq!(log_of(&survivor).unwrap(), b"syncwrit");
    assert_eq!(survivor.durable_bytes_of(&Segment(1)).unwrap(), b"sync");
}

#[test]
fn a_torn_kill_leaves_any_prefix_of_what_was_appended() {
    let (storage, _writer) = segment(b"sync", b"writ", b"append");
    let mut lengths = BTreeSet::new();
    for survivor in torn(&storage, false) {
        let log = log_of(&survivor).unwrap();
        assert!(log.len() >= 8 && b"syncwritappend".starts_with(&log));
        lengths.insert(log.len());
    }
    assert_eq!(lengths, (8..=14).collect());
}

#[test]
fn a_power_loss_leaves_what_was_synced() {
    let (storage, _writer) = segment(b"sync", b"writ", b"append");
    let survivor = storage.survivor(CrashMode::PowerLoss);
    assert_eq!(log_of(&survivor).unwrap(), b"sync");
}

#[test]
fn a_power_loss_after_a_kill_takes_what_only_the_kill_left() {
    let (storage, _writer) = segment(b"sync", b"writ", b"append");
    let killed = storage.survivor(CrashMode::ProcessKilled);
    let survivor = killed.survivor(CrashMode::PowerLoss);
    assert_eq!(log_of(&survivor).unwrap(), b"sync");
    let twice = survivor.survivor(CrashMode::PowerLossTorn { seed: 1 });
    assert_eq!(log_of(&twice).unwrap(), b"sync");
}

#[test]
fn a_torn_power_loss_keeps_the_synced_and_tears_the_rest_by_sectors() {
    let synced = [1u8; 700];
    let (storage, mut writer) = segment(&synced, &[2u8; 2000], &[]);
    writer.append(&[3u8; 300]).unwrap();
    let (mut whole, mut none, mut holes, mut garbage, mut later_only) = (0, 0, 0, 0, 0);
    for survivor in torn(&storage, true) {
        let log = log_of(&survivor).unwrap();
        assert_eq!(log[..700], synced);
        assert!(log.len() <= 3000);
        let rest = &log[700..];
        none += u32::from(rest.is_empty());
        whole += u32::from(rest.len() == 2300 && rest.iter().all(|b| (2..4).contains(b)));
        let first = &log[700.min(log.len())..1024.min(log.len())];
        let hole = !first.is_empty() && first.iter().all(|&byte| byte == 0);
        holes += u32::from(hole);
        later_only += u32::from(hole && log[1024.min(log.len())..].contains(&2));
        garbage += u32::from(rest.iter().any(|byte| *byte > 3));
    }
    for seen in [whole, none, holes, garbage, later_only] {
        assert!(seen > 0, "{whole} {none} {holes} {garbage} {later_only}");
    }
}

#[test]
fn sectors_of_one_append_survive_whole_or_not_at_all() {
    let (storage, _writer) = segment(&[1; 512], &[], &[2; 2048]);
    for survivor in torn(&storage, true) {
        let log = log_of(&survivor).unwrap();
        for sector in log.chunks(512) {
            let kept = sector.iter().filter(|&&byte| byte == 2).count();
            // A file that ends within the sector, or garbage that looks like it.
            let partial = sector.len() < 512 || kept < 40;
            assert!(kept == sector.len() || partial || sector[0] == 1, "{kept}");
        }
    }
}

#[test]
fn the_host_epoch_changes_when_power_is_lost_and_only_then() {
    let storage = FaultyStorage::new();
    let before = epoch_of(&storage);
    assert_eq!(
        epoch_of(&storage.survivor(CrashMode::ProcessKilled)),
        before
    );
    assert_ne!(epoch_of(&storage.survivor(CrashMode::PowerLoss)), before);
    let torn = CrashMode::PowerLossTorn { seed: 3 };
    assert_ne!(epoch_of(&storage.survivor(torn)), before);
}

#[test]
fn a_created_object_is_found_after_its_first_sync() {
    let (storage, writer) = segment(b"", b"writ", b"");
    block_on(storage.commit("meta".into())).unwrap();
    let lost = storage.survivor(CrashMode::PowerLoss);
    assert_eq!(log_of(&lost), None);
    assert_eq!(lost.meta().unwrap(), "meta");

    block_on(writer.settle(0, Synced)).unwrap();
    let found = storage.survivor(CrashMode::PowerLoss);
    assert_eq!(log_of(&found).unwrap(), b"");
}

#[test]
fn an_object_created_over_another_gives_way_to_it_until_synced() {
    let (storage, _old) = segment(b"old", b"", b"");
    let mut new = block_on(storage.create(Segment(1))).unwrap();
    settle(&mut new, b"new", Written).unwrap();
    assert_eq!(
        log_of(&storage.survivor(CrashMode::PowerLoss)).unwrap(),
        b"old"
    );
    assert_eq!(
        log_of(&storage.survivor(CrashMode::ProcessKilled)).unwrap(),
        b"new"
    );
    let drawn: BTreeSet<_> = torn(&storage, true).iter().map(log_of).collect();
    assert!(drawn.contains(&Some(b"old".to_vec())));
    assert!(drawn.contains(&Some(b"new".to_vec())));
    block_on(new.settle(3, Synced)).unwrap();
    assert_eq!(
        log_of(&storage.survivor(CrashMode::PowerLoss)).unwrap(),
        b"new"
    );
}

#[test]
fn a_replace_is_durable_but_makes_no_bytes_so() {
    let (storage, writer) = segment(b"sync", b"writ", b"");
    block_on(storage.replace(Segment(1), Table(2))).unwrap();
    let survivor = storage.survivor(CrashMode::PowerLoss);
    assert_eq!(survivor.objects(), [(Table(2), 4)]);
    for survivor in torn(&storage, true) {
        assert_eq!(survivor.objects().len(), 1);
        assert_eq!(survivor.bytes_of(&Table(2)).unwrap()[..4], *b"sync");
    }
    // The writer goes with the object.
    block_on(writer.settle(8, Synced)).unwrap();
    assert_eq!(storage.durable_objects(), [(Table(2), 8)]);
    let missing = FaultyStorage::new();
    let error = block_on(missing.replace(Segment(1), Table(2)));
    assert_eq!(kind_of(error), ErrorKind::Missing);
}

#[test]
fn a_removed_object_may_come_back_until_a_commit_follows() {
    let (storage, _writer) = segment(b"sync", b"", b"");
    block_on(storage.remove(vec![Segment(1)])).unwrap();
    assert_eq!(log_of(&storage.survivor(CrashMode::ProcessKilled)), None);
    assert_eq!(
        log_of(&storage.survivor(CrashMode::PowerLoss)).unwrap(),
        b"sync"
    );
    for power in [false, true] {
        let back = torn(&storage, power);
        let back = back.iter().filter(|s| log_of(s).is_some()).count();
        assert!((20..80).contains(&back), "{back}");
    }

    let (storage, _writer) = segment(b"sync", b"", b"");
    block_on(storage.remove(vec![Segment(1)])).unwrap();
    block_on(storage.commit("meta".into())).unwrap();
    for mode in CrashMode::all(0..20) {
        assert_eq!(log_of(&storage.survivor(mode)), None);
    }
}

#[test]
fn a_cut_tail_may_come_back_until_something_settles_behind_the_cut() {
    let (storage, _old) = segment(b"sync", b"writ", b"");
    let _writer = block_on(storage.resume(Segment(1), 2)).unwrap();
    assert_eq!(
        log_of(&storage.survivor(CrashMode::ProcessKilled)).unwrap(),
        b"sy"
    );
    assert_eq!(
        log_of(&storage.survivor(CrashMode::PowerLoss)).unwrap(),
        b"sync"
    );
    let drawn: BTreeSet<_> = torn(&storage, true).iter().map(log_of).collect();
    assert_eq!(drawn.len(), 2, "{drawn:?}");
}

#[test]
fn a_cut_is_durable_once_something_has_settled_behind_it() {
    let (storage, _old) = segment(b"sync", b"", b"");
    let mut writer = block_on(storage.resume(Segment(1), 2)).unwrap();
    settle(&mut writer, b"x", Written).unwrap();
    assert_eq!(
        log_of(&storage.survivor(CrashMode::PowerLoss)).unwrap(),
        b"sy"
    );
}

#[test]
fn after_a_crash_everything_is_lost() {
    let (storage, mut writer) = segment(b"sync", b"", b"more");
    let reader = block_on(storage.open(Segment(1))).unwrap();
    let operations = storage.operations();
    storage.crash();
    assert!(storage.is_crashed());
    let kinds = block_on(async {
        [
            kind_of(storage.load().await),
            kind_of(storage.commit(Bytes::new()).await),
            kind_of(storage.create(Table(1)).await),
            kind_of(storage.resume(Segment(1), 0).await),
            kind_of(storage.open(Segment(1)).await),
            kind_of(storage.replace(Segment(1), Table(1)).await),
            kind_of(storage.remove(Vec::new()).await),
            kind_of(
                storage
                    .checkpoint(FaultyStorage::new(), Vec::new(), Bytes::new())
                    .await,
            ),
            kind_of(storage.room().await),
            kind_of(writer.append(b"x")),
            kind_of(writer.settle(4, Synced).await),
            kind_of(reader.read_now(0, 1).unwrap()),
            kind_of(reader.read_at(0, 1).await),
        ]
    });
    assert_eq!(kinds, [ErrorKind::Lost; 13]);
    assert_eq!(storage.operations(), operations);
}

#[test]
fn a_crash_during_a_remove_removes_half_and_during_a_checkpoint_leaves_no_meta() {
    let crash = Plan::new().once(When::any(), Fault::Crash(Moment::During));
    let storage = FaultyStorage::new();
    for id in 0..4 {
        block_on(storage.create(Table(id))).unwrap();
    }
    storage.set_plan(crash.clone());
    let objects = (0..4).map(Table).collect();
    assert_eq!(kind_of(block_on(storage.remove(objects))), ErrorKind::Lost);
    let left = storage.survivor(CrashMode::ProcessKilled).objects();
    assert_eq!(left, [(Table(2), 0), (Table(3), 0)]);

    let (storage, _writer) = segment(b"sync", b"", b"");
    storage.set_plan(crash);
    let place = FaultyStorage::new();
    let objects = vec![(Segment(1), 4)];
    let made = block_on(storage.checkpoint(place.clone(), objects, "m".into()));
    assert_eq!(kind_of(made), ErrorKind::Lost);
    assert_eq!(
        (place.objects(), place.meta()),
        (vec![(Segment(1), 4)], None)
    );
}

#[test]
fn a_restart_crashes_what_it_restarts_and_a_look_at_the_survivor_does_not() {
    let (storage, mut writer) = segment(b"sync", b"", b"");
    let _ = storage.survivor(CrashMode::PowerLoss);
    settle(&mut writer, b"more", Synced).unwrap();
    let _ = storage.restart(CrashMode::PowerLoss);
    assert_eq!(kind_of(settle(&mut writer, b"x", Synced)), ErrorKind::Lost);
}

/// Two records, each synced, each followed by a commit that counts it.
async fn record_twice(storage: &FaultyStorage) -> Result<()> {
    let mut writer = storage.create(Segment(1)).await?;
    for record in 1..=2u8 {
        let upto = writer.append(&[record; 4])?;
        writer.settle(upto, Written).await?;
        writer.settle(upto, Synced).await?;
        storage.commit(vec![record].into()).await?;
    }
    Ok(())
}

/// `-` is no object, then the bytes of the log, then the meta blob.
fn summary(storage: &FaultyStorage) -> String {
    let digits = |bytes: &[u8]| bytes.iter().map(u8::to_string).collect::<String>();
    let log = log_of(storage).map_or("-".into(), |log| digits(&log));
    let meta = storage.meta().map_or("-".into(), |meta| digits(&meta));
    format!("{log}/{meta}")
}

#[test]
fn the_crash_matrix_leaves_exactly_what_was_promised() {
    let calm = FaultyStorage::new();
    block_on(record_twice(&calm)).unwrap();
    assert_eq!(calm.operations(), 9);
    let mut seen = Vec::new();
    for point in Plan::every_crash(9) {
        let storage = FaultyStorage::with_plan(point.plan());
        assert_eq!(kind_of(block_on(record_twice(&storage))), ErrorKind::Lost);
        assert_eq!(storage.operations(), point.index + 1);
        let left = MODES.map(|mode| summary(&storage.survivor(mode)));
        seen.push(left.join(" "));
    }
    // Before, during, after: what a kill leaves, then what a power loss leaves.
    let expected = [
        ["-/- -/-", "/- -/-", "/- -/-"],                           // create
        ["/- -/-", "/- -/-", "/- -/-"],                            // append
        ["/- -/-", "11/- -/-", "1111/- -/-"],                      // write
        ["1111/- -/-", "1111/- -/-", "1111/- 1111/-"],             // sync
        ["1111/- 1111/-", "1111/1 1111/1", "1111/1 1111/1"],       // commit
        ["1111/1 1111/1", "1111/1 1111/1", "1111/1 1111/1"],       // append
        ["1111/1 1111/1", "111122/1 1111/1", "11112222/1 1111/1"], // write
        [
            "11112222/1 1111/1",
            "11112222/1 111122/1",
            "11112222/1 11112222/1",
        ], // sync
        [
            "11112222/1 11112222/1",
            "11112222/2 11112222/2",
            "11112222/2 11112222/2",
        ],
    ];
    assert_eq!(seen, expected.concat());
}

#[test]
fn the_same_seed_tears_the_same_and_another_seed_otherwise() {
    let (storage, _writer) = segment(&[1; 700], &[2; 2000], &[3; 900]);
    let left = |seed| log_of(&storage.survivor(CrashMode::PowerLossTorn { seed }));
    assert_eq!(left(7), left(7));
    let all: BTreeSet<_> = (0..20).map(left).collect();
    assert!(all.len() > 5);
}

//! How many blocks a read takes, and what it does when it is dropped or moved.

use super::*;

#[derive(Default)]
struct Events {
    filter: Vec<bool>,
    reads: Vec<BlockRead>,
}

impl Trace for Events {
    fn filter_asked(&mut self, table: u64, may_hold: bool) {
        assert_eq!(table, ID);
        self.filter.push(may_hold);
    }

    fn block_read(&mut self, read: BlockRead) {
        self.reads.push(read);
    }
}

fn many(count: u64) -> Vec<Owned> {
    (0..count)
        .map(|i| put(format!("user:{i:08}"), i + 1, format!("value of {i}")))
        .collect()
}

#[test]
fn a_get_reads_three_blocks_once_and_then_none() {
    let (bytes, _) = write(&many(20_000), &[], TableOptions::default());
    let reader = MemReader::waiting(&bytes);
    let table = open_with(reader.clone(), 1 << 20).unwrap();
    let (key, opened) = (b"user:00012345", reader.reads());
    assert!(
        table
            .get_now(hash_key(key), key, u64::MAX, &mut ())
            .is_none()
    );
    let mut events = Events::default();
    block_on(table.get(hash_key(key), key, u64::MAX, &mut events))
        .unwrap()
        .unwrap();
    assert_eq!(reader.reads(), opened + 3);
    let kinds: Vec<_> = events
        .reads
        .iter()
        .map(|read| (read.kind, read.source))
        .collect();
    let order = [BlockKind::Filter, BlockKind::Index, BlockKind::Data];
    assert_eq!(kinds, order.map(|kind| (kind, BlockSource::Storage)));
    assert_eq!(events.filter, [true]);

    let mut events = Events::default();
    let found = table
        .get_now(hash_key(key), key, u64::MAX, &mut events)
        .unwrap()
        .unwrap();
    assert_eq!(found.unwrap().value, "value of 12345");
    let sources: Vec<_> = events.reads.iter().map(|read| read.source).collect();
    let (pinned, cached) = (BlockSource::Pinned, BlockSource::Cache);
    assert_eq!(sources, [pinned, pinned, cached]);
    assert_eq!(reader.reads(), opened + 3);
}

fn get_all(table: &Table<MemReader>, count: u64, events: &mut Events) {
    for i in 0..count {
        let key = format!("user:{i:08}");
        let key = key.as_bytes();
        let found = block_on(table.get(hash_key(key), key, u64::MAX, events)).unwrap();
        assert_eq!(found.unwrap().value, format!("value of {i}"));
    }
}

fn sources_of(events: &Events, kind: BlockKind) -> Vec<BlockSource> {
    let reads = events.reads.iter().filter(|read| read.kind == kind);
    reads.map(|read| read.source).collect()
}

#[test]
fn filter_and_index_are_read_once_and_kept_at_hand() {
    let (bytes, summary) = write(&many(20_000), &[], TableOptions::default());
    let table = open_with(MemReader::waiting(&bytes), 16 << 20).unwrap();
    let cache = Arc::clone(&table.inner().cache);
    let opened = cache.stats().pinned_bytes;
    let mut events = Events::default();
    get_all(&table, 20_000, &mut events);
    let sources = sources_of(&events, BlockKind::Filter);
    let read = |source: &&BlockSource| **source == BlockSource::Storage;
    let blocks = table.inner().footer.filter.blocks as usize;
    assert_eq!(sources.iter().filter(read).count(), blocks);
    assert!(!sources.contains(&BlockSource::Cache));
    assert!(!sources_of(&events, BlockKind::Index).contains(&BlockSource::Cache));
    assert_eq!(cache.stats().blocks, summary.properties.data_blocks);

    // What is counted is what there is, and it comes back.
    let filter_bytes = (blocks * table.inner().footer.filter.block_bytes()) as u64;
    let pinned = cache.stats().pinned_bytes;
    assert!(pinned >= opened + filter_bytes, "{pinned} after {opened}");
    assert!(
        pinned < opened + 3 * filter_bytes,
        "{pinned} after {opened}"
    );
    let mut cursor = table.cursor(Direction::Forward, CursorOptions::default());
    walk(&mut cursor, None).unwrap();
    assert_eq!(cache.stats().pinned_bytes, pinned);
    drop((table, cursor));
    assert_eq!(cache.stats().pinned_bytes, 0);
}

#[test]
fn a_tiny_budget_keeps_nothing_at_hand_and_reads_the_same() {
    let (bytes, _) = write(&many(5000), &[], TableOptions::default());
    for cache_bytes in [0, 1 << 10] {
        let table = open_with(MemReader::waiting(&bytes), cache_bytes).unwrap();
        let opened = table.inner().cache.stats().pinned_bytes;
        let mut events = Events::default();
        get_all(&table, 5000, &mut events);
        let pinned = table.inner().cache.stats().pinned_bytes;
        assert_eq!(pinned, opened, "with {cache_bytes}");
        assert!(
            events
                .reads
                .iter()
                .all(|read| read.source != BlockSource::Pinned)
        );
    }
}

#[test]
fn a_block_that_found_no_room_is_kept_once_there_is_some() {
    let (bytes, _) = write(&many(1000), &[], TableOptions::default());
    let table = open_with(MemReader::waiting(&bytes), 1 << 20).unwrap();
    let cache = &table.inner().cache;
    let mut others = 0;
    while cache.pin(64) {
        others += 64;
    }
    let mut events = Events::default();
    get_all(&table, 1000, &mut events);
    assert!(
        events
            .reads
            .iter()
            .all(|read| read.source != BlockSource::Pinned)
    );
    cache.give_back(others);
    get_all(&table, 1, &mut events);
    events.reads.clear();
    get_all(&table, 1, &mut events);
    assert_eq!(
        sources_of(&events, BlockKind::Filter),
        [BlockSource::Pinned]
    );
    assert_eq!(sources_of(&events, BlockKind::Index), [BlockSource::Pinned]);
}

#[test]
fn an_absent_key_is_mostly_told_by_the_filter_alone() {
    let (bytes, _) = write(&many(20_000), &[], TableOptions::default());
    let table = open(&bytes).unwrap();
    let mut events = Events::default();
    let absent = 20_000;
    for i in 0..absent {
        let key = format!("user:{i:08}x");
        let found = table.get_now(
            hash_key(key.as_bytes()),
            key.as_bytes(),
            u64::MAX,
            &mut events,
        );
        assert_eq!(found.unwrap().unwrap(), None);
    }
    let wrong = events.filter.iter().filter(|&&may| may).count();
    println!("false positives: {wrong} of {absent}");
    assert!(wrong * 1000 <= absent * 15, "{wrong} of {absent}");
}

#[test]
fn a_long_scan_reads_many_blocks_at_once_and_may_leave_the_cache_alone() {
    let (bytes, summary) = write(&many(50_000), &[], TableOptions::default());
    let blocks = summary.properties.data_blocks as usize;
    for (options, limit) in [
        (CursorOptions::default(), blocks / 4),
        (CursorOptions::whole_table(), blocks / 10),
    ] {
        for direction in [Direction::Forward, Direction::Backward] {
            let reader = MemReader::waiting(&bytes);
            let table = open_with(reader.clone(), 64 << 20).unwrap();
            let opened = reader.reads();
            let (seen, _) = walk(&mut table.cursor(direction, options), None).unwrap();
            assert_eq!(seen.len(), 50_000);
            let reads = reader.reads() - opened;
            assert!(reads < limit, "{reads} reads for {blocks} blocks");
            let cached = table.inner().cache.stats().blocks as usize;
            assert_eq!(cached >= blocks, options.fill_cache, "{cached}");
            assert_eq!(cached == 0, !options.fill_cache, "{cached}");
        }
    }
}

#[test]
fn a_dropped_refill_can_be_repeated() {
    let (bytes, _) = write(&many(500), &[], small_blocks());
    let table = open_with(MemReader::waiting(&bytes), 0).unwrap();
    let mut cursor = table.cursor(Direction::Forward, CursorOptions::default());
    assert_eq!(
        cursor.seek(Some(b"user:00000321")).unwrap(),
        Position::Refill
    );
    for _ in 0..3 {
        let dropped = block_on(futures_lite::future::poll_once(cursor.refill()));
        assert!(dropped.is_none());
    }
    assert_eq!(block_on(cursor.refill()).unwrap(), Position::Record);
    assert_eq!(cursor.record().key, b"user:00000321");
}

#[test]
fn verify_finds_what_checksums_cannot() {
    // A table whose index, filter and order disagree, every checksum being right: written by a writer
    // that believes its caller.
    let file = MemWriter::default();
    let mut writer = TableWriter::new(file.clone(), ID, small_blocks());
    for record in many(50) {
        writer.add(record.record()).unwrap();
    }
    writer.forget_filter_for_tests();
    block_on(writer.finish()).unwrap();
    let problems = block_on(open(&file.bytes()).unwrap().verify());
    assert!(!problems.is_empty());
    let about_filter =
        |problem: &crate::Error| problem.to_string().contains("filter does not know");
    assert!(problems.iter().any(about_filter), "{problems:?}");
}

/// Callers are generic over the storage, so the futures have to be `Send` for any reader.
#[cfg(not(target_family = "wasm"))]
#[test]
fn reads_can_be_sent_between_threads() {
    fn is_send<T: Send>(_: T) {}
    fn for_any_reader<R: crate::Reader>(reader: R, table: &Table<R>) {
        is_send(Table::open(reader, ID, Arc::new(BlockCache::new(0))));
        is_send(table.get(0, b"", 0, &mut ()));
        is_send(table.verify());
        is_send(
            table
                .cursor(Direction::Forward, CursorOptions::default())
                .refill(),
        );
    }
    let (bytes, _) = write(&many(10), &[], small_blocks());
    for_any_reader(MemReader::new(&bytes), &open(&bytes).unwrap());
    is_send(TableWriter::new(MemWriter::default(), ID, small_blocks()).finish());
}

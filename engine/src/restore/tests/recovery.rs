//! The newest state of an archive that is whole, and of one that is damaged anywhere.

use futures_lite::future::block_on;

use crate::archive::aof::{File, Kind, Manifest, Positions, checksum, encode, names};
use crate::archive::rdb::{EncodeOptions, Encoder, Sizes};
use crate::archive::{DUMP, POSITIONS_FIELD};
use crate::restore::testing::{MapSink, Pairs, store};
use crate::restore::{Options, Recovery};
use crate::storage::{MemoryStorage, Object};
use crate::{Error, ErrorKind};

const NOW_MS: u64 = 1_700_000_000_000;
const SECOND: u64 = 1_699_990_000;
/// Two entries are written at a time, each by a range of its own.
const BATCHES: u64 = 24;
const FILES: [&str; 4] = [
    "appendonly.aof.1.incr.aof",
    "appendonly.aof.2.incr.aof",
    "appendonly.aof.3.incr.aof",
    "appendonly.aof.4.incr.aof",
];

/// What a node did: its files, and every state that it has had.
struct Past {
    /// After so many batches.
    states: Vec<Pairs>,
    /// Each incremental file and where in it which batch ends.
    files: Vec<(Vec<u8>, Vec<usize>)>,
}

fn second(batch: u64) -> u64 {
    SECOND + 3 * batch
}

/// Up to which entries there is everything after so many batches.
fn at(batches: u64) -> Vec<(u32, u64)> {
    vec![(3, batches), (200, batches)]
}

impl Past {
    fn new() -> Self {
        let mut past = Self {
            states: vec![Pairs::new()],
            files: Vec::new(),
        };
        let mut keys = Pairs::new();
        for batch in 1..=BATCHES {
            if batch % (BATCHES / FILES.len() as u64) == 1 {
                let mut out = Vec::new();
                Positions::from_iter(at(batch - 1)).encode_all(&mut out);
                let mut file = Vec::new();
                checksum::end(&mut out, &file);
                file.append(&mut out);
                past.files.push((file, Vec::new()));
            }
            let mut out = Vec::new();
            encode::timestamp(&mut out, second(batch));
            let (key, value) = (format!("k{}", batch % 7), format!("value {batch}"));
            // Far off, so that none has passed.
            let deadline_ms = if batch % 3 == 0 { NOW_MS + batch } else { 0 };
            encode::set(&mut out, key.as_bytes(), value.as_bytes(), deadline_ms);
            keys.insert(key.into(), (value.into(), deadline_ms));
            if batch == 11 {
                encode::flush_all(&mut out);
                keys.clear();
            } else {
                let gone = format!("k{}", (batch + 3) % 7);
                encode::del(&mut out, gone.as_bytes());
                keys.remove(gone.as_bytes());
            }
            Positions::encode(&mut out, at(batch));
            let (file, ends) = past.files.last_mut().unwrap();
            let mut last = Vec::new();
            checksum::end(&mut last, &out);
            file.append(&mut out);
            file.append(&mut last);
            ends.push(file.len());
            past.states.push(keys.clone());
        }
        past
    }

    /// A snapshot of the state after so many batches.
    fn snapshot(&self, batches: u64) -> Vec<u8> {
        let state = &self.states[batches as usize];
        let pairs = at(batches).into_iter();
        let at: Vec<String> = pairs
            .map(|(range, index)| format!("{range}={index}"))
            .collect();
        let (time, at) = (second(batches).to_string(), at.join(","));
        let aux: [(&str, &[u8]); 2] =
            [("ctime", time.as_bytes()), (POSITIONS_FIELD, at.as_bytes())];
        let sizes = Sizes::default();
        let mut encoder = Encoder::new(EncodeOptions::default()).unwrap();
        let mut out = Vec::new();
        encoder.header(&mut out, &aux, sizes);
        for (key, (value, deadline_ms)) in state {
            encoder.entry(&mut out, key, value, *deadline_ms);
        }
        encoder.end(&mut out);
        out
    }

    /// An archive whose base was begun before the third file, which keeps the files before that and their base, and
    /// which has a snapshot of the state after so many batches.
    fn archive(&self, dumped: u64) -> Archive {
        let base = |seq: u64, batches: u64, kind: Kind, incr: u64| File {
            time: Some(second(batches)),
            incr: Some(incr),
            ..File::new(names::base(seq), seq, kind)
        };
        let mut manifest = Manifest {
            base: Some(base(2, 12, Kind::Base, 3)),
            history: vec![base(1, 0, Kind::History, 1)],
            increments: Vec::new(),
        };
        let mut files = vec![
            (names::in_folder(&names::base(1)), self.snapshot(0)),
            (names::in_folder(&names::base(2)), self.snapshot(12)),
            (Object::Archive(DUMP.into()), self.snapshot(dumped)),
        ];
        for (place, (file, _)) in self.files.iter().enumerate() {
            let seq = place as u64 + 1;
            let (list, kind) = match seq {
                1 | 2 => (&mut manifest.history, Kind::History),
                _ => (&mut manifest.increments, Kind::Increment),
            };
            list.push(File::new(FILES[place], seq, kind));
            files.push((names::in_folder(FILES[place]), file.clone()));
        }
        files.push((names::manifest(), manifest.encode()));
        Archive(files)
    }

    /// After how many batches this was the state.
    fn batches(&self, found: &Pairs) -> Option<u64> {
        let place = self.states.iter().rposition(|state| state == found)?;
        Some(place as u64)
    }
}

/// Files by name.
#[derive(Clone)]
struct Archive(Vec<(Object, Vec<u8>)>);

/// What came of an archive.
struct Recovered {
    pairs: Pairs,
    until: Option<u64>,
    is_whole: bool,
    files: Vec<String>,
    passed_over: String,
}

impl Archive {
    fn file(&mut self, object: &Object) -> &mut Vec<u8> {
        let mut files = self.0.iter_mut();
        &mut files.find(|(name, _)| name == object).unwrap().1
    }

    fn increment(&mut self, seq: usize) -> &mut Vec<u8> {
        self.file(&names::in_folder(FILES[seq - 1]))
    }

    fn damage(&mut self, object: &Object) {
        let file = self.file(object);
        let middle = file.len() / 2;
        file[middle] ^= 4;
    }

    fn without(mut self, object: &Object) -> Self {
        self.0.retain(|(name, _)| name != object);
        self
    }

    fn recover(&self) -> Result<Option<Recovered>, Error> {
        let storage = MemoryStorage::new();
        for (object, bytes) in &self.0 {
            store(&storage, object.clone(), bytes);
        }
        block_on(async {
            let Some(recovery) = Recovery::look(storage, |_| {}).await? else {
                return Ok(None);
            };
            let mut sink = MapSink::at(NOW_MS);
            let options = Options {
                now_ms: NOW_MS,
                ..Options::default()
            };
            let report = recovery.load(options, &mut sink, |_| {}).await?;
            assert_eq!(report.files.len(), recovery.files().count());
            let passed_over = recovery.passed_over().iter();
            let passed_over: Vec<String> = passed_over
                .map(|passed| format!("{}: {}", passed.object, passed.why))
                .collect();
            Ok(Some(Recovered {
                pairs: sink.pairs(),
                until: recovery.until(),
                is_whole: recovery.is_whole(),
                files: recovery.files().map(ToString::to_string).collect(),
                passed_over: passed_over.join("; "),
            }))
        })
    }

    fn recovered(&self) -> Recovered {
        self.recover().unwrap().unwrap()
    }
}

fn dump() -> Object {
    Object::Archive(DUMP.into())
}

fn base() -> Object {
    names::in_folder(&names::base(2))
}

#[track_caller]
fn assert_is(past: &Past, found: &Recovered, batches: u64) {
    assert_eq!(
        past.batches(&found.pairs),
        Some(batches),
        "{}",
        found.passed_over
    );
    assert_eq!(found.until, Some(second(batches)));
}

#[test]
fn a_whole_archive_gives_its_newest_base_and_the_commands_since() {
    let past = Past::new();
    let found = past.archive(20).recovered();
    assert_is(&past, &found, BATCHES);
    assert!(found.is_whole && found.passed_over.is_empty());
    let names: Vec<String> = [&names::base(2), FILES[2], FILES[3]]
        .iter()
        .map(|name| names::in_folder(name).to_string())
        .collect();
    assert_eq!(found.files, names);
}

#[test]
fn where_there_is_no_archive_nothing_is_recovered() {
    assert!(Archive(Vec::new()).recover().unwrap().is_none());
}

#[test]
fn an_older_base_and_everything_since_stand_in_for_a_damaged_base() {
    let past = Past::new();
    let mut archive = past.archive(20);
    archive.damage(&base());
    let found = archive.recovered();
    assert_is(&past, &found, BATCHES);
    assert!(found.is_whole);
    assert_eq!(found.files.len(), 5);
    assert!(
        found.passed_over.contains(&names::base(2)),
        "{}",
        found.passed_over
    );
}

#[test]
fn the_snapshot_and_the_commands_since_stand_in_for_all_bases() {
    let past = Past::new();
    for dumped in [7, 12, 13, 20, BATCHES] {
        let mut archive = past.archive(dumped);
        archive.damage(&base());
        let archive = archive.without(&names::in_folder(&names::base(1)));
        let found = archive.recovered();
        assert_is(&past, &found, BATCHES);
        assert_eq!(found.files[0], dump().to_string());
    }
}

#[test]
fn commands_are_not_put_on_a_snapshot_that_lacks_what_came_before_them() {
    let past = Past::new();
    let mut archive = past.archive(8);
    archive.damage(&base());
    archive.damage(&names::in_folder(FILES[1]));
    let archive = archive.without(&names::in_folder(&names::base(1)));
    let found = archive.recovered();
    assert!(!found.is_whole);
    // The second file was damaged behind the snapshot.
    let batches = past.batches(&found.pairs).unwrap();
    assert!((8..12).contains(&batches), "{batches}");
    let found = archive.without(&names::in_folder(FILES[1])).recovered();
    assert_is(&past, &found, 8);
    assert_eq!(found.files, [dump().to_string()]);
}

#[test]
fn commands_that_end_before_the_snapshot_are_not_put_on_it() {
    let past = Past::new();
    let mut archive = past.archive(20);
    archive.damage(&base());
    *archive.increment(4) = b"none".to_vec();
    let archive = archive.without(&names::in_folder(&names::base(1)));
    let found = archive.recovered();
    assert_is(&past, &found, 20);
    assert_eq!(found.files, [dump().to_string()]);
}

#[test]
fn what_leads_up_to_a_damage_is_loaded_if_it_is_newer_than_the_snapshot() {
    let past = Past::new();
    for dumped in 13..BATCHES {
        let mut archive = past.archive(dumped);
        let (file, ends) = &past.files[3];
        // In the fourth batch of six.
        archive.increment(4)[ends[2] + 20] ^= 1;
        assert!(ends[2] + 20 < ends[3] && ends[3] < file.len());
        let found = archive.recovered();
        assert_is(&past, &found, dumped.max(21));
        assert!(!found.is_whole);
    }
}

#[test]
fn a_file_that_is_cut_anywhere_gives_what_was_whole_by_then() {
    let past = Past::new();
    let (file, ends) = &past.files[3];
    let begins = file.windows(4).position(|bytes| bytes == b"#TS:").unwrap();
    for cut in 0..=file.len() {
        let mut archive = past.archive(15);
        archive.increment(4).truncate(cut);
        let found = archive.recovered();
        let whole = ends.iter().filter(|&&end| end <= cut).count() as u64;
        assert_is(&past, &found, 18 + whole);
        let lines = file[..begins].iter().enumerate();
        let mut lines = lines.filter(|(_, byte)| **byte == b'\n');
        let is_whole = cut == 0 || ends.contains(&cut) || lines.any(|(at, _)| at + 1 == cut);
        assert_eq!(found.passed_over.is_empty(), is_whole, "cut at {cut}");
    }
}

#[test]
fn a_bit_that_flips_anywhere_never_gives_a_state_that_was_not() {
    let past = Past::new();
    let archive = past.archive(15);
    for (object, bytes) in &archive.0 {
        for at in 0..bytes.len() {
            let mut damaged = archive.clone();
            damaged.file(object)[at] ^= 1 << (at % 8);
            let found = damaged.recovered();
            let batches = past.batches(&found.pairs);
            // The snapshot is there, or all that it has.
            let least = if *object == dump() { 18 } else { 15 };
            assert!(
                batches.is_some_and(|batches| batches >= least),
                "byte {at} of {object}: {batches:?} by {:?}",
                found.files
            );
        }
    }
}

#[test]
fn files_go_as_far_as_a_gap_and_on_from_a_snapshot_behind_it() {
    let past = Past::new();
    // What follows the gap goes on from a snapshot that is behind it.
    for (dumped, batches) in [(14, 18), (20, BATCHES)] {
        let mut archive = past.archive(dumped);
        let file = archive.increment(3);
        let mut last = Vec::new();
        encode::gap(&mut last, second(18) + 1);
        encode::timestamp(&mut last, second(18) + 1);
        encode::set(&mut last, b"behind", b"it", 0);
        let body = last.clone();
        last.clear();
        checksum::end(&mut last, &body);
        file.extend_from_slice(&body);
        file.extend_from_slice(&last);
        let found = archive.recovered();
        assert_is(&past, &found, batches);
        assert_eq!(found.is_whole, dumped == 20);
    }
}

#[test]
fn an_archive_without_a_sound_file_says_of_each_what_is_wrong() {
    let past = Past::new();
    let archive = past.archive(15);
    let broken = archive
        .0
        .iter()
        .map(|(object, _)| (object.clone(), b"x".to_vec()));
    let error = Archive(broken.collect()).recover().err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    let said = error.to_string();
    assert!(said.contains(DUMP) && said.contains(".manifest"), "{said}");
}

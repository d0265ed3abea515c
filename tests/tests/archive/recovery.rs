//! Stores whose files are gone or damaged, and come back from their archive: every key, value and deadline.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use trilith::random::Random;
use trilith_tests::cluster::await_some;
use trilith_tests::{Client, Reply, ServerOptions};

use crate::keys::{Pairs, all_of, assert_same, random_pairs};
use crate::live::{await_info, copy, info};

const LIMIT: Duration = Duration::from_secs(60);
const ASKED: &str = "--recover-from-archive";
/// Little, so that there are tables.
const MEMORY: [&str; 2] = ["--memory", "8mb"];

/// A value that nothing reads while a log is applied, and that does not get smaller by compression.
fn large() -> Vec<u8> {
    let mut random = Random::new(11);
    (0..1 << 17)
        .flat_map(|_| random.next().to_le_bytes())
        .collect()
}

fn options() -> ServerOptions {
    ServerOptions::default()
        .appendfsync("everysec")
        .arguments(MEMORY)
}

fn recovering() -> ServerOptions {
    options().arguments([ASKED])
}

fn set(client: &mut Client, pairs: &Pairs) -> io::Result<()> {
    let commands = pairs.iter().map(|(key, (value, deadline_ms))| {
        let mut words = vec![b"SET".to_vec(), key.clone(), value.clone()];
        if *deadline_ms != 0 {
            words.extend([b"PXAT".to_vec(), deadline_ms.to_string().into_bytes()]);
        }
        words
    });
    for commands in commands.collect::<Vec<_>>().chunks(1000) {
        for reply in client.pipeline(commands)? {
            assert_eq!(reply, Reply::ok());
        }
    }
    Ok(())
}

/// A directory whose node has ended, with a base, a snapshot and commands since; and what it held.
fn filled(data: &Path, seed: u64) -> io::Result<Pairs> {
    let mut random = Random::new(seed);
    let mut pairs = random_pairs(&mut random, 20_000);
    pairs.insert(b"large".to_vec(), (large(), 0));
    let server = options().start(data)?;
    let mut client = server.connect()?;
    set(&mut client, &pairs)?;
    await_info(&mut client, "aof_rewrite_in_progress", "0")?;
    assert_eq!(client.call(&["SAVE"])?, Reply::ok());
    client.call(&["BGREWRITEAOF"])?;
    await_info(&mut client, "aof_rewrite_in_progress", "0")?;
    let more = random_pairs(&mut random, 5_000);
    set(&mut client, &more)?;
    pairs.extend(more);
    let gone = pairs.keys().filter(|key| *key != b"large").step_by(7);
    let gone: Vec<Vec<u8>> = gone.cloned().collect();
    for key in gone {
        assert_eq!(client.call(&[&b"DEL"[..], &key])?, Reply::Integer(1));
        pairs.remove(&key);
    }
    await_info(&mut client, "aof_buffer_length", "0")?;
    assert!(server.shutdown(LIMIT)?.success());
    Ok(pairs)
}

/// Files of a store, by the end of their names.
fn files(data: &Path, end: &str) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(data)?;
    let paths = entries.map(|entry| Ok(entry?.path()));
    let paths: Vec<PathBuf> = paths.collect::<io::Result<_>>()?;
    let ends = |path: &PathBuf| path.to_string_lossy().ends_with(end);
    Ok(paths.into_iter().filter(ends).collect())
}

fn laid_aside(data: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(data)?;
    let paths = entries.map(|entry| Ok(entry?.path()));
    let paths: Vec<PathBuf> = paths.collect::<io::Result<_>>()?;
    let is = |path: &PathBuf| path.to_string_lossy().contains("condemned-");
    Ok(paths.into_iter().filter(is).collect())
}

/// Flips a bit of each byte from `from` on, as parts of a thousand of the file.
fn damage(path: &Path, from: usize, bytes: usize) -> io::Result<()> {
    let mut content = fs::read(path)?;
    let start = content.len() * from / 1000;
    for byte in content.iter_mut().skip(start).take(bytes) {
        *byte ^= 0x10;
    }
    fs::write(path, content)
}

fn remove_all(data: &Path, end: &str) -> io::Result<()> {
    let found = files(data, end)?;
    assert!(!found.is_empty(), "there is no {end}");
    found.into_iter().try_for_each(fs::remove_file)
}

fn largest(files: Vec<PathBuf>) -> PathBuf {
    let length = |path: &PathBuf| fs::metadata(path).map_or(0, |metadata| metadata.len());
    files.into_iter().max_by_key(length).expect("there is one")
}

/// What the server says that does not start.
fn refusal(options: &ServerOptions, data: &Path) -> String {
    match options.start(data) {
        Ok(server) => panic!("it started:\n{}", server.output()),
        Err(error) => error.to_string(),
    }
}

fn held(options: &ServerOptions, data: &Path) -> io::Result<Pairs> {
    let server = options.start(data)?;
    let pairs = all_of(&mut server.connect()?)?;
    assert!(server.shutdown(LIMIT)?.success());
    Ok(pairs)
}

type Harm = fn(&Path) -> io::Result<()>;

#[test]
fn a_store_that_is_lost_or_damaged_comes_back_whole() -> io::Result<()> {
    let root = tempfile::tempdir()?;
    let sound = root.path().join("sound");
    let expected = filled(&sound, 71)?;
    let harms: [(&str, Harm); 5] = [
        ("everything is gone", |data| {
            remove_all(data, ".table")?;
            remove_all(data, ".segment")?;
            fs::remove_file(data.join("META"))
        }),
        ("META is gone", |data| fs::remove_file(data.join("META"))),
        ("META is damaged", |data| damage(&data.join("META"), 500, 1)),
        ("a table's end is damaged", |data| {
            let table = largest(files(data, ".table")?);
            let mut content = fs::read(&table)?;
            let half = content.len() / 2;
            content.truncate(half);
            fs::write(&table, content)
        }),
        ("the log is damaged", |data| {
            let mut segments = files(data, ".segment")?;
            segments.sort();
            damage(&segments[0], 300, 4)
        }),
    ];
    for (harmed, harm) in harms {
        let data = root.path().join("data");
        copy(&sound, &data)?;
        harm(&data)?;
        let said = refusal(&options(), &data);
        assert!(
            said.contains(ASKED) && said.contains("has everything up to 20"),
            "{harmed}: {said}"
        );
        assert!(laid_aside(&data)?.is_empty(), "{harmed}");

        let server = recovering().start(&data)?;
        let said = server.output();
        assert!(
            said.contains("was recovered from its archive") && said.contains(".base.rdb"),
            "{harmed}: {said}"
        );
        let found = all_of(&mut server.connect()?)?;
        assert_same(&found, &expected);
        assert_eq!(info(&mut server.connect()?, "aof_enabled")?, "1");
        let recovered = info(&mut server.connect()?, "recovered_from_archive")?;
        assert_eq!(recovered, "1");
        // It takes writes, and has an archive again.
        server.connect()?.call(&["SET", "since", "then"])?;
        await_info(&mut server.connect()?, "aof_rewrite_in_progress", "0")?;
        assert!(server.shutdown(LIMIT)?.success());
        let [aside] = &laid_aside(&data)?[..] else {
            panic!("{harmed}: nothing, or several, were laid aside");
        };
        assert!(aside.join("archive/dump.rdb").exists(), "{harmed}");
        assert!(fs::read_to_string(aside.join("recovery.txt"))?.contains("keys, as of 20"));

        let mut later = expected.clone();
        later.insert(b"since".to_vec(), (b"then".to_vec(), 0));
        assert_same(&held(&recovering(), &data)?, &later);
        fs::remove_file(data.join("META"))?;
        assert_same(&held(&recovering(), &data)?, &later);
        assert_eq!(laid_aside(&data)?.len(), 2, "{harmed}");
        fs::remove_dir_all(&data)?;
    }
    Ok(())
}

#[test]
fn damage_that_is_met_when_the_log_is_applied_is_met_in_time() -> io::Result<()> {
    let root = tempfile::tempdir()?;
    let data = root.path().join("data");
    let expected = filled(&data, 97)?;
    // Every block of every table: whatever is read first.
    for table in files(&data, ".table")? {
        let mut content = fs::read(&table)?;
        let blocks = content.len() * 3 / 4;
        // What they begin with is looked at when they are opened.
        for byte in content[64..blocks].iter_mut().step_by(512) {
            *byte ^= 2;
        }
        fs::write(&table, content)?;
    }
    let server = options().start(&data)?;
    let said = server.output();
    assert!(
        said.contains("its storage failed") && said.contains(ASKED),
        "{said}"
    );
    server.kill()?;
    let server = recovering().start(&data)?;
    let said = server.output();
    assert!(said.contains("was recovered from its archive"), "{said}");
    assert_same(&all_of(&mut server.connect()?)?, &expected);
    assert!(server.shutdown(LIMIT)?.success());
    assert_same(&held(&options(), &data)?, &expected);
    Ok(())
}

#[test]
fn damage_that_only_reading_everything_finds_is_found_if_that_is_asked_for() -> io::Result<()> {
    let root = tempfile::tempdir()?;
    let data = root.path().join("data");
    let expected = filled(&data, 73)?;
    let part = &large()[500_000..500_064];
    let mut is_damaged = false;
    for table in files(&data, ".table")? {
        let mut content = fs::read(&table)?;
        let found = content.windows(part.len()).position(|bytes| bytes == part);
        if let Some(at) = found {
            content[at] ^= 1;
            fs::write(&table, content)?;
            is_damaged = true;
        }
    }
    assert!(is_damaged, "the large value is in no file");
    // It opens.
    assert!(recovering().start(&data)?.terminate(LIMIT)?.success());
    assert!(laid_aside(&data)?.is_empty());
    let verifying = options().arguments([format!("{ASKED}=verify")]);
    assert_same(&held(&verifying, &data)?, &expected);
    assert_eq!(laid_aside(&data)?.len(), 1);
    // What is sound is left as it is.
    assert_same(&held(&verifying, &data)?, &expected);
    assert_eq!(laid_aside(&data)?.len(), 1);
    Ok(())
}

#[test]
fn a_damaged_archive_gives_what_it_can_and_says_what_it_does_not() -> io::Result<()> {
    let root = tempfile::tempdir()?;
    let data = root.path().join("data");
    let expected = filled(&data, 79)?;
    let folder = data.join("archive/appendonlydir");
    damage(&largest(files(&folder, ".base.rdb")?), 500, 1)?;
    fs::remove_file(data.join("META"))?;
    // An older base, or the snapshot, and the commands since.
    let server = recovering().start(&data)?;
    let said = server.output();
    assert!(
        said.contains("not from") && said.contains("checksum"),
        "{said}"
    );
    assert_same(&all_of(&mut server.connect()?)?, &expected);
    assert!(server.shutdown(LIMIT)?.success());

    // Nothing is any use.
    fs::remove_file(data.join("META"))?;
    let archive = data.join("archive");
    fs::write(archive.join("appendonlydir/appendonly.aof.manifest"), "x")?;
    let dump = archive.join("dump.rdb");
    if dump.exists() {
        fs::write(dump, "x")?;
    }
    let said = refusal(&recovering(), &data);
    assert!(said.contains("Nor can it be recovered"), "{said}");
    assert!(!files(&data, ".segment")?.is_empty(), "nothing was changed");
    Ok(())
}

#[test]
fn a_recovery_that_is_killed_anywhere_begins_again_or_is_complete() -> io::Result<()> {
    let root = tempfile::tempdir()?;
    let sound = root.path().join("sound");
    let expected = filled(&sound, 83)?;
    fs::remove_file(sound.join("META"))?;
    let exchanges = (1..).map(|count| ("exchange", count));
    let makings = [
        ("prepare", 1),
        ("commit", 1),
        ("commit", 3),
        ("log", 1),
        ("log", 3),
    ];
    let mut kills = 0;
    for (point, count) in makings.into_iter().chain(exchanges) {
        let data = root.path().join("data");
        copy(&sound, &data)?;
        let killed = recovering().variable("TRILITH_KILL_AT", format!("{point}:{count}"));
        if let Ok(server) = killed.start(&data) {
            // So often it does not come to that.
            assert_eq!(point, "exchange");
            server.kill()?;
            break;
        }
        kills += 1;
        // Without being asked it is as it was, or complete.
        match options().start(&data) {
            Ok(server) => {
                assert_eq!(point, "exchange");
                assert_same(&all_of(&mut server.connect()?)?, &expected);
                server.kill()?;
            }
            Err(error) => {
                assert!(
                    error.to_string().contains(ASKED),
                    "{point}:{count}: {error}"
                );
            }
        }
        assert_same(&held(&recovering(), &data)?, &expected);
        assert_eq!(laid_aside(&data)?.len(), 1, "{point}:{count}");
        for left in [
            "recovery.unfinished",
            "recovery.complete",
            "recovery.placing",
        ] {
            assert!(!data.join(left).exists(), "{point}:{count}: {left}");
        }
        fs::remove_dir_all(&data)?;
    }
    // Five files at least are moved, and two folders get their names.
    assert!(kills >= 12, "{kills}");
    Ok(())
}

#[test]
fn a_node_of_a_cluster_is_not_recovered_from_its_archive() -> io::Result<()> {
    let root = tempfile::tempdir()?;
    let (first, second) = (root.path().join("first"), root.path().join("second"));
    let one = options().in_cluster().start(&first)?;
    one.connect()?.call(&["SET", "k", "v"])?;
    let join = ["--join".to_owned(), one.address().to_string()];
    let two = options()
        .in_cluster()
        .arguments(join.clone())
        .start(&second)?;
    for data in [&first, &second] {
        await_some("both know both", LIMIT, || {
            let map = fs::read(data.join("cluster.json")).ok()?;
            let map: serde_json::Value = serde_json::from_slice(&map).ok()?;
            (map["members"].as_object()?.len() == 2).then_some(())
        })?;
    }
    await_some("an archive", LIMIT, || {
        let manifest = "archive/appendonlydir/appendonly.aof.manifest";
        [&first, &second]
            .iter()
            .all(|data| data.join(manifest).exists())
            .then_some(())
    })?;
    two.kill()?;
    one.kill()?;
    let refused = "is not recovered from its archive";
    for data in [&first, &second] {
        fs::remove_file(data.join("META"))?;
        for options in [options(), recovering()] {
            let said = refusal(&options, data);
            assert!(
                said.contains("a cluster of 2 nodes") && said.contains("cluster remove"),
                "{said}"
            );
            assert!(said.contains(refused), "{said}");
        }
    }
    // Nothing tells, but it is to join.
    fs::remove_file(first.join("cluster.json"))?;
    let joins = recovering().arguments(["--join", "127.0.0.1:1"]);
    let said = refusal(&joins, &first);
    assert!(said.contains("--join") && said.contains(refused), "{said}");
    assert!(laid_aside(&first)?.is_empty() && laid_aside(&second)?.is_empty());
    Ok(())
}

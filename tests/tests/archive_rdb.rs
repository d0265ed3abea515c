//! RDB files between Trilith and Redis's own tools: what we write they load, and what they write we load. And a reader
//! that knows neither agrees.

mod rdb_files;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::process::Command;

use trilith::archive::rdb::EncodeOptions;
use trilith_tests::redis::{self, RedisServer};
use trilith_tests::{Client, Reply};

use rdb_files::{Content, Dump, random_dump, read, write};

/// How many commands go out before their replies are read.
const BATCH: usize = 500;

fn options(version: u16, compress: bool) -> EncodeOptions {
    EncodeOptions { version, compress }
}

/// Whether redis-check-rdb accepts the file, and what it says.
fn check(file: &Path) -> io::Result<(bool, String)> {
    let output = Command::new("redis-check-rdb").arg(file).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok((
        output.status.success() && text.contains("RDB looks OK!"),
        text,
    ))
}

/// The newest version of the format that this Redis reads.
fn newest(redis: (u32, u32)) -> u16 {
    match redis {
        (..=6, _) => 9,
        (7, ..=1) => 10,
        (7, ..=3) => 11,
        _ => 12,
    }
}

/// Compares every key, value and expiry of a server with what it should have.
fn compare(server: &RedisServer, dump: &Dump) -> io::Result<()> {
    let mut client = server.connect()?;
    let count = Reply::Integer(dump.len() as i64);
    assert_eq!(client.call(&["DBSIZE"])?, count);
    let entries: Vec<_> = dump.iter().collect();
    for batch in entries.chunks(BATCH) {
        let commands: Vec<Vec<&[u8]>> = batch
            .iter()
            .flat_map(|(key, _)| [vec![&b"GET"[..], key], vec![b"PEXPIRETIME", key]])
            .collect();
        let replies = client.pipeline(&commands)?;
        for ((key, (value, deadline_ms)), reply) in batch.iter().zip(replies.chunks(2)) {
            let key = key.escape_ascii();
            assert!(reply[0] == Reply::bulk(value), "the value of {key}");
            let expected = if *deadline_ms == 0 {
                -1
            } else {
                *deadline_ms as i64
            };
            assert_eq!(reply[1], Reply::Integer(expected), "the deadline of {key}");
        }
    }
    Ok(())
}

#[test]
fn redis_gives_back_every_key_value_and_expiry_of_our_files() {
    let Some(redis) = redis::version() else {
        return;
    };
    let dump = random_dump(1, 100_000);
    for (version, compress) in [(9, true), (10, false)] {
        assert!(version <= newest(redis));
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("dump.rdb");
        write(&file, options(version, compress), &dump).unwrap();
        let (accepted, text) = check(&file).unwrap();
        assert!(accepted, "{text}");
        let server = RedisServer::start(directory.path(), &["--appendonly", "no"]).unwrap();
        compare(&server, &dump).unwrap();
    }
}

#[test]
fn a_file_of_every_version_is_accepted_by_a_redis_that_knows_it_and_no_other() {
    let Some(redis) = redis::version() else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("dump.rdb");
    for version in 9..=11 {
        for compress in [false, true] {
            write(&file, options(version, compress), &random_dump(2, 2_000)).unwrap();
            let (accepted, text) = check(&file).unwrap();
            assert_eq!(accepted, version <= newest(redis), "{version}: {text}");
            assert!(accepted || text.contains("version"), "{text}");
        }
    }
}

#[test]
fn a_file_without_keys_is_loaded_and_the_default_is_a_version_that_redis_5_knows() {
    if redis::version().is_none() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("dump.rdb");
    write(&file, EncodeOptions::default(), &Dump::new()).unwrap();
    assert!(std::fs::read(&file).unwrap().starts_with(b"REDIS0009"));
    let (accepted, text) = check(&file).unwrap();
    assert!(accepted, "{text}");
    let server = RedisServer::start(directory.path(), &["--appendonly", "no"]).unwrap();
    compare(&server, &Dump::new()).unwrap();
    assert!(server.output().contains("DB loaded from disk"));
}

/// One key of every type and of every way that Redis stores it, by type.
const OTHERS: &[(&str, &[&str])] = &[
    ("list", &["RPUSH list:short a b 3"]),
    ("list", &["RPUSH list:long {500}"]),
    ("list", &["RPUSH list:large {1}", "APPEND string:large {1}"]),
    ("set", &["SADD set:numbers 1 2 70000 5000000000"]),
    ("set", &["SADD set:long {700}"]),
    ("zset", &["ZADD zset:short 1 a 2.5 b -inf c inf d"]),
    ("zset", &["ZADD zset:long {scores 300}"]),
    ("hash", &["HSET hash:short a 1 b 2"]),
    (
        "hash",
        &["HSET hash:long {600}", "PEXPIREAT hash:long 4000000000000"],
    ),
    (
        "stream",
        &["XADD stream:empty 1-1 a b", "XTRIM stream:empty MAXLEN 0"],
    ),
    (
        "stream",
        &[
            "XADD stream:groups 1-1 a b",
            "XADD stream:groups 2-1 a b c d",
            "XADD stream:groups 3-1 e f",
            "XDEL stream:groups 2-1",
            "XGROUP CREATE stream:groups one 0",
            "XGROUP CREATE stream:groups two $",
            "XGROUP CREATECONSUMER stream:groups two idle",
            "XREADGROUP GROUP one alice COUNT 1 STREAMS stream:groups >",
            "XREADGROUP GROUP one bob STREAMS stream:groups >",
        ],
    ),
];

/// The words of a command; `{n}` stands for so many words, `{scores n}` for so many pairs of a score and a member.
fn words(line: &str) -> Vec<Vec<u8>> {
    let (line, count) = match line.split_once('{') {
        Some((line, count)) => (line, count.trim_end_matches('}')),
        None => (line, ""),
    };
    let mut words: Vec<Vec<u8>> = line.split_whitespace().map(Into::into).collect();
    if let Some(count) = count.strip_prefix("scores ") {
        for i in 0..count.parse().expect("a number") {
            words.extend([format!("{i}.25").into(), format!("member {i}").into()]);
        }
    } else if count == "1" {
        words.push(vec![b'x'; 100_000]);
    } else if !count.is_empty() {
        let count: usize = count.parse().expect("a number");
        words.extend((0..count).map(|i| format!("word number {i}").into_bytes()));
    }
    words
}

/// Fills a server with strings and everything else, in two databases, and has it write its file.
fn fill(client: &mut Client, strings: &Dump) -> io::Result<()> {
    let done = |reply: Reply| assert!(!matches!(reply, Reply::Error(_)), "{reply:?}");
    let entries: Vec<_> = strings.iter().collect();
    for batch in entries.chunks(BATCH) {
        let set = |(key, (value, deadline_ms)): &(&Vec<u8>, &(Vec<u8>, u64))| {
            let mut words = vec![b"SET".to_vec(), key.to_vec(), value.clone()];
            if *deadline_ms > 0 {
                words.extend([b"PXAT".to_vec(), deadline_ms.to_string().into()]);
            }
            words
        };
        let commands: Vec<_> = batch.iter().map(set).collect();
        client.pipeline(&commands)?.into_iter().for_each(done);
    }
    let lua = "#!lua name=lib\nredis.register_function('f', function() return 1 end)";
    done(client.call(&["FUNCTION", "LOAD", lua])?);
    for (_, lines) in OTHERS {
        for line in *lines {
            done(client.call(&words(line))?);
        }
    }
    done(client.call(&["SELECT", "7"])?);
    done(client.call(&["SET", "elsewhere", "1"])?);
    done(client.call(&["SADD", "elsewhere:set", "1"])?);
    done(client.call(&["SAVE"])?);
    Ok(())
}

/// What a file of [`fill`]'s has to hold.
fn expected(strings: &Dump) -> Content {
    let mut content = Content {
        strings: strings.clone(),
        functions: 1,
        ..Content::default()
    };
    content
        .strings
        .insert(b"string:large".into(), (vec![b'x'; 100_000], 0));
    for (kind, lines) in OTHERS {
        let key = words(lines[0])[1].clone();
        content.others.insert((0, key), (*kind).to_owned());
    }
    let elsewhere = (7, b"elsewhere:set".to_vec());
    content.others.insert(elsewhere, "set".to_owned());
    content.elsewhere = BTreeMap::from([((7, b"elsewhere".to_vec()), b"1".to_vec())]);
    content
}

#[test]
fn of_redis_files_every_string_is_read_and_every_other_value_named() {
    if redis::version().is_none() {
        return;
    }
    let strings = random_dump(3, 20_000);
    for arguments in [
        &[][..],
        &["--rdbcompression", "no", "--rdbchecksum", "no"],
        // With what says how long a key was not used, or how often it was.
        &["--maxmemory-policy", "allkeys-lru", "--maxmemory", "10gb"],
        &["--maxmemory-policy", "allkeys-lfu", "--maxmemory", "10gb"],
    ] {
        let directory = tempfile::tempdir().unwrap();
        let server = RedisServer::start(directory.path(), arguments).unwrap();
        fill(&mut server.connect().unwrap(), &strings).unwrap();
        let mut found = read(&directory.path().join("dump.rdb")).unwrap();
        assert_eq!(found.checked, !arguments.contains(&"--rdbchecksum"));
        assert_eq!(found.aux["redis-bits"], b"64");
        found.aux.clear();
        found.checked = false;
        assert!(
            found == expected(&strings),
            "{arguments:?}: {}",
            found.summary()
        );
    }
}

#[test]
fn an_independent_reader_agrees_with_us_on_every_key_value_and_expiry() {
    let dump = random_dump(4, 100_000);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("dump.rdb");
    for (version, compress) in [(9, true), (10, true), (11, true), (11, false)] {
        write(&file, options(version, compress), &dump).unwrap();
        let bytes = std::fs::read(&file).unwrap();
        let decoder = rdb::RdbDecoder::new(&bytes[..], rdb::Simple::new()).unwrap();
        let mut found = Dump::new();
        for item in decoder {
            if let rdb::RdbValue::String { key, value, expiry } = item.unwrap() {
                let before = found.insert(key, (value, expiry.unwrap_or(0)));
                assert_eq!(before, None, "a key that is there twice");
            }
        }
        assert!(found == dump, "version {version}, compressed: {compress}");
        assert!(read(&file).unwrap().strings == dump);
    }
}

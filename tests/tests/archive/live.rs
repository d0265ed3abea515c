//! What a running node writes: Redis's programs accept it, and redis-server that is started on it has the same keys.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use trilith::random::Random;
use trilith_tests::cluster::await_some;
use trilith_tests::redis::{RedisServer, version};
use trilith_tests::{Client, Reply, Server, ServerOptions};

use crate::keys::{Pairs, all_of, assert_same, bytes, now_ms};
use crate::tools::{check_aof, stop};

/// Keys that the load chooses from: many are set anew, deleted, counted up.
const KEYS: u64 = 20_000;
/// How long what is due once a second may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

fn options() -> ServerOptions {
    ServerOptions::default().appendfsync("everysec")
}

/// The value of a field of INFO.
pub fn info(client: &mut Client, field: &str) -> io::Result<String> {
    let Reply::Bulk(text) = client.call(&["INFO"])? else {
        return Err(io::Error::other("INFO has no text"));
    };
    let text = String::from_utf8_lossy(&text).into_owned();
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    let found = lines.find(|(name, _)| *name == field);
    found
        .map(|(_, value)| value.trim().to_owned())
        .ok_or_else(|| io::Error::other(format!("INFO has no {field}")))
}

/// Waits until a field of INFO has this value.
pub fn await_info(client: &mut Client, field: &str, value: &str) -> io::Result<()> {
    await_some(&format!("{field}:{value}"), LIMIT, || {
        match info(client, field) {
            Ok(found) => (found == value).then_some(Ok(())),
            Err(error) => Some(Err(error)),
        }
    })?
}

fn word(text: impl Into<Vec<u8>>) -> Vec<u8> {
    text.into()
}

/// A command of any kind that writes.
fn command(random: &mut Random) -> Vec<Vec<u8>> {
    let number = random.below(KEYS);
    let key = match number % 5 {
        // Binary ones too.
        0 => [&number.to_le_bytes()[..], b"\r\n$3\r\n\0"].concat(),
        _ => format!("key:{number}").into_bytes(),
    };
    let value = match random.below(2_000) {
        0 => bytes(random, 300_000),
        _ => bytes(random, 60),
    };
    let name = |name: &str| word(name.to_owned());
    match random.below(12) {
        0 => vec![name("DEL"), key],
        1 => vec![name("INCRBY"), [&b"count:"[..], &key].concat(), name("7")],
        2 => vec![name("APPEND"), key, b"+".to_vec()],
        // Some are gone before long, most are not.
        3 => vec![name("SET"), key, value, name("PX"), name("700")],
        4 => vec![name("SET"), key, value, name("EX"), name("86400")],
        5 => vec![name("PERSIST"), key],
        6 => {
            let other = format!("key:{}", random.below(KEYS)).into_bytes();
            vec![name("MSET"), key, value.clone(), other, value]
        }
        _ => vec![name("SET"), key, value],
    }
}

/// Writes until told to end, or until the server is gone.
fn load(client: io::Result<Client>, seed: u64, ends: &AtomicBool) -> io::Result<()> {
    let (mut client, mut random) = (client?, Random::new(seed));
    while !ends.load(Relaxed) {
        let commands: Vec<_> = (0..64).map(|_| command(&mut random)).collect();
        for reply in client.pipeline(&commands)? {
            // APPEND to a number and the like are refused, as they are by Redis.
            assert!(
                !matches!(reply, Reply::Error(ref error) if !error.starts_with("ERR value")),
                "{reply:?}"
            );
        }
    }
    Ok(())
}

/// Copies a folder, for redis-server changes what it is started on.
pub fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), &to)?;
        }
    }
    Ok(())
}

/// Both kinds of files are sound to Redis's programs.
fn check_files(archive: &Path) -> io::Result<()> {
    let manifest = archive.join("appendonlydir/appendonly.aof.manifest");
    let checked = check_aof(&[], &manifest)?;
    let said = String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success(), "{said}");
    let dump = archive.join("dump.rdb");
    if dump.exists() {
        let checked = Command::new("redis-check-rdb")
            .arg(&dump)
            .stdin(Stdio::null())
            .output()?;
        let said = String::from_utf8_lossy(&checked.stdout);
        assert!(checked.status.success(), "{said}");
    }
    Ok(())
}

/// What both have not let go of since.
fn still_alive(mut pairs: Pairs) -> Pairs {
    let soon_ms = now_ms() + 60_000;
    pairs.retain(|_, (_, deadline_ms)| *deadline_ms == 0 || *deadline_ms > soon_ms);
    pairs
}

/// What redis-server holds that is started on a copy of these files.
fn in_redis(archive: &Path, arguments: &[&str]) -> io::Result<Pairs> {
    let root = tempfile::tempdir()?;
    copy(archive, root.path())?;
    let redis = RedisServer::start(root.path(), arguments)?;
    let pairs = all_of(&mut redis.connect()?)?;
    stop(&redis)?;
    Ok(still_alive(pairs))
}

fn in_server(server: &Server) -> io::Result<Pairs> {
    Ok(still_alive(all_of(&mut server.connect()?)?))
}

/// A server that has been written to for a while, with everything on, when it was killed.
fn killed_under_load(data: &Path, seed: u64) -> io::Result<()> {
    let server = options()
        .arguments(["--auto-aof-rewrite-min-size", "4mb"])
        .start(data)?;
    let ends = AtomicBool::new(false);
    let clients = [server.connect(), server.connect(), server.connect()];
    thread::scope(|scope| -> io::Result<()> {
        let ends = &ends;
        let loads: Vec<_> = (seed..)
            .zip(clients)
            .map(|(seed, client)| scope.spawn(move || load(client, seed, ends)))
            .collect();
        let mut client = server.connect()?;
        await_info(&mut client, "aof_rewrite_in_progress", "0")?;
        thread::sleep(Duration::from_millis(1_500));
        assert_eq!(
            client.call(&["BGSAVE", "SCHEDULE"])?,
            Reply::Simple("Background saving started".into())
        );
        await_info(&mut client, "rdb_bgsave_in_progress", "0")?;
        assert_eq!(info(&mut client, "rdb_last_bgsave_status")?, "ok");
        assert_eq!(info(&mut client, "aof_last_write_status")?, "ok");
        let _begun = client.call(&["BGREWRITEAOF"])?;
        thread::sleep(Duration::from_millis(seed * 137 % 700));
        server.kill()?;
        ends.store(true, Relaxed);
        for load in loads {
            // They see the connection break.
            let _broken = load.join().expect("a client does not panic");
        }
        Ok(())
    })
}

#[test]
fn redis_has_the_same_keys_from_the_files_of_a_server_that_was_killed() -> io::Result<()> {
    if version().is_none() {
        return Ok(());
    }
    for seed in 1..4 {
        let root = tempfile::tempdir()?;
        let data = root.path().join("data");
        let archive = data.join("archive");
        killed_under_load(&data, seed * 1000)?;
        // As the kill has left them, but for a tail that is torn.
        let dump = in_redis(&archive, &["--appendonly", "no"])?;
        assert!(dump.len() > 1000, "{}", dump.len());
        let torn = in_redis(&archive, &["--appendonly", "yes"])?;
        assert!(torn.len() > 1000, "{}", torn.len());

        let server = options().start(&data)?;
        let mut client = server.connect()?;
        await_info(&mut client, "aof_buffer_length", "0")?;
        assert_eq!(client.call(&["SAVE"])?, Reply::ok());
        let expected = in_server(&server)?;
        assert!(server.shutdown(LIMIT)?.success());
        check_files(&archive)?;
        assert_same(&in_redis(&archive, &["--appendonly", "yes"])?, &expected);
        assert_same(&in_redis(&archive, &["--appendonly", "no"])?, &expected);
        // And so has the server itself, once more.
        let server = options().start(&data)?;
        assert_eq!(info(&mut server.connect()?, "aof_gap_since")?, "0");
        assert_same(&in_server(&server)?, &expected);
    }
    Ok(())
}

#[test]
fn flushall_and_what_expires_are_in_the_files_too() -> io::Result<()> {
    if version().is_none() {
        return Ok(());
    }
    let root = tempfile::tempdir()?;
    let data = root.path().join("data");
    let server = options().start(&data)?;
    let mut client = server.connect()?;
    for n in 0..1000 {
        client.call(&["SET".to_owned(), format!("before {n}"), "v".into()])?;
    }
    assert_eq!(client.call(&["FLUSHALL"])?, Reply::ok());
    client.call(&["SET", "soon", "gone", "PX", "300"])?;
    client.call(&["SET", "after", "stays"])?;
    await_some("the key's end", LIMIT, || {
        let gone = client.call(&["DBSIZE"]);
        gone.is_ok_and(|gone| gone == Reply::Integer(1))
            .then_some(())
    })?;
    assert!(server.shutdown(LIMIT)?.success());
    let archive = data.join("archive");
    check_files(&archive)?;
    let folder = archive.join("appendonlydir");
    let mut log = Vec::new();
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(".incr.aof") {
            log.extend(fs::read(path)?);
        }
    }
    let log = log.escape_ascii().to_string();
    assert_eq!(log.matches("FLUSHALL").count(), 1);
    assert_eq!(log.matches("DEL").count(), 1, "the key that has expired");
    let expected: Pairs = [(b"after".to_vec(), (b"stays".to_vec(), 0))].into();
    assert_same(&in_redis(&archive, &["--appendonly", "yes"])?, &expected);
    Ok(())
}

#[test]
fn commands_answer_as_rediss_do() -> io::Result<()> {
    let root = tempfile::tempdir()?;
    let data = root.path().join("data");
    let server = options().start(&data)?;
    let mut client = server.connect()?;
    client.call(&["SET", "k", "v"])?;
    await_info(&mut client, "aof_rewrite_in_progress", "0")?;
    let before = now_ms() / 1000;
    assert_eq!(client.call(&["SAVE"])?, Reply::ok());
    let Reply::Integer(saved) = client.call(&["LASTSAVE"])? else {
        panic!("LASTSAVE has no number");
    };
    assert!(saved.unsigned_abs() >= before && saved.unsigned_abs() <= now_ms() / 1000);
    assert_eq!(info(&mut client, "rdb_changes_since_last_save")?, "0");
    let simple = |text: &str| Reply::Simple(text.into());
    assert_eq!(
        client.call(&["BGSAVE"])?,
        simple("Background saving started")
    );
    await_info(&mut client, "rdb_bgsave_in_progress", "0")?;
    assert_eq!(
        client.call(&["BGSAVE", "often"])?,
        Reply::Error("ERR syntax error".into())
    );
    assert_eq!(
        client.call(&["BGREWRITEAOF"])?,
        simple("Background append only file rewriting started")
    );
    await_info(&mut client, "aof_rewrite_in_progress", "0")?;
    assert_eq!(info(&mut client, "aof_enabled")?, "1");
    assert!(data.join("archive/dump.rdb").exists());
    assert!(server.shutdown(LIMIT)?.success());

    // Both off, by one setting each; the note of keys in use would be the folder's only file.
    let off = root.path().join("off");
    let server = options()
        .arguments(["--appendonly", "no", "--save", ""])
        .arguments(["--warm-restart", "0"])
        .start(&off)?;
    let mut client = server.connect()?;
    client.call(&["SET", "k", "v"])?;
    assert_eq!(info(&mut client, "aof_enabled")?, "0");
    assert!(matches!(client.call(&["BGREWRITEAOF"])?, Reply::Error(_)));
    assert!(server.shutdown(LIMIT)?.success());
    assert!(!off.join("archive").exists());
    Ok(())
}

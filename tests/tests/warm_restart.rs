//! The real server comes back warm: what was in use is in memory soon after a restart.

use std::io;
use std::path::Path;
use std::time::Duration;

use trilith_tests::cluster::await_some;
use trilith_tests::{Client, Reply, Server, ServerOptions};

const KEYS: usize = 20_000;
const HOT: usize = 1_000;
/// How long what is due after a second may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

fn options(seconds: &str) -> ServerOptions {
    ServerOptions::default()
        .appendfsync("everysec")
        // Small, so that most of what is written leaves memory for tables.
        .arguments(["--memory", "8mb", "--warm-restart", seconds])
}

fn key(i: usize) -> String {
    format!("key:{i:06}")
}

fn value(i: usize) -> String {
    format!("{i:0200}")
}

/// A figure of INFO.
fn figure(client: &mut Client, name: &str) -> io::Result<u64> {
    let Reply::Bulk(text) = client.call(&["INFO", "store"])? else {
        return Err(io::Error::other("INFO has no text"));
    };
    let text = String::from_utf8_lossy(&text).into_owned();
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    let found = lines.find(|(found, _)| *found == name);
    found
        .and_then(|(_, value)| value.trim().parse().ok())
        .ok_or_else(|| io::Error::other(format!("INFO has no {name}")))
}

fn await_figure(client: &mut Client, name: &str, is_it: impl Fn(u64) -> bool) -> io::Result<()> {
    await_some(name, LIMIT, || match figure(client, name) {
        Ok(found) => is_it(found).then_some(Ok(())),
        Err(error) => Some(Err(error)),
    })?
}

/// Keys far apart, the last ones excepted: those are in the log, and come back by themselves.
fn hot() -> impl Iterator<Item = usize> {
    (0..HOT).map(|i| i * (KEYS - 5_000) / HOT)
}

/// Reads what is hot. How many reads memory could not answer.
fn read_hot(client: &mut Client) -> io::Result<u64> {
    let before = figure(client, "cold_reads")?;
    let gets: Vec<_> = hot().map(|i| vec!["GET".to_owned(), key(i)]).collect();
    for (i, reply) in hot().zip(client.pipeline(&gets)?) {
        assert_eq!(reply, Reply::bulk(value(i)), "key {i}");
    }
    Ok(figure(client, "cold_reads")? - before)
}

/// A server whose hot keys are in memory, and in use.
fn in_use(data: &Path, seconds: &str) -> io::Result<(Server, Client)> {
    let server = options(seconds).start(data)?;
    let mut client = server.connect()?;
    let sets: Vec<_> = (0..KEYS)
        .map(|i| vec!["SET".to_owned(), key(i), value(i)])
        .collect();
    for sets in sets.chunks(1000) {
        let replies = client.pipeline(sets)?;
        assert!(replies.iter().all(|reply| *reply == Reply::ok()));
    }
    // A few rounds: what is read for the first time is cached, or noted as worth it.
    for _ in 0..4 {
        read_hot(&mut client)?;
    }
    Ok((server, client))
}

/// Starts again, and waits until what was noted is back.
fn back(data: &Path, seconds: &str) -> io::Result<(Server, Client)> {
    let server = options(seconds).start(data)?;
    let mut client = server.connect()?;
    await_figure(&mut client, "warm_restart_in_progress", |is| is == 0)?;
    Ok((server, client))
}

#[test]
fn a_server_that_was_stopped_answers_what_was_in_use_from_memory() -> io::Result<()> {
    let directory = tempfile::tempdir()?;
    let data = directory.path().join("store");
    let (server, _) = in_use(&data, "300")?;
    assert!(server.terminate(Duration::from_secs(20))?.success());
    assert!(data.join("archive/warm/hot.keys").exists());

    let (server, mut client) = back(&data, "300")?;
    let loaded = figure(&mut client, "warm_restart_keys_loaded")?;
    assert!(loaded as usize > HOT / 2, "{loaded} keys were read back");
    let cold = read_hot(&mut client)?;
    assert!(cold as usize <= HOT / 20, "{cold} reads of tables");
    let metrics = metrics(&server)?;
    assert!(
        metrics.contains(&format!("trilith_warm_restart_keys_loaded_total {loaded}")),
        "{metrics}"
    );

    // The same without.
    drop(client);
    assert!(server.terminate(Duration::from_secs(20))?.success());
    let (_server, mut client) = back(&data, "0")?;
    assert_eq!(figure(&mut client, "warm_restart_keys_loaded")?, 0);
    let cold = read_hot(&mut client)?;
    assert!(cold as usize > HOT / 2, "{cold} reads of tables");
    Ok(())
}

#[test]
fn a_server_that_was_killed_is_as_warm_as_its_last_note() -> io::Result<()> {
    let directory = tempfile::tempdir()?;
    let data = directory.path().join("store");
    let (server, mut client) = in_use(&data, "1")?;
    await_figure(&mut client, "warm_restart_keys_noted", |keys| {
        keys as usize > HOT / 2
    })?;
    server.kill()?;

    let (_server, mut client) = back(&data, "1")?;
    let cold = read_hot(&mut client)?;
    assert!(cold as usize <= HOT / 20, "{cold} reads of tables");
    Ok(())
}

#[test]
fn a_note_that_is_damaged_does_not_keep_a_server_from_starting() -> io::Result<()> {
    let directory = tempfile::tempdir()?;
    let data = directory.path().join("store");
    let (server, _) = in_use(&data, "300")?;
    assert!(server.terminate(Duration::from_secs(20))?.success());
    std::fs::write(data.join("archive/warm/hot.keys"), b"TRLHOTKY and so on")?;

    let (server, mut client) = back(&data, "300")?;
    assert_eq!(figure(&mut client, "warm_restart_keys_loaded")?, 0);
    read_hot(&mut client)?;
    let output = server.output();
    assert!(output.contains("hot.keys"), "{output}");
    Ok(())
}

fn metrics(server: &Server) -> io::Result<String> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(server.http_address())?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

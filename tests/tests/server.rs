//! The real server as a process: what it keeps when it is stopped, and when it is killed.

use std::io;
use std::time::Duration;

use trilith_tests::{Reply, Server, ServerOptions};

fn set(i: usize) -> Vec<String> {
    vec!["SET".into(), format!("key:{i:06}"), format!("value of {i}")]
}

/// Fills a store, ends the server by `end`, starts it again and compares everything.
fn keeps_everything(appendfsync: &'static str, end: impl FnOnce(Server)) -> io::Result<()> {
    let directory = tempfile::tempdir()?;
    let data = directory.path().join("store");
    let options = ServerOptions::default().appendfsync(appendfsync);

    let server = options.start(&data)?;
    let replies = server
        .connect()?
        .pipeline(&(0..10_000).map(set).collect::<Vec<_>>())?;
    assert!(replies.iter().all(|reply| *reply == Reply::ok()));
    end(server);

    let server = options.start(&data)?;
    let mut client = server.connect()?;
    assert_eq!(client.call(&["DBSIZE"])?, Reply::Integer(10_000));
    let gets: Vec<_> = (0..10_000)
        .map(|i| vec!["GET".into(), set(i)[1].clone()])
        .collect();
    for (i, reply) in client.pipeline(&gets)?.into_iter().enumerate() {
        assert_eq!(reply, Reply::bulk(&set(i)[2]), "key {i}");
    }
    Ok(())
}

#[test]
fn what_was_acknowledged_outlives_kill_9() {
    for appendfsync in ["always", "everysec", "no"] {
        keeps_everything(appendfsync, |server| server.kill().unwrap()).unwrap();
    }
}

#[test]
fn what_was_acknowledged_outlives_shutdown() {
    let end = |server: Server| {
        assert!(server.shutdown(Duration::from_secs(20)).unwrap().success());
    };
    keeps_everything("everysec", end).unwrap();
}

#[cfg(unix)]
#[test]
fn sigterm_stops_the_server_gracefully() {
    let end = |server: Server| {
        assert!(server.terminate(Duration::from_secs(20)).unwrap().success());
    };
    keeps_everything("everysec", end).unwrap();
}

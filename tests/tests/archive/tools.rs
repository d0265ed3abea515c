//! Redis's programs: started, stopped in good order, asked about files.

use std::io;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use trilith_tests::Client;
use trilith_tests::cluster::await_some;
use trilith_tests::redis::RedisServer;

/// How long it may take to stop.
const LIMIT: Duration = Duration::from_secs(60);

/// Stops a server in good order: what it has to write is written.
pub fn stop(redis: &RedisServer) -> io::Result<()> {
    // The answer is a closed connection.
    let _ = redis.connect()?.call(&["SHUTDOWN", "NOSAVE"]);
    await_some("redis-server's end", LIMIT, || {
        Client::connect(redis.address()).is_err().then_some(())
    })
}

/// Runs redis-check-aof on a manifest or a file.
pub fn check_aof(arguments: &[&str], path: &Path) -> io::Result<Output> {
    Command::new("redis-check-aof")
        .args(arguments)
        .arg(path)
        .stdin(Stdio::null())
        .output()
}

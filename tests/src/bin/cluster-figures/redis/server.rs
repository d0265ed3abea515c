//! The system's redis-server as a child process, which never outlives its handle.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use trilith_tests::cluster::await_some;
use trilith_tests::{Client, Reply};

use crate::options::Appendfsync;

/// How long it may take to start.
const START: Duration = Duration::from_secs(30);

/// A running server.
pub struct RedisServer {
    child: Child,
    address: SocketAddr,
}

impl RedisServer {
    /// Starts one with its files in `directory`, as a replica if there is a primary.
    pub fn start(
        directory: &Path,
        appendfsync: Appendfsync,
        primary: Option<SocketAddr>,
    ) -> io::Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
            .local_addr()?
            .port();
        let log = File::create(directory.join("redis.log"))?;
        let mut command = Command::new("redis-server");
        command
            .args(["--port", &port.to_string()])
            .args(["--bind", "127.0.0.1"])
            .args(["--dir".as_ref(), directory.as_os_str()])
            .args(["--appendonly", "yes"])
            .args(["--appendfsync", appendfsync.name()])
            .args(["--save", ""])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        if let Some(primary) = primary {
            let port = primary.port().to_string();
            command.args(["--replicaof", &primary.ip().to_string(), &port]);
        }
        let server = Self {
            child: command.spawn()?,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        };
        await_some("a PONG of redis-server", START, || {
            let reply = Client::connect(server.address).ok()?.call(&["PING"]);
            (reply.ok()? == Reply::Simple("PONG".into())).then_some(())
        })?;
        Ok(server)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until so many replicas have all that it has.
    pub fn await_replicas(&self, count: usize, limit: Duration) -> io::Result<()> {
        await_some("replicas", limit, || {
            let reply = Client::connect(self.address)
                .ok()?
                .call(&["INFO", "replication"]);
            let Reply::Bulk(text) = reply.ok()? else {
                return None;
            };
            let online = String::from_utf8_lossy(&text)
                .matches("state=online")
                .count();
            (online == count).then_some(())
        })
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // Already gone is what is wanted; there is nobody to tell anything else.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! The system's redis-server as a child process, which never outlives its handle, and the tools that come with it.

use std::fs::File;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::cluster::await_some;
use crate::{Client, Reply};

/// How long it may take to start and to load what is there.
const START: Duration = Duration::from_secs(60);

/// A running server.
pub struct RedisServer {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
}

impl RedisServer {
    /// Starts one on a free loopback port with its files in `directory`, and waits until it has loaded them. `arguments`
    /// are those of its command line.
    pub fn start<A: AsRef<str>>(directory: &Path, arguments: &[A]) -> io::Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
            .local_addr()?
            .port();
        let log = directory.join("redis.log");
        let output = File::create(&log)?;
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string()])
            .args(["--bind", "127.0.0.1"])
            .args(["--dir".as_ref(), directory.as_os_str()])
            .args(["--save", ""])
            .args(arguments.iter().map(AsRef::as_ref))
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()?;
        let mut server = Self {
            child,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            log,
        };
        server.await_pong()?;
        Ok(server)
    }

    fn await_pong(&mut self) -> io::Result<()> {
        await_some("a PONG of redis-server", START, || {
            // One that has ended will never answer.
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(Err(io::Error::other(format!(
                    "redis-server ended with {status}:\n{}",
                    self.output()
                ))));
            }
            let reply = Client::connect(self.address).ok()?.call(&["PING"]);
            (reply.ok()? == Reply::Simple("PONG".into())).then_some(Ok(()))
        })?
    }

    /// Where it speaks RESP.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A new connection.
    pub fn connect(&self) -> io::Result<Client> {
        Client::connect(self.address)
    }

    /// What it has printed so far.
    pub fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // Already gone is what is wanted; there is nobody to tell anything else.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Redis's version, as major and minor number; `None`, which is said, where redis-server or one of the tools that check
/// its files is not installed.
pub fn version() -> Option<(u32, u32)> {
    for tool in ["redis-check-rdb", "redis-check-aof", "redis-server"] {
        if Command::new(tool).arg("--version").output().is_err() {
            // Not by a macro, whose output the test harness would keep to itself.
            let _ = writeln!(io::stderr(), "SKIPPED: {tool} is not installed");
            return None;
        }
    }
    let output = Command::new("redis-server")
        .arg("--version")
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (_, numbers) = text.split_once("v=")?;
    let mut numbers = numbers.split(['.', ' ']).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

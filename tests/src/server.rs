//! The real server binary as a child process on free loopback ports.
//!
//! A server never outlives its handle: dropping it kills the process by its own id. The binary is the one
//! in `TRILITH_BIN`, else the one that cargo builds in this workspace.

use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::{Client, Reply};

/// How many ports clusters choose from.
const CLUSTER_PORTS: u32 = 5_000;

/// Nodes of a cluster speak to each other on a port that is higher by this.
pub const BUS_OFFSET: u16 = 10_000;

/// A port that was free a moment ago may be taken by now: how often another one is tried.
const PORT_ATTEMPTS: usize = 5;

/// How to start a server.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    appendfsync: &'static str,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    start_limit: Duration,
    host: IpAddr,
    port: Option<u16>,
    in_cluster: bool,
    within: Vec<String>,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            appendfsync: "always",
            arguments: Vec::new(),
            environment: Vec::new(),
            start_limit: Duration::from_secs(30),
            host: Ipv4Addr::LOCALHOST.into(),
            port: None,
            in_cluster: false,
            within: Vec::new(),
        }
    }
}

impl ServerOptions {
    /// Sets `--appendfsync`: `always` (the default here), `everysec` or `no`.
    #[must_use]
    pub fn appendfsync(mut self, policy: &'static str) -> Self {
        self.appendfsync = policy;
        self
    }

    /// Adds arguments behind those that every server gets.
    #[must_use]
    pub fn arguments<A: Into<String>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets a variable in the server's environment.
    #[must_use]
    pub fn variable(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// How long the server may take until its first `PONG`.
    #[must_use]
    pub fn start_limit(mut self, limit: Duration) -> Self {
        self.start_limit = limit;
        self
    }

    /// Sets the port for clients, instead of any that is free.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Sets the address to listen on, instead of the loopback's; with a port, for none is looked for there.
    #[must_use]
    pub fn host(mut self, host: IpAddr) -> Self {
        self.host = host;
        self
    }

    /// Runs the server by a command that becomes it, such as `nsenter`.
    #[must_use]
    pub fn within<A: Into<String>>(mut self, command: impl IntoIterator<Item = A>) -> Self {
        self.within = command.into_iter().map(Into::into).collect();
        self
    }

    /// Chooses a port for which the one that other nodes use is free too.
    #[must_use]
    pub fn in_cluster(mut self) -> Self {
        self.in_cluster = true;
        self
    }

    /// Starts a server on the store in `data` and waits until it answers.
    pub fn start(&self, data: &Path) -> io::Result<Server> {
        let mut last = None;
        for _ in 0..PORT_ATTEMPTS {
            match self.start_once(data) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => last = Some(error),
                other => return other,
            }
        }
        Err(last.unwrap_or_else(|| io::Error::other("no port was free")))
    }

    fn ports(&self) -> io::Result<(u16, u16)> {
        let (any, http_port) = free_ports()?;
        let port = match self.port {
            Some(port) => port,
            None if self.in_cluster => cluster_port()?,
            None => any,
        };
        Ok((port, http_port))
    }

    fn start_once(&self, data: &Path) -> io::Result<Server> {
        let (port, http_port) = self.ports()?;
        let log = data.with_extension("server.log");
        let output = File::create(&log)?;
        let child = self
            .command()?
            .arg("serve")
            .arg("--data")
            .arg(data)
            .args(["--bind", &self.host.to_string()])
            .args(["--port", &port.to_string()])
            .args(["--http-port", &http_port.to_string()])
            .args(["--appendfsync", self.appendfsync])
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()?;
        let mut server = Server {
            child,
            address: SocketAddr::from((self.host, port)),
            http: SocketAddr::from((Ipv4Addr::LOCALHOST, http_port)),
            log,
        };
        server.await_pong(self.start_limit)?;
        Ok(server)
    }

    /// The binary, by way of what it runs within.
    fn command(&self) -> io::Result<Command> {
        let binary = binary()?;
        let Some((program, arguments)) = self.within.split_first() else {
            return Ok(Command::new(binary));
        };
        let mut command = Command::new(program);
        command.args(arguments).arg(binary);
        Ok(command)
    }
}

/// A running server.
pub struct Server {
    child: Child,
    address: SocketAddr,
    http: SocketAddr,
    log: PathBuf,
}

impl Server {
    /// Starts a server with the default options.
    pub fn start(data: &Path) -> io::Result<Self> {
        ServerOptions::default().start(data)
    }

    /// A new connection.
    pub fn connect(&self) -> io::Result<Client> {
        Client::connect(self.address)
    }

    /// Where it speaks RESP.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it speaks HTTP.
    pub fn http_address(&self) -> SocketAddr {
        self.http
    }

    /// The process's id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed so far.
    pub fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Ends the process at once, as `kill -9` does, and waits until it is gone.
    pub fn kill(mut self) -> io::Result<()> {
        self.kill_now()
    }

    /// As [`Server::kill`], for who still wants to read what it printed.
    pub fn kill_now(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    /// Asks the process to stop, as a service manager does, and waits for it.
    #[cfg(unix)]
    pub fn terminate(mut self, limit: Duration) -> io::Result<ExitStatus> {
        self.signal("TERM")?;
        self.await_exit(limit)
    }

    /// Sends the process the signal of this name, such as `STOP`.
    #[cfg(unix)]
    pub fn signal(&self, name: &str) -> io::Result<()> {
        // std sends no signal but SIGKILL, and one call is not worth a dependency.
        let status = Command::new("kill")
            .args([&format!("-{name}"), &self.pid().to_string()])
            .status()?;
        if status.success() {
            return Ok(());
        }
        Err(io::Error::other(format!("kill -{name} failed")))
    }

    /// Sends SHUTDOWN and waits for the process to end.
    pub fn shutdown(mut self, limit: Duration) -> io::Result<ExitStatus> {
        // The server answers only when it refuses; otherwise the connection just ends.
        if let Ok(Reply::Error(error)) = self.connect()?.call(&["SHUTDOWN"]) {
            return Err(io::Error::other(format!("SHUTDOWN was refused: {error}")));
        }
        self.await_exit(limit)
    }

    /// Waits for the process to end by itself; kills it and fails when it does not.
    pub fn await_exit(&mut self, limit: Duration) -> io::Result<ExitStatus> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if start.elapsed() > limit {
                self.child.kill()?;
                self.child.wait()?;
                let text = format!("still running after {limit:?}:\n{}", self.output());
                return Err(io::Error::new(io::ErrorKind::TimedOut, text));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn await_pong(&mut self, limit: Duration) -> io::Result<()> {
        let start = Instant::now();
        loop {
            if let Ok(mut client) = self.connect()
                && client.call(&["PING"]).ok() == Some(Reply::Simple("PONG".into()))
            {
                // Someone else's server on our port must not pass for ours.
                if self.child.try_wait()?.is_none() {
                    return Ok(());
                }
            }
            if let Some(status) = self.child.try_wait()? {
                let output = self.output();
                let taken = output.to_lowercase().contains("address already in use");
                let kind = if taken {
                    io::ErrorKind::AddrInUse
                } else {
                    io::ErrorKind::Other
                };
                return Err(io::Error::new(
                    kind,
                    format!("ended with {status}:\n{output}"),
                ));
            }
            if start.elapsed() > limit {
                let text = format!("no PONG within {limit:?}:\n{}", self.output());
                return Err(io::Error::new(io::ErrorKind::TimedOut, text));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already gone is what is wanted; there is nobody to tell anything else.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that is free together with its bus. Both lie below those that systems give to outgoing connections, one
/// of which might take the bus's between now and then, or while its node is down.
pub fn cluster_port() -> io::Result<u16> {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    let is_free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    for _ in 0..CLUSTER_PORTS {
        let taken = TAKEN.fetch_add(1, Relaxed);
        let place = std::process::id().wrapping_mul(97).wrapping_add(taken) % CLUSTER_PORTS;
        let port = 10_000 + place as u16;
        if is_free(port) && is_free(port + BUS_OFFSET) {
            return Ok(port);
        }
    }
    Err(io::Error::other("no port is free together with its bus"))
}

/// Two ports that were free a moment ago: for clients, together with that of its bus, and for HTTP.
fn free_ports() -> io::Result<(u16, u16)> {
    let http = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok((cluster_port()?, http.local_addr()?.port()))
}

/// The server binary: `TRILITH_BIN`, or what cargo builds (once in each test process).
pub fn binary() -> io::Result<&'static Path> {
    static BINARY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let found = BINARY.get_or_init(|| match std::env::var_os("TRILITH_BIN") {
        Some(path) => Ok(path.into()),
        None => build().map_err(|error| error.to_string()),
    });
    found
        .as_deref()
        .map_err(|error| io::Error::other(error.clone()))
}

fn build() -> io::Result<PathBuf> {
    // Tests lie in target/PROFILE/deps.
    let deps = std::env::current_exe()?;
    let profile = deps
        .ancestors()
        .nth(2)
        .ok_or_else(|| io::Error::other("no target directory"))?;
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(crate::source::root()).args([
        "build",
        "--quiet",
        "--package",
        "trilith-server",
    ]);
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    let status = cargo.status()?;
    if !status.success() {
        return Err(io::Error::other(format!(
            "building trilith-server ended with {status}"
        )));
    }
    Ok(profile
        .join("trilith")
        .with_extension(std::env::consts::EXE_EXTENSION))
}

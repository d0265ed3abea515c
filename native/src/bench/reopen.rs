//! `trilith bench reopen`: how long after `kill -9` the first reply takes, with all keys there and the
//! memtables left full, for the embedded store and for the server.
//!
//! The store is filled and opened by processes of their own, so that nothing is warm and the kill is a
//! real one. Only processes started here are killed, by their handles.

use std::any::Any;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command as ChildCommand, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use trilith::command::{Command, Condition, Expiry, Reply, Set, Store as CommandStore};
use trilith::storage::Contents;
use trilith::{Db, Object, Options, Stats, Storage};

use super::command::{empty, parse_bytes, scratch};
use super::keys::{Permutation, Random, mix, write_key};
use super::process::{disk_bytes, peak_resident_bytes_of};
use super::report::bytes;
use super::values::Values;
use crate::{FileStorage, NativeRuntime, block_on};

/// Puts between two looks at the memtables.
const AT_ONCE: usize = 128;
/// How much of a memtable counts as full.
const FULL: f64 = 0.95;
/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Time the first reply after `kill -9` with the memtables full.
#[derive(Clone, Debug, clap::Args)]
pub struct ReopenArgs {
    /// How many keys there are.
    #[arg(long, default_value_t = 5_000_000)]
    pub keys: u64,

    /// The length of a key.
    #[arg(long, default_value_t = 16)]
    pub key_bytes: usize,

    /// The length of a value, of which half compresses away.
    #[arg(long, default_value_t = 100)]
    pub value_bytes: usize,

    /// The memory budget. From 576MiB on memtables have their full 64 MiB.
    #[arg(long, value_name = "BYTES", default_value = "576MiB", value_parser = parse_bytes)]
    pub memory: u64,

    /// How often to fill the memtables, kill and reopen.
    #[arg(long, default_value_t = 3)]
    pub rounds: u32,

    /// Which of the two to measure.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "embedded,server"
    )]
    pub of: Vec<Kind>,

    /// Where the store goes: a new directory if not given, removed at the end.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,

    /// What a process that this one starts is to do.
    #[arg(long, value_enum, hide = true)]
    step: Option<StepKind>,
}

/// What is reopened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// The embedded store: `open`, then one get.
    Embedded,
    /// The server: from the start of its process to the reply to one GET.
    Server,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Server => "server",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum StepKind {
    Fill,
    Open,
}

/// Runs `trilith bench reopen`.
pub fn run(args: &ReopenArgs) -> Result<(), String> {
    match (args.step, &args.of[..], &args.data) {
        (Some(StepKind::Fill), &[kind], Some(data)) => return fill_held(args, kind, data),
        (Some(StepKind::Open), _, Some(data)) => return open_embedded(args, data),
        _ => {}
    }
    println!(
        "{} keys of {} bytes, values of {}, memory {}",
        args.keys,
        args.key_bytes,
        args.value_bytes,
        bytes(args.memory)
    );
    for &kind in &args.of {
        let path = args.data.clone().unwrap_or_else(|| scratch("reopen"));
        if args.data.is_some() && disk_bytes(&path) > 0 {
            return Err(format!("{} is not empty", path.display()));
        }
        empty(&path)?;
        let measured = (1..=args.rounds).try_for_each(|round| measure(args, kind, round, &path));
        let removed = empty(&path).and_then(|()| std::fs::remove_dir(&path).map_err(text));
        measured.and(removed)?;
    }
    Ok(())
}

fn measure(args: &ReopenArgs, kind: Kind, round: u32, data: &Path) -> Result<(), String> {
    let mut filling = step(args, StepKind::Fill, kind, data)?;
    let left = filling.line()?;
    let filled_bytes = filling.kill();
    let log = log_bytes(data);
    let (took, opened_bytes) = match kind {
        Kind::Embedded => {
            let mut opening = step(args, StepKind::Open, kind, data)?;
            let took = opening.line()?.parse::<f64>().map_err(text)?;
            (took, opening.kill())
        }
        Kind::Server => {
            let before = Instant::now();
            let server = Serving::start(args, data)?;
            get(server.address, &middle(args))?;
            (before.elapsed().as_secs_f64(), server.process.kill())
        }
    };
    println!(
        "{}, round {round}: first reply after {:.0} ms; {left}, log {}; resident at most {} while filling, {} after",
        kind.name(),
        took * 1000.0,
        bytes(log),
        bytes(filled_bytes),
        bytes(opened_bytes),
    );
    Ok(())
}

/// Puts every key, unless they are there; then, with flushes held up as by a slow disk, overwrites keys
/// until the active memtable is full behind one that waits. Tells what is left in memory.
async fn fill<M: Filled>(
    args: &ReopenArgs,
    store: &M,
    held: &AtomicBool,
) -> Result<String, String> {
    let permutation = Permutation::new(args.keys, mix(args.memory));
    let values = Values::new(args.value_bytes, mix(args.keys));
    let mut random = Random::new(mix(args.keys));
    let mut position = values.start(&mut random);
    let mut pair = |number| {
        let mut key = Vec::new();
        write_key(number, args.key_bytes, &mut key);
        let value = Bytes::copy_from_slice(values.next(&mut position));
        (Bytes::from(key), value)
    };
    if store.stats().seq < args.keys {
        for start in (0..args.keys).step_by(AT_ONCE) {
            let end = args.keys.min(start + AT_ONCE as u64);
            let pairs = (start..end).map(|place| pair(permutation.at(place)));
            store.put(pairs.collect()).await?;
        }
    }
    store.flush().await?;
    held.store(true, Relaxed);
    let mut largest = 0;
    loop {
        let pairs = (0..AT_ONCE).map(|_| pair(random.below(args.keys)));
        store.put(pairs.collect()).await?;
        let stats = store.stats();
        let (active, frozen) = (stats.memtable_bytes, stats.frozen_memtables);
        largest = active.max(largest);
        if frozen > 0 && active as f64 >= FULL * largest as f64 {
            let active = bytes(active as u64);
            return Ok(format!(
                "{frozen} memtable frozen, {active} in the active one"
            ));
        }
    }
}

/// What is filled.
trait Filled {
    async fn put(&self, pairs: Vec<(Bytes, Bytes)>) -> Result<(), String>;
    async fn flush(&self) -> Result<(), String>;
    fn stats(&self) -> Stats;
}

impl Filled for Db<HeldStorage, NativeRuntime> {
    async fn put(&self, pairs: Vec<(Bytes, Bytes)>) -> Result<(), String> {
        for (key, value) in pairs {
            Db::put(self, &key, &value).await.map_err(text)?;
        }
        Ok(())
    }

    async fn flush(&self) -> Result<(), String> {
        Db::flush(self).await.map_err(text)
    }

    fn stats(&self) -> Stats {
        Db::stats(self)
    }
}

impl Filled for CommandStore<HeldStorage, NativeRuntime> {
    async fn put(&self, pairs: Vec<(Bytes, Bytes)>) -> Result<(), String> {
        let set = |(key, value)| {
            Command::Set(Set {
                key,
                value,
                expiry: Expiry::Clear,
                condition: Condition::Always,
                get: false,
            })
        };
        let replies = self.execute(pairs.into_iter().map(set).collect()).await;
        match replies
            .iter()
            .find(|reply| **reply != Reply::Simple("OK".into()))
        {
            Some(reply) => Err(format!("{reply:?}")),
            None => Ok(()),
        }
    }

    async fn flush(&self) -> Result<(), String> {
        self.db().flush().await.map_err(text)
    }

    fn stats(&self) -> Stats {
        self.db().stats()
    }
}

/// Files, of which new tables can be held up.
#[derive(Clone)]
struct HeldStorage {
    files: FileStorage,
    held: Arc<AtomicBool>,
}

impl Storage for HeldStorage {
    type Writer = <FileStorage as Storage>::Writer;
    type Reader = <FileStorage as Storage>::Reader;
    type Place = <FileStorage as Storage>::Place;

    async fn load(&self) -> trilith::Result<Contents> {
        self.files.load().await
    }

    async fn commit(&self, meta: Bytes) -> trilith::Result<()> {
        self.files.commit(meta).await
    }

    async fn create(&self, object: Object) -> trilith::Result<Self::Writer> {
        if matches!(object, Object::Table(_)) && self.held.load(Relaxed) {
            // Until this process is killed.
            std::future::pending::<()>().await;
        }
        self.files.create(object).await
    }

    async fn resume(&self, object: Object, cut_at: u64) -> trilith::Result<Self::Writer> {
        self.files.resume(object, cut_at).await
    }

    async fn open(&self, object: Object) -> trilith::Result<Self::Reader> {
        self.files.open(object).await
    }

    async fn replace(&self, from: Object, to: Object) -> trilith::Result<()> {
        self.files.replace(from, to).await
    }

    async fn remove(&self, objects: Vec<Object>) -> trilith::Result<()> {
        self.files.remove(objects).await
    }

    async fn checkpoint(
        &self,
        to: Self::Place,
        objects: Vec<(Object, u64)>,
        meta: Bytes,
    ) -> trilith::Result<()> {
        self.files.checkpoint(to, objects, meta).await
    }

    async fn room(&self) -> trilith::Result<Option<u64>> {
        self.files.room().await
    }
}

fn fill_held(args: &ReopenArgs, kind: Kind, data: &Path) -> Result<(), String> {
    let held = Arc::new(AtomicBool::new(false));
    let storage = HeldStorage {
        files: FileStorage::new(data),
        held: Arc::clone(&held),
    };
    let (runtime, options) = (NativeRuntime::new(), options(args));
    let left = block_on(async {
        match kind {
            Kind::Embedded => {
                let store = Db::open(storage, runtime, options).await.map_err(text)?;
                let left = fill(args, &store, &held).await?;
                Ok::<_, String>((Box::new(store) as Box<dyn Any>, left))
            }
            Kind::Server => {
                let store = CommandStore::open(storage, runtime, options).await;
                let store = store.map_err(text)?;
                let left = fill(args, &store, &held).await?;
                Ok((Box::new(store) as Box<dyn Any>, left))
            }
        }
    })?;
    println!("{}", left.1);
    wait_for_the_end()
}

/// Those that the server has, too.
fn options(args: &ReopenArgs) -> Options {
    Options {
        memory_bytes: usize::try_from(args.memory).unwrap_or(usize::MAX),
        ..Options::default()
    }
}

fn open_embedded(args: &ReopenArgs, data: &Path) -> Result<(), String> {
    let before = Instant::now();
    let store = crate::open_with(data, options(args)).map_err(text)?;
    let found = store.get(&middle(args)).map_err(text)?;
    let took = before.elapsed();
    if found.is_none() {
        return Err("a key is missing".into());
    }
    println!("{}", took.as_secs_f64());
    wait_for_the_end()
}

/// Another process of this program. Killed at the latest when it is dropped.
struct Process {
    child: Child,
    output: Option<BufReader<std::process::ChildStdout>>,
}

impl Process {
    fn start(command: &mut ChildCommand) -> Result<Self, String> {
        let mut child = command.stdin(Stdio::null()).spawn().map_err(text)?;
        let output = child.stdout.take().map(BufReader::new);
        Ok(Self { child, output })
    }

    fn line(&mut self) -> Result<String, String> {
        let mut line = String::new();
        if let Some(output) = &mut self.output {
            output.read_line(&mut line).map_err(text)?;
        }
        if line.is_empty() {
            return Err("a process ended before it was done".into());
        }
        Ok(line.trim().to_owned())
    }

    /// Kills it as `kill -9` does; the most memory that it had resident.
    fn kill(self) -> u64 {
        peak_resident_bytes_of(self.child.id())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One of the keys.
fn middle(args: &ReopenArgs) -> Vec<u8> {
    let mut key = Vec::new();
    write_key(args.keys / 2, args.key_bytes, &mut key);
    key
}

fn step(args: &ReopenArgs, step: StepKind, kind: Kind, data: &Path) -> Result<Process, String> {
    let step = match step {
        StepKind::Fill => "fill",
        StepKind::Open => "open",
    };
    let mut command = ChildCommand::new(std::env::current_exe().map_err(text)?);
    command
        .args(["bench", "reopen", "--step", step, "--of", kind.name()])
        .arg("--data")
        .arg(data)
        .args(["--keys", &args.keys.to_string()])
        .args(["--key-bytes", &args.key_bytes.to_string()])
        .args(["--value-bytes", &args.value_bytes.to_string()])
        .args(["--memory", &args.memory.to_string()])
        .stdout(Stdio::piped());
    Process::start(&mut command)
}

/// A server that was started here.
struct Serving {
    process: Process,
    address: SocketAddr,
}

impl Serving {
    fn start(args: &ReopenArgs, data: &Path) -> Result<Self, String> {
        // Free a moment ago: the server must be reachable before it has told its port.
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(text)?;
        let address = free.local_addr().map_err(text)?;
        drop(free);
        let mut command = ChildCommand::new(std::env::current_exe().map_err(text)?);
        command
            .args(["serve", "--http-port", "0", "--log-level", "error"])
            .args(["--port", &address.port().to_string()])
            .args(["--memory", &args.memory.to_string()])
            .arg("--data")
            .arg(data)
            .stdout(Stdio::null());
        let process = Process::start(&mut command)?;
        Ok(Self { process, address })
    }
}

/// Asks for the value of a key that is there.
fn get(address: SocketAddr, key: &[u8]) -> Result<(), String> {
    let before = Instant::now();
    let mut stream = loop {
        match TcpStream::connect(address) {
            Ok(stream) => break stream,
            Err(error) if before.elapsed() > PATIENCE => return Err(text(error)),
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    };
    stream.set_read_timeout(Some(PATIENCE)).map_err(text)?;
    let mut request = format!("*2\r\n$3\r\nGET\r\n${}\r\n", key.len()).into_bytes();
    request.extend_from_slice(key);
    request.extend_from_slice(b"\r\n");
    stream.write_all(&request).map_err(text)?;
    let mut reply = String::new();
    let head = BufReader::new(stream).take(16).read_line(&mut reply);
    head.map_err(text)?;
    if !reply.starts_with('$') || reply.starts_with("$-1") {
        return Err(format!("not a value: {reply}"));
    }
    Ok(())
}

/// Bytes of the log's segments.
fn log_bytes(data: &Path) -> u64 {
    let entries = std::fs::read_dir(data).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.path().extension().is_some_and(|ext| ext == "segment"))
        .filter_map(|entry| Some(entry.metadata().ok()?.len()))
        .sum()
}

fn wait_for_the_end() -> ! {
    loop {
        std::thread::park();
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

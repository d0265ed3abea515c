//! A server on a loopback port, spoken to over TCP.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Parser;
use tokio::io::AsyncReadExt;
use tokio::sync::oneshot;
use trilith::command::{Command, Encoder, Reply};
use trilith::ring::driver::Consistency;

use super::cluster::Figures;
use super::cluster::testing::{Puppet, interleaved};
use super::volatile::Volatile;
use super::*;
use crate::resp::read_reply;

const PATIENCE: Duration = Duration::from_secs(20);

fn config(more: &[&str]) -> Config {
    let options = ["trilith", "--port", "0", "--http-port", "0"];
    Cli::try_parse_from(options.iter().chain(more))
        .unwrap()
        .serve
}

pub(super) struct Running {
    port: u16,
    stop: Option<oneshot::Sender<()>>,
    ended: tokio::task::JoinHandle<Result<(), Failure>>,
}

pub(super) async fn start<B: Backend>(backend: B, more: &[&str]) -> Running {
    let server = Server::bind(config(more)).await.unwrap();
    let port = server.port();
    let (stop, stopped) = oneshot::channel();
    let ended = tokio::spawn(server.run(backend, async {
        if stopped.await.is_err() {
            std::future::pending::<()>().await;
        }
    }));
    Running {
        port,
        stop: Some(stop),
        ended,
    }
}

impl Running {
    pub(super) async fn connect(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.port)).await.unwrap()
    }

    async fn ended(self) -> Result<(), Failure> {
        tokio::time::timeout(PATIENCE, self.ended)
            .await
            .unwrap()
            .unwrap()
    }
}

pub(super) async fn send(stream: &mut TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).await.unwrap();
}

/// Everything up to `text`, which must come.
pub(super) async fn expect(stream: &mut TcpStream, text: &str) {
    let mut bytes = vec![0; text.len()];
    let read = tokio::time::timeout(PATIENCE, stream.read_exact(&mut bytes)).await;
    read.expect("a reply in time").expect("a whole reply");
    assert_eq!(String::from_utf8_lossy(&bytes), text);
}

async fn expect_end(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
    read.expect("the end in time").unwrap();
    assert_eq!(String::from_utf8_lossy(&rest), "");
}

#[tokio::test]
async fn replies_keep_the_order_of_their_commands() {
    let server = start(Volatile::default(), &[]).await;
    let mut client = server.connect().await;
    send(
        &mut client,
        b"GET a\r\nPING\r\nSET a 1\r\nGET a\r\nNOPE\r\nPING hi\r\nINCR a\r\nGET a\r\nSELECT 0\r\nSELECT 1\r\nGET\r\n",
    )
    .await;
    expect(
        &mut client,
        "$-1\r\n+PONG\r\n+OK\r\n$1\r\n1\r\n-ERR unknown command 'NOPE', with args beginning with: \r\n\
         $2\r\nhi\r\n:2\r\n$1\r\n2\r\n+OK\r\n-ERR DB index is out of range\r\n\
         -ERR wrong number of arguments for 'get' command\r\n",
    )
    .await;
}

#[tokio::test]
async fn hello_changes_the_protocol_from_its_own_reply_on() {
    let server = start(Volatile::default(), &[]).await;
    let mut client = server.connect().await;
    send(&mut client, b"SET k v\r\nMGET none\r\nHELLO 3\r\n").await;
    expect(
        &mut client,
        "+OK\r\n*1\r\n$-1\r\n%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n",
    )
    .await;
    let mut client = server.connect().await;
    send(
        &mut client,
        b"HELLO 4\r\nHELLO 2 AUTH a b\r\nGET none\r\nQUIT\r\nPING\r\n",
    )
    .await;
    expect(&mut client, "-NOPROTO unsupported protocol version\r\n").await;
    expect(
        &mut client,
        "-ERR HELLO AUTH called without any password configured: leave out AUTH\r\n",
    )
    .await;
    expect(&mut client, "$-1\r\n+OK\r\n").await;
    expect_end(&mut client).await;
}

#[tokio::test]
async fn a_protocol_error_is_told_after_what_came_before_it() {
    let server = start(Volatile::default(), &[]).await;
    let mut client = server.connect().await;
    send(&mut client, b"SET k v\r\n*1\r\n?\r\n").await;
    expect(
        &mut client,
        "+OK\r\n-ERR Protocol error: expected '$', got '?'\r\n",
    )
    .await;
    expect_end(&mut client).await;
}

#[tokio::test]
async fn a_long_pipeline_whose_replies_are_not_read_does_not_lock_up() {
    let server = start(Volatile::default(), &[]).await;
    let mut client = server.connect().await;
    send(
        &mut client,
        format!("SET k {}\r\n", "x".repeat(60_000)).as_bytes(),
    )
    .await;
    expect(&mut client, "+OK\r\n").await;
    // 30 MB of replies and then 24 MB of requests, more than the system holds on the way, all sent
    // before the first reply is read.
    let padding = format!("SET other {}\r\n", "y".repeat(60_000));
    let pipeline = "GET k\r\n".repeat(500) + &padding.repeat(400) + "PING\r\n";
    let sent = tokio::time::timeout(PATIENCE, client.write_all(pipeline.as_bytes())).await;
    sent.expect("the server takes all requests").unwrap();
    let one = 8 + 60_000 + 2;
    let mut left = 500 * one + 400 * 5;
    let mut buffer = vec![0; 1 << 20];
    while left > 0 {
        let most = buffer.len().min(left);
        let read = tokio::time::timeout(PATIENCE, client.read(&mut buffer[..most])).await;
        let count = read.unwrap().unwrap();
        assert!(count > 0, "the connection ended early");
        left -= count;
    }
    expect(&mut client, "+PONG\r\n").await;
}

#[tokio::test]
async fn a_large_value_comes_back_whole() {
    let server = start(Volatile::default(), &[]).await;
    let mut client = server.connect().await;
    let value = "0123456789abcdef".repeat(200_000);
    let request = format!(
        "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n{value}\r\n",
        value.len()
    );
    send(&mut client, request.as_bytes()).await;
    send(&mut client, b"MGET k\r\nGETSET k v\r\n").await;
    expect(
        &mut client,
        &format!("+OK\r\n*1\r\n${}\r\n{value}\r\n", value.len()),
    )
    .await;
    expect(&mut client, &format!("${}\r\n{value}\r\n", value.len())).await;
}

#[tokio::test]
async fn info_counts_the_commands_before_it() {
    let server = start(Volatile::default(), &[]).await;
    let mut client = server.connect().await;
    send(
        &mut client,
        b"MSET a 1 b 2\r\nSET c 3 EX 100\r\nINFO keyspace\r\n",
    )
    .await;
    let text = "# Keyspace\r\ndb0:keys=3,expires=1,avg_ttl=0\r\n";
    expect(
        &mut client,
        &format!("+OK\r\n+OK\r\n${}\r\n{text}\r\n", text.len()),
    )
    .await;
}

#[tokio::test]
async fn a_client_too_many_is_told_and_places_come_back() {
    let server = start(Volatile::default(), &["--maxclients", "1"]).await;
    let mut first = server.connect().await;
    send(&mut first, b"PING\r\n").await;
    expect(&mut first, "+PONG\r\n").await;
    let mut second = server.connect().await;
    expect(&mut second, "-ERR max number of clients reached\r\n").await;
    send(&mut first, b"QUIT\r\n").await;
    expect(&mut first, "+OK\r\n").await;
    expect_end(&mut first).await;
    for _ in 0..100 {
        let mut third = server.connect().await;
        send(&mut third, b"PING\r\n").await;
        let mut mark = [0];
        if third.read_exact(&mut mark).await.is_ok() && mark == *b"+" {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the place never came back");
}

/// Notes that it was closed, and takes its time over writes.
#[derive(Clone, Default)]
struct Slow {
    inner: Volatile,
    closed: Arc<AtomicBool>,
}

impl Backend for Slow {
    type Cluster = Infallible;

    fn cluster(&self) -> Option<&Infallible> {
        None
    }

    async fn execute(&self, batch: Vec<Command>, how: Consistency) -> Vec<Reply> {
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(
            !self.closed.load(Ordering::SeqCst),
            "executed after the close"
        );
        self.inner.execute(batch, how).await
    }

    fn execute_now(&self, _: &Command, _: Consistency, _: &mut Encoder<'_>) -> bool {
        false
    }

    async fn stats(&self) -> Stats {
        self.inner.stats().await
    }

    async fn close(&self) -> trilith::Result<()> {
        self.closed.store(true, Ordering::SeqCst);
        Ok(())
    }
}

#[tokio::test]
async fn a_stop_lets_what_was_sent_finish_then_closes_the_store() {
    let store = Slow::default();
    let mut server = start(store.clone(), &[]).await;
    let mut client = server.connect().await;
    let mut idle = server.connect().await;
    send(&mut client, b"SET k v\r\n").await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    server.stop.take().unwrap().send(()).unwrap();
    expect(&mut client, "+OK\r\n").await;
    expect_end(&mut client).await;
    expect_end(&mut idle).await;
    server.ended().await.unwrap();
    assert!(store.closed.load(Ordering::SeqCst));
}

#[tokio::test]
async fn shutdown_by_a_client_stops_the_server() {
    let store = Slow::default();
    let server = start(store.clone(), &[]).await;
    let mut client = server.connect().await;
    send(&mut client, b"SET k v\r\nSHUTDOWN NOSAVE\r\n").await;
    expect(&mut client, "+OK\r\n").await;
    expect_end(&mut client).await;
    server.ended().await.unwrap();
    assert!(store.closed.load(Ordering::SeqCst));
}

#[tokio::test]
async fn a_busy_port_is_told_with_a_remedy() {
    let server = start(Volatile::default(), &[]).await;
    let busy = Config {
        port: server.port,
        ..config(&[])
    };
    let Err(failure) = Server::bind(busy).await else {
        panic!("the port was free");
    };
    assert!(failure.what.contains("in use"), "{failure}");
    assert!(failure.remedy.contains("--port"), "{failure}");
}

#[tokio::test]
async fn the_watching_port_answers_its_three_pages() {
    // The port is chosen by the system and free again at once: nobody else here takes it meanwhile.
    let free = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let text = free.to_string();
    let config = Config {
        http_port: free,
        ..config(&[])
    };
    let server = Server::bind(config).await.unwrap();
    let ended = tokio::spawn(server.run(Volatile::default(), std::future::pending()));
    for (path, wanted) in [
        ("/healthz", "200 OK"),
        ("/readyz", "ready"),
        ("/metrics", "trilith_commands_total 0"),
        ("/nope", "404"),
    ] {
        let mut stream = TcpStream::connect(("127.0.0.1", free)).await.unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{text}\r\nConnection: close\r\n\r\n");
        send(&mut stream, request.as_bytes()).await;
        let mut page = String::new();
        stream.read_to_string(&mut page).await.unwrap();
        assert!(page.contains(wanted), "{path}: {page}");
    }
    ended.abort();
}

#[tokio::test]
async fn a_node_that_has_not_joined_yet_is_not_ready() {
    let mut view = interleaved();
    view.map = None;
    let puppet = Puppet::new(view);
    let shared = shared::Shared::new(config(&[]), 0);
    let joining = http::ready(&puppet, &shared).await;
    assert_eq!(
        joining,
        (hyper::StatusCode::SERVICE_UNAVAILABLE, "joining\n".into())
    );
    puppet.held().view = interleaved();
    assert_eq!(http::ready(&puppet, &shared).await.0, hyper::StatusCode::OK);
}

#[tokio::test]
async fn metrics_tell_of_the_cluster() {
    let figures = Figures::of(&Puppet::new(interleaved()).cluster);
    let shared = shared::Shared::new(config(&[]), 0);
    let page = info::metrics(&shared, &Stats::default(), Some(&figures));
    for line in [
        "trilith_members 3",
        "trilith_ranges_mastered 1",
        "trilith_bus_out_bytes_total 0",
    ] {
        assert!(page.lines().any(|found| found == line), "{line}: {page}");
    }
}

#[tokio::test]
async fn scan_visits_every_key_once() {
    let server = start(Volatile::default(), &[]).await;
    let mut client = server.connect().await;
    for key in 0..25 {
        send(&mut client, format!("SET k{key} v\r\n").as_bytes()).await;
        expect(&mut client, "+OK\r\n").await;
    }
    let (mut cursor, mut seen) = ("0".to_owned(), Vec::new());
    loop {
        send(
            &mut client,
            format!("SCAN {cursor} MATCH k* COUNT 7\r\n").as_bytes(),
        )
        .await;
        let mut input = Vec::new();
        let reply = loop {
            if let Some((reply, _)) = read_reply(&input).unwrap() {
                break reply;
            }
            client.read_buf(&mut input).await.unwrap();
        };
        let Reply::Array(parts) = reply else {
            panic!("not a list");
        };
        let [Reply::Bulk(next), Reply::Array(keys)] = &parts[..] else {
            panic!("not a cursor and keys");
        };
        seen.extend(keys.iter().map(|key| format!("{key:?}")));
        cursor = String::from_utf8_lossy(next).into_owned();
        if cursor == "0" {
            break;
        }
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 25);
}

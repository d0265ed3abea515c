//! redis-rs' cluster client, asynchronous or synchronous, with its default options. The README beside the runner says
//! what it is told and what it answers: `trilith-redis-rs ADDRESSES async|sync`.

mod asynchronous;
mod checks;
mod ledger;
mod synchronous;

use std::io::{BufRead, stdin};

use serde_json::{Value, json};

/// How many workers there are.
const WORKERS: usize = 4;

/// A client that does what it is told.
trait Client {
    /// The plain phase.
    fn plain(&mut self) -> Value;
    /// Starts workers that write and read back, and waits until they do.
    fn load(&mut self, phase: &str);
    /// Stops them.
    fn end(&mut self) -> Value;
    /// Reads back all that was acknowledged.
    fn verify(&mut self) -> Value;
}

fn obey(client: &mut dyn Client) {
    for line in stdin().lock().lines().map_while(Result::ok) {
        let answer = match line.split_once(' ').unwrap_or((&line, "")) {
            ("plain", _) => client.plain(),
            ("load", phase) => {
                client.load(phase);
                json!({})
            }
            ("end", _) => client.end(),
            ("verify", _) => client.verify(),
            _ => panic!("there is no order {line:?}"),
        };
        println!("{answer}");
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [addresses, mode] = arguments.as_slice() else {
        panic!("usage: trilith-redis-rs ADDRESSES async|sync");
    };
    let addresses: Vec<&str> = addresses.split(',').collect();
    match mode.as_str() {
        "async" => obey(&mut asynchronous::Asynchronous::connect(&addresses)),
        "sync" => obey(&mut synchronous::Synchronous::connect(&addresses)),
        _ => panic!("there is no mode {mode:?}"),
    }
}

fn client(addresses: &[&str]) -> redis::cluster::ClusterClient {
    let addresses = addresses
        .iter()
        .map(|address| format!("redis://{address}/"));
    redis::cluster::ClusterClient::new(addresses).expect("the addresses are valid")
}

/// A value that no other key has.
fn value_of(key: &str) -> String {
    format!("value of {key}")
}

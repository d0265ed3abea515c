//! The synchronous client: a thread and a connection for each worker.

use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

use redis::cluster::{ClusterClient, ClusterConnection, cluster_pipe};
use redis::cluster_routing::RoutingInfo;
use redis::{Cmd, Commands, FromRedisValue, RedisResult, Value as Reply};
use serde_json::Value;

use crate::ledger::{Ledger, verified};
use crate::{Client, WORKERS, checks, client, value_of};

const NAME: &str = "redis-rs-sync";

/// See the module.
pub struct Synchronous {
    addresses: Vec<String>,
    client: ClusterClient,
    ledgers: Vec<Arc<Mutex<Ledger>>>,
    workers: Vec<JoinHandle<()>>,
}

impl Synchronous {
    /// Connects, or panics.
    pub fn connect(addresses: &[&str]) -> Self {
        Self {
            addresses: addresses
                .iter()
                .map(|&address| address.to_owned())
                .collect(),
            client: client(addresses),
            ledgers: Vec::new(),
            workers: Vec::new(),
        }
    }

    fn connection(&self) -> ClusterConnection {
        self.client.get_connection().expect("there is a connection")
    }
}

fn locked(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().expect("no worker panics")
}

fn work(connection: &mut ClusterConnection, worker: usize, prefix: &str, ledger: &Mutex<Ledger>) {
    for number in 0_u64.. {
        if locked(ledger).is_stopping {
            return;
        }
        let key = format!("{prefix}:{worker}:{number}");
        let done = connection.set(&key, value_of(&key));
        let mut went_well = locked(ledger).note_write(worker, &key, done);
        if went_well {
            let read = connection.get(&key);
            went_well = locked(ledger).note_read(worker, &key, read);
        }
        sleep(Duration::from_millis(if went_well { 10 } else { 20 }));
    }
}

impl Client for Synchronous {
    fn plain(&mut self) -> Value {
        checks::run(NAME, "pipe", &self.addresses, &mut self.connection())
    }

    fn load(&mut self, phase: &str) {
        let ledger = Arc::new(Mutex::new(Ledger::new()));
        self.ledgers.push(Arc::clone(&ledger));
        for worker in 0..WORKERS {
            let (mut connection, ledger) = (self.connection(), Arc::clone(&ledger));
            let prefix = format!("{NAME}:{phase}");
            self.workers.push(spawn(move || {
                work(&mut connection, worker, &prefix, &ledger)
            }));
        }
        while !locked(&ledger).has_begun() {
            sleep(Duration::from_millis(10));
        }
    }

    fn end(&mut self) -> Value {
        let ledger = self.ledgers.last().expect("workers were started");
        locked(ledger).stop();
        for worker in self.workers.drain(..) {
            worker.join().expect("no worker panics");
        }
        locked(ledger).answer()
    }

    fn verify(&mut self) -> Value {
        let mut connection = self.connection();
        let keys = self
            .ledgers
            .iter()
            .flat_map(|ledger| locked(ledger).acknowledged.clone());
        verified(keys.map(|key| (key.clone(), connection.get(key))).collect())
    }
}

impl checks::Send for ClusterConnection {
    fn send(&mut self, command: Cmd) -> RedisResult<Reply> {
        command.query(self)
    }

    fn send_to(&mut self, command: Cmd, routing: RoutingInfo) -> RedisResult<Reply> {
        self.route_command(&command, routing)
    }

    fn pipeline(&mut self, commands: &[Cmd]) -> RedisResult<Vec<Reply>> {
        let mut pipeline = cluster_pipe();
        for command in commands {
            pipeline.add_command(command.clone());
        }
        let replies: Reply = pipeline.query(self)?;
        Ok(Vec::from_redis_value(replies)?)
    }
}

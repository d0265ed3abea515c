//! The asynchronous client: tasks that share one connection.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::RoutingInfo;
use redis::{AsyncCommands, Cmd, RedisResult, Value as Reply, pipe};
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::ledger::{Ledger, verified};
use crate::{Client, WORKERS, checks, client, value_of};

const NAME: &str = "redis-rs-async";

/// See the module.
pub struct Asynchronous {
    addresses: Vec<String>,
    runtime: Runtime,
    connection: ClusterConnection,
    ledgers: Vec<Arc<Mutex<Ledger>>>,
    workers: Vec<JoinHandle<()>>,
}

impl Asynchronous {
    /// Connects, or panics.
    pub fn connect(addresses: &[&str]) -> Self {
        let runtime = Runtime::new().expect("there is a runtime");
        let connection = runtime.block_on(client(addresses).get_async_connection());
        Self {
            addresses: addresses
                .iter()
                .map(|&address| address.to_owned())
                .collect(),
            connection: connection.expect("there is a connection"),
            runtime,
            ledgers: Vec::new(),
            workers: Vec::new(),
        }
    }
}

fn locked(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().expect("no worker panics")
}

async fn work(
    mut connection: ClusterConnection,
    worker: usize,
    prefix: String,
    ledger: Arc<Mutex<Ledger>>,
) {
    for number in 0_u64.. {
        if locked(&ledger).is_stopping {
            return;
        }
        let key = format!("{prefix}:{worker}:{number}");
        let done = connection.set(&key, value_of(&key)).await;
        let mut went_well = locked(&ledger).note_write(worker, &key, done);
        if went_well {
            let read = connection.get(&key).await;
            went_well = locked(&ledger).note_read(worker, &key, read);
        }
        sleep(Duration::from_millis(if went_well { 10 } else { 20 })).await;
    }
}

impl Client for Asynchronous {
    fn plain(&mut self) -> Value {
        let mut sends = Sends {
            runtime: &self.runtime,
            connection: self.connection.clone(),
        };
        checks::run(NAME, "{pipe}", &self.addresses, &mut sends)
    }

    fn load(&mut self, phase: &str) {
        let ledger = Arc::new(Mutex::new(Ledger::new()));
        self.ledgers.push(Arc::clone(&ledger));
        for worker in 0..WORKERS {
            let prefix = format!("{NAME}:{phase}");
            let work = work(self.connection.clone(), worker, prefix, Arc::clone(&ledger));
            self.workers.push(self.runtime.spawn(work));
        }
        while !locked(&ledger).has_begun() {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn end(&mut self) -> Value {
        let ledger = self.ledgers.last().expect("workers were started");
        locked(ledger).stop();
        for worker in self.workers.drain(..) {
            self.runtime.block_on(worker).expect("no worker panics");
        }
        locked(ledger).answer()
    }

    fn verify(&mut self) -> Value {
        let keys = self
            .ledgers
            .iter()
            .flat_map(|ledger| locked(ledger).acknowledged.clone());
        let mut connection = self.connection.clone();
        self.runtime.block_on(async {
            let mut read = Vec::new();
            for key in keys {
                let value = connection.get(&key).await;
                read.push((key, value));
            }
            verified(read)
        })
    }
}

struct Sends<'a> {
    runtime: &'a Runtime,
    connection: ClusterConnection,
}

impl checks::Send for Sends<'_> {
    fn send(&mut self, command: Cmd) -> RedisResult<Reply> {
        self.runtime
            .block_on(command.query_async(&mut self.connection))
    }

    fn send_to(&mut self, command: Cmd, routing: RoutingInfo) -> RedisResult<Reply> {
        self.runtime
            .block_on(self.connection.route_command(command, routing))
    }

    /// All keys of a pipeline have to be of one slot.
    fn pipeline(&mut self, commands: &[Cmd]) -> RedisResult<Vec<Reply>> {
        let mut pipeline = pipe();
        for command in commands {
            pipeline.add_command(command.clone());
        }
        self.runtime
            .block_on(pipeline.query_async(&mut self.connection))
    }
}

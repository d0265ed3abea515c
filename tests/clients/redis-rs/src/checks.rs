//! The plain phase: what the library offers, run by whoever sends the commands.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use redis::cluster_routing::{RoutingInfo, SingleNodeRoutingInfo};
use redis::{Cmd, FromRedisValue, RedisResult, Value as Reply, cmd};
use serde_json::{Value, json};

use crate::value_of;

/// What a check is run with.
pub trait Send {
    /// Sends a command to where the library sends it.
    fn send(&mut self, command: Cmd) -> RedisResult<Reply>;
    /// Sends a command to one node.
    fn send_to(&mut self, command: Cmd, routing: RoutingInfo) -> RedisResult<Reply>;
    /// Sends commands as one pipeline.
    fn pipeline(&mut self, commands: &[Cmd]) -> RedisResult<Vec<Reply>>;
}

type Checked = Result<u64, String>;

/// Runs every check; `name` begins all keys, `pipe` those that are written by one pipeline.
pub fn run(name: &str, pipe: &str, addresses: &[String], to: &mut dyn Send) -> Value {
    let mut plain = Plain {
        name,
        pipe,
        addresses,
        to,
    };
    let mut operations = 0;
    let mut checks = BTreeMap::new();
    let mut note = |name: &'static str, checked: Checked| {
        operations += checked.as_ref().unwrap_or(&0);
        checks.insert(name, checked.err().unwrap_or_default());
    };
    note("strings", plain.strings());
    note("counters", plain.counters());
    note("expiry", plain.expiry());
    note("several keys", plain.several_keys());
    note("cross slot", plain.cross_slot());
    note("pipelines", plain.pipelines());
    note("binary", plain.binary());
    note("big", plain.big());
    note("scan", plain.scan());
    json!({ "operations": operations, "checks": checks })
}

struct Plain<'a> {
    name: &'a str,
    pipe: &'a str,
    addresses: &'a [String],
    to: &'a mut dyn Send,
}

fn expect<T: PartialEq + std::fmt::Debug>(seen: T, wanted: T) -> Result<(), String> {
    if seen == wanted {
        return Ok(());
    }
    let mut text = format!("{seen:?} instead of {wanted:?}");
    text.truncate(300);
    Err(text)
}

fn read<T: FromRedisValue>(reply: Reply) -> Result<T, String> {
    T::from_redis_value(reply).map_err(|error| error.to_string())
}

impl Plain<'_> {
    fn key(&self, rest: &str) -> String {
        format!("{}:plain:{rest}", self.name)
    }

    fn send<T: FromRedisValue>(&mut self, command: Cmd) -> Result<T, String> {
        read(self.to.send(command).map_err(|error| error.to_string())?)
    }

    fn strings(&mut self) -> Checked {
        for number in 0..100 {
            let key = self.key(&number.to_string());
            self.send::<()>(Cmd::set(&key, value_of(&key)))?;
            expect(self.send(Cmd::get(&key))?, Some(value_of(&key)))?;
        }
        let key = self.key("0");
        expect(self.send(Cmd::del(&key))?, 1)?;
        expect(self.send(Cmd::get(&key))?, None::<String>)?;
        Ok(202)
    }

    fn counters(&mut self) -> Checked {
        let key = self.key("counter");
        for number in 1..=10 {
            expect(self.send(Cmd::incr(&key, 1))?, number)?;
        }
        Ok(10)
    }

    fn expiry(&mut self) -> Checked {
        let (mortal, brief) = (self.key("mortal"), self.key("brief"));
        self.send::<()>(Cmd::set(&mortal, "x"))?;
        expect(self.send(Cmd::expire(&mortal, 100))?, 1)?;
        let ttl_s: i64 = self.send(Cmd::ttl(&mortal))?;
        expect((98..=100).contains(&ttl_s), true)?;
        self.send::<()>(Cmd::pset_ex(&brief, "x", 50))?;
        std::thread::sleep(Duration::from_millis(100));
        expect(self.send(Cmd::get(&brief))?, None::<String>)?;
        Ok(5)
    }

    fn several_keys(&mut self) -> Checked {
        let pairs: Vec<(String, String)> = (0..20)
            .map(|number| (self.key(&format!("{{tag}}:{number}")), number.to_string()))
            .collect();
        let (keys, values): (Vec<String>, Vec<String>) = pairs.iter().cloned().unzip();
        self.send::<()>(Cmd::mset(&pairs))?;
        expect(self.send(Cmd::mget(&keys))?, values)?;
        Ok(2)
    }

    /// The library cuts an MGET into one a slot; a node that is sent all of it refuses.
    fn cross_slot(&mut self) -> Checked {
        let keys = [self.key("a"), self.key("b")];
        let anywhere = RoutingInfo::SingleNode(SingleNodeRoutingInfo::Random);
        let reply = self.to.send_to(Cmd::mget(&keys), anywhere);
        match reply.and_then(Reply::extract_error) {
            Err(error) if error.code() == Some("CROSSSLOT") => Ok(1),
            other => Err(format!("{other:?} instead of CROSSSLOT")),
        }
    }

    fn pipelines(&mut self) -> Checked {
        let keys: Vec<String> = (0..200)
            .map(|number| self.key(&format!("{}:{number}", self.pipe)))
            .collect();
        let writes = keys.iter().map(|key| Cmd::set(key, value_of(key)));
        let commands: Vec<Cmd> = writes.chain(keys.iter().map(Cmd::get)).collect();
        let replies = self
            .to
            .pipeline(&commands)
            .map_err(|error| error.to_string())?;
        expect(replies.len(), 400)?;
        for (key, reply) in keys.iter().zip(&replies[200..]) {
            expect(read(reply.clone())?, value_of(key))?;
        }
        Ok(400)
    }

    fn binary(&mut self) -> Checked {
        let key = [self.key("binary").as_bytes(), b"\0\r\n\xff"].concat();
        let value: Vec<u8> = (0..=255).collect();
        self.send::<()>(Cmd::set(&key, &value[..]))?;
        expect(self.send(Cmd::get(&key))?, value)?;
        Ok(2)
    }

    fn big(&mut self) -> Checked {
        let key = self.key("big");
        let value: Vec<u8> = (0..4_u32 << 20)
            .map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        self.send::<()>(Cmd::set(&key, &value[..]))?;
        let seen: Vec<u8> = self.send(Cmd::get(&key))?;
        expect(seen == value, true)?;
        Ok(2)
    }

    fn scan(&mut self) -> Checked {
        // What `strings` has written and left.
        let pattern = self.key("[0-9]*");
        let mut found = BTreeSet::new();
        for address in self.addresses {
            let (host, port) = address.rsplit_once(':').expect("it has a port");
            let mut cursor = "0".to_owned();
            loop {
                let mut command = cmd("SCAN");
                command
                    .arg(&cursor)
                    .arg("MATCH")
                    .arg(&pattern)
                    .arg("COUNT")
                    .arg(100);
                let routing = SingleNodeRoutingInfo::ByAddress {
                    host: host.to_owned(),
                    port: port.parse().expect("it is a port"),
                };
                let reply = self.to.send_to(command, RoutingInfo::SingleNode(routing));
                let (next, keys): (String, Vec<String>) =
                    read(reply.map_err(|error| error.to_string())?)?;
                found.extend(keys);
                cursor = next;
                if cursor == "0" {
                    break;
                }
            }
        }
        let wanted: BTreeSet<String> = (1..100)
            .map(|number| self.key(&number.to_string()))
            .collect();
        expect(found, wanted)?;
        Ok(1)
    }
}

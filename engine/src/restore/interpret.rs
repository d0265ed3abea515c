//! What commands and keys that were read do, told to a sink.
//!
//! A log tells what was done, in order, and a key that had expired was deleted by a command of its own: nothing expires
//! by itself while it is read, however long ago it was written. So a deadline that has passed, or soon will, is held back
//! here, and the key is told to the sink without one, until all has been read. That is not needed for files of our own,
//! whose commands do not depend on what is there.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::foreign::{self, Foreign, expiry_of};
use super::report::Report;
use super::sink::Sink;
use crate::archive::aof;
use crate::command::{
    Command, Condition, Deadline, Expire, ExpireCondition, Expiry, Parsed, Reply, Set, TtlForm,
    parse,
};
use crate::storage::Object;
use crate::{Error, ErrorKind, Result};

const DOING: &str = "loading commands";
/// How many commands are told at once, and how many bytes of them.
const BATCH: usize = 1024;
const BATCH_BYTES: usize = 1 << 20;
/// A deadline that is further off than loading may take.
const FAR_MS: u64 = 3600 * 1000;

/// Interprets files, one after the other.
pub(super) struct Interpreter<'a, K> {
    sink: &'a mut K,
    skip_unsupported: bool,
    now_ms: u64,
    /// The file that is being read.
    object: Object,
    /// Whether what is read may depend on what is there.
    pub(super) holds_back: bool,
    held: BTreeMap<Bytes, u64>,
    /// The database that commands are about.
    database: i64,
    /// The last second that was told of.
    pub(super) seconds: Option<u64>,
    batch: Vec<Command>,
    offsets: Vec<u64>,
    bytes: usize,
    /// What was passed over in this file.
    pub(super) skipped: BTreeMap<String, u64>,
    expired: u64,
}

impl<'a, K: Sink> Interpreter<'a, K> {
    pub(super) fn new(sink: &'a mut K, skip_unsupported: bool, now_ms: u64) -> Self {
        Self {
            sink,
            skip_unsupported,
            now_ms,
            object: Object::Archive("".into()),
            holds_back: false,
            held: BTreeMap::new(),
            database: 0,
            seconds: None,
            batch: Vec::new(),
            offsets: Vec::new(),
            bytes: 0,
            skipped: BTreeMap::new(),
            expired: 0,
        }
    }

    /// Another file begins.
    pub(super) fn begin(&mut self, object: Object) {
        self.object = object;
        self.database = 0;
        self.skipped = BTreeMap::new();
    }

    /// A key of a snapshot.
    pub(super) async fn entry(
        &mut self,
        offset: u64,
        database: u64,
        key: Bytes,
        value: Bytes,
        deadline_ms: u64,
    ) -> Result<()> {
        if database != 0 {
            return self.unsupported(
                offset,
                &format!("database {database}"),
                "there is only database 0",
            );
        }
        self.put(offset, key, value, deadline_ms).await
    }

    /// A command of a log.
    pub(super) async fn command(&mut self, command: aof::Command) -> Result<()> {
        let aof::Command { offset, mut args } = command;
        if args[0].eq_ignore_ascii_case(b"select") {
            return self.select(offset, &args);
        }
        if self.database != 0 && !args[0].eq_ignore_ascii_case(b"flushall") {
            self.pass_over(&format!("database {}", self.database));
            return Ok(());
        }
        if foreign::knows(&args[0]) {
            return match foreign::read(&args) {
                Some(foreign) => self.foreign(offset, foreign).await,
                None => self.unsupported_command(offset, &args[0], "its words do not fit it"),
            };
        }
        let name = args[0].clone();
        match parse(&mut args) {
            Ok(Parsed::Store(command)) if command.is_write() => self.apply(offset, command).await,
            // It changes nothing.
            Ok(Parsed::Store(_)) => Ok(()),
            Ok(Parsed::Session(_)) if is_bracket(&name) => Ok(()),
            Ok(Parsed::Session(_)) => {
                self.unsupported_command(offset, &name, "it is not about keys")
            }
            Err(_) if is_bracket(&name) => Ok(()),
            Err(Reply::Error(why)) => self.unsupported_command(offset, &name, &why),
            Err(_) => self.unsupported_command(offset, &name, "its words do not fit it"),
        }
    }

    fn select(&mut self, offset: u64, args: &[Bytes]) -> Result<()> {
        let database = args
            .get(1)
            .and_then(|word| crate::command::parse_integer(word));
        match database {
            Some(0) => self.database = 0,
            Some(database) if self.skip_unsupported => self.database = database,
            _ => {
                let what = args.get(1).map(|word| String::from_utf8_lossy(word));
                let why = format!(
                    "database {}: there is only database 0",
                    what.unwrap_or_default()
                );
                return Err(self.refused(offset, why));
            }
        }
        Ok(())
    }

    fn unsupported_command(&mut self, offset: u64, name: &[u8], why: &str) -> Result<()> {
        let name: String = String::from_utf8_lossy(name).to_ascii_uppercase();
        self.unsupported(offset, &format!("command {name}"), why)
    }

    /// Something that is not held here: counted, or an error.
    pub(super) fn unsupported(&mut self, offset: u64, what: &str, why: &str) -> Result<()> {
        if self.skip_unsupported {
            self.pass_over(what);
            return Ok(());
        }
        Err(self.refused(offset, format!("{what}: {why}")))
    }

    /// Counts something that is passed over.
    pub(super) fn pass_over(&mut self, what: &str) {
        *self.skipped.entry(what.to_owned()).or_default() += 1;
    }

    fn refused(&self, offset: u64, why: String) -> Error {
        Error::new(ErrorKind::Invalid, DOING, why)
            .on(self.object.clone())
            .at(offset)
    }

    /// The moment that a deadline is.
    fn moment(&self, deadline: Deadline) -> u64 {
        let at_ms = match deadline {
            Deadline::At(ms) => u64::try_from(ms).unwrap_or(0),
            // From when it was written, if that is known.
            Deadline::In(ms) => {
                let written_ms = self.seconds.map(|seconds| seconds.saturating_mul(1000));
                written_ms.unwrap_or(self.now_ms).saturating_add_signed(ms)
            }
        };
        at_ms.max(1)
    }

    fn must_hold(&self, deadline_ms: u64) -> bool {
        self.holds_back && deadline_ms <= self.now_ms + FAR_MS
    }

    async fn put(&mut self, offset: u64, key: Bytes, value: Bytes, deadline_ms: u64) -> Result<()> {
        if self.holds_back {
            self.held.remove(&key);
        }
        let mut expiry = expiry_of(deadline_ms);
        if deadline_ms != 0 {
            if self.must_hold(deadline_ms) {
                self.held.insert(key.clone(), deadline_ms);
                expiry = Expiry::Clear;
            } else if deadline_ms <= self.now_ms {
                self.expired += 1;
                return self.tell(offset, Command::Del(vec![key])).await;
            }
        }
        self.tell(offset, Command::set(key, value, expiry)).await
    }

    async fn apply(&mut self, offset: u64, command: Command) -> Result<()> {
        match command {
            Command::Set(set) if set.condition == Condition::Always => self.set(offset, set).await,
            Command::Set(set) => self.set_if(offset, set).await,
            Command::GetSet { key, value } => self.put(offset, key, value, 0).await,
            Command::SetNx { key, value } => {
                let set = Set {
                    key,
                    value,
                    expiry: Expiry::Clear,
                    condition: Condition::Absent,
                    get: false,
                };
                self.set_if(offset, set).await
            }
            Command::Expire(expire) => self.expire(offset, expire).await,
            Command::GetEx { key, expiry } => match expiry {
                Expiry::Keep => Ok(()),
                Expiry::Clear => self.apply_blind(offset, Command::Persist(key)).await,
                Expiry::Set(deadline) => {
                    let condition = ExpireCondition::default();
                    self.expire(
                        offset,
                        Expire {
                            key,
                            deadline,
                            condition,
                        },
                    )
                    .await
                }
            },
            other => self.apply_blind(offset, other).await,
        }
    }

    /// A command whose effect on deadlines does not depend on what is there.
    async fn apply_blind(&mut self, offset: u64, command: Command) -> Result<()> {
        match &command {
            Command::Del(keys) => keys.iter().for_each(|key| self.forget(key)),
            Command::MSet(pairs) => pairs.iter().step_by(2).for_each(|key| self.forget(key)),
            Command::GetDel(key) | Command::Persist(key) => self.forget(key),
            Command::Clear => self.held.clear(),
            _ => {}
        }
        self.tell(offset, command).await
    }

    fn forget(&mut self, key: &Bytes) {
        self.held.remove(key);
    }

    /// A SET with a condition.
    async fn set_if(&mut self, offset: u64, set: Set) -> Result<()> {
        let is_there = self.deadline(offset, &set.key).await?.is_some();
        if is_there != (set.condition == Condition::Present) {
            return Ok(());
        }
        self.set(offset, set).await
    }

    /// A SET that takes place.
    async fn set(&mut self, offset: u64, set: Set) -> Result<()> {
        let deadline_ms = match set.expiry {
            Expiry::Keep => {
                let command = Command::set(set.key, set.value, Expiry::Keep);
                return self.tell(offset, command).await;
            }
            Expiry::Clear => 0,
            Expiry::Set(deadline) => self.moment(deadline),
        };
        self.put(offset, set.key, set.value, deadline_ms).await
    }

    async fn expire(&mut self, offset: u64, expire: Expire) -> Result<()> {
        let deadline_ms = self.moment(expire.deadline);
        let key = expire.key;
        // One without a condition was logged as the key was there.
        if expire.condition != ExpireCondition::default() {
            let Some(before_ms) = self.deadline(offset, &key).await? else {
                return Ok(());
            };
            if !allows(expire.condition, before_ms, deadline_ms) {
                return Ok(());
            }
        }
        self.forget(&key);
        if self.must_hold(deadline_ms) {
            self.held.insert(key, deadline_ms);
            return Ok(());
        }
        self.tell(offset, expire_at(key, deadline_ms)).await
    }

    async fn foreign(&mut self, offset: u64, foreign: Foreign) -> Result<()> {
        match foreign {
            Foreign::MSet(pairs) => self.apply_blind(offset, Command::MSet(pairs)).await,
            Foreign::Change { key, change } => {
                let before = self.value(offset, &key).await?;
                let Some(value) = change.apply(before.as_deref()) else {
                    return Ok(());
                };
                self.tell(offset, Command::set(key, value.into(), Expiry::Keep))
                    .await
            }
            Foreign::Copy { from, to, .. } if from == to => Ok(()),
            Foreign::Copy { from, to, moves } => {
                let deadline_ms = self.deadline(offset, &from).await?;
                match (self.value(offset, &from).await?, deadline_ms) {
                    (Some(value), Some(deadline_ms)) => {
                        self.put(offset, to, value, deadline_ms).await?;
                    }
                    // It was something that is not held here, and has taken the place of what was there.
                    _ => self.apply_blind(offset, Command::Del(vec![to])).await?,
                }
                if moves {
                    self.apply_blind(offset, Command::Del(vec![from])).await?;
                }
                Ok(())
            }
        }
    }

    /// The value of a key, all that was told before included.
    async fn value(&mut self, offset: u64, key: &Bytes) -> Result<Option<Bytes>> {
        Ok(match self.ask(offset, Command::Get(key.clone())).await? {
            Reply::Bulk(value) => Some(value),
            _ => None,
        })
    }

    /// When a key expires: 0 for never, `None` if there is no such key.
    async fn deadline(&mut self, offset: u64, key: &Bytes) -> Result<Option<u64>> {
        let ask = Command::Ttl {
            key: key.clone(),
            form: TtlForm::AtMillis,
        };
        let told = match self.ask(offset, ask).await? {
            Reply::Int(-1) => Some(0),
            Reply::Int(ms) => u64::try_from(ms).ok(),
            _ => None,
        };
        Ok(told.map(|told| self.held.get(key).copied().unwrap_or(told)))
    }

    async fn ask(&mut self, offset: u64, command: Command) -> Result<Reply> {
        self.flush().await?;
        let reply = self.sink.run(vec![command]).await?.pop();
        match reply {
            Some(Reply::Error(why)) => Err(self.failed(offset, &why)),
            Some(reply) => Ok(reply),
            None => Err(self.failed(offset, "it was not answered")),
        }
    }

    async fn tell(&mut self, offset: u64, command: Command) -> Result<()> {
        self.bytes += size_of(&command);
        self.batch.push(command);
        self.offsets.push(offset);
        if self.batch.len() >= BATCH || self.bytes >= BATCH_BYTES {
            self.flush().await?;
        }
        Ok(())
    }

    /// Has the sink carry out all that it has been told.
    pub(super) async fn flush(&mut self) -> Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        self.bytes = 0;
        let replies = self.sink.run(std::mem::take(&mut self.batch)).await?;
        let wrong = replies
            .iter()
            .zip(&self.offsets)
            .find_map(|(reply, &offset)| match reply {
                Reply::Error(why) => Some((offset, why)),
                _ => None,
            });
        if let Some((offset, why)) = wrong {
            return Err(self.failed(offset, why));
        }
        self.offsets.clear();
        Ok(())
    }

    fn failed(&self, offset: u64, why: &str) -> Error {
        Error::new(ErrorKind::Failed, DOING, why)
            .on(self.object.clone())
            .at(offset)
    }

    /// All has been read: what was held back comes to be.
    pub(super) async fn finish(mut self, report: &mut Report) -> Result<()> {
        for (key, deadline_ms) in std::mem::take(&mut self.held) {
            if deadline_ms <= self.now_ms {
                self.expired += 1;
                self.tell(0, Command::Del(vec![key])).await?;
            } else {
                self.tell(0, expire_at(key, deadline_ms)).await?;
            }
        }
        self.flush().await?;
        report.expired += self.expired;
        Ok(())
    }
}

/// MULTI and EXEC, which what is between them does not need to be told.
fn is_bracket(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"multi") || name.eq_ignore_ascii_case(b"exec")
}

/// Whether a deadline of `before_ms` (0: never) becomes `deadline_ms`.
fn allows(condition: ExpireCondition, before_ms: u64, deadline_ms: u64) -> bool {
    let has_one = before_ms != 0;
    !(condition.absent && has_one
        || condition.present && !has_one
        || condition.later && (!has_one || deadline_ms <= before_ms)
        || condition.earlier && has_one && deadline_ms >= before_ms)
}

fn expire_at(key: Bytes, deadline_ms: u64) -> Command {
    Command::Expire(Expire {
        key,
        deadline: Deadline::At(i64::try_from(deadline_ms).unwrap_or(i64::MAX)),
        condition: ExpireCondition::default(),
    })
}

fn size_of(command: &Command) -> usize {
    match command {
        Command::Set(set) => set.key.len() + set.value.len(),
        Command::MSet(words) | Command::Del(words) => words.iter().map(Bytes::len).sum(),
        Command::Append { key, value } => key.len() + value.len(),
        _ => 0,
    }
}

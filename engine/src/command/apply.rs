//! Running a command against the state, at the moment its log entry is applied.

use super::{Command, Reply, State, expiry, keys, strings};
use crate::Result;

/// Runs `command` and returns its reply. An `Err` is a failure of the store underneath, which must stop
/// the replica; what the command itself finds wrong is a reply, the same on every replica.
pub async fn apply<S: State>(command: &Command, state: &mut S) -> Result<Reply> {
    match command {
        Command::Get(key) => strings::get(key, state).await,
        Command::Set(set) => strings::set(set, state).await,
        Command::SetNx { key, value } => strings::setnx(key, value, state).await,
        Command::GetSet { key, value } => strings::getset(key, value, state).await,
        Command::GetDel(key) => strings::getdel(key, state).await,
        Command::GetEx { key, expiry } => strings::getex(key, *expiry, state).await,
        Command::Append { key, value } => strings::append(key, value, state).await,
        Command::StrLen(key) => strings::strlen(key, state).await,
        Command::IncrBy { key, by } => strings::incr_by(key, *by, state).await,
        Command::MGet(keys) => strings::mget(keys, state).await,
        Command::MSet(pairs) => strings::mset(pairs, state).await,
        Command::Del(keys) => keys::del(keys, state).await,
        Command::Exists(keys) => keys::exists(keys, state).await,
        Command::Type(key) => keys::type_of(key, state).await,
        Command::Expire(expire) => expiry::expire(expire, state).await,
        Command::Persist(key) => expiry::persist(key, state).await,
        Command::Ttl { key, form } => expiry::ttl(key, *form, state).await,
        Command::Clear => keys::clear(state).await,
        Command::Scan(_) | Command::Keys(_) | Command::DbSize | Command::Explain(_) => {
            Ok(Reply::error("ERR this command cannot be part of another"))
        }
    }
}

//! Commands on string values.

use bytes::Bytes;

use super::args::Args;
use super::expiry::{self, Unit, set_deadline};
use super::number::{format_integer, parse_integer};
use super::{Command, Condition, Expiry, Reply, Set, State};
use crate::Result;
use crate::record::VALUE_BYTES_MAX;

pub(super) fn parse_get(args: &mut Args<'_>) -> Result<Command, Reply> {
    Ok(Command::Get(args.take()))
}

pub(super) fn parse_set(args: &mut Args<'_>) -> Result<Command, Reply> {
    let (key, value) = (args.take(), args.take());
    let mut expiry = None;
    let mut condition = Condition::Always;
    let mut get = false;
    while let Some(word) = args.next() {
        if word.eq_ignore_ascii_case(b"get") {
            get = true;
        } else if word.eq_ignore_ascii_case(b"nx") && condition != Condition::Present {
            condition = Condition::Absent;
        } else if word.eq_ignore_ascii_case(b"xx") && condition != Condition::Absent {
            condition = Condition::Present;
        } else if word.eq_ignore_ascii_case(b"keepttl") && expiry.is_none_or(|e| e == Expiry::Keep)
        {
            expiry = Some(Expiry::Keep);
        } else if expiry.is_none() {
            let deadline = expiry::option(&word, args)?.ok_or(Reply::SYNTAX)?;
            expiry = Some(Expiry::Set(deadline));
        } else {
            return Err(Reply::SYNTAX);
        }
    }
    let expiry = expiry.unwrap_or(Expiry::Clear);
    Ok(Command::Set(Set {
        key,
        value,
        expiry,
        condition,
        get,
    }))
}

fn parse_set_in(args: &mut Args<'_>, unit: Unit) -> Result<Command, Reply> {
    let key = args.take();
    let number = args.integer()?;
    let deadline = expiry::positive(number, unit, true, args.command())?;
    Ok(Command::set(key, args.take(), Expiry::Set(deadline)))
}

pub(super) fn parse_setex(args: &mut Args<'_>) -> Result<Command, Reply> {
    parse_set_in(args, Unit::Seconds)
}

pub(super) fn parse_psetex(args: &mut Args<'_>) -> Result<Command, Reply> {
    parse_set_in(args, Unit::Millis)
}

pub(super) fn parse_setnx(args: &mut Args<'_>) -> Result<Command, Reply> {
    Ok(Command::SetNx {
        key: args.take(),
        value: args.take(),
    })
}

pub(super) fn parse_getset(args: &mut Args<'_>) -> Result<Command, Reply> {
    Ok(Command::GetSet {
        key: args.take(),
        value: args.take(),
    })
}

pub(super) fn parse_getdel(args: &mut Args<'_>) -> Result<Command, Reply> {
    Ok(Command::GetDel(args.take()))
}

pub(super) fn parse_getex(args: &mut Args<'_>) -> Result<Command, Reply> {
    let key = args.take();
    let expiry = match args.next() {
        None => Expiry::Keep,
        Some(word) if word.eq_ignore_ascii_case(b"persist") => Expiry::Clear,
        Some(word) => Expiry::Set(expiry::option(&word, args)?.ok_or(Reply::SYNTAX)?),
    };
    args.end()?;
    Ok(Command::GetEx { key, expiry })
}

pub(super) fn parse_append(args: &mut Args<'_>) -> Result<Command, Reply> {
    Ok(Command::Append {
        key: args.take(),
        value: args.take(),
    })
}

pub(super) fn parse_strlen(args: &mut Args<'_>) -> Result<Command, Reply> {
    Ok(Command::StrLen(args.take()))
}

pub(super) fn parse_mget(args: &mut Args<'_>) -> Result<Command, Reply> {
    Ok(Command::MGet(args.rest()))
}

pub(super) fn parse_mset(args: &mut Args<'_>) -> Result<Command, Reply> {
    if !args.len().is_multiple_of(2) {
        return Err(Reply::wrong_arity(args.command()));
    }
    Ok(Command::MSet(args.rest()))
}

pub(super) fn parse_incr(args: &mut Args<'_>) -> Result<Command, Reply> {
    Ok(Command::IncrBy {
        key: args.take(),
        by: 1,
    })
}

pub(super) fn parse_decr(args: &mut Args<'_>) -> Result<Command, Reply> {
    Ok(Command::IncrBy {
        key: args.take(),
        by: -1,
    })
}

pub(super) fn parse_incrby(args: &mut Args<'_>) -> Result<Command, Reply> {
    Ok(Command::IncrBy {
        key: args.take(),
        by: args.integer()?,
    })
}

pub(super) fn parse_decrby(args: &mut Args<'_>) -> Result<Command, Reply> {
    let key = args.take();
    let by = args.integer()?.checked_neg();
    let by = by.ok_or(Reply::error("ERR decrement would overflow"))?;
    Ok(Command::IncrBy { key, by })
}

pub(super) async fn get<S: State>(key: &Bytes, state: &mut S) -> Result<Reply> {
    Ok(match state.get(key).await? {
        Some(value) => Reply::Bulk(value.bytes),
        None => Reply::Null,
    })
}

pub(super) async fn mget<S: State>(keys: &[Bytes], state: &mut S) -> Result<Reply> {
    let mut values = Vec::with_capacity(keys.len());
    for key in keys {
        values.push(get(key, state).await?);
    }
    Ok(Reply::Array(values))
}

pub(super) async fn set<S: State>(set: &Set, state: &mut S) -> Result<Reply> {
    // What is there is looked at only if the command depends on it: a plain SET stays blind.
    let mut old_value = Reply::Null;
    let mut old_deadline_ms = None;
    if set.get {
        if let Some(value) = state.get(&set.key).await? {
            old_deadline_ms = Some(value.deadline_ms);
            old_value = Reply::Bulk(value.bytes);
        }
    } else if set.condition != Condition::Always || set.expiry == Expiry::Keep {
        old_deadline_ms = state.exists(&set.key).await?;
    }
    let wanted = match set.condition {
        Condition::Always => true,
        Condition::Absent => old_deadline_ms.is_none(),
        Condition::Present => old_deadline_ms.is_some(),
    };
    if !wanted {
        return Ok(old_value);
    }
    let deadline_ms = match set.expiry {
        Expiry::Clear => Some(0),
        Expiry::Keep => Some(old_deadline_ms.unwrap_or(0)),
        Expiry::Set(deadline) => deadline.resolve(state.now_ms()),
    };
    match deadline_ms {
        Some(deadline_ms) => state.put(&set.key, &set.value, deadline_ms).await?,
        // Set, and expired at once.
        None => state.delete(&set.key).await?,
    }
    Ok(if set.get { old_value } else { Reply::OK })
}

pub(super) async fn setnx<S: State>(key: &Bytes, value: &Bytes, state: &mut S) -> Result<Reply> {
    if state.exists(key).await?.is_some() {
        return Ok(Reply::Int(0));
    }
    state.put(key, value, 0).await?;
    Ok(Reply::Int(1))
}

pub(super) async fn getset<S: State>(key: &Bytes, value: &Bytes, state: &mut S) -> Result<Reply> {
    let old = get(key, state).await?;
    state.put(key, value, 0).await?;
    Ok(old)
}

pub(super) async fn getdel<S: State>(key: &Bytes, state: &mut S) -> Result<Reply> {
    let old = get(key, state).await?;
    if old != Reply::Null {
        state.delete(key).await?;
    }
    Ok(old)
}

pub(super) async fn getex<S: State>(key: &Bytes, expiry: Expiry, state: &mut S) -> Result<Reply> {
    let Some(value) = state.get(key).await? else {
        return Ok(Reply::Null);
    };
    // PERSIST of a key without a deadline writes nothing.
    if !(expiry == Expiry::Clear && value.deadline_ms == 0) {
        set_deadline(key, expiry, state).await?;
    }
    Ok(Reply::Bulk(value.bytes))
}

pub(super) async fn mset<S: State>(pairs: &[Bytes], state: &mut S) -> Result<Reply> {
    for pair in pairs.chunks_exact(2) {
        state.put(&pair[0], &pair[1], 0).await?;
    }
    Ok(Reply::OK)
}

pub(super) async fn append<S: State>(key: &Bytes, tail: &Bytes, state: &mut S) -> Result<Reply> {
    let Some(old) = state.get(key).await? else {
        state.put(key, tail, 0).await?;
        return Ok(length(tail.len()));
    };
    let len = old.bytes.len() + tail.len();
    if len > VALUE_BYTES_MAX {
        return Ok(Reply::error(
            "ERR string exceeds maximum allowed size (proto-max-bulk-len)",
        ));
    }
    if !tail.is_empty() {
        let mut value = Vec::with_capacity(len);
        value.extend_from_slice(&old.bytes);
        value.extend_from_slice(tail);
        state.put(key, &value, old.deadline_ms).await?;
    }
    Ok(length(len))
}

pub(super) async fn strlen<S: State>(key: &Bytes, state: &mut S) -> Result<Reply> {
    let value = state.get(key).await?;
    Ok(length(value.map_or(0, |value| value.bytes.len())))
}

fn length(len: usize) -> Reply {
    Reply::Int(i64::try_from(len).unwrap_or(i64::MAX))
}

pub(super) async fn incr_by<S: State>(key: &Bytes, by: i64, state: &mut S) -> Result<Reply> {
    let (old, deadline_ms) = match state.get(key).await? {
        None => (0, 0),
        Some(value) => match parse_integer(&value.bytes) {
            Some(number) => (number, value.deadline_ms),
            None => return Ok(Reply::NOT_AN_INTEGER),
        },
    };
    let Some(sum) = old.checked_add(by) else {
        return Ok(Reply::error("ERR increment or decrement would overflow"));
    };
    let mut text = Vec::with_capacity(20);
    format_integer(&mut text, sum);
    state.put(key, &text, deadline_ms).await?;
    Ok(Reply::Int(sum))
}

#[cfg(test)]
mod tests {
    use super::super::testing::Store;

    #[test]
    fn what_is_set_is_got() {
        let mut store = Store::at(1_000_000);
        assert_eq!(store.run("GET k"), "$-1");
        assert_eq!(store.run("set k v"), "+OK");
        assert_eq!(store.run("GET k"), "$v");
        assert_eq!(store.run("PUT k w EX 5"), "+OK");
        assert_eq!(store.run("MGET k none k"), "[$w $-1 $w]");
        assert_eq!(store.run("STRLEN k"), ":1");
        assert_eq!(store.run("STRLEN none"), ":0");
        assert_eq!(store.run("SET k x"), "+OK");
        assert_eq!(store.run("TTL k"), ":-1");
    }

    #[test]
    fn set_obeys_its_conditions() {
        let mut store = Store::at(1_000_000);
        assert_eq!(store.run("SET k v XX"), "$-1");
        assert_eq!(store.run("SET k v NX"), "+OK");
        assert_eq!(store.run("SET k w NX"), "$-1");
        assert_eq!(store.run("SET k w XX"), "+OK");
        assert_eq!(store.run("SET k x GET"), "$w");
        assert_eq!(store.run("SET k y NX GET"), "$x");
        assert_eq!(store.run("GET k"), "$x");
        assert_eq!(store.run("SET new y NX GET"), "$-1");
        assert_eq!(store.run("GET new"), "$y");
        assert_eq!(store.run("SET none y XX GET"), "$-1");
        assert_eq!(store.run("EXISTS none"), ":0");
    }

    #[test]
    fn keepttl_keeps_the_deadline() {
        let mut store = Store::at(1_000_000);
        store.run("SET k v PX 500");
        store.run("SET k w KEEPTTL");
        assert_eq!(store.run("PTTL k"), ":500");
        store.run("SET k x GET KEEPTTL");
        assert_eq!(store.run("PTTL k"), ":500");
        assert_eq!(store.run("SET fresh x KEEPTTL"), "+OK");
        assert_eq!(store.run("TTL fresh"), ":-1");
    }

    #[test]
    fn set_to_a_moment_that_has_passed_leaves_no_key() {
        let mut store = Store::at(1_000_000);
        store.run("SET k v");
        assert_eq!(store.run("SET k w PXAT 1000000"), "+OK");
        assert!(store.keys.is_empty());
        assert_eq!(store.run("SET k w PXAT 1000001"), "+OK");
        assert_eq!(store.run("PTTL k"), ":1");
    }

    #[test]
    fn set_refuses_options_that_exclude_each_other() {
        let mut store = Store::at(1_000_000);
        for command in [
            "SET k v NX XX",
            "SET k v XX NX",
            "SET k v EX 1 PX 1",
            "SET k v EX 1 KEEPTTL",
            "SET k v KEEPTTL EX 1",
            "SET k v EX",
            "SET k v FOO",
            "GETEX k EX 1 PX 1",
            "GETEX k FOO",
        ] {
            assert_eq!(store.run(command), "-ERR syntax error", "{command}");
        }
        assert_eq!(
            store.run("SET k v EX ten"),
            "-ERR value is not an integer or out of range"
        );
        assert_eq!(
            store.run("SET k"),
            "-ERR wrong number of arguments for 'set' command"
        );
    }

    #[test]
    fn numbers_are_added_to_and_keep_their_deadline() {
        let mut store = Store::at(1_000_000);
        assert_eq!(store.run("INCR n"), ":1");
        assert_eq!(store.run("INCRBY n 41"), ":42");
        assert_eq!(store.run("DECR n"), ":41");
        assert_eq!(store.run("DECRBY n 42"), ":-1");
        store.run("PEXPIRE n 700");
        store.run("INCR n");
        assert_eq!(store.run("PTTL n"), ":700");
        assert_eq!(store.run("GET n"), "$0");
    }

    #[test]
    fn sums_that_overflow_change_nothing() {
        let mut store = Store::at(1_000_000);
        store.run("SET n 9223372036854775807");
        assert_eq!(
            store.run("INCR n"),
            "-ERR increment or decrement would overflow"
        );
        assert_eq!(store.run("GET n"), "$9223372036854775807");
        assert_eq!(
            store.run("DECRBY n -9223372036854775808"),
            "-ERR decrement would overflow"
        );
        store.run("SET s word");
        assert_eq!(
            store.run("INCR s"),
            "-ERR value is not an integer or out of range"
        );
        assert_eq!(
            store.run("INCRBY n 1.5"),
            "-ERR value is not an integer or out of range"
        );
    }

    #[test]
    fn getset_setnx_getdel_and_getex_answer_what_was_there() {
        let mut store = Store::at(1_000_000);
        assert_eq!(store.run("GETSET k a"), "$-1");
        store.run("EXPIRE k 9");
        assert_eq!(store.run("GETSET k b"), "$a");
        assert_eq!(store.run("TTL k"), ":-1");
        assert_eq!(store.run("SETNX k c"), ":0");
        assert_eq!(store.run("SETNX l c"), ":1");
        assert_eq!(store.run("GETEX k EX 9"), "$b");
        assert_eq!(store.run("TTL k"), ":9");
        assert_eq!(store.run("GETEX k"), "$b");
        assert_eq!(store.run("TTL k"), ":9");
        assert_eq!(store.run("GETEX k PERSIST"), "$b");
        assert_eq!(store.run("TTL k"), ":-1");
        assert_eq!(store.run("GETDEL k"), "$b");
        assert_eq!(store.run("GETDEL k"), "$-1");
        assert_eq!(store.run("GETEX k EX 9"), "$-1");
    }

    #[test]
    fn append_grows_a_value_and_keeps_its_deadline() {
        let mut store = Store::at(1_000_000);
        assert_eq!(store.run("APPEND k ab"), ":2");
        store.run("PEXPIRE k 700");
        assert_eq!(store.run("APPEND k cde"), ":5");
        assert_eq!(store.run("GET k"), "$abcde");
        assert_eq!(store.run("PTTL k"), ":700");
    }

    #[test]
    fn mset_takes_pairs_and_the_last_of_a_key_wins() {
        let mut store = Store::at(1_000_000);
        assert_eq!(store.run("MSET a 1 b 2 a 3"), "+OK");
        assert_eq!(store.run("MGET a b"), "[$3 $2]");
        assert_eq!(
            store.run("MSET a 1 b"),
            "-ERR wrong number of arguments for 'mset' command"
        );
    }
}

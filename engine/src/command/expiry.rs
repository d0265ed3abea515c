//! Commands about when keys expire, and the expiry options of SET and GETEX.

use bytes::Bytes;

use super::args::Args;
use super::{Command, Deadline, Expire, ExpireCondition, Expiry, Reply, State, TtlForm};
use crate::Result;

/// Room that is left for the entry's time above the longest relative time, some 35,000 years: the sum
/// is certain to fit when the command is parsed, so it cannot fail when it is applied.
const NOW_MS_MAX: i64 = 1 << 50;

/// Whether a number counts seconds or milliseconds.
#[derive(Clone, Copy)]
pub(super) enum Unit {
    Seconds,
    Millis,
}

/// `number` of `unit` in milliseconds, if a deadline that far off can be told.
fn to_ms(number: i64, unit: Unit, relative: bool) -> Option<i64> {
    let ms = match unit {
        Unit::Seconds => number.checked_mul(1000)?,
        Unit::Millis => number,
    };
    let max = if relative {
        i64::MAX - NOW_MS_MAX
    } else {
        i64::MAX
    };
    (ms <= max).then_some(ms)
}

/// The deadline that a positive number of `unit` gives, as SET and its relatives want it.
pub(super) fn positive(
    number: i64,
    unit: Unit,
    relative: bool,
    command: &str,
) -> Result<Deadline, Reply> {
    match to_ms(number, unit, relative) {
        Some(ms) if number > 0 => Ok(if relative {
            Deadline::In(ms)
        } else {
            Deadline::At(ms)
        }),
        _ => Err(Reply::invalid_expire(command)),
    }
}

/// The deadline of EX, PX, EXAT or PXAT; `None` if `word` is none of these.
pub(super) fn option(word: &[u8], args: &mut Args<'_>) -> Result<Option<Deadline>, Reply> {
    let (unit, relative) = if word.eq_ignore_ascii_case(b"ex") {
        (Unit::Seconds, true)
    } else if word.eq_ignore_ascii_case(b"px") {
        (Unit::Millis, true)
    } else if word.eq_ignore_ascii_case(b"exat") {
        (Unit::Seconds, false)
    } else if word.eq_ignore_ascii_case(b"pxat") {
        (Unit::Millis, false)
    } else {
        return Ok(None);
    };
    let number = args.option_integer()?;
    positive(number, unit, relative, args.command()).map(Some)
}

fn parse_expire_in(args: &mut Args<'_>, unit: Unit, relative: bool) -> Result<Command, Reply> {
    let key = args.take();
    let number = args.take();
    let condition = parse_condition(args)?;
    let number = super::parse_integer(&number).ok_or(Reply::NOT_AN_INTEGER)?;
    let ms = to_ms(number, unit, relative).ok_or_else(|| Reply::invalid_expire(args.command()))?;
    let deadline = if relative {
        Deadline::In(ms)
    } else {
        Deadline::At(ms)
    };
    Ok(Command::Expire(Expire {
        key,
        deadline,
        condition,
    }))
}

fn parse_condition(args: &mut Args<'_>) -> Result<ExpireCondition, Reply> {
    let mut condition = ExpireCondition::default();
    while let Some(word) = args.next() {
        match word.to_ascii_lowercase().as_slice() {
            b"nx" => condition.absent = true,
            b"xx" => condition.present = true,
            b"gt" => condition.later = true,
            b"lt" => condition.earlier = true,
            _ => {
                let text = format!("ERR Unsupported option {}", String::from_utf8_lossy(&word));
                return Err(Reply::Error(text.into()));
            }
        }
    }
    if condition.absent && (condition.present || condition.later || condition.earlier) {
        return Err(Reply::error(
            "ERR NX and XX, GT or LT options at the same time are not compatible",
        ));
    }
    if condition.later && condition.earlier {
        return Err(Reply::error(
            "ERR GT and LT options at the same time are not compatible",
        ));
    }
    Ok(condition)
}

pub(super) fn parse_expire(args: &mut Args<'_>) -> Result<Command, Reply> {
    parse_expire_in(args, Unit::Seconds, true)
}

pub(super) fn parse_pexpire(args: &mut Args<'_>) -> Result<Command, Reply> {
    parse_expire_in(args, Unit::Millis, true)
}

pub(super) fn parse_expireat(args: &mut Args<'_>) -> Result<Command, Reply> {
    parse_expire_in(args, Unit::Seconds, false)
}

pub(super) fn parse_pexpireat(args: &mut Args<'_>) -> Result<Command, Reply> {
    parse_expire_in(args, Unit::Millis, false)
}

pub(super) fn parse_ttl(args: &mut Args<'_>) -> Result<Command, Reply> {
    Ok(Command::Ttl {
        key: args.take(),
        form: TtlForm::Seconds,
    })
}

pub(super) fn parse_pttl(args: &mut Args<'_>) -> Result<Command, Reply> {
    Ok(Command::Ttl {
        key: args.take(),
        form: TtlForm::Millis,
    })
}

pub(super) fn parse_expiretime(args: &mut Args<'_>) -> Result<Command, Reply> {
    Ok(Command::Ttl {
        key: args.take(),
        form: TtlForm::AtSeconds,
    })
}

pub(super) fn parse_pexpiretime(args: &mut Args<'_>) -> Result<Command, Reply> {
    Ok(Command::Ttl {
        key: args.take(),
        form: TtlForm::AtMillis,
    })
}

pub(super) fn parse_persist(args: &mut Args<'_>) -> Result<Command, Reply> {
    Ok(Command::Persist(args.take()))
}

pub(super) async fn expire<S: State>(expire: &Expire, state: &mut S) -> Result<Reply> {
    let Some(old_ms) = state.exists(&expire.key).await? else {
        return Ok(Reply::Int(0));
    };
    let new_ms = expire.deadline.resolve(state.now_ms());
    if !allows(expire.condition, old_ms, new_ms) {
        return Ok(Reply::Int(0));
    }
    set_deadline(&expire.key, Expiry::Set(expire.deadline), state).await?;
    Ok(Reply::Int(1))
}

/// Whether a deadline of `old_ms` (0: never) may become `new_ms` (`None`: passed already).
fn allows(condition: ExpireCondition, old_ms: u64, new_ms: Option<u64>) -> bool {
    let has_one = old_ms != 0;
    let new_ms = new_ms.unwrap_or(0);
    !(condition.absent && has_one
        || condition.present && !has_one
        || condition.later && (!has_one || new_ms <= old_ms)
        || condition.earlier && has_one && new_ms >= old_ms)
}

/// Gives a live key another deadline; one that has passed removes it.
pub(super) async fn set_deadline<S: State>(
    key: &Bytes,
    expiry: Expiry,
    state: &mut S,
) -> Result<()> {
    let deadline_ms = match expiry {
        Expiry::Keep => return Ok(()),
        Expiry::Clear => 0,
        Expiry::Set(deadline) => match deadline.resolve(state.now_ms()) {
            Some(deadline_ms) => deadline_ms,
            None => return state.delete(key).await,
        },
    };
    match state.get(key).await? {
        Some(value) => state.put(key, &value.bytes, deadline_ms).await,
        None => Ok(()),
    }
}

pub(super) async fn persist<S: State>(key: &Bytes, state: &mut S) -> Result<Reply> {
    match state.exists(key).await? {
        None | Some(0) => Ok(Reply::Int(0)),
        Some(_) => {
            set_deadline(key, Expiry::Clear, state).await?;
            Ok(Reply::Int(1))
        }
    }
}

pub(super) async fn ttl<S: State>(key: &Bytes, form: TtlForm, state: &mut S) -> Result<Reply> {
    Ok(Reply::Int(match state.exists(key).await? {
        None => -2,
        Some(0) => -1,
        Some(deadline_ms) => time_left(deadline_ms, state.now_ms(), form),
    }))
}

/// What TTL answers for a live key. Never 0, which a client would take for gone.
fn time_left(deadline_ms: u64, now_ms: u64, form: TtlForm) -> i64 {
    let left_ms = deadline_ms.saturating_sub(now_ms).max(1);
    let rounded = |ms: u64| (ms.saturating_add(500) / 1000).max(1);
    let number = match form {
        TtlForm::Seconds => rounded(left_ms),
        TtlForm::Millis => left_ms,
        TtlForm::AtSeconds => rounded(deadline_ms),
        TtlForm::AtMillis => deadline_ms,
    };
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::testing::Store;

    #[test]
    fn a_relative_deadline_counts_from_the_entrys_time() {
        let mut store = Store::at(1_000_000);
        assert_eq!(store.run("SET k v EX 10"), "+OK");
        assert_eq!(store.run("PEXPIRETIME k"), ":1010000");
        assert_eq!(store.run("PTTL k"), ":10000");
        store.now_ms += 9_999;
        assert_eq!(store.run("GET k"), "$v");
        store.now_ms += 1;
        assert_eq!(store.run("GET k"), "$-1");
        assert_eq!(store.run("TTL k"), ":-2");
    }

    #[test]
    fn a_live_key_has_at_least_one_second_and_one_millisecond_left() {
        let mut store = Store::at(1_000_000);
        store.run("SET k v PX 1");
        assert_eq!(store.run("TTL k"), ":1");
        assert_eq!(store.run("PTTL k"), ":1");
        store.run("PEXPIRE k 1500");
        assert_eq!(store.run("TTL k"), ":2");
        store.run("PEXPIRE k 1499");
        assert_eq!(store.run("TTL k"), ":1");
    }

    #[test]
    fn expire_answers_whether_it_set_a_deadline() {
        let mut store = Store::at(1_000_000);
        assert_eq!(store.run("EXPIRE k 10"), ":0");
        store.run("SET k v");
        assert_eq!(store.run("TTL k"), ":-1");
        assert_eq!(store.run("EXPIRE k 10"), ":1");
        assert_eq!(store.run("EXPIRETIME k"), ":1010");
        assert_eq!(store.run("PEXPIREAT k 1000500"), ":1");
        assert_eq!(store.run("PTTL k"), ":500");
        assert_eq!(store.run("PERSIST k"), ":1");
        assert_eq!(store.run("PERSIST k"), ":0");
        assert_eq!(store.run("PERSIST none"), ":0");
        assert_eq!(store.run("GET k"), "$v");
    }

    #[test]
    fn a_deadline_in_the_past_removes_the_key() {
        for command in [
            "EXPIRE k -1",
            "EXPIRE k 0",
            "EXPIREAT k 1",
            "PEXPIREAT k -5",
            "PEXPIREAT k 1000000",
        ] {
            let mut store = Store::at(1_000_000);
            store.run("SET k v");
            assert_eq!(store.run(command), ":1");
            assert_eq!(store.run("EXISTS k"), ":0");
            assert!(store.keys.is_empty(), "{command} left the key behind");
        }
    }

    #[test]
    fn conditions_compare_with_the_deadline_there_is() {
        let mut store = Store::at(1_000_000);
        store.run("SET k v");
        assert_eq!(store.run("EXPIRE k 10 XX"), ":0");
        assert_eq!(store.run("EXPIRE k 10 GT"), ":0");
        assert_eq!(store.run("EXPIRE k 10 NX"), ":1");
        assert_eq!(store.run("EXPIRE k 20 NX"), ":0");
        assert_eq!(store.run("EXPIRE k 20 LT"), ":0");
        assert_eq!(store.run("EXPIRE k 20 gt xx"), ":1");
        assert_eq!(store.run("EXPIRE k 20 GT"), ":0");
        assert_eq!(store.run("EXPIRE k 5 LT"), ":1");
        assert_eq!(store.run("TTL k"), ":5");
        store.run("PERSIST k");
        assert_eq!(store.run("EXPIRE k 9 LT"), ":1");
    }

    #[test]
    fn times_that_cannot_be_are_refused_with_redis_texts() {
        let mut store = Store::at(1_000_000);
        store.run("SET k v");
        assert_eq!(
            store.run("SET k v EX 0"),
            "-ERR invalid expire time in 'set' command"
        );
        assert_eq!(
            store.run("SET k v PX -1"),
            "-ERR invalid expire time in 'set' command"
        );
        assert_eq!(
            store.run("SET k v EX 9223372036854776"),
            "-ERR invalid expire time in 'set' command"
        );
        assert_eq!(
            store.run("SET k v PX 9223372036854775807"),
            "-ERR invalid expire time in 'set' command"
        );
        assert_eq!(
            store.run("SETEX k 0 v"),
            "-ERR invalid expire time in 'setex' command"
        );
        assert_eq!(
            store.run("EXPIRE k 9223372036854775807"),
            "-ERR invalid expire time in 'expire' command"
        );
        assert_eq!(store.run("EXPIRE k 1 FOO"), "-ERR Unsupported option FOO");
        assert_eq!(
            store.run("EXPIRE k 1 NX GT"),
            "-ERR NX and XX, GT or LT options at the same time are not compatible"
        );
        assert_eq!(
            store.run("EXPIRE k 1 GT LT"),
            "-ERR GT and LT options at the same time are not compatible"
        );
        assert_eq!(
            store.run("EXPIRE k x"),
            "-ERR value is not an integer or out of range"
        );
    }
}

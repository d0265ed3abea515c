//! Commands on keys whatever they hold, and on all keys at once.

use bytes::Bytes;

use super::args::Args;
use super::{Command, Reply, ScanArgs, State, table};
use crate::Result;

/// How many keys SCAN looks at unless told.
const SCAN_COUNT: u64 = 10;

pub(super) fn parse_del(args: &mut Args<'_>) -> Result<Command, Reply> {
    Ok(Command::Del(args.rest()))
}

pub(super) fn parse_exists(args: &mut Args<'_>) -> Result<Command, Reply> {
    Ok(Command::Exists(args.rest()))
}

pub(super) fn parse_type(args: &mut Args<'_>) -> Result<Command, Reply> {
    Ok(Command::Type(args.take()))
}

pub(super) fn parse_keys(args: &mut Args<'_>) -> Result<Command, Reply> {
    Ok(Command::Keys(args.take()))
}

pub(super) fn parse_dbsize(_args: &mut Args<'_>) -> Result<Command, Reply> {
    Ok(Command::DbSize)
}

pub(super) fn parse_flush(args: &mut Args<'_>) -> Result<Command, Reply> {
    match args.next() {
        None => {}
        // Either way the keys are gone at once and their room comes back in the background.
        Some(word) if word.eq_ignore_ascii_case(b"async") || word.eq_ignore_ascii_case(b"sync") => {
        }
        Some(_) => return Err(Reply::SYNTAX),
    }
    args.end()?;
    Ok(Command::Clear)
}

pub(super) fn parse_scan(args: &mut Args<'_>) -> Result<Command, Reply> {
    let cursor = std::str::from_utf8(&args.take())
        .ok()
        .and_then(|text| text.parse().ok());
    let cursor = cursor.ok_or(Reply::error("ERR invalid cursor"))?;
    let mut scan = ScanArgs {
        cursor,
        pattern: None,
        count: SCAN_COUNT,
        of_type: None,
    };
    while let Some(word) = args.next() {
        match word.to_ascii_lowercase().as_slice() {
            b"match" => scan.pattern = Some(args.next().ok_or(Reply::SYNTAX)?),
            b"count" => {
                let count = u64::try_from(args.option_integer()?).unwrap_or(0);
                if count == 0 {
                    return Err(Reply::SYNTAX);
                }
                scan.count = count;
            }
            b"type" => {
                let of_type = args.next().ok_or(Reply::SYNTAX)?;
                scan.of_type = Some(Bytes::from(of_type.to_ascii_lowercase()));
            }
            _ => return Err(Reply::SYNTAX),
        }
    }
    // A pattern that all keys match need not be matched.
    scan.pattern.take_if(|pattern| **pattern == *b"*");
    Ok(Command::Scan(scan))
}

pub(super) fn parse_explain(args: &mut Args<'_>) -> Result<Command, Reply> {
    match table::parse(args.rest_mut())? {
        table::Parsed::Store(Command::Explain(_)) | table::Parsed::Session(_) => Err(Reply::error(
            "ERR EXPLAIN takes a command that reads or writes keys, such as EXPLAIN GET key",
        )),
        table::Parsed::Store(command) => Ok(Command::Explain(Box::new(command))),
    }
}

pub(super) async fn del<S: State>(keys: &[Bytes], state: &mut S) -> Result<Reply> {
    let mut count = 0;
    for key in keys {
        if state.exists(key).await?.is_some() {
            state.delete(key).await?;
            count += 1;
        }
    }
    Ok(Reply::Int(count))
}

pub(super) async fn exists<S: State>(keys: &[Bytes], state: &mut S) -> Result<Reply> {
    let mut count = 0;
    for key in keys {
        count += i64::from(state.exists(key).await?.is_some());
    }
    Ok(Reply::Int(count))
}

pub(super) async fn type_of<S: State>(key: &Bytes, state: &mut S) -> Result<Reply> {
    let name = match state.exists(key).await? {
        Some(_) => "string",
        None => "none",
    };
    Ok(Reply::Simple(name.into()))
}

pub(super) async fn clear<S: State>(state: &mut S) -> Result<Reply> {
    state.clear().await?;
    Ok(Reply::OK)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::testing::{Store, parse};
    use super::super::{Command, ScanArgs};

    #[test]
    fn del_and_exists_count_what_is_there() {
        let mut store = Store::at(1_000_000);
        store.run("MSET a 1 b 2");
        assert_eq!(store.run("EXISTS a b c a"), ":3");
        assert_eq!(store.run("DEL a a c"), ":1");
        assert_eq!(store.run("UNLINK b"), ":1");
        assert_eq!(store.run("DELETE b"), ":0");
        assert_eq!(store.run("TYPE b"), "+none");
        store.run("SET b 1");
        assert_eq!(store.run("TYPE b"), "+string");
    }

    #[test]
    fn an_expired_key_is_not_counted_as_deleted() {
        let mut store = Store::at(1_000_000);
        store.run("SET k v PX 1");
        store.now_ms += 1;
        assert_eq!(store.run("DEL k"), ":0");
    }

    #[test]
    fn flushing_removes_everything() {
        let mut store = Store::at(1_000_000);
        store.run("MSET a 1 b 2");
        assert_eq!(store.run("FLUSHALL async"), "+OK");
        assert_eq!(store.run("EXISTS a b"), ":0");
        assert_eq!(store.run("FLUSHDB NOW"), "-ERR syntax error");
        assert_eq!(store.run("FLUSHDB sync async"), "-ERR syntax error");
    }

    #[test]
    fn scan_takes_its_options_in_any_order() {
        let scan = |cursor, pattern: Option<&'static str>, count, of_type: Option<&'static str>| {
            Ok(Command::Scan(ScanArgs {
                cursor,
                pattern: pattern.map(|text| Bytes::from_static(text.as_bytes())),
                count,
                of_type: of_type.map(|text| Bytes::from_static(text.as_bytes())),
            }))
        };
        assert_eq!(parse("SCAN 0"), scan(0, None, 10, None));
        assert_eq!(parse("SCAN 0 MATCH *"), scan(0, None, 10, None));
        assert_eq!(
            parse("SCAN 18446744073709551615 TYPE String COUNT 7 MATCH a*"),
            scan(u64::MAX, Some("a*"), 7, Some("string"))
        );
    }

    #[test]
    fn scan_refuses_what_redis_refuses() {
        let mut store = Store::at(1_000_000);
        assert_eq!(store.run("SCAN x"), "-ERR invalid cursor");
        assert_eq!(store.run("SCAN -1"), "-ERR invalid cursor");
        assert_eq!(store.run("SCAN 0 COUNT 0"), "-ERR syntax error");
        assert_eq!(
            store.run("SCAN 0 COUNT x"),
            "-ERR value is not an integer or out of range"
        );
        assert_eq!(store.run("SCAN 0 COUNT"), "-ERR syntax error");
        assert_eq!(store.run("SCAN 0 FOO"), "-ERR syntax error");
    }

    #[test]
    fn explain_holds_a_command_but_not_another_explain() {
        let Ok(Command::Explain(inner)) = parse("EXPLAIN GET k") else {
            panic!("not an explain");
        };
        assert_eq!(*inner, Command::Get(Bytes::from_static(b"k")));
        let mut store = Store::at(1_000_000);
        for command in ["EXPLAIN PING", "EXPLAIN EXPLAIN GET k"] {
            assert!(
                store
                    .run(command)
                    .starts_with("-ERR EXPLAIN takes a command"),
                "{command}"
            );
        }
        assert_eq!(
            store.run("EXPLAIN GET"),
            "-ERR wrong number of arguments for 'get' command"
        );
        assert!(
            store
                .run("EXPLAIN NOPE")
                .starts_with("-ERR unknown command 'NOPE'")
        );
    }
}

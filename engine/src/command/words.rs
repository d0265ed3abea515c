//! A command as words again: what a client would send.

use bytes::Bytes;

use super::{Command, Condition, Deadline, ExpireCondition, Expiry, TtlForm};

impl Command {
    /// The words that [`parse`](super::parse) reads as this command.
    ///
    /// ```
    /// use trilith::command::{Command, Parsed, parse};
    /// let mut words = ["SET", "k", "v", "EX", "5"].map(|word| word.into());
    /// let Ok(Parsed::Store(command)) = parse(&mut words) else { panic!() };
    /// assert_eq!(command.words(), ["SET", "k", "v", "PX", "5000"]);
    /// ```
    pub fn words(&self) -> Vec<Bytes> {
        let mut words = Vec::with_capacity(5);
        self.add_words(&mut words);
        words
    }

    fn add_words(&self, out: &mut Vec<Bytes>) {
        match self {
            Self::Get(key) => put(out, "GET", [key]),
            Self::Set(set) => {
                put(out, "SET", [&set.key, &set.value]);
                match set.condition {
                    Condition::Always => {}
                    Condition::Absent => out.push(fixed("NX")),
                    Condition::Present => out.push(fixed("XX")),
                }
                if set.get {
                    out.push(fixed("GET"));
                }
                match set.expiry {
                    Expiry::Clear => {}
                    Expiry::Keep => out.push(fixed("KEEPTTL")),
                    Expiry::Set(deadline) => option(out, deadline),
                }
            }
            Self::SetNx { key, value } => put(out, "SETNX", [key, value]),
            Self::GetSet { key, value } => put(out, "GETSET", [key, value]),
            Self::GetDel(key) => put(out, "GETDEL", [key]),
            Self::GetEx { key, expiry } => {
                put(out, "GETEX", [key]);
                match expiry {
                    Expiry::Keep => {}
                    Expiry::Clear => out.push(fixed("PERSIST")),
                    Expiry::Set(deadline) => option(out, *deadline),
                }
            }
            Self::Append { key, value } => put(out, "APPEND", [key, value]),
            Self::StrLen(key) => put(out, "STRLEN", [key]),
            Self::IncrBy { key, by } => {
                put(out, "INCRBY", [key]);
                out.push(number(*by));
            }
            Self::MGet(keys) => put(out, "MGET", keys),
            Self::MSet(pairs) => put(out, "MSET", pairs),
            Self::Del(keys) => put(out, "DEL", keys),
            Self::Exists(keys) => put(out, "EXISTS", keys),
            Self::Type(key) => put(out, "TYPE", [key]),
            Self::Expire(expire) => {
                let (name, ms) = match expire.deadline {
                    Deadline::In(ms) => ("PEXPIRE", ms),
                    Deadline::At(ms) => ("PEXPIREAT", ms),
                };
                put(out, name, [&expire.key]);
                out.push(number(ms));
                conditions(out, expire.condition);
            }
            Self::Persist(key) => put(out, "PERSIST", [key]),
            Self::Ttl { key, form } => {
                let name = match form {
                    TtlForm::Seconds => "TTL",
                    TtlForm::Millis => "PTTL",
                    TtlForm::AtSeconds => "EXPIRETIME",
                    TtlForm::AtMillis => "PEXPIRETIME",
                };
                put(out, name, [key]);
            }
            Self::Clear => out.push(fixed("FLUSHALL")),
            Self::Scan(scan) => {
                out.extend([fixed("SCAN"), Bytes::from(scan.cursor.to_string())]);
                let count = Bytes::from(scan.count.to_string());
                let options = [
                    ("MATCH", scan.pattern.clone()),
                    ("COUNT", Some(count)),
                    ("TYPE", scan.of_type.clone()),
                ];
                for (name, value) in options {
                    out.extend(
                        value
                            .map(|value| [fixed(name), value])
                            .into_iter()
                            .flatten(),
                    );
                }
            }
            Self::Keys(pattern) => put(out, "KEYS", [pattern]),
            Self::DbSize => out.push(fixed("DBSIZE")),
            Self::Explain(inner) => {
                out.push(fixed("EXPLAIN"));
                inner.add_words(out);
            }
        }
    }
}

fn fixed(word: &'static str) -> Bytes {
    Bytes::from_static(word.as_bytes())
}

fn put<'a>(out: &mut Vec<Bytes>, name: &'static str, words: impl IntoIterator<Item = &'a Bytes>) {
    out.push(fixed(name));
    out.extend(words.into_iter().cloned());
}

fn number(number: i64) -> Bytes {
    Bytes::from(number.to_string())
}

/// A deadline as SET and GETEX have it.
fn option(out: &mut Vec<Bytes>, deadline: Deadline) {
    let (name, ms) = match deadline {
        Deadline::In(ms) => ("PX", ms),
        Deadline::At(ms) => ("PXAT", ms),
    };
    out.extend([fixed(name), number(ms)]);
}

fn conditions(out: &mut Vec<Bytes>, condition: ExpireCondition) {
    let all = [
        (condition.absent, "NX"),
        (condition.present, "XX"),
        (condition.later, "GT"),
        (condition.earlier, "LT"),
    ];
    out.extend(
        all.into_iter()
            .filter(|(is_set, _)| *is_set)
            .map(|(_, name)| fixed(name)),
    );
}

#[cfg(test)]
mod tests {
    use super::super::testing::parse;
    use super::super::{Parsed, table};

    #[test]
    fn every_command_reads_from_its_words() {
        for line in super::super::testing::LINES {
            let command = parse(line).unwrap();
            let mut words = command.words();
            let Ok(Parsed::Store(again)) = table::parse(&mut words) else {
                panic!("{line}: {words:?}");
            };
            assert_eq!(again, command, "{line}");
        }
    }
}

//! The words behind a command's name, as COMMAND DOCS tells them to programs: read from the same text that
//! people read. `[ ]` is optional, `|` separates alternatives, `...` repeats, capitals stand for themselves.

use super::Reply;

/// One argument, or a group of them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Argument {
    name: String,
    /// What it is, by Redis's names.
    kind: &'static str,
    /// The word in capitals that it has in front of it, or that it is.
    token: Option<String>,
    is_optional: bool,
    is_multiple: bool,
    /// The arguments of a group.
    parts: Vec<Argument>,
}

/// The arguments that a usage text names, for COMMAND DOCS.
pub(super) fn arguments(usage: &str) -> Vec<Reply> {
    let spaced = usage
        .replace('[', " [ ")
        .replace(']', " ] ")
        .replace('|', " | ");
    let mut words = spaced.split_whitespace();
    read(&mut words).0.iter().map(Argument::reply).collect()
}

/// Reads up to the end or to a closing bracket. Also says whether what was read is repeated.
fn read<'a>(words: &mut impl Iterator<Item = &'a str>) -> (Vec<Argument>, bool) {
    let (mut alternatives, mut sequence, mut repeats) = (Vec::new(), Vec::new(), false);
    loop {
        match words.next() {
            None | Some("]") => break,
            Some("|") => alternatives.push(Argument::group(std::mem::take(&mut sequence))),
            Some("...") => repeats = true,
            Some("[") => {
                let (inner, inner_repeats) = read(words);
                push_bracketed(&mut sequence, inner, inner_repeats);
            }
            Some(word) => sequence.push(Argument::word(word)),
        }
    }
    if alternatives.is_empty() {
        return (sequence, repeats);
    }
    alternatives.push(Argument::group(sequence));
    (vec![Argument::of("oneof", alternatives)], repeats)
}

/// `key [key ...]` is one argument that may be given several times.
fn push_bracketed(sequence: &mut Vec<Argument>, inner: Vec<Argument>, repeats: bool) {
    if repeats && sequence.ends_with(&inner) {
        sequence.truncate(sequence.len() - inner.len());
        let mut repeated = Argument::group(inner);
        repeated.is_multiple = true;
        sequence.push(repeated);
        return;
    }
    let mut optional = Argument::group(inner);
    optional.is_optional = true;
    optional.is_multiple = repeats;
    sequence.push(optional);
}

impl Argument {
    fn word(word: &str) -> Self {
        let is_token = !word.contains(|letter: char| letter.is_ascii_lowercase());
        let kind = match word {
            _ if is_token => "pure-token",
            "key" => "key",
            "pattern" => "pattern",
            "unix-seconds" | "unix-milliseconds" => "unix-time",
            "at-once" | "bytes-per-second" | "copies" | "count" | "cursor" | "decrement"
            | "increment" | "index" | "milliseconds" | "n" | "r" | "seconds" | "slot"
            | "timeout" | "w" => "integer",
            _ => "string",
        };
        Self {
            name: word.to_ascii_lowercase(),
            kind,
            token: is_token.then(|| word.to_owned()),
            is_optional: false,
            is_multiple: false,
            parts: Vec::new(),
        }
    }

    fn of(kind: &'static str, parts: Vec<Self>) -> Self {
        Self {
            name: parts
                .first()
                .map_or_else(String::new, |part| part.name.clone()),
            kind,
            token: None,
            is_optional: false,
            is_multiple: false,
            parts,
        }
    }

    /// What stands together: one argument as it is, `EX seconds` as one with a token.
    fn group(mut parts: Vec<Self>) -> Self {
        match &mut parts[..] {
            [one] => return one.clone(),
            [token, value]
                if token.kind == "pure-token" && value.token.is_none() && !value.is_optional =>
            {
                value.token = token.token.take();
                return value.clone();
            }
            _ => {}
        }
        Self::of("block", parts)
    }

    fn reply(&self) -> Reply {
        let mut pairs = vec![
            ("name", Reply::text(self.name.clone())),
            ("type", Reply::fixed(self.kind)),
        ];
        if self.kind == "key" {
            pairs.push(("key_spec_index", Reply::Int(0)));
        }
        if let Some(token) = &self.token {
            pairs.push(("token", Reply::text(token.clone())));
        }
        let flags = [
            (self.is_optional, "optional"),
            (self.is_multiple, "multiple"),
        ];
        let flags: Vec<_> = flags
            .into_iter()
            .filter(|(is_set, _)| *is_set)
            .map(|(_, name)| Reply::Simple(name.into()))
            .collect();
        if !flags.is_empty() {
            pairs.push(("flags", Reply::Array(flags)));
        }
        if !self.parts.is_empty() {
            let parts = self.parts.iter().map(Self::reply);
            pairs.push(("arguments", Reply::Array(parts.collect())));
        }
        let pairs = pairs.into_iter();
        Reply::Map(
            pairs
                .map(|(name, value)| (Reply::fixed(name), value))
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In a form that is short to write: `name:kind=TOKEN?*(parts)`.
    fn shown(usage: &str) -> String {
        fn one(reply: &Reply) -> String {
            let Reply::Map(pairs) = reply else {
                panic!("not a map");
            };
            let of = |name: &'static str| {
                let mut found = pairs.iter().filter(|(key, _)| *key == Reply::fixed(name));
                found.next().map(|(_, value)| value.clone())
            };
            let text = |name| match of(name) {
                Some(Reply::Bulk(text)) => String::from_utf8_lossy(&text).into_owned(),
                _ => String::new(),
            };
            let mut shown = format!("{}:{}", text("name"), text("type"));
            if of("token").is_some() {
                shown += &format!("={}", text("token"));
            }
            if let Some(Reply::Array(flags)) = of("flags") {
                for (flag, mark) in [("optional", "?"), ("multiple", "*")] {
                    if flags.contains(&Reply::Simple(flag.into())) {
                        shown += mark;
                    }
                }
            }
            if let Some(Reply::Array(parts)) = of("arguments") {
                let parts: Vec<_> = parts.iter().map(one).collect();
                shown += &format!("({})", parts.join(" "));
            }
            shown
        }
        let arguments: Vec<_> = arguments(usage).iter().map(one).collect();
        arguments.join(" ")
    }

    #[test]
    fn words_options_alternatives_and_repetitions_are_told_apart() {
        for (usage, expected) in [
            ("", ""),
            ("key value", "key:key value:string"),
            ("key [key ...]", "key:key*"),
            (
                "key value [key value ...]",
                "key:block*(key:key value:string)",
            ),
            ("[name ...]", "name:string?*"),
            ("[message]", "message:string?"),
            (
                "key [NX | XX] [GET] [EX seconds | KEEPTTL]",
                "key:key nx:oneof?(nx:pure-token=NX xx:pure-token=XX) get:pure-token=GET? \
                 seconds:oneof?(seconds:integer=EX keepttl:pure-token=KEEPTTL)",
            ),
            (
                "PAUSE | RATE bytes-per-second at-once",
                "pause:oneof(pause:pure-token=PAUSE \
                 rate:block(rate:pure-token=RATE bytes-per-second:integer at-once:integer))",
            ),
            (
                "[2 | 3 [SETNAME name]]",
                "2:oneof?(2:pure-token=2 3:block(3:pure-token=3 name:string=SETNAME?))",
            ),
        ] {
            assert_eq!(shown(usage), expected, "{usage}");
        }
    }
}

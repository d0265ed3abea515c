//! The table as COMMAND answers it and as docs/commands.md prints it.

use bytes::Bytes;

use super::table::{self, Flag, Group, KeyWords, Spec, TABLE};
use super::usage::arguments;
use super::{Parsed, Reply, Subcommand, parse, subcommand};

/// The reply to COMMAND and its subcommands. `words` are all of them, the name included.
pub fn answer_command(words: &[Bytes]) -> Reply {
    if words.len() < 2 {
        return Reply::Array(TABLE.iter().map(info).collect());
    }
    let row = match subcommand(words) {
        Ok(row) => row,
        Err(reply) => return reply,
    };
    let rest = &words[2..];
    match row.name {
        "count" => count(TABLE.len()),
        "info" if rest.is_empty() => Reply::Array(TABLE.iter().map(info).collect()),
        "info" => Reply::Array(
            rest.iter()
                .map(|name| table::find(name).map_or(Reply::NullArray, info))
                .collect(),
        ),
        "docs" if rest.is_empty() => Reply::Map(TABLE.iter().map(docs).collect()),
        "docs" => Reply::Map(
            rest.iter()
                .filter_map(|name| table::find(name))
                .map(docs)
                .collect(),
        ),
        "list" if rest.is_empty() => {
            Reply::Array(TABLE.iter().map(|spec| Reply::fixed(spec.name)).collect())
        }
        "getkeys" => keys_of(rest),
        "help" => row.help(),
        _ => Reply::SYNTAX,
    }
}

fn keys_of(words: &[Bytes]) -> Reply {
    let Some(spec) = table::find(&words[0]) else {
        return Reply::error("ERR Invalid command specified");
    };
    if !spec.accepts(words.len()) {
        return Reply::error("ERR Invalid number of arguments specified for command");
    }
    let keys: Vec<Reply> = match parse(&mut words.to_vec()) {
        Ok(Parsed::Store(command)) => command.keys().cloned().map(Reply::Bulk).collect(),
        Ok(Parsed::Session(_)) => Vec::new(),
        Err(reply) => return reply,
    };
    if keys.is_empty() {
        return Reply::error("ERR The command has no key arguments");
    }
    Reply::Array(keys)
}

fn count(number: usize) -> Reply {
    Reply::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

fn last(keys: KeyWords) -> Reply {
    Reply::Int(i64::try_from(keys.last).unwrap_or(-1))
}

fn names(names: Vec<&'static str>) -> Reply {
    let names = names.into_iter().map(|name| Reply::Simple(name.into()));
    Reply::Array(names.collect())
}

fn map<const N: usize>(pairs: [(&'static str, Reply); N]) -> Reply {
    let pairs = pairs.map(|(name, value)| (Reply::fixed(name), value));
    Reply::Map(pairs.into())
}

fn info(spec: &Spec) -> Reply {
    let subcommands = spec.subcommands().map(|row| {
        let none = Reply::Array(Vec::new());
        row_of(spec, row.full_name(), row.arity, none)
    });
    let subcommands = Reply::Array(subcommands.collect());
    row_of(spec, spec.name.to_owned(), spec.arity, subcommands)
}

fn row_of(spec: &Spec, name: String, arity: i32, subcommands: Reply) -> Reply {
    Reply::Array(vec![
        Reply::text(name),
        Reply::Int(arity.into()),
        names(spec.flags.iter().filter_map(|flag| flag.name()).collect()),
        count(spec.keys.first),
        last(spec.keys),
        count(spec.keys.step),
        names(spec.categories()),
        // Tips.
        Reply::Array(Vec::new()),
        Reply::Array(key_specifications(spec)),
        subcommands,
    ])
}

/// Where the keys are and what becomes of them, as Redis 7 says it.
fn key_specifications(spec: &Spec) -> Vec<Reply> {
    let keys = spec.keys;
    if keys.first == 0 {
        return Vec::new();
    }
    let flags = if spec.is(Flag::Write) {
        vec!["RW", "access", "update"]
    } else {
        vec!["RO", "access"]
    };
    let begin = map([("index", count(keys.first))]);
    // The last key is counted from the first one here, unless it is counted from the end.
    let last = if keys.last < 0 {
        keys.last
    } else {
        keys.last - keys.first.cast_signed()
    };
    let range = map([
        ("lastkey", Reply::Int(i64::try_from(last).unwrap_or(-1))),
        ("keystep", count(keys.step)),
        ("limit", Reply::Int(0)),
    ]);
    let search = |kind, spec| map([("type", Reply::fixed(kind)), ("spec", spec)]);
    vec![map([
        ("flags", names(flags)),
        ("begin_search", search("index", begin)),
        ("find_keys", search("range", range)),
    ])]
}

fn docs(spec: &Spec) -> (Reply, Reply) {
    let subcommands: Vec<_> = spec.subcommands().map(|row| docs_of(spec, row)).collect();
    let more = if subcommands.is_empty() {
        ("arguments", Reply::Array(arguments(spec.arguments)))
    } else {
        ("subcommands", Reply::Map(subcommands))
    };
    (Reply::fixed(spec.name), described(spec, spec.summary, more))
}

fn docs_of(spec: &Spec, row: &Subcommand) -> (Reply, Reply) {
    let more = ("arguments", Reply::Array(arguments(row.arguments)));
    let docs = described(spec, row.summary, more);
    (Reply::text(row.full_name()), docs)
}

fn described(spec: &Spec, summary: &'static str, more: (&'static str, Reply)) -> Reply {
    map([
        ("summary", Reply::fixed(summary)),
        ("since", Reply::fixed(spec.since)),
        ("group", Reply::fixed(spec.group.name())),
        ("complexity", Reply::fixed(spec.complexity)),
        more,
    ])
}

/// The page docs/commands.md.
pub fn markdown() -> String {
    let mut page = String::from(
        "# Commands\n\n\
         Made from the table in `engine/src/command/table.rs`; do not edit.\n\n\
         Replies and error texts are those of Redis 7. *Since* is the version of Redis that brought the \
         command; 0.1.0 marks those of Trilith itself.\n",
    );
    for group in Group::ALL {
        let name = group.name();
        page += &format!("\n## {}{}\n", name[..1].to_uppercase(), &name[1..]);
        for spec in TABLE.iter().filter(|spec| spec.group == group) {
            page += &entry(spec);
        }
    }
    page
}

fn entry(spec: &Spec) -> String {
    let name = spec.name.to_uppercase();
    let usage = format!("{name} {}", spec.arguments);
    let mut notes = vec![
        format!("{}.", spec.complexity),
        format!("Since {}.", spec.since),
    ];
    let categories: Vec<_> = spec
        .categories()
        .iter()
        .map(|name| format!("`{name}`"))
        .collect();
    notes.push(format!("{}.", categories.join(" ")));
    let subcommands: String = spec
        .subcommands()
        .map(|row| format!("- `{}`: {}\n", row.usage(), row.summary))
        .collect();
    let gap = if subcommands.is_empty() { "" } else { "\n" };
    format!(
        "\n### {name}\n\n```\n{}\n```\n\n{}\n{gap}{subcommands}\n{}\n",
        usage.trim_end(),
        spec.summary,
        notes.join(" ")
    )
}

#[cfg(test)]
mod tests {
    use super::super::testing::words;
    use super::*;

    #[cfg(not(target_family = "wasm"))] // There are no files.
    #[test]
    fn the_page_of_commands_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/commands.md");
        if std::env::var_os("TRILITH_WRITE_DOCS").is_some() {
            std::fs::write(path, markdown()).unwrap();
        }
        let page = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            page.replace("\r\n", "\n") == markdown(),
            "docs/commands.md differs from the table: run the tests once with TRILITH_WRITE_DOCS=1"
        );
    }

    fn ask(line: &str) -> Reply {
        answer_command(&words(line))
    }

    #[test]
    fn command_info_has_the_shape_that_clients_read() {
        let Reply::Array(rows) = ask("COMMAND INFO GET nope") else {
            panic!("not a list");
        };
        let Reply::Array(get) = &rows[0] else {
            panic!("not a row");
        };
        assert_eq!(get.len(), 10);
        assert_eq!(get[..2], [Reply::fixed("get"), Reply::Int(2)]);
        assert_eq!(get[3..6], [Reply::Int(1), Reply::Int(1), Reply::Int(1)]);
        assert_eq!(rows[1], Reply::NullArray);
        let Reply::Array(all) = ask("COMMAND") else {
            panic!("not a list");
        };
        assert_eq!(ask("COMMAND COUNT"), Reply::Int(all.len() as i64));
    }

    #[test]
    fn key_specifications_tell_where_keys_begin_and_end() {
        let of = |name: &[u8]| key_specifications(table::find(name).unwrap());
        let expected = map([
            ("flags", names(vec!["RW", "access", "update"])),
            (
                "begin_search",
                map([
                    ("type", Reply::fixed("index")),
                    ("spec", map([("index", Reply::Int(1))])),
                ]),
            ),
            (
                "find_keys",
                map([
                    ("type", Reply::fixed("range")),
                    (
                        "spec",
                        map([
                            ("lastkey", Reply::Int(-1)),
                            ("keystep", Reply::Int(2)),
                            ("limit", Reply::Int(0)),
                        ]),
                    ),
                ]),
            ),
        ]);
        assert_eq!(of(b"mset"), [expected]);
        // GET's only key is the one it begins with.
        assert!(format!("{:?}", of(b"get")).contains("Bulk(b\"lastkey\"), Int(0)"));
        assert_eq!(of(b"ping"), []);
    }

    #[test]
    fn subcommands_are_told_with_their_command() {
        let Reply::Array(rows) = ask("COMMAND INFO cluster") else {
            panic!("not a list");
        };
        let shown = format!("{rows:?}");
        assert!(shown.contains("cluster|slots"), "{shown}");
        assert!(format!("{:?}", ask("COMMAND DOCS ring")).contains("ring|drain"));
    }

    #[test]
    fn command_getkeys_finds_the_keys() {
        assert_eq!(
            ask("COMMAND GETKEYS MSET a 1 b 2"),
            Reply::Array(vec![Reply::fixed("a"), Reply::fixed("b")])
        );
        assert_eq!(
            ask("COMMAND GETKEYS EXPLAIN GET k"),
            Reply::Array(vec![Reply::fixed("k")])
        );
        assert_eq!(
            ask("COMMAND GETKEYS PING"),
            Reply::error("ERR The command has no key arguments")
        );
        assert_eq!(
            ask("COMMAND GETKEYS NOPE"),
            Reply::error("ERR Invalid command specified")
        );
    }

    #[test]
    fn subcommands_that_do_not_exist_are_named() {
        assert_eq!(
            ask("COMMAND FOO"),
            Reply::error("ERR unknown subcommand 'FOO'. Try COMMAND HELP.")
        );
    }
}

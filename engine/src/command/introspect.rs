//! The table as COMMAND answers it and as docs/commands.md prints it.

use bytes::Bytes;

use super::table::{self, Group, Spec, TABLE};
use super::{Parsed, Reply, parse};

/// The reply to COMMAND and its subcommands. `words` are all of them, the name included.
pub fn answer_command(words: &[Bytes]) -> Reply {
    let Some(subcommand) = words.get(1) else {
        return Reply::Array(TABLE.iter().map(info).collect());
    };
    let rest = &words[2..];
    match subcommand.to_ascii_lowercase().as_slice() {
        b"count" if rest.is_empty() => Reply::Int(i64::try_from(TABLE.len()).unwrap_or(i64::MAX)),
        b"count" => Reply::wrong_arity("command|count"),
        b"info" if rest.is_empty() => Reply::Array(TABLE.iter().map(info).collect()),
        b"info" => Reply::Array(
            rest.iter()
                .map(|name| table::find(name).map_or(Reply::NullArray, info))
                .collect(),
        ),
        b"docs" if rest.is_empty() => Reply::Map(TABLE.iter().map(docs).collect()),
        b"docs" => Reply::Map(
            rest.iter()
                .filter_map(|name| table::find(name))
                .map(docs)
                .collect(),
        ),
        b"list" if rest.is_empty() => {
            Reply::Array(TABLE.iter().map(|spec| Reply::fixed(spec.name)).collect())
        }
        b"list" => Reply::SYNTAX,
        b"getkeys" if rest.is_empty() => Reply::wrong_arity("command|getkeys"),
        b"getkeys" => keys_of(rest),
        b"help" => Reply::Array(
            HELP.iter()
                .map(|line| Reply::Simple((*line).into()))
                .collect(),
        ),
        _ => Reply::Error(
            format!(
                "ERR unknown subcommand '{}'. Try COMMAND HELP.",
                String::from_utf8_lossy(&subcommand[..subcommand.len().min(128)])
            )
            .into(),
        ),
    }
}

const HELP: &[&str] = &[
    "COMMAND [COUNT | DOCS [name ...] | INFO [name ...] | LIST | GETKEYS command [argument ...]]:",
    "Without a subcommand: every command with its arity, flags and keys.",
];

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

fn info(spec: &Spec) -> Reply {
    let int = |number: usize| Reply::Int(i64::try_from(number).unwrap_or(i64::MAX));
    let names = |names: Vec<&'static str>| {
        Reply::Array(
            names
                .into_iter()
                .map(|name| Reply::Simple(name.into()))
                .collect(),
        )
    };
    Reply::Array(vec![
        Reply::fixed(spec.name),
        Reply::Int(spec.arity.into()),
        names(spec.flags.iter().filter_map(|flag| flag.name()).collect()),
        int(spec.keys.first),
        Reply::Int(i64::try_from(spec.keys.last).unwrap_or(-1)),
        int(spec.keys.step),
        names(spec.categories()),
        // Tips, key specifications, subcommands.
        Reply::Array(Vec::new()),
        Reply::Array(Vec::new()),
        Reply::Array(Vec::new()),
    ])
}

fn docs(spec: &Spec) -> (Reply, Reply) {
    let pairs = [
        ("summary", spec.summary),
        ("since", spec.since),
        ("group", spec.group.name()),
        ("complexity", spec.complexity),
    ];
    let pairs = pairs.map(|(name, text)| (Reply::fixed(name), Reply::fixed(text)));
    (Reply::fixed(spec.name), Reply::Map(pairs.into()))
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
    format!(
        "\n### {name}\n\n```\n{}\n```\n\n{}\n\n{}\n",
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

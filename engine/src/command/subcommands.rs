//! The second words of the commands that have them: the same table, continued. It drives their checks of
//! arity, HELP, the COMMAND replies and docs/commands.md; a subcommand that has no row does not exist.

use bytes::Bytes;

use super::Reply;
use super::table::{Spec, accepts, find};

/// How much of a word that is not understood is quoted, in bytes.
const SHOWN: usize = 128;

/// What is known of one subcommand before it runs.
#[derive(Debug)]
pub struct Subcommand {
    /// The command it belongs to, in lower case.
    pub of: &'static str,
    /// Its own name, in lower case.
    pub name: &'static str,
    /// How many words there are, both names included; negative for at least so many.
    pub arity: i32,
    /// The words behind both names.
    pub arguments: &'static str,
    /// What it does, in one sentence.
    pub summary: &'static str,
}

const fn row(
    of: &'static str,
    name: &'static str,
    arity: i32,
    arguments: &'static str,
    summary: &'static str,
) -> Subcommand {
    Subcommand {
        of,
        name,
        arity,
        arguments,
        summary,
    }
}

/// All subcommands, by command and name.
#[rustfmt::skip]
pub static SUBCOMMANDS: &[Subcommand] = &[
    row("client", "getname", 2, "", "Answers the connection's name."),
    row("client", "help", 2, "", "Lists the subcommands."),
    row("client", "id", 2, "", "Answers the connection's number."),
    row("client", "info", 2, "", "Answers what is known of the connection."),
    row("client", "no-evict", 3, "ON | OFF", "Accepted: connections are never ended to make room."),
    row("client", "no-touch", 3, "ON | OFF", "Accepted: reads change no order of eviction that could be seen."),
    row("client", "setinfo", 4, "LIB-NAME name | LIB-VER version", "Tells the client's library."),
    row("client", "setname", 3, "name", "Names the connection."),
    row("cluster", "countkeysinslot", 3, "slot", "Answers how many keys of a slot this node masters. Walks through all keys here."),
    row("cluster", "getkeysinslot", 4, "slot count", "Answers keys of a slot that this node masters. Walks through all keys here."),
    row("cluster", "help", 2, "", "Lists the subcommands."),
    row("cluster", "info", 2, "", "Answers the cluster's state. It is always ok: a slot without a master is waited for."),
    row("cluster", "keyslot", 3, "key", "Answers the slot of a key."),
    row("cluster", "links", 2, "", "Answers the connections to other nodes."),
    row("cluster", "myid", 2, "", "Answers the id of this node, as SLOTS and NODES have it."),
    row("cluster", "nodes", 2, "", "Answers the nodes and the slots they master, a line each."),
    row("cluster", "replicas", 3, "node", "Answers an empty list: masters alone are announced. RING RANGES tells the copies."),
    row("cluster", "shards", 2, "", "Answers the nodes and the slots they master, as a list."),
    row("cluster", "slots", 2, "", "Answers who masters which slots. All slots are covered, always."),
    row("command", "count", 2, "", "Answers the number of commands."),
    row("command", "docs", -2, "[name ...]", "Answers what commands do, for people."),
    row("command", "getkeys", -3, "command [argument ...]", "Answers the keys that a whole command names."),
    row("command", "help", 2, "", "Lists the subcommands."),
    row("command", "info", -2, "[name ...]", "Answers arity, flags and keys of commands, for programs."),
    row("command", "list", -2, "", "Answers the names of the commands."),
    row("config", "get", -3, "pattern [pattern ...]", "Answers the settings whose names match."),
    row("config", "help", 2, "", "Lists the subcommands."),
    row("config", "set", -2, "", "Refused: settings are given when the server starts."),
    row("ring", "backup", -3, "OPEN range | NEXT | CLOSE", "Reads a range at one index, part by part, for `trilith backup`: each connection one range at a time."),
    row("ring", "drain", 3, "node", "Lets a node give up all that it holds, so that it can leave."),
    row("ring", "help", 2, "", "Lists the subcommands."),
    row("ring", "moving", -3, "PAUSE | RESUME | RATE bytes-per-second at-once", "Says whether and how fast copies are moved."),
    row("ring", "quorum", 5, "n w r", "Sets N, W and R of all ranges."),
    row("ring", "ranges", 2, "", "Answers the copies of ranges that are on this node, as JSON."),
    row("ring", "recover", 3, "range", "Lets the copy on this node lead a range whose others are lost for good. What they alone had is lost."),
    row("ring", "remove", 3, "node", "Takes a node off the map for good: one that was drained, or is lost. What it held is made anew."),
    row("ring", "status", 2, "", "Answers members, quorums and the progress of moving, as JSON."),
    row("ring", "transfer", -3, "range [node]", "Hands a range that this node masters over to another of its copies."),
];

/// The row of the subcommand that `words` name, the command's own name first. The error is the reply to send.
///
/// # Errors
///
/// There is no such subcommand, or it takes another number of words.
pub fn subcommand(words: &[Bytes]) -> Result<&'static Subcommand, Reply> {
    let Some(spec) = words.first().and_then(|name| find(name)) else {
        return Err(Reply::SYNTAX);
    };
    let Some(name) = words.get(1) else {
        return Err(Reply::wrong_arity(spec.name));
    };
    let row = spec
        .subcommands()
        .find(|row| name.eq_ignore_ascii_case(row.name.as_bytes()));
    let Some(row) = row else {
        let shown = String::from_utf8_lossy(&name[..name.len().min(SHOWN)]);
        let command = spec.name.to_uppercase();
        return Err(Reply::Error(
            format!("ERR unknown subcommand '{shown}'. Try {command} HELP.").into(),
        ));
    };
    if !accepts(row.arity, words.len()) {
        return Err(Reply::wrong_arity(&row.full_name()));
    }
    Ok(row)
}

impl Subcommand {
    /// Both names as Redis joins them: `cluster|slots`.
    pub fn full_name(&self) -> String {
        format!("{}|{}", self.of, self.name)
    }

    /// Both names and what stands behind them, as it is typed.
    pub fn usage(&self) -> String {
        let names = format!("{} {}", self.of, self.name).to_uppercase();
        format!("{names} {}", self.arguments).trim_end().to_owned()
    }

    /// The reply to the HELP of its command.
    pub fn help(&self) -> Reply {
        let title = format!("{} subcommands:", self.of.to_uppercase());
        let rows = SUBCOMMANDS
            .iter()
            .filter(|row| row.of == self.of)
            .flat_map(|row| [row.usage(), format!("    {}", row.summary)]);
        let lines = std::iter::once(title).chain(rows);
        Reply::Array(lines.map(|line| Reply::Simple(line.into())).collect())
    }
}

impl Spec {
    /// Its subcommands, if it has any.
    pub fn subcommands(&self) -> impl Iterator<Item = &'static Subcommand> {
        let of = self.name;
        SUBCOMMANDS.iter().filter(move |row| row.of == of)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::words;
    use super::*;

    fn ask(line: &str) -> Result<&'static str, Reply> {
        subcommand(&words(line)).map(|row| row.name)
    }

    #[test]
    fn rows_are_in_order_and_belong_to_commands() {
        let names: Vec<_> = SUBCOMMANDS.iter().map(|row| (row.of, row.name)).collect();
        assert!(names.is_sorted_by(|a, b| a < b));
        assert!(
            SUBCOMMANDS
                .iter()
                .all(|row| find(row.of.as_bytes()).is_some())
        );
    }

    #[test]
    fn subcommands_are_found_in_any_case_and_their_words_counted() {
        assert_eq!(ask("CLUSTER Slots"), Ok("slots"));
        assert_eq!(
            ask("CLUSTER KEYSLOT"),
            Err(Reply::wrong_arity("cluster|keyslot"))
        );
        assert_eq!(ask("CLUSTER"), Err(Reply::wrong_arity("cluster")));
        assert_eq!(
            ask("RING nope"),
            Err(Reply::error(
                "ERR unknown subcommand 'nope'. Try RING HELP."
            ))
        );
    }

    #[test]
    fn help_lists_every_subcommand() {
        let Reply::Array(lines) = subcommand(&words("RING HELP")).unwrap().help() else {
            panic!("not a list");
        };
        assert!(lines.contains(&Reply::Simple("RING QUORUM n w r".into())));
        assert_eq!(lines.len() % 2, 1);
    }
}

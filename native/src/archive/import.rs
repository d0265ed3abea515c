//! `trilith import`.

use super::args::ImportArgs;
use super::live::Live;
use super::restore::{Wanted, into_directory, load};
use super::show;
use super::source::Source;
use crate::block_on;
use crate::operate::{Problem, in_words, put_out};

/// Does what the command line asks for, and prints what came of it.
///
/// # Errors
/// What was being done, to what, and what to do next.
pub fn import(args: &ImportArgs) -> Result<(), Problem> {
    let source = Source::find(&args.source)?;
    let wanted = Wanted {
        to: None,
        skip_unsupported: args.loading.skip_unsupported,
    };
    let (report, keys, where_to) = match (&args.into, args.port) {
        (Some(into), _) => {
            let made = block_on(into_directory(&source, wanted, into, args.loading.memory))?;
            (made.0, made.1, format!("into {}", into.display()))
        }
        (None, port) => {
            let address = format!("{}:{}", args.host, port.unwrap_or(6379));
            let unreached = |error| unreached(&address, &error);
            let mut live = Live::connect(&address, args.allow_flush).map_err(unreached)?;
            let report = block_on(load(&source, wanted, &mut live))?;
            let keys = match source {
                // A node of a cluster knows of its own keys only.
                Source::Backup(_) => report.items().saturating_sub(report.expired),
                _ => live.keys().map_err(unreached)?,
            };
            (report, keys, format!("into the server at {address}"))
        }
    };
    put_out(match args.loading.json {
        true => show::report_json(&source, &report, keys).to_string(),
        false => show::report(&source, &report, keys, &where_to),
    })
}

fn unreached(address: &str, error: &std::io::Error) -> Problem {
    Problem::failed(
        format!(
            "The server at {address} cannot be reached: {}.",
            in_words(error)
        ),
        "See that it runs, and that --host and --port are those for its clients",
    )
}

//! `trilith cluster`: starts a cluster on this machine, and looks after one anywhere.
//!
//! It speaks to nodes as any client does, with `RING` commands, and keeps nothing of its own: what it knows it has
//! just asked. It must never do by itself what loses data; `remove` and `recover` want `--yes`.

mod args;
mod children;
mod client;
mod id;
mod members;
mod problem;
mod ranges;
mod repair;
mod settings;
mod show;
mod start;
mod status;
mod survey;
pub(crate) mod table;
#[cfg(test)]
mod testing;
mod wait;

use std::io::{IsTerminal, Write};
use std::time::Duration;

pub(crate) use args::At;
pub use args::ClusterArgs;
pub(crate) use client::{Client, Patience, in_words};
pub use problem::Problem;
pub(crate) use status::Status;
pub(crate) use survey::Cluster;

use args::{ClusterAction, RangesArgs, StatusArgs};
use ranges::Ranges;
use table::Paint;

/// How often `status --watch` looks.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// What a command came to, for people and for programs.
struct Answer {
    text: String,
    json: serde_json::Value,
}

/// Does what the command line asks for, and prints what came of it.
///
/// # Errors
///
/// What was being done, to what, and what to do next.
pub fn run(args: &ClusterArgs) -> Result<(), Problem> {
    match &args.action {
        ClusterAction::Start(args) => start::run(args),
        ClusterAction::Status(args) if args.watch => watch(args),
        ClusterAction::Status(args) => print(&args.at, status(&args.at)?),
        ClusterAction::Nodes(at) => print(at, nodes(at)?),
        ClusterAction::Ranges(args) => print(&args.at, ranges(args)?),
        ClusterAction::Drain(args) => print(&args.at, members::drain(args)?),
        ClusterAction::Remove(args) => print(&args.at, members::remove(args)?),
        ClusterAction::Rebalance(args) => print(&args.at, settings::rebalance(args)?),
        ClusterAction::Pause(at) => print(at, settings::pause(at)?),
        ClusterAction::Resume(at) => print(at, settings::resume(at)?),
        ClusterAction::Set(args) => print(&args.at, settings::set(args)?),
        ClusterAction::Rate(args) => print(&args.at, settings::rate(args)?),
        ClusterAction::Transfer(args) => print(&args.at, repair::transfer(args)?),
        ClusterAction::Recover(args) => print(&args.at, repair::recover(args)?),
    }
}

fn print(at: &At, answer: Answer) -> Result<(), Problem> {
    let text = if at.json {
        answer.json.to_string()
    } else {
        answer.text
    };
    put_out(text)
}

/// Prints an answer, and a line's end behind it.
pub(crate) fn put_out(mut text: String) -> Result<(), Problem> {
    if !text.ends_with('\n') {
        text.push('\n');
    }
    let mut out = std::io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Problem::failed(
            format!("The answer cannot be printed: {error}."),
            "Look at where the output goes",
        )),
        Ok(()) => Ok(()),
    }
}

fn status(at: &At) -> Result<Answer, Problem> {
    let survey = Cluster::at(at).survey()?;
    Ok(Answer {
        text: show::status(&survey, Paint::for_stdout()),
        json: show::status_json(&survey),
    })
}

/// The status again and again, in place, until everything is where it belongs, everybody is there, and nobody is
/// behind: until the next node may be stopped.
fn watch(args: &StatusArgs) -> Result<(), Problem> {
    let cluster = Cluster::at(&args.at);
    let in_place = std::io::stdout().is_terminal() && !args.at.json;
    let mut shown = String::new();
    loop {
        let survey = cluster.survey()?;
        let text = show::status(&survey, Paint::for_stdout());
        if in_place {
            // The screen's upper left corner, and everything from there on away.
            print!("\x1b[H\x1b[J");
        }
        if in_place || args.at.json || text != shown {
            let json = show::status_json(&survey);
            let text = text.clone();
            print(&args.at, Answer { text, json })?;
        }
        shown = text;
        if survey.is_complete() && Ranges::ask(&cluster, &survey.status).are_caught_up() {
            return Ok(());
        }
        std::thread::sleep(WATCH_EVERY);
    }
}

fn nodes(at: &At) -> Result<Answer, Problem> {
    let survey = Cluster::at(at).survey()?;
    let json = show::status_json(&survey);
    Ok(Answer {
        text: show::nodes(&survey, Paint::for_stdout()),
        json: json["members"].clone(),
    })
}

fn ranges(args: &RangesArgs) -> Result<Answer, Problem> {
    let cluster = Cluster::at(&args.at);
    let status = cluster.status()?;
    let mut ranges = Ranges::ask(&cluster, &status);
    if let Some(word) = &args.node {
        let node = id::resolve(word, &status.members, &args.at.at)?;
        ranges.keep(|range| range.is_of(node));
    }
    if args.troubled {
        ranges.keep(|range| range.trouble().is_some());
    }
    if args.hot {
        ranges.hottest_first();
    }
    let paint = Paint::for_stdout();
    let Some(name) = args.range else {
        return Ok(Answer {
            text: ranges.table(paint),
            json: ranges.json(),
        });
    };
    ranges.keep(|range| range.name == name);
    let range = ranges.of_name(name).ok_or_else(|| {
        Problem::failed(
            format!("No node that answers has a copy of range {name}."),
            format!(
                "See which nodes answer: trilith cluster nodes --at {}",
                args.at.at
            ),
        )
    })?;
    Ok(Answer {
        text: range.detail(paint, &ranges),
        json: ranges.json(),
    })
}

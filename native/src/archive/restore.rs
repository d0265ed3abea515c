//! `trilith restore`.

use std::path::Path;

use trilith::Runtime;
use trilith::restore::{Depth, Log, Options, Report, Sink, load_aof, load_rdb};
use trilith::{Error, ErrorKind, Storage};

use super::args::RestoreArgs;
use super::backup;
use super::node::{self, Draft};
use super::progress::Bar;
use super::source::Source;
use super::{show, time};
use crate::operate::{Problem, put_out};
use crate::{NativeRuntime, block_on};

/// Does what the command line asks for, and prints what came of it.
///
/// # Errors
/// What was being done, to what, and what to do next.
pub fn restore(args: &RestoreArgs) -> Result<(), Problem> {
    let source = Source::find(&args.from)?;
    let wanted = Wanted {
        to: args.to,
        skip_unsupported: args.loading.skip_unsupported,
    };
    let (report, keys) = block_on(into_directory(
        &source,
        wanted,
        &args.into,
        args.loading.memory,
    ))?;
    put_out(match args.loading.json {
        true => show::report_json(&source, &report, keys).to_string(),
        false => show::report(
            &source,
            &report,
            keys,
            &format!("into {}", args.into.display()),
        ),
    })
}

/// What is to be loaded.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    /// The second whose end is wanted.
    pub to: Option<u64>,
    /// Whether what is not held here is passed over.
    pub skip_unsupported: bool,
}

/// Makes a node's directory of a source; tells how many keys it holds.
pub async fn into_directory(
    source: &Source,
    wanted: Wanted,
    into: &Path,
    memory: u64,
) -> Result<(Report, u64), Problem> {
    let draft = Draft::of(into)?;
    let mut node = node::open(draft.path(), memory).await?;
    let loaded = load(source, wanted, &mut node).await;
    let keys = node.store().dbsize();
    let closed = node.close().await;
    let report = loaded?;
    closed.map_err(|error| failed(source, &error))?;
    drop(node);
    draft.finish()?;
    Ok((report, keys))
}

/// Loads a source into a sink.
pub async fn load<K: Sink>(
    source: &Source,
    wanted: Wanted,
    sink: &mut K,
) -> Result<Report, Problem> {
    if let Source::Backup(folder) = source {
        return backup::load(folder, wanted, sink).await;
    }
    let (folder, object) = source.open()?;
    let fail = |error: Error| failed(source, &error);
    let options = Options {
        skip_unsupported: wanted.skip_unsupported,
        to: wanted.to,
        now_ms: NativeRuntime::new().wall_ms(),
    };
    if let (Some(to), Source::Rdb(path) | Source::Aof(path)) = (wanted.to, source) {
        return Err(Problem::failed(
            format!(
                "{} is one file, which does not cover {}.",
                path.display(),
                time::show(to)
            ),
            "Name a folder with a .manifest of append-only files, or leave out --to",
        ));
    }
    let reader = folder.open(object.clone()).await.map_err(fail)?;
    if let Source::Log(_) = source {
        let log = Log::open(folder, object).await.map_err(fail)?;
        let depth = wanted.to.map_or(Depth::Newest, |_| Depth::Times);
        let survey = {
            let bar = Bar::new("Looking");
            log.survey(depth, wanted.to, |progress| bar.show(progress))
                .await
                .map_err(fail)?
        };
        if let Some(to) = wanted.to
            && survey.chain(Some(to)).is_none()
        {
            return Err(not_covered(source, to, &show::covered(&survey.covered())));
        }
        let bar = Bar::new("Loading");
        let loaded = log
            .load(&survey, options, sink, |progress| bar.show(progress))
            .await;
        return loaded.map_err(fail);
    }
    let bar = Bar::new("Loading");
    let tell = |progress| bar.show(progress);
    let loaded = match source {
        Source::Rdb(_) => load_rdb(reader, object, options, sink, tell).await,
        _ => load_aof(reader, object, options, sink, tell).await,
    };
    loaded.map_err(fail)
}

fn not_covered(source: &Source, to: u64, covered: &str) -> Problem {
    let path = source.path().display();
    if covered.is_empty() {
        return Problem::failed(
            format!("{path} does not say at which time what was written."),
            "Leave out --to for the newest state",
        );
    }
    Problem::failed(
        format!(
            "{path} does not cover {}: it covers {covered}.",
            time::show(to)
        ),
        "Choose a --to within that, or leave it out for the newest state",
    )
}

/// What to do about an error of the engine.
pub fn failed(source: &Source, error: &Error) -> Problem {
    let path = source.path().display();
    let remedy = match error.kind() {
        // Only what is read has a place.
        ErrorKind::Invalid if error.offset().is_some() => {
            "Pass over what Trilith does not hold, and have it counted, with --skip-unsupported"
                .to_owned()
        }
        ErrorKind::Corrupt | ErrorKind::Missing => {
            format!("See what is sound: trilith check-archive {path}")
        }
        ErrorKind::Newer => "Use a newer Trilith, or write the file in an older version".to_owned(),
        ErrorKind::Full => "Free some space and try again".to_owned(),
        _ => "See what is said above, and try again".to_owned(),
    };
    Problem::failed(format!("{path}: {error}."), remedy)
}

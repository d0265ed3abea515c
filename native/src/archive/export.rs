//! `trilith export`.

use std::fs;
use std::path::Path;

use trilith::archive::aof::{File, Kind, Manifest, names};
use trilith::archive::rdb::EncodeOptions;
use trilith::restore::{Exported, export_rdb};
use trilith::{Durability, Error, Object, Result, Runtime, Storage, Writer};

use super::args::ExportArgs;
use super::folder::Folder;
use super::node::{self, Draft, Node};
use super::progress::Bar;
use crate::operate::{Problem, put_out};
use crate::server::human;
use crate::{NativeRuntime, block_on};

/// Does what the command line asks for, and prints what came of it.
///
/// # Errors
/// What was being done, to what, and what to do next.
pub fn export(args: &ExportArgs) -> Result<(), Problem> {
    if !args.from.join("META").is_file() {
        return Err(Problem::failed(
            format!("{} is no node's directory.", args.from.display()),
            "Name the directory that was given to trilith serve --data",
        ));
    }
    let to_file = args
        .to
        .extension()
        .is_some_and(|extension| extension == "rdb");
    if to_file && args.to.exists() {
        return Err(Problem::failed(
            format!("{} is there already.", args.to.display()),
            "Name a file that is not there yet; nothing was changed",
        ));
    }
    let exported = block_on(run(args, to_file))?;
    let (bytes, keys) = (exported.written.bytes, exported.written.keys);
    put_out(match args.json {
        true => serde_json::json!({
            "to": args.to.display().to_string(),
            "keys": keys,
            "bytes": bytes,
            "expired": exported.expired,
        })
        .to_string(),
        false => format!(
            "Exported {keys} keys to {}: {}.",
            args.to.display(),
            human(bytes)
        ),
    })
}

async fn run(args: &ExportArgs, to_file: bool) -> Result<Exported, Problem> {
    let draft = match to_file {
        true => None,
        false => Some(Draft::of(&args.to)?),
    };
    let node = node::open(&args.from, args.memory).await?;
    let exported = match &draft {
        None => to_rdb(&node, args, &args.to).await,
        Some(draft) => to_log(&node, args, draft.path()).await,
    };
    let closed = node.close().await;
    let fail = |error: Error| {
        Problem::failed(
            format!("{} cannot be exported: {error}.", args.from.display()),
            "Look at the room that is left, and at who may write there",
        )
    };
    let exported = exported.map_err(fail)?;
    closed.map_err(fail)?;
    if let Some(draft) = draft {
        draft.finish()?;
    }
    Ok(exported)
}

async fn to_rdb(node: &Node, args: &ExportArgs, to: &Path) -> Result<Exported> {
    let folder = match to.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let name = to.file_name().unwrap_or_default().to_string_lossy();
    let options = EncodeOptions {
        version: args.rdb_version,
        ..EncodeOptions::default()
    };
    let now_ms = NativeRuntime::new().wall_ms();
    let bar = Bar::unbounded("Exporting");
    let tell = |progress| bar.show(progress);
    export_rdb(
        node.store(),
        Folder::new(folder),
        &name,
        options,
        now_ms,
        tell,
    )
    .await
}

/// A base, an incremental file that holds nothing yet, and the manifest, which is written last.
async fn to_log(node: &Node, args: &ExportArgs, to: &Path) -> Result<Exported> {
    let folder = to.join(names::FOLDER);
    fs::create_dir_all(&folder).map_err(|error| {
        Error::new(
            trilith::ErrorKind::Failed,
            "making the folder",
            error.to_string(),
        )
    })?;
    let (base, increment) = (names::base(1), names::increment(1));
    let seconds = NativeRuntime::new().wall_ms() / 1000;
    let exported = to_rdb(node, args, &folder.join(&base)).await?;
    let storage = Folder::new(&folder);
    write(&storage, &increment, b"").await?;
    let manifest = Manifest {
        base: Some(File {
            time: Some(seconds),
            incr: Some(1),
            ..File::new(base, 1, Kind::Base)
        }),
        history: Vec::new(),
        increments: vec![File::new(increment, 1, Kind::Increment)],
    };
    write(
        &storage,
        &names::manifest_name(names::STEM),
        &manifest.encode(),
    )
    .await?;
    Ok(exported)
}

async fn write(storage: &Folder, name: &str, bytes: &[u8]) -> Result<()> {
    let mut writer = storage.create(Object::Archive(name.into())).await?;
    let end = writer.append(bytes)?;
    writer.settle(end, Durability::Synced).await
}

//! Opening a node's store, and recovering it from its archive where it is lost or damaged, if that is wanted.

mod alone;
mod report;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use trilith::archive::aof::names;
use trilith::archive::{ArchiveOptions, DUMP};
use trilith::restore::{self, Progress, Recovery, Report};
use trilith::ring::driver::{DriverOptions, Opened};
use trilith::{Error, ErrorKind, Object, Options, Reader as _, Runtime, Storage as _};

use super::config::{Config, RecoverWhen};
use super::failure::Failure;
use crate::archive::alone::{self as node, to_be_loaded};
use crate::archive::folder::Folder;
use crate::archive::time;
use crate::files::{Exchange, go_on};
use crate::{FileStorage, NativeRuntime};

/// Where a store's archive lies in its directory.
const ARCHIVE: &str = "archive";
/// What the folders are called, before the time, that hold what was laid aside.
const ASIDE: &str = "condemned";
/// How often it is said how far it is.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// A store that is open.
pub(super) struct Ready {
    pub store: Opened<FileStorage, NativeRuntime>,
    /// What is to be said if it was recovered.
    pub recovered: Option<String>,
}

/// Opens the store that `config` names. `founding` is what a node begins with whose store is recovered: it founds a cluster
/// of its own.
///
/// # Errors
/// Why it cannot be opened; if there is an archive, what it has and how the store is recovered from it.
pub(super) async fn open(config: &Config, founding: &DriverOptions) -> Result<Ready, Failure> {
    let of_open = |error: Error| Failure::of_open(&error, &config.data);
    if go_on(&config.data).map_err(of_open)? {
        tracing::warn!("a recovery that was cut short is complete: the store is the recovered one");
    }
    match try_to_open(config, &founding.store).await {
        Ok(store) => Ok(Ready {
            store,
            recovered: None,
        }),
        Err(error) => instead(config, founding, error).await,
    }
}

/// Opens what is recovered instead of a store that is lost or damaged, as `error` says.
///
/// # Errors
/// As [`open`].
pub(super) async fn instead(
    config: &Config,
    founding: &DriverOptions,
    error: Error,
) -> Result<Ready, Failure> {
    let of_open = |error: Error| Failure::of_open(&error, &config.data);
    let archive = config.data.join(ARCHIVE);
    if !is_lost(&error) || !has_archive(&archive).await {
        return Err(of_open(error));
    }
    let lost = Lost {
        config,
        error,
        archive,
    };
    alone::check(config, &lost.what())?;
    if config.recover_from_archive.is_none() {
        return Err(lost.could_be_recovered().await);
    }
    let report = lost.recover(founding).await?;
    for line in report.lines() {
        tracing::warn!("{}", line.trim());
    }
    let store = try_to_open(config, &founding.store)
        .await
        .map_err(of_open)?;
    Ok(Ready {
        store,
        recovered: Some(report),
    })
}

/// Whether a store that has failed since it was opened is to be recovered. Says so where it could be.
pub(super) async fn is_due(config: &Config, error: &Error) -> bool {
    let could_be = is_lost(error)
        && has_archive(&config.data.join(ARCHIVE)).await
        && alone::check(config, "").is_ok();
    if could_be && config.recover_from_archive.is_none() {
        tracing::error!(
            "the store is damaged, and has an archive: start with --recover-from-archive to recover it"
        );
    }
    could_be && config.recover_from_archive.is_some()
}

fn is_lost(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Missing)
}

/// Opens the store, and reads all of it before if that is wanted.
async fn try_to_open(
    config: &Config,
    options: &Options,
) -> trilith::Result<Opened<FileStorage, NativeRuntime>> {
    let open = |options: Options| {
        Opened::open(
            FileStorage::new(&config.data),
            NativeRuntime::new(),
            options,
        )
    };
    if config.recover_from_archive == Some(RecoverWhen::Verify) {
        tracing::info!("reading everything that the store has written");
        // The archive is left as it is until it is known whether it is needed.
        let archive = ArchiveOptions::default();
        let store = open(Options {
            archive,
            warm_restart_every: None,
            ..options.clone()
        });
        let store = store.await?;
        let verified = store.verify().await;
        let closed = store.close().await;
        if let Some(problem) = verified?.problems.into_iter().next() {
            return Err(problem);
        }
        closed?;
    }
    open(options.clone()).await
}

/// Whether there is anything that a store could be recovered from.
async fn has_archive(archive: &Path) -> bool {
    let folder = Folder::new(archive);
    for object in [names::manifest(), Object::Archive(DUMP.into())] {
        if folder.open(object).await.is_ok_and(|file| !file.is_empty()) {
            return true;
        }
    }
    false
}

/// A store that does not open, and has an archive.
struct Lost<'a> {
    config: &'a Config,
    error: Error,
    archive: PathBuf,
}

impl Lost<'_> {
    fn what(&self) -> String {
        let data = self.config.data.display();
        if self.config.data.join("META").exists() {
            return format!("The store in {data} is damaged ({}).", self.error);
        }
        format!("The files of the store in {data} are gone, and its archive is there.")
    }

    /// What is said to who has not asked for a recovery.
    async fn could_be_recovered(&self) -> Failure {
        let data = self.config.data.display();
        match self.look().await {
            Ok(recovery) => {
                let until = match recovery.until() {
                    Some(second) => format!("has everything up to {}", time::show(second)),
                    None => "does not say up to when it has everything".to_owned(),
                };
                Failure::new(
                    format!("{} Its archive {until}.", self.what()),
                    format!(
                        "Recover it from that: trilith serve --data {data} --recover-from-archive. Nothing is \
                         deleted; what is there now is laid aside"
                    ),
                )
            }
            Err(failure) => failure,
        }
    }

    async fn look(&self) -> Result<Recovery<Folder>, Failure> {
        tracing::info!("reading the archive");
        let looked = Recovery::look(Folder::new(&self.archive), teller("read")).await;
        match looked {
            Ok(Some(recovery)) => Ok(recovery),
            Ok(None) => Err(Failure::of_open(&self.error, &self.config.data)),
            Err(error) => Err(self.hopeless(&error)),
        }
    }

    fn hopeless(&self, error: &Error) -> Failure {
        let data = self.config.data.display();
        let remedy = match error.kind() {
            ErrorKind::Full => {
                "Free some space, as the new store needs room beside what is there, and start again; nothing was changed"
                    .to_owned()
            }
            ErrorKind::Invalid => format!(
                "Have it made with what Trilith holds: trilith restore --from {data} --skip-unsupported --into NEW"
            ),
            _ => format!(
                "See what of the archive is sound with trilith check-archive {data}, or use a backup; nothing was changed"
            ),
        };
        Failure::new(
            format!("{} Nor can it be recovered: {error}.", self.what()),
            remedy,
        )
    }

    /// Makes a store of the archive, and puts it into the place of what is there. What is to be said of it.
    async fn recover(&self, founding: &DriverOptions) -> Result<String, Failure> {
        let of_begin = |error: Error| match error.kind() {
            ErrorKind::Locked => Failure::of_open(&error, &self.config.data),
            _ => self.hopeless(&error),
        };
        let of_finish = |error: Error| {
            Failure::new(
                format!("The recovered store is complete and cannot be put in its place: {error}."),
                "Look at who may write in the directory, and start again: that goes on with it",
            )
        };
        tracing::warn!(error = %self.error, "the store is recovered from its archive");
        let exchange = Exchange::begin(&self.config.data).map_err(of_begin)?;
        let recovery = self.look().await?;
        let loaded = load(&recovery, &exchange.draft(), founding).await;
        let (loaded, keys) = loaded.map_err(|error| self.hopeless(&error))?;
        let aside = aside_in(&self.config.data);
        let report = report::text(&report::Recovered {
            data: &self.config.data,
            aside: &aside,
            why: &self.error,
            recovery: &recovery,
            loaded: &loaded,
            keys,
        });
        exchange.finish(&aside, &report).map_err(of_finish)?;
        Ok(report)
    }
}

/// Loads an archive into a new store; tells how many keys that holds then.
async fn load(
    recovery: &Recovery<Folder>,
    draft: &Path,
    founding: &DriverOptions,
) -> trilith::Result<(Report, u64)> {
    let founding = DriverOptions {
        store: to_be_loaded(founding.store.clone()),
        ..founding.clone()
    };
    let mut node = node::open(draft, founding).await?;
    let options = restore::Options {
        now_ms: NativeRuntime::new().wall_ms(),
        ..restore::Options::default()
    };
    let loaded = recovery.load(options, &mut node, teller("loaded")).await;
    let keys = node.store().dbsize();
    let closed = node.close().await;
    let loaded = loaded?;
    closed?;
    Ok((loaded, keys))
}

/// A name for what is laid aside that nothing has yet.
fn aside_in(data: &Path) -> String {
    let moment = time::show(NativeRuntime::new().wall_ms() / 1000);
    let moment: String = moment.chars().filter(char::is_ascii_alphanumeric).collect();
    let mut name = format!("{ASIDE}-{moment}");
    let mut count = 1;
    while data.join(&name).exists() {
        count += 1;
        name = format!("{ASIDE}-{moment}-{count}");
    }
    name
}

/// Says now and then how far it is.
fn teller(done: &'static str) -> impl FnMut(Progress) + Send {
    let mut told = Instant::now();
    move |progress| {
        if told.elapsed() < TELL_EVERY {
            return;
        }
        told = Instant::now();
        let percent = progress.bytes.saturating_mul(100) / progress.of_bytes.max(1);
        tracing::info!(
            items = progress.items,
            "{percent} % of the archive is {done}"
        );
    }
}

//! The last map that a node knew, in a file beside its store.
//!
//! The ring's own copy is an entry of a log, which is read once there is a master; for a master, nodes have to
//! reach each other. The file breaks the circle when all have ended at once. It only tells where to look: a map that
//! is old, or missing, costs time and nothing else.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use trilith::ring::driver::View;
use trilith::ring::meta::Map;

/// Its name, which no object of a store has.
const NAME: &str = "cluster.json";

/// How often it is compared with what is known.
const EVERY: Duration = Duration::from_millis(200);

/// The file of the store in `data`.
fn path_of(data: &Path) -> PathBuf {
    data.join(NAME)
}

/// What is in the file; `None` if there is none that can be read.
pub fn read(data: &Path) -> Option<Map> {
    let path = path_of(data);
    let text = fs::read(&path).ok()?;
    let map = serde_json::from_slice(&text);
    map.inspect_err(|error| {
        tracing::warn!(path = %path.display(), %error, "the last map of the cluster cannot be read");
    })
    .ok()
}

/// Keeps the file up to date, for ever. `view` tells what is known.
pub async fn keep(data: PathBuf, view: impl Fn() -> Arc<View>) {
    let mut written = read(&data).map_or(0, |map| map.version);
    loop {
        if let Some(map) = &view().map
            && map.version != written
        {
            match write(&data, map) {
                Ok(()) => written = map.version,
                Err(error) => tracing::warn!(%error, "the map of the cluster cannot be written"),
            }
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// Replaces the file as a whole.
fn write(data: &Path, map: &Map) -> io::Result<()> {
    let path = path_of(data);
    let new = path.with_extension("new");
    fs::write(&new, serde_json::to_vec_pretty(map)?)?;
    fs::rename(new, path)
}

#[cfg(test)]
mod tests {
    use trilith::ring::{NodeId, Quorum};

    use super::*;

    #[test]
    fn what_is_written_is_read_and_what_is_broken_is_not() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(read(directory.path()), None);
        let quorum = Quorum::new(3, 2, 2).unwrap();
        let map = Map::alone(NodeId(7), "127.0.0.1:1".into(), "a".into(), quorum);
        write(directory.path(), &map).unwrap();
        assert_eq!(read(directory.path()), Some(map));
        fs::write(path_of(directory.path()), b"{").unwrap();
        assert_eq!(read(directory.path()), None);
    }
}

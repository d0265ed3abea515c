//! What our encoder writes, in Redis's programs.

use std::io;

use trilith::random::Random;
use trilith_tests::redis::{RedisServer, version};

use crate::files::{encoded, folder_of};
use crate::keys::{all_of, assert_same, random_pairs};
use crate::tools::{check_aof, stop};

const KEYS: usize = 100_000;

#[test]
fn a_hundred_thousand_keys_are_checked_and_loaded_by_redis() -> io::Result<()> {
    if version().is_none() {
        return Ok(());
    }
    let root = tempfile::tempdir()?;
    let mut random = Random::new(11);
    let pairs = random_pairs(&mut random, KEYS);
    let manifest = folder_of(root.path(), &encoded(&mut random, &pairs))?;
    let checked = check_aof(&[], &manifest)?;
    let said = String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success(), "{said}");
    assert!(
        said.contains("All AOF files and manifest are valid"),
        "{said}"
    );
    let redis = RedisServer::start(root.path(), &["--appendonly", "yes"])?;
    assert_same(&all_of(&mut redis.connect()?)?, &pairs);
    stop(&redis)
}

#[test]
fn redis_check_aof_accepts_files_of_any_commands() -> io::Result<()> {
    if version().is_none() {
        return Ok(());
    }
    for seed in 0..40 {
        let root = tempfile::tempdir()?;
        let mut random = Random::new(seed);
        let pairs = random_pairs(&mut random, 1 + seed as usize * 7);
        let manifest = folder_of(root.path(), &encoded(&mut random, &pairs))?;
        let checked = check_aof(&[], &manifest)?;
        let said = String::from_utf8_lossy(&checked.stdout);
        assert!(checked.status.success(), "seed {seed}: {said}");
    }
    Ok(())
}

#[test]
fn where_redis_finds_a_torn_tail_so_do_we() -> io::Result<()> {
    if version().is_none() {
        return Ok(());
    }
    let mut random = Random::new(3);
    let pairs = random_pairs(&mut random, 12);
    let bytes = encoded(&mut random, &pairs);
    let from = bytes.len().saturating_sub(700);
    for cut in (from..bytes.len()).step_by(13) {
        let root = tempfile::tempdir()?;
        let manifest = folder_of(root.path(), &bytes[..cut])?;
        let folder = manifest.parent().unwrap_or(root.path());
        let (_, report) = crate::map::load(folder, None)?;
        let ours = report.torn().map_or(cut as u64, |(_, torn)| torn.offset);
        // Cut where Redis would have cut it, it is whole to both.
        folder_of(root.path(), &bytes[..ours as usize])?;
        assert!(check_aof(&[], &manifest)?.status.success(), "cut at {cut}");
        assert_eq!(crate::map::load(folder, None)?.1.torn(), None);
    }
    Ok(())
}

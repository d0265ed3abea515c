//! Second backups: what has not changed is linked.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use serde_json::Value;
use trilith::random::Random;
use trilith::slot::{arc_of, slot_of};
use trilith_tests::Reply;
use trilith_tests::cluster::await_some;

use super::{LIMIT, RANGES, back_up, cluster_of, manifest, set_all};
use crate::files::{served, succeeds, text};
use crate::keys::{assert_same, random_pairs};

/// How many files of a backup are those of another one.
fn linked(one: &Path, other: &Path) -> io::Result<usize> {
    let mut same = 0;
    for file in manifest(one)?["ranges"].as_array().expect("it has files") {
        let name = file["file"].as_str().expect("a name");
        let [one, other] = [one, other].map(|backup| backup.join("ranges").join(name));
        same += usize::from(other.exists() && is_same(&one, &other)?);
    }
    Ok(same)
}

#[cfg(unix)]
fn is_same(one: &Path, other: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    Ok(fs::metadata(one)?.ino() == fs::metadata(other)?.ino())
}

#[cfg(not(unix))]
fn is_same(one: &Path, other: &Path) -> io::Result<bool> {
    Ok(fs::read(one)? == fs::read(other)?)
}

fn counts(said: &Value) -> [usize; 2] {
    let count = |origin: &str| said[origin]["ranges"].as_u64().unwrap_or(0) as usize;
    [count("transferred"), count("linked")]
}

#[test]
fn a_second_backup_has_only_what_has_changed_from_nodes() -> io::Result<()> {
    let root = tempfile::tempdir()?;
    let source = cluster_of(3, root.path(), "source")?;
    let mut client = source.connect(0)?;
    let mut pairs = random_pairs(&mut Random::new(71), 5_000);
    set_all(&mut client, &pairs)?;
    let backups = root.path().join("backups");
    let [first, second, third, full] =
        ["first", "second", "third", "full"].map(|name| backups.join(name));
    let said = back_up(&source, &first, &[])?;
    assert_eq!(counts(&said), [RANGES, 0]);
    assert!(said["from_last"].is_null());

    // Some keys change; in other ranges indices move without a change.
    let mut changed = BTreeSet::new();
    for n in 0..20 {
        let key = format!("changed:{n}");
        changed.insert(u32::from(arc_of(slot_of(key.as_bytes()))));
        client.call(&["SET", &key, "v"])?;
        pairs.insert(key.into_bytes(), (b"v".to_vec(), 0));
    }
    let unchanged = (0..RANGES as u32).find(|range| !changed.contains(range));
    let unchanged = unchanged.expect("most ranges");
    let index_of = |backup: &Path| -> io::Result<Option<u64>> {
        let files = manifest(backup)?;
        let files = files["ranges"].as_array().cloned().unwrap_or_default();
        let file = files.into_iter().find(|file| file["range"] == unchanged);
        Ok(file.and_then(|file| file["index"].as_u64()))
    };
    let moved = source.trilith(0, &["transfer", &unchanged.to_string()])?;
    assert!(moved.status.success(), "{moved:?}");
    // Another master begins its term with an entry of its own.
    let before = index_of(&first)?.unwrap_or(0);
    await_some("another term", LIMIT, || {
        let rows = source.running().into_iter().flat_map(|node| {
            let rows = source.ranges(node).ok();
            rows.and_then(|rows| rows.as_array().cloned())
                .unwrap_or_default()
        });
        let mut rows = rows.filter(|row| row["range"] == unchanged);
        rows.any(|row| row["applied"].as_u64() > Some(before))
            .then_some(())
    })?;

    let said = back_up(&source, &second, &[])?;
    let [transferred, kept] = [changed.len(), RANGES - changed.len()];
    assert_eq!(counts(&said), [transferred, kept]);
    assert_eq!(said["from_last"], text(&first));
    assert_eq!(linked(&second, &first)?, kept);
    assert!(
        index_of(&second)? > Some(before),
        "its index is stated anew"
    );

    // One that is named; and nothing but a whole one.
    let said = back_up(&source, &third, &["--from-last", text(&second)])?;
    assert_eq!(counts(&said), [0, RANGES]);
    let said = back_up(&source, &full, &["--full"])?;
    assert_eq!(counts(&said), [RANGES, 0]);
    // Each is whole without the others.
    for backup in [&first, &second] {
        fs::remove_dir_all(backup)?;
    }
    for backup in [&third, &full] {
        let into = root.path().join("into");
        succeeds(&["restore", "--from", text(backup), "--into", text(&into)]);
        assert_same(&served(&into)?, &pairs);
        fs::remove_dir_all(&into)?;
    }
    Ok(())
}

#[test]
fn nothing_is_taken_from_a_backup_of_another_cluster() -> io::Result<()> {
    let root = tempfile::tempdir()?;
    let backups = root.path().join("backups");
    let write = |name: &str, value: &str| -> io::Result<_> {
        let cluster = cluster_of(1, root.path(), name)?;
        let mut client = cluster.connect(0)?;
        // The same indices in both.
        for n in 0..200 {
            assert_eq!(
                client.call(&["SET", &format!("key:{n}"), value])?,
                Reply::ok()
            );
        }
        let to = backups.join(name);
        let said = back_up(&cluster, &to, &[])?;
        Ok((said, to))
    };
    let (_, _first) = write("one", "of one")?;
    let (said, second) = write("other", "of the other")?;
    let with_keys: BTreeSet<u16> = (0..200)
        .map(|n| arc_of(slot_of(format!("key:{n}").as_bytes())))
        .collect();
    assert_eq!(said["transferred"]["ranges"], with_keys.len());
    let into = root.path().join("into");
    succeeds(&["restore", "--from", text(&second), "--into", text(&into)]);
    let found = served(&into)?;
    assert_eq!(found.len(), 200);
    assert!(found.values().all(|(value, _)| value == b"of the other"));
    Ok(())
}

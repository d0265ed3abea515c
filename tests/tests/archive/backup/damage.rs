//! Backups that are damaged: nothing is loaded, and what is wrong is named.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use trilith::random::Random;
use trilith_tests::Reply;

use super::{back_up, cluster_of, manifest, set_all};
use crate::files::{fails, succeeds, text};
use crate::keys::random_pairs;

fn file_of(backup: &Path, range: usize) -> io::Result<PathBuf> {
    let name = manifest(backup)?["ranges"][range]["file"].clone();
    Ok(backup.join("ranges").join(name.as_str().expect("a name")))
}

#[test]
fn a_damaged_file_is_refused_with_its_name_and_what_to_do() -> io::Result<()> {
    let root = tempfile::tempdir()?;
    let source = cluster_of(1, root.path(), "source")?;
    set_all(
        &mut source.connect(0)?,
        &random_pairs(&mut Random::new(79), 3_000),
    )?;
    let to = root.path().join("backup");
    back_up(&source, &to, &[])?;
    let into = cluster_of(1, root.path(), "into")?;
    let port = into.address(0).port().to_string();
    let (file, other) = (file_of(&to, 200)?, file_of(&to, 7)?);
    let name = file.file_name().expect("it has one").to_string_lossy();
    let sound = fs::read(&file)?;
    let flipped = |at: usize| {
        let mut bytes = sound.clone();
        bytes[at] ^= 1;
        bytes
    };
    let damaged = [
        flipped(sound.len() / 2),
        flipped(sound.len() - 3),
        sound[..sound.len() - 1].to_vec(),
        // Sound by itself, and another range's.
        fs::read(&other)?,
    ];
    for bytes in damaged {
        fs::write(&file, bytes)?;
        let said = fails(&["import", text(&to), "--port", &port]);
        assert!(
            said.contains(&*name) && said.contains("damaged") && said.contains("another copy"),
            "{said}"
        );
        let said = fails(&["check-archive", text(&to)]);
        assert!(said.contains("1 of 256 files are damaged"), "{said}");
    }
    fs::remove_file(&file)?;
    let said = fails(&["import", text(&to), "--port", &port]);
    assert!(said.contains(&*name), "{said}");
    // Nothing was loaded so far; a sound file is taken by itself.
    let mut client = into.connect(0)?;
    assert_eq!(client.call(&["DBSIZE"])?, Reply::Integer(0));
    let keys = manifest(&to)?["ranges"][7]["keys"].as_i64().unwrap_or(0);
    assert!(keys > 0);
    succeeds(&["import", text(&other), "--port", &port]);
    assert_eq!(client.call(&["DBSIZE"])?, Reply::Integer(keys));
    fs::write(&file, &sound)?;
    succeeds(&["import", text(&to), "--port", &port]);
    Ok(())
}

#[test]
fn a_manifest_without_a_range_and_a_folder_that_is_taken_are_refused() -> io::Result<()> {
    let root = tempfile::tempdir()?;
    let source = cluster_of(1, root.path(), "source")?;
    let to = root.path().join("backup");
    back_up(&source, &to, &[])?;
    let address = source.address(0).port().to_string();
    let said = fails(&["backup", "--port", &address, "--to", text(&to)]);
    assert!(said.contains("a complete backup already"), "{said}");

    let path = to.join("manifest.json");
    let mut changed = manifest(&to)?;
    if let Some(files) = changed["ranges"].as_array_mut() {
        files.remove(9);
    }
    fs::write(&path, changed.to_string())?;
    let into = root.path().join("into");
    let said = fails(&["restore", "--from", text(&to), "--into", text(&into)]);
    assert!(said.contains("range 9 is missing"), "{said}");
    assert!(!into.exists());

    let said = fails(&["backup", "--port", "1", "--to", text(&into)]);
    assert!(said.contains("nobody listens there"), "{said}");
    assert!(!into.exists());
    Ok(())
}

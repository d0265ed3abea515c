//! `trilith check-archive`: what it says, and its exit code.

use std::fs;
use std::io;

use trilith::random::Random;

use crate::files::{encoded, fails, folder_of, succeeds, text};
use crate::keys::random_pairs;

fn checked(path: &str) -> serde_json::Value {
    let output = crate::files::trilith(&["check-archive", path, "--json"]);
    serde_json::from_slice(&output.stdout).expect("it prints JSON")
}

#[test]
fn a_torn_tail_is_told_mended_and_kept() -> io::Result<()> {
    let root = tempfile::tempdir()?;
    let mut random = Random::new(43);
    let pairs = random_pairs(&mut random, 50);
    let bytes = encoded(&mut random, &pairs);
    let manifest = folder_of(root.path(), &bytes)?;
    let path = text(root.path());
    let said = succeeds(&["check-archive", path]);
    assert!(
        said.contains("sound") && said.contains("Covered: 2023-11-"),
        "{said}"
    );

    let file = manifest.with_file_name("appendonly.aof.1.incr.aof");
    let torn = &bytes[..bytes.len() - 5];
    fs::write(&file, torn)?;
    let said = fails(&["check-archive", path]);
    assert!(
        said.contains("torn tail") && said.contains("--mend"),
        "{said}"
    );
    let found = checked(path);
    let tear = &found[0]["files"][0]["torn"];
    let (offset, length) = (tear["offset"].as_u64(), tear["bytes"].as_u64());
    let (offset, length) = (offset.unwrap_or(0) as usize, length.unwrap_or(0) as usize);
    assert_eq!(offset + length, torn.len());
    assert_eq!(fs::read(&file)?, torn, "looking changes nothing");

    succeeds(&["check-archive", path, "--mend"]);
    assert_eq!(fs::read(&file)?, bytes[..offset]);
    let kept = file.with_file_name(format!("appendonly.aof.1.incr.aof.cut-{offset}"));
    assert_eq!(fs::read(kept)?, torn[offset..]);
    succeeds(&["check-archive", path]);
    Ok(())
}

#[test]
fn damage_is_named_with_its_file_and_place() -> io::Result<()> {
    let root = tempfile::tempdir()?;
    let mut random = Random::new(47);
    let pairs = random_pairs(&mut random, 50);
    let mut bytes = encoded(&mut random, &pairs);
    let at = bytes
        .windows(5)
        .position(|window| window == b"\r\nSET")
        .unwrap_or(0);
    bytes[at] = b'x';
    folder_of(root.path(), &bytes)?;
    let path = text(root.path());
    let said = fails(&["check-archive", path]);
    assert!(said.contains("1 files are damaged"), "{said}");
    let error = checked(path)[0]["files"][0]["error"].to_string();
    assert!(
        error.contains("appendonly.aof.1.incr.aof") && error.contains("offset"),
        "{error}"
    );
    let into = root.path().join("into");
    let said = fails(&["restore", "--from", path, "--into", text(&into)]);
    assert!(
        said.contains("corrupt") && said.contains("trilith check-archive"),
        "{said}"
    );
    assert!(!into.exists());
    Ok(())
}

#[test]
fn what_is_no_archive_is_said_to_be_none() -> io::Result<()> {
    let root = tempfile::tempdir()?;
    let said = fails(&["check-archive", text(root.path())]);
    assert!(said.contains("holds no archive"), "{said}");
    let file = root.path().join("picture.png");
    fs::write(&file, b"\x89PNG")?;
    let said = fails(&["check-archive", text(&file)]);
    assert!(
        said.contains("neither an RDB file nor an append-only file"),
        "{said}"
    );
    let said = fails(&["export", "--from", text(root.path()), "--to", "x.rdb"]);
    assert!(said.contains("no node's directory"), "{said}");
    let into = root.path().join("into");
    let said = fails(&[
        "restore",
        "--from",
        "/nowhere/at/all",
        "--into",
        text(&into),
    ]);
    assert!(said.contains("cannot be read"), "{said}");
    Ok(())
}

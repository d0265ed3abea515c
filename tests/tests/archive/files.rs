//! Folders of append-only files as our encoder writes them, and the program on them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use trilith::archive::aof::{File, Kind, Manifest, Positions, encode, names};
use trilith::random::Random;
use trilith_tests::server::{Server, ServerOptions, binary};

use crate::keys::{Pairs, all_of};

/// Runs the program.
pub fn trilith(arguments: &[&str]) -> Output {
    let binary = binary().expect("the binary is built");
    let output = Command::new(binary)
        .args(arguments)
        .stdin(Stdio::null())
        .output();
    output.expect("it runs")
}

/// Runs the program, which must succeed; what it printed.
pub fn succeeds(arguments: &[&str]) -> String {
    let output = trilith(arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).expect("it prints text")
}

/// Runs the program, which must fail; what it said.
pub fn fails(arguments: &[&str]) -> String {
    let output = trilith(arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    String::from_utf8(output.stderr).expect("it prints text")
}

/// A path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are text")
}

/// Serves a directory; everything that it holds.
pub fn served(directory: &Path) -> io::Result<Pairs> {
    let server = ServerOptions::default().start(directory)?;
    let pairs = all_of(&mut server.connect()?)?;
    stop(server)?;
    Ok(pairs)
}

fn stop(server: Server) -> io::Result<()> {
    let status = server.terminate(std::time::Duration::from_secs(30))?;
    assert!(status.success(), "{status}");
    Ok(())
}

/// A folder with a manifest of one incremental file that holds `bytes`.
pub fn folder_of(root: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
    let folder = root.join(names::FOLDER);
    fs::create_dir_all(&folder)?;
    let increment = File::new(names::increment(1), 1, Kind::Increment);
    let manifest = Manifest {
        increments: vec![increment],
        ..Manifest::default()
    };
    fs::write(folder.join(names::increment(1)), bytes)?;
    let path = folder.join(names::manifest_name(names::STEM));
    fs::write(&path, manifest.encode())?;
    Ok(path)
}

/// Pairs as commands, with keys that came and went, and every annotation there is.
pub fn encoded(random: &mut Random, pairs: &Pairs) -> Vec<u8> {
    let mut out = Vec::new();
    let positions = Positions::from_iter((0..257).map(|range| (range, random.next())));
    positions.encode_all(&mut out);
    let mut second = 1_700_000_000;
    for (key, (value, deadline_ms)) in pairs {
        match random.below(20) {
            0 => {
                second += random.below(3);
                encode::timestamp(&mut out, second);
            }
            1 => Positions::encode(&mut out, [(random.below(257) as u32, random.next())]),
            2 => encode::set(&mut out, key, b"before", second * 2000),
            3 => {
                encode::set(&mut out, key, b"before", 0);
                encode::del(&mut out, key);
            }
            _ => {}
        }
        encode::set(&mut out, key, value, *deadline_ms);
    }
    positions.encode_all(&mut out);
    out
}

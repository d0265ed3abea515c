//! `trilith backup`: of clusters of real processes under load and while nodes die, and back into clusters of other sizes.

mod cursor;
mod damage;
mod incremental;
mod killed;
mod load;
mod whole;

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use trilith_tests::server::binary;
use trilith_tests::{Client, Cluster, ClusterOptions, ServerOptions};

use crate::files::{succeeds, text};
use crate::keys::{Pairs, all_of};

/// How many ranges a cluster has.
const RANGES: usize = 256;
/// How long what is awaited may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

fn cluster_of(nodes: usize, root: &Path, name: &str) -> io::Result<Cluster> {
    let directory = root.join(name);
    fs::create_dir_all(&directory)?;
    let server = ServerOptions::default().appendfsync("everysec").arguments([
        "--appendonly",
        "no",
        "--save",
        "",
        "--memory",
        "64mb",
    ]);
    ClusterOptions::default()
        .nodes(nodes)
        .moves_at_once(64)
        .server(server)
        .start(&directory)
}

/// `trilith backup` of a cluster by one of its nodes.
fn command(cluster: &Cluster, node: usize, to: &Path, more: &[&str]) -> io::Result<Command> {
    let address = cluster.address(node);
    let mut command = Command::new(binary()?);
    command
        .args(["backup", "--json", "--host", &address.ip().to_string()])
        .args(["--port", &address.port().to_string(), "--to", text(to)])
        .args(more)
        .stdin(Stdio::null());
    Ok(command)
}

/// Makes a backup, which must succeed; what it said.
fn back_up(cluster: &Cluster, to: &Path, more: &[&str]) -> io::Result<Value> {
    let output = command(cluster, 0, to, more)?.output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Loads something into a cluster that runs.
fn import(cluster: &Cluster, from: &Path) -> Value {
    let port = cluster.address(0).port().to_string();
    let said = succeeds(&["import", text(from), "--port", &port, "--json"]);
    serde_json::from_str(&said).expect("it prints JSON")
}

fn manifest(backup: &Path) -> io::Result<Value> {
    Ok(serde_json::from_slice(&fs::read(
        backup.join("manifest.json"),
    )?)?)
}

/// Everything that the nodes of a cluster hold.
fn all_in(cluster: &Cluster) -> io::Result<Pairs> {
    let mut pairs = Pairs::new();
    for node in cluster.running() {
        pairs.extend(all_of(&mut cluster.connect(node)?)?);
    }
    Ok(pairs)
}

fn set_all(client: &mut Client, pairs: &Pairs) -> io::Result<()> {
    let all: Vec<_> = pairs.iter().collect();
    for some in all.chunks(500) {
        let commands: Vec<Vec<Vec<u8>>> = some
            .iter()
            .map(|(key, (value, deadline_ms))| {
                let mut words = vec![b"SET".to_vec(), key.to_vec(), value.clone()];
                if *deadline_ms != 0 {
                    words.extend([b"PXAT".to_vec(), deadline_ms.to_string().into_bytes()]);
                }
                words
            })
            .collect();
        for reply in client.pipeline(&commands)? {
            assert_eq!(reply, trilith_tests::Reply::ok());
        }
    }
    Ok(())
}

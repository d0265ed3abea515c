//! Nodes of another version of the protocol.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use trilith_tests::server::{BUS_OFFSET, cluster_port};

use super::intruder::{OTHER_VERSION, VERSION, connect, head, hello, last_words};
use super::secret::{SECRET, guarded, option};
use super::trial::{fails_to_join, names};

#[test]
fn a_node_of_another_version_that_connects_is_refused() {
    let trial = guarded();
    for (node, version) in [(0, VERSION - 1), (1, VERSION + 1)] {
        let mut stream = connect(trial.bus(node));
        stream.write_all(&hello(version, true)).unwrap();
        assert_eq!(last_words(&mut stream), head(VERSION, OTHER_VERSION));
        let speaks = format!("speaks version {version}, and this node {VERSION}");
        trial.says(
            node,
            &["refused", "peer=127.0.0.1:", &speaks, "same version"],
        );
    }
    trial.is_unharmed();
}

#[test]
fn a_node_of_another_version_that_is_connected_to_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let port = cluster_port().unwrap();
    let bus = TcpListener::bind((Ipv4Addr::LOCALHOST, port + BUS_OFFSET)).unwrap();
    let old = std::thread::spawn(move || {
        let (mut stream, _) = bus.accept().unwrap();
        stream.read_exact(&mut [0; 53]).unwrap();
        stream.write_all(&head(VERSION - 1, OTHER_VERSION)).unwrap();
        last_words(&mut stream);
    });
    let said = fails_to_join(
        SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        &directory.path().join("new"),
        &option(directory.path(), SECRET),
    );
    let speaks = format!("speaks version {}, and this node {VERSION}", VERSION - 1);
    names(&said, &[&speaks, "run the same version"]);
    old.join().unwrap();
}

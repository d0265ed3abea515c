//! What listens where.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Command, Stdio};

use trilith_tests::ServerOptions;
use trilith_tests::server::{binary, cluster_port};

use super::trial::names;

/// Another of this machine's own addresses, which stands for one that others reach.
const ANOTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

fn is_open(host: Ipv4Addr, port: u16) -> bool {
    TcpStream::connect(SocketAddr::from((host, port))).is_ok()
}

#[test]
fn http_is_on_loopback_unless_told_otherwise() {
    let directory = tempfile::tempdir().unwrap();
    let everywhere = || {
        let port = cluster_port().unwrap();
        ServerOptions::default().host(ANOTHER.into()).port(port)
    };
    let server = everywhere().start(&directory.path().join("one")).unwrap();
    let port = server.http_address().port();
    assert!(is_open(Ipv4Addr::LOCALHOST, port));
    assert!(!is_open(ANOTHER, port));
    assert!(is_open(ANOTHER, server.address().port()));
    assert!(!is_open(Ipv4Addr::LOCALHOST, server.address().port()));
    let told = everywhere().arguments(["--http-bind", &ANOTHER.to_string()]);
    let server = told.start(&directory.path().join("two")).unwrap();
    let port = server.http_address().port();
    assert!(is_open(ANOTHER, port));
    assert!(!is_open(Ipv4Addr::LOCALHOST, port));
}

#[test]
fn who_joins_without_credentials_does_not_open_the_bus_to_others() {
    let directory = tempfile::tempdir().unwrap();
    // In a network of its own, where nobody reaches it whatever it does.
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net"])
        .arg(binary().unwrap())
        .args([
            "serve",
            "--join",
            "127.0.0.1:1",
            "--bind",
            "0.0.0.0",
            "--http-port",
            "0",
        ])
        .arg("--data")
        .arg(directory.path().join("data"))
        .stdin(Stdio::null())
        .output();
    let Ok(output) = output else {
        eprintln!("NOT tested: unshare is not here");
        return;
    };
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("unshare") {
        eprintln!("NOT tested: {said}");
        return;
    }
    assert!(!output.status.success());
    names(
        &said,
        &[
            "may not listen on 0.0.0.0",
            "--secret-file",
            "--bus-tls-cert",
            "127.0.0.1",
        ],
    );
}

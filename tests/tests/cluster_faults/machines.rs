//! Namespaces of Linux: a test that runs again in some of its own has mounts and a network that nobody else sees, and
//! nothing of them is left when it ends, however it ends.

use std::env;
use std::io;
use std::process::{Command, Stdio};

use trilith_tests::server::binary;

/// Set where a test has been run again.
const INSIDE: &str = "TRILITH_TEST_INSIDE";

/// Set by who wants to see what tests do where there are no namespaces.
const WITHOUT: &str = "TRILITH_TEST_NO_NAMESPACES";

/// Where a test finds itself.
pub enum Place {
    /// In namespaces of its own: go on.
    Inside,
    /// It has been run again in namespaces, to its end, and has passed: nothing is left to do.
    Done,
    /// There are none to be had here, and why.
    Outside(String),
}

/// Runs the test of this name again in namespaces, unless that is where it is.
pub fn enter(test: &str) -> Place {
    if env::var_os(INSIDE).is_some() {
        set_up();
        return Place::Inside;
    }
    if env::var_os(WITHOUT).is_some() {
        return Place::Outside(format!("{WITHOUT} is set"));
    }
    let Some(mut unshare) = namespaces() else {
        return Place::Outside("unshare can make none here".into());
    };
    let status = unshare
        .arg(env::current_exe().unwrap())
        .args(["--exact", test, "--include-ignored", "--nocapture"])
        .env(INSIDE, "1")
        .env("TRILITH_BIN", binary().unwrap())
        .stdin(Stdio::null())
        .status();
    let status = status.unwrap();
    assert!(status.success(), "{test} in namespaces ended with {status}");
    Place::Done
}

/// `unshare` with what works: as root, or as anybody who may play root.
fn namespaces() -> Option<Command> {
    let all = "--net --mount --pid --mount-proc --fork --kill-child";
    let user = format!("--user --map-root-user {all}");
    let of = |flags: &str| {
        let mut unshare = Command::new("unshare");
        unshare.args(flags.split(' '));
        unshare
    };
    let works = |flags: &&str| {
        let probe = of(flags)
            .args(["ip", "link", "set", "lo", "up"])
            .stdin(Stdio::null())
            .output();
        probe.is_ok_and(|output| output.status.success())
    };
    [all, &user].into_iter().find(works).map(of)
}

fn set_up() {
    // `ip netns` keeps its names there.
    run("mount -t tmpfs tmpfs /run").unwrap();
    run("ip link set lo up").unwrap();
}

/// Runs a command of words without spaces, which has to succeed.
pub fn run(command: &str) -> io::Result<()> {
    let mut words = command.split(' ');
    let program = words.next().unwrap_or_default();
    let output = Command::new(program)
        .args(words)
        .stdin(Stdio::null())
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    let told = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{command}: {told}")))
}

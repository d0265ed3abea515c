//! Why the server cannot start or go on, for the person in front of it: what happened, then what to do.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use trilith::ErrorKind;

/// One sentence on what happened, and one on what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What happened.
    pub what: String,
    /// What to do.
    pub remedy: String,
}

impl Failure {
    /// Both sentences.
    pub fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            remedy: remedy.into(),
        }
    }

    /// The options are those that choose the port and the address.
    pub fn of_bind(
        error: &io::Error,
        address: SocketAddr,
        port_option: &str,
        address_option: &str,
    ) -> Self {
        let port = address.port();
        match error.kind() {
            io::ErrorKind::AddrInUse => Self::new(
                format!(
                    "Port {port} on {} is in use by another program.",
                    address.ip()
                ),
                format!(
                    "Stop that program, or choose another port: trilith {port_option} {}",
                    port.wrapping_add(10)
                ),
            ),
            io::ErrorKind::PermissionDenied => Self::new(
                format!(
                    "Port {port} on {} may not be opened by this user.",
                    address.ip()
                ),
                format!("Choose a port from 1024 on: trilith {port_option} 6390"),
            ),
            io::ErrorKind::AddrNotAvailable => Self::new(
                format!("{} is no address of this machine.", address.ip()),
                format!("Choose one that is, or all of them with {address_option} 0.0.0.0"),
            ),
            _ => Self::new(
                format!("{address} cannot be opened: {error}."),
                format!("Check {address_option} and {port_option}."),
            ),
        }
    }

    /// The store in `data` did not open.
    pub fn of_open(error: &trilith::Error, data: &Path) -> Self {
        let data = data.display();
        match error.kind() {
            ErrorKind::Locked => Self::new(
                format!("The store in {data} is in use by another process."),
                "Stop that process, or choose another directory with --data",
            ),
            ErrorKind::Full => Self::new(
                format!("The disk that holds {data} is full ({error})."),
                "Free some space and start again; nothing was changed",
            ),
            ErrorKind::Corrupt | ErrorKind::Missing => Self::new(
                format!("The store in {data} is damaged ({error})."),
                format!("Look at the disk, and restore {data} from a backup"),
            ),
            ErrorKind::Newer => Self::new(
                format!("The store in {data} was written by a newer version of Trilith."),
                "Start it with that version; nothing was changed",
            ),
            _ => Self::new(
                format!("The store in {data} cannot be opened ({error})."),
                "Check that the directory can be written by this user, or choose another with --data",
            ),
        }
    }

    /// The store did not close.
    pub fn of_close(error: &trilith::Error) -> Self {
        Self::new(
            format!("The store did not close cleanly ({error})."),
            "Check the disk, then start again: what was acknowledged is recovered from the log",
        )
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}", self.what, self.remedy)
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_port_says_how_to_choose_another() {
        let address = SocketAddr::from(([127, 0, 0, 1], 6379));
        let failure = Failure::of_bind(
            &io::ErrorKind::AddrInUse.into(),
            address,
            "--port",
            "--bind",
        );
        assert_eq!(
            failure.to_string(),
            "Port 6379 on 127.0.0.1 is in use by another program.\n\
             Stop that program, or choose another port: trilith --port 6389"
        );
    }
}

//! Where a node's bus is: at the host of its clients' address, ten thousand ports above.

use trilith::{Error, ErrorKind, Result};

/// How far above the clients' port the bus listens.
pub const PORT_OFFSET: u16 = 10_000;

/// The address of the bus of a node whose clients use `address`, HOST:PORT.
///
/// # Errors
///
/// `Invalid` if it is no such address, or leaves no port for the bus.
///
/// ```
/// use trilith_server::bus::bus_address;
/// assert_eq!(bus_address("db1.example:6379")?, "db1.example:16379");
/// assert_eq!(bus_address("[::1]:7000")?, "[::1]:17000");
/// assert!(bus_address("db1.example:60000").is_err());
/// # Ok::<(), trilith::Error>(())
/// ```
pub fn bus_address(address: &str) -> Result<String> {
    let invalid = |detail: String| Error::new(ErrorKind::Invalid, "finding a node's bus", detail);
    let parts = address.rsplit_once(':');
    let (host, port) = parts
        .and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)))
        .filter(|(host, port)| is_host(host) && *port != 0)
        .ok_or_else(|| invalid(format!("{address:?} is not HOST:PORT")))?;
    let port = port.checked_add(PORT_OFFSET).ok_or_else(|| {
        let most = u16::MAX - PORT_OFFSET;
        invalid(format!(
            "the bus of {address} would be {PORT_OFFSET} ports above: no port above {most} will do"
        ))
    })?;
    Ok(format!("{host}:{port}"))
}

/// Whether a colon behind this can only be the port's.
fn is_host(host: &str) -> bool {
    let inside = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    match inside {
        Some(inside) => !inside.is_empty(),
        None => !host.is_empty() && !host.contains(':'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_address_is_refused() {
        for address in [
            "",
            "host",
            "host:",
            ":6379",
            "host:x",
            "host:0",
            "host:65536",
            "::1:6379",
            "[]:1",
        ] {
            let error = bus_address(address).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{address}");
        }
        assert_eq!(bus_address("host:55535").unwrap(), "host:65535");
        assert!(bus_address("host:55536").is_err());
    }
}

//! Somebody who speaks the bus's protocol as docs/format.md draws it, by other code than the nodes'.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

pub const VERSION: u16 = 1;

/// Reasons for a refusal.
pub const OTHER_VERSION: u8 = 1;
pub const NO_SECRET: u8 = 2;
pub const WRONG_PROOF: u8 = 3;
pub const NO_TLS: u8 = 12;

const HEAD_BYTES: usize = 11;
const HELLO_BYTES: usize = 53;

/// Nobody's id.
const NODE: u64 = 0x0bad_0bad_0bad_0bad;

/// A connection to a bus. A node that does not answer within a while fails the test.
pub fn connect(bus: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(bus).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    stream
}

/// What both sides begin with.
pub fn head(version: u16, status: u8) -> Vec<u8> {
    [&b"TRILBUS\n"[..], &version.to_le_bytes(), &[status]].concat()
}

/// The first words of who has a secret, or has none.
pub fn hello(version: u16, has_secret: bool) -> Vec<u8> {
    let mut hello = head(version, 0);
    hello.push(has_secret.into());
    hello.extend_from_slice(&NODE.to_le_bytes());
    hello.extend_from_slice(&[7; 32]);
    hello.push(0);
    hello
}

/// Greets and proves that it knows a secret, if it has one; the status that the node answers at last, 0 if it goes on.
pub fn shake_hands(io: &mut (impl Read + Write), secret: Option<&str>) -> io::Result<u8> {
    let own = hello(VERSION, secret.is_some());
    io.write_all(&own)?;
    let mut theirs = vec![0; HEAD_BYTES];
    io.read_exact(&mut theirs)?;
    if theirs[HEAD_BYTES - 1] != 0 {
        return Ok(theirs[HEAD_BYTES - 1]);
    }
    theirs.resize(HELLO_BYTES, 0);
    io.read_exact(&mut theirs[HEAD_BYTES..])?;
    let mut address = vec![0; theirs[HELLO_BYTES - 1].into()];
    io.read_exact(&mut address)?;
    theirs.extend_from_slice(&address);
    let mut proof = vec![0];
    if let Some(secret) = secret {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(b"trilith bus: the dialler's proof\0");
        mac.update(&own);
        mac.update(&theirs);
        proof.extend_from_slice(&mac.finalize().into_bytes());
    }
    io.write_all(&proof)?;
    let mut status = [0];
    io.read_exact(&mut status)?;
    if status == [0] && secret.is_some() {
        io.read_exact(&mut [0; 32])?;
    }
    Ok(status[0])
}

/// What is said before the connection is closed.
pub fn last_words(stream: &mut impl Read) -> Vec<u8> {
    let mut said = Vec::new();
    match stream.read_to_end(&mut said) {
        // A connection may be reset as well as closed.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!("the connection is not closed: {error}"),
        Ok(_) => {}
    }
    said
}

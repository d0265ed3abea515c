//! What the fuzz target and those who write its seeds need of the bus.

use bytes::{Bytes, BytesMut};
use trilith::ring::node::Packet;

use super::frame::{Kind, Opener, Seal, Sealer};
use super::handshake::Hello;
use super::packets::{self, Gather};
use crate::block_on;

/// What a connection's bytes are to who hears it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// The frames that hold.
    pub frames: Vec<(u8, Bytes)>,
    /// The packets in them.
    pub packets: Vec<Packet>,
    /// What ended the connection.
    pub error: Option<String>,
}

/// Hears what comes in these pieces, behind a handshake without a secret.
pub fn hear(pieces: &[&[u8]]) -> Heard {
    let mut opener = Opener::new(Seal::Checksum);
    let mut gather = Gather::default();
    let mut buffer = BytesMut::new();
    let mut heard = Heard::default();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            let taken = opener.take(&mut buffer).and_then(|frame| {
                let Some(frame) = frame else {
                    return Ok(None);
                };
                let kept = (frame.kind as u8, frame.payload.clone());
                heard.frames.push(kept);
                gather.take(frame).map(Some)
            });
            match taken {
                Ok(Some(packet)) => heard.packets.extend(packet),
                Ok(None) => break,
                Err(broken) => {
                    heard.error = Some(broken.to_string());
                    return heard;
                }
            }
        }
    }
    heard
}

/// Frames of these kinds and payloads, with the seals that they should have.
pub fn frames<'a>(of: impl IntoIterator<Item = (u8, &'a [u8])>) -> Vec<u8> {
    let mut sealer = Sealer::new(Seal::Checksum);
    let mut bytes = Vec::new();
    for (kind, payload) in of {
        let kind = match kind % 3 {
            0 => Kind::Last,
            1 => Kind::Part,
            _ => Kind::Alive,
        };
        sealer.put(&mut bytes, kind, payload);
    }
    bytes
}

/// A packet's bytes, as several packets' if it is long.
pub fn write(packet: Packet) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    packets::encode(packet, &mut |bytes| all.push(bytes));
    all
}

/// Whether these bytes are a packet.
pub fn read(bytes: &[u8]) -> Option<Packet> {
    packets::decode(bytes).ok()
}

/// Whether the first words of who connects are understood.
pub fn greet(mut bytes: &[u8]) -> bool {
    block_on(Hello::read(&mut bytes)).is_ok()
}

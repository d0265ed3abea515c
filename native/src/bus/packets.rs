//! Packets as bytes: written, cut into parts that a frame can hold, and put together again.

use bytes::Bytes;
use postcard::de_flavors::Flavor;
use trilith::ring::NodeId;
use trilith::ring::node::Packet;

use super::frame::{Frame, Kind, PAYLOAD_BYTES_MAX};
use super::refusal::{Broken, Refusal};

/// A packet that says several things and is longer than this is sent as several, which can be lost one by one.
const SPLIT_BYTES: usize = 1 << 20;

/// Payload of a frame that is sent. Short enough that a sign of life does not wait long behind it.
pub(super) const PART_BYTES: usize = 1 << 20;

/// A packet, at most: an entry may be as long as the log's longest.
const PACKET_BYTES_MAX: usize = (1 << 30) + PAYLOAD_BYTES_MAX;

/// Bytes of a packet that are neither text nor payloads, at most: each may take a hundred in memory.
const STRUCTURE_BYTES_MAX: usize = 16 << 20;

/// Writes a packet, as several where it is long and says several things; `out` takes each.
pub(super) fn encode(mut packet: Packet, out: &mut impl FnMut(Vec<u8>)) {
    let bytes = match postcard::to_allocvec(&packet) {
        Ok(bytes) => bytes,
        Err(error) => {
            tracing::error!(%error, to = %packet.to, "a packet could not be written and is lost");
            return;
        }
    };
    if bytes.len() <= SPLIT_BYTES || packet.said.len() < 2 {
        return out(bytes);
    }
    let rest = Packet {
        said: packet.said.split_off(packet.said.len() / 2),
        ..packet
    };
    drop(bytes);
    encode(packet, out);
    encode(rest, out);
}

/// The frames' payloads of a packet's bytes.
pub(super) fn parts(bytes: &[u8]) -> impl Iterator<Item = (Kind, &[u8])> {
    let count = bytes.len().div_ceil(PART_BYTES);
    let kind = move |part| match part + 1 == count {
        true => Kind::Last,
        false => Kind::Part,
    };
    let parts = bytes.chunks(PART_BYTES).enumerate();
    parts.map(move |(part, bytes)| (kind(part), bytes))
}

/// Puts the parts of packets together.
#[derive(Default)]
pub(super) struct Gather {
    parts: Vec<u8>,
}

impl Gather {
    /// Takes a frame; hands out the packet that it completes.
    pub(super) fn take(&mut self, frame: Frame) -> Result<Option<Packet>, Broken> {
        match frame.kind {
            Kind::Alive => Ok(None),
            Kind::Last if self.parts.is_empty() => decode(&frame.payload).map(Some),
            Kind::Part | Kind::Last => {
                self.add(&frame.payload)?;
                if frame.kind == Kind::Part {
                    return Ok(None);
                }
                let whole = std::mem::take(&mut self.parts);
                decode(&whole).map(Some)
            }
        }
    }

    fn add(&mut self, part: &Bytes) -> Result<(), Broken> {
        if self.parts.len() + part.len() > PACKET_BYTES_MAX {
            let detail = format!("it is longer than {PACKET_BYTES_MAX} bytes");
            return Err(Broken::Refused(Refusal::Packet, detail));
        }
        self.parts.extend_from_slice(part);
        Ok(())
    }
}

/// Reads a packet. What it takes in memory is bounded, whatever its sender has made of it.
pub(super) fn decode(bytes: &[u8]) -> Result<Packet, Broken> {
    let refused = |detail: String| Broken::Refused(Refusal::Packet, detail);
    let of_postcard = |error: postcard::Error| refused(error.to_string());
    if bytes.len() > SPLIT_BYTES {
        let head = postcard::take_from_bytes::<(NodeId, NodeId, u64, u64)>(bytes);
        let ((.., things), _) = head.map_err(of_postcard)?;
        if things > 1 {
            return Err(refused(format!("it is long and says {things} things")));
        }
    }
    let mut reader = postcard::Deserializer::from_flavor(Bounded {
        rest: bytes,
        structure_bytes: STRUCTURE_BYTES_MAX,
    });
    let packet = serde::Deserialize::deserialize(&mut reader).map_err(of_postcard)?;
    match reader.finalize().map_err(of_postcard)? {
        [] => Ok(packet),
        rest => Err(refused(format!("{} bytes follow it", rest.len()))),
    }
}

/// Bytes to be read, of which so many may be structure.
struct Bounded<'a> {
    rest: &'a [u8],
    structure_bytes: usize,
}

impl<'a> Flavor<'a> for Bounded<'a> {
    type Remainder = &'a [u8];
    type Source = &'a [u8];

    fn pop(&mut self) -> postcard::Result<u8> {
        let missing = postcard::Error::DeserializeUnexpectedEnd;
        let (&byte, rest) = self.rest.split_first().ok_or(missing)?;
        let left = self.structure_bytes.checked_sub(1);
        self.structure_bytes = left.ok_or(postcard::Error::SerdeDeCustom)?;
        self.rest = rest;
        Ok(byte)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }

    fn try_take_n(&mut self, count: usize) -> postcard::Result<&'a [u8]> {
        let missing = postcard::Error::DeserializeUnexpectedEnd;
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(missing)?;
        self.rest = rest;
        Ok(taken)
    }

    fn finalize(self) -> postcard::Result<&'a [u8]> {
        Ok(self.rest)
    }
}

#[cfg(test)]
mod tests {
    use trilith::command::Reply;
    use trilith::ring::LogId;
    use trilith::ring::effect::Outcome;
    use trilith::ring::node::Said;

    use super::*;
    use crate::bus::tests::{packet, packet_of};

    fn encoded(packet: Packet) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        encode(packet, &mut |bytes| out.push(bytes));
        out
    }

    fn gathered(bytes: &[u8]) -> (Packet, usize) {
        let mut gather = Gather::default();
        let mut frames = 0;
        for (kind, payload) in parts(bytes) {
            frames += 1;
            let payload = Bytes::copy_from_slice(payload);
            if let Some(packet) = gather.take(Frame { kind, payload }).unwrap() {
                return (packet, frames);
            }
        }
        panic!("the packet has no end");
    }

    #[test]
    fn a_packet_that_says_much_is_sent_as_several() {
        let sent = packet(1, 2, &[700 << 10, 700 << 10, 10, 20]);
        let pieces: Vec<Packet> = encoded(sent.clone())
            .iter()
            .map(|bytes| {
                assert!(bytes.len() <= SPLIT_BYTES);
                gathered(bytes).0
            })
            .collect();
        assert!(pieces.len() > 1);
        let said: Vec<_> = pieces.into_iter().flat_map(|piece| piece.said).collect();
        assert_eq!(said, sent.said);
    }

    #[test]
    fn one_long_thing_takes_several_frames() {
        let sent = packet(1, 2, &[5 << 20]);
        let encoded = encoded(sent.clone());
        assert_eq!(encoded.len(), 1);
        assert_eq!(gathered(&encoded[0]), (sent, 6));
    }

    #[test]
    fn a_sign_of_life_between_two_parts_is_none_of_them() {
        let sent = packet_of(1, 2, 7);
        let bytes = encoded(sent.clone()).remove(0);
        let (front, back) = bytes.split_at(bytes.len() / 2);
        let frame = |kind, bytes: &[u8]| Frame {
            kind,
            payload: Bytes::copy_from_slice(bytes),
        };
        let mut gather = Gather::default();
        assert!(gather.take(frame(Kind::Part, front)).unwrap().is_none());
        assert!(gather.take(frame(Kind::Alive, b"")).unwrap().is_none());
        assert_eq!(gather.take(frame(Kind::Last, back)).unwrap(), Some(sent));
    }

    fn is_refused(bytes: &[u8]) -> bool {
        matches!(decode(bytes), Err(Broken::Refused(Refusal::Packet, _)))
    }

    #[test]
    fn a_long_packet_that_says_much_is_none_of_a_sender() {
        let said = |count| Packet {
            said: vec![Said::Greeting; count],
            ..packet(1, 2, &[])
        };
        for (count, refused) in [(SPLIT_BYTES / 2, false), (SPLIT_BYTES, true)] {
            let bytes = postcard::to_allocvec(&said(count)).unwrap();
            assert_eq!(is_refused(&bytes), refused, "{count}");
        }
    }

    #[test]
    fn a_packet_that_is_all_structure_is_refused() {
        let answered = |nulls| Packet {
            said: vec![Said::Answered {
                request: 1,
                outcome: Outcome::Done {
                    reply: Reply::Array(vec![Reply::Null; nulls]),
                    at: LogId::default(),
                },
            }],
            ..packet(1, 2, &[])
        };
        for (nulls, refused) in [(1 << 20, false), (STRUCTURE_BYTES_MAX, true)] {
            let bytes = postcard::to_allocvec(&answered(nulls)).unwrap();
            assert_eq!(is_refused(&bytes), refused, "{nulls}");
        }
    }

    #[test]
    fn a_reply_of_lists_within_lists_is_refused() {
        let said = Said::Answered {
            request: 1,
            outcome: Outcome::Done {
                reply: Reply::Array(vec![]),
                at: LogId::default(),
            },
        };
        let packet = Packet {
            said: vec![said],
            ..packet(1, 2, &[])
        };
        let mut bytes = postcard::to_allocvec(&packet).unwrap();
        // Request and outcome end with an array of none and the entry's id.
        let array = bytes.len() - 4;
        assert_eq!(bytes[array..], [6, 0, 0, 0]);
        bytes.splice(array.., [6, 1].repeat(400_000));
        assert!(is_refused(&bytes));
    }

    #[test]
    fn what_follows_a_packet_is_refused() {
        let mut bytes = postcard::to_allocvec(&packet_of(1, 2, 7)).unwrap();
        assert!(!is_refused(&bytes));
        bytes.push(0);
        assert!(is_refused(&bytes));
    }

    #[test]
    fn what_is_no_packet_is_refused() {
        let payload = Bytes::from_static(&[0xff; 40]);
        let frame = Frame {
            kind: Kind::Last,
            payload,
        };
        let taken = Gather::default().take(frame);
        assert!(matches!(taken, Err(Broken::Refused(Refusal::Packet, _))));
    }
}

//! Where a key belongs: its slot, and the arc of the ring that holds the slot.
//!
//! A slot is CRC-16/XMODEM of the key, or of its hash tag, modulo 16384, as Redis Cluster has it, so that
//! clients which know the table of slots find a key without asking. An arc is 64 slots in a row.

/// Slots in all.
pub const SLOTS: u16 = 16384;

/// Arcs that the ring is cut into.
pub const ARCS: u16 = 256;

const SLOTS_PER_ARC: u16 = SLOTS / ARCS;

/// The slot of a key.
///
/// ```
/// use trilith::slot::slot_of;
/// assert_eq!(slot_of(b"123456789"), 0x31c3);
/// assert_eq!(slot_of(b"{user1000}.following"), slot_of(b"{user1000}.followers"));
/// ```
pub fn slot_of(key: &[u8]) -> u16 {
    crc16(hash_tag(key)) % SLOTS
}

/// The arc of a slot.
pub fn arc_of(slot: u16) -> u16 {
    slot / SLOTS_PER_ARC
}

/// The position of a slot on the ring of 2^32.
pub fn position_of(slot: u16) -> u32 {
    u32::from(slot) << 18
}

/// What lies between the first `{` and the next `}`, if anything does; else the whole key.
fn hash_tag(key: &[u8]) -> &[u8] {
    // The common case, which this finds out faster than a search for the place.
    if !key.contains(&b'{') {
        return key;
    }
    let Some(open) = key.iter().position(|&byte| byte == b'{') else {
        return key;
    };
    let behind = &key[open + 1..];
    match behind.iter().position(|&byte| byte == b'}') {
        Some(len) if len > 0 => &behind[..len],
        _ => key,
    }
}

/// `TABLES[n]` has what a byte does to the checksum that has `n` bytes behind it: so eight are looked up at once, and
/// not each after the one before.
static TABLES: [[u16; 256]; STRIDE] = tables();

const STRIDE: usize = 8;

const fn tables() -> [[u16; 256]; STRIDE] {
    let mut tables = [[0; 256]; STRIDE];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut behind = 0;
        while behind < STRIDE {
            let mut bit = 0;
            while bit < 8 {
                crc = if crc & 0x8000 == 0 {
                    crc << 1
                } else {
                    crc << 1 ^ 0x1021
                };
                bit += 1;
            }
            tables[behind][byte] = crc;
            behind += 1;
        }
        byte += 1;
    }
    tables
}

fn crc16(bytes: &[u8]) -> u16 {
    let (strides, rest) = bytes.as_chunks::<STRIDE>();
    let mut crc: u16 = 0;
    for stride in strides {
        let [high, low] = crc.to_be_bytes();
        let mut stride = *stride;
        stride[0] ^= high;
        stride[1] ^= low;
        let places = stride.iter().zip(TABLES.iter().rev());
        crc = places.fold(0, |crc, (&byte, table)| crc ^ table[usize::from(byte)]);
    }
    rest.iter().fold(crc, |crc, &byte| {
        crc << 8 ^ TABLES[0][usize::from((crc >> 8) as u8 ^ byte)]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_redis_cluster() {
        // As CLUSTER KEYSLOT of Redis answers.
        for (key, slot) in [
            ("foo", 12182),
            ("bar", 5061),
            ("", 0),
            ("{}x", 10595),
            ("a{b}c{d}", 3300),
        ] {
            assert_eq!(slot_of(key.as_bytes()), slot, "{key}");
        }
    }

    #[test]
    fn only_the_first_hash_tag_counts_and_only_if_it_holds_something() {
        assert_eq!(hash_tag(b"a{b}c{d}"), b"b");
        assert_eq!(hash_tag(b"a{}c{d}"), b"a{}c{d}");
        assert_eq!(hash_tag(b"a{b"), b"a{b");
        assert_eq!(hash_tag(b"{{x}}"), b"{x");
    }

    #[test]
    fn arcs_and_positions_divide_the_ring_evenly() {
        assert_eq!(arc_of(SLOTS - 1), ARCS - 1);
        assert_eq!(arc_of(63), 0);
        assert_eq!(arc_of(64), 1);
        assert_eq!(position_of(8192), 1 << 31);
    }

    #[test]
    fn strides_of_bytes_have_the_checksum_of_bytes_one_by_one() {
        let key: Vec<u8> = (0..=255).rev().collect();
        for len in 0..key.len() {
            let one_by_one = key[..len].iter().fold(0_u16, |crc, &byte| {
                crc << 8 ^ TABLES[0][usize::from((crc >> 8) as u8 ^ byte)]
            });
            assert_eq!(crc16(&key[..len]), one_by_one, "{len} bytes");
        }
    }
}

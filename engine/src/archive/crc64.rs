//! The checksum at the end of an RDB file: CRC-64 with Jones's polynomial 0xad93d23594c935a9, reflected, beginning
//! with 0 and not inverted.
//!
//! Sixteen bytes at a time: table `i` holds what a byte comes to when `i` bytes follow it.

/// The polynomial with its bits in reverse, as a reflected checksum has it.
const POLYNOMIAL: u64 = 0x95ac_9329_ac4b_c9b5;

const STRIDE: usize = 16;

#[cfg(not(target_family = "wasm"))]
static TABLES: [[u64; 256]; STRIDE] = tables();

/// Made when first asked for: they are 32 KiB that no compression makes smaller, in a module that is downloaded.
#[cfg(target_family = "wasm")]
static TABLES: std::sync::LazyLock<[[u64; 256]; STRIDE]> = std::sync::LazyLock::new(tables);

const fn tables() -> [[u64; 256]; STRIDE] {
    let mut tables = [[0; 256]; STRIDE];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u64;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 {
                crc >> 1 ^ POLYNOMIAL
            } else {
                crc >> 1
            };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut behind = 1;
    while behind < STRIDE {
        let mut byte = 0;
        while byte < 256 {
            let crc = tables[behind - 1][byte];
            tables[behind][byte] = crc >> 8 ^ tables[0][(crc & 0xff) as usize];
            byte += 1;
        }
        behind += 1;
    }
    tables
}

/// The checksum of bytes whose beginning had the checksum `crc` (0 for none) and that go on with `bytes`.
pub(crate) fn update(mut crc: u64, bytes: &[u8]) -> u64 {
    let (strides, rest) = bytes.as_chunks::<STRIDE>();
    for stride in strides {
        crc = over_stride(crc, stride);
    }
    for &byte in rest {
        crc = crc >> 8 ^ TABLES[0][((crc ^ u64::from(byte)) & 0xff) as usize];
    }
    crc
}

#[inline]
fn over_stride(crc: u64, stride: &[u8; STRIDE]) -> u64 {
    let begun = crc.to_le_bytes();
    let mut sum = 0;
    // Unrolled by the compiler, and no link depends on the one before.
    for i in 0..8 {
        sum ^= TABLES[STRIDE - 1 - i][(stride[i] ^ begun[i]) as usize];
        sum ^= TABLES[STRIDE - 9 - i][stride[i + 8] as usize];
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bit_by_bit(mut crc: u64, bytes: &[u8]) -> u64 {
        for &byte in bytes {
            crc ^= u64::from(byte);
            for _ in 0..8 {
                crc = crc >> 1 ^ if crc & 1 == 1 { POLYNOMIAL } else { 0 };
            }
        }
        crc
    }

    #[test]
    fn the_check_value_is_the_published_one() {
        assert_eq!(update(0, b"123456789"), 0xe9c6_d914_c4b8_d9ca);
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_have_the_checksum_by_definition(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            begun in any::<u64>(),
            cut in any::<prop::sample::Index>(),
        ) {
            let expected = bit_by_bit(begun, &bytes);
            prop_assert_eq!(update(begun, &bytes), expected);
            let (head, tail) = bytes.split_at(cut.index(bytes.len() + 1));
            prop_assert_eq!(update(update(begun, head), tail), expected);
        }
    }
}

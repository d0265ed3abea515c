//! Snapshots as Redis writes them.

use trilith::archive::rdb::{EncodeOptions, Encoder, Sizes};
use trilith::random::Random;

use super::Outcome;

/// A few strings, then values of other types as a list of strings, a sorted set, a stream and a module have them. Half of
/// the files have no checksum, so that what a fuzzer changes in them is not refused for that alone.
pub fn rdb(random: &mut Random) -> Outcome<Vec<u8>> {
    let options = EncodeOptions {
        version: 9 + random.below(3) as u16,
        compress: random.below(2) == 0,
    };
    let mut encoder = Encoder::new(options)?;
    let mut out = Vec::new();
    let sizes = Sizes {
        keys: random.next() >> random.below(64),
        keys_with_deadline: random.below(100),
    };
    encoder.header(
        &mut out,
        &[("redis-ver", b"7.0.15"), ("ctime", b"17")],
        sizes,
    );
    for number in 0..random.below(8) {
        let deadline_ms = random.below(2) * random.next();
        let key = format!("key:{number}");
        encoder.entry(&mut out, key.as_bytes(), &value(random), deadline_ms);
    }
    let has_checksum = random.below(2) == 0;
    if has_checksum {
        encoder.end(&mut out);
        return Ok(out);
    }
    for _ in 0..random.below(5) {
        other(random, &mut out);
    }
    out.push(255);
    out.extend_from_slice(&[0; 8]);
    Ok(out)
}

fn value(random: &mut Random) -> Vec<u8> {
    let len = random.below(60) as usize;
    match random.below(4) {
        0 => (random.next() as i64 >> random.below(64))
            .to_string()
            .into(),
        1 => vec![b'a'; len],
        2 => b"abcdefg".repeat(len / 4),
        _ => (0..len).map(|_| random.next() as u8).collect(),
    }
}

/// A value of another type behind its key, or what may stand between keys.
fn other(random: &mut Random, out: &mut Vec<u8>) {
    let some: &[&[u8]] = &[
        b"\x01\x01k\x03\x01a\xc0\x05\xc3\x05\x1e\x00a\xe0\x14\x00",
        b"\x03\x01k\x02\x01a\x031.5\x01b\xfe",
        b"\x04\x01k\x01\x01f\x01v",
        b"\x05\x01k\x01\x01a\0\0\0\0\0\0\xf8\x3f",
        b"\x07\x01k\x81\0\0\0\0\0\0\x04\0\x01\x05\x02\x05\x03\0\0\0\0\x05\x01s\0",
        b"\x0e\x01k\x02\x04pack\x04pack",
        b"\x10\x01k\x08listpack",
        b"\x12\x01k\x01\x02\x08listpack",
        b"\x0f\x01k\x01\x10iiiiiiiiiiiiiiii\x08listpack\x01\x02\x03\0",
        b"\x15\x01k\0\0\0\0\0\0\0\0\0\x01\x01g\x01\x02\x03\x01iiiiiiiiiiiiiiiittttttttr\
            \x01\x01cttttttttaaaaaaaa\x01iiiiiiiiiiiiiiii",
        b"\x18\x01kmmmmmmmm\x01\x05\x01f\x01v",
        b"\xf4\x01\x02\x03",
        b"\xf5\x0b#!lua name=",
        b"\xf7\x81\0\0\0\0\0\0\x04\0\x02\x01\x05\x01s\0",
        b"\xf8\x05\xf9\x05\xfd\x05\0\0\0",
        b"\xfe\x03",
    ];
    out.extend_from_slice(some[random.below(some.len() as u64) as usize]);
}

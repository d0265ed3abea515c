//! Append-only files and manifests: a first byte that says which, and how it is loaded.

use trilith::archive::aof::{File, Kind, Manifest, Positions, encode, names};
use trilith::random::Random;

pub fn aof(random: &mut Random, lines: &[&str]) -> Vec<u8> {
    if random.below(4) == 0 {
        let how = 4 * random.below(64) as u8;
        return [vec![how], manifest(random).encode()].concat();
    }
    let how = 4 * random.below(64) as u8 + 1 + random.below(3) as u8;
    let mut out = vec![how];
    file(random, lines, &mut out);
    if random.below(3) == 0 {
        // A torn tail.
        let cut = 1 + random.below(out.len() as u64) as usize;
        out.truncate(cut);
    }
    out
}

fn file(random: &mut Random, lines: &[&str], out: &mut Vec<u8>) {
    if random.coin() {
        let ranges = random.below(5) as u32;
        Positions::from_iter((0..ranges).map(|range| (range, random.next()))).encode_all(out);
    }
    for _ in 0..random.below(12) {
        let line = lines[random.index(lines.len())];
        let words: Vec<&str> = line.split(' ').collect();
        match random.below(9) {
            0 => encode::timestamp(out, random.below(1 << 32)),
            1 => encode::gap(out, random.below(1 << 32)),
            2 => Positions::encode(out, [(random.below(9) as u32, random.next())]),
            3 => encode::set(out, b"key", b"\r\nvalue\0", random.below(1 << 42)),
            4 => {
                encode::command(out, &["MULTI"]);
                encode::command(out, &words);
                encode::command(out, &["EXEC"]);
            }
            5 => encode::command(out, &["SETRANGE", "key", "5", "value"]),
            6 => encode::command(out, &["SELECT", "0"]),
            _ => encode::command(out, &words),
        }
    }
}

fn manifest(random: &mut Random) -> Manifest {
    let mut manifest = Manifest::default();
    let known = |random: &mut Random| random.coin().then(|| random.below(1 << 32));
    let first = 1 + random.below(5);
    manifest.base = Some(File {
        time: known(random),
        incr: Some(first),
        ..File::new(names::base(2), 2, Kind::Base)
    });
    for seq in 1..first {
        let name = if random.coin() {
            names::base(seq)
        } else {
            names::increment(seq)
        };
        manifest.history.push(File {
            until: known(random),
            incr: known(random),
            ..File::new(name, seq, Kind::History)
        });
    }
    for seq in first..first + random.below(4) {
        manifest
            .increments
            .push(File::new(names::increment(seq), seq, Kind::Increment));
    }
    manifest
}

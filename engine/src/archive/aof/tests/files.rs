//! Files of commands.

use super::*;
use crate::archive::aof::{Line, Positions, Scan, Scanner, Tear, encode};
use crate::random::Random;

fn scan(bytes: &[u8], until: Option<u64>) -> Scan {
    let scanner = Scanner::new(reader(bytes)).until(until);
    block_on(scanner.run(|_| {})).unwrap()
}

/// Some commands, and where each begins and the last ends.
fn sample() -> (Vec<u8>, Vec<usize>) {
    let mut out = Vec::new();
    let mut ends = vec![0];
    let mut add = |make: &dyn Fn(&mut Vec<u8>)| {
        make(&mut out);
        ends.push(out.len());
    };
    add(&|out| Positions::from_iter([(0, 1), (255, 7)]).encode_all(out));
    add(&|out| encode::timestamp(out, 1_700_000_000));
    add(&|out| encode::set(out, b"key", b"value", 0));
    add(&|out| encode::set(out, b"\r\n*1\r\n", b"\0#TS:1\r\n$3\r\n", 1_800_000_000_000));
    add(&|out| encode::del(out, b""));
    add(&encode::flush_all);
    add(&|out| encode::gap(out, 1_700_000_001));
    add(&|out| encode::command(out, &["APPEND", "k", "v"]));
    (out, ends)
}

#[test]
fn what_was_written_is_read_in_order() {
    let (bytes, ends) = sample();
    let (items, ending) = read(&bytes).unwrap();
    assert_eq!(
        words(&items),
        [
            "SET key value",
            "SET \r\n*1\r\n \0#TS:1\r\n$3\r\n PXAT 1800000000000",
            "DEL ",
            "FLUSHALL",
            "APPEND k v"
        ]
    );
    let offsets: Vec<usize> = items
        .iter()
        .map(|item| match item {
            Item::Command(command) => command.offset as usize,
            Item::Annotation { offset, .. } => *offset as usize,
        })
        .collect();
    assert_eq!(offsets, ends[..ends.len() - 1]);
    assert!(matches!(
        &items[1],
        Item::Annotation {
            line: Line::Timestamp(1_700_000_000),
            ..
        }
    ));
    assert!(matches!(
        &items[6],
        Item::Annotation {
            line: Line::Gap(1_700_000_001),
            ..
        }
    ));
    let whole = bytes.len() as u64;
    assert_eq!(ending, Ending { whole, tear: None });
}

#[test]
fn a_file_cut_at_any_byte_ends_at_its_last_whole_item() {
    let (bytes, ends) = sample();
    for cut in 0..=bytes.len() {
        let (_, ending) = read(&bytes[..cut]).unwrap();
        let whole = *ends.iter().rfind(|&&end| end <= cut).unwrap();
        let tear = (cut != whole).then_some(Tear::Command);
        let whole = whole as u64;
        assert_eq!(ending, Ending { whole, tear }, "cut at {cut}");
    }
}

#[test]
fn a_transaction_that_has_not_ended_is_torn_as_a_whole() {
    let mut bytes = Vec::new();
    encode::set(&mut bytes, b"a", b"1", 0);
    let before = bytes.len();
    encode::command(&mut bytes, &["MULTI"]);
    encode::set(&mut bytes, b"b", b"2", 0);
    let within = bytes.len();
    encode::command(&mut bytes, &["exec"]);
    for cut in before + 1..bytes.len() {
        let (_, ending) = read(&bytes[..cut]).unwrap();
        assert_eq!(ending.whole, before as u64, "cut at {cut}");
        assert!(ending.tear.is_some());
    }
    let (_, ending) = read(&bytes[..within]).unwrap();
    assert_eq!(ending.tear, Some(Tear::Transaction));
    let (_, ending) = read(&bytes).unwrap();
    assert_eq!((ending.whole, ending.tear), (bytes.len() as u64, None));
}

#[test]
fn zeros_up_to_the_end_are_a_torn_tail_and_anything_behind_them_is_damage() {
    let (bytes, ends) = sample();
    for cut in 0..=bytes.len() {
        let whole = *ends.iter().rfind(|&&end| end <= cut).unwrap();
        let torn = [&bytes[..cut], &[0; 4096]].concat();
        let (_, ending) = read(&torn).unwrap();
        assert_eq!(ending.whole, whole as u64, "cut at {cut}");
        assert!(ending.tear.is_some());
    }
    let start = bytes.len() as u64;
    is_corrupt_at(&[&bytes[..], b"\0\0*"].concat(), start);
}

#[test]
fn what_is_no_command_is_damage_and_says_where() {
    let mut bytes = Vec::new();
    encode::set(&mut bytes, b"a", b"1", 0);
    let start = bytes.len() as u64;
    for (text, behind) in [
        ("x", 0),
        ("SET a b\r\n", 0),
        ("*0\r\n", 0),
        ("*-1\r\n", 1),
        ("*1\n$4\r\nEXEC\r\n", 2),
        ("*1\rx$4\r\nEXEC\r\n", 3),
        ("*\r\n", 0),
        ("*x\r\n", 1),
        ("*99999999999999999999999999999999\r\n", 0),
        ("*1\r\n*3\r\n", 4),
        ("*1\r\n$-1\r\n", 5),
        ("*1\r\n$3\r\nDEL#\r\n....", 11),
        ("*1\r\n$4\r\nEXEC\r\n", 0),
        ("#TS:x\r\n", 0),
        ("#GAP:\r\n", 0),
    ] {
        is_corrupt_at(&[&bytes, text.as_bytes()].concat(), start + behind);
    }
    let nested = b"*1\r\n$5\r\nMULTI\r\n".repeat(2);
    is_corrupt_at(&nested, 15);
}

#[test]
fn a_line_longer_than_redis_reads_is_damage_even_if_it_does_not_end() {
    let line = |length: usize| [b"#", "x".repeat(length - 3).as_bytes(), b"\r\n"].concat();
    assert_eq!(read(&line(1023)).unwrap().1.whole, 1023);
    is_corrupt_at(&line(1024), 0);
    is_corrupt_at(&line(5000), 0);
    let torn = &line(900)[..800];
    assert_eq!(read(torn).unwrap().1.tear, Some(Tear::Command));
}

#[test]
fn a_length_that_the_file_does_not_have_is_a_torn_tail_and_takes_no_memory() {
    for text in [
        "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$500000000\r\nabc",
        "*3\r\n$3\r\nSET\r\n$18446744073709551615\r\nabc",
        "*18446744073709551615\r\n$1\r\na\r\n",
        "*1000000\r\n",
    ] {
        let (items, ending) = read(text.as_bytes()).unwrap();
        assert_eq!(items, []);
        assert_eq!((ending.whole, ending.tear), (0, Some(Tear::Command)));
    }
}

#[test]
fn commands_of_any_size_are_read_across_windows() {
    let mut random = Random::new(7);
    let mut bytes = Vec::new();
    let mut written = Vec::new();
    for round in 0..400 {
        let length = match round % 50 {
            7 => 700_000,
            13 => 262_144,
            _ => random.below(3000) as usize,
        };
        let mut value = vec![0; length];
        value
            .iter_mut()
            .for_each(|byte| *byte = random.below(256) as u8);
        encode::set(&mut bytes, b"k", &value, 0);
        written.push(value);
    }
    let many: Vec<String> = (0..100_000).map(|number| number.to_string()).collect();
    encode::command(&mut bytes, &many);
    let (items, ending) = read(&bytes).unwrap();
    assert_eq!((ending.whole, ending.tear), (bytes.len() as u64, None));
    for (item, value) in items.iter().zip(&written) {
        let Item::Command(command) = item else {
            panic!("{item:?}")
        };
        assert_eq!(command.args[2], value);
    }
    let Some(Item::Command(last)) = items.last() else {
        panic!()
    };
    assert_eq!(last.args, many);
}

#[test]
fn reading_begins_and_ends_where_it_is_told() {
    let (bytes, ends) = sample();
    let bounded = reader(&bytes).from(ends[2] as u64).upto(ends[4] as u64);
    let items = block_on(async {
        let (mut bounded, mut items) = (bounded, Vec::new());
        while let Some(item) = bounded.next().await.unwrap() {
            items.push(item);
        }
        assert_eq!(bounded.ending().tear, None);
        items
    });
    assert_eq!(items.len(), 2);
}

#[test]
fn a_scan_tells_times_gaps_positions_and_where_to_cut() {
    let mut bytes = Vec::new();
    Positions::from_iter([(3, 1)]).encode_all(&mut bytes);
    let mut starts = Vec::new();
    for second in [10, 12, 15] {
        starts.push(bytes.len() as u64);
        encode::timestamp(&mut bytes, second);
        encode::set(&mut bytes, b"k", b"v", 0);
        Positions::encode(&mut bytes, [(3, second)]);
    }
    let gap = bytes.len() as u64;
    encode::gap(&mut bytes, 16);
    let all = scan(&bytes, None);
    assert_eq!((all.commands, all.times), (3, Some((10, 15))));
    assert_eq!(all.whole, bytes.len() as u64);
    assert_eq!((all.gaps[0].offset, all.gaps[0].seconds), (gap, 16));
    assert_eq!(all.positions.of(3), Some(15));
    for (until, cut) in [
        (9, Some(starts[0])),
        (10, Some(starts[1])),
        (11, Some(starts[1])),
        (12, Some(starts[2])),
        (14, Some(starts[2])),
        (15, Some(gap)),
        (16, None),
        (99, None),
    ] {
        assert_eq!(scan(&bytes, Some(until)).cut, cut, "until {until}");
    }
}

#[test]
fn a_cut_within_a_transaction_is_before_it() {
    let mut bytes = Vec::new();
    encode::timestamp(&mut bytes, 10);
    let before = bytes.len() as u64;
    encode::command(&mut bytes, &["MULTI"]);
    encode::timestamp(&mut bytes, 11);
    encode::set(&mut bytes, b"k", b"v", 0);
    encode::command(&mut bytes, &["EXEC"]);
    assert_eq!(scan(&bytes, Some(10)).cut, Some(before));
}

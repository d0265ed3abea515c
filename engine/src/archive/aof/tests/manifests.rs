//! Manifests.

use crate::ErrorKind;
use crate::archive::aof::{File, Kind, Manifest};

fn decode(text: &str) -> Manifest {
    Manifest::decode(text.as_bytes()).unwrap()
}

#[test]
fn what_redis_writes_is_read() {
    let manifest = decode(
        "file appendonly.aof.2.base.rdb seq 2 type b\n\
         file appendonly.aof.1.base.rdb seq 1 type h\n\
         file appendonly.aof.1.incr.aof seq 1 type h\n\
         file appendonly.aof.2.incr.aof seq 2 type i\n\
         file appendonly.aof.3.incr.aof seq 3 type i\n",
    );
    let base = manifest.base.as_ref().unwrap();
    assert_eq!(
        (base.name.as_str(), base.seq),
        ("appendonly.aof.2.base.rdb", 2)
    );
    assert!(base.is_base() && base.is_rdb());
    assert_eq!(manifest.history.len(), 2);
    assert!(manifest.history[0].is_base() && !manifest.history[1].is_base());
    let seqs: Vec<u64> = manifest.increments.iter().map(|file| file.seq).collect();
    assert_eq!(seqs, [2, 3]);
}

#[test]
fn quotes_comments_and_pairs_to_come_are_understood() {
    let manifest = decode(
        "# Written by hand.\r\n\
         FILE \"a b\\x63\\\".aof\" seq 1 type b\r\n\
         seq 4 type i file 'it\\'s' startoffset 17\n",
    );
    assert_eq!(manifest.base.unwrap().name, "a bc\".aof");
    assert_eq!(manifest.increments[0].name, "it's");
}

#[test]
fn names_of_any_kind_and_facts_read_as_they_were_written() {
    let mut manifest = Manifest {
        base: Some(File {
            time: Some(u64::MAX),
            incr: Some(8),
            ..File::new("with blanks, \"quotes\" and ümlauts", 3, Kind::Base)
        }),
        ..Manifest::default()
    };
    manifest.history.push(File {
        until: Some(1_700_000_000),
        ..File::new("old.base.rdb", 2, Kind::History)
    });
    manifest.increments.push(File::new("x", 8, Kind::Increment));
    assert_eq!(Manifest::decode(&manifest.encode()).unwrap(), manifest);
}

#[test]
fn facts_that_are_damaged_are_only_comments() {
    for comment in [
        "# of a",
        "# of a: time",
        "# of a: time x",
        "# of \"a: time 1",
        "# of a b: time 1",
        "# of",
        "#",
    ] {
        let manifest = decode(&format!("{comment}\nfile a seq 1 type b\n"));
        assert_eq!(
            manifest.base.unwrap(),
            File::new("a", 1, Kind::Base),
            "{comment}"
        );
    }
}

#[test]
fn what_redis_refuses_is_refused() {
    for text in [
        "",
        "# Nothing else.\n",
        "\n",
        "file a seq 1\n",
        "file a seq 1 type\n",
        "file a seq 0 type b\n",
        "file a seq x type b\n",
        "file a seq 1 type x\n",
        "file ../a seq 1 type b\n",
        "file a/b seq 1 type b\n",
        "file \"a seq 1 type b\n",
        "file \"a\"b seq 1 type b\n",
        "name a seq 1 type b\n",
        "file a seq 1 type b\nfile b seq 2 type b\n",
        "file a seq 2 type i\nfile b seq 2 type i\n",
        "file a seq 1 type b\n\nfile b seq 2 type i\n",
    ] {
        let error = Manifest::decode(text.as_bytes()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{text:?}");
    }
    assert!(Manifest::decode(b"file \xff seq 1 type b\n").is_err());
    let long = format!("file {} seq 1 type b\n", "a".repeat(1024));
    assert!(Manifest::decode(long.as_bytes()).is_err());
}

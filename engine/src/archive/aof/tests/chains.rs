//! Which files are read.

use crate::ErrorKind;
use crate::archive::aof::{Chain, Covered, Manifest};

fn names(chain: &Chain) -> Vec<String> {
    chain.files().map(|file| file.name.clone()).collect()
}

fn chains(text: &str) -> Vec<Vec<String>> {
    let manifest = Manifest::decode(text.as_bytes()).unwrap();
    manifest.chains().unwrap().iter().map(names).collect()
}

#[test]
fn every_base_has_a_chain_that_goes_on_to_the_newest_file() {
    let found = chains(
        "# of x.3.base.rdb: time 30 incr 5\n\
         file x.3.base.rdb seq 3 type b\n\
         file x.3.incr.aof seq 3 type h\n\
         # of x.1.base.rdb: time 10 incr 3\n\
         file x.1.base.rdb seq 1 type h\n\
         # of x.2.base.rdb: time 20 incr 4\n\
         file x.2.base.rdb seq 2 type h\n\
         file x.4.incr.aof seq 4 type h\n\
         file x.5.incr.aof seq 5 type i\n",
    );
    assert_eq!(
        found,
        [
            vec!["x.3.base.rdb", "x.5.incr.aof"],
            vec!["x.2.base.rdb", "x.4.incr.aof", "x.5.incr.aof"],
            vec![
                "x.1.base.rdb",
                "x.3.incr.aof",
                "x.4.incr.aof",
                "x.5.incr.aof"
            ],
        ]
    );
}

#[test]
fn what_was_replaced_has_no_chain_if_it_is_unknown_or_in_part_gone() {
    let found = chains(
        "# of x.3.base.rdb: incr 5\n\
         file x.3.base.rdb seq 3 type b\n\
         file x.1.base.rdb seq 1 type h\n\
         # of x.2.base.rdb: incr 3\n\
         file x.2.base.rdb seq 2 type h\n\
         file x.3.incr.aof seq 3 type h\n\
         file x.5.incr.aof seq 5 type i\n",
    );
    assert_eq!(found.len(), 1);
}

#[test]
fn a_hole_in_the_newest_chain_is_missing() {
    let text = "file x.1.base.rdb seq 1 type b\nfile x.3.incr.aof seq 3 type i\nfile x.5.incr.aof seq 5 type i\n";
    let error = Manifest::decode(text.as_bytes())
        .unwrap()
        .chains()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Missing);
    assert!(error.to_string().contains("incremental file 4"), "{error}");
}

#[test]
fn covered_seconds_that_touch_are_one() {
    let covered = |from, to| Covered { from, to };
    let merged = Covered::merged(vec![
        covered(20, 30),
        covered(5, 9),
        covered(10, 12),
        covered(25, 40),
        covered(9, 3),
    ]);
    assert_eq!(merged, [covered(5, 12), covered(20, 40)]);
    assert!(merged[0].has(12) && !merged[0].has(13));
}

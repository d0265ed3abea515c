//! Every input that a fuzzer ever found worth keeping, and every kind of real file, once more.

use trilith_fuzz::replay;

const FILES_MIN: usize = 100;

macro_rules! corpus {
    ($($target:ident),*) => {$(
        #[test]
        fn $target() {
            let replayed = replay(stringify!($target), trilith_fuzz::$target);
            assert!(replayed.files >= FILES_MIN, "{replayed:?}");
            // Some seeds are made to be refused; when most are, the format has moved on.
            assert!(replayed.understood * 10 >= replayed.seeds * 8, "{replayed:?}");
        }
    )*};
}

corpus!(
    aof,
    bus,
    command_decode,
    hot_keys,
    log_replay,
    manifest,
    rdb,
    resp,
    sstable,
    values
);

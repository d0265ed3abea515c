//! A backup under load, and what it is loaded into.

use std::fs;
use std::io;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering::SeqCst;
use std::thread;

use trilith::random::Random;
use trilith_tests::cluster::await_some;
use trilith_tests::redis::version;

use super::load::{COUNTERS, Counters, take_counters};
use super::{LIMIT, RANGES, all_in, back_up, cluster_of, import, manifest, set_all};
use crate::files::{served, succeeds, text};
use crate::keys::{assert_same, random_pairs};

const WRITERS: usize = 3;

#[test]
fn a_backup_under_load_is_each_range_at_one_index_and_loads_into_other_sizes() -> io::Result<()> {
    let root = tempfile::tempdir()?;
    let source = cluster_of(3, root.path(), "source")?;
    let still = random_pairs(&mut Random::new(61), 20_000);
    set_all(&mut source.connect(0)?, &still)?;
    let counters = Counters::new();
    let addresses = source.addresses();
    let to = root.path().join("backup");
    let (said, before, after) = thread::scope(|scope| -> io::Result<_> {
        for first in 0..WRITERS {
            let (counters, addresses) = (&counters, &addresses);
            scope.spawn(move || counters.write(addresses, first, WRITERS));
        }
        let made = (|| {
            await_some("a first round of writes", LIMIT, || {
                let written = counters.acknowledged();
                written.iter().all(|&number| number > 0).then_some(())
            })?;
            let before = counters.acknowledged();
            let said = back_up(&source, &to, &[])?;
            Ok((said, before, counters.sent()))
        })();
        counters.ends.store(true, SeqCst);
        made
    })?;
    assert!(
        before
            .iter()
            .zip(&after)
            .any(|(before, after)| before < after)
    );
    let keys = (still.len() + 2 * COUNTERS) as u64;
    assert_eq!(said["keys"], keys);
    assert_eq!(said["transferred"]["ranges"], RANGES);

    let manifest = manifest(&to)?;
    let files = manifest["ranges"].as_array().expect("it has files");
    assert_eq!(files.len(), RANGES);
    for (range, file) in files.iter().enumerate() {
        assert_eq!(file["range"], range);
        assert!(file["index"].as_u64() >= file["changed"]["index"].as_u64());
        let path = to
            .join("ranges")
            .join(file["file"].as_str().expect("a name"));
        assert_eq!(file["bytes"], fs::metadata(&path)?.len());
        if version().is_some() {
            let checked = Command::new("redis-check-rdb")
                .arg(&path)
                .stdin(Stdio::null())
                .output()?;
            let said = String::from_utf8_lossy(&checked.stdout);
            assert!(checked.status.success(), "{said}");
        }
    }
    let said = succeeds(&["check-archive", text(&to)]);
    assert!(said.contains("All files are sound"), "{said}");

    // One node without others.
    let alone = root.path().join("alone");
    succeeds(&["restore", "--from", text(&to), "--into", text(&alone)]);
    let restored = served(&alone)?;
    let mut found = restored.clone();
    take_counters(&mut found, &before, &after);
    assert_same(&found, &still);
    // And more nodes than there were.
    let larger = cluster_of(5, root.path(), "larger")?;
    let said = import(&larger, &to);
    assert_eq!(said["keys"], keys);
    assert_same(&all_in(&larger)?, &restored);
    Ok(())
}

#[test]
fn what_expires_keeps_its_deadline_and_what_has_expired_since_is_left_out() -> io::Result<()> {
    let root = tempfile::tempdir()?;
    let source = cluster_of(1, root.path(), "source")?;
    let mut client = source.connect(0)?;
    let still = random_pairs(&mut Random::new(67), 1_000);
    set_all(&mut client, &still)?;
    client.call(&["SET", "soon", "gone", "PX", "3000"])?;
    let to = root.path().join("backup");
    assert_eq!(back_up(&source, &to, &[])?["keys"], still.len() as u64 + 1);
    await_some("the key's end", LIMIT, || {
        let gone = client.call(&["EXISTS", "soon"]);
        gone.is_ok_and(|gone| gone == trilith_tests::Reply::Integer(0))
            .then_some(())
    })?;
    let into = cluster_of(1, root.path(), "into")?;
    let said = import(&into, &to);
    assert_eq!(said["keys"], still.len());
    assert_eq!(said["expired"], 1);
    assert_same(&all_in(&into)?, &still);
    Ok(())
}

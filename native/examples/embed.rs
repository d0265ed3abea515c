//! A durable store in a directory, from plain threads: `embed [DIRECTORY]`.

use std::path::PathBuf;
use std::time::Duration;

use trilith::{Batch, Options, Range, Sync};
use trilith_server::open_with;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = match std::env::args_os().nth(1) {
        Some(directory) => PathBuf::from(directory),
        None => std::env::temp_dir().join(format!("trilith-embed-{}", std::process::id())),
    };
    let options = Options {
        // An acknowledged write survives a power loss.
        sync: Sync::Always,
        memory_bytes: 64 << 20,
        ..Options::default()
    };
    let store = open_with(directory.join("store"), options)?;

    store.put(b"user:1", b"Alex")?;
    store.put_for(b"session:1", b"open", Duration::from_secs(3600))?;
    let mut transfer = Batch::new();
    transfer.put(b"balance:1", b"90").put(b"balance:2", b"110");
    store.write(transfer)?;

    let before = store.snapshot();
    store.put(b"balance:1", b"0")?;
    println!("balance:1 was {:?}", before.get(b"balance:1")?);
    println!("balance:1 is  {:?}", store.get(b"balance:1")?);
    drop(before);

    for pair in store.scan(Range::prefix(b"balance:").reversed())? {
        let (key, value) = pair?;
        println!("{} = {}", key.escape_ascii(), value.escape_ascii());
    }

    // Which way a read takes, while the key is in memory alone and when it is in a table too.
    println!("{}", store.explain(b"user:1")?);
    store.flush()?;
    println!("{}", store.explain(b"user:2")?);

    store.checkpoint(directory.join("copy"))?;
    store.close()?;
    drop(store);

    let copy = open_with(directory.join("copy"), Options::default())?;
    println!("the copy has {:?}", copy.get(b"user:1")?);
    println!("the copy is sound: {}", copy.verify()?.is_sound());
    copy.close()?;
    drop(copy);

    if std::env::args_os().nth(1).is_none() {
        std::fs::remove_dir_all(directory)?;
    }
    Ok(())
}

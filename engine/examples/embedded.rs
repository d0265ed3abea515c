//! The engine on a host of its own choosing: here storage in memory and virtual time, as in tests and
//! simulations. Nothing in it needs files, threads or a clock.

use std::time::Duration;

use trilith::sim::TestRuntime;
use trilith::{Batch, Db, MemoryStorage, Options, Range, Result, Runtime};

fn main() -> Result<()> {
    let runtime = TestRuntime::new(1);
    runtime.block_on(play(runtime.clone()))
}

async fn play(runtime: TestRuntime) -> Result<()> {
    let storage = MemoryStorage::new();
    let db = Db::open(storage, runtime.clone(), Options::default()).await?;

    db.put(b"user:1", b"Alex").await?;
    let mut batch = Batch::new();
    batch.put(b"user:2", b"Kim").put(b"user:3", b"Sam");
    db.write(batch).await?;
    let before = db.snapshot();
    db.delete(b"user:2").await?;

    let mut users = db.scan(Range::prefix(b"user:").reversed())?;
    while let Some((key, value)) = users.next().await? {
        println!("{} is {}", key.escape_ascii(), value.escape_ascii());
    }
    let kim = before.get(b"user:2").await?;
    println!("in the snapshot user:2 still is {kim:?}");

    // An hour takes no time here.
    db.put_for(b"session", b"open", Duration::from_secs(3600))
        .await?;
    runtime.sleep(Duration::from_secs(3601)).await;
    println!(
        "an hour later the session is {:?}",
        db.get(b"session").await?
    );

    drop((users, before));
    db.close().await
}

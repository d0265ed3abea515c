//! What a settled append costs beside the bare system calls: `cargo bench -p trilith-server --bench
//! settle_cost -- [DIRECTORY]`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use parking_lot::Mutex;
use trilith::Durability::{self, Synced, Written};
use trilith::{Object, Result, Storage, Writer};
use trilith_server::{FileStorage, block_on};

const RECORD: [u8; 150] = [7; 150];
const WRITES: u32 = 300_000;
const SYNCS: u32 = 1500;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Cargo adds options of its own.
    let given = std::env::args_os()
        .skip(1)
        .find(|argument| !argument.to_string_lossy().starts_with("--"));
    let directory = match given {
        Some(directory) => PathBuf::from(directory),
        None => std::env::temp_dir(),
    };
    let directory = directory.join("trilith-settle-cost");
    std::fs::create_dir_all(&directory)?;
    let storage = FileStorage::new(directory.join("store"));
    block_on(storage.load())?;
    for _ in 0..3 {
        let bare = bare(&directory, WRITES, false)?;
        let ours = settled(&storage, Written, 1, WRITES)?;
        println!(
            "written: bare {bare:.0} ns, settled {ours:.0} ns, x{:.3}",
            ours / bare
        );
    }
    let bare = bare(&directory, SYNCS, true)?;
    println!("synced: bare {:.0} us", bare / 1000.0);
    for threads in [1, 4] {
        let ours = settled(&storage, Synced, threads, SYNCS)?;
        println!("synced: {threads} threads {:.0} us a record", ours / 1000.0);
    }
    drop(storage);
    std::fs::remove_dir_all(&directory)?;
    Ok(())
}

/// Nanoseconds a record, with nothing but system calls.
fn bare(directory: &Path, records: u32, syncs: bool) -> Result<f64, std::io::Error> {
    let path = directory.join("bare");
    let file = File::create(&path)?;
    let start = Instant::now();
    for n in 0..u64::from(records) {
        write_at(&file, &RECORD, n * RECORD.len() as u64)?;
        if syncs {
            file.sync_data()?;
        }
    }
    let took = start.elapsed();
    std::fs::remove_file(path)?;
    Ok(took.as_nanos() as f64 / f64::from(records))
}

#[cfg(unix)]
fn write_at(file: &File, bytes: &[u8], offset: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

#[cfg(windows)]
fn write_at(file: &File, bytes: &[u8], offset: u64) -> std::io::Result<()> {
    std::os::windows::fs::FileExt::seek_write(file, bytes, offset).map(drop)
}

/// Nanoseconds a record, all threads together.
fn settled(storage: &FileStorage, to: Durability, threads: u32, records: u32) -> Result<f64> {
    let mut writer = block_on(storage.create(Object::Segment(1)))?;
    let start = Instant::now();
    if threads == 1 {
        for _ in 0..records {
            block_on(append(&mut writer, to)?)?;
        }
    } else {
        let writer = Mutex::new(writer);
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    for _ in 0..records / threads {
                        let settle = append(&mut *writer.lock(), to).expect("it appends");
                        block_on(settle).expect("it settles");
                    }
                });
            }
        });
    }
    Ok(start.elapsed().as_nanos() as f64 / f64::from(records))
}

fn append<W: Writer>(
    writer: &mut W,
    to: Durability,
) -> Result<impl Future<Output = Result<()>> + use<W>> {
    let end = writer.append(&RECORD)?;
    Ok(writer.settle(end, to))
}

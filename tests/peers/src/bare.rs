//! What the disk allows: write(2) of key and value to the end of one file, and fdatasync if asked for.
//! It cannot read, so it is compared in writes only.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

use trilith_server::bench::{Sync, Target, TargetOptions};

/// An open file.
pub struct Bare {
    file: File,
    sync: Sync,
}

impl Bare {
    pub fn open(path: &Path, options: &TargetOptions) -> Result<Self, String> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path.join("bare.log"))
            .map_err(|error| error.to_string())?;
        Ok(Self {
            file,
            sync: options.sync,
        })
    }

    fn append(&self, key: &[u8], value: &[u8]) -> std::io::Result<()> {
        let mut record = [0; 4096];
        let len = key.len() + value.len();
        if len <= record.len() {
            record[..key.len()].copy_from_slice(key);
            record[key.len()..len].copy_from_slice(value);
            (&self.file).write_all(&record[..len])?;
        } else {
            (&self.file).write_all(&[key, value].concat())?;
        }
        if self.sync == Sync::Always {
            self.file.sync_data()?;
        }
        Ok(())
    }
}

impl Target for Bare {
    fn name(&self) -> &str {
        "bare"
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), String> {
        self.append(key, value).map_err(|error| error.to_string())
    }

    fn get(&self, _: &[u8], _: &mut dyn FnMut(&[u8])) -> Result<bool, String> {
        Err("a bare file cannot look anything up".into())
    }

    fn delete(&self, key: &[u8]) -> Result<(), String> {
        self.put(key, b"")
    }

    fn scan(
        &self,
        _: Option<&[u8]>,
        _: u64,
        _: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<u64, String> {
        Err("a bare file has no order".into())
    }

    fn settle(&self) -> Result<(), String> {
        self.file.sync_data().map_err(|error| error.to_string())
    }
}

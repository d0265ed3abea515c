//! RocksDB as a target: db_bench's defaults, with the budget, bloom filters and LZ4 that Trilith has too.

use std::ffi::{CStr, CString, c_char};
use std::path::Path;
use std::ptr;
use std::thread;
use std::time::Duration;

use trilith_server::bench::{Sync, Target, TargetOptions, WriteStats};

use crate::rocksdb_ffi as ffi;

const WRITE_BUFFER_BYTES: u64 = 64 << 20;
const WRITE_BUFFERS: u64 = 3;
const BLOOM_BITS_PER_KEY: f64 = 10.0;

/// An open RocksDB and the options it was opened with.
pub struct RocksDb {
    db: *mut ffi::Db,
    options: *mut ffi::Options,
    read: *mut ffi::ReadOptions,
    write: *mut ffi::WriteOptions,
    counts: bool,
}

// SAFETY: RocksDB documents a DB as safe to use from many threads without more locking, and the option
// objects are only read once `open` has made them.
unsafe impl Send for RocksDb {}
// SAFETY: as above.
unsafe impl std::marker::Sync for RocksDb {}

impl RocksDb {
    pub fn open(path: &Path, options: &TargetOptions) -> Result<Self, String> {
        let name =
            CString::new(path.as_os_str().as_encoded_bytes()).map_err(|error| error.to_string())?;
        // SAFETY: every pointer comes from the creating function right here, is given to functions that
        // expect its type and is destroyed once; `name` outlives the call.
        unsafe {
            let made = make_options(options);
            let mut error = ptr::null_mut();
            let db = ffi::rocksdb_open(made, name.as_ptr(), &mut error);
            if let Err(error) = check(error) {
                ffi::rocksdb_options_destroy(made);
                return Err(error);
            }
            let write = ffi::rocksdb_writeoptions_create();
            ffi::rocksdb_writeoptions_set_sync(write, u8::from(options.sync == Sync::Always));
            Ok(Self {
                db,
                options: made,
                read: ffi::rocksdb_readoptions_create(),
                write,
                counts: options.detailed_statistics,
            })
        }
    }

    fn property(&self, name: &CStr) -> u64 {
        let mut value = 0;
        // SAFETY: `name` ends in a zero byte, `value` is written by the call only.
        let code = unsafe { ffi::rocksdb_property_int(self.db, name.as_ptr(), &mut value) };
        if code == 0 { value } else { 0 }
    }

    fn is_busy(&self) -> bool {
        [
            c"rocksdb.num-running-flushes",
            c"rocksdb.num-running-compactions",
            c"rocksdb.mem-table-flush-pending",
            c"rocksdb.compaction-pending",
        ]
        .iter()
        .any(|name| self.property(name) > 0)
    }
}

unsafe fn make_options(options: &TargetOptions) -> *mut ffi::Options {
    let write_buffer = WRITE_BUFFER_BYTES
        .min(options.memory_bytes / 8)
        .max(1 << 20);
    let cache = options
        .memory_bytes
        .saturating_sub(write_buffer * WRITE_BUFFERS)
        .max(8 << 20);
    // SAFETY: see `open`. The table options take over the filter policy and share the cache, the options
    // share the rate limiter and copy the table options, so what is not taken over is destroyed here.
    unsafe {
        let table = ffi::rocksdb_block_based_options_create();
        let lru = ffi::rocksdb_cache_create_lru(cache as usize);
        let bloom = ffi::rocksdb_filterpolicy_create_bloom_full(BLOOM_BITS_PER_KEY);
        ffi::rocksdb_block_based_options_set_filter_policy(table, bloom);
        ffi::rocksdb_block_based_options_set_block_cache(table, lru);
        ffi::rocksdb_block_based_options_set_cache_index_and_filter_blocks(table, 1);

        let made = ffi::rocksdb_options_create();
        ffi::rocksdb_options_set_create_if_missing(made, 1);
        ffi::rocksdb_options_set_write_buffer_size(made, write_buffer as usize);
        ffi::rocksdb_options_set_max_write_buffer_number(made, WRITE_BUFFERS as i32);
        ffi::rocksdb_options_set_max_background_jobs(made, 2);
        ffi::rocksdb_options_set_compression(made, ffi::LZ4);
        ffi::rocksdb_options_set_block_based_table_factory(made, table);
        if options.detailed_statistics {
            ffi::rocksdb_options_enable_statistics(made);
        }
        if let Some(rate) = options.compaction_bytes_per_second {
            let limiter = ffi::rocksdb_ratelimiter_create(rate as i64, 100_000, 10);
            ffi::rocksdb_options_set_ratelimiter(made, limiter);
            ffi::rocksdb_ratelimiter_destroy(limiter);
        }
        ffi::rocksdb_block_based_options_destroy(table);
        ffi::rocksdb_cache_destroy(lru);
        made
    }
}

/// Turns what RocksDB left in an error pointer into a result.
unsafe fn check(error: *mut c_char) -> Result<(), String> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: a set error is a string ending in a zero byte that is now ours to free.
    unsafe {
        let text = CStr::from_ptr(error).to_string_lossy().into_owned();
        ffi::rocksdb_free(error.cast());
        Err(text)
    }
}

impl Target for RocksDb {
    fn name(&self) -> &str {
        "rocksdb"
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), String> {
        let mut error = ptr::null_mut();
        // SAFETY: the slices outlive the call, which copies them.
        unsafe {
            ffi::rocksdb_put(
                self.db,
                self.write,
                key.as_ptr().cast(),
                key.len(),
                value.as_ptr().cast(),
                value.len(),
                &mut error,
            );
            check(error)
        }
    }

    fn get(&self, key: &[u8], each: &mut dyn FnMut(&[u8])) -> Result<bool, String> {
        let mut error = ptr::null_mut();
        // SAFETY: the value stays pinned until the slice is destroyed, after `each` has seen it. No value
        // is a null pointer, which the two functions on slices are not given.
        unsafe {
            let slice = ffi::rocksdb_get_pinned(
                self.db,
                self.read,
                key.as_ptr().cast(),
                key.len(),
                &mut error,
            );
            check(error)?;
            if slice.is_null() {
                return Ok(false);
            }
            let mut len = 0;
            let value = ffi::rocksdb_pinnableslice_value(slice, &mut len);
            each(std::slice::from_raw_parts(value.cast(), len));
            ffi::rocksdb_pinnableslice_destroy(slice);
            Ok(true)
        }
    }

    fn delete(&self, key: &[u8]) -> Result<(), String> {
        let mut error = ptr::null_mut();
        // SAFETY: the slice outlives the call, which copies it.
        unsafe {
            ffi::rocksdb_delete(
                self.db,
                self.write,
                key.as_ptr().cast(),
                key.len(),
                &mut error,
            );
            check(error)
        }
    }

    fn scan(
        &self,
        from: Option<&[u8]>,
        limit: u64,
        each: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<u64, String> {
        // SAFETY: key and value stay where they are until the iterator moves, which it does after `each`
        // has seen them; they are asked for only while it is valid; it is destroyed once.
        unsafe {
            let iterator = ffi::rocksdb_create_iterator(self.db, self.read);
            match from {
                Some(key) => ffi::rocksdb_iter_seek(iterator, key.as_ptr().cast(), key.len()),
                None => ffi::rocksdb_iter_seek_to_first(iterator),
            }
            let mut count = 0;
            while count < limit && ffi::rocksdb_iter_valid(iterator) != 0 {
                let (mut key_len, mut value_len) = (0, 0);
                let key = ffi::rocksdb_iter_key(iterator, &mut key_len);
                let value = ffi::rocksdb_iter_value(iterator, &mut value_len);
                each(
                    std::slice::from_raw_parts(key.cast(), key_len),
                    std::slice::from_raw_parts(value.cast(), value_len),
                );
                count += 1;
                if count < limit {
                    ffi::rocksdb_iter_next(iterator);
                }
            }
            let mut error = ptr::null_mut();
            ffi::rocksdb_iter_get_error(iterator, &mut error);
            ffi::rocksdb_iter_destroy(iterator);
            check(error)?;
            Ok(count)
        }
    }

    fn settle(&self) -> Result<(), String> {
        let mut error = ptr::null_mut();
        // SAFETY: the flush options are made and destroyed here.
        unsafe {
            let flush = ffi::rocksdb_flushoptions_create();
            ffi::rocksdb_flushoptions_set_wait(flush, 1);
            ffi::rocksdb_flush(self.db, flush, &mut error);
            ffi::rocksdb_flushoptions_destroy(flush);
            check(error)?;
        }
        let mut quiet = 0;
        while quiet < 3 {
            quiet = if self.is_busy() { 0 } else { quiet + 1 };
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn write_stats(&self) -> Option<WriteStats> {
        if !self.counts {
            return None;
        }
        // SAFETY: the string ends in a zero byte and is ours to free.
        let text = unsafe {
            let string = ffi::rocksdb_options_statistics_get_string(self.options);
            if string.is_null() {
                return None;
            }
            let text = CStr::from_ptr(string).to_string_lossy().into_owned();
            ffi::rocksdb_free(string.cast());
            text
        };
        let ticker = |name: &str| {
            text.lines().find_map(|line| {
                line.strip_prefix(name)?
                    .strip_prefix(" COUNT : ")?
                    .trim()
                    .parse::<u64>()
                    .ok()
            })
        };
        Some(WriteStats {
            log_bytes: ticker("rocksdb.wal.bytes")?,
            table_bytes: ticker("rocksdb.flush.write.bytes")?
                + ticker("rocksdb.compact.write.bytes")?,
        })
    }
}

impl Drop for RocksDb {
    fn drop(&mut self) {
        // SAFETY: nothing else holds these any more; the database is closed before what it was opened with goes.
        unsafe {
            ffi::rocksdb_close(self.db);
            ffi::rocksdb_readoptions_destroy(self.read);
            ffi::rocksdb_writeoptions_destroy(self.write);
            ffi::rocksdb_options_destroy(self.options);
        }
    }
}

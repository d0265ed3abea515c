//! The part of RocksDB's C interface that is needed here, as RocksDB 7.8 declares it.

use std::ffi::{c_char, c_double, c_int, c_uchar};

/// Types of RocksDB's, seen only through pointers.
macro_rules! opaque {
    ($($name:ident)*) => {$(
        #[repr(C)]
        pub struct $name {
            _private: [u8; 0],
        }
    )*};
}

opaque! { Db Options TableOptions FilterPolicy Cache RateLimiter ReadOptions WriteOptions FlushOptions Iterator PinnableSlice }

pub const LZ4: c_int = 4;

#[link(name = "rocksdb")]
unsafe extern "C" {
    pub fn rocksdb_open(
        options: *const Options,
        name: *const c_char,
        error: *mut *mut c_char,
    ) -> *mut Db;
    pub fn rocksdb_close(db: *mut Db);
    pub fn rocksdb_free(pointer: *mut std::ffi::c_void);

    pub fn rocksdb_put(
        db: *mut Db,
        options: *const WriteOptions,
        key: *const c_char,
        key_len: usize,
        value: *const c_char,
        value_len: usize,
        error: *mut *mut c_char,
    );
    pub fn rocksdb_delete(
        db: *mut Db,
        options: *const WriteOptions,
        key: *const c_char,
        key_len: usize,
        error: *mut *mut c_char,
    );
    pub fn rocksdb_get_pinned(
        db: *mut Db,
        options: *const ReadOptions,
        key: *const c_char,
        key_len: usize,
        error: *mut *mut c_char,
    ) -> *mut PinnableSlice;
    pub fn rocksdb_pinnableslice_value(
        slice: *const PinnableSlice,
        len: *mut usize,
    ) -> *const c_char;
    pub fn rocksdb_pinnableslice_destroy(slice: *mut PinnableSlice);

    pub fn rocksdb_create_iterator(db: *mut Db, options: *const ReadOptions) -> *mut Iterator;
    pub fn rocksdb_iter_destroy(iterator: *mut Iterator);
    pub fn rocksdb_iter_valid(iterator: *const Iterator) -> c_uchar;
    pub fn rocksdb_iter_seek_to_first(iterator: *mut Iterator);
    pub fn rocksdb_iter_seek(iterator: *mut Iterator, key: *const c_char, key_len: usize);
    pub fn rocksdb_iter_next(iterator: *mut Iterator);
    pub fn rocksdb_iter_key(iterator: *const Iterator, len: *mut usize) -> *const c_char;
    pub fn rocksdb_iter_value(iterator: *const Iterator, len: *mut usize) -> *const c_char;
    pub fn rocksdb_iter_get_error(iterator: *const Iterator, error: *mut *mut c_char);

    pub fn rocksdb_flush(db: *mut Db, options: *const FlushOptions, error: *mut *mut c_char);
    pub fn rocksdb_property_int(db: *mut Db, name: *const c_char, value: *mut u64) -> c_int;

    pub fn rocksdb_options_create() -> *mut Options;
    pub fn rocksdb_options_destroy(options: *mut Options);
    pub fn rocksdb_options_set_create_if_missing(options: *mut Options, on: c_uchar);
    pub fn rocksdb_options_set_write_buffer_size(options: *mut Options, bytes: usize);
    pub fn rocksdb_options_set_max_write_buffer_number(options: *mut Options, count: c_int);
    pub fn rocksdb_options_set_max_background_jobs(options: *mut Options, count: c_int);
    pub fn rocksdb_options_set_compression(options: *mut Options, kind: c_int);
    pub fn rocksdb_options_set_block_based_table_factory(
        options: *mut Options,
        table: *mut TableOptions,
    );
    pub fn rocksdb_options_set_ratelimiter(options: *mut Options, limiter: *mut RateLimiter);
    pub fn rocksdb_options_enable_statistics(options: *mut Options);
    pub fn rocksdb_options_statistics_get_string(options: *mut Options) -> *mut c_char;

    pub fn rocksdb_ratelimiter_create(
        bytes_per_second: i64,
        refill_us: i64,
        fairness: i32,
    ) -> *mut RateLimiter;
    pub fn rocksdb_ratelimiter_destroy(limiter: *mut RateLimiter);
    pub fn rocksdb_cache_create_lru(bytes: usize) -> *mut Cache;
    pub fn rocksdb_cache_destroy(cache: *mut Cache);
    pub fn rocksdb_filterpolicy_create_bloom_full(bits_per_key: c_double) -> *mut FilterPolicy;

    pub fn rocksdb_block_based_options_create() -> *mut TableOptions;
    pub fn rocksdb_block_based_options_destroy(options: *mut TableOptions);
    pub fn rocksdb_block_based_options_set_filter_policy(
        options: *mut TableOptions,
        policy: *mut FilterPolicy,
    );
    pub fn rocksdb_block_based_options_set_block_cache(
        options: *mut TableOptions,
        cache: *mut Cache,
    );
    pub fn rocksdb_block_based_options_set_cache_index_and_filter_blocks(
        options: *mut TableOptions,
        on: c_uchar,
    );

    pub fn rocksdb_readoptions_create() -> *mut ReadOptions;
    pub fn rocksdb_readoptions_destroy(options: *mut ReadOptions);
    pub fn rocksdb_writeoptions_create() -> *mut WriteOptions;
    pub fn rocksdb_writeoptions_destroy(options: *mut WriteOptions);
    pub fn rocksdb_writeoptions_set_sync(options: *mut WriteOptions, on: c_uchar);
    pub fn rocksdb_flushoptions_create() -> *mut FlushOptions;
    pub fn rocksdb_flushoptions_destroy(options: *mut FlushOptions);
    pub fn rocksdb_flushoptions_set_wait(options: *mut FlushOptions, on: c_uchar);
}

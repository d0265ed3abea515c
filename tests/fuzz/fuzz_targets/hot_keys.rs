#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    trilith_fuzz::hot_keys(data);
});

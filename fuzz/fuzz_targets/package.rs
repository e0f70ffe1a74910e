//! See [`rubus_fuzz::package`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rubus_fuzz::package(data));

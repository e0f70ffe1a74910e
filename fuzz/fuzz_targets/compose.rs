//! See [`rubus_fuzz::compose`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rubus_fuzz::compose(data));

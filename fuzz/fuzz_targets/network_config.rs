//! See [`rubus_fuzz::network_config`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rubus_fuzz::network_config(data));

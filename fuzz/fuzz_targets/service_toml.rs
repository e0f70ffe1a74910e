//! See [`rubus_fuzz::service_toml`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rubus_fuzz::service_toml(data));

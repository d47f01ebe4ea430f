#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| rtcd::fuzzing::bitcask(data));

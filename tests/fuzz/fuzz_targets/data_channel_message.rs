#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| rtcd::fuzzing::data_channel_message(data));

#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| rtcd_media::fuzzing::turn(data));

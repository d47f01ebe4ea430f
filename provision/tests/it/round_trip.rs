//! What is written is what is read, however it is written.
use crate::sections::section;
use proptest::prelude::*;
use provision::cloud_config;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_section_is_read_back_to_exactly_its_values(section in section()) {
        let read = cloud_config::read_bytes(section.text.as_bytes());
        prop_assert_eq!(&read.mistakes, &[]);
        let found = read.wanted.rtcd.into_iter().map(|(path, placed)| (path, placed.value)).collect();
        prop_assert!(section.values == found, "{:?}", section);
    }
}

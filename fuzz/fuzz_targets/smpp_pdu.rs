//! Whatever a message centre sends, reading it ends and nothing panics.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    pabal_provider::adapter::read_smpp_stream(bytes);
});

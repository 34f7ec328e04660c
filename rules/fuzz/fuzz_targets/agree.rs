//! Edits and events, made of bytes: `RuleIndex` in every manner, `RuleSet`, explanations and lint agree.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    rules_fuzz::agree::run(bytes, false);
});

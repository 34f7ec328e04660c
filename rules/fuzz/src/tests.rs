//! The fuzzer's bytes lead past the parser: to every operator, to matches, to refusals.

use crate::agree::{self, Reached};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Bytes that only look random (splitmix64).
fn bytes(seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut words = Vec::new();
    for _ in 0..64 {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        words.extend((mixed ^ (mixed >> 31)).to_le_bytes());
    }
    words
}

/// The operator that an alternative has outermost.
fn operator(alternative: &str) -> String {
    let named = alternative
        .strip_prefix("{\"")
        .and_then(|rest| rest.split('"').next());
    named.unwrap_or("literal").to_owned()
}

#[test]
fn every_operator_is_reached() {
    let asked = std::env::var("EDGEBUS_CORPUS").ok();
    let corpus: Vec<Vec<u8>> = match &asked {
        None => (0..500).map(bytes).collect(),
        Some(folder) => {
            let files = std::fs::read_dir(PathBuf::from(folder)).expect("the folder is there");
            files
                .map(|file| std::fs::read(file.unwrap().path()).expect("a file"))
                .collect()
        }
    };
    let mut sum = Reached::default();
    let mut met: BTreeMap<String, usize> = BTreeMap::new();
    for bytes in &corpus {
        let reached = agree::run(bytes, true);
        sum.patterns += reached.patterns;
        sum.parsed += reached.parsed;
        sum.events += reached.events;
        sum.accepted += reached.accepted;
        sum.matched += reached.matched;
        for alternative in &reached.met {
            *met.entry(operator(alternative)).or_default() += 1;
        }
    }
    println!("{} sessions: {sum:?}\nmet: {met:#?}", corpus.len());
    if asked.is_none() {
        assert!(sum.parsed * 4 > sum.patterns * 3, "most patterns are valid");
        assert!(sum.accepted * 2 > sum.events, "most events are accepted");
        assert!(sum.matched * 8 > sum.accepted, "many events match");
        let wanted = [
            "all",
            "anything-but",
            "cidr",
            "contains-all",
            "equals-ignore-case",
            "exactly",
            "exists",
            "literal",
            "not",
            "numeric",
            "prefix",
            "regex",
            "suffix",
            "wildcard",
        ];
        for operator in wanted {
            assert!(
                met.get(operator).is_some_and(|times| *times >= 3),
                "{operator}: {met:?}"
            );
        }
    }
}

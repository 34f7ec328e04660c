//! Raw bytes as an event, against fixed rules: the same answers, or the same error from both matchers;
//! and no panic where trust is misplaced.
#![no_main]

use edgebus_rules::{Duplicates, Part, Scratch, Trust};
use rules_fuzz::{compare, fixed};
use std::cell::RefCell;

thread_local! {
    static STATE: RefCell<(compare::Rules, Scratch)> =
        RefCell::new((fixed::rules(), Scratch::new()));
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    STATE.with_borrow_mut(|(rules, scratch)| {
        compare::document(rules, scratch, bytes);
        compare::parts(rules, scratch, bytes, bytes.len());
        // The bytes as one part: what is no object as a whole is read too.
        let part = [Part::Raw {
            name: "a",
            json: bytes,
        }];
        let set = rules.plain.matches(&part, Duplicates::LastWins);
        let set = set.map(|keys| keys.into_iter().copied().collect::<Vec<_>>());
        let index = rules
            .index
            .matches(scratch, &part, Duplicates::LastWins, Trust::Unchecked);
        let index = index.map(|keys| keys.copied().collect::<Vec<_>>());
        assert_eq!(index, set, "one part: index, set");
        for trust in [Trust::Json, Trust::Plain] {
            drop(
                rules
                    .index
                    .matches(scratch, &part, Duplicates::Refuse, trust),
            );
        }
    });
});

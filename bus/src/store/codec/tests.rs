//! Records come back as they went in, and any flipped bit is noticed.

use super::*;

#[test]
fn every_flipped_bit_is_harm() {
    let mut out = Vec::new();
    let key = 7_u64.to_be_bytes();
    seal(&mut out, Table::Events, &key, |out| out.bytes(b"content"));
    let read = |table, key: &[u8], record: &[u8]| {
        unseal(table, key, record, |from| from.bytes().map(<[u8]>::to_vec))
    };
    assert_eq!(read(Table::Events, &key, &out).unwrap(), b"content");
    for bit in 0..out.len() * 8 {
        let mut harmed = out.clone();
        harmed[bit / 8] ^= 1 << (bit % 8);
        assert!(read(Table::Events, &key, &harmed).is_err(), "bit {bit}");
    }
    for length in 0..out.len() {
        assert!(read(Table::Events, &key, &out[..length]).is_err());
    }
    // In another place the same bytes are harmed.
    assert!(read(Table::Settled, &key, &out).is_err());
    assert!(read(Table::Events, &8_u64.to_be_bytes(), &out).is_err());
}

#[test]
fn long_keys_are_covered_whole() {
    let mut out = Vec::new();
    let mut key = vec![1_u8; 577];
    seal(&mut out, Table::State, &key, |out| out.u8(1));
    assert!(unseal(Table::State, &key, &out, Reader::u8).is_ok());
    key[576] = 2;
    assert!(unseal(Table::State, &key, &out, Reader::u8).is_err());
}

#[test]
fn a_record_of_another_release_is_not_read() {
    let mut out = vec![RECORD_FORMAT + 1, 5];
    let sum = checksum(Table::Heads, b"k", &out);
    out.extend_from_slice(&sum.to_le_bytes());
    let harm = unseal(Table::Heads, b"k", &out, Reader::u8).unwrap_err();
    assert!(harm.reason.contains("another release"), "{harm:?}");
}

#[test]
fn names_of_harm_are_readable() {
    let mut key = 3_u32.to_be_bytes().to_vec();
    key.extend_from_slice(&9_u64.to_be_bytes());
    let harm = Harm::new(Table::Events, &key, "x");
    assert_eq!(harm.name, "events bus 3 position 9");
    let mut key = 3_u32.to_be_bytes().to_vec();
    key.extend_from_slice(&2_u32.to_be_bytes());
    key.extend_from_slice(&9_u64.to_be_bytes());
    let harm = Harm::new(Table::DeadLetters, &key, "x");
    assert_eq!(harm.name, "dead-letters 3-9-r2");
    key.extend_from_slice(&4_u32.to_be_bytes());
    let harm = Harm::new(Table::Attempts, &key, "x");
    assert_eq!(harm.name, "attempts 3-9-r2 attempt 4");
    let mut key = 1_u32.to_be_bytes().to_vec();
    key.extend_from_slice(&9_u64.to_be_bytes());
    key.extend_from_slice(&3_u32.to_be_bytes());
    key.extend_from_slice(&2_u32.to_be_bytes());
    assert_eq!(Harm::new(Table::Settled, &key, "x").name, "settled 3-9-r2");
}

/// What a record of format 1 said of a target is still read; format 2 put the input behind it.
#[test]
fn a_target_of_format_1_has_no_input() {
    let rule = crate::store::conformance::rule("r", "default", &["f"]);
    let mut out = Vec::new();
    seal(&mut out, Table::Catalog, b"r", |out| {
        catalog::write_rule(out, &rule)
    });
    let read = |record: &[u8]| unseal(Table::Catalog, b"r", record, catalog::read_rule);
    assert_eq!(read(&out).unwrap(), rule);

    let mut plain = rule.clone();
    plain.targets[0].input = None;
    seal(&mut out, Table::Catalog, b"r", |out| {
        catalog::write_rule(out, &plain)
    });
    assert_eq!(read(&out).unwrap(), plain);
    // Format 1 ends before the flag that says whether there is an input.
    let mut first = out[..out.len() - 9].to_vec();
    first[0] = 1;
    let sum = checksum(Table::Catalog, b"r", &first);
    first.extend_from_slice(&sum.to_le_bytes());
    assert_eq!(read(&first).unwrap(), plain);
}

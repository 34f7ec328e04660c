//! Records come back as they went in, and any flipped bit is noticed.

use super::*;

#[test]
fn every_flipped_bit_is_corruption() {
    let mut out = Vec::new();
    let key = 7_u64.to_be_bytes();
    seal(&mut out, Table::Events, &key, |out| out.bytes(b"content"));
    let read = |table, key: &[u8], record: &[u8]| {
        unseal(table, key, record, |from| from.bytes().map(<[u8]>::to_vec))
    };
    assert_eq!(read(Table::Events, &key, &out).unwrap(), b"content");
    for bit in 0..out.len() * 8 {
        let mut corrupt = out.clone();
        corrupt[bit / 8] ^= 1 << (bit % 8);
        assert!(read(Table::Events, &key, &corrupt).is_err(), "bit {bit}");
    }
    for length in 0..out.len() {
        assert!(read(Table::Events, &key, &out[..length]).is_err());
    }
    // In another place the same bytes are corrupt.
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
    let corruption = unseal(Table::Heads, b"k", &out, Reader::u8).unwrap_err();
    assert!(
        corruption.reason.contains("another release"),
        "{corruption:?}"
    );
}

#[test]
fn names_of_corruption_are_readable() {
    let mut key = 3_u32.to_be_bytes().to_vec();
    key.extend_from_slice(&9_u64.to_be_bytes());
    let corruption = CorruptRecord::new(Table::Events, &key, "x");
    assert_eq!(corruption.name, "events bus 3 position 9");
    let mut key = 3_u32.to_be_bytes().to_vec();
    key.extend_from_slice(&2_u32.to_be_bytes());
    key.extend_from_slice(&9_u64.to_be_bytes());
    let corruption = CorruptRecord::new(Table::DeadLetters, &key, "x");
    assert_eq!(corruption.name, "dead-letters 3-9-r2");
    key.extend_from_slice(&4_u32.to_be_bytes());
    let corruption = CorruptRecord::new(Table::Attempts, &key, "x");
    assert_eq!(corruption.name, "attempts 3-9-r2 attempt 4");
    let mut key = 1_u32.to_be_bytes().to_vec();
    key.extend_from_slice(&9_u64.to_be_bytes());
    key.extend_from_slice(&3_u32.to_be_bytes());
    key.extend_from_slice(&2_u32.to_be_bytes());
    assert_eq!(
        CorruptRecord::new(Table::Settled, &key, "x").name,
        "settled 3-9-r2"
    );
}

/// What records of formats 1 and 2 said of a target is still read: a function, whose subscription has the
/// default name. Format 2 put the input behind it.
#[test]
fn targets_of_formats_1_and_2_are_read() {
    let mut rule = crate::conformance::rule("r", "default", &["f"]);
    let read = |record: &[u8]| unseal(Table::Catalog, b"r", record, catalog::read_rule);
    let mut out = Vec::new();
    seal(&mut out, Table::Catalog, b"r", |out| {
        catalog::write_rule(out, &rule);
    });
    assert_eq!(read(&out).unwrap(), rule);

    // Before format 3 there were no name of a subscription, `r/f`, and no kind.
    let own = [&3_u32.to_le_bytes()[..], b"r/f", &[0]].concat();
    let place = out.windows(own.len()).position(|bytes| bytes == own);
    let place = place.expect("it is in the record");
    let older = |format: u8, record: &[u8], cut: usize| {
        let content = &record[..record.len() - 8 - cut];
        let mut older = [&content[..place], &content[place + own.len()..]].concat();
        older[0] = format;
        let sum = checksum(Table::Catalog, b"r", &older);
        older.extend_from_slice(&sum.to_le_bytes());
        older
    };
    assert_eq!(read(&older(2, &out, 0)).unwrap(), rule);

    rule.targets[0].input = None;
    seal(&mut out, Table::Catalog, b"r", |out| {
        catalog::write_rule(out, &rule);
    });
    assert_eq!(read(&out).unwrap(), rule);
    // Format 1 ends before the flag that says whether there is an input.
    assert_eq!(read(&older(1, &out, 1)).unwrap(), rule);
}

/// The first releases of format 3 ended a rule's record behind its targets. Such a record is read, and a rule that
/// is on and has no description is still written so: an older program can read it.
#[test]
fn rules_of_the_first_releases_of_format_3_are_read() {
    let rule = crate::conformance::rule("r", "default", &["f"]);
    let text = |text: &str| {
        let mut out = u32::try_from(text.len()).unwrap().to_le_bytes().to_vec();
        out.extend_from_slice(text.as_bytes());
        out
    };
    let target = [
        text("r/f"),
        vec![0],
        text("f"),
        3_u32.to_le_bytes().to_vec(),
        10_u64.to_le_bytes().to_vec(),
        1.5_f64.to_bits().to_le_bytes().to_vec(),
        100_u64.to_le_bytes().to_vec(),
        vec![1],
        1_000_u64.to_le_bytes().to_vec(),
        77_u64.to_le_bytes().to_vec(),
        // The input: EventBridge's, one path, and the template.
        vec![1, 3, 1, 0, 0, 0],
        text("n"),
        text("$.data.n"),
        text("<n> for f"),
    ];
    let content = [
        vec![3],
        text("r"),
        text("default"),
        vec![1],
        text(r#"{"type":["t"]}"#),
        vec![1, 0, 0, 0],
        text("$.data[?@.a]"),
        vec![1, 0, 0, 0],
        target.concat(),
    ];
    let mut record = content.concat();
    let sum = checksum(Table::Catalog, b"r", &record);
    record.extend_from_slice(&sum.to_le_bytes());
    let read = unseal(Table::Catalog, b"r", &record, catalog::read_rule);
    assert_eq!(read.unwrap(), rule);
    let mut out = Vec::new();
    seal(&mut out, Table::Catalog, b"r", |out| {
        catalog::write_rule(out, &rule);
    });
    assert_eq!(out, record);
}

#[test]
fn a_rule_that_is_off_comes_back_with_its_description() {
    let plain = crate::conformance::rule("r", "default", &["f"]);
    for (enabled, description) in [
        (true, None),
        (false, None),
        (true, Some("of today")),
        (false, Some("")),
    ] {
        let rule = edgebus_model::RuleConfig {
            enabled,
            description: description.map(str::to_owned),
            ..plain.clone()
        };
        let mut out = Vec::new();
        seal(&mut out, Table::Catalog, b"r", |out| {
            catalog::write_rule(out, &rule);
        });
        let again = unseal(Table::Catalog, b"r", &out, catalog::read_rule);
        assert_eq!(again.unwrap(), rule);
    }
}

#[test]
fn every_kind_of_target_comes_back() {
    use edgebus_model::TargetKind;
    let mut rule = crate::conformance::rule("r", "default", &["f"]);
    for (kind, bus) in TargetKind::ALL
        .iter()
        .zip([None, Some("dead")].into_iter().cycle())
    {
        rule.targets[0].to = kind.named(rule.name.clone());
        rule.targets[0].dead_letter_bus = bus.map(crate::conformance::name);
        let mut out = Vec::new();
        seal(&mut out, Table::Catalog, b"r", |out| {
            catalog::write_rule(out, &rule);
        });
        let again = unseal(Table::Catalog, b"r", &out, catalog::read_rule);
        assert_eq!(again.unwrap(), rule);
    }
}

#[test]
fn a_slot_is_of_the_partition_key_else_of_the_subject() {
    use edgebus_model::Attribute;
    let mut event = crate::hollow_event();
    assert_eq!(event::slot(&event), 0);
    event.subject = Some("order-7".to_owned());
    let of_subject = event::slot(&event);
    // For ever: consumers' places go by it.
    assert_eq!(of_subject, xxh3_64(b"order-7").to_le_bytes()[0]);
    event.extensions = vec![
        (
            "partitionkeys".to_owned(),
            Attribute::Text("other".to_owned()),
        ),
        (
            "partitionkey".to_owned(),
            Attribute::Text("order-8".to_owned()),
        ),
    ];
    assert_eq!(event::slot(&event), xxh3_64(b"order-8").to_le_bytes()[0]);
    event.subject = None;
    assert_eq!(event::slot(&event), xxh3_64(b"order-8").to_le_bytes()[0]);
}

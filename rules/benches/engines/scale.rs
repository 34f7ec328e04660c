//! Rule sets that grow to 100,000 and events that hit a few of the rules.

use crate::random::Random;

/// `tenant`: three exact fields, the tenant of each rule its own. `varied`: one exact field out of a
/// hundred. `mixed`: an exact field and one of six operators. Also known, for what rules take: `but`,
/// all behind one look-up; `alike`, all the same; `paths`, each with a path of its own.
pub(crate) const KINDS: [&str; 3] = ["tenant", "varied", "mixed"];

const SOURCES: usize = 40;
const TYPES: usize = 25;
const FIELDS: usize = 100;
const RULES: usize = 100_000;

fn rule(kind: &str, number: usize) -> String {
    let (source, of_type) = (number % SOURCES, number % TYPES);
    let detail = match (kind, number % 6) {
        ("but", _) => {
            return format!(r#"{{"detail":{{"status":[{{"anything-but":["S{number}"]}}]}}}}"#);
        }
        ("alike", _) => return r#"{"region":["eu-west-1"]}"#.to_owned(),
        ("paths", _) => return format!(r#"{{"detail":{{"field-{number}":["x"]}}}}"#),
        ("tenant", _) => {
            return format!(
                r#"{{"source":["svc.{source}"],"detail-type":["Type{of_type}"],"detail":{{"tenant":["tenant-{number}"]}}}}"#
            );
        }
        ("varied", _) => {
            let field = number % FIELDS;
            return format!(r#"{{"detail":{{"f{field}":["v{number}"]}}}}"#);
        }
        (_, 0) => format!(r#""tenant":["tenant-{number}"]"#),
        (_, 1) => format!(r#""path":[{{"prefix":"/t{number}/"}}]"#),
        (_, 2) => {
            let (low, high) = (number % 1000, number % 1000 + 2);
            format!(
                r#""amount":[{{"numeric":[">",{low},"<=",{high}]}}],"tenant":["tenant-{number}"]"#
            )
        }
        (_, 3) => {
            format!(
                r#""status":[{{"anything-but":["CANCELLED","FAILED"]}}],"tenant":["tenant-{number}"]"#
            )
        }
        (_, 4) => format!(r#""file":[{{"suffix":".x{number}"}}]"#),
        _ => format!(r#""email":[{{"equals-ignore-case":"User{number}@Example.com"}}]"#),
    };
    format!(r#"{{"source":["svc.{source}"],"detail":{{{detail}}}}}"#)
}

/// The first so many rules of a kind.
pub(crate) fn rules(kind: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| rule(kind, number)).collect()
}

fn event(random: &mut Random) -> String {
    // Most events are about the first rules, so that small sets are hit too, also a set of one.
    let number = match random.below(5) {
        0 => random.below(RULES),
        _ => 10_f64.powf(random.unit() * 5.0) as usize - 1,
    };
    let mut fields: Vec<usize> = (0..FIELDS).collect();
    let fields: String = (0..12)
        .map(|_| {
            let field = fields.swap_remove(random.below(fields.len()));
            format!(
                r#","f{field}":"v{}""#,
                random.below(RULES / FIELDS) * FIELDS + field
            )
        })
        .collect();
    let items: Vec<String> = (0..3)
        .map(|_| {
            format!(
                r#"{{"sku":"A-{}","qty":{}}}"#,
                random.below(100_000),
                random.below(8) + 1
            )
        })
        .collect();
    format!(
        r#"{{"version":"0","id":"{:016x}{:016x}","detail-type":"Type{}","source":"svc.{}","account":"123456789012","time":"2026-11-20T10:{:02}:{:02}Z","region":"eu-west-1","resources":["arn:aws:s3:::bucket-{}"],"detail":{{"tenant":"tenant-{number}","status":"{}","amount":{},"path":"/t{number}/orders/{}","file":"report-{}.x{number}","email":"user{number}@example.com","items":[{}]{fields}}}}}"#,
        random.next(),
        random.next(),
        number % TYPES,
        number % SOURCES,
        random.below(60),
        random.below(60),
        random.below(99),
        random.one(&["PAID", "SHIPPED", "CANCELLED"]),
        (number % 1000) as f64 + [0.5, 1.0, 5.0][random.below(3)],
        random.below(1_000_000),
        random.below(999),
        items.join(","),
    )
}

/// So many events, always the same.
pub(crate) fn events(count: usize) -> Vec<String> {
    let mut random = Random::new(11);
    (0..count).map(|_| event(&mut random)).collect()
}

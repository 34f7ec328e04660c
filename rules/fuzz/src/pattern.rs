//! Patterns made of choices: every operator, few names, nesting and `$or`; nearly all are valid.

use crate::choices::{Choices, quoted};

/// The names of members, in patterns and events.
const NAMES: [&str; 16] = [
    "a",
    "a",
    "a",
    "a",
    "a",
    "b",
    "b",
    "b",
    "b",
    "c",
    "c",
    "d",
    "",
    "ä",
    "longer-name-1",
    "longer-name-2",
];

/// A member's name, sometimes with dots.
pub fn name(choices: &mut Choices<'_>) -> String {
    let choice = choices.below(256);
    let name = NAMES[choice % 16];
    match choice / 16 {
        14 => format!("{name}.{}", choices.one(&NAMES)),
        15 => format!("{name}.{}.{}", choices.one(&NAMES), choices.one(&NAMES)),
        _ => name.to_owned(),
    }
}

/// A pattern.
pub fn write(choices: &mut Choices<'_>) -> String {
    fields(choices, 0)
}

fn fields(choices: &mut Choices<'_>, depth: usize) -> String {
    let count = [1, 1, 1, 2, 2, 2, 3, 4][choices.below(8)];
    let fields: Vec<String> = (0..count).map(|_| field(choices, depth)).collect();
    format!("{{{}}}", fields.join(","))
}

fn field(choices: &mut Choices<'_>, depth: usize) -> String {
    match choices.below(8) {
        6 if depth < 4 => {
            let name = quoted(&name(choices));
            format!("{name}:{}", fields(choices, depth + 1))
        }
        7 if depth < 3 => {
            let count = choices.below(3) + 2;
            let any: Vec<String> = (0..count).map(|_| fields(choices, depth + 1)).collect();
            format!("\"$or\":[{}]", any.join(","))
        }
        _ => {
            let name = quoted(&name(choices));
            format!(
                "{name}:[{}]",
                list(choices, |choices| alternative(choices, 0))
            )
        }
    }
}

fn list(choices: &mut Choices<'_>, of: impl Fn(&mut Choices<'_>) -> String) -> String {
    let count = match choices.below(16) {
        0..=8 => 1,
        9..=13 => 2,
        14 => 3,
        _ => 12,
    };
    let items: Vec<String> = (0..count).map(|_| of(choices)).collect();
    items.join(",")
}

fn string(choices: &mut Choices<'_>) -> String {
    quoted(&choices.string())
}

fn literal(choices: &mut Choices<'_>) -> String {
    match choices.below(8) {
        0..=3 => string(choices),
        4..=6 => choices.number(),
        _ => choices.one(&["null", "true", "false"]).to_owned(),
    }
}

/// A string with stars for some of its characters, or at its ends.
fn wildcard(choices: &mut Choices<'_>) -> String {
    let text = choices.string().replace('\\', "\\\\").replace('*', "\\*");
    let text = match choices.below(6) {
        0 => format!("{text}*"),
        1 => format!("*{text}"),
        2 => format!("*{text}*"),
        3 => text.replacen('b', "*", 2),
        4 => format!("{text}*{}", choices.one(&["a", "b", "1", "é"])),
        _ => format!("*{}*{text}", choices.one(&["a", "b", "1", "é"])),
    };
    quoted(&text)
}

fn range(choices: &mut Choices<'_>) -> String {
    let end = choices.number();
    if choices.below(2) == 0 {
        let sign = choices.one(&["=", "<", "<=", ">", ">="]);
        return format!("[\"{sign}\",{end}]");
    }
    let mut ends = [end, choices.number()];
    let value = |text: &str| text.parse::<f64>().unwrap_or(0.0);
    ends.sort_by(|one, other| value(one).total_cmp(&value(other)));
    let (from, to) = (choices.one(&[">", ">="]), choices.one(&["<", "<="]));
    format!("[\"{from}\",{},\"{to}\",{}]", ends[0], ends[1])
}

fn strings(choices: &mut Choices<'_>) -> String {
    format!("[{}]", list(choices, string))
}

fn alternative(choices: &mut Choices<'_>, depth: usize) -> String {
    match choices.below(32) {
        0..=5 => literal(choices),
        6 => format!("{{\"prefix\":{}}}", string(choices)),
        7 => format!("{{\"suffix\":{}}}", string(choices)),
        8 => format!("{{\"equals-ignore-case\":{}}}", string(choices)),
        9 | 10 => {
            let end = choices.one(&["prefix", "suffix"]);
            let text = string(choices);
            format!("{{\"{end}\":{{\"equals-ignore-case\":{text}}}}}")
        }
        11 | 12 => format!("{{\"wildcard\":{}}}", wildcard(choices)),
        13 => {
            let text = wildcard(choices);
            format!("{{\"wildcard\":{{\"equals-ignore-case\":{text}}}}}")
        }
        14 => format!("{{\"anything-but\":{}}}", strings(choices)),
        15 => {
            let numbers = list(choices, |choices| choices.number());
            format!("{{\"anything-but\":[{numbers}]}}")
        }
        16 | 17 => {
            let kind = choices.one(&["prefix", "suffix", "equals-ignore-case"]);
            format!("{{\"anything-but\":{{\"{kind}\":{}}}}}", strings(choices))
        }
        18 => {
            let text = wildcard(choices);
            format!("{{\"anything-but\":{{\"wildcard\":{text}}}}}")
        }
        19..=21 => format!("{{\"numeric\":{}}}", range(choices)),
        22 => {
            let block = choices.one(&[
                "10.0.0.0/8",
                "10.0.0.0/25",
                "10.0.0.1/31",
                "0.0.0.0/0",
                "::/0",
                "2001:db8::/32",
                "::ffff:0:0/96",
            ]);
            format!("{{\"cidr\":\"{block}\"}}")
        }
        23 | 24 if depth < 3 => {
            let name = choices.one(&["all", "not"]);
            let inner = list(choices, |choices| alternative(choices, depth + 1));
            format!("{{\"{name}\":[{inner}]}}")
        }
        25 => {
            let form = choices.one(&["a.*", "[a-c]+", "(x|y)?.?b", r"\\p{Lu}+", "1[0-9.]*"]);
            format!("{{\"regex\":\"{form}\"}}")
        }
        26 if depth == 0 => format!("{{\"exactly\":[{}]}}", list(choices, literal)),
        27 | 28 if depth == 0 => {
            let inner = list(choices, |choices| alternative(choices, depth + 1));
            format!("{{\"contains-all\":[{inner}]}}")
        }
        29 if depth == 0 => "{\"exists\":true}".to_owned(),
        30 | 31 if depth == 0 => "{\"exists\":false}".to_owned(),
        _ => literal(choices),
    }
}

/// One of many patterns that are alike and wait at one place.
pub fn sibling(kind: usize, name: &str, number: usize) -> String {
    let name = quoted(name);
    let asked = match kind % 10 {
        0 => format!("{number}"),
        1 => format!("\"v{number}\""),
        2 => format!("{{\"prefix\":\"v{number}\"}}"),
        3 => format!("{{\"suffix\":\"{number}\"}}"),
        4 => format!("{{\"anything-but\":[{number}]}}"),
        5 => format!("{{\"numeric\":[\">=\",{number},\"<\",{}]}}", number + 7),
        6 => format!("{{\"wildcard\":\"v*{number}*\"}}"),
        7 => format!("{{\"equals-ignore-case\":\"V{number}\"}}"),
        8 => "{\"exists\":true}".to_owned(),
        _ => format!("{{\"contains-all\":[{number}]}},\"v{number}\""),
    };
    format!("{{{name}:[{asked}]}}")
}
